//! Rows as sea-orm sees them.

pub mod app {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "apps")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub org: Uuid,
        pub project: Uuid,
        pub space: Uuid,
        pub org_name: String,
        pub project_name: String,
        pub space_name: String,
        pub name: String,
        /// Of the stream: the ETag.
        pub version: i64,
        /// The revision that is, or shall be, at work.
        pub current: i64,
        pub finished: Option<i64>,
        pub release_revision: Option<i64>,
        pub release_from: Option<i64>,
        pub release_at: Option<TimeDateTimeWithTimeZone>,
        pub failure: Option<String>,
        /// rolling | blue-green | canary | rollback: of the release that is, or was last, under way.
        pub release_strategy: String,
        /// Which of `domain::rollout::stages` has begun, when, and what was said of it.
        pub release_step: i32,
        /// Of the requests, that go to the new revision.
        pub release_percent: i32,
        pub release_step_at: Option<TimeDateTimeWithTimeZone>,
        pub release_paused: bool,
        pub release_note: String,
        /// Steps below this number need not be waited for.
        pub release_promoted: i64,
        /// Revisions whose exchanged instances get no requests.
        pub hidden: Json,
        /// `scale` of the revision that is being replaced.
        pub base_scale: Json,
        /// What measures or schedules said last, or a hand while they are held.
        pub autoscale: Json,
        /// Workload to the reason why its number follows nothing for now.
        pub scaling_paused: Json,
        /// Why it waits for room in the quota, if it does.
        pub queued: Option<String>,
        pub stopped: bool,
        pub deleted: bool,
        /// Workload to replicas set by hand.
        pub scale: Json,
        /// Workload to the log position of its last restart.
        pub restarts: Json,
        pub created_at: TimeDateTimeWithTimeZone,
        pub updated_at: TimeDateTimeWithTimeZone,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod revision {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "revisions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub app: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub revision: i64,
        pub format: String,
        pub model: Json,
        pub images: Json,
        pub reason: String,
        pub actor: String,
        pub at: TimeDateTimeWithTimeZone,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod instance {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "instances")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub app: Uuid,
        pub org: Uuid,
        pub project: Uuid,
        pub space: Uuid,
        pub workload: String,
        pub number: i32,
        pub revision: i64,
        pub node: String,
        pub cpu_millis: i64,
        pub memory_bytes: i64,
        pub storage_bytes: i64,
        /// Of the event that placed it.
        pub position: i64,
        /// See `domain::observe::Phase`.
        pub phase: String,
        pub address: String,
        pub restarts: i32,
        pub exit_code: Option<i32>,
        pub reason: String,
        /// Why it has to leave its node, if it has to.
        pub displaced: Option<String>,
        pub placed_at: TimeDateTimeWithTimeZone,
        pub running_at: Option<TimeDateTimeWithTimeZone>,
        pub changed_at: TimeDateTimeWithTimeZone,
        pub ended_at: Option<TimeDateTimeWithTimeZone>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    #[cfg(test)]
    impl Model {
        /// One that runs on the node `a` since `at`; tests change what they are about.
        pub fn running(at: TimeDateTimeWithTimeZone) -> Self {
            Self {
                id: Uuid::nil(),
                app: Uuid::nil(),
                org: Uuid::nil(),
                project: Uuid::nil(),
                space: Uuid::nil(),
                workload: "web".into(),
                number: 0,
                revision: 1,
                node: "a".into(),
                cpu_millis: 0,
                memory_bytes: 0,
                storage_bytes: 0,
                position: 1,
                phase: "running".into(),
                address: String::new(),
                restarts: 0,
                exit_code: None,
                reason: String::new(),
                displaced: None,
                placed_at: at,
                running_at: None,
                changed_at: at,
                ended_at: None,
            }
        }
    }
}

pub mod node {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "nodes")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub facts: Json,
        /// `domain::placement::NodeSettings`
        pub settings: Json,
        /// When they were last set; `changed_at` moves with everything that is told of the node.
        pub settings_at: Option<TimeDateTimeWithTimeZone>,
        pub lost: bool,
        pub cordoned: bool,
        /// Its instances are to be moved away.
        pub draining: bool,
        pub removed: bool,
        /// It showed a certificate of its own.
        pub certified: bool,
        /// Of its stream when its settings were last set; 0: never.
        pub settings_version: i64,
        pub version: i64,
        pub joined_at: TimeDateTimeWithTimeZone,
        pub changed_at: TimeDateTimeWithTimeZone,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    #[cfg(test)]
    impl Model {
        /// One that is there and of which nothing is said; tests change what they are about.
        pub fn named(name: &str) -> Self {
            let at = TimeDateTimeWithTimeZone::UNIX_EPOCH;
            Self {
                name: name.into(),
                facts: serde_json::json!({}),
                settings: serde_json::json!({}),
                settings_at: None,
                lost: false,
                cordoned: false,
                draining: false,
                removed: false,
                certified: false,
                settings_version: 0,
                version: 1,
                joined_at: at,
                changed_at: at,
            }
        }
    }
}
