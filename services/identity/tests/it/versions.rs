//! Two versions of the service beside each other during an upgrade: what an older one does with what a newer one wrote,
//! and that replacing one by the other loses no request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gantry_es::{Meta, NewEvent, StreamId};
use gantry_es_pg::{Append, Checkpoint, checkpoints};
use gantry_host::Host;
use gantry_identity::Identity;
use gantry_identity::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::Suite;

/// What a newer version writes.
async fn write(suite: &Suite, stream: StreamId, kind: &str, kind_version: u16, data: Value) -> i64 {
    let event = NewEvent { kind: kind.into(), kind_version, data: data.into() };
    suite.host.log().append(Append::one(stream, None, vec![event], Meta::system())).await.unwrap().position
}

/// Projections that stand still, and why.
async fn standing(suite: &Suite) -> Vec<(String, String)> {
    checkpoints(suite.host.log().db()).await.unwrap().into_iter().filter_map(|c| Some((c.name, c.error?))).collect()
}

/// Of those that follow the service's own log.
async fn all_passed(suite: &Suite, position: i64) -> bool {
    let own = |c: &&Checkpoint| c.source == "identity";
    checkpoints(suite.host.log().db()).await.unwrap().iter().filter(own).all(|c| c.position >= position && c.error.is_none())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_goes_on_with_what_a_newer_one_wrote_and_says_what_it_cannot_read() {
    let suite = Suite::start().await;
    let [ada, ..] = suite.acme().await;
    let id = suite.get(&ada, "/api/v1/orgs/acme").await.1["id"].as_str().unwrap().to_owned();

    // Events of something it has never heard of: no read model is about them.
    let position = write(&suite, StreamId::new("gadget", &id), "gadget.made", 1, json!({ "gadget": id, "colour": "blue" })).await;
    suite.world.until("every projection has passed it", Duration::from_secs(20), async || all_passed(&suite, position).await).await;

    // A newer version of a kind it knows: the read models of it stand still and say why; nothing is guessed or skipped.
    let data = json!({ "org": id, "display_name": "Acme", "language": "en" });
    let position = write(&suite, StreamId::new("org", &id), "org.renamed", 2, data).await;
    suite.world.until("the directory stands still", Duration::from_secs(20), async || standing(&suite).await.iter().any(|(n, _)| n == "directory")).await;
    let why = standing(&suite).await;
    let (_, text) = why.iter().find(|(name, _)| name == "directory").unwrap();
    assert!(text.contains("`org.renamed` has version 2, this program knows 1") && text.contains("older than the log"), "{text}");
    assert!(!why.iter().any(|(name, _)| name == "factors"), "what is not about organisations goes on: {why:?}");

    // It serves on: what is there is read, people sign in, and other things change.
    assert_eq!(suite.get(&ada, "/api/v1/orgs/acme").await.0, 200);
    suite.tokens("bob").await;
    let (status, changed) = suite.patch(&ada, "/api/v1/me", json!({ "display_name": "Ada L." })).await;
    assert_eq!(status, 200, "{changed}");
    // What the newer version wrote it does not touch, and says who can.
    let (status, refused) = suite.patch(&ada, "/api/v1/orgs/acme", json!({ "display_name": "Acme 2" })).await;
    assert_eq!((status, refused["code"].as_str()), (503, Some("request.older_than_log")), "{refused}");

    // The newer version beside it takes the event in, into the tables that both read: the older one goes on from there.
    let passed = "update projections set position = greatest(position, $1), error = null where position < $1";
    sqlx::query(passed).bind(position).execute(&suite.host.db().pool).await.unwrap();
    suite.world.until("all goes on", Duration::from_secs(60), async || all_passed(&suite, position).await).await;
    let renamed = async || suite.get(&ada, "/api/v1/me").await.1["display_name"] == "Ada L.";
    suite.world.until("what changed meanwhile is there", Duration::from_secs(60), renamed).await;
    let (status, made) = suite.post(&ada, "/api/v1/orgs", json!({ "name": "later" })).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(suite.get(&ada, "/api/v1/orgs/later").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_an_older_version_has_never_heard_of_is_the_newer_versions_affair() {
    let suite = Suite::start().await;
    let [ada, ..] = suite.acme().await;
    let id = suite.get(&ada, "/api/v1/orgs/acme").await.1["id"].as_str().unwrap().to_owned();
    let position = write(&suite, StreamId::new("org", &id), "org.painted", 1, json!({ "org": id, "colour": "blue" })).await;
    let told = async || standing(&suite).await.iter().any(|(name, why)| name == "directory" && why.contains("does not know events `org.painted`"));
    suite.world.until("the directory stands still and says why", Duration::from_secs(20), told).await;
    let (status, refused) = suite.patch(&ada, "/api/v1/orgs/acme", json!({ "display_name": "Acme 2" })).await;
    assert_eq!((status, refused["code"].as_str()), (503, Some("request.older_than_log")), "no fault of this version's: {refused}");
    // The newer version is there: the older one is behind it within its pause, and is not held up by what it cannot read.
    let passed = "update projections set position = greatest(position, $1), error = null where position < $1";
    sqlx::query(passed).bind(position).execute(&suite.host.db().pool).await.unwrap();
    suite.world.until("all goes on", Duration::from_secs(20), async || all_passed(&suite, position).await).await;
    let (status, made) = suite.post(&ada, "/api/v1/orgs", json!({ "name": "later" })).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(suite.get(&ada, "/api/v1/orgs/later").await.0, 200);
}

/// Asks one replica, and another when that one is not there. Changes carry a key, so that they happen once however often they are asked for.
async fn ask(http: &reqwest::Client, replicas: &[String], turn: usize, method: Method, path: &str, token: &str, body: Option<&Value>) -> u16 {
    let key = uuid::Uuid::now_v7().to_string();
    for next in 0..200 {
        let mut request = http.request(method.clone(), format!("{}{path}", replicas[(turn + next) % replicas.len()])).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body).header("idempotency-key", &key);
        }
        match request.send().await {
            Ok(answer) => return answer.status().as_u16(),
            // Nobody is there, or an idle connection was closed while the request was on its way (RFC 9112 section 9.5): both kinds of
            // request may be repeated, and the second answer is the first one's.
            Err(error) if error.is_request() => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("a request was lost: {error:?}"),
        }
    }
    panic!("nobody answers");
}

fn base(host: &Host) -> String {
    host.url_of("identity").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_the_service_piece_by_piece_loses_no_request() {
    let suite = Suite::start().await;
    let [ada, ..] = suite.acme().await;
    let set = serde_json::from_value(suite.json(Method::GET, "/oauth2/jwks", None, None).await.1).unwrap();
    let begin = async || {
        let (running, host) = suite.world.replica::<Identity>(Config::default()).await;
        host.auth.verifier.keys().set(&set);
        (running, host)
    };
    // The one that came first is not of this test; two others take turns and are replaced while requests come.
    let (old_running, old) = begin().await;
    let (new_running, new) = begin().await;
    assert_ne!(base(&old), base(&new));
    let both = [base(&old), base(&new)];
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..4)
        .map(|worker: usize| {
            let (http, both, ada, stop) = (suite.world.http.clone(), both.clone(), ada.clone(), stop.clone());
            tokio::spawn(async move {
                let mut made = 0_usize;
                while !stop.load(Ordering::SeqCst) {
                    let team = json!({ "name": format!("team-{worker}-{made}") });
                    let status = ask(&http, &both, worker + made, Method::POST, "/api/v1/orgs/acme/teams", &ada, Some(&team)).await;
                    assert_eq!(status, 201, "team-{worker}-{made}");
                    let path = format!("/api/v1/orgs/acme/teams/team-{worker}-{made}");
                    let status = ask(&http, &both, worker + made + 1, Method::GET, &path, &ada, None).await;
                    assert!(matches!(status, 200 | 404), "{status}");
                    made += 1;
                }
                made
            })
        })
        .collect();
    let teams = async || suite.get(&ada, "/api/v1/orgs/acme/teams?limit=500").await.1["items"].as_array().map_or(0, Vec::len);
    suite.world.until("requests come", Duration::from_secs(60), async || teams().await >= 8).await;
    // The old one ends while they come; the new one goes on alone.
    old_running.stop().await;
    let before = teams().await;
    suite.world.until("and go on", Duration::from_secs(60), async || teams().await >= before + 8).await;
    stop.store(true, Ordering::SeqCst);
    let mut made = 0;
    for worker in workers {
        made += worker.await.expect("no request was lost");
    }
    println!("{made} teams were made while one replica took the place of the other");
    suite.world.until("each once", Duration::from_secs(20), async || teams().await == made.min(500)).await;
    new_running.stop().await;
}
