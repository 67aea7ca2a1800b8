//! Who gets in, and what the door says to those who do not.

use gantry_kernel::{Role, Scope};
use http::{Method, header};
use serde_json::{Value, json};

use crate::image::Image;
use crate::stage::{Stage, code};

const REPO: &str = "acme/shop/web";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_the_door_says_where_to_get_one() {
    let stage = Stage::new().await;
    let url = |path: &str| format!("{}{path}", stage.host.url_of("registry").unwrap());
    let http = &stage.world.http;
    let base = http.get(url("/v2/")).send().await.unwrap();
    let challenge = base.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().to_owned();
    assert_eq!(challenge, format!("Bearer realm=\"https://{0}/oauth2/registry-token\",service=\"{0}\"", stage.registry));
    assert_eq!(base.headers()["docker-distribution-api-version"], "registry/2.0");
    assert_eq!(code(base).await, (401, "UNAUTHORIZED".into()));
    let push = http.post(url(&format!("/v2/{REPO}/blobs/uploads/"))).send().await.unwrap();
    assert!(push.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().ends_with(",scope=\"repository:acme/shop/web:pull,push\""));
    for odd in ["Bearer nonsense", "Bearer", "Basic YTpi", "Bearer a.b.c"] {
        let response = http.get(url("/v2/")).header(header::AUTHORIZATION, odd).send().await.unwrap();
        assert_eq!(response.status(), 401, "{odd}");
    }
    let signed_in = stage.request(Method::GET, "/v2/", &stage.token("", &[])).send().await.unwrap();
    assert_eq!(signed_in.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_serves_its_repository_and_actions_only_and_ends_with_the_right() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    let token = stage.full(ada, REPO);
    Image::simple("access").push(&stage, REPO, "v1", &token).await;
    let get = |repository: &str, token: &str| stage.request(Method::GET, &format!("/v2/{repository}/manifests/v1"), token).send();

    // For another repository: she has the right, so another token would do.
    let other = get("acme/shop/other", &token).await.unwrap();
    assert!(other.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().contains("insufficient_scope"));
    assert_eq!(code(other).await, (401, "UNAUTHORIZED".into()));
    let pull = stage.token(&format!("user:{ada}"), &[("repository", REPO, &["pull"])]);
    assert_eq!(get(REPO, &pull).await.unwrap().status(), 200);
    let push = stage.request(Method::POST, &format!("/v2/{REPO}/blobs/uploads/"), &pull).send().await.unwrap();
    assert_eq!(push.status(), 401);

    // Somebody without rights: the same for what exists and what does not.
    let eve = stage.user("eve", None).await;
    let nothing = stage.token(&format!("user:{eve}"), &[]);
    for repository in [REPO, "acme/shop/none", "nobody/none/none"] {
        assert_eq!(code(get(repository, &nothing).await.unwrap()).await, (403, "DENIED".into()), "{repository}");
    }
    let anonymous = get(REPO, &stage.token("", &[])).await.unwrap();
    assert_eq!(anonymous.status(), 401, "an anonymous caller can still sign in");

    // An editor may not delete, whatever a token says; a right taken away counts at once.
    let delete = stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/v1"), &token).send().await.unwrap();
    assert_eq!(code(delete).await, (403, "DENIED".into()));
    let vic = stage.world.user();
    let subject = format!("user:{vic}");
    let binding = stage.world.identity.grant(&subject, Role::Viewer, stage.shop.scope()).await;
    stage.world.identity.settle(&stage.host).await;
    let held = stage.token(&subject, &[("repository", REPO, &["pull"])]);
    assert_eq!(get(REPO, &held).await.unwrap().status(), 200);
    stage.world.identity.revoke(binding, &subject, Role::Viewer, stage.shop.scope()).await;
    stage.world.identity.settle(&stage.host).await;
    assert_eq!(code(get(REPO, &held).await.unwrap()).await, (403, "DENIED".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_lead_elsewhere_are_refused() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, Scope::Org(stage.org.id)))).await;
    let token = stage.full(ada, REPO);
    for name in ["acme/shop/..%2f..%2fetc", "acme/shop/%2e%2e/x", "acme/shop/UP", "acme/shop", "web", "acme//web", "acme/shop/.hidden", "acme/shop/a%00b"] {
        for path in [format!("/v2/{name}/manifests/v1"), format!("/v2/{name}/blobs/uploads/")] {
            let method = if path.ends_with('/') { Method::POST } else { Method::GET };
            let response = stage.request(method, &path, &token).send().await.unwrap();
            assert_eq!(code(response).await, (400, "NAME_INVALID".into()), "{path}");
        }
    }
    for odd in ["sha256:..%2f..%2fx", "sha256:ABC", "sha256:"] {
        let response = stage.request(Method::GET, &format!("/v2/{REPO}/blobs/{odd}"), &token).send().await.unwrap();
        assert_eq!(code(response).await, (400, "DIGEST_INVALID".into()), "{odd}");
    }
    let nowhere = stage.full(ada, "acme/none/web");
    let response = stage.request(Method::POST, "/v2/acme/none/web/blobs/uploads/", &nowhere).send().await.unwrap();
    assert_eq!(response.status(), 403, "there is no such project, so nobody may push there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalogue_shows_what_the_caller_may_see() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Editor, Scope::Org(stage.org.id)))).await;
    for repository in ["acme/shop/one", "acme/shop/two", "acme/open/three"] {
        Image::simple(repository).push(&stage, repository, "v1", &stage.full(ada, repository)).await;
    }
    let catalog = |token: String, query: &'static str| {
        let request = stage.request(Method::GET, &format!("/v2/_catalog{query}"), &token);
        async move {
            let response = request.send().await.unwrap();
            let link = response.headers().get("link").map(|l| l.to_str().unwrap().to_owned());
            (response.json::<Value>().await.unwrap()["repositories"].clone(), link)
        }
    };
    let listing = |subject: String| stage.token(&subject, &[("registry", "catalog", &["*"])]);
    assert_eq!(catalog(listing(format!("user:{ada}")), "").await.0, json!(["acme/open/three", "acme/shop/one", "acme/shop/two"]));
    let (page, link) = catalog(stage.world.token(ada, "ada"), "?n=2").await;
    assert_eq!((page, link.as_deref()), (json!(["acme/open/three", "acme/shop/one"]), Some("</v2/_catalog?n=2&last=acme/shop/one>; rel=\"next\"")));
    let eve = stage.user("eve", None).await;
    assert_eq!(catalog(listing(format!("user:{eve}")), "").await.0, json!(["acme/open/three"]));
    assert_eq!(catalog(listing(String::new()), "").await.0, json!(["acme/open/three"]));
    // A robot that has patterns and no role; a credential that a service has handed out shows its own, although the service may see everything.
    let robot = format!("robot:{}", uuid::Uuid::from_u128(7));
    let patterns: [(&str, &str, &[&str]); 3] =
        [("repositories", "acme/shop/t*", &["pull"]), ("repositories", "acme/shop/one", &["push"]), ("repositories", "acme/shop/o", &["pull"])];
    let whole: (&str, &str, &[&str]) = ("registry", "catalog", &["*"]);
    let with = |subject: &str, access: &[(&str, &str, &[&str])]| stage.token(subject, access);
    assert_eq!(catalog(with(&robot, &[whole, patterns[0], patterns[1], patterns[2]]), "").await.0, json!(["acme/open/three", "acme/shop/two"]));
    assert_eq!(catalog(with("service:scheduler", &patterns), "").await.0, json!(["acme/shop/two"]));
    assert_eq!(catalog(with("service:scheduler", &[whole, patterns[0]]), "").await.0, json!(["acme/shop/two"]));
    let everything = stage.request(Method::GET, "/v2/_catalog", &with("service:scheduler", &[whole])).send().await.unwrap();
    assert_eq!(everything.status(), 401);
    let limited = stage.request(Method::GET, "/v2/_catalog", &stage.full(ada, "acme/shop/one")).send().await.unwrap();
    assert!(limited.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().contains("registry:catalog:*"));
    assert_eq!(limited.status(), 401, "a token for one repository does not list others");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_api_answers_members_only() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let eve = stage.user("eve", None).await;
    let digest = Image::simple("rest").push(&stage, "acme/shop/deep/web", "v1", &stage.full(ada, "acme/shop/deep/web")).await;
    let images = "/api/v1/orgs/acme/projects/shop/images";
    let stage = &stage;
    let call = |method: Method, path: String, token: Option<String>| async move { stage.world.call(&stage.host, method, &path, token.as_deref(), None).await };
    let (ada_token, eve_token) = (stage.world.token(ada, "ada"), stage.world.token(eve, "eve"));
    let paths =
        [images.to_owned(), format!("{images}/deep%2Fweb/tags"), format!("{images}/deep%2Fweb/{digest}/scan"), format!("{images}/deep%2Fweb/{digest}/sbom")];
    for path in &paths {
        assert_eq!(call(Method::GET, path.clone(), None).await.0, 401, "{path}");
        assert_eq!(call(Method::GET, path.clone(), Some(eve_token.clone())).await.0, 404, "{path}");
    }
    for path in &paths[..2] {
        assert_eq!(call(Method::GET, path.clone(), Some(ada_token.clone())).await.0, 200, "{path}");
    }
    let (status, problem) = call(Method::GET, format!("{images}/none/tags"), Some(ada_token.clone())).await;
    assert_eq!((status, &problem["code"]), (404, &json!("request.not_found")));
    let tag = format!("{images}/deep%2Fweb/tags/v1");
    assert_eq!(call(Method::DELETE, tag.clone(), Some(eve_token.clone())).await.0, 404);
    assert_eq!(call(Method::DELETE, tag.clone(), Some(ada_token.clone())).await.0, 204);
    assert_eq!(call(Method::DELETE, tag, Some(ada_token.clone())).await.0, 404);
    let image = format!("{images}/deep%2Fweb/{digest}");
    assert_eq!(call(Method::DELETE, image.clone(), Some(eve_token)).await.0, 404);
    assert_eq!(call(Method::DELETE, format!("{images}/deep%2Fweb/sha256:x"), Some(ada_token.clone())).await.0, 400);
    assert_eq!(call(Method::DELETE, image.clone(), Some(ada_token.clone())).await.0, 204);
    assert_eq!(call(Method::DELETE, image, Some(ada_token)).await.0, 404);
}
