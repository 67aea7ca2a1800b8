//! Who may not, and what is not a name.

use gantry_kernel::Role;
use reqwest::Method;
use serde_json::json;

use crate::place::{Place, refused, told};

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_fetches_but_does_not_push_and_a_stranger_sees_nothing() {
    let place = Place::new().await;
    place.repository().await;
    let (viewer, stranger) = (place.world.user(), place.world.user());
    place.world.identity.grant(&format!("user:{viewer}"), Role::Viewer, place.project.scope()).await;
    place.world.identity.settle(&place.host).await;
    let tree = place.tree("tree", &[("a", "b")]);
    told(place.git(Some(&place.token()), &tree, &["push", "-q", &place.url(), "main"]));

    let viewer = place.world.token(viewer, "vic");
    told(place.git(Some(&viewer), place.files.path(), &["clone", "-q", &place.url(), "seen"]));
    assert!(refused(place.git(Some(&viewer), &tree, &["push", &place.url(), "main:other"])).contains("403"));
    let stranger = place.world.token(stranger, "eve");
    assert!(refused(place.git(Some(&stranger), place.files.path(), &["clone", &place.url(), "no"])).contains("not found"));
    // Without a password git is asked for one (401), and gives up because nobody answers.
    assert!(refused(place.git(None, place.files.path(), &["clone", &place.url(), "no"])).contains("could not read Username"));
    assert!(refused(place.git(Some("nonsense"), place.files.path(), &["clone", &place.url(), "no"])).contains("Authentication failed"));

    for (method, path, body) in [
        (Method::POST, "/repositories", Some(json!({ "name": "mine" }))),
        (Method::POST, "/runs", Some(json!({ "repository": "web", "ref": "main" }))),
        (Method::DELETE, "/repositories/web", None),
    ] {
        let path = format!("/api/v1/orgs/acme/projects/shop{path}");
        assert_eq!(place.world.call(&place.host, method.clone(), &path, Some(&viewer), body.as_ref()).await.0, 403, "{path}");
        assert_eq!(place.world.call(&place.host, method.clone(), &path, Some(&stranger), body.as_ref()).await.0, 404, "{path}");
        assert_eq!(place.world.call(&place.host, method, &path, None, body.as_ref()).await.0, 401, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_do_not_lead_out_of_the_projects_folder() {
    let place = Place::new().await;
    place.repository().await;
    for bad in ["../web", "..", "a/b", ".", "", "Web", "web.git", "-x", "a\u{0}"] {
        let (status, body) = place.post("/repositories", json!({ "name": bad })).await;
        assert_eq!((status, body["code"].as_str()), (400, Some("request.invalid")), "{bad}: {body}");
    }
    let base = place.host.url_of("cicd").unwrap();
    for path in ["acme/shop/..%2f..%2fweb.git", "acme/shop/%2e%2e.git", "acme/..%2fother/web.git", "acme/shop/web.git%2f..%2fweb.git", "acme/shop/none.git"] {
        let url = format!("{base}/git/{path}/info/refs?service=git-upload-pack");
        let answer = place.world.http.get(&url).basic_auth("ada", Some(place.token())).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 404, "{path}");
    }
    let url = format!("{base}/git/acme/shop/web.git/info/refs");
    assert_eq!(place.world.http.get(&url).bearer_auth(place.token()).send().await.unwrap().status().as_u16(), 400, "the dumb protocol");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_made_once_listed_and_deleted_by_an_admin() {
    let place = Place::new().await;
    place.repository().await;
    assert_eq!(place.post("/repositories", json!({ "name": "web" })).await.1["code"], "cicd.repository_exists");
    assert_eq!(place.post("/repositories", json!({ "name": "x", "more": 1 })).await.0, 400);
    let tree = place.tree("tree", &[("a", "b")]);
    told(place.git(Some(&place.token()), &tree, &["push", "-q", &place.url(), "main"]));
    let (_, list) = place.get("/repositories").await;
    assert_eq!(list["items"][0]["clone_url"], "https://gantry.test/git/acme/shop/web.git");

    place.world.identity.grant(&format!("user:{}", place.editor), Role::Admin, place.project.scope()).await;
    place.world.identity.settle(&place.host).await;
    let path = "/api/v1/orgs/acme/projects/shop/repositories/web";
    assert_eq!(place.world.call(&place.host, Method::DELETE, path, Some(&place.token()), None).await.0, 204);
    assert_eq!(place.get("/repositories").await.1["items"], json!([]));
    // Made anew under the old name it is empty.
    place.repository().await;
    assert_eq!(told(place.git(Some(&place.token()), place.files.path(), &["ls-remote", &place.url()])), "");
}
