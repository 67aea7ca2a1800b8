//! Certificates that routes are to be served with, looked at before they are deployed: nobody should learn from a browser that one is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_host::Leaf;
use gantry_kernel::{OffsetDateTime, Problem};

use super::Scheduler;
use super::deploy::database;
use super::kept::filling;
use crate::domain::document::{Level, Remark};
use crate::domain::model::{Config, Model};
use crate::domain::sites::{pem, secret};
use crate::store;

/// Of a route's secret, where it is named: when it ends, or what is wrong.
type Told = (String, Result<String, String>);

/// Of those secrets whose contents the document itself has.
pub fn of_document(model: &Model, now: OffsetDateTime) -> Vec<Told> {
    let own = model.configs.iter().filter(|(_, c)| c.external.is_none()).map(|(name, c)| (name.clone(), Arc::new(c.clone())));
    told(model, &own.collect(), now)
}

/// Of secrets of the space, in the versions that the model is tied to.
///
/// # Errors
/// The first that cannot be used, or the database or the keys cannot be reached.
pub async fn of_space(s: &Scheduler, model: &Model) -> Result<Vec<Remark>, Problem> {
    let mut contents = BTreeMap::new();
    for (name, config) in &model.configs {
        let named = || model.services.iter().flat_map(|s| &s.routes).any(|r| secret(model, &r.tls_secret).is_some_and(|(own, _)| own == name));
        let Some(pin) = config.pinned.as_ref().filter(|_| config.external.is_some() && named()) else { continue };
        let Some(version) = store::kept_version(s.orm(), pin.config, pin.version).await.map_err(database)? else { continue };
        contents.insert(name.clone(), filling::open(s, &version).await.map_err(Problem::internal)?);
    }
    let mut remarks = Vec::new();
    for (path, said) in told(model, &contents, s.host.env.now()) {
        let detail = said.map_err(|fault| Problem::invalid(path.clone(), fault))?;
        remarks.push(Remark { file: String::new(), path, line: 0, detail, level: Level::Note });
    }
    Ok(remarks)
}

fn told(model: &Model, contents: &BTreeMap<String, Arc<Config>>, now: OffsetDateTime) -> Vec<Told> {
    let mut out = Vec::new();
    for (n, service) in model.services.iter().enumerate() {
        for (r, route) in service.routes.iter().enumerate().filter(|(_, r)| r.is_served()) {
            let Some((chain, key)) = secret(model, &route.tls_secret).and_then(|(own, _)| pem(contents.get(own)?)) else { continue };
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            let leaf = Leaf { chain_pem: text(chain), key_pem: text(key) };
            let said = match leaf.serves(&route.host) {
                Err(fault) => Err(format!("`{}` cannot be used: {fault}", route.tls_secret)),
                Ok(until) if until <= now => Ok(format!("the certificate in `{}` has ended on {}", route.tls_secret, until.date())),
                Ok(until) => Ok(format!("the certificate in `{}` ends on {}", route.tls_secret, until.date())),
            };
            out.push((format!("services[{n}].routes[{r}].tls_secret"), said));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use gantry_host::Pki;
    use gantry_kernel::Name;
    use time::Duration;

    use super::*;
    use crate::domain::model::{Protocol, Route, Service};

    #[test]
    fn a_certificate_that_cannot_be_used_is_named_and_another_says_when_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let leaf = Pki::open(folder.path()).unwrap().site("a.test", now, Duration::days(90)).unwrap();
        let name = Name::parse("web").unwrap();
        let secured = |host: &str| Route { tls_secret: "cert".into(), ..Route::new(host, "/") };
        let service = Service { routes: vec![secured("a.test"), secured("b.test")], ..Service::plain(name.clone(), name, 80, Protocol::Http) };
        let entries = BTreeMap::from([("tls.crt".to_owned(), leaf.chain_pem), ("tls.key".to_owned(), leaf.key_pem)]);
        let secret = Config { secret: true, entries, ..Config::default() };
        let model = Model { services: vec![service], configs: BTreeMap::from([("cert".to_owned(), secret)]), ..Model::default() };
        let told = of_document(&model, now);
        assert_eq!(told[0], ("services[0].routes[0].tls_secret".to_owned(), Ok("the certificate in `cert` ends on 2027-04-15".to_owned())));
        assert!(told[1].1.as_ref().is_err_and(|fault| fault.ends_with("is not for `b.test`")), "{told:?}");
        let ended = of_document(&model, now + Duration::days(91));
        assert!(ended[0].1.as_ref().is_ok_and(|note| note.ends_with("has ended on 2027-04-15")), "{ended:?}");
    }
}
