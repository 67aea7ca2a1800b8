//! Metering samples (not events of aggregates). On stream `GANTRY_USAGE`, subject `<prefix>.usage.<org id>`.

use gantry_kernel::{OffsetDateTime, OrgId, ProjectId, Uuid};
use serde::{Deserialize, Serialize};

/// How much of a meter was used in an interval. `id` makes a repeated sample count once.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct UsageSample {
    pub id: Uuid,
    pub org: OrgId,
    pub project: ProjectId,
    /// "app:<uuid>", "run:<uuid>", "repository:<name>".
    pub holder: String,
    /// For people: the application's, pipeline's or repository's name.
    pub holder_name: String,
    /// `cpu_core_seconds`, `memory_gib_seconds`, `storage_gib_seconds`, `container_seconds`, `build_seconds`, `requests`.
    pub meter: String,
    pub amount: f64,
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub from: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub to: OffsetDateTime,
}
