//! People signing in as fast as the machine can hash: page, password, code, token; what others notice of it; and what becomes
//! of more than can be served.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::argon;
use super::ask::{self, Server};
use super::people::{self, CONSOLE, Entry, PASSWORD, Visit};
use super::served::Served;
use super::steady::steady;
use crate::bench::Options;
use crate::bench::figure::{Figure, Goal};
use crate::bench::ground::{Ground, runtime};
use crate::bench::results::Figures;
use crate::bench::rounds::{interleaved, quantile_ms};

pub const FIGURES: &[&str] = &["sign-in", "sign-in-others", "sign-in-flood", "sign-in-flood-others"];
/// People who sign in again and again, each by themselves, each time from a browser that nobody knows.
const PEOPLE: usize = 16;
/// Far more than can be served at once.
const FLOOD: usize = 256;
const OTHERS_PER_SECOND: f64 = 50.0;

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let ground = Ground::start()?;
    let runtime = runtime()?;
    let served = Served::start(&ground, &runtime, &[])?;
    let server = served.server.clone();
    let token = runtime.block_on(async {
        let mut talk = server.connect().await?;
        people::register(&mut talk, (0..FLOOD).map(name)).await?;
        served.administrator(&ground).await
    })?;
    // A sign-in takes much longer than any other request: a round must hold some hundred.
    let each = options.round() * 2;
    runtime.block_on(rush(&server, PEOPLE, Duration::from_secs(2)))?;
    let mut figures = Figures::default();
    let wants = |figure| options.wants("sign-in", figure);
    if wants("sign-in") || wants("sign-in-others") {
        let mut others = Vec::new();
        let ours = || {
            let (done, times) = runtime.block_on(beside(&server, &token, PEOPLE, each))?;
            others.push(quantile_ms(times, 0.99));
            Ok(done.through / each.as_secs_f64())
        };
        let rounds = interleaved(options.rounds, ours, || argon::limit(each / 2))?;
        figures.push(Figure::compared("sign-in", "sign-ins/s", "argon2id alone on all cores, m=19 MiB, t=2, p=1", rounds, Goal::AtLeast(0.85)));
        figures.push(Figure::at_most("sign-in-others", "ms p99 of other endpoints meanwhile", others, 100.0));
    }
    if wants("sign-in-flood") || wants("sign-in-flood-others") {
        let mut others = Vec::new();
        let ours = || {
            let (done, times) = runtime.block_on(beside(&server, &token, FLOOD, each))?;
            ensure!(done.refused > 0.0, "nobody was told to come back later");
            eprintln!("bench:   {:.0} through, {:.0} told to come back", done.through, done.refused);
            others.push(quantile_ms(times, 0.99));
            Ok(done.through / each.as_secs_f64())
        };
        let rounds = interleaved(options.rounds, ours, || argon::limit(each / 2))?;
        figures.push(Figure::compared("sign-in-flood", "sign-ins/s, the excess told 429 or 503", "argon2id alone on all cores", rounds, Goal::AtLeast(0.7)));
        figures.push(Figure::at_most("sign-in-flood-others", "ms p99 of other endpoints meanwhile", others, 100.0));
    }
    figures.all()
}

fn name(n: usize) -> String {
    format!("person{n}")
}

#[derive(Clone, Copy, Default)]
struct Done {
    through: f64,
    refused: f64,
}

/// A rush with others who want something else at the same time.
async fn beside(server: &Server, token: &str, callers: usize, how_long: Duration) -> Result<(Done, Vec<Duration>)> {
    let wanted: [Arc<[u8]>; 3] =
        [ask::get_json("/api/v1/me", token), ask::get("/.well-known/openid-configuration", &[]), ask::get("/oauth2/jwks", &[])].map(Into::into);
    let others = steady(server, OTHERS_PER_SECOND, how_long, |mut talk, n| {
        let request = wanted[n % wanted.len()].clone();
        async move {
            talk.ask(&request).await?.expect(200)?;
            Ok(talk)
        }
    });
    let (done, times) = tokio::join!(rush(server, callers, how_long), others);
    Ok((done?, times?))
}

/// Callers who sign in one after the other, each time anew.
#[allow(clippy::cast_precision_loss, reason = "some thousands")]
async fn rush(server: &Server, callers: usize, how_long: Duration) -> Result<Done> {
    let (through, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut open = Vec::new();
    for _ in 0..callers {
        open.push(server.connect().await?);
    }
    let end = Instant::now() + how_long;
    let mut tasks = JoinSet::new();
    for (caller, mut talk) in open.into_iter().enumerate() {
        let (through, refused) = (through.clone(), refused.clone());
        tasks.spawn(async move {
            let (person, from) = (name(caller), format!("10.1.{}.{}", caller / 200, caller % 200));
            while Instant::now() < end {
                let mut visit = Visit::new(&from);
                match visit.password(&mut talk, CONSOLE, &person, PASSWORD).await? {
                    Entry::In => {}
                    Entry::Busy => {
                        refused.fetch_add(1, Ordering::Relaxed);
                        // As `Retry-After` says, more or less.
                        tokio::time::sleep(Duration::from_millis(500)).await;
                        continue;
                    }
                }
                let code = visit.code(&mut talk, CONSOLE).await?;
                visit.tokens(&mut talk, CONSOLE, &code).await?;
                // One that ends after the round does not count in it.
                if Instant::now() < end {
                    through.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(Done { through: through.load(Ordering::Relaxed) as f64, refused: refused.load(Ordering::Relaxed) as f64 })
}
