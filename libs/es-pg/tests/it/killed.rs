//! A writer killed with SIGKILL again and again loses nothing that it was told is stored.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use gantry_es_pg::Settings;

use crate::fixture::{Fixture, raise, stream};

const CHILD: &str = "GANTRY_TEST_WRITER";

/// Not a test of its own: the process that is killed. Prints each number once its append is acknowledged.
#[test]
fn killed_writer_child() {
    let Ok(spec) = std::env::var(CHILD) else { return };
    let (schema, url) = spec.split_once(' ').unwrap();
    let settings = Settings { url: url.to_owned(), schema: schema.to_owned(), max_connections: 4 };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let f = Fixture::open(settings).await;
        let next = f.log.read_stream(&stream("k"), 0).await.unwrap().len();
        for n in next + 1.. {
            let appended = f.log.append(raise("k", Some(n as i64 - 1), 1)).await.unwrap();
            // A line begun by the test harness may stand before it.
            println!("\nacked {n} {}", appended.position);
            std::io::stdout().flush().unwrap();
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_killing_the_writer_in_a_loop() {
    gantry_testkit::clause("7.1.c");
    let f = Fixture::new().await;
    let mut acked = 0;
    for round in 0..8u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::killed_writer_child", "--nocapture"])
            .env(CHILD, format!("{} {}", f.settings.schema, f.settings.url))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut in_round = 0;
        for line in lines.map_while(Result::ok) {
            if let Some(rest) = line.strip_prefix("acked ") {
                acked = rest.split(' ').next().unwrap().parse::<i64>().unwrap();
                in_round += 1;
                if in_round > 3 + round * 5 {
                    break;
                }
            }
        }
        // SIGKILL: no destructor, no goodbye.
        child.kill().unwrap();
        child.wait().unwrap();
        let events = f.log.read_stream(&stream("k"), 0).await.unwrap();
        assert!(events.len() as i64 >= acked, "round {round}: {} stored, {acked} acknowledged", events.len());
        assert!(events.iter().zip(1..).all(|(e, n)| e.version == n), "no gap, none twice");
    }
    // The dead writers' locks are gone with their connections.
    tokio::time::timeout(Duration::from_secs(60), f.log.append(raise("k", None, 1))).await.unwrap().unwrap();
    assert!(gantry_es_pg::verify(&f.log).await.unwrap().faults.is_empty());
}
