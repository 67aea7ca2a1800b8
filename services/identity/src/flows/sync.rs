//! Keeps in step with directories and OpenID providers: each when its time has come; and takes away what upstreams that are gone gave.
//! Every replica looks; the lease of a directory lets one of them work.

use std::collections::HashMap;
use std::time::Duration;

use crate::app::App;
use crate::app::upstreams::renew::asks_later;

const EVERY: Duration = Duration::from_secs(30);

pub async fn run(app: App) {
    loop {
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(problem) = once(&app).await {
            tracing::warn!(error = problem.chain(), "the upstreams could not be looked after");
        }
    }
}

async fn once(app: &App) -> Result<(), gantry_kernel::Problem> {
    app.refresh_ways().await?;
    app.remove_orphans().await?;
    let last: HashMap<_, _> = crate::store::upstreams::last_syncs(app.pool()).await.map_err(crate::error::fault)?.into_iter().collect();
    for upstream in app.all_upstreams().await?.into_iter().filter(|u| (u.is_directory() || asks_later(u)) && u.settings.enabled && u.settings.sync_minutes > 0)
    {
        let due = time::Duration::minutes(upstream.settings.sync_minutes.into());
        if last.get(&upstream.id.0).is_none_or(|at| app.now() - *at >= due) {
            app.sync_now(&upstream, None).await?;
        }
    }
    Ok(())
}
