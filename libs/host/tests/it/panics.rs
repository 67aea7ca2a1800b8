//! What goes on until shutdown, and panics.

use std::time::Duration;

use gantry_host::config::Nothing;
use gantry_testkit::{World, patience};

use crate::echo::Echo;

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_panics_ends_its_process_which_would_say_that_it_is_ready_otherwise() {
    let world = World::new().await;
    let host = world.start::<Echo>(Nothing {}).await;
    let url = format!("{}/readyz", host.url_of("echo").unwrap());
    assert_eq!(world.http.get(&url).send().await.unwrap().status(), 200);
    host.keep_running("one that is over", async {});
    // It is gone with what it was started with, and nothing else is.
    assert_eq!(world.http.get(&url).send().await.unwrap().status(), 200);

    host.keep_running("one that cannot go on", async { panic!("in the middle of its work") });
    tokio::time::timeout(patience(Duration::from_secs(20)), world.running.cancel.cancelled()).await.expect("the process is to end");
    world.running.stop().await;
    assert!(world.http.get(&url).send().await.is_err(), "nobody says that it is ready");
}
