//! Commands, streams and ports of pods, over WebSockets as API servers speak them.

use std::time::Duration;

use gantry_kernel::Env;
use gantry_kubernetes::{Access, Client, Command, Credential, Options, Outcome, Remote, Said, Target, Trouble};
use gantry_testkit::kubernetes::{ApiServer, Fault};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn started() -> (ApiServer, Client, Target) {
    let server = ApiServer::start().await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web-1", "namespace": "x" },
        "spec": { "nodeName": "n1", "containers": [{ "name": "web" }] }, "status": { "phase": "Running" }, "log": "begun\n",
    });
    server.put("pods", pod);
    let credential = Credential::Token { token: "good".into() };
    let access = Access { server: server.url.clone(), ca_pem: None, tls_server_name: None, insecure: false, credential };
    let client = Client::new(access, Options::new(Env::system())).expect("a client");
    (server, client, Target { namespace: "x".into(), pod: "web-1".into(), container: "web".into() })
}

fn sh(script: &str, stdin: bool) -> Command {
    Command { command: ["sh", "-c", script].map(str::to_owned).to_vec(), stdin, tty: false }
}

/// What is said until the end: output, standard error, and the end.
async fn heard(remote: &mut Remote) -> (String, String, Outcome) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let all = async {
        loop {
            match remote.output.next().await {
                Said::Stdout(bytes) => out.extend_from_slice(&bytes),
                Said::Stderr(bytes) => err.extend_from_slice(&bytes),
                Said::Done(outcome) => return outcome,
            }
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(90), all).await.expect("it ends");
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_its_streams_and_its_exit_code() {
    let (server, client, at) = started().await;
    let mut remote = client.exec(&at, &sh("read a; cat; echo \"$a\" >&2; exit 7", true)).await.unwrap();
    assert!(remote.input.ends(), "the fifth protocol");
    assert!(remote.input.size(80, 24).await);
    assert!(remote.input.write(b"first\nsec").await && remote.input.write(b"ond").await && remote.input.ping().await && remote.input.end().await);
    assert_eq!(heard(&mut remote).await, ("second".into(), "first\n".into(), Outcome::Exited(7)));
    assert_eq!(server.lock().sizes, [(80, 24)]);
    let mut remote = client.exec(&at, &sh("exit 0", false)).await.unwrap();
    assert_eq!(heard(&mut remote).await.2, Outcome::Exited(0));
    let missing = Command { command: vec!["no-such-program".into()], ..Command::default() };
    let mut remote = client.exec(&at, &missing).await.unwrap();
    let Outcome::Failed(why) = heard(&mut remote).await.2 else { panic!("it cannot have run") };
    assert!(why.contains("executable file not found"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_before_1_30_have_the_fourth_protocol_which_cannot_end_input() {
    let (server, client, at) = started().await;
    server.lock().minor = 28;
    let mut remote = client.exec(&at, &sh("read a; echo \"$a\"", true)).await.unwrap();
    assert!(!remote.input.ends());
    assert!(remote.input.end().await && remote.input.write(b"hello\n").await);
    assert_eq!(heard(&mut remote).await, ("hello\n".into(), String::new(), Outcome::Exited(0)));
    // Some refuse the whole offer for the part that they do not know.
    let whole = r#"{"message":"unable to upgrade: requested protocol(s) are not supported: [v5.channel.k8s.io v4.channel.k8s.io]"}"#;
    server.fault(Fault { method: "GET", path: "/exec", status: 400, retry_after: None, body: whole.into() });
    let mut remote = client.exec(&at, &sh("echo again", false)).await.unwrap();
    assert_eq!(heard(&mut remote).await.0, "again\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_reached_and_one_that_nobody_listens_on_is_told() {
    let (server, client, at) = started().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    server.lock().ports.insert(8080, listener.local_addr().unwrap().port());
    let answering = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut piece = [0; 5];
        stream.read_exact(&mut piece).await.unwrap();
        stream.write_all(b"to you, too").await.unwrap();
        piece
    };
    let asking = async {
        let mut remote = client.forward(&at, 8080).await.unwrap();
        assert!(remote.input.write(b"hello").await && !remote.input.ends());
        heard(&mut remote).await
    };
    let (asked, said) = tokio::join!(answering, asking);
    assert_eq!(&asked, b"hello");
    assert_eq!(said, ("to you, too".into(), String::new(), Outcome::Closed));
    drop(listener);
    let mut remote = client.forward(&at, 8080).await.unwrap();
    let Outcome::Failed(why) = heard(&mut remote).await.2 else { panic!("nobody listens") };
    assert!(why.contains("error forwarding port 8080"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_why() {
    let (server, client, at) = started().await;
    server.lock().denied.insert("create pods/exec".into());
    let refused = client.exec(&at, &sh("true", false)).await.err().unwrap();
    assert!(matches!(refused, Trouble::Forbidden(_)), "{refused}");
    assert!(refused.to_string().contains("cannot create resource \"pods/exec\"") && refused.to_string().contains("cluster manifest"), "{refused}");
    server.lock().minor = 34;
    assert!(client.exec(&at, &sh("true", false)).await.is_ok(), "before 1.35 the right to get was enough");
    let gone = Target { pod: "web-2".into(), ..at.clone() };
    assert!(matches!(client.attach(&gone, false, false).await.err().unwrap(), Trouble::NotFound(_)));
    let other = Target { container: "db".into(), ..at.clone() };
    let refused = client.exec(&other, &sh("true", false)).await.err().unwrap();
    assert!(refused.to_string().contains("container db is not valid"), "{refused}");
    server.lock().tokens.clear();
    assert!(matches!(client.forward(&at, 80).await.err().unwrap(), Trouble::Unauthenticated(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containers_own_streams_are_carried() {
    let (_server, client, at) = started().await;
    let mut remote = client.attach(&at, true, false).await.unwrap();
    assert!(remote.input.write(b"hello\n").await && remote.input.end().await);
    assert_eq!(heard(&mut remote).await, ("begun\nhello\n".into(), String::new(), Outcome::Exited(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_has_ended_is_renewed_for_a_session_too() {
    let (server, _, at) = started().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "old").unwrap();
    let plugin = gantry_kubernetes::Exec {
        api_version: "client.authentication.k8s.io/v1".into(),
        command: "sh".into(),
        args: vec!["-c".into(), format!("printf '{{\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"%s\"}}}}' \"$(cat {})\"", file.display())],
        env: Vec::new(),
        provide_cluster_info: false,
    };
    let access = Access { server: server.url.clone(), ca_pem: None, tls_server_name: None, insecure: false, credential: Credential::Exec(plugin) };
    let mut options = Options::new(Env::system());
    options.plugins = vec!["sh".into()];
    let client = Client::new(access, options).unwrap();
    assert!(client.exec(&at, &sh("true", false)).await.is_err());
    std::fs::write(&file, "good").unwrap();
    let mut remote = client.exec(&at, &sh("echo in", false)).await.unwrap();
    assert_eq!(heard(&mut remote).await.0, "in\n");
}
