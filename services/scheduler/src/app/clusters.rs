//! Clusters for people: import, look at, test, change, remove.

use std::time::Instant;

use gantry_auth::{Caller, OrgRef};
use gantry_contract::cluster::ClusterEvent;
use gantry_es::{EventData, Meta, Sealed, StreamId};
use gantry_es_pg::{Append, AppendError, Claim, StreamWrite};
use gantry_kernel::{FieldFault, Kind, Name, OffsetDateTime, OrgId, Problem, Role, Scope, Uuid};
use gantry_kubernetes::{Access, Capabilities, Client, Credential, Found, Trouble};
use serde::{Deserialize, Serialize};

use super::adoption::{self, Earlier};
use super::context::Scheduler;
use super::deploy::database;
use crate::adapters;
use crate::domain::cluster::{ClusterSettings, ends_soon};
use crate::store::{self, Cluster};

/// Names of clusters are one space for all: placement rules name them.
const NAMES: &str = "cluster";
/// Of a kubeconfig.
const LARGEST: usize = 1 << 20;

/// How a cluster is reached: a kubeconfig, or an address with a token, or the cluster that the platform itself runs on.
#[derive(Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessBody {
    /// YAML, with certificates in it rather than names of files (`kubectl config view --raw --flatten --minify`).
    pub kubeconfig: String,
    /// Of the kubeconfig; its current one if empty.
    pub context: String,
    /// `https://host:port`
    pub server: String,
    /// Authorities to trust, PEM.
    pub ca_pem: String,
    pub token: String,
    /// With the service account of the pod that the scheduler runs in.
    pub in_cluster: bool,
}

#[derive(Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCluster {
    #[schema(value_type = String)]
    pub name: Name,
    /// The organisation whose it is; without one it is the platform's, for the spaces of all.
    #[serde(default)]
    pub org: Option<String>,
    pub access: AccessBody,
    #[serde(default)]
    pub settings: ClusterSettings,
    /// Take it in even if it cannot be reached now.
    #[serde(default)]
    pub unchecked: bool,
    /// The name of an earlier import of this very cluster, removed by now: what it has made there is this one's from now on.
    #[serde(default)]
    pub adopt: Option<String>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ClusterBody {
    #[schema(value_type = String, format = Uuid)]
    pub id: Uuid,
    pub name: String,
    /// The organisation's name; none: the platform's.
    pub org: Option<String>,
    pub server: String,
    /// token | certificate | exec | in-cluster; the credential itself is never shown.
    pub credential: String,
    /// When the credential ends, if it says so itself.
    #[serde(with = "time::serde::rfc3339::option")]
    pub credential_expires_at: Option<OffsetDateTime>,
    pub settings: ClusterSettings,
    pub health: HealthBody,
    #[serde(with = "time::serde::rfc3339")]
    pub added_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub changed_at: OffsetDateTime,
    /// What should be known of it: that its credential ends soon, and, to those who have imported it just now, what else is there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    #[serde(skip)]
    pub version: i64,
}

/// Whether a cluster can be reached, by looks at it again and again.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct HealthBody {
    /// reached | unreachable: not now | lost: not for its grace time, so what can run elsewhere does | missing: there is no such
    /// cluster | unknown: not looked at yet, or by another process
    pub state: String,
    /// Of what is not well.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    pub problem: Option<String>,
}

/// How it is now.
pub fn health(s: &Scheduler, row: &Cluster) -> HealthBody {
    let told = |state: &str, since: Option<OffsetDateTime>, problem: Option<String>| HealthBody { state: state.to_owned(), since, problem };
    if let Some((since, reason)) = &row.lost {
        return told("lost", Some(*since), Some(reason.clone()));
    }
    let Some(running) = s.clusters.get(&row.name).filter(|one| one.id == row.id) else { return told("unknown", None, None) };
    let pulse = running.health.pulse();
    match pulse.trouble() {
        Some((since, problem)) => told("unreachable", Some(since), Some(problem.to_owned())),
        None if pulse.is_well() => told("reached", None, running.engine.connection().problem),
        None => told("unknown", None, None),
    }
}

/// What a test of the connection has found.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct TestBody {
    /// Applications can be run there.
    pub usable: bool,
    /// What is in the way, and what to do.
    pub problem: Option<String>,
    pub version: String,
    pub platform: String,
    #[schema(value_type = Object)]
    pub capabilities: Capabilities,
    /// As `patch deployments.apps`; `gantry cluster manifest` writes them all.
    pub missing_rights: Vec<String>,
    pub remarks: Vec<String>,
    pub took_ms: u64,
}

/// Those that the caller may know.
///
/// # Errors
/// When the database refuses.
pub async fn list(s: &Scheduler, caller: &Caller) -> Result<Vec<ClusterBody>, Problem> {
    let mut out = Vec::new();
    for row in store::clusters(s.orm()).await.map_err(database)? {
        if s.host.auth.require(caller, Role::Viewer, scope(row.org)).is_ok() {
            out.push(body(s, row).await?);
        }
    }
    Ok(out)
}

/// # Errors
/// Not found, which is also said to those who may not know it.
pub async fn get(s: &Scheduler, caller: &Caller, name: &str) -> Result<ClusterBody, Problem> {
    let row = find(s, caller, name, Role::Viewer).await?;
    body(s, row).await
}

/// Tested before it is taken in.
///
/// # Errors
/// A missing right, faults, an access that cannot be used, a name that is taken.
pub async fn add(s: &Scheduler, caller: &Caller, new: NewCluster) -> Result<ClusterBody, Problem> {
    let org: Option<OrgRef> = new.org.as_deref().map(|name| s.host.auth.org(name)).transpose()?;
    let org = org.map(|o| o.id);
    require(s, caller, org, &new.access)?;
    refuse_faults(&new.settings)?;
    let access = access(&new.access)?;
    let client = connect(s, access.clone(), org.is_none()).await?;
    if !new.unchecked {
        let (tested, _) = probe(&client, new.settings.roles).await;
        if let Some(problem) = tested.problem {
            return Err(unusable(&problem, "; send `unchecked` (--unchecked) to take it in all the same"));
        }
    }
    // One that cannot be reached, and is taken in all the same, is not waited for.
    let asked = !new.unchecked || new.adopt.is_some();
    let earlier = if asked { adoption::earlier(s, &client, new.name.as_str(), org).await? } else { Vec::new() };
    let adopted = new.adopt.as_deref().map(|name| adoption::adopted(s, caller, name, &earlier)).transpose()?;
    let id = s.host.env.uuid();
    let event = ClusterEvent::Added {
        cluster: id,
        name: new.name.clone(),
        org,
        server: access.server.clone(),
        credential: access.credential.word().into(),
        settings: serde_json::to_value(&new.settings).map_err(Problem::internal)?,
        access: seal(s, id, &access).await?,
    };
    let events = std::iter::once(event).chain(adopted.map(|scope| ClusterEvent::Adopted { cluster: id, scope })).collect();
    append(s, id, Some(0), events, vec![Claim::take(NAMES, new.name.as_str())], caller.meta(org)).await?;
    let others: Vec<Earlier> = earlier.into_iter().filter(|e| Some(e.scope) != adopted).collect();
    let mut added = get(s, caller, new.name.as_str()).await?;
    added.remarks.extend(adoption::remarks(s, caller, &others));
    Ok(added)
}

/// Another way in: a renewed credential, another address.
///
/// # Errors
/// A missing right, or an access that cannot be used.
pub async fn change_access(s: &Scheduler, caller: &Caller, name: &str, new: AccessBody) -> Result<ClusterBody, Problem> {
    let row = find(s, caller, name, Role::Admin).await?;
    require(s, caller, row.org, &new)?;
    let access = access(&new)?;
    let client = connect(s, access.clone(), row.org.is_none()).await?;
    if let Some(problem) = probe(&client, wants_roles(s, &row)?).await.0.problem {
        return Err(unusable(&problem, "; what was set before stays"));
    }
    let event = ClusterEvent::AccessChanged {
        cluster: row.id,
        server: access.server.clone(),
        credential: access.credential.word().into(),
        access: seal(s, row.id, &access).await?,
    };
    append(s, row.id, Some(row.version), vec![event], Vec::new(), caller.meta(row.org)).await?;
    get(s, caller, name).await
}

/// # Errors
/// A missing right, or faults in the settings.
pub async fn change_settings(s: &Scheduler, caller: &Caller, name: &str, settings: ClusterSettings) -> Result<ClusterBody, Problem> {
    let row = find(s, caller, name, Role::Admin).await?;
    refuse_faults(&settings)?;
    let value = serde_json::to_value(&settings).map_err(Problem::internal)?;
    if serde_json::from_value::<ClusterSettings>(row.settings.clone()).is_ok_and(|before| before == settings) {
        return body(s, row).await;
    }
    let event = ClusterEvent::SettingsChanged { cluster: row.id, settings: value };
    append(s, row.id, Some(row.version), vec![event], Vec::new(), caller.meta(row.org)).await?;
    get(s, caller, name).await
}

/// Nothing on the cluster itself is touched: its spaces have to leave it first.
///
/// # Errors
/// A missing right, or spaces that are placed on it.
pub async fn remove(s: &Scheduler, caller: &Caller, name: &str) -> Result<(), Problem> {
    let row = find(s, caller, name, Role::Admin).await?;
    let claims = vec![Claim::release(NAMES, row.name.clone())];
    append(s, row.id, Some(row.version), vec![ClusterEvent::Removed { cluster: row.id }], claims, caller.meta(row.org)).await?;
    // Nobody can get in with it any more, not even from a backup of the log.
    if let Err(error) = s.host.keyring().erase(&subject(row.id)).await {
        tracing::warn!(cluster.id = %row.id, error = %error, "the key of a removed cluster's access could not be erased");
    }
    Ok(())
}

/// Connects and asks; writes nothing.
///
/// # Errors
/// Not found. That it cannot be reached is an answer.
pub async fn test(s: &Scheduler, caller: &Caller, name: &str) -> Result<TestBody, Problem> {
    let row = find(s, caller, name, Role::Viewer).await?;
    let running = s.clusters.get(&row.name).filter(|one| one.id == row.id);
    let unusable = |problem: String| TestBody { problem: Some(problem), ..TestBody::default() };
    let mut tested = match (wants_roles(s, &row), open(s, &row).await) {
        (Ok(roles), Ok(client)) => {
            let (tested, found) = probe(&client, roles).await;
            // What was installed just now is used from now on, not after the next look.
            if let (Some(found), Some(one)) = (found, &running) {
                one.engine.look_again(&found);
            }
            tested
        }
        (Err(_), _) => unusable("its settings cannot be read: set them anew".into()),
        (_, Err(problem)) => unusable(problem.detail),
    };
    tested.remarks.extend(ends_soon(&row.name, expires(s, &row).await, s.host.env.now()));
    // Of what was deleted no application tells any more.
    tested.remarks.extend(running.map(|one| one.engine.held_up()).unwrap_or_default());
    Ok(tested)
}

/// A client of a stored cluster.
///
/// # Errors
/// When its access cannot be opened or used.
pub async fn open(s: &Scheduler, row: &Cluster) -> Result<Client, Problem> {
    let text = s.host.keyring().open(&subject(row.id), &row.access).await.map_err(Problem::internal)?;
    let access: Access = serde_json::from_str(&text).map_err(Problem::internal)?;
    connect(s, access, row.org.is_none()).await
}

/// # Errors
/// Settings that cannot be read: taken for the usual ones, a credential without the rights for roles would be called good.
fn wants_roles(s: &Scheduler, row: &Cluster) -> Result<bool, Problem> {
    serde_json::from_value::<ClusterSettings>(row.settings.clone()).map(|settings| settings.roles).map_err(|error| {
        s.unreadable.tell("cluster", row.id, &error, "whether people's roles are bound on it is not known, and its access stays as it is");
        Problem::internal(error)
    })
}

/// `roles`: people's roles are to be bound.
async fn probe(client: &Client, roles: bool) -> (TestBody, Option<Found>) {
    let began = Instant::now();
    let (mut tested, mut answer) = (TestBody::default(), None);
    let asked = async {
        let found = gantry_kubernetes::discover(client).await?;
        let missing = gantry_kubernetes::missing_rights(client, &found).await?;
        Ok::<_, Trouble>((found, missing))
    };
    match asked.await {
        Ok((found, mut missing)) => {
            if roles && !found.capabilities.role_bindings {
                missing.push("list rolebindings.rbac.authorization.k8s.io".into());
            }
            tested.usable = missing.is_empty();
            if !missing.is_empty() {
                let some = missing.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
                tested.problem = Some(format!(
                    "{} rights are missing, such as {some}: apply what `gantry cluster manifest{}` writes",
                    missing.len(),
                    if roles { " --roles" } else { "" }
                ));
            }
            let of = found.clone();
            (tested.version, tested.platform, tested.capabilities, tested.remarks) = (of.version, of.platform, of.capabilities, of.remarks);
            tested.missing_rights = missing;
            answer = Some(found);
        }
        Err(trouble) => tested.problem = Some(trouble.to_string()),
    }
    tested.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    (tested, answer)
}

fn scope(org: Option<OrgId>) -> Scope {
    org.map_or(Scope::Platform, Scope::Org)
}

/// The platform connects with it from inside of its own network, and runs plugins itself.
fn require(s: &Scheduler, caller: &Caller, org: Option<OrgId>, access: &AccessBody) -> Result<(), Problem> {
    s.host.auth.require(caller, Role::Admin, scope(org))?;
    if access.in_cluster {
        s.host.auth.require(caller, Role::Admin, Scope::Platform)?;
    }
    Ok(())
}

async fn find(s: &Scheduler, caller: &Caller, name: &str, role: Role) -> Result<Cluster, Problem> {
    let missing = || Problem::not_found("cluster", name);
    let row = store::cluster(s.orm(), name).await.map_err(database)?.ok_or_else(missing)?;
    if s.host.auth.require(caller, Role::Viewer, scope(row.org)).is_err() {
        return Err(missing());
    }
    s.host.auth.require(caller, role, scope(row.org))?;
    Ok(row)
}

fn access(body: &AccessBody) -> Result<Access, Problem> {
    let ways = [!body.kubeconfig.is_empty(), !body.server.is_empty(), body.in_cluster];
    if ways.iter().filter(|w| **w).count() != 1 {
        return Err(Problem::invalid("access", "say one of `kubeconfig`, `server` with `token`, or `in_cluster`"));
    }
    if body.kubeconfig.len() > LARGEST {
        return Err(Problem::invalid("access.kubeconfig", "at most 1 MiB; `kubectl config view --raw --flatten --minify` writes one context only"));
    }
    if !body.kubeconfig.is_empty() {
        let context = Some(body.context.as_str()).filter(|c| !c.is_empty());
        return gantry_kubernetes::parse(&body.kubeconfig, context).map_err(|e| Problem::invalid("access.kubeconfig", e.to_string()));
    }
    if body.in_cluster {
        // Told to every pod (kubernetes.io/docs/tasks/run-application/access-api-from-pod).
        return Ok(Access::in_cluster("kubernetes.default.svc", "443"));
    }
    let server = body.server.trim_end_matches('/').to_owned();
    if !server.starts_with("https://") {
        return Err(Problem::invalid("access.server", "must begin with https://"));
    }
    if body.token.trim().is_empty() {
        return Err(Problem::invalid("access.token", "an address needs a token, as of the service account that `gantry cluster manifest` makes"));
    }
    Ok(Access {
        server,
        ca_pem: Some(body.ca_pem.clone()).filter(|pem| !pem.trim().is_empty()),
        tls_server_name: None,
        insecure: false,
        credential: Credential::Token { token: body.token.trim().to_owned() },
    })
}

async fn connect(s: &Scheduler, access: Access, private: bool) -> Result<Client, Problem> {
    adapters::clusters::client(&s.host, &s.config.kubernetes, access, private).await.map_err(|trouble| unusable(&trouble.to_string(), ""))
}

fn unusable(why: &str, hint: &str) -> Problem {
    Problem::new(Kind::Invalid, "scheduler.cluster_unusable", format!("{why}{hint}"))
}

fn refuse_faults(settings: &ClusterSettings) -> Result<(), Problem> {
    let faults: Vec<FieldFault> = settings.faults().into_iter().map(|(field, detail)| FieldFault { field, detail }).collect();
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid_fields(faults)) }
}

/// The key's subject.
fn subject(id: Uuid) -> String {
    format!("cluster:{id}")
}

async fn seal(s: &Scheduler, id: Uuid, access: &Access) -> Result<Sealed, Problem> {
    let text = serde_json::to_string(access).map_err(Problem::internal)?;
    s.host.keyring().seal(&subject(id), &text).await.map_err(Problem::internal)
}

async fn append(s: &Scheduler, id: Uuid, expected: Option<i64>, events: Vec<ClusterEvent>, claims: Vec<Claim>, meta: Meta) -> Result<(), Problem> {
    let write = StreamWrite { stream: StreamId::of::<ClusterEvent>(id), expected, events: events.iter().map(EventData::encode).collect() };
    let appended = s.host.log().append(Append { writes: vec![write], claims, meta }).await.map_err(|error| match error {
        AppendError::NameTaken { name, .. } => Problem::conflict("request.name_taken", format!("the name `{name}` is taken")),
        AppendError::Stale { .. } => Problem::new(Kind::Stale, "request.stale", "somebody changed this cluster meanwhile: read it again"),
        error => Problem::unavailable("the event log").with_source(error),
    })?;
    s.host.settled(appended.position).await;
    Ok(())
}

/// When its credential ends, if it says so.
async fn expires(s: &Scheduler, row: &Cluster) -> Option<OffsetDateTime> {
    let text = s.host.keyring().open(&subject(row.id), &row.access).await.ok()?;
    gantry_kubernetes::expiry(&serde_json::from_str::<Access>(&text).ok()?.credential)
}

/// Settings that cannot be read are a fault, not the usual ones: they would be lost with the next change.
async fn body(s: &Scheduler, row: Cluster) -> Result<ClusterBody, Problem> {
    let org = row.org.and_then(|id| s.host.auth.read(|rights| rights.org_ref(id).map(|o| o.name.to_string())));
    let expires = expires(s, &row).await;
    Ok(ClusterBody {
        remarks: ends_soon(&row.name, expires, s.host.env.now()).into_iter().collect(),
        health: health(s, &row),
        id: row.id,
        name: row.name,
        org,
        server: row.server,
        credential: row.credential,
        credential_expires_at: expires,
        settings: serde_json::from_value(row.settings).map_err(Problem::internal)?,
        added_at: row.added_at,
        changed_at: row.changed_at,
        version: row.version,
    })
}
