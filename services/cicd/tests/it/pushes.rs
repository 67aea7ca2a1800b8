//! From `git push` to a run, and back by `git clone`.

use gantry_testkit::clause;

use crate::place::{Place, told};

const APPROVAL: &str = "stages:\n- name: ship\n  steps:\n  - {name: sure, approval: Ship it?}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_push_makes_one_run_that_waits_for_its_approval_and_ends() {
    clause("6.4.2.2.d");
    let place = Place::new().await;
    place.repository().await;
    let tree = place.push(APPROVAL);
    let run = place.run_in(&["waiting"]).await;
    let commit = told(place.git(None, &tree, &["rev-parse", "HEAD"]));
    assert_eq!((run["commit"].as_str(), run["ref"].as_str(), run["trigger"].as_str()), (Some(commit.trim()), Some("refs/heads/main"), Some("push")));
    assert_eq!((run["message"].as_str(), run["number"].as_i64()), (Some("the first commit"), Some(1)));
    assert_eq!(run["subject"], format!("user:{}", place.editor));
    let id = run["id"].as_str().unwrap();
    let (status, body) = place.post(&format!("/runs/{id}/approve"), serde_json::json!({ "step": "sure" })).await;
    assert_eq!(status, 200, "{body}");
    let run = place.run_in(&["succeeded"]).await;
    assert_eq!(run["steps"][0]["approved_by"], format!("user:{}", place.editor));
    // The same refs again: nothing moved, no second run.
    told(place.git(Some(&place.token()), &tree, &["push", "-q", &place.url(), "main"]));
    assert_eq!(place.get("/runs").await.1["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_can_be_cloned_also_when_it_is_large() {
    let place = Place::new().await;
    place.repository().await;
    // Beyond git's post buffer: the pack goes in chunks without a length. Not compressible.
    let mut noise = String::new();
    let mut state = 88_172_645_463_325_252u64;
    while noise.len() < 3 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.push_str(&format!("{state:016x}"));
    }
    let tree = place.tree("big", &[("noise.txt", &noise)]);
    told(place.git(Some(&place.token()), &tree, &["push", "-q", &place.url(), "main"]));
    told(place.git(Some(&place.token()), place.files.path(), &["clone", "-q", &place.url(), "copy"]));
    assert_eq!(std::fs::read_to_string(place.files.path().join("copy/noise.txt")).unwrap(), noise);
    // A commit without a pipeline file makes no run.
    assert_eq!(place.get("/runs").await.1["items"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_pipeline_file_makes_a_failed_run_that_names_the_line() {
    let place = Place::new().await;
    place.repository().await;
    place.push("stages:\n- name: ship\n  steps:\n  - {name: sure, aproval: Ship it?}\n");
    let run = place.run_in(&["failed"]).await;
    let reason = run["reason"].as_str().unwrap();
    assert!(reason.contains("aproval") && reason.contains("line 4"), "{reason}");
    let (status, body) = place.post("/runs", serde_json::json!({ "repository": "web", "ref": "main" })).await;
    assert_eq!(status, 400, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("line 4"), "{body}");
}
