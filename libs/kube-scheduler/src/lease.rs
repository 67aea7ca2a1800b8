//! One of several works: who holds the Lease (kubernetes.io/docs/concepts/architecture/leases). As client-go does it: others
//! wait until the holder has not renewed for its whole time, by their own clock.

use std::time::Duration;

use gantry_kernel::Env;
use gantry_kubernetes::{Client, Trouble};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::moment;

const DURATION: Duration = Duration::from_secs(15);
pub const RENEW: Duration = Duration::from_secs(4);
/// The holder stops before others may begin.
const GIVE_UP: Duration = Duration::from_secs(10);

pub struct Lease {
    client: Client,
    env: Env,
    namespace: String,
    name: String,
    identity: String,
    /// Holder and time of the last renewal that was seen, and when.
    seen: Option<(String, Instant)>,
    renewed: Option<Instant>,
}

impl Lease {
    pub fn new(client: Client, env: Env, namespace: String, name: String, identity: String) -> Self {
        Self { client, env, namespace, name, identity, seen: None, renewed: None }
    }

    fn collection(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }

    /// Tries to take or keep it. Whether we hold it.
    pub async fn hold(&mut self) -> bool {
        let began = Instant::now();
        // An answer that comes when others may have begun is of no use.
        let most = self.renewed.map_or(GIVE_UP, |at| GIVE_UP.saturating_sub(at.elapsed()).max(Duration::from_secs(1)));
        let attempts = async {
            match self.attempt().await {
                // Ours was written by somebody else meanwhile, or by a word of ours whose answer was lost: whose is it?
                Ok(false) if self.renewed.is_some() => self.attempt().await,
                asked => asked,
            }
        };
        let asked = tokio::time::timeout(most, attempts).await;
        let asked = asked.unwrap_or_else(|_| Err(Trouble::Unreachable { server: self.client.server().to_owned(), reason: "no answer in time".into() }));
        match asked {
            Ok(true) => {
                self.renewed = Some(began);
                true
            }
            Ok(false) => {
                self.renewed = None;
                false
            }
            Err(trouble) => {
                tracing::warn!(lease = self.name, error = %trouble, "the lease could not be asked for");
                // Until others may have it, it is ours.
                self.renewed.is_some_and(|at| at.elapsed() < GIVE_UP)
            }
        }
    }

    async fn attempt(&mut self) -> Result<bool, Trouble> {
        let path = format!("{}/{}", self.collection(), self.name);
        let now = moment::micro(&self.env);
        let mine =
            json!({ "holderIdentity": self.identity, "leaseDurationSeconds": DURATION.as_secs(), "acquireTime": now, "renewTime": now, "leaseTransitions": 0 });
        let mut lease = match self.client.get(&path).await {
            Ok(lease) => lease,
            Err(Trouble::NotFound(_)) => {
                let new = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": self.name, "namespace": self.namespace }, "spec": mine });
                return match self.client.post(&self.collection(), &new).await {
                    Ok(_) => Ok(true),
                    Err(Trouble::Conflict(_)) => Ok(false),
                    Err(trouble) => Err(trouble),
                };
            }
            Err(trouble) => return Err(trouble),
        };
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        if holder == self.identity {
            lease["spec"]["renewTime"] = now.into();
        } else {
            let record = format!("{holder} {}", lease["spec"]["renewTime"]);
            let lasts = Duration::from_secs(lease["spec"]["leaseDurationSeconds"].as_u64().unwrap_or(DURATION.as_secs()));
            match &self.seen {
                Some((before, at)) if *before == record && at.elapsed() < lasts => return Ok(holder.is_empty() && self.take(&path, lease, mine).await?),
                Some((before, _)) if *before == record => {}
                _ => {
                    self.seen = Some((record, Instant::now()));
                    // Given back.
                    if !holder.is_empty() {
                        return Ok(false);
                    }
                }
            }
            return self.take(&path, lease, mine).await;
        }
        self.write(&path, &lease).await
    }

    async fn take(&self, path: &str, mut lease: Value, mut mine: Value) -> Result<bool, Trouble> {
        mine["leaseTransitions"] = (lease["spec"]["leaseTransitions"].as_u64().unwrap_or(0) + 1).into();
        lease["spec"] = mine;
        self.write(path, &lease).await
    }

    async fn write(&self, path: &str, lease: &Value) -> Result<bool, Trouble> {
        match self.client.put(path, lease).await {
            Ok(_) => Ok(true),
            // Somebody was first.
            Err(Trouble::Conflict(_)) => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    /// So that another one need not wait.
    pub async fn give_back(&mut self) {
        let path = format!("{}/{}", self.collection(), self.name);
        if let Ok(mut lease) = self.client.get(&path).await
            && lease["spec"]["holderIdentity"] == self.identity.as_str()
        {
            lease["spec"]["holderIdentity"] = "".into();
            lease["spec"]["leaseDurationSeconds"] = 1.into();
            if let Err(trouble) = self.client.put(&path, &lease).await {
                tracing::debug!(error = %trouble, "the lease could not be given back and runs out");
            }
        }
    }
}
