//! Sessions into instances over gRPC, with a node that answers as an agent does.

use gantry_client::scheduler as api;
use gantry_client::scheduler::session_output::Output;
use gantry_client::scheduler::sessions_client::SessionsClient;
use gantry_kernel::Role;
use gantry_scheduler::Config;
use gantry_testkit::rpc::by;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::place::{LONG, Place, config};
use crate::sessions::placed;

fn start(command: &[&str]) -> api::ExecStart {
    api::ExecStart {
        org: "acme".into(),
        project: "shop".into(),
        space: "test".into(),
        app: "web".into(),
        instance: "web-web-0".into(),
        command: command.iter().map(|c| (*c).to_owned()).collect(),
        tty: true,
        stdin: true,
        ..Default::default()
    }
}

fn said(input: api::exec_input::Input) -> api::ExecInput {
    api::ExecInput { input: Some(input) }
}

/// What is refused, or both sides of a session.
async fn exec(place: &Place, token: &str, start: api::ExecStart) -> Result<(mpsc::Sender<api::ExecInput>, Streaming<api::SessionOutput>), Status> {
    let (sender, receiver) = mpsc::channel(8);
    sender.send(said(api::exec_input::Input::Start(start))).await.unwrap();
    let mut sessions = SessionsClient::new(place.channel("gateway"));
    Ok((sender, sessions.exec(by(token, ReceiverStream::new(receiver))).await?.into_inner()))
}

async fn next(outputs: &mut Streaming<api::SessionOutput>) -> Result<Option<Output>, Status> {
    let message = tokio::time::timeout(LONG, outputs.message()).await.expect("it goes on")?;
    Ok(message.map(|m| m.output.expect("one of them")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_run_a_port_reached_and_files_copied_over_grpc() {
    let (place, agent) = placed(config()).await;
    let (input, mut outputs) = exec(&place, &place.token, start(&["sh"])).await.unwrap();
    input.send(said(api::exec_input::Input::Size(api::TerminalSize { width: 80, height: 24 }))).await.unwrap();
    input.send(said(api::exec_input::Input::Data(b"hello".to_vec()))).await.unwrap();
    assert_eq!(next(&mut outputs).await.unwrap(), Some(Output::Stdout(b"hello".to_vec())));
    // Saying no more closes the input, and the session goes on to its end.
    drop(input);
    assert_eq!(next(&mut outputs).await.unwrap(), Some(Output::ExitCode(5)));
    assert_eq!(next(&mut outputs).await.unwrap(), None);
    let opened = agent.opened();
    assert_eq!((opened[0].kind.as_str(), &opened[0].command, opened[0].tty, opened[0].stdin), ("exec", &vec!["sh".to_owned()], true, true));

    let api::ExecStart { org, project, space, app, instance, .. } = start(&[]);
    let mut sessions = SessionsClient::new(place.channel("gateway"));
    let to = api::ForwardStart { org: org.clone(), project: project.clone(), space: space.clone(), app: app.clone(), instance: instance.clone(), port: 80 };
    let (sender, receiver) = mpsc::channel(8);
    for input in [api::forward_input::Input::Start(to), api::forward_input::Input::Data(b"GET /".to_vec())] {
        sender.send(api::ForwardInput { input: Some(input) }).await.unwrap();
    }
    let mut from = sessions.forward(by(&place.token, ReceiverStream::new(receiver))).await.unwrap().into_inner();
    assert_eq!(from.message().await.unwrap().expect("an answer").data, b"GET /");
    drop(from);

    let ask = api::DownloadRequest {
        org: org.clone(),
        project: project.clone(),
        space: space.clone(),
        app: app.clone(),
        instance: instance.clone(),
        path: "/etc".into(),
        ..Default::default()
    };
    let mut pieces = sessions.download(by(&place.token, ask.clone())).await.unwrap().into_inner();
    let mut archive = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        archive.extend(piece.data);
    }
    assert_eq!(archive, b"first second", "whole, and ended well");
    let relative = sessions.download(by(&place.token, api::DownloadRequest { path: "etc".into(), ..ask })).await.unwrap_err();
    assert_eq!(relative.code(), Code::InvalidArgument);

    let upload = async |data: &'static [u8]| {
        let to = api::UploadStart {
            org: org.clone(),
            project: project.clone(),
            space: space.clone(),
            app: app.clone(),
            instance: instance.clone(),
            path: "/srv".into(),
            ..Default::default()
        };
        let inputs = [api::upload_input::Input::Start(to), api::upload_input::Input::Data(data.to_vec())].map(|i| api::UploadInput { input: Some(i) });
        sessions.clone().upload(by(&place.token, tokio_stream::iter(inputs))).await
    };
    upload(b"first second").await.unwrap();
    let refused = upload(b"other").await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "that is something else"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_websocket_is_refused_the_rpc_is_refused_and_an_idle_one_ends() {
    let (place, _agent) = placed(Config { sessions_per_user: 1, session_idle_seconds: 3, ..config() }).await;
    let refused = async |token: &str, start: api::ExecStart| exec(&place, token, start).await.err().expect("it is refused");
    let viewer = place.world.user();
    place.world.identity.grant(&format!("user:{viewer}"), Role::Viewer, place.space.scope()).await;
    place.world.identity.settle(&place.host).await;
    let denied = refused(&place.world.token(viewer, "vic"), start(&["sh"])).await;
    assert!(denied.code() == Code::PermissionDenied && denied.message().contains("apps.exec"), "{denied:?}");
    let none = refused(&place.token, api::ExecStart { instance: "web-web-9".into(), ..start(&["sh"]) }).await;
    assert_eq!(none.code(), Code::NotFound);
    assert_eq!(refused(&place.token, start(&[])).await.code(), Code::InvalidArgument, "no command");
    let mut sessions = SessionsClient::new(place.channel("gateway"));
    let unstarted = tokio_stream::iter([said(api::exec_input::Input::Data(b"x".to_vec()))]);
    assert_eq!(sessions.exec(by(&place.token, unstarted)).await.unwrap_err().code(), Code::InvalidArgument);
    let nobody = tokio_stream::iter([said(api::exec_input::Input::Start(start(&["sh"])))]);
    assert_eq!(sessions.exec(nobody).await.unwrap_err().code(), Code::Unauthenticated);

    let (_input, mut outputs) = exec(&place, &place.token, start(&["sh"])).await.unwrap();
    let second = refused(&place.token, start(&["sh"])).await;
    assert_eq!((second.code(), second.metadata().get("gantry-code").unwrap().to_str().unwrap()), (Code::ResourceExhausted, "scheduler.too_many_sessions"));
    let end = next(&mut outputs).await.unwrap_err();
    assert!(end.code() == Code::FailedPrecondition && end.message().contains("nothing went over it"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_without_a_word_gives_the_place_back() {
    let (place, _agent) = placed(Config { sessions_per_user: 1, ..config() }).await;
    let session = tokio::task::block_in_place(|| {
        let own = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let session = own.block_on(exec(&place, &place.token, start(&["sh"]))).unwrap();
        // The connection ends with what drove it; nobody says good-bye.
        drop(own);
        session
    });
    place.world.until("there is room again", LONG, || async { exec(&place, &place.token, start(&["sh"])).await.is_ok() }).await;
    drop(session);
}
