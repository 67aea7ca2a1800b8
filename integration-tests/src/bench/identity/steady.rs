//! A steady load: requests begin at their times, however long the ones before take, so that a stall shows in every request
//! that should have begun meanwhile.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ask::{Server, Talk};

/// From the time a request should have begun to its answer, for each. `work` gets a connection and the request's number.
pub async fn steady<F, Fut>(server: &Server, per_second: f64, how_long: Duration, work: F) -> Result<Vec<Duration>>
where
    F: Fn(Talk, usize) -> Fut,
    Fut: Future<Output = Result<Talk>> + Send + 'static,
{
    let begin = Instant::now();
    let (mut idle, mut tasks, mut times) = (Vec::new(), JoinSet::new(), Vec::new());
    let mut number = 0usize;
    loop {
        #[allow(clippy::cast_precision_loss, reason = "a small number")]
        let due = begin + Duration::from_secs_f64(number as f64 / per_second);
        if due - begin >= how_long {
            break;
        }
        tokio::time::sleep_until(due).await;
        while let Some(done) = tasks.try_join_next() {
            take(done, &mut idle, &mut times)?;
        }
        let talk = match idle.pop() {
            Some(talk) => talk,
            None => server.connect().await?,
        };
        let work = work(talk, number);
        tasks.spawn(async move {
            let talk = work.await?;
            Ok::<_, anyhow::Error>((talk, due.elapsed()))
        });
        number += 1;
    }
    while let Some(done) = tasks.join_next().await {
        take(done, &mut idle, &mut times)?;
    }
    Ok(times)
}

type Done = std::result::Result<Result<(Talk, Duration)>, tokio::task::JoinError>;

fn take(done: Done, idle: &mut Vec<Talk>, times: &mut Vec<Duration>) -> Result<()> {
    let (talk, took) = done?.context("a request of the steady load")?;
    idle.push(talk);
    times.push(took);
    Ok(())
}
