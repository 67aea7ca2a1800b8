//! Keeps in step with directories and OpenID providers: each when its time has come; and takes away what upstreams that are gone gave.
//! Every replica looks; the lease of a directory lets one of them work. What fails or takes long for one holds up no other.

use std::collections::HashMap;
use std::time::Duration;

use gantry_kernel::{Kind, Problem};

use crate::app::App;
use crate::app::upstreams::rooms::due;

const EVERY: Duration = Duration::from_secs(30);

pub async fn run(app: App) {
    loop {
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
            // Somebody may be waiting for it.
            () = app.upstreams.room() => {}
        }
        said(app.refresh_ways().await);
        said(app.remove_upstreams_left().await);
        said(app.remove_orphans().await);
        said(begin_due(&app).await);
    }
}

fn said(outcome: Result<(), Problem>) {
    if let Err(problem) = outcome {
        tracing::warn!(error = problem.chain(), "the upstreams could not be looked after");
    }
}

/// Begins with everyone whose time has come; each goes on by itself.
async fn begin_due(app: &App) -> Result<(), Problem> {
    let last: HashMap<_, _> = crate::store::upstreams::last_syncs(app.pool()).await.map_err(crate::error::fault)?.into_iter().collect();
    for upstream in due(app.all_upstreams().await?, &last, app.now()) {
        match app.begin_sync(&upstream, None).await {
            Ok(_) => {}
            // Somebody is at it, or there is no room: when there is one.
            Err(problem) if problem.kind == Kind::Conflict => {}
            Err(problem) => tracing::warn!(error = problem.chain(), upstream = upstream.name, "a synchronisation could not be begun"),
        }
    }
    Ok(())
}
