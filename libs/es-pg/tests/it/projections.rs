//! Read models: once each, poison stops them, rebuilding beside the live one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gantry_es::{Meta, Recorded};
use gantry_es_pg::{
    Batch, Lease, Progress, Projection, ProjectionRunner, Todo, TodoHandler, TodoItem, TodoRunner, checkpoints, prepare, rebuild, request_rebuild, run_batch,
    skip,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};

use crate::fixture::{Counted, Fixture, raise};

const LONG: Duration = Duration::from_secs(60);

struct Totals {
    refuse: Arc<AtomicBool>,
}

#[async_trait]
impl Projection for Totals {
    fn name(&self) -> &'static str {
        "totals"
    }
    fn ddl(&self) -> &'static str {
        "create table totals (stream text primary key, total bigint not null)"
    }
    fn tables(&self) -> &'static [&'static str] {
        &["totals"]
    }
    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if !event.is::<Counted>() {
            return Ok(());
        }
        let Counted::Raised { by } = event.decode()?;
        if by == 13 && self.refuse.load(Ordering::Relaxed) {
            anyhow::bail!("thirteen is poison");
        }
        assert!(by != 31 || !self.refuse.load(Ordering::Relaxed), "thirty-one breaks the program");
        let sql = "insert into totals values ($1, $2) on conflict (stream) do update set total = totals.total + excluded.total";
        tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [event.stream.to_string().into(), i64::from(by).into()])).await?;
        Ok(())
    }
}

async fn total(f: &Fixture) -> i64 {
    sqlx::query_scalar("select coalesce(sum(total), 0)::bigint from totals").fetch_one(&f.log.db().pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_counts_once_with_two_replicas_and_a_write_can_be_read_back() {
    let one = Fixture::new().await;
    let two = one.again().await;
    let progress = Progress::default();
    for f in [&one, &two] {
        let totals = Arc::new(Totals { refuse: Arc::default() });
        ProjectionRunner::start(&f.log, totals, if f.settings.schema == one.settings.schema { &progress } else { unreachable!() }, &f.cancel, &f.tasks)
            .await
            .unwrap();
    }
    let mut expected = 0;
    for n in 1..=50u32 {
        let position = one.log.append(raise(n % 3, None, n)).await.unwrap().position;
        progress.settled(position, LONG).await.unwrap();
        expected += i64::from(n);
        assert_eq!(total(&one).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_taken_in_from_the_checkpoint_on_and_not_at_all_where_events_are_missing_before_it() {
    let f = Fixture::new().await;
    let totals = Totals { refuse: Arc::default() };
    prepare(f.log.db(), &totals, "test").await.unwrap();
    for by in [1, 2, 4, 8] {
        f.log.append(raise("x", None, by)).await.unwrap();
    }
    let events: Batch = f.log.read_shared(0, 10).await.unwrap().into_iter().map(|event| (event, 0)).collect();
    for (from, to, reached, sum) in [(1, 3, 0, 0), (0, 2, 2, 3), (3, 4, 2, 3), (1, 4, 4, 15), (0, 2, 4, 15)] {
        let batch: Batch = events[from..to].to_vec();
        assert_eq!(run_batch(&f.log.db().orm, &totals, &batch).await.unwrap(), reached, "events {from} to {to}");
        assert_eq!(total(&f).await, sum, "events {from} to {to}");
        assert_eq!(checkpoints(f.log.db()).await.unwrap()[0].position, reached);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_event_stops_its_projection_visibly_and_nothing_is_skipped() {
    let f = Fixture::new().await;
    let refuse = Arc::new(AtomicBool::new(true));
    let progress = Progress::default();
    ProjectionRunner::start(&f.log, Arc::new(Totals { refuse: refuse.clone() }), &progress, &f.cancel, &f.tasks).await.unwrap();
    for by in [1, 2, 13, 4] {
        f.log.append(raise("x", None, by)).await.unwrap();
    }
    progress.settled(2, LONG).await.unwrap();
    let stopped = tokio::time::timeout(LONG, async {
        loop {
            let checkpoint = checkpoints(f.log.db()).await.unwrap().remove(0);
            if checkpoint.error.is_some() {
                return checkpoint;
            }
            tokio::task::yield_now().await;
        }
    });
    let stopped = stopped.await.unwrap();
    assert_eq!(stopped.position, 2, "what came before the poison is kept");
    assert!(stopped.error.unwrap().contains("thirteen is poison"));
    refuse.store(false, Ordering::Relaxed);
    progress.settled(4, LONG).await.unwrap();
    assert_eq!(total(&f).await, 20);
    assert_eq!(checkpoints(f.log.db()).await.unwrap()[0].error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_makes_a_projection_panic_is_poison_and_the_projection_goes_on_when_it_is_mended() {
    let f = Fixture::new().await;
    let refuse = Arc::new(AtomicBool::new(true));
    let progress = Progress::default();
    ProjectionRunner::start(&f.log, Arc::new(Totals { refuse: refuse.clone() }), &progress, &f.cancel, &f.tasks).await.unwrap();
    for by in [1, 31, 4] {
        f.log.append(raise("x", None, by)).await.unwrap();
    }
    let stopped = tokio::time::timeout(LONG, async {
        loop {
            if let Some(error) = checkpoints(f.log.db()).await.unwrap().remove(0).error {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let error = stopped.await.unwrap();
    assert!(error.contains("thirty-one breaks the program") && error.contains("counter.raised"), "{error}");
    assert!(!f.cancel.is_cancelled(), "nothing else is touched");
    progress.settled(1, LONG).await.unwrap();
    refuse.store(false, Ordering::Relaxed);
    progress.settled(3, LONG).await.unwrap();
    assert_eq!(total(&f).await, 36);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_is_over_is_not_told_any_more_although_nothing_new_comes() {
    let f = Fixture::new().await;
    let progress = Progress::default();
    ProjectionRunner::start(&f.log, Arc::new(Totals { refuse: Arc::default() }), &progress, &f.cancel, &f.tasks).await.unwrap();
    f.log.append(raise("x", None, 1)).await.unwrap();
    progress.settled(1, LONG).await.unwrap();
    // As when no connection was to be had for a while.
    sqlx::query("update projections set error = 'pool timed out', failed_at = now()").execute(&f.log.db().pool).await.unwrap();
    let over = async {
        while checkpoints(f.log.db()).await.unwrap()[0].error.is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, over).await.unwrap();
    assert_eq!(total(&f).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_is_rebuilt_beside_the_live_one_while_events_come_in() {
    let f = Fixture::new().await;
    let progress = Progress::default();
    let totals = Arc::new(Totals { refuse: Arc::default() });
    ProjectionRunner::start(&f.log, totals.clone(), &progress, &f.cancel, &f.tasks).await.unwrap();
    for _ in 0..300 {
        f.log.append(raise("x", None, 1)).await.unwrap();
    }
    progress.settled(300, LONG).await.unwrap();
    // Somebody ruined the live rows; the log knows better.
    sqlx::query("update totals set total = 7").execute(&f.log.db().pool).await.unwrap();
    let log = f.log.clone();
    let writer = tokio::spawn(async move {
        for _ in 0..100 {
            log.append(raise("x", None, 1)).await.unwrap();
        }
    });
    rebuild(&f.log, &*totals).await.unwrap();
    writer.await.unwrap();
    progress.settled(400, LONG).await.unwrap();
    assert_eq!(total(&f).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_asks_for_a_rebuild_and_the_running_service_does_it() {
    let f = Fixture::new().await;
    // As the relay of a running service does, beside the log's own listener: a rebuild must find connections all the same.
    let _relay = Lease::try_acquire(&f.log.db().admin, "relay").await.unwrap().expect("nobody else has it");
    let operator = f.again().await;
    let progress = Progress::default();
    let refuse = Arc::new(AtomicBool::new(false));
    ProjectionRunner::start(&f.log, Arc::new(Totals { refuse: refuse.clone() }), &progress, &f.cancel, &f.tasks).await.unwrap();
    for by in [1, 13, 3] {
        f.log.append(raise("x", None, by)).await.unwrap();
    }
    progress.settled(3, LONG).await.unwrap();
    sqlx::query("update totals set total = 7").execute(&f.log.db().pool).await.unwrap();
    let ended = async || {
        loop {
            let checkpoint = checkpoints(operator.log.db()).await.unwrap().remove(0);
            if checkpoint.rebuild_since.is_none() {
                return checkpoint;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // An event that cannot be taken in now: the live tables go on.
    refuse.store(true, Ordering::Relaxed);
    request_rebuild(&operator.log, "totals", Meta::system()).await.unwrap();
    let failed = tokio::time::timeout(LONG, ended()).await.unwrap();
    assert!(failed.rebuild_error.unwrap().contains("thirteen is poison"));
    assert_eq!(total(&f).await, 7);

    refuse.store(false, Ordering::Relaxed);
    request_rebuild(&operator.log, "totals", Meta::system()).await.unwrap();
    let done = tokio::time::timeout(LONG, ended()).await.unwrap();
    assert_eq!((done.rebuild_error, total(&f).await), (None, 17));
    let kinds: Vec<String> = f.log.read(3, 10).await.unwrap().into_iter().map(|e| e.kind).collect();
    assert_eq!(kinds, ["projection.rebuild-requested", "projection.rebuild-requested"], "each request is in the log");
    assert!(request_rebuild(&operator.log, "nothing", Meta::system()).await.unwrap_err().to_string().contains("test has totals"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_panics_comes_to_nothing_and_ends_nothing_else() {
    let f = Fixture::new().await;
    let progress = Progress::default();
    let refuse = Arc::new(AtomicBool::new(false));
    ProjectionRunner::start(&f.log, Arc::new(Totals { refuse: refuse.clone() }), &progress, &f.cancel, &f.tasks).await.unwrap();
    for by in [1, 31] {
        f.log.append(raise("x", None, by)).await.unwrap();
    }
    progress.settled(2, LONG).await.unwrap();
    refuse.store(true, Ordering::Relaxed);
    request_rebuild(&f.log, "totals", Meta::system()).await.unwrap();
    let failed = async {
        loop {
            let checkpoint = checkpoints(f.log.db()).await.unwrap().remove(0);
            if checkpoint.rebuild_since.is_none() {
                return checkpoint.rebuild_error.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let failed = tokio::time::timeout(LONG, failed).await.expect("it is given up");
    assert!(failed.contains("rebuilding totals") && failed.contains("thirty-one breaks the program"), "{failed}");
    assert!(!f.cancel.is_cancelled(), "the process goes on");
    let position = f.log.append(raise("x", None, 4)).await.unwrap().position;
    progress.settled(position, LONG).await.unwrap();
    assert_eq!(total(&f).await, 36);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_passes_over_one_poison_event_and_no_other() {
    let f = Fixture::new().await;
    let progress = Progress::default();
    ProjectionRunner::start(&f.log, Arc::new(Totals { refuse: Arc::new(AtomicBool::new(true)) }), &progress, &f.cancel, &f.tasks).await.unwrap();
    for by in [1, 13, 4] {
        f.log.append(raise("x", None, by)).await.unwrap();
    }
    progress.settled(1, LONG).await.unwrap();
    let stands = async {
        while checkpoints(f.log.db()).await.unwrap()[0].error.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, stands).await.unwrap();
    assert!(skip(&f.log, "totals", 3, Meta::system()).await.is_err(), "only the event it stands before");
    skip(&f.log, "totals", 2, Meta::system()).await.unwrap();
    progress.settled(4, LONG).await.unwrap();
    assert_eq!(total(&f).await, 5);
    assert_eq!(f.log.read(3, 10).await.unwrap()[0].kind, "projection.event-skipped", "itself an event");
}

struct Flaky(Arc<AtomicBool>, tokio::sync::mpsc::UnboundedSender<(String, i32)>);

#[async_trait]
impl TodoHandler for Flaky {
    fn name(&self) -> &'static str {
        "flaky"
    }
    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        if !self.0.swap(true, Ordering::Relaxed) {
            anyhow::bail!("not the first time");
        }
        self.1.send((item.key, item.attempts)).unwrap();
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn durable_work_is_tried_again_and_done_once() {
    let f = Fixture::new().await;
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..2 {
        Todo::enqueue(&f.log.db().orm, "flaky", "a", &serde_json::json!({})).await.unwrap();
    }
    TodoRunner::start(f.log.db().clone(), Arc::new(Flaky(Arc::default(), sender)), &f.cancel, &f.tasks);
    let item = tokio::time::timeout(LONG, done.recv()).await.unwrap().unwrap();
    assert_eq!(item, ("a".to_owned(), 2));
    // A second turn would have come by now.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(done.try_recv().is_err(), "done once");
}

struct Panics(AtomicBool, tokio::sync::mpsc::UnboundedSender<i32>);

#[async_trait]
impl TodoHandler for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }
    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        assert!(self.0.swap(true, Ordering::Relaxed), "not the first time");
        self.1.send(item.attempts).unwrap();
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_panics_is_tried_again_like_work_that_fails() {
    let f = Fixture::new().await;
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    Todo::enqueue(&f.log.db().orm, "panics", "a", &serde_json::json!({})).await.unwrap();
    TodoRunner::start(f.log.db().clone(), Arc::new(Panics(AtomicBool::new(false), sender)), &f.cancel, &f.tasks);
    // After its pause, and not only when another may take over what nobody works on any more.
    assert_eq!(tokio::time::timeout(LONG, done.recv()).await.unwrap(), Some(2));
    assert!(!f.cancel.is_cancelled());
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_another_replica_puts_down_is_begun_at_once() {
    let f = Fixture::new().await;
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    TodoRunner::start(f.log.db().clone(), Arc::new(Flaky(Arc::new(AtomicBool::new(true)), sender)), &f.cancel, &f.tasks);
    // The runner has looked at the empty list and sleeps by now; it would look again only after ten seconds.
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The owner's connections stand for the other replica: nothing in this process hears of what they do.
    for key in ["b", "c"] {
        let began = std::time::Instant::now();
        Todo::enqueue(&f.log.db().admin_orm(), "flaky", key, &serde_json::json!({})).await.unwrap();
        let item = tokio::time::timeout(LONG, done.recv()).await.expect("woken").unwrap();
        assert_eq!(item, (key.to_owned(), 1));
        // Long before it would have looked by itself.
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    }
}

/// Tells what it was given, and is not done before it may be.
struct Slow(tokio::sync::mpsc::UnboundedSender<i64>, Arc<tokio::sync::Semaphore>, bool);

#[async_trait]
impl TodoHandler for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }
    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let n = item.payload["n"].as_i64().unwrap();
        self.0.send(n).unwrap();
        self.1.acquire().await.unwrap().forget();
        anyhow::ensure!(!self.2 || n > 1, "the first goes wrong");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_put_down_again_while_it_is_done_is_done_once_more() {
    for fails in [false, true] {
        let f = Fixture::new().await;
        let db = f.log.db();
        let (sender, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        TodoRunner::start(db.clone(), Arc::new(Slow(sender, gate.clone(), fails)), &f.cancel, &f.tasks);
        let put = async |n: i64| Todo::enqueue(&db.orm, "slow", "a", &serde_json::json!({ "n": n })).await.unwrap();
        put(1).await;
        let mut next = async || tokio::time::timeout(LONG, begun.recv()).await.expect("begun").unwrap();
        assert_eq!(next().await, 1);
        put(2).await;
        gate.add_permits(1);
        assert_eq!(next().await, 2, "with what was said last");
        gate.add_permits(1);
        let left = async || sqlx::query_scalar::<_, i64>("select count(*) from todos").fetch_one(&db.pool).await.unwrap();
        let deadline = std::time::Instant::now() + LONG;
        while left().await > 0 {
            assert!(std::time::Instant::now() < deadline, "the list is empty at last");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_worker_leaves_the_turn_of_another_alone() {
    let f = Fixture::new().await;
    let db = f.log.db();
    let (sender, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    TodoRunner::start(db.clone(), Arc::new(Slow(sender, gate.clone(), false)), &f.cancel, &f.tasks);
    let put = async |n: i64| Todo::enqueue(&db.orm, "slow", "a", &serde_json::json!({ "n": n })).await.unwrap();
    put(1).await;
    assert_eq!(tokio::time::timeout(LONG, begun.recv()).await.expect("begun"), Some(1));
    // Put down once more, which makes its tries begin anew, and taken by another replica after this one's lock has run out.
    put(2).await;
    let taken = "update todos set attempts = attempts + 1, turn = turn + 1, locked_until = now() + interval '1 minute'";
    sqlx::query(taken).execute(&db.pool).await.unwrap();
    gate.add_permits(1);
    // Whoever held it before would have written by now.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let sql = "select attempts, turn, locked_until > now() + interval '30 seconds' from todos";
    let left: Option<(i32, i64, bool)> = sqlx::query_as(sql).fetch_optional(&db.pool).await.unwrap();
    assert_eq!((left, gate.available_permits()), (Some((1, 2, true)), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn work_for_later_is_not_begun_before() {
    let f = Fixture::new().await;
    let db = f.log.db();
    let (sender, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let gate = Arc::new(tokio::sync::Semaphore::new(9));
    TodoRunner::start(db.clone(), Arc::new(Slow(sender, gate, false)), &f.cancel, &f.tasks);
    let put = async |key: &str, n: i64, pause| Todo::enqueue_after(&db.orm, "slow", key, &serde_json::json!({ "n": n }), pause).await.unwrap();
    put("a", 1, Duration::from_secs(3600)).await;
    let at = std::time::Instant::now();
    put("b", 2, Duration::from_millis(1500)).await;
    assert_eq!(begun.recv().await, Some(2));
    assert!(at.elapsed() >= Duration::from_millis(1400), "{:?}", at.elapsed());
    // Said once more, without a pause, the first is done now.
    put("a", 3, Duration::ZERO).await;
    assert_eq!(tokio::time::timeout(LONG, begun.recv()).await.expect("begun"), Some(3));
}
