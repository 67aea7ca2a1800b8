//! Whatever comes in, the answer is a clear problem, nothing is written and nothing leaks.

use gantry_host::config::Nothing;
use gantry_testkit::World;
use reqwest::Method;
use serde_json::json;

use crate::echo::Echo;

#[tokio::test(flavor = "multi_thread")]
async fn bad_bodies_are_refused_with_the_field_and_write_nothing() {
    let world = World::new().await;
    // Traces are numbered only where tracing is set up; the second test of a process finds it done.
    let _ = gantry_host::telemetry::init(&world.running.platform);
    let host = world.start::<Echo>(Nothing {}).await;
    let token = world.token(world.user(), "ada");
    let url = format!("{}/api/v1/notes", host.url_of("echo").unwrap());
    let too_deep = format!("{{\"text\":{}1{},\"times\":1}}", "[".repeat(5_000), "]".repeat(5_000));
    let cases: [(&str, String, u16, &str); 8] = [
        ("application/json", "{".into(), 400, "is not JSON"),
        ("application/json", "".into(), 400, "body"),
        ("application/json", json!({"text": "a", "times": 1, "colour": "red"}).to_string(), 400, "colour"),
        ("application/json", json!({"text": "a"}).to_string(), 400, "times"),
        ("application/json", json!({"text": 7, "times": 1}).to_string(), 400, "string"),
        ("application/json", json!({"text": "a", "times": 300}).to_string(), 400, "300"),
        ("text/plain", json!({"text": "a", "times": 1}).to_string(), 400, "application/json"),
        ("application/json", too_deep, 400, "body"),
    ];
    for (kind, body, status, says) in cases {
        let shown = body.chars().take(60).collect::<String>();
        let answer = world.http.post(&url).bearer_auth(&token).header("content-type", kind).body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{shown}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{shown}");
        let problem: serde_json::Value = answer.json().await.unwrap();
        assert!(problem.to_string().contains(says), "{shown}: {problem}");
        assert!(problem["trace_id"].is_string(), "{problem}");
    }
    let large = "x".repeat(host.platform.max_body_bytes + 1);
    let answer = world.http.post(&url).bearer_auth(&token).header("content-type", "application/json").body(large).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 413);
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["code"], "request.too_large");
    let invalid_utf8 = world.http.post(&url).bearer_auth(&token).header("content-type", "application/json").body(vec![b'"', 0xff, b'"']).send().await.unwrap();
    assert_eq!(invalid_utf8.status().as_u16(), 400);
    assert_eq!(host.log().head(), 0, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_places_and_methods_are_problems_too() {
    let world = World::new().await;
    let host = world.start::<Echo>(Nothing {}).await;
    let (status, body) = world.call(&host, Method::GET, "/api/v1/nowhere", None, None).await;
    assert_eq!((status, body["code"].as_str()), (404, Some("request.not_found")));
    let (status, body) = world.call(&host, Method::DELETE, "/api/v1/notes", None, None).await;
    assert_eq!((status, body["code"].as_str()), (405, Some("request.method")));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_and_panics_show_a_trace_id_and_no_cause() {
    let world = World::new().await;
    let host = world.start::<Echo>(Nothing {}).await;
    for path in ["/api/v1/broken", "/api/v1/panic"] {
        let (status, body) = world.call(&host, Method::GET, path, None, None).await;
        assert_eq!((status, body["code"].as_str()), (500, Some("request.internal")), "{path}");
        assert!(!body.to_string().contains("hunter2"), "{body}");
    }
}
