//! Lists of revoked certificates: given by hand, fetched from an address, fresh and stale.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_host::Pki;
use gantry_identity::config::Config;
use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber};
use reqwest::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::certificates::{AUTHORITIES, DOOR, authority, bind, issued, mailed, through_door};
use crate::support::Suite;

fn now() -> OffsetDateTime {
    gantry_kernel::Env::system().now()
}

/// The authority's list in DER, made `hours` from now and good for a day; `revoked` are certificates as the gateway hands them on.
fn list(home: &tempfile::TempDir, pki: &Pki, hours: i64, revoked: &[&str]) -> Vec<u8> {
    let key = KeyPair::from_pem(&std::fs::read_to_string(home.path().join("ca.key")).unwrap()).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&pki.ca_pem, key).unwrap();
    let at = now() + time::Duration::hours(hours);
    let serial = |handed: &&str| {
        let der = STANDARD.decode(handed.trim_matches(':')).unwrap();
        let (_, it) = x509_parser::parse_x509_certificate(&der).unwrap();
        SerialNumber::from_slice(it.raw_serial())
    };
    let one = |handed| RevokedCertParams { serial_number: serial(handed), revocation_time: at, reason_code: None, invalidity_date: None };
    let params = CertificateRevocationListParams {
        this_update: at,
        next_update: at + time::Duration::days(1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(one).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&issuer).unwrap().der().to_vec()
}

/// A list as it is sent by hand, of now.
pub fn revoked(home: &tempfile::TempDir, pki: &Pki, which: &[&str]) -> String {
    STANDARD.encode(list(home, pki, -1, which))
}

/// A server that answers every request with the same status and body; both can be changed.
async fn published(status: &'static str, body: Vec<u8>) -> (String, Arc<Mutex<(&'static str, Vec<u8>)>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/cards.crl", listener.local_addr().unwrap());
    let shown = Arc::new(Mutex::new((status, body)));
    let from = shown.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 4096];
            let _ = stream.read(&mut asked).await;
            let (status, body) = from.lock().unwrap().clone();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
    });
    (url, shown)
}

async fn put(suite: &Suite, who: &str, path: &str, body: Value) -> (u16, Value) {
    suite.json(Method::PUT, path, Some(who), Some(body)).await
}

async fn come(suite: &Suite, certificate: &str) -> (u16, String) {
    let seen = through_door(suite, &mut suite.browser(), certificate, "%2Faccount").await;
    (seen.status, seen.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_its_authority_has_revoked_signs_nobody_in() {
    gantry_testkit::clause("6.5.2.1.b");
    let config = Config { certificates_url: Some(DOOR.into()), outside_private: true, ..Config::default() };
    let suite = Suite::with(config.clone()).await;
    let [ada, bob, eve] = suite.acme().await;
    let (home, pki, pem) = authority();
    let (status, made) = suite.post(&ada, AUTHORITIES, json!({ "name": "cards", "pem": pem })).await;
    assert!(status == 201 && made["revocation"].is_null(), "{made}");
    let at = format!("{AUTHORITIES}/{}/revocation", made["id"].as_str().unwrap());
    let (lost, kept, own) = (mailed(&home, &pki, &["bob@acme.example"]), mailed(&home, &pki, &["bob@acme.example"]), issued(&pki, "eve-laptop"));
    let mut bobs = suite.signed_in("bob").await;
    assert_eq!(bind(&suite, &mut bobs, &lost, "name").await.location(), "/account?done=saved");
    let mut browser = suite.signed_in("eve").await;
    assert_eq!(bind(&suite, &mut browser, &own, "certificate").await.location(), "/account?done=saved");
    assert_eq!((come(&suite, &lost).await.0, come(&suite, &own).await.0), (303, 303));

    // Administrators of the organisation only, and nothing that is not the authority's word.
    let text = |der: &[u8]| STANDARD.encode(der);
    let good = list(&home, &pki, -1, &[&lost, &own]);
    for (who, expected) in [(&bob, 403), (&eve, 403)] {
        for method in [Method::PUT, Method::DELETE] {
            assert_eq!(suite.json(method, &at, Some(who), Some(json!({ "list": text(&good) }))).await.0, expected);
        }
        assert_eq!(suite.post(who, &format!("{at}/fetches"), json!({})).await.0, expected);
    }
    let (other_home, other, _) = authority();
    let others = text(&list(&other_home, &other, -1, &[]));
    let ended = text(&list(&home, &pki, -48, &[]));
    let later = text(&list(&home, &pki, 1, &[]));
    let bad = [
        (json!({}), "url"),
        (json!({ "list": "x" }), "list"),
        (json!({ "list": others }), "list"),
        (json!({ "list": ended }), "list"),
        (json!({ "list": later }), "list"),
        (json!({ "list": text(&good), "url": "http://crl.test/" }), "list"),
        (json!({ "url": "ldap://dc1/cn=cards" }), "url"),
    ];
    for (body, field) in bad {
        let (status, problem) = put(&suite, &ada, &at, body.clone()).await;
        assert_eq!((status, problem["errors"][0]["field"].as_str()), (400, Some(field)), "{body}: {problem}");
    }
    assert_eq!(suite.post(&ada, &format!("{at}/fetches"), json!({})).await.1["code"], "identity.revocation_no_url");
    assert_eq!(come(&suite, &lost).await.0, 303, "nothing has changed");

    // By hand: what it names is refused, bound by name or by itself; the next one in the same name is not.
    let mut held = [suite.browser(), suite.browser(), suite.browser(), bobs];
    for (browser, certificate) in held.iter_mut().zip([&lost, &own, &kept]) {
        assert_eq!(through_door(&suite, browser, certificate, "%2Faccount").await.status, 303);
        assert_eq!(browser.get("/account").await.status, 200);
    }
    let (status, shown) = put(&suite, &ada, &at, json!({ "list": text(&good) })).await;
    // Sessions that stand on what it names are over; the same people's others are not.
    for (browser, expected) in held.iter_mut().zip([303, 303, 200, 200]) {
        assert_eq!(browser.get("/account").await.status, expected);
    }
    let sql = "select count(*) from fact_chain where fact ->> 'action' = 'session.ended' and fact ->> 'reason' = 'its certificate was revoked by the list of `cards`'";
    let ended: i64 = sqlx::query_scalar(sql).fetch_one(&suite.host.db().pool).await.unwrap();
    assert!(ended >= 2, "on record: {ended}");
    assert_eq!((status, shown["revocation"]["revoked"].as_i64(), shown["revocation"]["fresh"].as_bool()), (200, Some(2), Some(true)), "{shown}");
    assert_eq!((come(&suite, &lost).await.0, come(&suite, &own).await.0, come(&suite, &kept).await.0), (401, 401, 303));
    let reason: String = sqlx::query_scalar("select fact ->> 'reason' from fact_chain where fact ->> 'action' = 'session.refused' order by seq desc limit 1")
        .fetch_one(&suite.host.db().pool)
        .await
        .unwrap();
    assert!(reason.contains("revoked by the list of `cards`"), "{reason}");
    // An older list, which does not know of it yet, changes nothing.
    let (status, problem) = put(&suite, &ada, &at, json!({ "list": text(&list(&home, &pki, -2, &[])) })).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("identity.revocation_older")), "{problem}");
    assert_eq!(come(&suite, &lost).await.0, 401);

    // Stale: what was revoked stays so; the others wait for a fresh one, unless the organisation says otherwise.
    let stale = async || {
        let sql = "update revocation_lists set next_update = now() - interval '1 minute', tried_at = now() - interval '1 day'";
        sqlx::query(sql).execute(&suite.host.db().pool).await.unwrap();
    };
    stale().await;
    let (status, body) = come(&suite, &kept).await;
    assert!(status == 401 && body.contains("out of date"), "{status} {body}");
    let (status, shown) = put(&suite, &ada, &at, json!({ "when_stale": "accept" })).await;
    assert_eq!((status, shown["revocation"]["fresh"].as_bool()), (200, Some(false)), "{shown}");
    assert_eq!((come(&suite, &kept).await.0, come(&suite, &lost).await.0), (303, 401));

    // From an address: at once, again by hand, and by the timer of whichever replica.
    let (url, server) = published("200 OK", list(&home, &pki, 0, &[])).await;
    let (status, shown) = put(&suite, &ada, &at, json!({ "url": url })).await;
    assert_eq!((status, shown["revocation"]["revoked"].as_i64(), shown["revocation"]["fault"].as_str()), (200, Some(0), None), "{shown}");
    assert_eq!((come(&suite, &kept).await.0, come(&suite, &lost).await.0), (303, 303), "taken off the list again");
    *server.lock().unwrap() = ("404 Not Found", Vec::new());
    let (status, shown) = suite.post(&ada, &format!("{at}/fetches"), json!({})).await;
    assert!(status == 200 && shown["revocation"]["fault"].as_str().unwrap().contains("404") && shown["revocation"]["fresh"] == true, "{shown}");
    assert_eq!(come(&suite, &kept).await.0, 303, "the list that is here holds as long as it says");
    *server.lock().unwrap() = ("200 OK", b"<html>".to_vec());
    let (_, shown) = suite.post(&ada, &format!("{at}/fetches"), json!({})).await;
    assert!(shown["revocation"]["fault"].as_str().unwrap().contains("no list of revoked certificates"), "{shown}");
    stale().await;
    assert_eq!(come(&suite, &kept).await.0, 401);
    *server.lock().unwrap() = ("200 OK", list(&home, &pki, 0, &[&lost]));
    let (beside, _) = suite.world.replica::<gantry_identity::Identity>(config).await;
    let fetched = suite
        .world
        .until("the timer fetches it", Duration::from_secs(60), async || suite.get(&ada, AUTHORITIES).await.1["items"][0]["revocation"]["fresh"] == true);
    fetched.await;
    beside.stop().await;
    assert_eq!((come(&suite, &kept).await.0, come(&suite, &lost).await.0), (303, 401));

    // Looked at no more; and gone with the authority.
    assert_eq!(suite.delete(&ada, &at).await, 204);
    assert_eq!(come(&suite, &lost).await.0, 303);
    assert_eq!(put(&suite, &ada, &at, json!({ "url": url })).await.0, 200);
    assert_eq!(suite.delete(&ada, &at.replace("/revocation", "")).await, 204);
    let left: i64 = sqlx::query_scalar("select count(*) from revocation_lists").fetch_one(&suite.host.db().pool).await.unwrap();
    assert_eq!(left, 0);
    // Bound by itself, and no authority of the organisation says anything.
    assert_eq!(come(&suite, &own).await.0, 303);
}
