//! Ports of the nodes for published services: kept over revisions, as asked where that is possible, otherwise any that is
//! free. The claim in the append's transaction decides; what is read here is only a good guess.

use std::collections::{BTreeMap, BTreeSet};

use gantry_contract::scheduler::AppEvent;
use gantry_es::StreamId;
use gantry_es_pg::Claim;
use gantry_kernel::{AppId, FieldFault, Name, Problem};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::config::Config;
use crate::domain::model::{Model, Protocol, Publish, Service};
use crate::domain::stored;
use crate::store;

pub const SCOPE: [&str; 2] = ["port.tcp", "port.udp"];

fn scope(protocol: Protocol) -> &'static str {
    SCOPE[usize::from(protocol == Protocol::Udp)]
}

/// (scope, port) of a model.
pub fn of(model: &Model) -> BTreeSet<(&'static str, u16)> {
    let seen = |s: &Service| s.preview.as_ref().and_then(|p| p.publish);
    let listen = |s: &Service| s.publish.into_iter().chain(seen(s)).map(|p| (scope(s.protocol), p.listen)).collect::<Vec<_>>();
    model.services.iter().flat_map(listen).filter(|(_, port)| *port > 0).collect()
}

/// Ports that other applications hold.
///
/// # Errors
/// When the database refuses.
pub async fn taken(db: &sea_orm::DatabaseConnection, except: AppId) -> Result<BTreeSet<(&'static str, u16)>, sea_orm::DbErr> {
    let sql = "select scope, name from claims where scope = any($1) and stream <> $2";
    let scopes: Vec<String> = SCOPE.iter().map(|s| (*s).to_owned()).collect();
    let values = [scopes.into(), StreamId::of::<AppEvent>(except).as_str().into()];
    let rows = db.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    let mut out = BTreeSet::new();
    for row in rows {
        let (scope, name): (String, String) = (row.try_get("", "scope")?, row.try_get("", "name")?);
        out.extend(SCOPE.iter().find(|s| **s == scope).and_then(|s| Some((*s, name.parse().ok()?))));
    }
    Ok(out)
}

/// The ports of those of an application's revisions that nodes balance now, or again if a release fails.
///
/// # Errors
/// When the database refuses.
pub async fn serving(db: &sea_orm::DatabaseConnection, row: &store::app::Model) -> Result<BTreeSet<(&'static str, u16)>, sea_orm::DbErr> {
    let mut out = BTreeSet::new();
    for revision in [Some(row.current), row.release_from, row.finished].into_iter().flatten().collect::<BTreeSet<i64>>() {
        let stored = store::revision(db, AppId(row.id), revision).await?.and_then(|r| stored::read(&r.model).ok());
        out.extend(stored.iter().flat_map(|s| of(&s.outline)));
    }
    Ok(out)
}

/// Gives each published service of `model` its port, whatever the model says that it was given. `serving`: those that the application's own
/// revisions have; until these are gone, none of them goes to another name that asks for any.
///
/// # Errors
/// A port of the platform's range that somebody else has, or no port left.
pub fn assign(
    model: &mut Model,
    before: Option<&Model>,
    taken: &BTreeSet<(&'static str, u16)>,
    serving: &BTreeSet<(&'static str, u16)>,
    config: &Config,
) -> Result<(), Problem> {
    let kept: BTreeMap<String, u16> = before.map(|m| published(&mut m.clone()).into_iter().map(|(key, _, _, p)| (key, p.listen)).collect()).unwrap_or_default();
    let mut used = taken.clone();
    let mut faults = Vec::new();
    published(model).into_iter().for_each(|(.., publish)| publish.listen = 0);
    // First those that have or ask for a certain port, so that no other takes it.
    for pass in 0..2 {
        for (key, workload, scope, publish) in published(model).into_iter().filter(|(.., p)| p.listen == 0) {
            let asked = (config.first_port..=config.last_port).contains(&publish.wanted).then_some(publish.wanted);
            let certain = kept.get(&key).copied().filter(|p| *p > 0 && asked.is_none_or(|a| a == *p)).or(asked);
            let free = match (pass, certain) {
                (0, Some(port)) if !used.contains(&(scope, port)) => Some(port),
                (0, Some(port)) => {
                    faults.push(FieldFault { field: format!("services.{workload}.ports"), detail: format!("port {port} is taken by another application") });
                    None
                }
                (1, None) => {
                    let free = || (config.first_port..=config.last_port).filter(|p| !used.contains(&(scope, *p)));
                    free().find(|p| !serving.contains(&(scope, *p))).or_else(|| free().next())
                }
                _ => None,
            };
            if let Some(port) = free {
                publish.listen = port;
                used.insert((scope, port));
            }
        }
    }
    if !faults.is_empty() {
        let mut problem = Problem::invalid_fields(faults);
        (problem.kind, problem.code) = (gantry_kernel::Kind::Conflict, "scheduler.port_taken");
        return Err(problem);
    }
    if published(model).iter().any(|(.., p)| p.listen == 0) {
        return Err(Problem::conflict("scheduler.no_port_left", format!("no port is free from {} to {}", config.first_port, config.last_port)));
    }
    Ok(())
}

/// What is to be published, with a key that stays over revisions, the workload and the scope.
fn published(model: &mut Model) -> Vec<(String, Name, &'static str, &mut Publish)> {
    let mut out = Vec::new();
    for service in &mut model.services {
        let (key, scope, workload) = (service.key(), scope(service.protocol), service.workload.clone());
        let Service { publish, preview, .. } = service;
        if let Some(seen) = preview.as_mut().and_then(|p| p.publish.as_mut()) {
            out.push((format!("{key}.preview"), workload.clone(), scope, seen));
        }
        out.extend(publish.as_mut().map(|p| (key, workload, scope, p)));
    }
    out
}

/// Claims that make the model's ports this application's. They are given back when it is deleted, not before: an earlier
/// revision may come back.
pub fn claims(model: &Model) -> Vec<Claim> {
    of(model).into_iter().map(|(scope, port)| Claim::take(scope, port.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(wanted: &[u16]) -> Model {
        let name = Name::parse("web").unwrap();
        let service = |(n, wanted): (usize, &u16)| Service {
            publish: Some(Publish { wanted: *wanted, listen: 0 }),
            ..Service::plain(name.clone(), name.clone(), 8000 + u16::try_from(n).unwrap(), Protocol::Tcp)
        };
        Model { services: wanted.iter().enumerate().map(service).collect(), ..Model::default() }
    }

    fn listen(model: &Model) -> Vec<u16> {
        model.services.iter().map(|s| s.publish.unwrap().listen).collect()
    }

    #[test]
    fn a_port_of_the_range_is_given_as_asked_and_any_other_is_mapped() {
        let mut model = model(&[20_080, 80, 0]);
        assign(&mut model, None, &BTreeSet::new(), &BTreeSet::new(), &Config::default()).unwrap();
        assert_eq!(listen(&model), [20_080, 20_000, 20_001]);
    }

    #[test]
    fn a_port_stays_over_revisions() {
        let mut first = model(&[80]);
        assign(&mut first, None, &BTreeSet::from([("port.tcp", 20_000)]), &BTreeSet::new(), &Config::default()).unwrap();
        assert_eq!(listen(&first), [20_001]);
        let mut second = model(&[80]);
        assign(&mut second, Some(&first), &BTreeSet::new(), &of(&first), &Config::default()).unwrap();
        assert_eq!(listen(&second), [20_001]);
    }

    #[test]
    fn a_taken_port_is_refused_by_name() {
        let taken = BTreeSet::from([("port.tcp", 20_080)]);
        let problem = assign(&mut model(&[20_080]), None, &taken, &BTreeSet::new(), &Config::default()).unwrap_err();
        assert!(problem.detail.contains("20080"), "{problem}");
    }

    #[test]
    fn a_port_that_a_document_claims_to_have_is_not_believed() {
        let mut model = model(&[80, 0]);
        model.services.iter_mut().zip([20_007, 443]).for_each(|(service, listen)| service.publish.as_mut().unwrap().listen = listen);
        assign(&mut model, None, &BTreeSet::new(), &BTreeSet::new(), &Config::default()).unwrap();
        assert_eq!(listen(&model), [20_000, 20_001]);
    }

    #[test]
    fn a_port_that_a_name_gives_up_goes_to_no_other_name_while_it_still_serves() {
        let mut first = model(&[80]);
        assign(&mut first, None, &BTreeSet::new(), &BTreeSet::new(), &Config::default()).unwrap();
        let mut second = model(&[81]);
        assign(&mut second, Some(&first), &BTreeSet::new(), &of(&first), &Config::default()).unwrap();
        assert_eq!((listen(&first), listen(&second)), (vec![20_000], vec![20_001]));
        let full = Config { first_port: 20_000, last_port: 20_000, ..Config::default() };
        assign(&mut second, Some(&first), &BTreeSet::new(), &of(&first), &full).unwrap();
        assert_eq!(listen(&second), [20_000], "rather than none");
    }
}
