//! The private servers themselves: started, used, killed, started again, stopped.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use gantry_servers::{PidFile, TestServers, until};

fn pid(folder: &Path, name: &str) -> String {
    let text = fs::read_to_string(folder.join(format!("run/{name}.pid"))).expect("a pid file");
    text.split(' ').next().expect("a number").to_owned()
}

fn write(url: &str) -> i64 {
    let mut client = postgres::Client::connect(url, postgres::NoTls).expect("connected");
    client.batch_execute("CREATE TABLE IF NOT EXISTS kept (at int)").expect("created");
    client.execute("INSERT INTO kept VALUES (1)", &[]).expect("inserted");
    client.query_one("SELECT count(*) FROM kept", &[]).expect("counted").get(0)
}

#[test]
fn servers_are_shared_survive_kill_9_with_their_data_and_stop() {
    // A folder closed to others: Postgres must find its own place all the same.
    let home = tempfile::tempdir().expect("a folder");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).expect("closed");
    let folder = home.path().join("servers");
    let first = TestServers::in_folder(&folder).expect("started");
    assert_eq!(write(&first.database_url), 1);
    let again = TestServers::in_folder(&folder).expect("found running");
    assert_eq!((&again.database_url, &again.nats_url, &again.redis_url), (&first.database_url, &first.nats_url, &first.redis_url));
    for name in ["postgres", "nats", "redis"] {
        let killed = std::process::Command::new("kill").args(["-9", &pid(&folder, name)]).status().expect("kill runs");
        assert!(killed.success(), "{name} was running");
        let file = PidFile::new(folder.join(format!("run/{name}.pid")));
        until("its end", Duration::from_secs(60), || file.alive().map_or(Ok(()), |pid| bail!("{pid} lives"))).expect("gone");
    }
    let back = TestServers::in_folder(&folder).expect("started again");
    assert_eq!(write(&back.database_url), 2, "what was committed is still there");
    TestServers::stop_in(&folder).expect("stopped");
    assert!(!folder.exists());
    assert!(postgres::Client::connect(&back.database_url, postgres::NoTls).is_err(), "it does not run any more");
}
