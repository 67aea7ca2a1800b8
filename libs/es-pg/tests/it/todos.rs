//! Work on the list when the machine's clock is not what it was.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gantry_es_pg::{Todo, TodoHandler, TodoItem, TodoRunner};
use sea_orm::ConnectionTrait;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::fixture::Fixture;

/// Says what it was given.
struct Tells(mpsc::UnboundedSender<String>);

#[async_trait]
impl TodoHandler for Tells {
    fn name(&self) -> &'static str {
        "tell"
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        self.0.send(item.key)?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_was_put_off_before_the_clock_was_set_back_does_not_wait_for_that_time() {
    let f = Fixture::new().await;
    let db = f.log.db();
    for key in ["put-off", "locked", "for-later"] {
        Todo::enqueue(&db.orm, "tell", key, &Value::Null).await.unwrap();
    }
    // An hour is what the clock was set back by.
    for set in [
        "attempts = 1, due = now() + interval '1 hour' where key = 'put-off'",
        "attempts = 1, locked_until = now() + interval '1 hour' where key = 'locked'",
        "due = now() + interval '1 hour' where key = 'for-later'",
    ] {
        db.orm.execute_unprepared(&format!("update todos set {set}")).await.unwrap();
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    TodoRunner::start(db.clone(), Arc::new(Tells(tell)), &f.cancel, &f.tasks);
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(tokio::time::timeout(Duration::from_secs(90), told.recv()).await.expect("in time").unwrap());
    }
    seen.sort();
    assert_eq!(seen, ["locked", "put-off"]);
    let later = tokio::time::timeout(Duration::from_millis(500), told.recv()).await;
    assert!(later.is_err(), "what nobody has tried waits for its time: {later:?}");
}
