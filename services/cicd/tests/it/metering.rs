//! What building is billed by.

use gantry_bus::streams::USAGE;
use gantry_es_pg::Todo;
use serde_json::{Value, json};

use crate::place::{Place, WAIT};

#[tokio::test(flavor = "multi_thread")]
async fn seconds_of_building_that_were_put_down_are_published() {
    let place = Place::new().await;
    // What the end of a step leaves behind, however the bus is at that time.
    let id = place.host.env.uuid();
    let sample = json!({
        "id": id, "org": place.project.org.id, "project": place.project.id, "holder": "run:x", "holder_name": "web", "meter": "build_seconds",
        "amount": 2.5, "from": "2026-11-22T10:00:00Z", "to": "2026-11-22T10:00:02.5Z"
    });
    Todo::enqueue(&place.host.db().orm, "usage", &id.to_string(), &sample).await.unwrap();
    let stream = place.host.bus.sample_stream(USAGE).await.unwrap();
    let published = || async {
        let message = stream.get_raw_message(1).await.ok()?;
        serde_json::from_slice::<Value>(&message.payload).ok()
    };
    place.world.until("the sample is published", WAIT, || async { published().await.is_some() }).await;
    let published = published().await.unwrap();
    assert_eq!((&published["id"], &published["amount"]), (&json!(id), &json!(2.5)));
}
