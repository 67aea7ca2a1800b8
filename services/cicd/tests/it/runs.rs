//! A run's life over REST.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use crate::place::Place;

const TWO: &str = "stages:\n- name: ship\n  steps:\n  - {name: sure, approval: Ship it?}\n  - {name: docs, when: {branch: [docs]}, approval: Docs?}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_started_by_hand_and_cancelled() {
    let place = Place::new().await;
    place.repository().await;
    place.push(TWO);
    place.run_in(&["waiting"]).await;
    let (status, run) = place.post("/runs", json!({ "repository": "web", "ref": "main" })).await;
    assert_eq!((status, run["trigger"].as_str(), run["number"].as_i64()), (201, Some("manual"), Some(2)), "{run}");
    let id = run["id"].as_str().unwrap().to_owned();
    let (status, run) = place.post(&format!("/runs/{id}/cancel"), json!(null)).await;
    assert_eq!((status, run["state"].as_str()), (200, Some("cancelled")), "{run}");
    assert_eq!(run["steps"][1]["state"], "skipped");
    assert_eq!(place.post(&format!("/runs/{id}/approve"), json!({ "step": "sure" })).await.1["code"], "cicd.run_over");
    // The first page of one, then the rest.
    let (_, page) = place.get("/runs?limit=1").await;
    assert_eq!((page["items"][0]["number"].as_i64(), page["next"].as_str()), (Some(2), Some("2")));
    assert_eq!(place.get("/runs?cursor=2").await.1["items"][0]["number"], 1);
    assert_eq!(place.get("/runs?repository=other").await.1["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_not_found_and_what_is_wrong_is_told() {
    let place = Place::new().await;
    place.repository().await;
    place.push(TWO);
    let run = place.run_in(&["waiting"]).await;
    let id = run["id"].as_str().unwrap();
    let nobody = "00000000-0000-4000-8000-000000000000";
    for path in [format!("/runs/{nobody}"), format!("/runs/{id}/steps/none/log"), format!("/runs/{id}/artifacts/none"), format!("/runs/{nobody}/artifacts")] {
        assert_eq!(place.get(&path).await.0, 404, "{path}");
    }
    assert_eq!(place.get("/runs/..%2f..").await.0, 400);
    assert_eq!(place.post(&format!("/runs/{id}/approve"), json!({ "step": "none" })).await.0, 404);
    assert_eq!(place.post(&format!("/runs/{id}/approve"), json!({ "step": "docs" })).await.1["code"], "cicd.not_waiting");
    for body in [json!({ "repository": "web", "ref": "nothing" }), json!({ "repository": "web" }), json!({ "repository": "web", "ref": "--upload-pack=x" })] {
        assert_eq!(place.post("/runs", body.clone()).await.0, 400, "{body}");
    }
    assert_eq!(place.post("/runs", json!({ "repository": "none", "ref": "main" })).await.0, 404);
    // A run of another project is not there, also for somebody who may see both.
    let other = place.world.identity.project(&place.project.org, "other", false).await;
    place.world.identity.grant(&format!("user:{}", place.editor), gantry_kernel::Role::Editor, other.scope()).await;
    place.world.identity.settle(&place.host).await;
    let path = format!("/api/v1/orgs/acme/projects/other/runs/{id}");
    assert_eq!(place.world.call(&place.host, Method::GET, &path, Some(&place.token()), None).await.0, 404);
    assert_eq!(place.world.call(&place.host, Method::POST, &format!("{path}/cancel"), Some(&place.token()), Some(&json!(null))).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_step_without_a_runtime_fails_and_its_log_says_why() {
    let place = Place::new().await;
    place.repository().await;
    place.push("stages:\n- name: test\n  steps:\n  - {name: unit, timeout: 2s, build: {image: web, dockerfile: none}}\n");
    let run = place.run_in(&["failed"]).await;
    assert_eq!(run["steps"][0]["state"], "failed", "{run}");
    let (id, url) = (run["id"].as_str().unwrap(), place.host.url_of("cicd").unwrap());
    let log = place.world.http.get(format!("{url}/api/v1/orgs/acme/projects/shop/runs/{id}/steps/unit/log")).bearer_auth(place.token()).send().await.unwrap();
    let text = log.text().await.unwrap();
    assert!(text.contains("the Dockerfile cannot be read"), "{text}");
    let events = place
        .world
        .http
        .get(format!("{url}/api/v1/orgs/acme/projects/shop/runs/{id}/steps/unit/log?follow=true"))
        .bearer_auth(place.token())
        .send()
        .await
        .unwrap();
    let events = events.text().await.unwrap();
    assert!(events.contains("event: line") && events.contains("event: end\ndata: failed"), "{events}");
    // Nothing is left behind.
    let workspaces = place.world.home.path().join("cicd/workspaces");
    place.world.until("the workspace is removed", crate::place::WAIT, || async { std::fs::read_dir(&workspaces).is_ok_and(|d| d.count() == 0) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steps_log_is_followed_while_it_runs_and_kept_when_it_has_ended() {
    gantry_testkit::clause("6.4.2.1.h");
    gantry_testkit::clause("6.4.2.2.g");
    let place = Place::new().await;
    place.repository().await;
    // Nobody is the scheduler: the step waits for it.
    place.push("stages:\n- name: ship\n  steps:\n  - {name: release, deploy: {file: compose.yaml, space: test, app: web}}\n");
    let run = place.run_in(&["running"]).await;
    let id = run["id"].as_str().unwrap().to_owned();
    let of_run = || async { place.get(&format!("/runs/{id}")).await.1 };
    place.world.until("the step is shown as running", crate::place::WAIT, || async { of_run().await["steps"][0]["state"] == "running" }).await;

    let log = format!("{}/api/v1/orgs/acme/projects/shop/runs/{id}/steps/release/log", place.host.url_of("cicd").unwrap());
    let ask = |url: String| place.world.http.get(url).bearer_auth(place.token()).send();
    let mut following = ask(format!("{log}?follow=true")).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("waiting:") {
        let chunk = tokio::time::timeout(gantry_testkit::patience(crate::place::WAIT), following.chunk())
            .await
            .expect("it comes while the step runs")
            .unwrap()
            .expect("no end yet");
        seen.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(seen.contains("event: line") && !seen.contains("event: end"), "{seen}");
    assert_eq!(place.post(&format!("/runs/{id}/cancel"), json!(null)).await.0, 200);
    while let Some(chunk) = tokio::time::timeout(gantry_testkit::patience(crate::place::WAIT), following.chunk()).await.expect("it ends with the step").unwrap()
    {
        seen.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(seen.contains("event: end"), "{seen}");

    // Kept with its run, beside that of the next one.
    let (status, next) = place.post("/runs", json!({ "repository": "web", "ref": "main" })).await;
    assert_eq!((status, next["number"].as_i64()), (201, Some(2)), "{next}");
    assert_eq!(of_run().await["state"], "cancelled");
    let kept = ask(log).await.unwrap().text().await.unwrap();
    assert!(kept.contains("waiting:"), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_people_start_runs_at_once_and_each_run_comes_to_its_end() {
    gantry_testkit::clause("6.4.2.1.l");
    let place = Place::new().await;
    place.repository().await;
    place.push("stages:\n- name: ship\n  steps:\n  - {name: sure, approval: Ship it?}\n");
    place.run_in(&["waiting"]).await;
    let people: Vec<_> = (0..6).map(|_| place.world.user()).collect();
    for person in &people {
        place.world.identity.grant(&format!("user:{person}"), gantry_kernel::Role::Editor, place.project.scope()).await;
    }
    place.world.identity.settle(&place.host).await;
    let start = |n: usize| {
        let (place, token) = (&place, place.world.token(people[n % people.len()], "somebody"));
        let body = json!({ "repository": "web", "ref": "main" });
        async move { place.world.call(&place.host, Method::POST, "/api/v1/orgs/acme/projects/shop/runs", Some(&token), Some(&body)).await }
    };
    let answers = futures::future::join_all((0..18).map(start)).await;
    for (n, (status, run)) in answers.iter().enumerate() {
        assert_eq!((*status, run["subject"].as_str()), (201, Some(format!("user:{}", people[n % people.len()]).as_str())), "{run}");
    }
    let numbers: BTreeSet<i64> = answers.iter().filter_map(|(_, run)| run["number"].as_i64()).collect();
    assert_eq!(numbers, (2..20).collect::<BTreeSet<i64>>(), "each has a number of its own");

    // So many at once as the project may have; the others wait for their turn.
    let all_end = || async {
        let runs = place.get("/runs?limit=50").await.1["items"].as_array().cloned().unwrap_or_default();
        assert!(runs.iter().filter(|r| matches!(r["state"].as_str(), Some("running" | "waiting"))).count() <= 2, "{runs:#?}");
        for run in runs.iter().filter(|r| r["state"] == "waiting") {
            let (status, body) = place.post(&format!("/runs/{}/approve", run["id"].as_str().unwrap()), json!({ "step": "sure" })).await;
            assert_eq!(status, 200, "{body}");
        }
        runs.len() == 19 && runs.iter().all(|r| r["state"] == "succeeded")
    };
    place.world.until("all have ended", crate::place::WAIT, all_end).await;
}
