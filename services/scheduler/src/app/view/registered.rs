//! The services of an application as whoever looks for one finds them: those that it runs, and those elsewhere that it has a name for.

use gantry_kernel::{AppId, InstanceId};
use serde::Serialize;

use super::{EndpointBody, Seeing};
use crate::app::context::Scheduler;
use crate::domain::model::Protocol;
use crate::domain::wanted::instance_name;

/// Something that can be called by a name in a space.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ServiceBody {
    /// The same for as long as the service is; of one name with several ports each has its own.
    pub id: String,
    pub name: String,
    /// deployed | outside
    pub kind: String,
    /// The application that brings it.
    pub app: String,
    /// What instances of the space call it; the first is the name alone, which an application's own service of that name hides.
    pub names: Vec<String>,
    /// Where it is: the name with its application, or the address of what runs elsewhere.
    pub address: String,
    /// Those under the names; none: all that is asked.
    pub ports: Vec<u16>,
    /// Of one that is deployed.
    pub protocol: Option<Protocol>,
    /// roundrobin | leastconn | random | source | resources | headless; empty for what runs elsewhere.
    pub balance: String,
    /// Where it is reached from outside of the space.
    pub endpoints: Vec<EndpointBody>,
    /// Those that answer now. What runs elsewhere is not looked after.
    pub instances: Vec<ServiceInstanceBody>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ServiceInstanceBody {
    #[schema(value_type = String, format = Uuid)]
    pub id: InstanceId,
    pub name: String,
    pub node: String,
    pub address: String,
    pub port: u16,
}

impl ServiceBody {
    /// What lists are sorted by, and where their pages begin.
    pub fn key(&self) -> String {
        format!("{} {} {}", self.name, self.app, self.id)
    }
}

impl Seeing {
    pub fn services(&self, s: &Scheduler) -> Vec<ServiceBody> {
        let app = self.row.name.clone();
        let endpoints = self.endpoints(s);
        let deployed = self.outline.services.iter().map(|service| {
            let name = service.name.to_string();
            let port = if service.service_port > 0 { service.service_port } else { service.port };
            let whole = format!("{name}.{app}");
            ServiceBody {
                id: self.view.service_id(service),
                kind: "deployed".into(),
                names: [name.clone(), whole.clone()].into_iter().chain(service.aliases.iter().cloned()).collect(),
                address: whole,
                ports: Some(port).filter(|port| *port > 0).into_iter().collect(),
                protocol: Some(service.protocol),
                balance: if service.headless { "headless".into() } else { service.balance.clone() },
                endpoints: endpoints.iter().filter(|e| e.service == name).cloned().collect(),
                instances: self.reached(service),
                app: app.clone(),
                name,
            }
        });
        let outside = self.outline.outside.iter().map(|(name, outside)| ServiceBody {
            id: format!("{}.{name}.outside", AppId(self.row.id)),
            name: name.to_string(),
            kind: "outside".into(),
            app: app.clone(),
            names: vec![name.to_string(), format!("{name}.{app}")],
            address: outside.address.clone(),
            ports: outside.ports.iter().copied().collect(),
            protocol: None,
            balance: String::new(),
            endpoints: Vec::new(),
            instances: Vec::new(),
        });
        deployed.chain(outside).collect()
    }

    fn reached(&self, service: &crate::domain::model::Service) -> Vec<ServiceInstanceBody> {
        let body = |backend: crate::domain::engine::Backend| {
            let one = self.view.instances.iter().find(|i| i.id == backend.instance)?;
            Some(ServiceInstanceBody {
                id: one.id,
                name: instance_name(&self.view.name, &one.workload, one.index),
                node: one.node.to_string(),
                address: backend.address,
                port: backend.port,
            })
        };
        self.view.reached(service, &self.reports).into_iter().filter_map(body).collect()
    }
}
