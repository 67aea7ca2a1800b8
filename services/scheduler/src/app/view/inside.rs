//! By what name and port other applications of a space reach the services of one.

use gantry_kernel::{AppId, Name};

use super::{EndpointBody, Seeing};
use crate::app::context::Scheduler;
use crate::domain::kubernetes::cluster;
use crate::domain::model::{Model, Protocol, Service};

impl Seeing {
    /// How other applications of the space reach its services.
    pub fn inside(&self, s: &Scheduler) -> Vec<EndpointBody> {
        inside(&self.outline, &self.view.name, !s.clusters.of(AppId(self.row.id)).is_empty())
    }
}

/// As other applications of the space call its services: `redis.cache` on nodes, the object's name on clusters.
fn inside(model: &Model, app: &Name, on_clusters: bool) -> Vec<EndpointBody> {
    let services = model.services.iter().filter(|service| service.called_at() > 0);
    let one = |service: &Service| {
        let host = if on_clusters { cluster::named(app, service.name.as_str()) } else { format!("{}.{app}", service.name) };
        let (port, scheme) = (service.called_at(), if service.protocol == Protocol::Udp { "udp" } else { "http" });
        EndpointBody { service: service.name.to_string(), url: format!("{scheme}://{host}:{port}"), host, port, protocol: service.protocol }
    };
    services.map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_applications_reach_a_service_under_its_name_and_that_of_its_application() {
        let name = |text: &str| Name::parse(text).unwrap();
        let service = |port, service_port| Service { service_port, ..Service::plain(name("redis"), name("redis"), port, Protocol::Tcp) };
        let model = Model { services: vec![service(6379, 0), service(80, 8080), service(0, 0)], ..Model::default() };
        let at = |on_clusters| inside(&model, &name("svc-cache"), on_clusters).into_iter().map(|e| (e.host, e.port)).collect::<Vec<_>>();
        assert_eq!(at(false), [("redis.svc-cache".to_owned(), 6379), ("redis.svc-cache".to_owned(), 8080)]);
        assert_eq!(at(true)[0], ("svc-cache-redis".to_owned(), 6379));
    }
}
