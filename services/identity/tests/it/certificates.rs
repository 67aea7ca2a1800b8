//! Certificates that people sign in with. The gateway's door for certificates is played by the client of the tests, which
//! is the gateway to the service: it hands on what a browser has shown.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_host::Pki;
use gantry_identity::config::Config;
use reqwest::header::{COOKIE, LOCATION};
use serde_json::{Value, json};

use crate::factors::claims_of;
use crate::support::{Browser, PASSWORD, Pkce, Seen, Suite};

pub const DOOR: &str = "https://cards.gantry.test";
pub const MINE: &str = "/api/v1/me/certificates";
pub const AUTHORITIES: &str = "/api/v1/orgs/acme/certificate-authorities";

pub async fn suite() -> Suite {
    Suite::with(Config { certificates_url: Some(DOOR.into()), ..Config::default() }).await
}

/// An authority of its own, with its certificate in PEM.
pub fn authority() -> (tempfile::TempDir, Pki, String) {
    let home = tempfile::tempdir().unwrap();
    let pki = Pki::open(home.path()).unwrap();
    let pem = pki.ca_pem.clone();
    (home, pki, pem)
}

/// A new certificate in this name, as the gateway hands it on.
pub fn issued(pki: &Pki, name: &str) -> String {
    handed(&pki.leaf(name, &[]).unwrap().der().unwrap().0[0])
}

/// A new certificate with these addresses, for clients.
pub fn mailed(home: &tempfile::TempDir, pki: &Pki, addresses: &[&str]) -> String {
    let key = rcgen::KeyPair::from_pem(&std::fs::read_to_string(home.path().join("ca.key")).unwrap()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&pki.ca_pem, key).unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = addresses.iter().map(|a| rcgen::SanType::Rfc822Name((*a).try_into().unwrap())).collect();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    handed(params.signed_by(&rcgen::KeyPair::generate().unwrap(), &issuer).unwrap().der())
}

pub fn handed(der: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(der))
}

/// At the door with this certificate; gives what it answers.
async fn at_door(suite: &Suite, address: &str, certificate: Option<&str>) -> (u16, String, String) {
    let path = address.strip_prefix(DOOR).unwrap_or_else(|| panic!("not at the door: {address}"));
    let mut request = suite.world.http.get(format!("{}{path}", suite.base)).header(COOKIE, "");
    if let Some(certificate) = certificate {
        request = request.header("client-cert", certificate);
    }
    let answer = request.send().await.unwrap();
    let location = answer.headers().get(LOCATION).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    (answer.status().as_u16(), location, answer.text().await.unwrap())
}

/// From the page of ours to the door and back, with this certificate.
pub async fn through_door(suite: &Suite, browser: &mut Browser<'_>, certificate: &str, to: &str) -> Seen {
    let sent = browser.get(&format!("/login/certificate?continue={to}")).await;
    assert_eq!(sent.status, 303, "{}", sent.body);
    let (status, back, body) = at_door(suite, sent.location(), Some(certificate)).await;
    assert_eq!(status, 303, "{body}");
    browser.get(&back).await
}

/// Binds a certificate at the page of the account.
pub async fn bind(suite: &Suite, browser: &mut Browser<'_>, certificate: &str, by: &str) -> Seen {
    let page = browser.get("/account").await;
    let onward = browser.post("/account/certificate", &[("csrf", &page.field("csrf")), ("label", "card"), ("by", by)]).await;
    let marked = onward.body.find("class=\"way\" href=\"").unwrap_or_else(|| panic!("{}", onward.body)) + 18;
    let href = onward.body[marked..].split('"').next().unwrap().replace("&#x2f;", "/").replace("&amp;", "&");
    let (status, back, body) = at_door(suite, &href, Some(certificate)).await;
    assert_eq!(status, 303, "{body}");
    browser.get(&back).await
}

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap_or_else(|| panic!("{page}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_binds_a_certificate_and_signs_in_with_it_alone_or_as_the_second_step() {
    gantry_testkit::clause("6.5.2.1.b");
    let suite = suite().await;
    let [ada, bob, _] = suite.acme().await;
    let (_home, pki, _) = authority();
    let card = issued(&pki, "ada-card");
    let mut browser = suite.signed_in("ada").await;
    let done = bind(&suite, &mut browser, &card, "certificate").await;
    assert_eq!(done.location(), "/account?done=saved", "{}", done.body);
    let (_, mine) = suite.get(&ada, MINE).await;
    assert_eq!((items(&mine)[0]["label"].as_str(), items(&mine)[0]["by"].as_str()), (Some("card"), Some("certificate")), "{mine}");
    assert!(browser.get("/account").await.body.contains("ada-card"));

    // Alone: one factor, named in the token.
    let mut alone = suite.browser();
    assert!(alone.get("/login").await.body.contains("/login/certificate?continue="));
    let seen = through_door(&suite, &mut alone, &card, "%2Faccount").await;
    assert_eq!((seen.status, seen.location()), (303, "/account"), "{}", seen.body);
    let pkce = Pkce::new("c");
    let code = alone.code(&pkce).await;
    let (_, tokens) = suite.exchange(&code, &pkce.verifier).await;
    let claims = claims_of(tokens["id_token"].as_str().unwrap());
    assert_eq!((&claims["amr"], &claims["acr"]), (&json!(["swk"]), &json!("1")), "{claims}");

    // Shown twice it is one factor still.
    let again = through_door(&suite, &mut alone, &card, "%2Faccount").await;
    assert_eq!((again.status, again.location()), (303, "/account"), "{}", again.body);
    let code = alone.code(&pkce).await;
    let (_, tokens) = suite.exchange(&code, &pkce.verifier).await;
    let claims = claims_of(tokens["id_token"].as_str().unwrap());
    assert_eq!((&claims["amr"], &claims["acr"]), (&json!(["swk"]), &json!("1")), "{claims}");

    // After the password: two factors, the second of which no false page can fish for.
    let mut two = suite.browser();
    let page = two.get("/login").await;
    let half = two.submit_login(&page, "ada", PASSWORD).await;
    assert!(half.location().starts_with("/login/second"), "{}", half.location());
    assert!(two.get(half.location()).await.body.contains("/login/certificate?continue="));
    assert!(!two.cookies.contains_key("__Host-gantry_session"));
    through_door(&suite, &mut two, &card, "%2Faccount").await;
    let code = two.code(&pkce).await;
    let (_, tokens) = suite.exchange(&code, &pkce.verifier).await;
    let claims = claims_of(tokens["id_token"].as_str().unwrap());
    assert_eq!((&claims["amr"], &claims["acr"]), (&json!(["pwd", "swk", "mfa"]), &json!("phr")), "{claims}");

    // Nobody else's, nobody's, and nobody else's browser.
    let mut bobs = suite.signed_in("bob").await;
    let taken = bind(&suite, &mut bobs, &card, "certificate").await;
    assert_eq!(taken.status, 409, "{}", taken.body);
    let unknown = through_door(&suite, &mut suite.browser(), &issued(&pki, "ada-card"), "%2F").await;
    assert_eq!(unknown.status, 401, "the same name by the same authority is not the same certificate: {}", unknown.body);
    let mut victim = suite.browser();
    let sent = victim.get("/login/certificate").await;
    let (_, back, _) = at_door(&suite, sent.location(), Some(&card)).await;
    assert_eq!(suite.browser().get(&back).await.status, 400, "an answer belongs to the browser that asked");
    let mut other = suite.browser();
    other.get("/login/certificate").await;
    assert_eq!(other.get(&back).await.status, 400, "and to its question");
    assert_eq!(victim.get(&back).await.status, 303);
    assert_eq!(victim.get(&back).await.status, 400, "and counts once");
    let sent = victim.get("/login/certificate").await.location().to_owned();
    assert_eq!(at_door(&suite, &sent, None).await.0, 400, "no certificate");
    assert_eq!(at_door(&suite, &sent, Some(":AAAA:")).await.0, 400, "no certificate that can be read");
    assert_eq!(at_door(&suite, &format!("{DOOR}/login/certificate/show?nonce=%22%3E%3Cscript%3E"), Some(&card)).await.0, 400);
    // Only the gateway is believed.
    let path = sent.strip_prefix(DOOR).unwrap();
    let forged = suite.world.client_as("scheduler").get(format!("{}{path}", suite.base)).header("client-cert", &card).send().await.unwrap();
    assert_eq!(forged.status(), 400);

    // Revoked: nobody is signed in by it, and it may be bound anew.
    let id = items(&mine)[0]["id"].as_str().unwrap().to_owned();
    let admin = suite.admin().await;
    let of_ada = "/api/v1/users/ada/certificates";
    assert_eq!(items(&suite.get(&admin, of_ada).await.1).len(), 1);
    for (who, expected) in [(&bob, 403), (&ada, 403)] {
        assert_eq!(suite.delete(who, &format!("{of_ada}/{id}")).await, expected);
    }
    assert_eq!(suite.delete(&bob, &format!("{MINE}/{id}")).await, 404, "another's");
    assert_eq!(suite.delete(&admin, &format!("{of_ada}/{id}?reason=card%20lost")).await, 204);
    let gone = through_door(&suite, &mut suite.browser(), &card, "%2F").await;
    assert_eq!(gone.status, 401, "{}", gone.body);
    let facts: Vec<(String, String)> =
        sqlx::query_as("select fact ->> 'action', fact ->> 'reason' from fact_chain where fact ->> 'action' like 'certificate.%' order by seq")
            .fetch_all(&suite.host.db().pool)
            .await
            .unwrap();
    assert_eq!(facts, [("certificate.bound".into(), "certificate".into()), ("certificate.removed".to_owned(), "card lost".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisations_authority_vouches_for_the_successors_of_a_certificate() {
    let suite = suite().await;
    let [ada, bob, eve] = suite.acme().await;
    let (home, pki, pem) = authority();
    let (bobs, eves) = (|| mailed(&home, &pki, &["bob@acme.example"]), mailed(&home, &pki, &["eve@acme.example"]));
    let mut browser = suite.signed_in("bob").await;
    let refused = bind(&suite, &mut browser, &bobs(), "name").await;
    assert!(refused.status == 400 && refused.body.contains("no organisation of yours trusts"), "{}", refused.body);

    let trust = json!({ "name": "cards", "pem": pem });
    for (who, expected) in [(&bob, 403), (&eve, 403)] {
        assert_eq!(suite.post(who, AUTHORITIES, trust.clone()).await.0, expected, "administrators only");
    }
    let leaf = String::from_utf8(pki.leaf("x", &[]).unwrap().chain_pem.into()).unwrap();
    for bad in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &leaf, &"x".repeat(20_000)] {
        let (status, problem) = suite.post(&ada, AUTHORITIES, json!({ "name": "bad", "pem": bad })).await;
        assert_eq!((status, problem["errors"][0]["field"].as_str()), (400, Some("pem")), "{problem}");
    }
    let (status, made) = suite.post(&ada, AUTHORITIES, trust.clone()).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(suite.post(&ada, AUTHORITIES, trust).await.0, 409, "the name is taken");
    assert_eq!(items(&suite.get(&bob, AUTHORITIES).await.1)[0]["name"], "cards");

    let unnamed = bind(&suite, &mut browser, &issued(&pki, "bob"), "name").await;
    assert!(unnamed.status == 400 && unnamed.body.contains("neither an e-mail address nor a user principal name"), "{}", unnamed.body);
    let done = bind(&suite, &mut browser, &bobs(), "name").await;
    assert_eq!(done.location(), "/account?done=saved", "{}", done.body);
    let come = async |certificate: &str| through_door(&suite, &mut suite.browser(), certificate, "%2Faccount").await.status;
    assert_eq!(come(&bobs()).await, 303, "the next one in the same name");
    assert_eq!(come(&mailed(&home, &pki, &["robert@acme.example", "BOB@acme.example"])).await, 303, "all its addresses count");
    assert_eq!(come(&eves).await, 401, "another name");
    let (other_home, other, _) = authority();
    assert_eq!(come(&mailed(&other_home, &other, &["bob@acme.example"])).await, 401, "the same name by somebody else");

    // The organisation's security policy says who may come this way.
    let policy = "/api/v1/orgs/acme/policies/security";
    assert_eq!(suite.put(&ada, policy, json!({ "sign_in_by": ["password"] })).await, 200);
    assert_eq!(come(&bobs()).await, 403);
    // And it is not asked for after the password, where nobody could show it.
    suite.tokens("bob").await;
    assert_eq!(suite.put(&ada, policy, json!({ "sign_in_by": ["certificate", "password"] })).await, 200);
    assert_eq!(come(&bobs()).await, 303);

    // Who left, and an authority that is trusted no longer.
    assert_eq!(suite.delete(&ada, "/api/v1/orgs/acme/members/bob").await, 204);
    assert_eq!(come(&bobs()).await, 401, "who left is not signed in by the organisation's authority");
    assert_eq!(suite.put(&ada, "/api/v1/orgs/acme/members/bob", json!({})).await, 204);
    assert_eq!(come(&bobs()).await, 303);
    let one = format!("{AUTHORITIES}/{}", made["id"].as_str().unwrap());
    assert_eq!(suite.delete(&bob, &one).await, 403);
    assert_eq!(suite.delete(&ada, &one).await, 204);
    assert_eq!(come(&bobs()).await, 401);

    // The names of authorities go with their organisation.
    assert_eq!(suite.post(&ada, AUTHORITIES, json!({ "name": "cards", "pem": pem })).await.0, 201);
    assert_eq!(suite.delete(&ada, "/api/v1/orgs/acme?confirm=acme").await, 204);
    let claims: i64 = sqlx::query_scalar("select count(*) from claims where scope = 'authority'").fetch_one(&suite.host.db().pool).await.unwrap();
    assert_eq!(claims, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_bind_the_certificate_they_show_and_what_is_not_for_people_is_refused() {
    let suite = suite().await;
    suite.register("ada").await;
    let ada = suite.access("ada").await;
    let (_home, pki, pem) = authority();
    let call = async |certificate: Option<&str>, body: Value| {
        let mut request = suite.world.http.post(format!("{}{MINE}", suite.base)).bearer_auth(&ada).json(&body);
        if let Some(certificate) = certificate {
            request = request.header("client-cert", certificate);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default())
    };
    let (status, problem) = call(None, json!({})).await;
    assert!(status == 400 && problem["detail"].as_str().unwrap().contains("mtls_endpoint_aliases"), "{problem}");
    let card = issued(&pki, "laptop");
    for bad in [json!({ "by": "magic" }), json!({ "label": "x".repeat(101) }), json!({ "by": "name" })] {
        assert_eq!(call(Some(&card), bad).await.0, 400);
    }
    let root = x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()).next().unwrap().unwrap().contents;
    assert_eq!(call(Some(&handed(&root)), json!({})).await.1["code"], "identity.certificate_unusable", "an authority is nobody");
    // Ended, not begun, and for servers only.
    let made = |change: fn(&mut rcgen::CertificateParams)| {
        let mut params = rcgen::CertificateParams::new(vec!["x.example".into()]).unwrap();
        change(&mut params);
        let key = rcgen::KeyPair::generate().unwrap();
        handed(params.self_signed(&key).unwrap().der())
    };
    let bad = [
        made(|p| (p.not_before, p.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1))),
        made(|p| (p.not_before, p.not_after) = (rcgen::date_time_ymd(2090, 1, 1), rcgen::date_time_ymd(2091, 1, 1))),
        made(|p| p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth]),
    ];
    for certificate in &bad {
        assert_eq!(call(Some(certificate), json!({})).await.1["code"], "identity.certificate_unusable");
    }
    // A certificate of one's own making is bound by itself.
    let own = made(|p| p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth]);
    let (status, bound) = call(Some(&own), json!({ "label": "own" })).await;
    assert_eq!((status, bound["label"].as_str()), (201, Some("own")), "{bound}");
    let (status, problem) = call(Some(&own), json!({})).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("identity.sign_in_again")), "from now on the password alone is too weak: {problem}");
    let mut browser = suite.browser();
    let seen = through_door(&suite, &mut browser, &own, "%2Faccount").await;
    assert_eq!(seen.status, 303, "{}", seen.body);
    assert_eq!(suite.delete(&ada, &format!("{MINE}/{}", bound["id"].as_str().unwrap())).await, 204);
    assert_eq!(call(Some(&own), json!({})).await.0, 201, "free again");

    // Erased with its person.
    let admin = suite.admin().await;
    assert_eq!(suite.delete(&admin, "/api/v1/users/ada").await, 204);
    assert_eq!(through_door(&suite, &mut suite.browser(), &own, "%2F").await.status, 401);
    let claims: i64 = sqlx::query_scalar("select count(*) from claims where scope = 'certificate'").fetch_one(&suite.host.db().pool).await.unwrap();
    assert_eq!(claims, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_once_that_a_certificate_ends_soon() {
    let (post, smtp) = crate::smtp::Post::start().await;
    let config = Config { certificates_url: Some(DOOR.into()), smtp: Some(smtp), ..Config::default() };
    let suite = Suite::with(config.clone()).await;
    let admin = suite.admin().await;
    let ada = json!({ "username": "ada", "email": "ada@example.org", "password": PASSWORD });
    assert_eq!(suite.post(&admin, "/api/v1/users", ada).await.0, 201);
    let mut browser = suite.signed_in("ada").await;
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    (params.not_before, params.not_after) = (time::OffsetDateTime::UNIX_EPOCH, gantry_kernel::Env::system().now() + time::Duration::days(10));
    let soon = handed(params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der());
    let done = bind(&suite, &mut browser, &soon, "certificate").await;
    assert_eq!(done.location(), "/account?done=saved", "{}", done.body);
    let told = || post.to("ada@example.org").into_iter().filter(|letter| letter.contains("signs you in until")).count();
    assert_eq!(told(), 0);
    // Whoever starts looks at once; it was told already when the next one does.
    for _ in 0..2 {
        let (beside, _) = suite.world.replica::<gantry_identity::Identity>(config.clone()).await;
        suite.world.until("she is told", std::time::Duration::from_secs(30), async || told() >= 1).await;
        beside.stop().await;
    }
    let letter = post.to("ada@example.org").into_iter().find(|letter| letter.contains("signs you in until")).unwrap();
    assert!(letter.contains("\"card\"") && letter.contains("/account"), "{letter}");
    let notices: i64 = sqlx::query_scalar("select count(*) from certificate_notices").fetch_one(&suite.host.db().pool).await.unwrap();
    assert_eq!((told(), notices), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_console_wishes_stands_in_the_form_and_cannot_leave_it() {
    let suite = suite().await;
    suite.register("ada").await;
    let mut browser = suite.signed_in("ada").await;
    let page = browser.get("/account?certificate=work%20card&by=name").await.body;
    assert!(page.contains("value=\"work card\"") && page.contains("value=\"name\" checked"), "{page}");
    let page = browser.get("/account?certificate=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E&by=magic").await.body;
    assert!(!page.contains("<script>alert") && !page.contains("value=\"name\" checked"), "{page}");
}
