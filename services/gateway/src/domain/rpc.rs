//! Which gRPC services are for everybody. What is not named here is spoken among the platform's own services and stays inside.

use super::routes::Upstream;

const OPEN: &[(&str, Upstream)] = &[
    ("gantry.billing.v1.Invoices", Upstream::Billing),
    ("gantry.billing.v1.PricePlans", Upstream::Billing),
    ("gantry.billing.v1.QuotaSettings", Upstream::Billing),
    ("gantry.billing.v1.UsageReports", Upstream::Billing),
    ("gantry.catalog.v1.Offerings", Upstream::Catalog),
    ("gantry.catalog.v1.ServiceInstances", Upstream::Catalog),
    ("gantry.cicd.v1.Repositories", Upstream::Cicd),
    ("gantry.cicd.v1.Runs", Upstream::Cicd),
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
    ("gantry.monitoring.v1.Alerts", Upstream::Monitoring),
    ("gantry.monitoring.v1.Audit", Upstream::Monitoring),
    ("gantry.monitoring.v1.Events", Upstream::Monitoring),
    ("gantry.monitoring.v1.Logs", Upstream::Monitoring),
    ("gantry.monitoring.v1.Metrics", Upstream::Monitoring),
    ("gantry.registry.v1.Caches", Upstream::Registry),
    ("gantry.registry.v1.Content", Upstream::Registry),
    ("gantry.registry.v1.ImageRules", Upstream::Registry),
    ("gantry.registry.v1.Replications", Upstream::Registry),
    ("gantry.registry.v1.Repositories", Upstream::Registry),
    ("gantry.registry.v1.Scanners", Upstream::Registry),
    ("gantry.registry.v1.Webhooks", Upstream::Registry),
    ("gantry.scheduler.v1.AddressPools", Upstream::Scheduler),
    ("gantry.scheduler.v1.Apps", Upstream::Scheduler),
    ("gantry.scheduler.v1.Clusters", Upstream::Scheduler),
    ("gantry.scheduler.v1.Configs", Upstream::Scheduler),
    ("gantry.scheduler.v1.Instances", Upstream::Scheduler),
    ("gantry.scheduler.v1.Nodes", Upstream::Scheduler),
    ("gantry.scheduler.v1.Placement", Upstream::Scheduler),
    ("gantry.scheduler.v1.Releases", Upstream::Scheduler),
    ("gantry.scheduler.v1.Scaling", Upstream::Scheduler),
    ("gantry.scheduler.v1.Services", Upstream::Scheduler),
    ("gantry.scheduler.v1.Sessions", Upstream::Scheduler),
    ("gantry.scheduler.v1.Volumes", Upstream::Scheduler),
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
        assert_eq!(upstream("gantry.scheduler.v1.Apps"), Some(Upstream::Scheduler));
        for inside in [
            "gantry.identity.v1.Tokens",
            "gantry.registry.v1.Images",
            "gantry.billing.v1.Quotas",
            "gantry.scheduler.v1.Agents",
            "gantry.scheduler.v1.Applications",
            "gantry.scheduler.v1.PlacementAdvisor",
            "gantry.identity.v1.users",
            "gantry.identity.v1",
            "",
        ] {
            assert_eq!(upstream(inside), None, "{inside}");
        }
    }
}
