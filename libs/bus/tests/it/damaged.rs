//! A stream that is no true copy of its log any more: a message is gone from its middle or its end, or there is one that is no event.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, Stream};
use gantry_bus::Bus;
use gantry_es_pg::Settings;
use gantry_kernel::Env;

use crate::restored::{Origin, until_messages};

const PATIENCE: Duration = Duration::from_secs(60);

/// A stream as the relay makes it, but one that soon forgets which events it had: what is published again is not taken for a repetition.
async fn forgetful(bus: &Bus) -> Stream {
    let config = Config {
        name: bus.stream_name("origin"),
        subjects: vec![format!("{}.origin.>", bus.prefix)],
        duplicate_window: Duration::from_millis(100),
        allow_direct: true,
        ..Config::default()
    };
    bus.js.create_stream(config).await.unwrap()
}

/// The ids of its events in order, as CloudEvents says them. Each message is one.
async fn ids_in(stream: &Stream) -> Vec<String> {
    let state = stream.get_info().await.unwrap().state;
    let mut ids = Vec::new();
    for sequence in state.first_sequence..=state.last_sequence {
        if let Ok(message) = stream.get_raw_message(sequence).await {
            ids.push(message.headers.get("ce-id").unwrap().as_str().to_owned());
        }
    }
    ids
}

async fn last_position(bus: &Bus, stream: &Stream) -> String {
    let last = stream.get_last_raw_message_by_subject(&format!("{}.origin.thing.>", bus.prefix)).await.unwrap();
    last.headers.get("ce-gantryposition").unwrap().as_str().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lost_or_got_a_message_becomes_a_copy_of_the_log_again() {
    let servers = tokio::task::spawn_blocking(gantry_testkit::servers).await.unwrap();
    let id = Env::system().uuid().simple().to_string();
    let bus = Bus::connect(&servers.nats_url, &format!("damaged{}", &id[20..]), "test").await.unwrap();
    let settings = Settings { url: servers.database_url.clone(), schema: format!("bus_{}_damaged", &id[20..]), max_connections: 4 };
    let stream = forgetful(&bus).await;
    let origin = Origin::with(5, &settings, &bus).await;
    assert!(until_messages(&bus, 5, PATIENCE).await);
    origin.stop().await;

    // One in the middle is lost: the stream still ends with the right event, and whoever reads from its beginning would stand before the hole.
    assert!(stream.delete_message(3).await.unwrap());
    let origin = Origin::with(0, &settings, &bus).await;
    assert!(until_messages(&bus, 5, PATIENCE).await, "filled anew");
    origin.stop().await;

    // The last one is lost, as by a power cut, and its number is not given out again.
    let last = stream.get_info().await.unwrap().state.last_sequence;
    assert!(stream.delete_message(last).await.unwrap());
    let origin = Origin::with(0, &settings, &bus).await;
    assert!(until_messages(&bus, 5, PATIENCE).await, "published once more");
    origin.stop().await;

    // Somebody tries the bus out.
    for payload in ["hello", "is anybody there?"] {
        bus.js.publish(format!("{}.origin.greeting", bus.prefix), payload.into()).await.unwrap().await.unwrap();
    }
    let origin = Origin::with(2, &settings, &bus).await;
    // The two strays make seven, too: it is the events that are waited for.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while last_position(&bus, &stream).await != "7" {
        assert!(tokio::time::Instant::now() < deadline, "the events behind the strays are not published");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(until_messages(&bus, 7, PATIENCE).await, "the strays are gone");
    let written: Vec<String> = origin.log.read(0, 100).await.unwrap().iter().map(|event| event.id.to_string()).collect();
    assert_eq!(ids_in(&stream).await, written, "each once, in order");
    origin.stop().await;
}
