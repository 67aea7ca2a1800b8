//! Routes over HTTPS on nodes: which host is shown which certificate. Pure.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::document::Document;
use super::engine::RouteCertificate;
use super::model::{Config, Model, Route, Service};
use super::wanted::AppView;

pub const CHAIN: &str = "tls.crt";
pub const KEY: &str = "tls.key";

/// One for each host of a service's routes. Of a secret that is not there, or has lost what is needed, the host is served with a certificate
/// of the platform's own rather than without any.
pub fn certificates(model: &Model, service: &Service) -> Vec<RouteCertificate> {
    let mut by_host: BTreeMap<&str, &Route> = BTreeMap::new();
    for route in service.routes.iter().filter(|r| r.is_served() && r.is_secure()) {
        by_host.entry(&route.host).or_insert(route);
    }
    let of = |(host, route): (&str, &Route)| RouteCertificate {
        host: host.to_owned(),
        pem: secret(model, &route.tls_secret).and_then(|(_, secret)| pem(secret)),
        plain_http: route.plain_http,
    };
    by_host.into_iter().map(of).collect()
}

/// The secret that a route names, with its name in the model: there configs have theirs as they are, and secrets mostly with an ending.
pub fn secret<'a>(model: &'a Model, name: &str) -> Option<(&'a String, &'a Config)> {
    let (own, plain) = (model.configs.get_key_value(&with_ending(name)), model.configs.get_key_value(name));
    own.or(plain).filter(|(_, config)| config.secret && !name.is_empty())
}

fn with_ending(name: &str) -> String {
    format!("{name}.secret")
}

/// Chain and key of a secret; none if it lacks one of them, or its contents are elsewhere.
pub fn pem(secret: &Config) -> Option<(Vec<u8>, Vec<u8>)> {
    let part = |key: &str| {
        let (text, base64) = secret.get(key)?;
        let bytes = if base64 { STANDARD.decode(text).ok()? } else { text.as_bytes().to_vec() };
        Some(bytes).filter(|bytes| !bytes.is_empty())
    };
    Some((part(CHAIN)?, part(KEY)?))
}

/// Hosts of an application that the platform's own authority is to give certificates for.
pub fn own(view: &AppView) -> BTreeSet<String> {
    let all = view.services().into_iter().filter(|(_, s)| s.port > 0);
    let of = |(revision, service): (u64, &Service)| view.models.get(&revision).map(|model| certificates(model, service)).unwrap_or_default();
    all.flat_map(of).filter(|c| c.pem.is_none()).map(|c| c.host).collect()
}

/// Secrets of the space that routes name become the document's, so that it is tied to them.
pub fn adopt(model: &mut Model, document: &Document<'_>) {
    let named: BTreeSet<String> = model.services.iter().flat_map(|s| &s.routes).map(|r| r.tls_secret.clone()).filter(|name| !name.is_empty()).collect();
    for name in named {
        if secret(model, &name).is_none() && document.kept.contains_key(&(name.clone(), true)) {
            model.configs.insert(with_ending(&name), Config { secret: true, external: Some(name), ..Config::default() });
        }
    }
}

/// What the secret of a route lacks; nothing if all is there.
pub fn lacks(model: &Model, route: &Route) -> Option<String> {
    let name = &route.tls_secret;
    if name.is_empty() {
        return None;
    }
    let Some((_, secret)) = secret(model, name) else {
        return Some(format!("there is no secret `{name}`: the route is served with a certificate of the platform's own authority"));
    };
    let key = [CHAIN, KEY].into_iter().find(|key| secret.get(key).is_none())?;
    Some(format!("`{name}` has no entry `{key}`: the route is served with a certificate of the platform's own authority"))
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Name;

    use super::*;
    use crate::domain::model::Protocol;

    fn model(routes: Vec<Route>, entries: &[(&str, &str)]) -> Model {
        let name = Name::parse("web").unwrap();
        let service = Service { routes, ..Service::plain(name.clone(), name, 80, Protocol::Http) };
        let secret = Config { secret: true, entries: entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), ..Config::default() };
        Model { services: vec![service], configs: BTreeMap::from([("cert.secret".to_owned(), secret)]), ..Model::default() }
    }

    fn secured(host: &str, secret: &str) -> Route {
        Route { tls_secret: secret.into(), ..Route::new(host, "/") }
    }

    #[test]
    fn each_host_has_the_certificate_of_its_secret_or_one_of_the_platforms_own() {
        let routes = vec![
            secured("a.test", "cert"),
            Route { tls: true, plain_http: true, ..Route::new("b.test", "/") },
            secured("c.test", "gone"),
            secured("", "cert"),
            Route::new("d.test", "/"),
        ];
        let model = model(routes, &[("tls.crt", "chain"), ("tls.key", "key")]);
        let found: Vec<_> = certificates(&model, &model.services[0]).into_iter().map(|c| (c.host, c.pem.is_some(), c.plain_http)).collect();
        assert_eq!(found, [("a.test".to_owned(), true, false), ("b.test".to_owned(), false, true), ("c.test".to_owned(), false, false)]);
        assert_eq!(pem(&model.configs["cert.secret"]), Some((b"chain".to_vec(), b"key".to_vec())));
        let shown = format!("{:?}", certificates(&model, &model.services[0]));
        assert!(!shown.contains("key"), "{shown}");
    }

    #[test]
    fn a_secret_of_the_space_is_tied_to_and_one_without_a_key_is_named() {
        let kept = BTreeMap::from([(("far".to_owned(), true), BTreeSet::from(["tls.crt".to_owned()]))]);
        let text = "apiVersion: gantry.io/v1\nkind: Application\nmetadata: {name: a}\nspec:\n  workloads: {web: {image: a/b/c}}\n  services:\n  - {name: web, workload: web, port: 80, protocol: http, routes: [{host: a.test, tls_secret: far}]}\n";
        let read = crate::domain::own::read(&Document { kept: &kept, ..Document::alone(text) });
        assert_eq!(read.model.configs["far.secret"].external.as_deref(), Some("far"));
        let lacks = lacks(&read.model, &read.model.services[0].routes[0]);
        assert!(lacks.is_some_and(|detail| detail.starts_with("`far` has no entry `tls.key`")));
        assert_eq!(super::lacks(&read.model, &Route::new("a.test", "/")), None);
    }
}
