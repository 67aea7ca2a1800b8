//! Commands against a pretended platform: what is sent, what is shown, what is remembered.

mod first_day;
mod reach;
mod said;

use clap::{CommandFactory, Parser};
use serde_json::json;
use wiremock::matchers::{body_json, body_string_contains, header, header_exists, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::args::Arguments;
use crate::commands::with_store;
use crate::failure::render;
use crate::session::{Session, Store, Tokens};

struct World {
    platform: MockServer,
    _folder: tempfile::TempDir,
    store: Store,
}

impl World {
    /// Signed in, with a token that is good for `seconds` more.
    async fn signed_in(seconds: i64) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (platform, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
        let store = Store::in_folder(folder.path());
        let expires_at = gantry_kernel::Env::system().now() + time::Duration::seconds(seconds);
        let tokens = Tokens { access_token: "old".into(), refresh_token: Some("r1".into()), expires_at };
        store.write(&Session { url: Some(platform.uri()), tokens: Some(tokens), ..Session::default() }).unwrap();
        Self { platform, _folder: folder, store }
    }

    async fn run(&self, words: &str) -> anyhow::Result<()> {
        let words = ["gantry"].into_iter().chain(words.split(' '));
        with_store(Arguments::try_parse_from(words).expect("a command line"), self.store.clone()).await
    }

    async fn answers(&self, mock: wiremock::MockBuilder, answer: ResponseTemplate) {
        mock.respond_with(answer).expect(1).mount(&self.platform).await;
    }
}

#[tokio::test]
async fn a_project_is_created_below_its_organisation_with_an_idempotency_key() {
    let world = World::signed_in(3600).await;
    let mock = Mock::given(method("POST")).and(path("/api/v1/orgs/acme/projects")).and(body_json(json!({ "name": "shop" })));
    world
        .answers(
            mock.and(header("authorization", "Bearer old")).and(header_exists("idempotency-key")),
            ResponseTemplate::new(201).set_body_json(json!({ "name": "shop" })),
        )
        .await;
    world.run("project create acme/shop").await.expect("created");
    let error = world.run("project create acme").await.expect_err("not a project");
    assert!(render(&error).contains("org/project"), "{error}");
}

#[tokio::test]
async fn a_token_about_to_end_is_refreshed_and_the_new_one_kept() {
    let world = World::signed_in(5).await;
    let token = Mock::given(method("POST")).and(path("/oauth2/token")).and(body_string_contains("refresh_token=r1"));
    world.answers(token, ResponseTemplate::new(200).set_body_json(json!({ "access_token": "new", "refresh_token": "r2", "expires_in": 600 }))).await;
    let list = Mock::given(method("GET")).and(path("/api/v1/orgs")).and(header("authorization", "Bearer new"));
    world.answers(list, ResponseTemplate::new(200).set_body_json(json!({ "items": [], "next": null }))).await;
    world.run("org list").await.expect("listed");
    let kept = world.store.read().unwrap().tokens.expect("tokens");
    assert_eq!((kept.access_token.as_str(), kept.refresh_token.as_deref()), ("new", Some("r2")));
}

#[tokio::test]
async fn a_refused_refresh_says_sign_in_again() {
    let world = World::signed_in(0).await;
    world.answers(Mock::given(path("/oauth2/token")), ResponseTemplate::new(400).set_body_json(json!({ "error": "invalid_grant" }))).await;
    let error = world.run("org list").await.expect_err("signed out");
    assert!(render(&error).contains("gantry login"), "{}", render(&error));
}

#[tokio::test]
async fn a_service_is_registered_watched_and_taken_back_in_the_space_in_use() {
    let world = World::signed_in(3600).await;
    let all = "/api/v1/orgs/acme/projects/shop/spaces/test/services";
    let bank = format!("{all}/bank");
    let wanted = json!({ "address": "bank.example.org", "ports": [443, 8443], "reason": "" });
    let register = Mock::given(method("PUT")).and(path(bank.as_str())).and(body_json(wanted));
    world.answers(register, ResponseTemplate::new(201).set_body_json(json!({ "revision": 1 }))).await;
    world.run("service register bank --address bank.example.org --port 443 --port 8443 --at acme/shop/test").await.expect("registered");
    let found =
        json!({ "items": [{ "id": "1", "name": "bank", "kind": "outside", "app": "bank", "address": "bank.example.org", "ports": [443] }], "next": null });
    let show = Mock::given(method("GET")).and(path(all)).and(query_param("name", "bank"));
    world.answers(show, ResponseTemplate::new(200).set_body_json(&found)).await;
    world.run("service show bank --at acme/shop/test").await.expect("found");
    let events = format!("event: state\ndata: {found}\n\n");
    let watch = Mock::given(method("GET")).and(path(all)).and(query_param("watch", "true"));
    world.answers(watch, ResponseTemplate::new(200).set_body_raw(events, "text/event-stream")).await;
    world.run("service watch --count 1 --at acme/shop/test").await.expect("watched");
    world.answers(Mock::given(method("DELETE")).and(path(bank.as_str())), ResponseTemplate::new(204)).await;
    world.run("service deregister bank --yes --at acme/shop/test").await.expect("taken back");
    let missing = Mock::given(method("GET")).and(path(all)).and(query_param("name", "nobody"));
    world.answers(missing, ResponseTemplate::new(200).set_body_json(json!({ "items": [], "next": null }))).await;
    let error = world.run("service show nobody --at acme/shop/test").await.expect_err("not there");
    assert!(render(&error).contains("nobody"), "{error}");
}

#[tokio::test]
async fn credentials_of_a_binding_become_a_secret_of_the_space() {
    let world = World::signed_in(3600).await;
    let space = "/api/v1/orgs/acme/projects/shop/spaces/test";
    let bound = json!({ "name": "web", "credentials": { "host": "redis.svc-cache", "port": 6379, "external_port": null } });
    let bind = Mock::given(method("POST")).and(path(format!("{space}/instances/cache/bindings"))).and(body_json(json!({ "name": "web" })));
    world.answers(bind, ResponseTemplate::new(201).set_body_json(bound)).await;
    let wanted = json!({ "secret": true, "entries": { "host": "redis.svc-cache", "port": "6379" }, "reason": "credentials of cache" });
    let keep = Mock::given(method("PUT")).and(path(format!("{space}/configs/cache-web"))).and(body_json(wanted));
    world.answers(keep, ResponseTemplate::new(200).set_body_json(json!({ "version": 1 }))).await;
    world.run("catalog bind cache web --secret cache-web --at acme/shop/test").await.expect("kept");
}

#[tokio::test]
async fn every_page_of_a_list_is_read() {
    let world = World::signed_in(3600).await;
    let first = Mock::given(path("/api/v1/orgs/acme/projects/shop/repositories")).and(query_param("cursor", "c2"));
    world.answers(first, ResponseTemplate::new(200).set_body_json(json!({ "items": [{ "name": "b" }], "next": null }))).await;
    world
        .answers(
            Mock::given(path("/api/v1/orgs/acme/projects/shop/repositories")),
            ResponseTemplate::new(200).set_body_json(json!({ "items": [{ "name": "a" }], "next": "c2" })),
        )
        .await;
    world.run("repo list --at acme/shop").await.expect("listed");
}

#[tokio::test]
async fn a_deployment_over_quota_shows_the_limit_and_what_to_do() {
    let world = World::signed_in(3600).await;
    let file = world._folder.path().join("compose.yaml");
    std::fs::write(&file, "name: shop\nservices:\n  web:\n    image: x\n").unwrap();
    let checked = Mock::given(method("POST")).and(path("/api/v1/orgs/acme/projects/shop/spaces/test/documents"));
    world.answers(checked, ResponseTemplate::new(200).set_body_json(json!({ "valid": true, "deployable": true, "remarks": [], "needs": [] }))).await;
    let problem = json!({ "status": 422, "code": "billing.quota_exceeded", "detail": "cpu_millis: limit 1000, used 900, asked 500" });
    let deploy = Mock::given(method("POST")).and(path("/api/v1/orgs/acme/projects/shop/spaces/test/apps"));
    world.answers(deploy.and(body_string_contains("\"format\":\"compose\"")), ResponseTemplate::new(422).set_body_json(problem)).await;
    let error = world.run(&format!("app deploy -f {} --at acme/shop/test", file.display())).await.expect_err("over quota");
    let text = render(&error);
    assert!(text.contains("limit 1000, used 900, asked 500") && text.contains("gantry quota get"), "{text}");
}

#[tokio::test]
async fn limits_are_changed_on_the_version_that_was_seen() {
    let world = World::signed_in(3600).await;
    let seen = json!({ "limits": { "cpu_millis": 1000, "containers": null }, "used": { "cpu_millis": 10 }, "version": 7 });
    world.answers(Mock::given(method("GET")).and(path("/api/v1/orgs/acme/quota")), ResponseTemplate::new(200).set_body_json(&seen)).await;
    let put = Mock::given(method("PUT")).and(path("/api/v1/orgs/acme/quota")).and(header("if-match", "\"7\""));
    world.answers(put.and(body_json(json!({ "cpu_millis": 1000, "containers": 20 }))), ResponseTemplate::new(200).set_body_json(&seen)).await;
    world.run("quota set containers=20 --at acme").await.expect("set");
}

#[tokio::test]
async fn sign_in_pages_are_changed_on_the_version_that_was_seen() {
    let world = World::signed_in(3600).await;
    let seen = ResponseTemplate::new(200).insert_header("etag", "\"3\"").set_body_json(json!({ "title": "Old", "accent": "#112233", "logo": {} }));
    world.answers(Mock::given(method("GET")).and(path("/api/v1/orgs/acme/branding")), seen).await;
    let put = Mock::given(method("PUT")).and(path("/api/v1/orgs/acme/branding")).and(header("if-match", "\"3\""));
    world.answers(put.and(body_json(json!({ "title": "New", "accent": "#112233" }))), ResponseTemplate::new(200).set_body_json(json!({}))).await;
    world.run("org branding set acme --title New").await.expect("set");
}

#[tokio::test]
async fn the_device_flow_waits_for_the_person_and_keeps_the_tokens() {
    let world = World::signed_in(3600).await;
    world.store.write(&Session { url: Some(world.platform.uri()), ..Session::default() }).unwrap();
    let device = json!({ "device_code": "d", "user_code": "ABCD-EFGH", "verification_uri": "https://x/oauth2/device", "expires_in": 60, "interval": 0 });
    world.answers(Mock::given(path("/oauth2/device_authorization")), ResponseTemplate::new(200).set_body_json(device)).await;
    let pending = ResponseTemplate::new(400).set_body_json(json!({ "error": "authorization_pending" }));
    Mock::given(path("/oauth2/token")).respond_with(pending).up_to_n_times(2).expect(2).mount(&world.platform).await;
    let granted = ResponseTemplate::new(200).set_body_json(json!({ "access_token": "a", "refresh_token": "r", "expires_in": 600 }));
    world.answers(Mock::given(path("/oauth2/token")).and(body_string_contains("device_code=d")), granted).await;
    world
        .answers(
            Mock::given(path("/api/v1/me")).and(header("authorization", "Bearer a")),
            ResponseTemplate::new(200).set_body_json(json!({ "username": "ada" })),
        )
        .await;
    world.run("login").await.expect("signed in");
    assert_eq!(world.store.read().unwrap().tokens.expect("kept").access_token, "a");
}

#[tokio::test]
async fn a_platform_that_is_not_there_is_said_so() {
    let world = World::signed_in(3600).await;
    world.store.write(&Session { url: Some("http://127.0.0.1:9".into()), tokens: world.store.read().unwrap().tokens, ..Session::default() }).unwrap();
    let text = render(&world.run("org list").await.expect_err("nobody there"));
    assert!(text.contains("cannot reach http://127.0.0.1:9") && text.contains("make status"), "{text}");
}

#[tokio::test]
async fn a_place_is_remembered_and_a_missing_one_is_asked_for() {
    let world = World::signed_in(3600).await;
    let text = render(&world.run("app list").await.expect_err("no place"));
    assert!(text.contains("--at org/project/space"), "{text}");
    world.run("use acme/shop/test").await.expect("remembered");
    world
        .answers(Mock::given(path("/api/v1/orgs/acme/projects/shop/spaces/test/apps")), ResponseTemplate::new(200).set_body_json(json!({ "items": [] })))
        .await;
    world.run("app list").await.expect("listed");
}

#[tokio::test]
async fn a_client_is_made_from_words_and_changed_without_losing_the_rest() {
    let world = World::signed_in(3600).await;
    let made =
        json!({ "org": "acme", "id": "shop", "settings": { "client_name": "Shop", "redirect_uris": ["https://shop.example/cb"], "consent_required": true } });
    let answer = ResponseTemplate::new(201).set_body_json(json!({ "id": "shop", "secret": "gcs_x" }));
    world.answers(Mock::given(method("POST")).and(path("/api/v1/clients")).and(body_json(made)), answer).await;
    world.run("client create shop --org acme --name Shop --redirect-uri https://shop.example/cb --set consent_required=true").await.expect("made");
    let before = json!({ "id": "shop", "settings": { "client_name": "Shop", "scopes": ["openid"] } });
    world.answers(Mock::given(method("GET")).and(path("/api/v1/clients/shop")), ResponseTemplate::new(200).set_body_json(before)).await;
    let after = Mock::given(method("PUT")).and(path("/api/v1/clients/shop")).and(body_json(json!({ "client_name": "New", "scopes": ["openid"] })));
    world.answers(after, ResponseTemplate::new(200).set_body_json(json!({ "id": "shop" }))).await;
    world.run("client set shop --name New").await.expect("changed");
    let rotated = Mock::given(method("POST")).and(path("/api/v1/signing-keys")).and(body_json(json!({ "alg": "RS256", "compromised": false })));
    world.answers(rotated, ResponseTemplate::new(201).set_body_json(json!({ "kid": "k" }))).await;
    world.run("key rotate RS256").await.expect("rotated");
    assert!(world.run("key rotate ES256 --compromised").await.is_err(), "without a terminal it wants --yes");
}

/// The whole help, one command after another.
fn help_text() -> String {
    fn add(command: &mut clap::Command, path: &str, text: &mut String) {
        let name = format!("{path}{}", command.get_name());
        *text += &format!("$ {name} --help\n{}\n", command.render_long_help());
        for inner in command.get_subcommands_mut().filter(|c| c.get_name() != "help") {
            add(inner, &format!("{name} "), text);
        }
    }
    let mut command = Arguments::command().term_width(100);
    command.build();
    let mut text = String::new();
    add(&mut command, "", &mut text);
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
#[allow(clippy::disallowed_methods, reason = "`make golden` says so by the environment")]
fn golden_help() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help.txt");
    if std::env::var("GANTRY_GOLDEN").is_ok_and(|v| v == "write") {
        std::fs::write(file, help_text()).unwrap();
    }
    let golden = std::fs::read_to_string(file).unwrap_or_default();
    assert!(golden == help_text(), "the help changed; `make golden` rewrites {file}");
}

#[test]
fn the_command_line_is_well_formed() {
    Arguments::command().debug_assert();
}

#[tokio::test]
async fn configuration_is_planned_applied_and_then_does_not_differ() {
    let world = World::signed_in(3600).await;
    let file = world._folder.path().join("acme.yaml");
    let text = "apiVersion: gantry.io/v1\nkind: Binding\nmetadata: {name: dev-edits}\nspec: {subject: 'team:dev', role: editor, at: acme/shop}\n---\napiVersion: gantry.io/v1\nkind: Team\nmetadata: {name: dev, org: acme}\nspec: {display_name: Developers, members: [bob]}\n";
    std::fs::write(&file, text).unwrap();
    let words = |verb: &str, more: &str| format!("{verb} -f {}{more}", file.display());
    // Nothing there: both are created, the team first.
    let get = |at: &str| Mock::given(method("GET")).and(path(at));
    let missing = ResponseTemplate::new(404).set_body_json(json!({ "title": "Not found", "status": 404, "detail": "no" }));
    get("/api/v1/orgs/acme/teams/dev").respond_with(missing).up_to_n_times(2).mount(&world.platform).await;
    let empty = ResponseTemplate::new(200).set_body_json(json!({ "items": [], "next": null }));
    get("/api/v1/bindings").respond_with(empty).up_to_n_times(2).mount(&world.platform).await;
    assert!(render(&world.run(&words("diff", "")).await.expect_err("differs")).contains("2 of 2 differ"));
    let made = ResponseTemplate::new(201).set_body_json(json!({ "name": "dev" }));
    let team = Mock::given(method("POST")).and(path("/api/v1/orgs/acme/teams")).and(body_json(json!({ "name": "dev", "display_name": "Developers" })));
    world.answers(team, made.clone()).await;
    world.answers(Mock::given(method("PUT")).and(path("/api/v1/orgs/acme/teams/dev/members/bob")), ResponseTemplate::new(204)).await;
    let binding = json!({ "subject": "team:dev", "role": "editor", "org": "acme", "project": "shop" });
    world.answers(Mock::given(method("POST")).and(path("/api/v1/bindings")).and(body_json(binding)), made).await;
    world.run(&words("apply", " --yes")).await.expect("applied");
    // Now it is as the file says.
    let there = json!({ "name": "dev", "display_name": "Developers", "parent": null });
    get("/api/v1/orgs/acme/teams/dev").respond_with(ResponseTemplate::new(200).set_body_json(there)).mount(&world.platform).await;
    let members = json!({ "items": [{ "name": "bob", "subject": "user:1" }], "next": null });
    get("/api/v1/orgs/acme/teams/dev/members").respond_with(ResponseTemplate::new(200).set_body_json(members)).mount(&world.platform).await;
    let bindings = json!({ "items": [{ "id": "b1", "name": "team:dev", "subject": "team:2", "role": "editor", "role_name": "editor" }], "next": null });
    get("/api/v1/bindings").respond_with(ResponseTemplate::new(200).set_body_json(bindings)).mount(&world.platform).await;
    world.run(&words("diff", "")).await.expect("no difference");
    world.run(&words("apply", " --yes")).await.expect("nothing to do");
}

#[tokio::test]
async fn a_document_of_an_unknown_kind_is_refused_before_anything_is_asked() {
    let world = World::signed_in(3600).await;
    let file = world._folder.path().join("odd.yaml");
    for (text, expected) in [
        ("apiVersion: gantry.io/v1\nkind: Castle\nmetadata: {name: x}\n", "Castle"),
        ("apiVersion: v2\nkind: Team\nmetadata: {name: x, org: acme}\n", "gantry.io/v1"),
        ("apiVersion: gantry.io/v1\nkind: Team\nmetadata: {name: x}\ncolour: red\n", "colour"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = world.run(&format!("apply -f {} --yes", file.display())).await.expect_err("refused");
        assert!(render(&error).contains(expected), "{}", render(&error));
    }
}

#[tokio::test]
async fn the_authority_of_a_cluster_is_not_that_of_the_platform() {
    let (world, folder) = (World::signed_in(3600).await, tempfile::tempdir().unwrap());
    let (ca, token) = (folder.path().join("ca.crt"), folder.path().join("token"));
    std::fs::write(&ca, "PEM").unwrap();
    std::fs::write(&token, "t\n").unwrap();
    let access = json!({ "server": "https://10.0.0.1:6443", "token": "t", "ca_pem": "PEM" });
    let body = json!({ "name": "east", "org": null, "access": access, "unchecked": false, "adopt": null });
    let mock = Mock::given(method("POST")).and(path("/api/v1/clusters")).and(body_json(body));
    world.answers(mock, ResponseTemplate::new(201).set_body_json(json!({ "name": "east" }))).await;
    let words = format!("cluster add east --server https://10.0.0.1:6443 --server-ca {} --token-file {}", ca.display(), token.display());
    world.run(&words).await.expect("its certificate is no reason to distrust the platform's");
}

#[tokio::test]
async fn a_cluster_gets_a_credential_of_its_own_that_is_kept_and_renewed() {
    use base64::Engine;
    let world = World::signed_in(3600).await;
    let refused = world.run("cluster credential --client kubernetes").await.expect_err("nobody can sign in");
    assert!(render(&refused).contains("gantry cluster credential --client kubernetes"), "{}", render(&refused));
    assert!(world.run("cluster credential --client ../session").await.is_err());
    // One that has ended, with what renews it.
    let (own, now) = (world.store.of_client("kubernetes", &world.platform.uri()), gantry_kernel::Env::system().now());
    let ended = Tokens { access_token: "ended".into(), refresh_token: Some("r7".into()), expires_at: now };
    own.write(&Session { url: Some(world.platform.uri()), tokens: Some(ended), ..Session::default() }).unwrap();
    let claims = json!({ "exp": (now + time::Duration::minutes(10)).unix_timestamp() });
    let token = format!("h.{}.s", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims.to_string()));
    let asked = Mock::given(method("POST")).and(path("/oauth2/token")).and(body_string_contains("refresh_token=r7"));
    let granted = json!({ "access_token": "a", "id_token": token, "refresh_token": "r8", "expires_in": 600 });
    world.answers(asked.and(body_string_contains("client_id=kubernetes")), ResponseTemplate::new(200).set_body_json(granted)).await;
    world.run("cluster credential --client kubernetes").await.expect("renewed");
    let kept = own.read().unwrap().tokens.expect("kept");
    assert_eq!((kept.access_token.as_str(), kept.refresh_token.as_deref()), (token.as_str(), Some("r8")));
    // And no second time: the platform is asked once.
    world.run("cluster credential --client kubernetes").await.expect("kept");
    assert_eq!(world.store.read().unwrap().tokens.expect("the session's own").access_token, "old");
}

#[tokio::test]
async fn signs_are_acknowledged_one_by_one_with_the_reason() {
    let world = World::signed_in(3600).await;
    for number in [17, 18] {
        let one = format!("/api/v1/orgs/acme/projects/shop/spaces/test/signs/{number}/acknowledge");
        let asked = Mock::given(method("POST")).and(path(one)).and(body_json(json!({ "reason": "OPS-12" })));
        let done = json!({ "number": number, "acknowledged": { "at": "2026-11-30T08:00:00Z", "by": "user:1", "reason": "OPS-12" } });
        world.answers(asked, ResponseTemplate::new(200).set_body_json(done)).await;
    }
    world.run("sign acknowledge 17 18 --reason OPS-12 --at acme/shop/test").await.expect("acknowledged");
    let open = Mock::given(method("GET")).and(path("/api/v1/orgs/acme/projects/shop/spaces/test/signs")).and(query_param("open", "true"));
    world.answers(open, ResponseTemplate::new(200).set_body_json(json!({ "items": [], "next": null }))).await;
    world.run("space signs --open --at acme/shop/test").await.expect("listed");
}

#[tokio::test]
async fn a_drain_is_shown_at_an_address_that_cannot_drain() {
    let one = json!({ "org": "acme", "project": "shop", "space": "test", "app": "web", "workload": "web", "instances": 2, "leaving": 1, "fenced": false, "reason": "its budget" });
    let seen = ResponseTemplate::new(200).set_body_json(json!({ "changed": true, "workloads": [one] }));
    for words in ["drain", "remove"] {
        let world = World::signed_in(3600).await;
        world.answers(Mock::given(method("GET")).and(path("/api/v1/nodes/n1/drain")), seen.clone()).await;
        world.run(&format!("node {words} n1 --dry-run")).await.expect("shown, and nobody is asked");
    }
    let none = ResponseTemplate::new(405).set_body_json(json!({ "status": 405, "code": "request.method_not_allowed", "detail": "no such method" }));
    let older = World::signed_in(3600).await;
    older.answers(Mock::given(method("GET")).and(path("/api/v1/nodes/n1/drain")), none).await;
    older.run("node drain n1 --dry-run").await.expect_err("an older platform refuses, and drains nothing");
}

#[tokio::test]
async fn what_would_become_of_a_volume_or_a_node_is_shown_and_nobody_is_asked() {
    let world = World::signed_in(3600).await;
    let at = "/api/v1/orgs/acme/projects/shop/spaces/test/volumes/v";
    let seen = || {
        let body = json!({ "action": "volume.deleted", "volume": "v", "node": "n1", "lost_bytes": 5, "snapshots": ["s"], "notes": ["its backups stay"] });
        ResponseTemplate::new(200).set_body_json(body)
    };
    let deleted = Mock::given(method("DELETE")).and(path(at)).and(query_param("dry_run", "true")).and(query_param("node", "n1"));
    world.answers(deleted, seen()).await;
    world.run("volume delete v --node n1 --dry-run --at acme/shop/test").await.expect("nobody is asked");
    let back = Mock::given(method("POST")).and(path(format!("{at}/rollback"))).and(query_param("dry_run", "true")).and(body_json(json!({ "snapshot": "s" })));
    world.answers(back, seen()).await;
    world.run("volume rollback v s --dry-run --at acme/shop/test").await.expect("nobody is asked");
    let means = ResponseTemplate::new(200).set_body_json(json!({ "changed": true, "instances": 1, "open_nodes": 1, "reason": "it takes no new ones" }));
    world.answers(Mock::given(method("GET")).and(path("/api/v1/nodes/n1/cordon")), means).await;
    world.run("node cordon n1 --dry-run").await.expect("shown");
}

#[tokio::test]
async fn a_node_is_out_with_one_call() {
    let away = ResponseTemplate::new(503).set_body_json(json!({ "status": 503, "code": "request.unavailable", "detail": "the event log is away" }));
    for (answer, good) in [(ResponseTemplate::new(204), true), (away, false)] {
        let world = World::signed_in(3600).await;
        // The platform itself revokes its certificates: nothing else is asked for, and nothing else would be answered.
        world.answers(Mock::given(method("DELETE")).and(path("/api/v1/nodes/n1")).and(query_param("force", "true")), answer).await;
        assert_eq!(world.run("node remove n1 --force --yes").await.is_ok(), good);
    }
}

#[tokio::test]
async fn a_node_that_joins_anew_keeps_what_is_set_besides() {
    let world = World::signed_in(3600).await;
    let there = ResponseTemplate::new(200).insert_header("etag", "\"4\"").set_body_json(json!({ "labels": { "disk": "ssd" }, "max_instances": 7 }));
    world.answers(Mock::given(method("GET")).and(path("/api/v1/nodes/n1/settings")), there).await;
    let set = Mock::given(method("PUT")).and(path("/api/v1/nodes/n1/settings")).and(query_param("ahead", "true")).and(header("if-match", "\"4\""));
    let wanted = json!({ "labels": { "disk": "ssd", "zone": "b" }, "max_instances": 7, "taints": [] });
    world.answers(set.and(body_json(&wanted)), ResponseTemplate::new(200).set_body_json(&wanted)).await;
    let made = ResponseTemplate::new(201).set_body_json(json!({ "token": "gnode_1" }));
    world.answers(Mock::given(method("POST")).and(path("/api/v1/node-join-tokens")), made).await;
    world.run("node join-token --node n1 --label zone=b").await.expect("made");
}

#[tokio::test]
async fn settings_of_a_node_are_changed_as_they_were_read_and_never_over_somebody_elses() {
    let world = World::signed_in(3600).await;
    let there = ResponseTemplate::new(200).insert_header("etag", "\"4\"").set_body_json(json!({ "labels": {}, "taints": [] }));
    world.answers(Mock::given(method("GET")).and(path("/api/v1/nodes/n1/settings")), there).await;
    let stale = json!({ "status": 412, "code": "request.stale", "detail": "the settings of n1 have the ETag \"5\" now: read them again" });
    let put = Mock::given(method("PUT")).and(path("/api/v1/nodes/n1/settings")).and(header("if-match", "\"4\""));
    world.answers(put, ResponseTemplate::new(412).set_body_json(&stale)).await;
    let refused = world.run("node settings n1 --label disk=ssd").await.expect_err("somebody was faster");
    assert!(render(&refused).contains("read them again"), "{}", render(&refused));
    // One that is to come has none yet, and gets them only if that is still so.
    let none = json!({ "status": 404, "code": "request.not_found", "detail": "there is no node n2" });
    world.answers(Mock::given(method("GET")).and(path("/api/v1/nodes/n2/settings")), ResponseTemplate::new(404).set_body_json(&none)).await;
    let ahead = Mock::given(method("PUT")).and(path("/api/v1/nodes/n2/settings")).and(query_param("ahead", "true")).and(header("if-match", "\"0\""));
    world.answers(ahead, ResponseTemplate::new(200).set_body_json(json!({}))).await;
    world
        .answers(Mock::given(method("POST")).and(path("/api/v1/node-join-tokens")), ResponseTemplate::new(201).set_body_json(json!({ "token": "gnode_1" })))
        .await;
    world.run("node join-token --node n2 --label zone=b").await.expect("made");
}

#[tokio::test]
async fn what_a_deletion_takes_along_is_looked_at_before_it_is_asked_for() {
    let world = World::signed_in(3600).await;
    let at = "/api/v1/orgs/acme/projects/shop/spaces/test/apps/web";
    let app = json!({ "name": "web", "workloads": [{ "name": "web" }], "endpoints": [{ "host": "203.0.113.7", "port": 80 }] });
    world.answers(Mock::given(method("GET")).and(path(at)), ResponseTemplate::new(200).set_body_json(app)).await;
    for list in ["instances", "revisions"] {
        let none = ResponseTemplate::new(200).set_body_json(json!({ "items": [], "next": null }));
        world.answers(Mock::given(method("GET")).and(path(format!("{at}/{list}"))), none).await;
    }
    let asked = world.run("app delete web --at acme/shop/test").await.expect_err("without a terminal it asks for --yes");
    assert!(render(&asked).contains("--yes"), "{}", render(&asked));
    world.answers(Mock::given(method("DELETE")).and(path(at)), ResponseTemplate::new(204)).await;
    world.run("app delete web --yes --at acme/shop/test").await.expect("deleted");
}

#[tokio::test]
async fn a_rollback_is_shown_before_it_is_made() {
    let world = World::signed_in(3600).await;
    let at = "/api/v1/orgs/acme/projects/shop/spaces/test/apps/web";
    let seen = || ResponseTemplate::new(200).set_body_json(json!({ "changed": true, "diff": ["~ workloads.web.replicas: 4 → 1"], "batches": [] }));
    let dry = Mock::given(method("POST")).and(path(format!("{at}/rollback"))).and(query_param("dry_run", "true")).and(body_json(json!({ "revision": 3 })));
    world.answers(dry, seen()).await;
    world.run("app rollback web 3 --dry-run --at acme/shop/test").await.expect("shown, and nothing is changed");
}

#[tokio::test]
async fn every_change_of_an_application_can_be_tried() {
    let world = World::signed_in(3600).await;
    let at = "/api/v1/orgs/acme/projects/shop/spaces/test/apps/web";
    let seen = || ResponseTemplate::new(200).set_body_json(json!({ "changed": true, "diff": [], "batches": [] }));
    for (words, call) in [
        ("scale web web=3", "scale"),
        ("restart web", "restart"),
        ("stop web", "stop"),
        ("start web", "start"),
        ("release promote web", "release/promote"),
        ("release pause web", "release/pause"),
        ("release resume web", "release/resume"),
        ("release abort web", "release/abort"),
        ("scaling pause web web", "scaling/pause"),
        ("scaling resume web web", "scaling/resume"),
    ] {
        world.answers(Mock::given(method("POST")).and(path(format!("{at}/{call}"))).and(query_param("dry_run", "true")), seen()).await;
        world.run(&format!("app {words} --dry-run --at acme/shop/test")).await.expect("shown, and nothing is changed");
    }
    world.answers(Mock::given(method("DELETE")).and(path(at)).and(query_param("dry_run", "true")), seen()).await;
    world.run("app delete web --dry-run --at acme/shop/test").await.expect("nobody is asked");
}

#[tokio::test]
async fn placement_rules_are_set_over_what_was_read_or_over_the_version_that_was_told() {
    for (words, tag) in [("", "\"4\""), (" --if-version 3", "\"3\"")] {
        let world = World::signed_in(3600).await;
        let file = world._folder.path().join("rules.json");
        std::fs::write(&file, "{\"pack\": 20}").unwrap();
        let at = "/api/v1/orgs/acme/projects/shop/spaces/test/placement";
        let there = ResponseTemplate::new(200).insert_header("etag", "\"4\"").set_body_json(json!({ "spread": 5 }));
        world.answers(Mock::given(method("GET")).and(path(at)), there).await;
        let put = Mock::given(method("PUT")).and(path(at)).and(header("if-match", tag)).and(body_json(json!({ "pack": 20 })));
        world.answers(put, ResponseTemplate::new(200).set_body_json(json!({ "pack": 20 }))).await;
        world.run(&format!("app placement --set {}{words} --at acme/shop/test", file.display())).await.expect("set");
    }
}

#[tokio::test]
async fn who_signs_out_takes_the_credentials_of_clusters_along_but_not_another_platforms() {
    let world = World::signed_in(3600).await;
    let tokens = |refresh: &str| Tokens { access_token: "id".into(), refresh_token: Some(refresh.into()), expires_at: gantry_kernel::Env::system().now() };
    let (ours, theirs) = (world.store.of_client("kubernetes", &world.platform.uri()), world.store.of_client("kubernetes", "https://elsewhere"));
    ours.write(&Session { url: Some(world.platform.uri()), tokens: Some(tokens("r5")), ..Session::default() }).unwrap();
    theirs.write(&Session { url: Some("https://elsewhere".into()), tokens: Some(tokens("r6")), ..Session::default() }).unwrap();
    for (id, token) in [("gantry-cli", "r1"), ("kubernetes", "r5")] {
        let revoked = Mock::given(method("POST")).and(path("/oauth2/revoke")).and(body_string_contains(format!("token={token}&client_id={id}")));
        world.answers(revoked, ResponseTemplate::new(200)).await;
    }
    world.run("logout").await.expect("signed out");
    assert_eq!((world.store.read().unwrap().tokens, ours.read().unwrap()), (None, Session::default()));
    assert_eq!(theirs.read().unwrap().tokens.and_then(|t| t.refresh_token).as_deref(), Some("r6"));
}
