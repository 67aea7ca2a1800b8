//! Public addresses of services: kept over revisions, as asked where that is possible, otherwise any that is free in the pool. The claim in
//! the append's transaction decides; what is read here is only a good guess.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use gantry_contract::scheduler::AppEvent;
use gantry_es::StreamId;
use gantry_es_pg::Claim;
use gantry_kernel::{AppId, FieldFault, Kind, Name, OrgId, Problem};
use sea_orm::DatabaseConnection;

use crate::domain::model::{Model, PublicAddress};
use crate::domain::pools::Pools;
use crate::store;

pub const SCOPE: &str = "address.public";

/// Of a model.
pub fn of(model: &Model) -> BTreeSet<Ipv4Addr> {
    model.services.iter().filter_map(|s| s.address.as_ref()?.given).collect()
}

/// Who has what.
pub struct Claimed {
    pub own: BTreeSet<Ipv4Addr>,
    pub others: BTreeSet<Ipv4Addr>,
}

/// # Errors
/// When the database refuses.
pub async fn claimed(db: &DatabaseConnection, app: AppId) -> Result<Claimed, sea_orm::DbErr> {
    let (mut out, own) = (Claimed { own: BTreeSet::new(), others: BTreeSet::new() }, StreamId::of::<AppEvent>(app));
    for (name, stream) in store::claimed(db, SCOPE).await? {
        let Ok(address) = name.parse() else { continue };
        if stream == own.as_str() {
            out.own.insert(address)
        } else {
            out.others.insert(address)
        };
    }
    Ok(out)
}

/// Services of one name that ask for the same have one address.
type Key = (Name, String, Option<Ipv4Addr>);

/// Gives each service of `model` that asks for one its address.
///
/// # Errors
/// A pool that is not there for the organisation, an address that no such pool has, one that somebody else has, or none left.
pub fn assign(model: &mut Model, before: Option<&Model>, pools: &Pools, org: OrgId, taken: &BTreeSet<Ipv4Addr>) -> Result<(), Problem> {
    let key = |name: &Name, a: &PublicAddress| -> Key { (name.clone(), a.pool.clone(), a.ip) };
    let asks = |model: &Model| -> BTreeMap<Key, Option<Ipv4Addr>> {
        model.services.iter().filter_map(|s| s.address.as_ref().map(|a| (key(&s.name, a), a.given))).collect()
    };
    let kept: BTreeMap<Key, Option<Ipv4Addr>> = before.map(asks).unwrap_or_default();
    let mut used = taken.clone();
    let mut given: BTreeMap<Key, Ipv4Addr> = BTreeMap::new();
    let mut all: Vec<Key> = asks(&*model).into_keys().collect();
    // First those that ask for a certain one or have one already, so that no other takes it.
    all.sort_by_key(|k| (k.2.is_none(), kept.get(k).copied().flatten().is_none()));
    for asked in all {
        let (name, pool, ip) = &asked;
        let field = format!("services.{name}.address");
        let usable: Vec<_> = pools.0.iter().filter(|(n, p)| p.admits(org) && (pool.is_empty() || *n == pool)).collect();
        if usable.is_empty() {
            let detail = if pool.is_empty() {
                "there is no address pool that this organisation may use; `gantry pool list` shows those there are".to_owned()
            } else {
                format!("there is no address pool `{pool}` that this organisation may use; `gantry pool list` shows those there are")
            };
            return Err(Problem::invalid_fields(vec![FieldFault { field, detail }]));
        }
        let address = match ip {
            Some(ip) if !usable.iter().any(|(_, p)| p.contains(*ip)) => {
                let names: Vec<&str> = usable.iter().map(|(n, _)| n.as_str()).collect();
                let detail = format!("{ip} is not an address of {}", names.join(", "));
                return Err(Problem::invalid_fields(vec![FieldFault { field, detail }]));
            }
            Some(ip) if taken.contains(ip) => {
                return Err(taken_already(&format!("{field}: {ip} is taken by another application; ask for another one, or for any")));
            }
            Some(ip) => *ip,
            None => {
                let had = kept.get(&asked).copied().flatten().filter(|a| !used.contains(a) && usable.iter().any(|(_, p)| p.contains(*a)));
                had.or_else(|| usable.iter().find_map(|(_, p)| p.free(&used))).ok_or_else(|| {
                    let which = if pool.is_empty() { "the pools that it may use".to_owned() } else { format!("the pool `{pool}`") };
                    let detail = format!("{field}: all addresses of {which} are taken; ask the operator for more, or publish the port on the nodes");
                    Problem::new(Kind::QuotaExceeded, "scheduler.no_address_left", detail)
                })?
            }
        };
        used.insert(address);
        given.insert(asked, address);
    }
    for service in &mut model.services {
        let name = service.name.clone();
        if let Some(asked) = &mut service.address {
            asked.given = given.get(&key(&name, &*asked)).copied();
        }
    }
    Ok(())
}

/// For a revision that comes back: its addresses may be another's meanwhile, or no pool's any more.
///
/// # Errors
/// When that is so.
pub fn still_there(model: &Model, pools: &Pools, org: OrgId, taken: &BTreeSet<Ipv4Addr>) -> Result<(), Problem> {
    for address in of(model) {
        if taken.contains(&address) {
            return Err(taken_already(&format!("the address {address} of that revision is another application's by now; deploy it anew")));
        }
        if !pools.with(address).is_some_and(|(_, pool)| pool.admits(org)) {
            let detail = format!("the address {address} of that revision is in no pool that this organisation may use; deploy it anew");
            return Err(Problem::conflict("scheduler.address_gone", detail));
        }
    }
    Ok(())
}

pub fn taken_already(detail: &str) -> Problem {
    Problem::conflict("scheduler.address_taken", detail)
}

/// Claims that make the model's addresses this application's.
pub fn claims(model: &Model) -> Vec<Claim> {
    of(model).into_iter().map(|address| Claim::take(SCOPE, address.to_string())).collect()
}

/// Gives back what an application has and none of its services asks for any more. `model`: what it has come to.
///
/// # Errors
/// When the database refuses.
pub async fn given_back(db: &DatabaseConnection, app: AppId, model: &Model) -> Result<Vec<Claim>, sea_orm::DbErr> {
    let needed = of(model);
    let own = claimed(db, app).await?.own;
    Ok(own.difference(&needed).map(|address| Claim::release(SCOPE, address.to_string())).collect())
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;

    use super::*;
    use crate::domain::model::{Protocol, Service};
    use crate::domain::pools::Stored;

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, last)
    }

    fn org(n: u128) -> OrgId {
        OrgId(Uuid::from_u128(n))
    }

    /// `open` for all, of two addresses; `own` for the first organisation.
    fn pools() -> Pools {
        let pool = |name: &str, text: &str, orgs: Vec<OrgId>| (name.to_owned(), Stored { addresses: vec![text.to_owned()], orgs });
        Pools::of(&BTreeMap::from([pool("open", "203.0.113.1-203.0.113.2", vec![]), pool("own", "203.0.113.9", vec![org(1)])]))
    }

    fn model(services: &[(&str, u16, &str, Option<u8>)]) -> Model {
        let service = |(name, port, pool, last): &(&str, u16, &str, Option<u8>)| {
            let name = Name::parse(name).unwrap();
            let address = Some(PublicAddress { pool: (*pool).to_owned(), ip: last.map(ip), given: None });
            Service { address, ..Service::plain(name.clone(), name, *port, Protocol::Tcp) }
        };
        Model { services: services.iter().map(service).collect(), ..Model::default() }
    }

    fn given(model: &Model) -> Vec<Ipv4Addr> {
        model.services.iter().map(|s| s.address.as_ref().unwrap().given.unwrap()).collect()
    }

    fn assigned(mut model: Model, before: Option<&Model>, taken: &[u8]) -> Result<Model, Problem> {
        assign(&mut model, before, &pools(), org(2), &taken.iter().map(|n| ip(*n)).collect()).map(|()| model)
    }

    #[test]
    fn the_ports_of_a_name_have_one_address_and_each_name_its_own() {
        let model = assigned(model(&[("web", 80, "open", None), ("web", 443, "open", None), ("mail", 25, "", None)]), None, &[]).unwrap();
        let given = given(&model);
        assert_eq!(given[0], given[1]);
        assert_ne!(given[0], given[2]);
        assert_eq!(claims(&model).len(), 2);
    }

    #[test]
    fn an_address_stays_over_revisions_and_is_not_anothers() {
        let first = assigned(model(&[("web", 80, "open", None)]), None, &[1]).unwrap();
        assert_eq!(given(&first), [ip(2)]);
        let second = assigned(model(&[("api", 81, "open", None), ("web", 80, "open", None)]), Some(&first), &[]).unwrap();
        assert_eq!(given(&second), [ip(1), ip(2)]);
    }

    #[test]
    fn an_address_that_a_document_claims_to_have_is_not_believed() {
        let mut claiming = model(&[("web", 80, "open", None)]);
        claiming.services[0].address.as_mut().unwrap().given = Some(ip(9));
        assert_eq!(given(&assigned(claiming, None, &[]).unwrap()), [ip(1)]);
    }

    #[test]
    fn a_certain_address_is_given_before_any() {
        let model = assigned(model(&[("api", 81, "open", None), ("web", 80, "", Some(1))]), None, &[]).unwrap();
        assert_eq!(given(&model), [ip(2), ip(1)]);
    }

    #[test]
    fn what_cannot_be_given_is_refused_by_name() {
        for (asked, taken, code, part) in [
            (("web", 80, "open", Some(1)), vec![1], "scheduler.address_taken", "203.0.113.1"),
            (("web", 80, "open", None), vec![1, 2], "scheduler.no_address_left", "`open`"),
            (("web", 80, "open", Some(9)), vec![], "request.invalid", "203.0.113.9"),
            (("web", 80, "own", None), vec![], "request.invalid", "`own`"),
            (("web", 80, "nowhere", None), vec![], "request.invalid", "`nowhere`"),
        ] {
            let problem = assigned(model(&[asked]), None, &taken).unwrap_err();
            assert!(problem.code == code && problem.detail.contains(part), "{problem}");
        }
    }

    #[test]
    fn a_revision_comes_back_only_with_its_addresses() {
        let first = assigned(model(&[("web", 80, "open", None)]), None, &[]).unwrap();
        still_there(&first, &pools(), org(2), &BTreeSet::new()).unwrap();
        assert_eq!(still_there(&first, &pools(), org(2), &BTreeSet::from([ip(1)])).unwrap_err().code, "scheduler.address_taken");
        assert_eq!(still_there(&first, &Pools::default(), org(2), &BTreeSet::new()).unwrap_err().code, "scheduler.address_gone");
    }
}
