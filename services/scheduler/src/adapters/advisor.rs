//! Asking a space's own scheduler which of the nodes that would do it likes best.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_contract::proto::scheduler as proto;
use gantry_contract::proto::scheduler::placement_advisor_client::PlacementAdvisorClient;
use gantry_kernel::Name;
use tonic::transport::{ClientTlsConfig, Endpoint};

use crate::domain::app::Home;
use crate::domain::model::Workload;
use crate::domain::placement::External;

/// What is looked for a place for.
pub struct Question<'a> {
    pub home: &'a Home,
    pub app: &'a Name,
    pub workload: &'a Name,
    pub spec: &'a Workload,
    pub revision: u64,
    /// As it counts for the planner.
    pub priority: i32,
}

/// Each node that it would take, with its score.
///
/// # Errors
/// What keeps it from answering, in words: the address, the connection, the deadline, or its own refusal.
pub async fn rank(external: &External, question: &Question<'_>, candidates: &[(String, f32)]) -> Result<BTreeMap<String, f32>, String> {
    let deadline = Duration::from_millis(external.deadline_ms.into());
    let request = proto::RankRequest {
        app: Some(proto::AppRef {
            org: question.home.org_name.to_string(),
            project: question.home.project_name.to_string(),
            space: question.home.space_name.to_string(),
            app: question.app.to_string(),
        }),
        workload: question.workload.to_string(),
        revision: question.revision,
        labels: question.spec.labels.clone().into_iter().collect(),
        requests: Some(proto::Resources {
            cpu_millis: question.spec.requests.cpu_millis.into(),
            memory_bytes: question.spec.requests.memory_bytes,
            storage_bytes: question.spec.requests.storage_bytes,
            pids: question.spec.requests.pids,
            bandwidth_bps: 0,
        }),
        priority: question.priority,
        candidates: candidates.iter().map(|(node, score)| proto::Candidate { node: node.clone(), score: f64::from(*score) }).collect(),
    };
    let asked = async {
        let endpoint = Endpoint::from_shared(external.url.clone()).map_err(|e| format!("its address: {e}"))?;
        // It is the user's own: the machine's authorities vouch for it, not the suite's.
        let endpoint = match external.url.starts_with("https://") {
            true => endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(|e| format!("its TLS: {e}"))?,
            false => endpoint,
        };
        let channel = endpoint.connect().await.map_err(|_| "it cannot be reached".to_owned())?;
        let answer = PlacementAdvisorClient::new(channel).rank(request).await.map_err(|s| format!("it refused: {}", s.message()))?;
        Ok(answer.into_inner().nodes.into_iter().filter(|r| r.score.is_finite()).map(|r| (r.node, r.score as f32)).collect())
    };
    tokio::time::timeout(deadline, asked).await.unwrap_or_else(|_| Err(format!("not within {} ms", external.deadline_ms)))
}
