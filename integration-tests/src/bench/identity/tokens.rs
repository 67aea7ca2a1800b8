//! Tokens without a person at hand: a client's own, and refreshed ones; beside npm's `oidc-provider`, which keeps everything
//! in memory, under the same load in the same run. What counts is tokens per second of processor time of the service.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ask::{self, Server};
use super::oidc_provider::OidcProvider;
use super::people::{self, Entry, Party, Visit};
use super::served::{Served, register_client};
use crate::bench::figure::{Figure, Goal};
use crate::bench::ground::{Ground, runtime};
use crate::bench::results::Figures;
use crate::bench::rounds::Round;
use crate::bench::usage::cpu_of;
use crate::bench::{Options, former};

pub const FIGURES: &[&str] = &[
    "tokens-client-credentials",
    "tokens-client-credentials-floor",
    "tokens-client-credentials-rate",
    "tokens-refresh",
    "tokens-refresh-floor",
    "tokens-refresh-rate",
];
const UNIT: &str = "tokens/s per core";
/// The database's work, which is not the service's, counts here: the machine is all that both have.
const RATE_UNIT: &str = "tokens/s of the whole machine, database and caller on it";
const ANCHOR: &str = "oidc-provider on Node, in memory, JWT by ES256";
/// Tokens per second that one core of the service must give at least.
const FLOOR: f64 = 1_200.0;
/// Requests under way at once.
const CALLERS: usize = 32;
const REDIRECT: &str = "https://shop.example/cb";

/// A token endpoint and what to ask it with.
#[derive(Clone)]
pub struct Endpoint {
    pub server: Server,
    pub path: &'static str,
    pub client: String,
    pub secret: String,
    /// One chain of refresh tokens per caller: the latest of each.
    pub refresh: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    OwnTokens,
    Refresh,
}

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let anchor = OidcProvider::start(CALLERS)?;
    let ground = Ground::start()?;
    let runtime = runtime()?;
    let served = Served::start(&ground, &runtime, &[])?;
    let ours = runtime.block_on(endpoint(&ground, &served))?;
    let theirs = anchor.endpoint();
    let each = options.round();
    // Tokens for a second of the process's time, and in a second.
    let measured = |pid: u32, endpoint: &Endpoint, what: What| -> Result<(f64, f64)> {
        let before = cpu_of(&[pid])?;
        let tokens = runtime.block_on(run(endpoint, what, each))?;
        eprintln!("bench:   {:.0} tokens/s {}", tokens as f64 / each.as_secs_f64(), if pid == served.pid() { "ours" } else { "theirs" });
        Ok((tokens as f64 / (cpu_of(&[pid])? - before), tokens as f64 / each.as_secs_f64()))
    };
    let mut figures = Figures::default();
    for (name, floor, rate, what) in [
        ("tokens-client-credentials", "tokens-client-credentials-floor", "tokens-client-credentials-rate", What::OwnTokens),
        ("tokens-refresh", "tokens-refresh-floor", "tokens-refresh-rate", What::Refresh),
    ] {
        if ![name, floor, rate].into_iter().any(|figure| options.wants("tokens", figure)) {
            continue;
        }
        former::say(name);
        // The first seconds belong to Node's compiler and to our caches.
        runtime.block_on(run(&theirs, what, Duration::from_secs(3)))?;
        runtime.block_on(run(&ours, what, Duration::from_secs(1)))?;
        let (mut per_core, mut rates) = (Vec::new(), Vec::new());
        for n in 0..options.rounds {
            let (mine, other) = if n % 2 == 0 {
                let other = measured(anchor.pid(), &theirs, what)?;
                (measured(served.pid(), &ours, what)?, other)
            } else {
                (measured(served.pid(), &ours, what)?, measured(anchor.pid(), &theirs, what)?)
            };
            per_core.push(Round { ours: mine.0, anchor: other.0 });
            rates.push(Round { ours: mine.1, anchor: other.1 });
        }
        let alone = per_core.iter().map(|r| r.ours).collect();
        figures.push(Figure::compared(name, UNIT, ANCHOR, per_core, Goal::AtLeast(2.0)));
        figures.push(Figure::at_least(floor, UNIT, alone, FLOOR));
        figures.push(Figure::compared(rate, RATE_UNIT, ANCHOR, rates, Goal::AtLeast(2.0)));
    }
    figures.all()
}

/// A client of ours, and somebody who has signed in at it as often as there are callers.
async fn endpoint(ground: &Ground, served: &Served) -> Result<Endpoint> {
    let admin = served.administrator(ground).await?;
    let mut talk = served.server.connect().await?;
    let settings = json!({
        "client_name": "Shop", "redirect_uris": [REDIRECT], "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "scopes": ["openid", "offline_access"], "token_endpoint_auth_method": "client_secret_post", "id_token_signed_response_alg": "ES256",
    });
    let (client, secret) = register_client(&mut talk, &admin, settings).await?;
    people::register(&mut talk, std::iter::once("ada".to_owned())).await?;
    let party = Party { client: &client, secret: Some(&secret), redirect: REDIRECT, scope: "openid offline_access" };
    let mut visit = Visit::new("10.0.0.2");
    ensure!(visit.password(&mut talk, party, "ada", people::PASSWORD).await? == Entry::In, "she gets in");
    let mut refresh = Vec::new();
    for _ in 0..CALLERS {
        let code = visit.code(&mut talk, party).await?;
        let tokens = visit.tokens(&mut talk, party, &code).await?;
        refresh.push(tokens["refresh_token"].as_str().context("a refresh token")?.to_owned());
    }
    Ok(Endpoint { server: served.server.clone(), path: "/oauth2/token", client, secret, refresh: Arc::new(Mutex::new(refresh)) })
}

/// How many tokens were given.
async fn run(endpoint: &Endpoint, what: What, how_long: Duration) -> Result<u64> {
    let mut open = Vec::new();
    for _ in 0..CALLERS {
        open.push(endpoint.server.connect().await?);
    }
    let end = Instant::now() + how_long;
    let mut tasks = JoinSet::new();
    for (caller, mut talk) in open.into_iter().enumerate() {
        let it = endpoint.clone();
        tasks.spawn(async move {
            let own = ask::post_form(it.path, &[], &[("grant_type", "client_credentials"), ("client_id", &it.client), ("client_secret", &it.secret)]);
            let mut token = it.refresh.lock().unwrap_or_else(PoisonError::into_inner).get(caller).cloned().unwrap_or_default();
            let mut done = 0u64;
            while Instant::now() < end {
                if what == What::OwnTokens {
                    talk.ask(&own).await?.expect(200)?;
                } else {
                    let fields = [("grant_type", "refresh_token"), ("client_id", &*it.client), ("client_secret", &*it.secret), ("refresh_token", &*token)];
                    let answer = talk.ask(&ask::post_form(it.path, &[], &fields)).await?.expect(200)?.json()?;
                    token = answer["refresh_token"].as_str().context("a rotated refresh token")?.to_owned();
                }
                done += 1;
            }
            Ok::<_, anyhow::Error>((caller, token, done))
        });
    }
    let mut all = 0;
    while let Some(done) = tasks.join_next().await {
        let (caller, token, done) = done??;
        if let Some(latest) = endpoint.refresh.lock().unwrap_or_else(PoisonError::into_inner).get_mut(caller) {
            *latest = token;
        }
        all += done;
    }
    Ok(all)
}
