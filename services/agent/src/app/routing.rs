//! Keeps the routes to the pods of other nodes. They are on disk, so that they are there after a start without the scheduler.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::keeper::chain;
use crate::adapters::disk::Disk;
use crate::adapters::routes;
use crate::domain::routes::{Routes, steps};

/// An interface that goes down takes its routes along, and nobody tells.
const LOOK: Duration = Duration::from_secs(3);
const FILE: &str = "routes.json";

/// Sets the routes that were last told, before anything uses them: a balancer that starts without them takes the instances of other
/// nodes for dead.
pub async fn put_back(disk: &Disk) {
    keep(&disk.load(FILE).await, &mut BTreeSet::new()).await;
}

/// A node that shares its pods with others.
pub struct Routing {
    pub routes: watch::Receiver<Option<Routes>>,
    pub disk: Disk,
}

impl Routing {
    /// Until cancelled; the routes stay.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut wanted: Routes = self.disk.load(FILE).await;
        let mut told = BTreeSet::new();
        loop {
            let said = self.routes.borrow_and_update().clone();
            if let Some(said) = said.filter(|said| *said != wanted) {
                wanted = said;
                if let Err(error) = self.disk.save(FILE, &wanted).await {
                    tracing::error!(%error, "the routes to other nodes cannot be saved; after a restart they have to be told again");
                }
            }
            keep(&wanted, &mut told).await;
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = self.routes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

/// `told`: what was said about routes that cannot be had; each is said once.
async fn keep(wanted: &Routes, told: &mut BTreeSet<String>) {
    let there = match routes::present().await {
        Ok(there) => there,
        Err(error) => {
            if told.insert(String::new()) {
                tracing::error!(error = %chain(&error), "the routes of this machine cannot be read");
            }
            return;
        }
    };
    let (set, gone) = steps(&there, wanted);
    for (network, gateway) in set {
        match routes::set(&network, &gateway).await {
            Ok(()) => {
                told.remove(&network);
                tracing::info!(network, gateway, "a route to another node's pods");
            }
            Err(error) => {
                if told.insert(network.clone()) {
                    tracing::error!(network, gateway, error = %chain(&error), "another node's pods cannot be reached: its address must be on a network of this machine");
                }
            }
        }
    }
    for network in gone {
        if let Err(error) = routes::remove(&network).await {
            tracing::debug!(network, error = %chain(&error), "a route was gone already");
        }
    }
}
