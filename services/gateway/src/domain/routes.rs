//! Which service answers which path. A pure table: no I/O, no state. The proxy asks it for every request.
//!
//! `/api/v1/orgs/...` belongs to several services; what follows the names decides.

use std::fmt;

/// A service behind the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Upstream {
    Identity,
    Registry,
    Scheduler,
    Cicd,
    Catalog,
    Billing,
    Monitoring,
}

impl Upstream {
    pub const ALL: [Self; 7] = [Self::Identity, Self::Registry, Self::Scheduler, Self::Cicd, Self::Catalog, Self::Billing, Self::Monitoring];

    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Registry => "registry",
            Self::Scheduler => "scheduler",
            Self::Cicd => "cicd",
            Self::Catalog => "catalog",
            Self::Billing => "billing",
            Self::Monitoring => "monitoring",
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the door treats the body and the credentials of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// REST: bodies are bounded, the console's cookie becomes a token.
    Api,
    /// Image layers and git packs: any size, never the cookie.
    Bulk,
    /// Sign-in pages and OAuth endpoints: small bodies, identity's own cookies, a stricter rate limit for writes.
    SignIn,
    /// gRPC: HTTP/2 all the way, with trailers; never the cookie.
    Rpc,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Service(Upstream, Class),
    /// The console's files (any path that is nobody's).
    Console,
    /// Below `/api`, but nobody's.
    Nowhere,
}

/// `path` must be normalised ([`super::path::normalise`]).
pub fn target(path: &str) -> Target {
    let mut segments = path.split('/').skip(1);
    let first = segments.next().unwrap_or("");
    match first {
        "api" => match segments.next() {
            // The page that renders the merged document is the console's.
            Some("docs") => Target::Console,
            Some("v1") => {
                let rest: Vec<&str> = segments.filter(|segment| !segment.is_empty()).collect();
                api(&rest).map_or(Target::Nowhere, |upstream| Target::Service(upstream, Class::Api))
            }
            _ => Target::Nowhere,
        },
        "v2" => Target::Service(Upstream::Registry, Class::Bulk),
        "git" => Target::Service(Upstream::Cicd, Class::Bulk),
        "osb" => Target::Service(Upstream::Catalog, Class::Api),
        "scim" => Target::Service(Upstream::Identity, Class::Api),
        "oauth2" | "login" | "register" | "logout" | "account" | ".well-known" => Target::Service(Upstream::Identity, Class::SignIn),
        service if service.starts_with("gantry.") || service.starts_with("grpc.") => {
            super::rpc::upstream(service).map_or(Target::Nowhere, |upstream| Target::Service(upstream, Class::Rpc))
        }
        _ => Target::Console,
    }
}

/// The owner of `/api/v1/<rest>`.
fn api(rest: &[&str]) -> Option<Upstream> {
    Some(match *rest.first()? {
        "users" if rest.get(2) == Some(&"quota") => Upstream::Billing,
        "users" | "registrations" | "me" | "bindings" | "principals" | "sessions" | "tokens" | "teams" | "robots" | "policies" | "roles" | "permissions"
        | "rights" | "node-join-tokens" | "node-certificates" | "upstreams" | "upstream-trials" => Upstream::Identity,
        "clients" | "client-registration-tokens" | "signing-keys" | "trusted-issuers" | "configuration-sets" | "mails" | "security-record" => {
            Upstream::Identity
        }
        "orgs" => return orgs(&rest[1..]),
        "nodes" => match rest.get(2) {
            Some(&"metrics") => Upstream::Monitoring,
            _ => Upstream::Scheduler,
        },
        "clusters" | "cluster-manifest" | "address-pools" => Upstream::Scheduler,
        "offerings" | "brokers" => Upstream::Catalog,
        "price-plans" => Upstream::Billing,
        "metrics" | "audit" | "events" | "alerts" => Upstream::Monitoring,
        "vulnerabilities" | "registry" | "images" => Upstream::Registry,
        _ => return None,
    })
}

/// `/api/v1/orgs/<rest>`: organisations, projects and spaces themselves are identity's; what lies in them is not.
fn orgs(rest: &[&str]) -> Option<Upstream> {
    Some(match rest {
        [] | [_] | [_, "projects"] => Upstream::Identity,
        [
            _,
            "branding"
            | "certificate-authorities"
            | "members"
            | "teams"
            | "robots"
            | "bindings"
            | "invitations"
            | "policies"
            | "deletion"
            | "scim-tokens"
            | "service-accounts",
            ..,
        ] => Upstream::Identity,
        [_, "quota" | "usage" | "invoices" | "price-plan", ..] => Upstream::Billing,
        [_, "projects", _] => Upstream::Identity,
        [_, "projects", _, in_project, ..] => match *in_project {
            "spaces" => return spaces(&rest[4..]),
            "members" | "bindings" => Upstream::Identity,
            "images" | "registry" => Upstream::Registry,
            "repositories" | "runs" | "pipelines" | "artifacts" => Upstream::Cicd,
            "quota" | "usage" => Upstream::Billing,
            _ => return None,
        },
        _ => return None,
    })
}

/// `.../spaces/<rest>`.
fn spaces(rest: &[&str]) -> Option<Upstream> {
    Some(match rest {
        [] | [_] => Upstream::Identity,
        [_, "apps", _, "logs" | "metrics", ..] | [_, "alert-rules" | "alerts", ..] => Upstream::Monitoring,
        [_, "apps" | "clusters" | "configs" | "documents" | "placement" | "services" | "signs" | "volumes", ..] => Upstream::Scheduler,
        [_, "instances", ..] => Upstream::Catalog,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: &str = "/api/v1/orgs/acme/projects/shop";

    fn owner(path: &str) -> Option<&'static str> {
        match target(path) {
            Target::Service(upstream, _) => Some(upstream.name()),
            Target::Console | Target::Nowhere => None,
        }
    }

    #[test]
    fn every_path_that_a_service_documents_leads_to_it() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/openapi");
        for upstream in Upstream::ALL {
            let text = std::fs::read_to_string(folder.join(format!("{upstream}.json"))).expect("its document");
            let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            for path in document["paths"].as_object().expect("paths").keys().filter(|p| p.starts_with("/api/v1/")) {
                assert_eq!(owner(&path.replace(['{', '}'], "")), Some(upstream.name()), "{path}");
            }
        }
    }

    #[test]
    fn every_path_of_the_rest_table_has_its_owner() {
        let table = [
            (
                "identity",
                vec!["/api/v1/users", "/api/v1/users/7", "/api/v1/registrations", "/api/v1/me", "/api/v1/orgs", "/api/v1/orgs/acme", "/api/v1/bindings/1"],
            ),
            ("identity", vec!["/api/v1/orgs/acme/members", "/api/v1/orgs/acme/members/eva", "/api/v1/orgs/acme/projects", P, "/api/v1/principals/resolve"]),
            ("identity", vec!["/api/v1/orgs/acme/projects/shop/spaces", "/api/v1/orgs/acme/projects/shop/spaces/test", "/api/v1/sessions", "/api/v1/tokens"]),
            (
                "identity",
                vec![
                    "/api/v1/clients/shop/secrets",
                    "/api/v1/client-registration-tokens",
                    "/api/v1/signing-keys",
                    "/api/v1/trusted-issuers",
                    "/api/v1/configuration-sets/base",
                ],
            ),
            ("identity", vec!["/.well-known/openid-configuration", "/oauth2/token", "/login", "/login/second", "/register", "/logout", "/account"]),
            (
                "registry",
                vec![
                    "/v2/",
                    "/v2",
                    "/v2/acme/shop/web/blobs/uploads/",
                    "/api/v1/registry/collections",
                    "/api/v1/images",
                    "/api/v1/orgs/acme/projects/shop/images",
                    "/api/v1/orgs/acme/projects/shop/registry/settings",
                    "/api/v1/orgs/acme/projects/shop/images/web/tags/v1",
                ],
            ),
            (
                "scheduler",
                vec![
                    "/api/v1/orgs/acme/projects/shop/spaces/test/apps",
                    "/api/v1/orgs/acme/projects/shop/spaces/test/apps/web",
                    "/api/v1/nodes",
                    "/api/v1/nodes/n1/drain",
                    "/api/v1/nodes/n1/settings",
                    "/api/v1/clusters/east/test",
                    "/api/v1/cluster-manifest",
                    "/api/v1/address-pools/office",
                    "/api/v1/orgs/acme/projects/shop/spaces/test/placement",
                    "/api/v1/orgs/acme/projects/shop/spaces/test/clusters",
                ],
            ),
            (
                "scheduler",
                vec![
                    "/api/v1/orgs/acme/projects/shop/spaces/test/apps/web/instances",
                    "/api/v1/orgs/acme/projects/shop/spaces/test/apps/web/why",
                    "/api/v1/orgs/acme/projects/shop/spaces/test/apps/web/instances/1/exec",
                    "/api/v1/orgs/acme/projects/shop/spaces/test/documents",
                    "/api/v1/orgs/acme/projects/shop/spaces/test/services/bank",
                    "/api/v1/orgs/acme/projects/shop/spaces/test/signs",
                    "/api/v1/orgs/acme/projects/shop/spaces/test/volumes",
                    "/api/v1/orgs/acme/projects/shop/spaces/test/volumes/x.data/snapshots/one",
                ],
            ),
            ("monitoring", vec!["/api/v1/orgs/acme/projects/shop/spaces/test/apps/web/logs", "/api/v1/orgs/acme/projects/shop/spaces/test/apps/web/metrics"]),
            ("monitoring", vec!["/api/v1/orgs/acme/projects/shop/spaces/test/alerts", "/api/v1/orgs/acme/projects/shop/spaces/test/alert-rules/hot"]),
            ("monitoring", vec!["/api/v1/metrics/query", "/api/v1/audit", "/api/v1/events", "/api/v1/nodes/n1/metrics"]),
            (
                "cicd",
                vec![
                    "/git/acme/shop/web.git/info/refs",
                    "/api/v1/orgs/acme/projects/shop/repositories",
                    "/api/v1/orgs/acme/projects/shop/runs/1/steps/build/log",
                ],
            ),
            (
                "catalog",
                vec![
                    "/api/v1/offerings",
                    "/api/v1/orgs/acme/projects/shop/spaces/test/instances",
                    "/api/v1/orgs/acme/projects/shop/spaces/test/instances/db/bindings/x",
                    "/osb/v2/catalog",
                ],
            ),
            (
                "billing",
                vec![
                    "/api/v1/orgs/acme/quota",
                    "/api/v1/orgs/acme/projects/shop/quota",
                    "/api/v1/orgs/acme/usage",
                    "/api/v1/orgs/acme/invoices/current",
                    "/api/v1/price-plans",
                    "/api/v1/users/7/quota",
                ],
            ),
        ];
        for (service, paths) in table {
            for path in paths {
                assert_eq!(owner(path), Some(service), "{path}");
            }
        }
    }

    #[test]
    fn names_that_look_like_resources_do_not_mislead() {
        assert_eq!(owner("/api/v1/orgs/quota"), Some("identity"));
        assert_eq!(owner("/api/v1/orgs/usage/projects/images"), Some("identity"));
        assert_eq!(owner("/api/v1/orgs/projects/projects/runs/spaces/apps"), Some("identity"));
        assert_eq!(owner("/api/v1/orgs/acme/projects/shop/spaces/test/apps/logs"), Some("scheduler"));
        assert_eq!(owner("/api/v1/orgs/acme/projects/shop/spaces/apps/instances/logs"), Some("catalog"));
        assert_eq!(owner("/api/v1/nodes/metrics"), Some("scheduler"));
    }

    #[test]
    fn what_is_nobodys_below_api_is_not_the_console() {
        for path in
            ["/api", "/api/", "/api/v1", "/api/v1/nonsense", "/api/v3/orgs", "/api/v1/orgs/acme/nonsense", "/api/v1/orgs/a/projects/b/spaces/c/nonsense"]
        {
            assert_eq!(target(path), Target::Nowhere, "{path}");
        }
        for path in ["/", "/orgs/acme", "/assets/index-abc.js", "/api/docs", "/v2x", "/gitignore"] {
            assert_eq!(target(path), Target::Console, "{path}");
        }
    }

    #[test]
    fn layers_and_packs_are_bulk_and_rest_is_not() {
        assert_eq!(target("/v2/a/b/c/blobs/uploads/1"), Target::Service(Upstream::Registry, Class::Bulk));
        assert_eq!(target("/git/a/b/c.git/git-receive-pack"), Target::Service(Upstream::Cicd, Class::Bulk));
        assert_eq!(target("/oauth2/token"), Target::Service(Upstream::Identity, Class::SignIn));
        assert_eq!(target("/api/v1/orgs"), Target::Service(Upstream::Identity, Class::Api));
        assert_eq!(target("/gantry.identity.v1.Users/ListUsers"), Target::Service(Upstream::Identity, Class::Rpc));
        assert_eq!(target("/gantry.identity.v1.Tokens/IssueRegistryCredential"), Target::Nowhere);
    }
}
