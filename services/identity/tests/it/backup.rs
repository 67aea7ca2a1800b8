//! A backup as docs/operations.md has it: a dump of the database, and apart from it the master key. Brought back elsewhere, in
//! another database and with nothing else of the machine before, it is the same installation.

use std::path::{Path, PathBuf};
use std::process::Command;

use gantry_host::Platform;
use gantry_identity::config::Config;
use gantry_kernel::Secret;
use gantry_testkit::World;
use reqwest::Method;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::Suite;

/// A program of the server's own version where it can be told: an older one refuses a newer server.
async fn program(pool: &PgPool, name: &str) -> PathBuf {
    let number: String = sqlx::query_scalar("show server_version_num").fetch_one(pool).await.unwrap();
    let major = number.parse::<u32>().unwrap() / 10_000;
    let own = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin/{name}"));
    if own.exists() { own } else { name.into() }
}

fn run(program: &Path, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    assert!(output.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_and_the_master_key_are_the_whole_installation_in_another_database() {
    gantry_testkit::clause("7.1.h");
    gantry_testkit::clause("7.1.i");
    let before = Suite::start().await;
    let [ada, ..] = before.acme().await;
    assert_eq!(before.post(&ada, "/api/v1/orgs/acme/teams", json!({ "name": "dev" })).await.0, 201);
    let me = before.get(&ada, "/api/v1/me").await.1;
    let platform = before.world.running.platform.clone();
    let folder = tempfile::tempdir().unwrap();
    let [dump, key] = ["database.dump", "master.key"].map(|name| folder.path().join(name));

    // While it runs.
    let db = before.host.db();
    let (saves, restores, asks) = (program(&db.admin, "pg_dump").await, program(&db.admin, "pg_restore").await, program(&db.admin, "psql").await);
    let (file, from) = (dump.display().to_string(), platform.database_url.expose());
    run(&saves, &["--format=custom", "--schema", &platform.schema("identity"), "--file", &file, "--dbname", from]);
    std::fs::copy(&platform.master_key_file, &key).unwrap();
    let elsewhere = format!("{}_elsewhere", platform.prefix);
    sqlx::query(AssertSqlSafe(format!("create database {elsewhere}"))).execute(&db.admin).await.unwrap();
    let mut url: url::Url = from.parse().unwrap();
    url.set_path(&elsewhere);
    before.world.running.stop().await;

    run(&restores, &["--exit-on-error", "--dbname", url.as_str(), &file]);
    let (prefix, restored) = (platform.prefix.clone(), Secret::new(url.as_str()));
    let world = World::with(move |p: &mut Platform| (p.prefix, p.database_url, p.master_key_file) = (prefix, restored, key)).await;
    let after = Suite::on(world, Config::default()).await;
    // The token from before is good, what was sealed opens, and people sign in with their passwords.
    let (status, still) = after.get(&ada, "/api/v1/me").await;
    assert_eq!((status, &still["id"], &still["email"]), (200, &me["id"], &json!("ada@example.org")), "{still}");
    let again = after.access("ada").await;
    let (_, members) = after.get(&again, "/api/v1/orgs/acme/members").await;
    assert_eq!(members["items"].as_array().unwrap().len(), 3, "{members}");
    let (_, teams) = after.get(&again, "/api/v1/orgs/acme/teams").await;
    assert_eq!(teams["items"][0]["name"], "dev", "{teams}");
    // It goes on where it was.
    assert_eq!(after.post(&again, "/api/v1/orgs/acme/projects", json!({ "name": "shop" })).await.0, 409, "it is there already");
    assert_eq!(after.post(&again, "/api/v1/orgs/acme/projects", json!({ "name": "next" })).await.0, 201);
    assert_eq!(after.json(Method::GET, "/api/v1/orgs/acme/projects/next", Some(&again), None).await.0, 200);
    let verdict = gantry_es_pg::verify(after.host.log()).await.unwrap();
    assert!(verdict.events > 5 && verdict.faults.is_empty(), "{:?}", verdict.faults);

    after.world.running.stop().await;
    run(&asks, &["--quiet", "--command", &format!("drop database {elsewhere} with (force)"), "--dbname", platform.database_url.expose()]);
}
