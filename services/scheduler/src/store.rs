//! All tables of the scheduler: the projection of its own events, and what is kept beside it.

mod acknowledged;
mod as_if;
mod cluster_logs;
mod clusters;
mod decisions;
mod displacements;
mod entities;
mod forget;
mod kept;
mod pending;
mod pools;
mod projection;
mod queries;
mod reserving;
mod runs;
mod scalings;
mod shares;
mod signs;

pub use acknowledged::AcknowledgedProjection;
pub use as_if::as_if;
pub use cluster_logs::{forget as forget_logs, reached as logs_reached, upto as logs_upto};
pub use clusters::{Cluster, ClusterProjection, cluster, cluster_scope, clusters};
pub use decisions::{load as load_decisions, save as save_decisions};
pub use displacements::{Purpose, arrived, load as load_displacements, save as save_displacements};
pub use entities::{app, instance, node, revision};
pub use forget::{forget, forget_gone};
pub use kept::{Kept, KeptProjection, KeptVersion, all_kept, followed, kept, kept_by_id, kept_named, kept_version, kept_versions, newest_versions};
pub use pending::{Pending, load as load_pending, save as save_pending};
pub use pools::{PoolProjection, claimed, claimed_by, holders, holders_alive, holders_serving, pools};
pub use projection::SchedulerProjection;
pub use queries::*;
pub use reserving::{
    Left, begin as begin_reserving, end as end_reserving, hasten as hasten_reserving, left as left_reserving, owe as owe_reserving,
    postpone as postpone_reserving,
};
pub use scalings::{Scaled, Scalings, load as load_scalings, save as save_scaling};
pub use shares::{Share, load as load_shares, save as save_shares, shared_apps};
pub use signs::{Sign, SignFilter, save_signs, signs, signs_known, space_sign, space_signs};

/// Tables that are not made from events, (name, SQL), forward only.
pub const MIGRATIONS: &[(&str, &str)] = &[
    (
        "0001-pending-and-metering",
        "create table pending (app uuid not null, workload text not null, findings jsonb not null, since timestamptz not null, primary key (app, workload));
     create table metered (one boolean primary key default true check (one), upto timestamptz not null)",
    ),
    (
        "0002-decisions",
        "create table decisions (instance uuid primary key, app uuid not null, chosen jsonb not null, at timestamptz not null); create index decisions_app on decisions (app)",
    ),
    (
        "0003-scalings",
        "create table scalings (app uuid not null, workload text not null, replicas integer not null, reason text not null, history jsonb not null, at timestamptz not null,
            primary key (app, workload))",
    ),
    ("0004-cluster-logs", "create table cluster_logs (instance uuid primary key, upto timestamptz not null)"),
    (
        "0005-cluster-shares",
        "create table cluster_shares (app uuid not null, workload text not null, cluster text not null, replicas integer not null, target integer not null, reason text not null,
            primary key (app, workload, cluster))",
    ),
    (
        "0006-signs",
        "create table signs (number bigint generated always as identity, instance uuid not null, app uuid not null, org uuid not null, node text not null, container text not null,
            sign text not null, detail text not null, action text not null, at timestamptz not null, primary key (instance, container, sign, detail));
     create index signs_app on signs (app, number)",
    ),
    (
        "0007-displacements",
        "create table displacements (instance uuid primary key, app uuid, workload text, target text, at timestamptz not null)",
    ),
    // Secrets had the names of configs; now each kind has its own.
    (
        "0008-names-of-secrets",
        "update claims c set scope = 'secret.' || substr(c.scope, length('config.') + 1) from events e
          where e.stream = c.stream and e.kind = 'config.created' and e.data ->> 'secret' = 'true' and c.scope = 'config.' || (e.data ->> 'space')",
    ),
    ("0009-live-migrations", "alter table displacements add column successor uuid"),
    ("0010-metering-under-way", "alter table metered add column next timestamptz"),
    (
        "0011-reserving",
        "create table reserving (id uuid primary key, app uuid not null, org uuid not null, project uuid not null, at timestamptz not null);
     create index reserving_at on reserving (at)",
    ),
];
