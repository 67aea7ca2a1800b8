//! Every few seconds, on one replica: what the alert rules watch is measured, and where each stands is written down. States are in the
//! database, so that a restart or another replica goes on where this one was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use gantry_auth::SpaceRef;
use gantry_contract::monitoring::Figure;
use gantry_es_pg::{ExecuteError, Lease};
use gantry_kernel::{Kind, Name, OrgId, Problem, Result, SpaceId};

use crate::App;
use crate::domain::alert::{Measured, holds, step, worst};
use crate::domain::alert_rule::Refusal;
use crate::domain::promql;
use crate::store::alerts::{self, Evaluated};
use crate::store::places;

/// Questions to Prometheus at once.
const AT_ONCE: usize = 8;
/// How far back restarts are counted.
const RESTARTS_OF: time::Duration = time::Duration::minutes(10);

/// Runs until shutdown. `keep`: how long changes of state are kept.
pub async fn run(app: Arc<App>, every: Duration, keep: time::Duration) {
    let host = &app.host;
    let mut first = 0;
    while let Some(mut lease) = Lease::acquire(&host.db().pool, "monitoring-alerts", &host.cancel).await {
        while lease.check().await {
            // Who stops does not wait for what Prometheus has to say.
            let done = tokio::select! {
                () = host.cancel.cancelled() => return,
                done = round(&app, &mut lease, keep, first) => done,
            };
            match done {
                Ok(next) => first = next,
                Err(error) => tracing::warn!(error = %error, "the alert rules could not be evaluated"),
            }
            tokio::select! {
                () = host.cancel.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    }
}

/// `first`: which rule is measured first. The answer is the same for the next round: one that Prometheus does not answer about in time
/// comes last then, so that it keeps no other from being measured for ever.
async fn round(app: &App, lease: &mut Lease, keep: time::Duration, first: usize) -> anyhow::Result<usize> {
    let (pool, now) = (&app.host.db().pool, app.host.env.now());
    if let Err(error) = end_with_their_spaces(app).await {
        tracing::warn!(error = %error, "alert rules of deleted spaces could not be deleted");
    }
    alerts::forget(pool, now, now - keep).await?;
    // A space that is not known here yet, or not any more, is left as it is.
    let place = |rule: Evaluated| Some((app.host.auth.read(|rights| rights.space_ref(rule.space).cloned())?, rule));
    let mut rules: Vec<(SpaceRef, Evaluated)> = alerts::all(pool, now).await?.into_iter().filter_map(place).collect();
    let count = rules.len().max(1);
    rules.rotate_left(first % count);
    // One look at the trail for all of them.
    let counted = rules.iter().any(|(_, rule)| rule.rule.figure == Figure::Restarts);
    let restarted = if counted { alerts::restarts(pool, now - RESTARTS_OF).await? } else { BTreeMap::new() };
    let (restarted, mut next, mut rules) = (&restarted, first % count, rules.into_iter().enumerate());
    let mut failed: Option<(usize, Problem)> = None;
    // Whoever waits for it once does not wait for each rule: the next round asks again.
    let mut away = false;
    loop {
        let some: Vec<(usize, (SpaceRef, Evaluated))> =
            rules.by_ref().filter(|(_, (_, rule))| !away || rule.rule.figure == Figure::Restarts).take(AT_ONCE).collect();
        let Some(last) = some.last().map(|(n, _)| *n) else { break };
        if !lease.check().await {
            break;
        }
        let (answered, was_away) = (last + 1, away);
        let measured = join_all(some.into_iter().map(|(_, (space, rule))| async move {
            let measured = measure(app, &space, &rule, restarted).await;
            (rule, measured)
        }));
        for (rule, measured) in measured.await {
            match measured {
                Ok(measured) => {
                    let hold = time::Duration::seconds(rule.rule.for_seconds.into());
                    let state = step(rule.state, rule.since, holds(&rule.rule, measured.as_ref()), hold, now);
                    alerts::stand(pool, &rule, state, measured.as_ref(), now).await?;
                }
                // Nothing is known of it now: it stays as it is.
                Err(problem) => {
                    away |= problem.kind == Kind::Unavailable;
                    failed = Some((failed.map_or(1, |(count, _)| count + 1), problem));
                }
            }
        }
        if away && !was_away {
            next = (first % count + answered) % count;
        }
    }
    if let Some((rules, problem)) = failed {
        tracing::warn!(rules, error = %problem.chain(), "what some alert rules watch could not be measured");
    }
    Ok(next)
}

/// The instance nearest to an alarm; none where nothing runs.
/// `restarted`: by application, in the time that counts.
async fn measure(app: &App, space: &SpaceRef, of: &Evaluated, restarted: &BTreeMap<String, i64>) -> Result<Option<Measured>> {
    let rule = &of.rule;
    let place = [&space.project.org.name, &space.project.name, &space.name].map(Name::as_str);
    let workload = rule.workload.as_ref().map(Name::as_str);
    match promql::of_figure(place, rule.app.as_str(), workload, rule.figure) {
        Some(query) => {
            let samples = app.prometheus.instant(&query).await?;
            let measured = samples.into_iter().map(|(mut labels, value)| Measured { value, instance: labels.remove("instance").unwrap_or_default() });
            Ok(worst(rule.comparison, measured))
        }
        None => restarts(app, space.id, rule.app.as_str(), restarted).await,
    }
}

async fn restarts(app: &App, space: SpaceId, name: &str, restarted: &BTreeMap<String, i64>) -> Result<Option<Measured>> {
    let pool = &app.host.db().pool;
    let Some(id) = places::app_by_name(pool, space, name).await.map_err(Problem::internal)? else { return Ok(None) };
    let count = restarted.get(&id.to_string()).copied().unwrap_or_default();
    Ok(Some(Measured { value: count as f64, instance: String::new() }))
}

/// Rules are deleted with their space.
async fn end_with_their_spaces(app: &App) -> anyhow::Result<()> {
    for (org, space, name) in alerts::of_gone_spaces(&app.host.db().pool).await? {
        match app.end_alert_rule(OrgId(org), SpaceId(space), Name::parse(&name)?).await {
            // The read model lags: it is gone already.
            Ok(_) | Err(ExecuteError::Refused(Refusal::NotThere(_))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
