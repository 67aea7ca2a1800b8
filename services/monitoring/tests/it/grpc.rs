//! The audit trail over gRPC.

use gantry_client::monitoring::audit_client::AuditClient;
use gantry_client::monitoring::{ExportAuditRequest, SearchAuditRequest};
use gantry_contract::scheduler::AppEvent;
use gantry_testkit::clause;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request};

use crate::place::{LONG, Place};

fn channel(place: &Place) -> Channel {
    let pki = place.world.running.pki();
    let leaf = pki.leaf("gateway", &[]).expect("a certificate");
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&pki.ca_pem))
        .identity(Identity::from_pem(&leaf.chain_pem, &leaf.key_pem))
        .domain_name(format!("monitoring.{}", gantry_host::SERVER_SUFFIX));
    let url = place.host.url_of("monitoring").expect("it listens");
    Endpoint::from_shared(url).expect("an address").tls_config(tls).expect("TLS").connect_lazy()
}

fn signed<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_searched_exported_and_proven_over_grpc_by_those_who_may() {
    clause("6.6.2.1.a");
    clause("6.6.2.1.b");
    let place = Place::open(|_| {}).await;
    place.happened(place.app, AppEvent::ReleaseFailed { app: place.app, revision: 1, reason: "image not found".into() }).await;
    let mut audit = AuditClient::new(channel(&place));
    let failed = SearchAuditRequest { result: Some("failed".into()), ..Default::default() };
    let seen = place.world.until("it is in", LONG, || {
        let (mut audit, request) = (audit.clone(), signed(failed.clone(), &place.admin));
        async move { audit.search_audit(request).await.is_ok_and(|page| page.get_ref().items.len() == 1) }
    });
    seen.await;
    let record = audit.search_audit(signed(failed.clone(), &place.admin)).await.expect("a page").into_inner().items.remove(0);
    assert_eq!((record.reason.as_str(), record.kind.as_str()), ("image not found", "app.release-failed"));
    assert!(record.content.is_some() && record.at.is_some(), "{record:?}");
    assert_eq!(audit.search_audit(failed.clone()).await.expect_err("nobody").code(), Code::Unauthenticated);
    assert_eq!(audit.search_audit(signed(failed.clone(), &place.reader)).await.expect_err("no administrator").code(), Code::PermissionDenied);
    let theirs = audit.search_audit(signed(failed, &place.stranger)).await.expect("their own part").into_inner();
    assert!(theirs.items.is_empty(), "nothing of another organisation");

    let all = ExportAuditRequest { format: "csv".into(), kind: Some("app.*".into()), ..Default::default() };
    let mut file = audit.export_audit(signed(all, &place.admin)).await.expect("a file").into_inner();
    let mut text = String::new();
    while let Some(piece) = file.message().await.expect("whole") {
        text += std::str::from_utf8(&piece.data).expect("text");
    }
    assert!(text.contains("app.release-failed"), "{text}");
    let proof = audit.verify_audit(signed((), &place.root)).await.expect("a proof").into_inner();
    assert!(proof.whole && proof.records > 0, "{proof:?}");
    assert_eq!(audit.verify_audit(signed((), &place.admin)).await.expect_err("the platform's").code(), Code::PermissionDenied);
}
