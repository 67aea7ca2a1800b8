//! A long log and many people: readiness, sign-ins, lists, memory. And many organisations beside few.

use std::time::{Duration, Instant};

use anyhow::Result;
use gantry_kernel::Env;
use serde_json::json;
use tokio::runtime::Runtime;

use super::ask;
use super::people::{CONSOLE, Entry, PASSWORD, Visit};
use super::seed::Books;
use super::served::Served;
use super::steady::steady;
use crate::bench::figure::{Figure, Goal};
use crate::bench::ground::{Ground, runtime};
use crate::bench::results::Figures;
use crate::bench::rounds::{interleaved, median, quantile_ms};
use crate::bench::{Options, former};

pub const FIGURES: &[&str] =
    &["long-log-ready", "long-log-sign-in", "long-log-password", "long-log-users-listed", "long-log-users-searched", "long-log-users-paged", "long-log-memory"];
pub const ORGANISATIONS: &[&str] = &["organisations-read", "organisations-write", "organisations-sign-in"];
const ARRIVALS: f64 = 100.0;
/// Passwords per second meanwhile: fewer than the machine can hash.
const PASSWORDS: f64 = 10.0;
const LISTS: f64 = 50.0;
/// "As fast as": a tenth is what two measurements of the same thing differ by here.
const AS_FAST: f64 = 1.1;

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let ground = Ground::start()?;
    let runtime = runtime()?;
    seed(&ground, &runtime, options)?;
    let mut figures = Figures::default();
    former::say("starts with the long log");
    let mut served = Served::start(&ground, &runtime, &[])?;
    let mut ready = vec![served.ready_after.as_secs_f64()];
    while ready.len() < options.rounds {
        drop(served);
        served = Served::start(&ground, &runtime, &[])?;
        ready.push(served.ready_after.as_secs_f64());
    }
    figures.push(Figure::at_most("long-log-ready", "s from start to ready", ready, 5.0));
    let admin = runtime.block_on(served.administrator(&ground))?;
    former::say("sign-ins and passwords");
    let hash_ms = one_hash_ms();
    let (mut sign_ins, mut passwords) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let seen = runtime.block_on(arrivals(&served, options, round))?;
        sign_ins.push(quantile_ms(seen.0, 0.99));
        passwords.push(quantile_ms(seen.1, 0.99) - hash_ms);
    }
    figures.push(Figure::at_most("long-log-sign-in", "ms p99 at 100/s: page, code, token", sign_ins, 50.0));
    figures.push(Figure::at_most("long-log-password", "ms p99 of the password's step beside its hash", passwords, 50.0));
    let lists: [(&'static str, &'static str, Box<dyn Fn(usize) -> String>); 3] = [
        ("long-log-users-listed", "ms p99 at 50/s, first 50", Box::new(|_| "/api/v1/users?limit=50".into())),
        (
            "long-log-users-searched",
            "ms p99 at 50/s, by the beginning of a name",
            Box::new(|n| format!("/api/v1/users?limit=50&q={}", ["ada", "person9", "number12", "eve", "c"][n % 5])),
        ),
        (
            "long-log-users-paged",
            "ms p99 at 50/s, any page",
            Box::new(|n| format!("/api/v1/users?limit=50&cursor={}", uuid::Uuid::from_u128((n as u128 * 7_919 % 250) << 120))),
        ),
    ];
    for (name, unit, path) in lists {
        former::say(name);
        let rounds = (0..options.rounds).map(|_| {
            let times = runtime.block_on(steady(&served.server, LISTS, options.round(), |mut talk, n| {
                let request = ask::get_json(&path(n), &admin);
                async move {
                    talk.ask(&request).await?.expect(200)?;
                    Ok(talk)
                }
            }))?;
            Ok(quantile_ms(times, 0.99))
        });
        figures.push(Figure::at_most(name, unit, rounds.collect::<Result<_>>()?, 50.0));
    }
    figures.push(Figure::at_most("long-log-memory", "MiB resident after all of this", vec![served.resident_mib()?], 120.0));
    figures.all()
}

/// Tables by the service itself, people by its projections, the past by SQL.
fn seed(ground: &Ground, runtime: &Runtime, options: &Options) -> Result<()> {
    let started = Instant::now();
    former::say("people and the past are written: minutes");
    let served = Served::start(ground, runtime, &[])?;
    let books = runtime.block_on(Books::open(ground))?;
    runtime.block_on(books.register(0..options.people))?;
    eprintln!("bench:   {} people registered after {:.0} s", options.people, started.elapsed().as_secs_f64());
    runtime.block_on(books.projected())?;
    eprintln!("bench:   they are in the directory after {:.0} s", started.elapsed().as_secs_f64());
    drop(served);
    runtime.block_on(async {
        books.past(options.events).await?;
        books.published(ground).await?;
        books.sessions().await?;
        books.close().await;
        Ok(())
    })
}

/// How long one hash takes while nothing else runs, in milliseconds.
fn one_hash_ms() -> f64 {
    let hasher = argon2::Argon2::default();
    let times = (0..9).map(|_| {
        let (started, mut out) = (Instant::now(), [0; 32]);
        let _ = hasher.hash_password_into(PASSWORD.as_bytes(), b"sixteen bytes st", &mut out);
        started.elapsed().as_secs_f64() * 1e3
    });
    median(times.collect())
}

/// Sign-ins of people whose browsers have a session (page, code, token), and passwords of others beside them.
async fn arrivals(served: &Served, options: &Options, round: usize) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let people = options.people;
    let whole = steady(&served.server, ARRIVALS, options.round(), |mut talk, n| async move {
        let person = (n * 7_919 + round * 104_729) % people;
        Visit::new("10.0.0.3").page(&mut talk, CONSOLE).await?;
        let mut visit = Visit::with_session("10.0.0.3", &format!("gs_bench{person}"));
        let code = visit.code(&mut talk, CONSOLE).await?;
        visit.tokens(&mut talk, CONSOLE, &code).await?;
        Ok(talk)
    });
    let passwords = steady(&served.server, PASSWORDS, options.round(), |mut talk, n| async move {
        let person = format!("person{}", (n * 3_571 + round * 15_485) % people);
        let mut visit = Visit::new(&format!("10.2.0.{}", n % 200));
        let (csrf, to) = visit.page(&mut talk, CONSOLE).await?;
        anyhow::ensure!(visit.submit(&mut talk, &csrf, &to, &person, PASSWORD).await? == Entry::In, "{person} gets in");
        Ok(talk)
    });
    let (whole, passwords) = tokio::join!(whole, passwords);
    Ok((whole?, passwords?))
}

/// Organisations of an installation that has many, beside one that has ten: the same requests to both in turns. New ones come last, or
/// the one with ten would have thousands when it is asked for the rest.
pub fn organisations(options: &Options) -> Result<Vec<Figure>> {
    let runtime = runtime()?;
    let many = Tenants::start(&runtime, options.organisations)?;
    let few = Tenants::start(&runtime, 10)?;
    let mut figures = Figures::default();
    for (name, unit, what) in [
        ("organisations-read", "ms mean: list, one, members, projects, may I", What::Read),
        ("organisations-sign-in", "ms mean: password, code, token", What::SignIn),
        ("organisations-write", "ms mean: a new organisation", What::Write),
    ] {
        if !options.wants("organisations", name) {
            continue;
        }
        former::say(name);
        let rounds =
            interleaved(options.rounds, || runtime.block_on(many.mean_ms(what, options.round())), || runtime.block_on(few.mean_ms(what, options.round())))?;
        figures.push(Figure::compared(name, unit, "with 10 organisations", rounds, Goal::AtMost(AS_FAST)));
    }
    figures.all()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Read,
    Write,
    SignIn,
}

struct Tenants {
    served: Served,
    count: usize,
    admin: String,
    /// Last: servers go when nothing uses them any more.
    _ground: Ground,
}

impl Tenants {
    fn start(runtime: &Runtime, count: usize) -> Result<Self> {
        let ground = Ground::start()?;
        let served = Served::start(&ground, runtime, &[])?;
        let admin = runtime.block_on(async {
            let books = Books::open(&ground).await?;
            books.register(0..200).await?;
            books.projected().await?;
            books.found(count).await?;
            books.projected().await?;
            books.close().await;
            served.administrator(&ground).await
        })?;
        Ok(Self { served, count, admin, _ground: ground })
    }

    async fn mean_ms(&self, what: What, how_long: Duration) -> Result<f64> {
        let mut talk = self.served.server.connect().await?;
        let (started, mut done) = (Instant::now(), 0usize);
        while started.elapsed() < how_long {
            let org = format!("org-{}", (done * 7_919) % self.count);
            match what {
                What::Read => {
                    let paths = ["?limit=50".to_owned(), format!("/{org}"), format!("/{org}/members"), format!("/{org}/projects")];
                    for path in paths {
                        talk.ask(&ask::get_json(&format!("/api/v1/orgs{path}"), &self.admin)).await?.expect(200)?;
                    }
                    let question = json!({ "permission": "identity.members-write", "org": org });
                    talk.ask(&ask::post_json("/api/v1/rights/check", &self.admin, &question)).await?.expect(200)?;
                }
                What::Write => {
                    // A new one each time: the history of one that is changed again and again would grow, most where there are few.
                    let name = json!({ "name": format!("new-{}", Env::system().uuid().simple()) });
                    talk.ask(&ask::post_json("/api/v1/orgs", &self.admin, &name)).await?.expect(201)?;
                }
                What::SignIn => {
                    Visit::new("10.0.0.4").whole(&mut talk, CONSOLE, &format!("person{}", done % 200), PASSWORD).await?;
                }
            }
            done += 1;
        }
        #[allow(clippy::cast_precision_loss, reason = "a count")]
        Ok(started.elapsed().as_secs_f64() * 1e3 / done as f64)
    }
}
