//! Lists of repositories with many tags, and the figures that are kept instead of being counted when asked.

use gantry_kernel::Role;
use gantry_registry::store::usage;
use http::Method;
use serde_json::{Value, json};

use crate::image::Image;
use crate::stage::Stage;

const REPO: &str = "acme/shop/web";
const API: &str = "/api/v1/orgs/acme/projects/shop/images";

async fn get(stage: &Stage, path: &str, access: &str) -> Value {
    let answer = stage.request(Method::GET, path, access).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.unwrap()
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|t| t["tag"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_are_found_by_any_part_of_their_names_page_by_page() {
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let (token, access) = (stage.full(user, REPO), stage.world.token(user, "ada"));
    let digest = Image::simple("many").push(&stage, REPO, "first", &token).await;
    let sql = "insert into tags (repository, tag, digest, moved_by, moved_at)
        select $1, 'build-' || lpad(n::text, 6, '0') || '-linux', $2, 'user:x', now() + n * interval '1 millisecond' from generate_series(0, 99999) n";
    sqlx::query(sql).bind(REPO).bind(&digest).execute(&stage.host.db().pool).await.unwrap();

    let tags = format!("{API}/web/tags");
    let found = get(&stage, &format!("{tags}?q=01234-lin"), &access).await;
    assert_eq!(names(&found), ["build-001234-linux"]);
    assert_eq!((&found["items"][0]["digest"], &found["next"]), (&json!(digest), &Value::Null));
    let mut cursor = String::new();
    let mut all = Vec::new();
    loop {
        let page = get(&stage, &format!("{tags}?prefix=build-0123&limit=30{cursor}"), &access).await;
        all.extend(names(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let expected: Vec<String> = (12_300..12_400).map(|n| format!("build-{n:06}-linux")).collect();
    assert_eq!(all, expected);
    let both = get(&stage, &format!("{tags}?prefix=build-0123&q=99-"), &access).await;
    assert_eq!(names(&both), ["build-012399-linux"]);
    assert_eq!(names(&get(&stage, &format!("{tags}?q=nowhere"), &access).await), Vec::<&str>::new());
    assert_eq!(names(&get(&stage, &format!("{tags}?prefix=%25"), &access).await), Vec::<&str>::new());
    let odd = stage.request(Method::GET, &format!("{tags}?q=%00"), &access).send().await.unwrap();
    assert_eq!(odd.status(), 400);

    // By the image clients' API, from the middle to the end.
    let page: Value = get(&stage, &format!("/v2/{REPO}/tags/list?n=2&last=build-099997-linux"), &token).await;
    assert_eq!(page["tags"], json!(["build-099998-linux", "build-099999-linux"]));
    // What no database keeps is no place in a list.
    for path in [format!("/v2/{REPO}/tags/list?last=%00"), "/v2/_catalog?last=a%00".into(), format!("/v2/{REPO}/referrers/{digest}?artifactType=%00")] {
        let odd = stage.request(Method::GET, &path, &access).send().await.unwrap();
        assert_eq!(crate::stage::code(odd).await.0, 400, "{path}");
    }
    assert_eq!(stage.request(Method::GET, &format!("{API}?cursor=%00"), &access).send().await.unwrap().status(), 400);
    // The list of repositories shows the newest ones, not all of them.
    let list = get(&stage, API, &access).await;
    let shown = names(&json!({ "items": list["items"][0]["tags"] })).len();
    assert_eq!((shown, list["items"][0]["tags"][0]["tag"].as_str().unwrap()), (20, "build-099999-linux"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_repository_keeps_is_known_without_counting() {
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let (token, access) = (stage.full(user, REPO), stage.world.token(user, "ada"));
    let check = |tags: u64, images: u64| {
        let (stage, access) = (&stage, access.clone());
        async move {
            let list = get(stage, API, &access).await;
            let line = list["items"].as_array().unwrap().iter().find(|i| i["repository"] == "web").unwrap();
            assert_eq!((&line["tag_count"], &line["images"]), (&json!(tags), &json!(images)), "{line}");
            let db = &stage.host.db().orm;
            let kept = usage::stored_in(db, &[REPO.to_owned()]).await.unwrap();
            assert_eq!(kept.first().cloned(), usage::recount_repository(db, REPO).await.unwrap());
            assert_eq!(line["stored_bytes"], json!(kept[0].bytes));
        }
    };
    let (one, mut twin, two) = (Image::simple("one"), Image::simple("one"), Image::simple("two"));
    one.push(&stage, REPO, "v1", &token).await;
    one.push(&stage, REPO, "v1", &token).await;
    check(1, 1).await;
    // The same layer under a second manifest, another tag for it, and a moved tag.
    twin.manifest["annotations"] = json!({ "twin": "yes" });
    twin.push(&stage, REPO, "v2", &token).await;
    twin.push(&stage, REPO, "v3", &token).await;
    two.push(&stage, REPO, "v3", &token).await;
    check(3, 3).await;
    // The same content in another repository counts there for itself.
    one.push(&stage, "acme/shop/other", "v1", &stage.full(user, "acme/shop/other")).await;
    crate::cached::sign(&stage, REPO, &token, &one).await;
    check(3, 3).await;
    assert_eq!(stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/v3"), &token).send().await.unwrap().status(), 202);
    check(2, 3).await;
    for image in [&one, &twin] {
        assert_eq!(stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/{}", image.digest()), &token).send().await.unwrap().status(), 202);
    }
    check(0, 1).await;
}
