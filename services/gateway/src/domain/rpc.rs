//! Which gRPC services are for everybody. What is not named here is spoken among the platform's own services and stays inside.

use super::routes::Upstream;

const OPEN: &[(&str, Upstream)] = &[
    ("gantry.identity.v1.Account", Upstream::Identity),
    ("gantry.identity.v1.Brandings", Upstream::Identity),
    ("gantry.identity.v1.Certificates", Upstream::Identity),
    ("gantry.identity.v1.Clients", Upstream::Identity),
    ("gantry.identity.v1.ConfigurationSets", Upstream::Identity),
    ("gantry.identity.v1.Mails", Upstream::Identity),
    ("gantry.identity.v1.NodeIdentities", Upstream::Identity),
    ("gantry.identity.v1.Organisations", Upstream::Identity),
    ("gantry.identity.v1.Projects", Upstream::Identity),
    ("gantry.identity.v1.Rights", Upstream::Identity),
    ("gantry.identity.v1.SecurityPolicies", Upstream::Identity),
    ("gantry.identity.v1.SecurityRecord", Upstream::Identity),
    ("gantry.identity.v1.ServiceAccounts", Upstream::Identity),
    ("gantry.identity.v1.Teams", Upstream::Identity),
    ("gantry.identity.v1.Upstreams", Upstream::Identity),
    ("gantry.identity.v1.Users", Upstream::Identity),
    ("gantry.monitoring.v1.Audit", Upstream::Monitoring),
    ("gantry.registry.v1.Caches", Upstream::Registry),
    ("gantry.registry.v1.Content", Upstream::Registry),
    ("gantry.registry.v1.ImageRules", Upstream::Registry),
    ("gantry.registry.v1.Replications", Upstream::Registry),
    ("gantry.registry.v1.Repositories", Upstream::Registry),
    ("gantry.registry.v1.Scanners", Upstream::Registry),
    ("gantry.registry.v1.Webhooks", Upstream::Registry),
    // Every service describes all of them; it is no secret.
    ("grpc.reflection.v1.ServerReflection", Upstream::Identity),
];

/// Whose the service of a path `/<service>/<method>` is; `None`: nobody's, or not for everybody.
pub fn upstream(service: &str) -> Option<Upstream> {
    OPEN.iter().find(|(name, _)| *name == service).map(|(_, upstream)| *upstream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_services_say_among_themselves_stays_inside() {
        assert_eq!(upstream("gantry.identity.v1.Users"), Some(Upstream::Identity));
        assert_eq!(upstream("gantry.registry.v1.Repositories"), Some(Upstream::Registry));
        for inside in [
            "gantry.identity.v1.Tokens",
            "gantry.registry.v1.Images",
            "gantry.billing.v1.Quotas",
            "gantry.scheduler.v1.Agents",
            "gantry.identity.v1.users",
            "gantry.identity.v1",
            "",
        ] {
            assert_eq!(upstream(inside), None, "{inside}");
        }
    }
}
