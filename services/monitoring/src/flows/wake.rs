//! Tells live readers that there is something new, whichever replica wrote it (Postgres notifications).

use std::time::Duration;

use gantry_es_pg::Db;
use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What live readers wait on.
#[derive(Clone)]
pub struct Wake {
    pub audit: watch::Receiver<u64>,
    pub logs: watch::Receiver<u64>,
}

/// Where the listener reports.
pub struct Bells {
    audit: watch::Sender<u64>,
    logs: watch::Sender<u64>,
}

pub fn pair() -> (Wake, Bells) {
    let ((ring_audit, audit), (ring_logs, logs)) = (watch::channel(0), watch::channel(0));
    (Wake { audit, logs }, Bells { audit: ring_audit, logs: ring_logs })
}

/// Runs until cancelled.
pub async fn listen(db: Db, bells: Bells, cancel: CancellationToken) {
    let (audit, logs) = (format!("{}_audit", db.schema), format!("{}_logs", db.schema));
    let ring = |bell: &watch::Sender<u64>| bell.send_modify(|n| *n += 1);
    let mut listener: Option<PgListener> = None;
    loop {
        if listener.is_none()
            && let Ok(mut fresh) = PgListener::connect_with(&db.admin).await
            && fresh.listen_all([audit.as_str(), logs.as_str()]).await.is_ok()
        {
            listener = Some(fresh);
        }
        let heard = async {
            match &mut listener {
                Some(listener) => listener.recv().await.map(|n| n.channel().to_owned()),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            heard = heard => match heard {
                Ok(channel) if channel == audit => ring(&bells.audit),
                Ok(_) => ring(&bells.logs),
                Err(_) => listener = None,
            },
            // Stands in for notifications lost while the connection was away.
            () = tokio::time::sleep(Duration::from_secs(2)) => {
                ring(&bells.audit);
                ring(&bells.logs);
            }
        }
    }
}
