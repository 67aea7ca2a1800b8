use std::io::Write;
use std::sync::{Arc, Mutex};

use super::*;

fn source(running: bool) -> Source {
    Source {
        instance: InstanceId(Uuid::from_u128(1)),
        org: "acme".into(),
        project: "shop".into(),
        space: "test".into(),
        app: "web".into(),
        app_id: Uuid::from_u128(2),
        workload: "web".into(),
        container: "c".into(),
        attempt: 0,
        running,
    }
}

struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("logs").join(source(true).instance.to_string())).unwrap();
        Self { folder }
    }

    async fn shipper(&self) -> Shipper {
        let disk = Disk::open(self.folder.path().join("state")).await.unwrap();
        Shipper::open("n1".into(), self.folder.path().join("logs"), disk, Cri::lazy("/nowhere")).await
    }

    fn write(&self, text: &str) {
        let path = self.folder.path().join("logs").join(source(true).instance.to_string()).join("0.log");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "2026-11-22T19:28:04.123456789Z stdout F {text}").unwrap();
    }
}

async fn ship(shipper: &mut Shipper, fail: bool) -> Result<Vec<(Uuid, LogBatch)>, ()> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = seen.clone();
    let publish = move |id, batch| {
        let keep = keep.clone();
        async move {
            if fail {
                return Err(());
            }
            keep.lock().unwrap().push((id, batch));
            Ok(())
        }
    };
    shipper.round(&[source(true)], publish).await?;
    let all = seen.lock().unwrap().clone();
    Ok(all)
}

fn texts(batches: &[(Uuid, LogBatch)]) -> Vec<&str> {
    batches.iter().flat_map(|(_, b)| &b.lines).map(|l| l.text.as_str()).collect()
}

#[tokio::test]
async fn lines_are_shipped_once_over_restarts_of_the_agent() {
    let stage = Stage::new();
    stage.write("one");
    let mut first = stage.shipper().await;
    assert_eq!(texts(&ship(&mut first, false).await.unwrap()), ["one"]);
    stage.write("two");
    let mut second = stage.shipper().await;
    assert_eq!(texts(&ship(&mut second, false).await.unwrap()), ["two"]);
    assert!(ship(&mut second, false).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_agent_that_does_not_know_yet_what_runs_forgets_nothing() {
    let stage = Stage::new();
    stage.write("one");
    assert_eq!(texts(&ship(&mut stage.shipper().await, false).await.unwrap()), ["one"]);
    let mut next = stage.shipper().await;
    next.round(&[], |_, _| async { Ok::<(), ()>(()) }).await.unwrap();
    stage.write("two");
    assert_eq!(texts(&ship(&mut next, false).await.unwrap()), ["two"]);
    let another = Source { attempt: 1, ..source(true) };
    next.round(&[another], |_, _| async { Ok::<(), ()>(()) }).await.unwrap();
    assert!(next.positions.keys().all(|name| name.ends_with("/1")), "one that is over: {:?}", next.positions);
}

#[tokio::test]
async fn who_is_not_due_is_looked_at_once_and_then_waits() {
    let stage = Stage::new();
    stage.write("one");
    let mut shipper = stage.shipper().await;
    let mut lines = async |due: bool| {
        let seen = shipper.round_of(&[source(true)], |_| due, |_, _| async { Ok::<(), ()>(()) }).await;
        seen.unwrap()
    };
    assert_eq!(lines(false).await, 1, "nobody has looked before");
    stage.write("two");
    assert_eq!(lines(false).await, 0);
    assert_eq!(lines(true).await, 1);
}

#[tokio::test]
async fn what_is_left_in_a_file_that_was_moved_aside_comes_before_the_new_one() {
    let stage = Stage::new();
    stage.write("one");
    let mut first = stage.shipper().await;
    assert_eq!(texts(&ship(&mut first, false).await.unwrap()), ["one"]);
    stage.write("two");
    let path = stage.folder.path().join("logs").join(source(true).instance.to_string()).join("0.log");
    std::fs::rename(&path, path.with_extension("log.1")).unwrap();
    stage.write("3");
    // For the next agent, and after a try that failed.
    let mut second = stage.shipper().await;
    assert!(ship(&mut second, true).await.is_err());
    let batches = ship(&mut second, false).await.unwrap();
    assert_eq!(texts(&batches), ["two", "3"]);
    assert!(batches[0].1.offset < batches[1].1.offset, "offsets only grow");
    stage.write("four");
    assert_eq!(texts(&ship(&mut second, false).await.unwrap()), ["four"]);
}

#[tokio::test]
async fn who_prints_without_end_keeps_no_other_waiting() {
    let stage = Stage::new();
    let (loud, quiet) = (source(true), Source { instance: InstanceId(Uuid::from_u128(3)), ..source(true) });
    let folder = stage.folder.path().join("logs").join(quiet.instance.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("0.log"), "2026-11-22T19:28:04Z stdout F heard\n").unwrap();
    let long = "x".repeat(8_000);
    let path = stage.folder.path().join("logs").join(loud.instance.to_string()).join("0.log");
    let all: String = (0..800).map(|n| format!("2026-11-22T19:28:04Z stdout F {n} {long}\n")).collect();
    assert!(all.len() > PIECES as usize * CHUNK);
    std::fs::write(path, all).unwrap();
    let mut shipper = stage.shipper().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = seen.clone();
    let mut publish = move |_: Uuid, batch: LogBatch| {
        let first = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
        keep.lock().unwrap().extend(batch.lines.iter().map(|l| first(&l.text)));
        async { Ok::<(), ()>(()) }
    };
    shipper.round(&[loud.clone(), quiet.clone()], &mut publish).await.unwrap();
    assert!(!shipper.behind().is_empty());
    assert_eq!(seen.lock().unwrap().last().map(String::as_str), Some("heard"));
    assert!(seen.lock().unwrap().len() < 800);
    while !shipper.behind().is_empty() {
        // Nothing is heard of it, and it has more all the same.
        shipper.round_of(&[loud.clone(), quiet.clone()], |_| false, &mut publish).await.unwrap();
    }
    let numbers: Vec<String> = seen.lock().unwrap().iter().filter(|l| *l != "heard").cloned().collect();
    assert_eq!(numbers, (0..800).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_that_was_moved_by_an_agent_that_ended_in_that_moment_is_read_on() {
    let stage = Stage::new();
    stage.write("one");
    let path = stage.folder.path().join("logs").join(source(true).instance.to_string()).join("0.log");
    std::fs::rename(&path, path.with_extension("log.1")).unwrap();
    // Nothing was written down of it, and the runtime, which does not answer, writes on to the old one.
    let mut shipper = stage.shipper().await;
    assert_eq!(texts(&ship(&mut shipper, false).await.unwrap()), ["one"]);
    let mut old = std::fs::OpenOptions::new().append(true).open(path.with_extension("log.1")).unwrap();
    writeln!(old, "2026-11-22T19:28:04.123456789Z stdout F two").unwrap();
    assert_eq!(texts(&ship(&mut shipper, false).await.unwrap()), ["two"]);
    stage.write("three");
    assert_eq!(texts(&ship(&mut shipper, false).await.unwrap()), ["three"]);
}

#[tokio::test]
async fn lines_that_could_not_be_published_come_again() {
    let stage = Stage::new();
    stage.write("one");
    let mut shipper = stage.shipper().await;
    assert!(ship(&mut shipper, true).await.is_err());
    stage.write("two");
    let batches = ship(&mut shipper, false).await.unwrap();
    assert_eq!(texts(&batches), ["one", "two"]);
    assert_eq!(batches[0].1.offset, 0);
}
