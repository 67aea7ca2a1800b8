//! A company's directory (OpenLDAP) taken over for the first time, and again when hardly anything has changed.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gantry_testkit::{Slapd, slapd};
use serde_json::{Value, json};

use super::ask::{self, Talk};
use super::served::Served;
use crate::bench::figure::Figure;
use crate::bench::ground::{Ground, runtime};
use crate::bench::{Options, former};

pub const FIGURES: &[&str] = &["directory-first-sync", "directory-next-sync"];
/// Everybody is in one of so many groups.
const GROUPS: usize = 100;

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let Some(slapd) = Slapd::start(&company(options.entries)) else { anyhow::bail!("no slapd here") };
    let runtime = runtime()?;
    let (mut first, mut next) = (Vec::new(), Vec::new());
    // Each first synchronisation needs an installation that knows nobody yet.
    for round in 0..options.rounds {
        former::say(&format!("round {} of {}", round + 1, options.rounds));
        let ground = Ground::start()?;
        let served = Served::start(&ground, &runtime, &[])?;
        runtime.block_on(async {
            let admin = served.administrator(&ground).await?;
            let mut talk = served.server.connect().await?;
            let made = json!({ "name": "corp", "secret": slapd::SEARCHER.1, "settings": settings(&slapd) });
            talk.ask(&ask::post_json("/api/v1/upstreams", &admin, &made)).await?.expect(201)?;
            first.push(sync(&mut talk, &admin, "full", options.entries).await?);
            next.push(sync(&mut talk, &admin, "full", options.entries).await?);
            anyhow::Ok(())
        })?;
        eprintln!("bench:   first {:.1} s, again {:.1} s", first.last().copied().unwrap_or_default(), next.last().copied().unwrap_or_default());
    }
    Ok(vec![
        Figure::at_most("directory-first-sync", "s for all entries, every account new", first, 60.0),
        Figure::at_most("directory-next-sync", "s for all entries, nothing new", next, 60.0),
    ])
}

/// Seconds from the request to the report.
async fn sync(talk: &mut Talk, admin: &str, extent: &str, entries: usize) -> Result<f64> {
    let started = Instant::now();
    let run = talk.ask(&ask::post_json("/api/v1/upstreams/corp/syncs", admin, &json!({ "extent": extent }))).await?.expect(202)?.json()?;
    loop {
        let runs = talk.ask(&ask::get_json("/api/v1/upstreams/corp/syncs", admin)).await?.expect(200)?.json()?;
        let mine = runs["items"].as_array().and_then(|all| all.iter().find(|r| r["id"] == run["id"]).cloned()).context("the run is listed")?;
        if mine["result"] != "running" {
            let took = started.elapsed().as_secs_f64();
            let seen = mine["report"]["seen"].as_u64().or_else(|| mine["seen"].as_u64());
            ensure!(mine["result"] == "ok" && seen == u64::try_from(entries).ok(), "{mine}");
            return Ok(took);
        }
        ensure!(started.elapsed() < Duration::from_secs(540), "{mine}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn settings(slapd: &Slapd) -> Value {
    json!({
        "allow_private": true, "ca_pem": slapd.ca_pem, "sync_minutes": 0,
        "connection": { "ldap": {
            "servers": [slapd.tls_url()], "bind_dn": slapd::SEARCHER.0, "user_base": format!("ou=people,{}", slapd::BASE),
            "group_base": format!("ou=groups,{}", slapd::BASE),
        }},
    })
}

/// People with addresses, in groups.
fn company(entries: usize) -> String {
    let mut ldif = String::new();
    let dn = |n: usize| format!("uid=employee{n},ou=people,{}", slapd::BASE);
    for n in 0..entries {
        let _ = write!(ldif, "dn: {}\nobjectClass: inetOrgPerson\nuid: employee{n}\ncn: Employee {n}\nsn: Employee\nmail: employee{n}@corp.example\n\n", dn(n));
    }
    for group in 0..GROUPS.min(entries) {
        let _ = write!(ldif, "dn: cn=group{group},ou=groups,{}\nobjectClass: groupOfNames\ncn: group{group}\n", slapd::BASE);
        for n in (group..entries).step_by(GROUPS) {
            let _ = writeln!(ldif, "member: {}", dn(n));
        }
        ldif.push('\n');
    }
    ldif
}
