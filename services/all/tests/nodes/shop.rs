//! The application of these tests: a web server six times, and a database that it waits for.

use serde_json::{Value, json};

use crate::bed::{Bed, LONG};
use crate::containerd::BUSYBOX;

pub const APP: &str = "shop";
pub const WEB: usize = 6;

/// Ready a while after its start.
const DATABASE: &str = "trap 'exit 0' TERM; sleep 1.5; touch /ready; while :; do sleep 0.2; done";
/// Also has an answer that takes a while.
const SERVER: &str = "mkdir -p /www/cgi-bin; hostname > /www/index.html; printf '#!/bin/sh\\nsleep 0.4\\necho Content-Type: text/plain\\necho\\necho slow\\n' > /www/cgi-bin/slow; chmod +x /www/cgi-bin/slow; exec httpd -f -p 8080 -h /www";

/// A Compose file. `fenced`: the database must never run twice.
pub fn document(fenced: bool) -> Value {
    let resources = json!({"reservations": {"cpus": "0.05", "memory": "16M"}});
    json!({
        "services": {
            "web": {
                "image": BUSYBOX, "command": ["-c", SERVER], "stop_grace_period": "2s", "depends_on": {"db": {"condition": "service_healthy"}},
                "deploy": {"replicas": WEB, "resources": resources},
                "x-gantry": {"routes": [{"host": "shop.test", "path": "/", "port": 8080}], "ready": {"http": "/", "port": 8080, "period": "300ms"}}
            },
            "db": {
                "image": BUSYBOX, "command": ["-c", DATABASE], "stop_grace_period": "2s", "deploy": {"replicas": 1, "resources": resources},
                "healthcheck": {"test": ["CMD", "test", "-e", "/ready"], "interval": "1s", "retries": 30}
            }
        },
        "x-gantry": {"model": {"workloads": {"db": {"placement": {"fenced": fenced}}}}}
    })
}

impl Bed {
    /// Deploys it, and waits until it is on all nodes.
    pub async fn open_shop(&self, fenced: bool) {
        self.deploy(APP, &document(fenced)).await;
        self.settled().await;
        for node in &self.nodes {
            let here = self.instances(APP).await.into_iter().filter(|i| i.node == node.name && i.workload == "web").count();
            assert!(here > 0, "nothing is on {}: {:#?}", node.name, self.instances(APP).await);
        }
    }

    /// Everything runs, is reached through every node, and is where the scheduler says.
    pub async fn settled(&self) {
        let all = async || {
            let there = self.instances(APP).await;
            there.len() == WEB + 1 && there.iter().all(|i| i.available) && self.state(APP).await == "running" && self.agrees(APP).await
        };
        self.until("everything runs once, as the scheduler has it", LONG, all).await;
    }

    /// The node that has the database.
    pub async fn of_database(&self) -> String {
        self.instances(APP).await.into_iter().find(|i| i.workload == "db").expect("a database").node
    }

    pub fn others(&self, than: &str) -> Vec<String> {
        self.nodes.iter().map(|n| n.name.clone()).filter(|n| n != than).collect()
    }

    pub fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|n| n.name.clone()).collect()
    }
}
