//! Identity's side of a test: organisations, projects, spaces and bindings as real events on the real bus.

use gantry_auth::{OrgRef, ProjectRef, SpaceRef};
use gantry_contract::identity::{BindingEvent, OrgEvent};
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::{Append, Db, Log, Settings};
use gantry_host::{Host, Running};
use gantry_kernel::{BindingId, Name, OrgId, ProjectId, Role, Scope, SpaceId, UserId};

/// Appends to a log of origin `identity` that the services under test subscribe to.
pub struct TestIdentity {
    log: Log,
}

impl TestIdentity {
    /// Opens identity's log on this installation and publishes what it gets.
    ///
    /// # Errors
    /// When database or bus cannot be used.
    pub async fn start(running: &Running) -> anyhow::Result<Self> {
        let platform = &running.platform;
        let settings = Settings { url: platform.database_url.expose().to_owned(), schema: platform.schema("identity"), max_connections: 2 };
        let db = Db::open(&settings, &[]).await?;
        let log = Log::open(db, "identity", running.env.clone(), &running.cancel, &running.tracker).await?;
        let bus = gantry_bus::Bus::connect(platform.nats_url.expose(), &platform.prefix, "test identity").await?;
        gantry_bus::start_relay(bus, log.clone(), running.cancel.clone(), &running.tracker);
        Ok(Self { log })
    }

    async fn append<E: EventData>(&self, id: impl std::fmt::Display, tenant: Option<OrgId>, event: E) -> i64 {
        let meta = Meta { tenant, ..Meta::system() };
        self.log.append(Append::one(StreamId::of::<E>(id), None, vec![event.encode()], meta)).await.expect("identity's event is appended").position
    }

    pub async fn org(&self, name: &str) -> OrgRef {
        let org = OrgRef { id: OrgId(self.log.env.uuid()), name: Name::parse(name).expect("a name") };
        let created = OrgEvent::Created { org: org.id, name: org.name.clone(), display_name: name.into(), owner: UserId(self.log.env.uuid()) };
        self.append(org.id, Some(org.id), created).await;
        org
    }

    pub async fn delete_org(&self, org: &OrgRef) {
        self.append(org.id, Some(org.id), OrgEvent::Deleted { org: org.id, name: org.name.clone() }).await;
    }

    pub async fn project(&self, org: &OrgRef, name: &str, public: bool) -> ProjectRef {
        let project = ProjectRef { org: org.clone(), id: ProjectId(self.log.env.uuid()), name: Name::parse(name).expect("a name"), public };
        let created = OrgEvent::ProjectCreated { org: org.id, org_name: org.name.clone(), project: project.id, name: project.name.clone(), public };
        self.append(org.id, Some(org.id), created).await;
        project
    }

    pub async fn space(&self, project: &ProjectRef, name: &str) -> SpaceRef {
        let space = SpaceRef { project: project.clone(), id: SpaceId(self.log.env.uuid()), name: Name::parse(name).expect("a name") };
        let created = OrgEvent::SpaceCreated { org: project.org.id, project: project.id, space: space.id, name: space.name.clone() };
        self.append(project.org.id, Some(project.org.id), created).await;
        space
    }

    /// Grants and returns the binding, for [`TestIdentity::revoke`].
    pub async fn grant(&self, subject: &str, role: Role, scope: Scope) -> BindingId {
        let binding = BindingId(self.log.env.uuid());
        self.append(binding, None, BindingEvent::Granted { binding, subject: subject.into(), role: role.into(), scope, condition: None }).await;
        binding
    }

    pub async fn revoke(&self, binding: BindingId, subject: &str, role: Role, scope: Scope) {
        self.append(binding, None, BindingEvent::Revoked { binding, subject: subject.into(), role: role.into(), scope }).await;
    }

    /// Waits until `host` decides by everything appended so far.
    pub async fn settle(&self, host: &Host) {
        host.rights_reached(self.log.head()).await.expect("identity's events reach the service");
    }
}
