//! Versions, names, repeated commands, several streams at once.

use gantry_es::{EventData, Meta};
use gantry_es_pg::{Append, AppendError, Claim, ExecuteError, Expect, Options, Store, StreamWrite};

use crate::fixture::{Counted, Counter, Fixture, raise, stream};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_that_saw_the_same_version_one_wins() {
    let f = Fixture::new().await;
    let (a, b) = tokio::join!(f.log.append(raise("x", Some(0), 1)), f.log.append(raise("x", Some(0), 2)));
    assert!(a.is_ok() != b.is_ok());
    let stale = a.err().or(b.err()).unwrap();
    assert!(matches!(stale, AppendError::Stale { expected: 0, actual: 1, .. }), "{stale:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_remembers_never_hides_what_another_wrote() {
    let one = Fixture::new().await;
    let two = one.again().await;
    for n in 0..20 {
        // Warm: both remember the head and the stream's version as they left them.
        one.log.append(raise("x", Some(4 * n), 1)).await.unwrap();
        one.log.append(raise("x", Some(4 * n + 1), 1)).await.unwrap();
        let stale = two.log.append(raise("x", Some(4 * n), 1)).await;
        assert!(matches!(stale, Err(AppendError::Stale { actual, .. }) if actual == 4 * n + 2), "{stale:?}");
        two.log.append(raise("x", Some(4 * n + 2), 1)).await.unwrap();
        let stale = one.log.append(raise("x", Some(4 * n + 2), 1)).await;
        assert!(matches!(stale, Err(AppendError::Stale { actual, .. }) if actual == 4 * n + 3), "{stale:?}");
        one.log.append(raise("x", Some(4 * n + 3), 1)).await.unwrap();
    }
    let positions: Vec<i64> = one.log.read(0, 1_000).await.unwrap().iter().map(|e| e.position).collect();
    assert_eq!(positions, (1..=80).collect::<Vec<_>>());
    assert!(gantry_es_pg::verify(&one.log).await.unwrap().faults.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_streams_are_appended_together_or_not_at_all() {
    let f = Fixture::new().await;
    f.log.append(raise("b", Some(0), 1)).await.unwrap();
    let write = |id, expected| StreamWrite { stream: stream(id), expected: Some(expected), events: vec![Counted::Raised { by: 1 }.encode()] };
    let refused = f.log.append(Append { writes: vec![write("a", 0), write("b", 0)], claims: vec![], meta: Meta::system() }).await;
    assert!(matches!(refused, Err(AppendError::Stale { .. })));
    assert!(f.log.read_stream(&stream("a"), 0).await.unwrap().is_empty(), "nothing half-done stays behind");
    f.log.append(Append { writes: vec![write("a", 0), write("b", 1)], claims: vec![], meta: Meta::system() }).await.unwrap();
    assert_eq!(f.log.read_stream(&stream("b"), 0).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_stands_only_with_the_versions_that_it_was_decided_by() {
    let one = Fixture::new().await;
    let two = one.again().await;
    let counters = Store::<Counter>::new(one.log.clone());
    let given = |version| Options { given: vec![(stream("rules"), version)], ..Options::default() };
    assert_eq!(counters.perform("x", 1, given(0)).await.unwrap().version, 1, "there are no rules yet");
    // Another replica makes some, of which this one has not heard.
    two.log.append(raise("rules", Some(0), 1)).await.unwrap();
    let stale = counters.perform("x", 1, given(0)).await;
    assert!(matches!(stale, Err(ExecuteError::Stale { expected: 0, actual: 1 })), "{stale:?}");
    assert_eq!(one.log.read_stream(&stream("x"), 0).await.unwrap().len(), 1, "nothing was appended");
    assert_eq!(counters.perform("x", 1, given(1)).await.unwrap().version, 2);
    assert_eq!(one.log.read_stream(&stream("rules"), 0).await.unwrap().len(), 1, "what was looked at is as it was");
}

/// On one thread: all have called before the task that appends comes to it, so they go into one transaction.
#[tokio::test]
async fn what_the_database_does_not_take_is_refused_alone() {
    let f = Fixture::new().await;
    // Once with the head remembered and once without: text of Postgres has no zero byte.
    for round in 0..2 {
        let all = [0, 1, 2, 3, 4].map(|n| f.log.append(raise(if n == 2 { "a\0b".to_owned() } else { format!("{round}-{n}") }, Some(0), 1)));
        let answers = futures::future::join_all(all).await;
        let refused: Vec<usize> = (0..5).filter(|n| answers[*n].is_err()).collect();
        assert_eq!(refused, [2], "{answers:?}");
        assert!(matches!(&answers[2], Err(AppendError::Sql(_))));
    }
    let events = f.log.read(0, 100).await.unwrap();
    let streams: Vec<String> = events.iter().map(|e| e.stream.to_string()).collect();
    let expected = ["0-0", "0-1", "0-3", "0-4", "1-0", "1-1", "1-3", "1-4"].map(|id| stream(id).to_string());
    assert_eq!(streams, expected, "in the order of their calls");
    assert!(gantry_es_pg::verify(&f.log).await.unwrap().faults.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_claimed_once_and_can_be_given_back() {
    let f = Fixture::new().await;
    let with = |id: &str, claim| Append { claims: vec![claim], ..raise(id, None, 1) };
    let claims: Vec<_> = (0..8).map(|n| f.log.append(with(&n.to_string(), Claim::take("org", "acme")))).collect();
    let won = futures::future::join_all(claims).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1, "of eight at once, one gets the name");
    let owner = (0..8).map(|n| n.to_string()).collect::<Vec<_>>();
    for id in owner {
        // Only the owner's stream has events.
        if !f.log.read_stream(&stream(&id), 0).await.unwrap().is_empty() {
            f.log.append(with(&id, Claim::release("org", "acme"))).await.unwrap();
        }
    }
    f.log.append(with("later", Claim::take("org", "acme"))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_of_one_owner_at_once_may_name_the_same_name() {
    let f = Fixture::new().await;
    let with = |id: &str, claims: Vec<Claim>| Append { claims, ..raise(id, None, 1) };
    let all = (0..20).map(|n| f.log.append(with("x", vec![Claim::take("org", "shared"), Claim::take("org", n.to_string())])));
    for appended in futures::future::join_all(all).await {
        appended.unwrap();
    }
    for name in ["shared", "0", "19"] {
        let taken = f.log.append(with("y", vec![Claim::take("org", name)])).await;
        assert!(matches!(&taken, Err(AppendError::NameTaken { by, .. }) if *by == stream("x")), "{name}: {taken:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_command_gives_the_first_answer_and_happens_once() {
    let f = Fixture::new().await;
    let store = Store::<Counter>::new(f.log.clone());
    let meta = Meta { command_id: Some("user:1:/x:key".into()), ..Meta::system() };
    let (first, second) = tokio::join!(store.execute("x", 5, meta.clone()), store.execute("x", 5, meta.clone()));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.state, second.state), (5, 5));
    assert!(first.repeated != second.repeated);
    assert_eq!(store.execute("x", 5, meta).await.unwrap().state, 5);
    assert_eq!(store.load("x").await.unwrap().version, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_an_old_version_is_stale_and_one_for_any_is_decided_anew() {
    let f = Fixture::new().await;
    let store = Store::<Counter>::new(f.log.clone());
    store.execute("x", 1, Meta::system()).await.unwrap();
    let old = Options { expect: Expect::Version(0), ..Meta::system().into() };
    assert!(matches!(store.execute("x", 1, old).await, Err(ExecuteError::Stale { expected: 0, actual: 1 })));
    let many = (0..4).map(|_| store.execute("x", 1, Meta::system()));
    for result in futures::future::join_all(many).await {
        result.unwrap();
    }
    assert_eq!(store.load("x").await.unwrap().state, 5);
    assert!(matches!(store.execute("x", 0, Meta::system()).await, Err(ExecuteError::Refused(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_of_one_aggregate_all_get_their_turn() {
    let f = Fixture::new().await;
    let store = Store::<Counter>::new(f.log.clone());
    for result in futures::future::join_all((0..32).map(|_| store.execute("x", 1, Meta::system()))).await {
        result.unwrap();
    }
    assert_eq!(store.load("x").await.unwrap().state, 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_role_may_insert_events_but_not_change_them() {
    let f = Fixture::new().await;
    f.log.append(raise("x", None, 1)).await.unwrap();
    for sql in ["update events set actor = 'me'", "delete from events", "truncate events"] {
        let refused = sqlx::query(sql).execute(&f.log.db().pool).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{sql}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_considered_is_decided_and_refused_as_if_it_was_done_and_nothing_is_appended() {
    let f = Fixture::new().await;
    let store = Store::<Counter>::new(f.log.clone());
    let with = |claims: Vec<Claim>, expect| Options { meta: Meta::system(), expect, claims, ..Options::default() };
    store.execute("x", 3, with(vec![Claim::take("org", "acme")], Expect::Any)).await.unwrap();
    let head = f.log.head();
    let would = store.consider("x", 4, &with(vec![Claim::take("org", "acme")], Expect::Version(1))).await.unwrap();
    assert_eq!((would.state, would.version, would.events), (7, 1, vec![Counted::Raised { by: 4 }]));
    assert!(matches!(store.consider("x", 0, &with(Vec::new(), Expect::Any)).await, Err(ExecuteError::Refused(_))));
    assert!(matches!(store.consider("x", 1, &with(Vec::new(), Expect::Version(9))).await, Err(ExecuteError::Stale { expected: 9, actual: 1 })));
    let taken = store.consider("y", 1, &with(vec![Claim::take("org", "acme")], Expect::Any)).await;
    assert!(matches!(taken, Err(ExecuteError::NameTaken { ref name, .. }) if name == "acme"));
    let hands = vec![Claim::release("org", "acme"), Claim::take("org", "acme")];
    assert!(store.consider("y", 1, &with(hands, Expect::Any)).await.is_ok(), "it changes hands");
    assert_eq!((f.log.head(), store.load("x").await.unwrap().state, store.load("y").await.unwrap().version), (head, 3, 0));
}
