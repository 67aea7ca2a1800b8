//! What somebody meets on the first day: names where ids are kept, lists that are longer than what is shown, files that runs have left.

use serde_json::json;
use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, ResponseTemplate};

use super::World;
use crate::args::{Common, Format};
use crate::client::Client;
use crate::failure::render;

fn answer(body: &serde_json::Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

#[tokio::test]
async fn the_audit_trail_is_asked_by_the_name_of_a_person() {
    let world = World::signed_in(3600).await;
    world.answers(Mock::given(method("GET")).and(path("/api/v1/users/ada")), answer(&json!({ "id": "0198c5a1", "username": "ada" }))).await;
    let none = json!({ "items": [], "next": null });
    let by_id = Mock::given(path("/api/v1/audit")).and(query_param("actor", "user:0198c5a1")).and(query_param("org", "acme"));
    world.answers(by_id, answer(&none)).await;
    world.run("audit --actor ada --org acme").await.expect("found");
    // What is no name is taken as it is: nobody is looked up.
    for actor in ["system", "service:registry"] {
        world.answers(Mock::given(path("/api/v1/audit")).and(query_param("actor", actor)), answer(&none)).await;
        world.run(&format!("audit --actor {actor}")).await.expect("found");
    }
}

#[tokio::test]
async fn lines_of_an_instance_are_asked_for_by_its_name() {
    let world = World::signed_in(3600).await;
    let app = "/api/v1/orgs/acme/projects/shop/spaces/test/apps/web";
    let id = "0198c5a1-7b6e-7cc3-98c4-dc0c0c07398f";
    let there = json!({ "items": [{ "id": id, "name": "web-0" }], "next": null });
    Mock::given(path(format!("{app}/instances"))).respond_with(answer(&there)).expect(2).mount(&world.platform).await;
    let lines = Mock::given(path(format!("{app}/logs"))).and(query_param("instance", id)).and(query_param("q", "error"));
    lines.respond_with(answer(&json!({ "items": [], "next": null }))).expect(2).mount(&world.platform).await;
    world.run("app logs web --instance web-0 --text error --at acme/shop/test").await.expect("shown");
    // Also of one that is gone.
    world.run(&format!("app logs web --instance {id} --text error --at acme/shop/test")).await.expect("shown");
    let error = world.run("app logs web --instance web-7 --at acme/shop/test").await.expect_err("there is none");
    assert!(render(&error).contains("gantry app instances"), "{}", render(&error));
}

#[tokio::test]
async fn a_list_that_is_cut_is_known_to_be() {
    let world = World::signed_in(3600).await;
    let two = json!({ "items": [{ "name": "a" }, { "name": "b" }], "next": "c2" });
    Mock::given(path("/api/v1/users"))
        .and(query_param("cursor", "c2"))
        .respond_with(answer(&json!({ "items": [{ "name": "c" }] })))
        .mount(&world.platform)
        .await;
    Mock::given(path("/api/v1/users")).respond_with(answer(&two)).mount(&world.platform).await;
    let common = Common { url: Some(world.platform.uri()), ca: None, at: None, output: Format::Json };
    let mut client = Client::new(&common, world.store.clone()).unwrap();
    for (limit, shown, cut) in [(1, 1, Some(1)), (2, 2, Some(2)), (3, 3, None), (100, 3, None)] {
        assert_eq!(client.list("/api/v1/users", &[], limit).await.unwrap().len(), shown);
        assert_eq!(client.cut(), cut, "{limit}");
    }
}

#[tokio::test]
async fn a_file_that_a_run_has_left_is_saved() {
    let world = World::signed_in(3600).await;
    let file = world._folder.path().join("junit.xml");
    let kept = Mock::given(method("GET")).and(path("/api/v1/orgs/acme/projects/shop/runs/7/artifacts/out/junit.xml"));
    world.answers(kept, ResponseTemplate::new(200).set_body_string("<testsuites/>")).await;
    world.run(&format!("pipeline download 7 out/junit.xml -f {} --at acme/shop", file.display())).await.expect("saved");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "<testsuites/>");
}

#[tokio::test]
async fn a_repository_goes_only_when_somebody_says_so() {
    let world = World::signed_in(3600).await;
    let asked = world.run("repo delete web --at acme/shop").await.expect_err("without a terminal it asks for --yes");
    assert!(render(&asked).contains("--yes"), "{}", render(&asked));
    let gone = Mock::given(method("DELETE")).and(path("/api/v1/orgs/acme/projects/shop/repositories/web"));
    world.answers(gone, ResponseTemplate::new(204)).await;
    world.run("repo delete web --yes --at acme/shop").await.expect("deleted");
}

#[tokio::test]
async fn a_volume_of_several_nodes_is_copied_from_the_one_that_is_named() {
    let world = World::signed_in(3600).await;
    let copies = Mock::given(method("POST")).and(path("/api/v1/orgs/acme/projects/shop/spaces/test/volumes/a.data/copies")).and(query_param("node", "n1"));
    let wanted = json!({ "app": "web", "volume": "data", "number": null, "node": "n2" });
    world.answers(copies.and(body_json(wanted)), answer(&json!({ "volume": "b.data", "node": "n2", "bytes": 1 }))).await;
    world.run("volume copy a.data web data --from-node n1 --node n2 --at acme/shop/test").await.expect("copied");
}

#[tokio::test]
async fn a_price_is_changed_on_the_plan_that_was_seen() {
    let world = World::signed_in(3600).await;
    let seen = json!({ "name": "default", "currency": "EUR", "prices": { "requests": "0.01" }, "version": 4 });
    let plans = Mock::given(method("GET")).and(path("/api/v1/price-plans"));
    plans.respond_with(answer(&json!({ "items": [&seen], "next": null }))).expect(2).mount(&world.platform).await;
    let wanted = json!({ "name": "default", "currency": "EUR", "prices": { "requests": "0.01", "cpu_core_hours": "0.030" } });
    let put = Mock::given(method("PUT")).and(path("/api/v1/price-plans")).and(header("if-match", "\"4\"")).and(body_json(wanted));
    world.answers(put, answer(&seen)).await;
    world.run("price-plan set default --price cpu_core_hours=0.030").await.expect("published");
    let error = world.run("price-plan set gold --price cpu_core_hours=1").await.expect_err("no currency");
    assert!(render(&error).contains("--currency"), "{}", render(&error));
}
