//! Against a real, private containerd. Needs root and the packages; says so and passes where they are missing.

#![allow(clippy::unwrap_used)]

mod containerd;
mod sessions;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use containerd::{BUSYBOX, Containerd, Subnet};
use gantry_cri::{ContainerSpec, ContainerState, Cri, CriError, Limits, PodSpec, Task};
use tokio_util::sync::CancellationToken;

#[test]
fn no_two_tests_have_the_same_subnet() {
    if let Some(why) = containerd::missing() {
        eprintln!("skipped: no subnet was taken: {why}");
        return;
    }
    let (one, two) = (Subnet::take(), Subnet::take());
    assert_ne!(one.number, two.number);
    assert_ne!(one.services(), two.services());
    assert_eq!(one.addresses(), Vec::<String>::new());
}

/// One containerd for all of them: it takes a second to start.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_containerd_does_what_the_client_says() {
    if let Some(why) = containerd::missing() {
        eprintln!("skipped: the tests with a real containerd did not run: {why}");
        return;
    }
    let containerd = Containerd::start().await;
    let cri = containerd.cri().await;
    let pods = format!("10.{}.", containerd.subnet.number);
    let folder = containerd.folder.path().join("logs");
    tokio::join!(
        a_task_gives_its_lines_and_its_exit_code(&cri, &folder),
        a_task_out_of_time_is_stopped(&cri, &folder),
        a_cancelled_task_is_stopped(&cri, &folder),
        limits_and_user_hold_inside(&cri, &folder),
        a_container_lives_is_asked_and_goes(&cri, &folder, &pods),
        an_image_that_is_nowhere_is_an_error(&cri, &folder),
        a_task_over_its_memory_is_killed(&cri, &folder),
        sessions::a_session_has_its_streams_and_its_exit_code(&cri, &folder),
    );
    containerd.finish().await;
}

async fn a_task_gives_its_lines_and_its_exit_code(cri: &Cri, folder: &std::path::Path) {
    let task = Task::new("lines", BUSYBOX, folder.join("lines"))
        .command(["sh", "-c", "echo $GREETING; cat /in/file; echo oops >&2; printf tail; exit 7"])
        .env("GREETING", "hello")
        .mount(folder.join("in"), "/in", true);
    tokio::fs::create_dir_all(folder.join("in")).await.unwrap();
    tokio::fs::write(folder.join("in/file"), "from the host\n").await.unwrap();
    let mut lines = Vec::new();
    let ended = cri.run_to_completion(task, CancellationToken::new(), |l| lines.push((l.stream.as_str(), l.text))).await.unwrap();
    assert_eq!((ended.exit_code, ended.timed_out, ended.cancelled), (7, false, false));
    let of = |stream: &str| lines.iter().filter(|l| l.0 == stream).map(|l| l.1.as_str()).collect::<Vec<_>>();
    assert_eq!(of("stdout"), ["hello", "from the host", "tail"]);
    assert_eq!(of("stderr"), ["oops"]);
}

async fn a_task_out_of_time_is_stopped(cri: &Cri, folder: &std::path::Path) {
    let mut task = Task::new("slow", BUSYBOX, folder.join("slow")).command(["sleep", "1000"]).timeout(Duration::from_millis(500));
    task.grace = Duration::ZERO;
    let ended = cri.run_to_completion(task, CancellationToken::new(), drop).await.unwrap();
    assert_eq!((ended.exit_code, ended.timed_out), (137, true));
}

async fn a_cancelled_task_is_stopped(cri: &Cri, folder: &std::path::Path) {
    let task = Task::new("cancelled", BUSYBOX, folder.join("cancelled")).command(["sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done"]);
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let ended = cri
        .run_to_completion(task, cancel, move |line| {
            if line.text == "up" {
                stop.cancel()
            }
        })
        .await
        .unwrap();
    assert_eq!((ended.exit_code, ended.cancelled), (3, true));
}

async fn limits_and_user_hold_inside(cri: &Cri, folder: &std::path::Path) {
    let mut task = Task::new("limits", BUSYBOX, folder.join("limits"))
        .command([
            "sh",
            "-c",
            "id -u; grep -c . /proc/self/cgroup >/dev/null; touch /x 2>/dev/null && echo writable || echo read-only; grep Seccomp: /proc/self/status",
        ])
        .limits(Limits { cpu_millis: 500, memory_bytes: 64 << 20, ..Limits::default() });
    task.container.user = "1000:1000".into();
    task.container.read_only_root = true;
    task.container.cap_drop = vec!["ALL".into()];
    task.container.no_new_privileges = true;
    let mut lines = Vec::new();
    let ended = cri.run_to_completion(task, CancellationToken::new(), |l| lines.push(l.text)).await.unwrap();
    assert_eq!(ended.exit_code, 0);
    assert_eq!(lines, ["1000", "read-only", "Seccomp:\t2"]);
}

async fn a_task_over_its_memory_is_killed(cri: &Cri, folder: &std::path::Path) {
    let task = Task::new("greedy", BUSYBOX, folder.join("greedy"))
        .command(["sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=200M count=1"])
        .limits(Limits { memory_bytes: 32 << 20, ..Limits::default() });
    let ended = cri.run_to_completion(task, CancellationToken::new(), drop).await.unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_str()), (137, "OOMKilled"));
}

async fn a_container_lives_is_asked_and_goes(cri: &Cri, folder: &std::path::Path, pods: &str) {
    let labels = BTreeMap::from([("gantry.io/test".to_owned(), "lives".to_owned())]);
    let spec = PodSpec {
        name: "lives".into(),
        namespace: "test".into(),
        uid: "1".into(),
        log_directory: folder.join("lives"),
        labels: labels.clone(),
        cgroup_parent: "/gantry-test".into(),
        ..PodSpec::default()
    };
    let pod = cri.run_pod(&spec).await.unwrap();
    let status = cri.pod_status(&pod).await.unwrap();
    assert!(status.ready && status.address.starts_with(pods), "{status:?}");
    let container = ContainerSpec {
        name: "main".into(),
        image: BUSYBOX.into(),
        args: vec!["-c".into(), "sleep 1000".into()],
        labels: labels.clone(),
        log_path: "0.log".into(),
        ..ContainerSpec::default()
    };
    let id = cri.create_container(&pod, &spec, &container).await.unwrap();
    cri.start_container(&id).await.unwrap();
    let seen = cri.container_status(&id).await.unwrap();
    assert_eq!(seen.state, ContainerState::Running);
    assert!(std::path::Path::new(&format!("/proc/{}", seen.pid.unwrap())).exists());
    let said = cri.exec_sync(&id, &["hostname".into()], Duration::from_secs(60)).await.unwrap();
    assert_eq!((said.exit_code, said.stdout), (0, b"lives\n".to_vec()));
    let begun = Instant::now();
    let late = cri.exec_sync(&id, &["sleep".into(), "60".into()], Duration::from_secs(1)).await;
    assert!(matches!(late, Err(CriError::TimedOut { .. })), "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(40), "long before it would have ended: {:?}", begun.elapsed());
    let usage = cri.usage(&labels).await.unwrap();
    assert!(usage.len() == 1 && usage[0].memory_working_set_bytes > 0, "{usage:?}");
    cri.stop_container(&id, Duration::ZERO).await.unwrap();
    assert_eq!(cri.container_status(&id).await.unwrap().exit_code, 137);
    for _ in 0..2 {
        cri.stop_pod(&pod).await.unwrap();
        cri.remove_pod(&pod).await.unwrap();
    }
    assert!(cri.list_pods(&labels).await.unwrap().is_empty() && cri.list_containers(&labels).await.unwrap().is_empty());
    assert!(cri.container_status(&id).await.unwrap_err().is_not_found());
}

async fn an_image_that_is_nowhere_is_an_error(cri: &Cri, folder: &std::path::Path) {
    let mut task = Task::new("absent", "gantry.local/absent:1", folder.join("absent"));
    task.pull = false;
    let error = cri.run_to_completion(task, CancellationToken::new(), drop).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    assert!(!cri.image_exists("gantry.local/absent:1").await.unwrap() && cri.image_exists(BUSYBOX).await.unwrap());
    let folders = cri.image_folders().await.unwrap();
    assert!(!folders.is_empty() && folders.iter().all(|f| f.is_dir()), "{folders:?}");
}
