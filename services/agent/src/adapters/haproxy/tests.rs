use super::*;

fn haproxy(folder: &Path, binary: &str) -> Haproxy {
    Haproxy::new(binary.into(), folder.join("haproxy"), folder.join("haproxy.log"), "127.0.0.1:0".into())
}

#[tokio::test]
async fn one_that_does_not_answer_is_ended_and_nobody_elses_is() {
    let folder = tempfile::tempdir().unwrap();
    let ours = haproxy(folder.path(), "/nowhere/haproxy");
    let start = |config: PathBuf| {
        // It waits for a word that never comes.
        let words = ["-c", "read word; exit 0", "haproxy", "-W", "-f"];
        std::process::Command::new("sh").args(words).arg(config).stdin(Stdio::piped()).spawn().unwrap()
    };
    let (mut stuck, mut another) = (start(ours.config()), start(folder.path().join("other/haproxy.cfg")));
    let seen = async {
        // Between the fork and the program the words are ours.
        while ours.processes().await != [stuck.id()] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen).await.expect("it is found");
    ours.end_left().await;
    assert_eq!(stuck.wait().unwrap().code(), None, "by a signal");
    assert!(another.try_wait().unwrap().is_none());
    another.kill().unwrap();
    another.wait().unwrap();
}

#[tokio::test]
async fn a_number_of_an_earlier_start_is_nobodys_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let ours = haproxy(folder.path(), "/nowhere/haproxy");
    let mut somebodys = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    std::fs::create_dir_all(folder.path().join("haproxy")).unwrap();
    std::fs::write(folder.path().join("haproxy/haproxy.pid"), format!("{}\n", somebodys.id())).unwrap();
    ours.stop().await;
    assert!(somebodys.try_wait().unwrap().is_none());
    somebodys.kill().unwrap();
    somebodys.wait().unwrap();
}

#[tokio::test]
async fn one_that_answers_nobody_is_stopped_with_all_its_processes() {
    let folder = tempfile::tempdir().unwrap();
    let ours = haproxy(folder.path(), "/nowhere/haproxy");
    std::fs::create_dir_all(folder.path().join("haproxy")).unwrap();
    // A master that replaces itself, without a socket, and a worker that the file does not name; one of them does not listen.
    let start = |script: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script, "haproxy", "-W", "-f"]).arg(ours.config()).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let (mut master, mut worker) = (start("read word; exit 0"), start("trap '' TERM; echo deaf; read word; exit 0"));
    let mut said = [0; 5];
    std::io::Read::read_exact(worker.stdout.as_mut().unwrap(), &mut said).unwrap();
    std::fs::write(folder.path().join("haproxy/haproxy.pid"), format!("{}\n", master.id())).unwrap();
    // Ended, but not waited for, they have no words any more.
    ours.end_within(Duration::from_millis(300)).await;
    assert_eq!((master.wait().unwrap().code(), worker.wait().unwrap().code()), (None, None), "by signals");
    assert!(ours.processes().await.is_empty());
}

#[tokio::test]
async fn what_it_prints_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let ours = haproxy(folder.path(), "/nowhere/haproxy");
    ours.bound_log().await;
    let log = std::fs::File::create(folder.path().join("haproxy.log")).unwrap();
    log.set_len(LOG_BYTES).unwrap();
    ours.bound_log().await;
    assert_eq!(log.metadata().unwrap().len(), LOG_BYTES);
    log.set_len(LOG_BYTES + 1).unwrap();
    ours.bound_log().await;
    assert_eq!(log.metadata().unwrap().len(), 0);
}

/// Answers one question.
async fn answer(listener: &tokio::net::UnixListener, asked: &str, with: &str) {
    let (mut client, _) = listener.accept().await.unwrap();
    let mut word = String::new();
    client.read_to_string(&mut word).await.unwrap();
    assert_eq!(word, format!("{asked}\n"));
    client.write_all(with.as_bytes()).await.unwrap();
}

const PROCESSES: &str = "#<PID> <type>\n1 master\n# workers\n9 worker\n# old workers\n7 worker\n# programs\n";

#[tokio::test]
async fn a_master_that_is_just_replacing_itself_is_asked_for_its_older_workers_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("haproxy")).unwrap();
    let ours = haproxy(folder.path(), "/nowhere/haproxy");
    let master = tokio::net::UnixListener::bind(ours.master()).unwrap();
    let answers = async {
        answer(&master, "show proc", "").await;
        answer(&master, "show proc", PROCESSES).await;
    };
    let (older, ()) = tokio::join!(ours.older_workers(), answers);
    assert_eq!(older.unwrap(), [7]);
}

#[tokio::test]
async fn what_an_older_worker_that_does_not_answer_has_under_way_is_not_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("haproxy")).unwrap();
    let ours = haproxy(folder.path(), "/nowhere/haproxy");
    let worker = tokio::net::UnixListener::bind(&ours.places.stats_socket).unwrap();
    let master = tokio::net::UnixListener::bind(ours.master()).unwrap();
    let csv = "# pxname,svname,scur\nweb,s0,1\n";
    let answers = async {
        answer(&worker, "show stat", csv).await;
        answer(&master, "show proc", PROCESSES).await;
        answer(&master, "@!7 show stat", csv).await;
    };
    let (sum, ()) = tokio::join!(ours.sessions(), answers);
    assert_eq!(sum.unwrap(), BTreeMap::from([(("web".to_owned(), 0), 2)]));
    let answers = async {
        answer(&worker, "show stat", csv).await;
        answer(&master, "show proc", PROCESSES).await;
        // And nobody reads what the older one is asked.
    };
    let (sum, ()) = tokio::join!(ours.sessions(), answers);
    assert!(sum.is_err());
}

#[tokio::test]
async fn a_worker_that_takes_connections_and_says_nothing_is_stuck_and_one_that_is_not_there_is_not() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("haproxy")).unwrap();
    let ours = haproxy(folder.path(), "/nowhere/haproxy");
    assert!(!ours.is_stuck(Duration::from_secs(60)).await && !ours.serves().await);
    let worker = tokio::net::UnixListener::bind(&ours.places.stats_socket).unwrap();
    assert!(ours.is_stuck(Duration::from_millis(100)).await);
    drop(worker.accept().await.unwrap());
    let (stuck, ()) = tokio::join!(ours.is_stuck(Duration::from_secs(60)), answer(&worker, "show info", "Pid: 7\n"));
    assert!(!stuck);
    let (serves, ()) = tokio::join!(ours.serves(), answer(&worker, "show info", "Name: HAProxy\nPid: 7\n"));
    assert!(serves);
}

#[tokio::test]
async fn an_older_worker_that_is_stuck_is_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("haproxy")).unwrap();
    let ours = haproxy(folder.path(), "/nowhere/haproxy");
    let master = tokio::net::UnixListener::bind(ours.master()).unwrap();
    let commands = ["a", "b", "c"].map(str::to_owned);
    // Nobody reads what is asked.
    tokio::time::timeout(OLDER_ANSWER_WITHIN * 2, ours.tell_older(7, &commands)).await.expect("it holds up nobody");
    drop(master);
}

#[tokio::test]
async fn without_the_shared_port_the_services_have_their_own_until_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let shared = taken.local_addr().unwrap().to_string();
    let ours = Haproxy::new("/nowhere/haproxy".into(), folder.path().join("haproxy"), folder.path().join("haproxy.log"), shared.clone());
    let bind = format!("  bind {shared}\n");
    let written = async |goes_on: bool| {
        ours.write(&Layout::default(), goes_on).await.unwrap();
        std::fs::read_to_string(ours.config()).unwrap().contains(&bind)
    };
    assert!(!ours.may_have_shared_port(), "nobody has asked for it");
    assert!(!written(false).await && !written(true).await, "the one that goes on does not have it either");
    assert!(!ours.may_have_shared_port());
    drop(taken);
    assert!(ours.may_have_shared_port());
    assert!(written(true).await && !ours.may_have_shared_port());
    // Now it is HAProxy's.
    let taken = std::net::TcpListener::bind(&shared).unwrap();
    assert!(written(true).await && !written(false).await);
    drop(taken);
}

#[tokio::test]
async fn a_certificate_lies_where_only_haproxy_reads_it_and_goes_with_its_route() {
    use std::os::unix::fs::PermissionsExt;

    use crate::domain::balance::{Access, Certified, Layer7, Service, Shape};
    let folder = tempfile::tempdir().unwrap();
    // Takes what is called good.
    let binary = folder.path().join("takes");
    let script = "#!/bin/sh\nfor last; do :; done\nfile=$(sed -n 's/.* crt \\([^ ]*\\) .*/\\1/p' \"$last\")\ngrep -q good \"$file\"\n";
    // Written by another process: a program that a process here is writing cannot be started, also if that was another test's fork.
    let write = ["-c", "printf '%s' \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", script];
    assert!(std::process::Command::new("sh").args(write).arg(&binary).status().unwrap().success());
    let ours = haproxy(folder.path(), &binary.display().to_string()).with_https("127.0.0.1:0".into());
    assert!(
        ours.takes("aa", b"good".to_vec()).await && !ours.takes("bb", b"broken".to_vec()).await && !ours.takes("cc", b"good, but ENCRYPTED".to_vec()).await
    );
    let certified = |print: &str| Certified { host: format!("{print}.test"), print: print.into(), plain_http: false };
    let shape = Shape {
        name: "web_1".into(),
        http: true,
        algorithm: "roundrobin".into(),
        binds: BTreeSet::new(),
        routes: BTreeSet::new(),
        headers: Vec::new(),
        hold: String::new(),
        access: Access::default(),
        layer7: Layer7 { certificates: vec![certified("aa"), certified("bb")], ..Layer7::default() },
    };
    let layout = Layout { services: BTreeMap::from([("svc".into(), Service { shape, slots: Vec::new() })]), ..Layout::default() };
    ours.write(&layout, false).await.unwrap();
    let files = || {
        let all = std::fs::read_dir(folder.path().join("haproxy/certificates")).unwrap();
        all.map(|file| file.unwrap()).map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().permissions().mode() & 0o777))
    };
    // One that is not there keeps nobody else's configuration from being loaded.
    assert_eq!(files().collect::<Vec<_>>(), [("aa.pem".to_owned(), 0o600)]);
    let list = std::fs::read_to_string(folder.path().join("haproxy/certificates.list")).unwrap();
    assert!(list.ends_with("/aa.pem aa.test\n") && list.lines().count() == 1, "{list}");
    assert!(std::fs::read_to_string(ours.config()).unwrap().contains(" ssl crt-list "));
    ours.drop_certificates(&layout).await;
    assert_eq!(files().count(), 1);
    ours.drop_certificates(&Layout::default()).await;
    assert_eq!(files().count(), 0);
}

/// One after the other; HAProxy also looks whether it is there, and asks nothing then.
async fn serve(listener: &tokio::net::TcpListener) {
    loop {
        let Ok((mut client, _)) = listener.accept().await else { continue };
        let mut asked = [0; 1024];
        if client.read(&mut asked).await.is_ok_and(|read| read > 0) {
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
        }
    }
}

#[tokio::test]
async fn a_request_finds_the_only_server_that_is_left() {
    use crate::domain::balance::{Access, Layer7, Server, Service, Shape};
    let binary = "/usr/sbin/haproxy";
    if !Path::new(binary).exists() {
        eprintln!("skipped: no HAProxy was asked for the only server that is left: not installed: haproxy");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [shared, own] = [(); 2].map(|()| gantry_testkit::free_address().to_string());
    let ours = Haproxy::new(binary.into(), folder.path().join("haproxy"), folder.path().join("haproxy.log"), shared);
    let shape = Shape {
        name: "web_1".into(),
        http: true,
        algorithm: "roundrobin".into(),
        binds: BTreeSet::from([own.clone()]),
        routes: BTreeSet::new(),
        headers: Vec::new(),
        hold: String::new(),
        access: Access::default(),
        layer7: Layer7::default(),
    };
    let left = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = |n: u8, port: u16| {
        let server = Server { address: "127.0.0.1".into(), port, weight: 100 };
        Slot::Serving { instance: gantry_kernel::Uuid::from_u128(n.into()).into(), server }
    };
    // Nobody listens at the first port.
    let slots = (0..8).map(|n| serving(n, if n == 0 { left.local_addr().unwrap().port() } else { 1 })).collect();
    let layout = Layout { services: BTreeMap::from([("svc".into(), Service { shape, slots })]), ..Layout::default() };
    let ask = async {
        // A busy machine may take longer than it has.
        while let Err(error) = ours.load(&layout).await {
            eprintln!("{error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut answers = Vec::new();
        for _ in 0..3 {
            let mut client = tokio::net::TcpStream::connect(&own).await?;
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            client.read_to_string(&mut answer).await?;
            answers.push(answer.lines().next().unwrap_or_default().to_owned());
        }
        Ok::<_, io::Error>(answers)
    };
    let answers = tokio::select! {
        answers = tokio::time::timeout(Duration::from_secs(60), ask) => answers,
        () = serve(&left) => unreachable!("it serves for ever"),
    };
    ours.stop().await;
    assert_eq!(answers.expect("it answers in time").unwrap(), ["HTTP/1.1 200 OK"; 3]);
}
