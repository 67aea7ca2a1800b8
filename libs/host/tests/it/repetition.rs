//! The same request twice happens once; two replicas serve side by side.

use gantry_host::config::Nothing;
use gantry_testkit::World;
use serde_json::{Value, json};

use crate::echo::Echo;

async fn post(world: &World, url: &str, token: &str, key: &str, body: &Value) -> (u16, Value, bool) {
    let answer = world.http.post(url).bearer_auth(token).header("idempotency-key", key).json(body).send().await.unwrap();
    let replayed = answer.headers().contains_key("idempotent-replay");
    (answer.status().as_u16(), answer.json().await.unwrap(), replayed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_gets_the_first_answer_also_from_another_replica() {
    let world = World::new().await;
    let one = world.start::<Echo>(Nothing {}).await;
    let first_url = format!("{}/api/v1/notes", one.url_of("echo").unwrap());
    let two = world.start::<Echo>(Nothing {}).await;
    let second_url = format!("{}/api/v1/notes", two.url_of("echo").unwrap());
    assert_ne!(first_url, second_url, "two replicas, two ports");
    let token = world.token(world.user(), "ada");
    let body = json!({ "text": "once", "times": 1 });
    let first = post(&world, &first_url, &token, "k1", &body).await;
    assert_eq!((first.0, first.2), (200, false));
    assert_eq!(post(&world, &first_url, &token, "k1", &body).await, (200, first.1.clone(), true));
    assert_eq!(post(&world, &second_url, &token, "k1", &body).await, (200, first.1.clone(), true));
    let (status, problem, _) = post(&world, &first_url, &token, "k1", &json!({ "text": "other", "times": 1 })).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("request.key_reused")));
    let stranger = world.token(world.user(), "bob");
    assert_ne!(post(&world, &first_url, &stranger, "k1", &body).await.1, first.1, "another caller's key is another key");
    assert_eq!(one.log().read(0, 100).await.unwrap().len(), 2);
}
