//! What the tests share: an organisation with a project, three callers, and the scheduler's gRPC client.

use gantry_auth::{OrgRef, ProjectRef};
use gantry_billing::{Billing, Config};
use gantry_contract::proto::billing::quotas_client::QuotasClient;
use gantry_contract::proto::billing::{Amounts, ReserveRequest};
use gantry_contract::usage::UsageSample;
use gantry_host::Host;
use gantry_kernel::{OffsetDateTime, Role, Scope, Uuid};
use gantry_testkit::World;
use reqwest::Method;
use serde_json::Value;
use tonic::transport::Channel;

pub struct Shop {
    pub world: World,
    pub host: Host,
    pub org: OrgRef,
    pub project: ProjectRef,
    /// Administrator of the platform.
    pub root: String,
    /// Administrator of the organisation.
    pub admin: String,
    /// Somebody of another organisation.
    pub stranger: String,
}

impl Shop {
    pub async fn open(config: Config) -> Self {
        let world = World::new().await;
        let host = world.start::<Billing>(config).await;
        let org = world.identity.org("acme").await;
        let project = world.identity.project(&org, "shop", false).await;
        let other = world.identity.org("globex").await;
        let (root, admin, stranger) = (world.user(), world.user(), world.user());
        world.identity.grant(&format!("user:{root}"), Role::Admin, Scope::Platform).await;
        world.identity.grant(&format!("user:{admin}"), Role::Admin, org.scope()).await;
        world.identity.grant(&format!("user:{stranger}"), Role::Admin, other.scope()).await;
        world.identity.settle(&host).await;
        let (root, admin, stranger) = (world.token(root, "root"), world.token(admin, "ada"), world.token(stranger, "eve"));
        Self { world, host, org, project, root, admin, stranger }
    }

    pub async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        self.world.call(&self.host, Method::GET, path, Some(token), None).await
    }

    pub async fn put(&self, path: &str, token: &str, body: Value) -> (u16, Value) {
        self.world.call(&self.host, Method::PUT, path, Some(token), Some(&body)).await
    }

    /// A gRPC client with the certificate of `service`.
    pub fn quotas_as(&self, service: &str) -> QuotasClient<Channel> {
        QuotasClient::new(gantry_testkit::rpc::channel(&self.world, &self.host, service))
    }

    pub fn ask(&self, holder: &str, cpu_millis: u64) -> ReserveRequest {
        ReserveRequest {
            org_id: self.org.id.to_string(),
            project_id: self.project.id.to_string(),
            holder: holder.into(),
            user: String::new(),
            total: Some(Amounts { cpu_millis, memory_bytes: cpu_millis << 20, storage_bytes: 0, containers: u32::from(cpu_millis > 0) }),
            largest_container: Some(Amounts { cpu_millis, memory_bytes: cpu_millis << 20, storage_bytes: 0, containers: 1 }),
            check_only: false,
        }
    }

    pub fn sample(&self, meter: &str, amount: f64, to: OffsetDateTime) -> UsageSample {
        UsageSample {
            id: Uuid::now_v7(),
            org: self.org.id,
            project: self.project.id,
            holder: "app:web".into(),
            holder_name: "web".into(),
            meter: meter.into(),
            amount,
            from: to - time::Duration::minutes(1),
            to,
        }
    }

    pub async fn publish(&self, sample: &UsageSample) {
        self.publish_raw(&sample.org.to_string(), serde_json::to_vec(sample).expect("JSON")).await;
    }

    pub async fn publish_raw(&self, tail: &str, payload: Vec<u8>) {
        self.host.bus.sample_stream(gantry_bus::streams::USAGE).await.expect("the stream is there");
        // A message id of its own each time: what is tested here is billing's memory, not NATS's.
        gantry_bus::publish(&self.host.bus, gantry_bus::streams::USAGE, tail, Uuid::now_v7(), payload).await.expect("it is stored");
    }
}
