//! Commands, the container's own streams and ports, against a real containerd.

use std::path::Path;
use std::time::Duration;

use gantry_cri::{Attach, ContainerSpec, Cri, Exec, Input, Outcome, Output, PodSpec, Streams};

use crate::containerd::BUSYBOX;

struct Said {
    out: String,
    err: String,
    end: Outcome,
}

async fn all(mut streams: Streams) -> Said {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let end = loop {
        match tokio::time::timeout(Duration::from_secs(90), streams.output.recv()).await.expect("it goes on") {
            Some(Output::Stdout(bytes)) => out.extend_from_slice(&bytes),
            Some(Output::Stderr(bytes)) => err.extend_from_slice(&bytes),
            Some(Output::Done(end)) => break end,
            None => panic!("no end was said"),
        }
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { out: text(out), err: text(err), end }
}

fn shell(script: &str, tty: bool, stdin: bool) -> Exec {
    Exec { command: ["sh", "-c", script].map(str::to_owned).to_vec(), tty, stdin }
}

/// Ends when its terminal has the size.
const TO_SIZE: &str = "until [ \"$(stty size)\" = '17 91' ]; do sleep 0.1; done; stty size";

pub async fn a_session_has_its_streams_and_its_exit_code(cri: &Cri, folder: &Path) {
    let spec = PodSpec { name: "sessions".into(), namespace: "test".into(), uid: "2".into(), log_directory: folder.join("sessions"), ..PodSpec::default() };
    let pod = cri.run_pod(&spec).await.unwrap();
    let script = "echo inside > /tmp/index.html; httpd -p 127.0.0.1:8080 -h /tmp; while read line; do echo got $line; done; exit 9";
    let container = ContainerSpec {
        name: "main".into(),
        image: BUSYBOX.into(),
        args: vec!["-c".into(), script.into()],
        log_path: "0.log".into(),
        stdin: true,
        ..ContainerSpec::default()
    };
    let id = cri.create_container(&pod, &spec, &container).await.unwrap();
    cri.start_container(&id).await.unwrap();

    let said = all(cri.exec(&id, &shell("echo out; echo err >&2; exit 7", false, false)).await.unwrap()).await;
    assert_eq!((said.out.as_str(), said.err.as_str(), said.end), ("out\n", "err\n", Outcome::Exited(7)));

    // The end of the input is heard, and what comes after it is still given.
    let streams = cri.exec(&id, &shell("wc -c; echo after", false, true)).await.unwrap();
    for _ in 0..64 {
        streams.input.send(Input::Bytes(vec![b'x'; 50_000].into())).await.unwrap();
    }
    streams.input.send(Input::End).await.unwrap();
    let said = all(streams).await;
    assert_eq!((said.out.as_str(), said.end), ("3200000\nafter\n", Outcome::Exited(0)));

    // More than any window, without a reader that keeps up.
    let said = all(cri.exec(&id, &shell("yes 0123456789abcde | head -c 5000000", false, false)).await.unwrap()).await;
    assert_eq!((said.out.len(), said.end), (5_000_000, Outcome::Exited(0)));

    let streams = cri.exec(&id, &shell(TO_SIZE, true, true)).await.unwrap();
    streams.input.send(Input::Size { width: 91, height: 17 }).await.unwrap();
    let said = all(streams).await;
    assert!(said.out.contains("17 91") && said.end == Outcome::Exited(0), "{:?} {:?}", said.out, said.end);

    let said = all(cri.exec(&id, &Exec { command: vec!["no-such-program".into()], ..Exec::default() }).await.unwrap()).await;
    assert!(matches!(&said.end, Outcome::Failed(why) if why.contains("no-such-program")), "{:?}", said.end);

    // Listens on the pod's own loopback only.
    let mut answer = String::new();
    for _ in 0..50 {
        let streams = cri.port_forward(&pod, 8080).await.unwrap();
        streams.input.send(Input::Bytes("GET /index.html HTTP/1.0\r\n\r\n".into())).await.unwrap();
        answer = all(streams).await.out;
        if answer.contains("inside") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(answer.starts_with("HTTP/1.") && answer.contains("inside"), "{answer}");
    let said = all(cri.port_forward(&pod, 9).await.unwrap()).await;
    assert!(matches!(&said.end, Outcome::Failed(why) if why.contains("refused")), "{:?}", said.end);

    // To end the input of an attached session is to leave it, so it is not ended here.
    let mut streams = cri.attach(&id, Attach { tty: false, stdin: true }).await.unwrap();
    streams.input.send(Input::Bytes("hello\n".into())).await.unwrap();
    let said = tokio::time::timeout(Duration::from_secs(90), streams.output.recv()).await.unwrap();
    assert_eq!(said, Some(Output::Stdout("got hello\n".into())));
    cri.stop_pod(&pod).await.unwrap();
    cri.remove_pod(&pod).await.unwrap();
}
