//! The API over gRPC, as programs with a person's token use it.

mod agreement;

use std::time::Duration;

use gantry_client::registry as api;
use gantry_client::registry::caches_client::CachesClient;
use gantry_client::registry::content_client::ContentClient;
use gantry_client::registry::image_rules_client::ImageRulesClient;
use gantry_client::registry::repositories_client::RepositoriesClient;
use gantry_client::registry::webhooks_client::WebhooksClient;
use gantry_kernel::Role;
use gantry_testkit::rpc::{by, gateway};
use http::Method;
use serde_json::{Value, json};
use tonic::Code;

use crate::image::Image;
use crate::stage::Stage;

const REPO: &str = "acme/shop/web";

fn shop() -> (String, String) {
    ("acme".into(), "shop".into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_and_their_rules_are_read_and_set_over_grpc_by_those_who_may() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let eve = stage.user("eve", None).await;
    let (access, hers) = (stage.world.token(ada, "ada"), stage.world.token(eve, "eve"));
    let image = Image::simple("over grpc");
    let digest = image.push(&stage, REPO, "v1", &stage.full(ada, REPO)).await;
    image.push(&stage, REPO, "v2", &stage.full(ada, REPO)).await;

    let mut repositories = RepositoriesClient::new(gateway(&stage.world, &stage.host));
    let (org, project) = shop();
    let ask = api::ListRepositoriesRequest { org: org.clone(), project: project.clone(), ..Default::default() };
    let listed = repositories.list_repositories(by(&access, ask.clone())).await.unwrap().into_inner();
    assert_eq!((listed.items[0].repository.as_str(), listed.items[0].tag_count), ("web", 2));
    assert_eq!(listed.items[0].tags.len(), 2);
    assert_eq!(repositories.list_repositories(ask.clone()).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(repositories.list_repositories(by(&hers, ask)).await.unwrap_err().code(), Code::NotFound);
    let tags = api::ListTagsRequest { org: org.clone(), project: project.clone(), repo: "web".into(), q: Some("2".into()), ..Default::default() };
    let tags = repositories.list_tags(by(&access, tags)).await.unwrap().into_inner();
    assert_eq!((tags.items.len(), tags.items[0].digest.as_str()), (1, digest.as_str()));
    let history = api::ListTagHistoryRequest { org: org.clone(), project: project.clone(), repo: "web".into(), ..Default::default() };
    assert_eq!(repositories.list_tag_history(by(&access, history)).await.unwrap().into_inner().items.len(), 2);
    let gone = api::DeleteTagRequest { org: org.clone(), project: project.clone(), repo: "web".into(), tag: "v2".into() };
    repositories.delete_tag(by(&access, gone.clone())).await.unwrap();
    assert_eq!(repositories.delete_tag(by(&access, gone)).await.unwrap_err().code(), Code::NotFound);
    let gone = api::DeleteImageRequest { org: org.clone(), project: project.clone(), repo: "web".into(), digest: digest.clone() };
    assert_eq!(repositories.delete_image(by(&hers, gone.clone())).await.unwrap_err().code(), Code::NotFound);
    repositories.delete_image(by(&access, gone.clone())).await.unwrap();
    assert_eq!(repositories.delete_image(by(&access, gone)).await.unwrap_err().code(), Code::NotFound);

    let mut rules = ImageRulesClient::new(gateway(&stage.world, &stage.host));
    let quota = api::SetImageQuotaRequest { org: org.clone(), project: project.clone(), bytes: Some(1 << 30) };
    assert_eq!(rules.set_image_quota(by(&access, quota.clone())).await.unwrap().into_inner().quota_bytes, Some(1 << 30));
    assert_eq!(rules.set_image_quota(by(&hers, quota)).await.unwrap_err().code(), Code::NotFound);
    // What is not given is what REST takes for it, lists too.
    let policy =
        api::SetImagePolicyRequest { org: org.clone(), project: project.clone(), name: "strict".into(), must_be_scanned: Some(true), ..Default::default() };
    let set = rules.set_image_policy(by(&access, policy)).await.unwrap().into_inner();
    assert!(!set.policies[0].at.is_empty() && set.policies[0].must_be_scanned == Some(true), "{set:?}");

    let mut caches = CachesClient::new(gateway(&stage.world, &stage.host));
    let endpoint = api::Endpoint { url: "https://hub.example".into(), username: Some("ada".into()), ..Default::default() };
    let cache = api::SetCacheRequest {
        org: org.clone(),
        project: project.clone(),
        name: "hub".into(),
        endpoint: Some(endpoint),
        password: Some("secret".into()),
        prefix: Some("hub".into()),
        ..Default::default()
    };
    caches.set_cache(by(&access, cache)).await.unwrap();
    let listed = caches.list_caches(by(&access, api::ListCachesRequest { org, project })).await.unwrap().into_inner();
    assert!(listed.items[0].has_password && !format!("{listed:?}").contains("secret"));

    let refused = ContentClient::new(gateway(&stage.world, &stage.host)).list_damage(by(&access, ())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "the platform's administrators only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_in_pieces_a_watched_list_comes_again_and_a_report_has_what_rest_says() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let access = stage.world.token(ada, "ada");
    let image = Image::simple("in pieces");
    let digest = image.push(&stage, REPO, "v1", &stage.full(ada, REPO)).await;
    let mut repositories = RepositoriesClient::new(gateway(&stage.world, &stage.host));
    let (org, project) = shop();

    let ask = api::ListRepositoriesRequest { org: org.clone(), project: project.clone(), ..Default::default() };
    let mut watched = repositories.watch_repositories(by(&access, ask)).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().expect("the list as it is").items[0].tag_count, 1);
    image.push(&stage, REPO, "v2", &stage.full(ada, REPO)).await;
    while watched.message().await.unwrap().expect("the list again").items[0].tag_count != 2 {}

    let path = format!("/api/v1/orgs/acme/projects/shop/images/web/{digest}/scan");
    let scanned = || async { stage.request(Method::GET, &path, &access).send().await.unwrap().status() == 200 };
    stage.world.until("it is scanned", Duration::from_secs(60), scanned).await;
    let rest: Value = stage.request(Method::GET, &path, &access).send().await.unwrap().json().await.unwrap();
    let ask = api::GetScanReportRequest { org: org.clone(), project: project.clone(), repo: "web".into(), digest: digest.clone() };
    let report = repositories.get_scan_report(by(&access, ask)).await.unwrap().into_inner();
    let summary = report.summary.expect("a summary");
    assert_eq!((report.digest.as_str(), json!(summary.packages)), (digest.as_str(), rest["summary"]["packages"].clone()));
    assert!(summary.at.expect("when").seconds > 1_700_000_000);
    let ask =
        api::ExportScanReportRequest { org: org.clone(), project: project.clone(), repo: "web".into(), digest: digest.clone(), format: Some("html".into()) };
    let mut page = repositories.export_scan_report(by(&access, ask)).await.unwrap().into_inner();
    let first = page.message().await.unwrap().expect("a piece");
    assert!(first.content_type.starts_with("text/html") && first.data.starts_with(b"<!"), "{}", first.content_type);

    let ask = api::ExportImageRequest { org: org.clone(), project: project.clone(), repo: "web".into(), reference: "v1".into(), ..Default::default() };
    let mut pieces = repositories.export_image(by(&access, ask)).await.unwrap().into_inner();
    let mut archive = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        archive.extend(piece.data);
    }
    assert!(archive.len() > 1024 && &archive[257..262] == b"ustar", "a tar archive");
    let rest = stage.request(Method::GET, "/api/v1/orgs/acme/projects/shop/images/web/v1/export", &access).send().await.unwrap();
    assert_eq!(rest.bytes().await.unwrap(), archive, "the same as over REST");
    let ask = api::SearchImagesRequest { digest: Some(digest[..20].to_owned()), ..Default::default() };
    let found = repositories.search_images(by(&access, ask)).await.unwrap().into_inner();
    assert_eq!((found.items.len(), found.items[0].repository.as_str()), (1, "web"));

    // A rule with one of several forms is said as in REST, and comes back as it was said.
    let mut rules = ImageRulesClient::new(gateway(&stage.world, &stage.host));
    let five = prost_types::Struct { fields: [("newest".to_owned(), prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(5.0)) })].into() };
    let keep = prost_types::Value { kind: Some(prost_types::value::Kind::StructValue(five)) };
    let rule = api::RetentionRule { keep: Some(keep.clone()), tags: Some("v*".into()), ..Default::default() };
    let ask = api::SimulateRetentionRequest { org: org.clone(), project: project.clone(), rules: vec![rule.clone()], ..Default::default() };
    let plan = rules.simulate_retention(by(&access, ask)).await.unwrap().into_inner();
    assert_eq!((plan.kept, plan.removed), (2, 0));
    let ask = api::SetRetentionRequest { org: org.clone(), project: project.clone(), rules: vec![rule], ..Default::default() };
    let set = rules.set_retention(by(&access, ask)).await.unwrap().into_inner();
    assert_eq!(set.retention.unwrap().rules[0].keep, Some(keep));

    let mut webhooks = WebhooksClient::new(gateway(&stage.world, &stage.host));
    let ask =
        api::SetWebhookRequest { org: org.clone(), project: project.clone(), name: "chat".into(), url: "https://chat.example/x".into(), ..Default::default() };
    let made = webhooks.set_webhook(by(&access, ask)).await.unwrap().into_inner();
    assert!(made.secret.is_some_and(|s| s.starts_with("whsec_")));
    let listed = webhooks.list_webhooks(by(&access, api::ListWebhooksRequest { org, project })).await.unwrap().into_inner();
    assert_eq!((listed.items[0].secrets, listed.items[0].webhook.as_ref().unwrap().name.as_str()), (1, "chat"));
}
