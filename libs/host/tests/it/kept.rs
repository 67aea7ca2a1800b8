//! What belongs on the audit trail gets there also when the bus was away at the time.

use std::time::Duration;

use gantry_bus::streams::AUDIT;
use gantry_contract::audit::AuditFact;
use gantry_host::Host;
use gantry_host::config::Nothing;
use gantry_kernel::Secret;
use gantry_testkit::World;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::echo::Echo;

/// The way to a server, which can be shut: then who is on it is cut off, and nobody else gets through.
async fn way_to(port: u16) -> (u16, watch::Sender<bool>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let (shut, is_shut) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut is_shut = is_shut.clone();
            if *is_shut.borrow() {
                continue;
            }
            tokio::spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    () = async { drop(is_shut.wait_for(|shut| *shut).await) } => {}
                }
            });
        }
    });
    (own, shut)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_record_of_the_time_without_the_bus_is_published_when_it_is_back() {
    let servers = tokio::task::spawn_blocking(gantry_testkit::servers).await.unwrap();
    let (before, port) = servers.nats_url.rsplit_once(':').unwrap();
    let (own, shut) = way_to(port.parse().unwrap()).await;
    let url = format!("{before}:{own}");
    let world = World::with(|platform| platform.nats_url = Secret::new(&url)).await;
    let host = world.start::<Echo>(Nothing {}).await;
    let fact = host.fact("user:1", "POST /api/v1/notes", "/api/v1/notes", "failed");
    shut.send_replace(true);
    host.audit(fact.clone()).await;
    shut.send_replace(false);
    world.until("the record is published", Duration::from_secs(90), || async { published(&host).await.iter().any(|f| f.id == fact.id) }).await;
}

async fn published(host: &Host) -> Vec<AuditFact> {
    let Ok(stream) = host.bus.sample_stream(AUDIT).await else { return Vec::new() };
    let Ok(state) = stream.get_info().await else { return Vec::new() };
    let mut facts = Vec::new();
    for sequence in 1..=state.state.last_sequence {
        let Ok(message) = stream.get_raw_message(sequence).await else { return facts };
        facts.extend(serde_json::from_slice::<AuditFact>(&message.payload));
    }
    facts
}
