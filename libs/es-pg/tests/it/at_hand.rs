//! Commands that begin with the state the last one left, while others change it.

use gantry_es::{Ctx, Decider, EventData, Meta};
use gantry_es_pg::{ExecuteError, Expect, Options, Store};
use serde::{Deserialize, Serialize};

use crate::fixture::Fixture;

struct Purse;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data")]
enum Moved {
    #[serde(rename = "purse.moved")]
    Moved { by: i64 },
}

impl EventData for Moved {
    const AGGREGATE: &'static str = "purse";
}

#[derive(Debug, thiserror::Error)]
#[error("there is not so much in it")]
struct TooLittle;

#[derive(Clone)]
enum Command {
    Move(i64),
    Set(i64),
}

impl Decider for Purse {
    type State = i64;
    type Command = Command;
    type Event = Moved;
    type Refusal = TooLittle;

    fn decide(state: &i64, command: Command, _: &Ctx) -> Result<Vec<Moved>, TooLittle> {
        match command {
            Command::Move(by) if state + by < 0 => Err(TooLittle),
            Command::Set(to) if to == *state => Ok(vec![]),
            Command::Move(by) => Ok(vec![Moved::Moved { by }]),
            Command::Set(to) => Ok(vec![Moved::Moved { by: to - state }]),
        }
    }

    fn evolve(state: i64, Moved::Moved { by }: &Moved) -> i64 {
        state + by
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_hand_may_be_old_and_decides_nothing_then() {
    let f = Fixture::new().await;
    let (here, there) = (Store::<Purse>::new(f.log.clone()), Store::<Purse>::new(f.log.clone()));
    let done = here.perform("a", Command::Move(5), Meta::system()).await.unwrap();
    assert_eq!((done.version, done.events.len()), (1, 1));
    assert_eq!(here.perform("a", Command::Move(5), Meta::system()).await.unwrap().version, 2);
    // Others add to it: it is no longer what is at hand here.
    assert_eq!(there.perform("a", Command::Move(90), Meta::system()).await.unwrap().version, 3);
    assert_eq!(here.perform("a", Command::Move(-50), Meta::system()).await.unwrap().version, 4, "not refused by what was there before");
    assert_eq!(there.perform("a", Command::Set(10), Meta::system()).await.unwrap().version, 5);
    assert_eq!(here.perform("a", Command::Set(50), Meta::system()).await.unwrap().version, 6, "not found to be done already");
    assert!(matches!(there.perform("a", Command::Move(-51), Meta::system()).await, Err(ExecuteError::Refused(TooLittle))));
    assert_eq!(there.perform("a", Command::Set(50), Meta::system()).await.unwrap().position, 0, "done already");
    let meant = |version| Options { expect: Expect::Version(version), ..Options::from(Meta::system()) };
    there.perform("a", Command::Move(1), Meta::system()).await.unwrap();
    assert!(matches!(here.perform("a", Command::Move(1), meant(6)).await, Err(ExecuteError::Stale { expected: 6, actual: 7 })));
    assert_eq!(here.perform("a", Command::Move(1), meant(7)).await.unwrap().version, 8);
    assert_eq!(there.load("a").await.unwrap().state, 52);

    // Many at once, from both ends.
    let all =
        (0..40).map(|n| if n % 2 == 0 { here.perform("b", Command::Move(1), Meta::system()) } else { there.perform("b", Command::Move(1), Meta::system()) });
    futures::future::try_join_all(all).await.unwrap();
    let loaded = here.load("b").await.unwrap();
    assert_eq!((loaded.state, loaded.version), (40, 40), "none is lost and none counts twice");
}
