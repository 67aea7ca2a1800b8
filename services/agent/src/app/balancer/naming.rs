//! The part of the balancer for names: what an instance's containers call, and where that leads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use gantry_contract::proto::scheduler as wire;

use super::Balancer;
use crate::adapters::folders::Names;
use crate::domain::wanted::{Service, Wanted};

impl Balancer {
    /// Names and addresses that an instance's containers can call: the services of its space, and what its space names elsewhere.
    /// `elsewhere`: where those host names lead that were found.
    pub fn names(&self, wanted: &Wanted, of: &wire::WantedInstance, elsewhere: &BTreeMap<String, IpAddr>) -> Names {
        let app = |labels: Option<&wire::Labels>| labels.map(|l| l.app.clone()).unwrap_or_default();
        let own = app(of.labels.as_ref());
        let mut said = Vec::new();
        for service in wanted.neighbours(of) {
            let of_app = app(service.wire.labels.as_ref());
            let rank = if of_app == own { Rank::Own } else { Rank::Others };
            let names: Vec<&String> = std::iter::once(&service.wire.name).chain(&service.wire.aliases).collect();
            // What is closed in reaches balanced addresses alone.
            let singles = if of.guard.as_ref().is_some_and(|g| g.closed) { &[][..] } else { &service.wire.singles[..] };
            said.extend(single_names(&names, singles).into_iter().map(|(name, address)| (rank, name, of_app.clone(), vec![address])));
            let ready = ready(singles);
            let balanced = self.saved.addresses.get(&named(service)).map(|address| vec![IpAddr::V4(*address)]);
            let Some(addresses) = (!ready.is_empty()).then_some(ready).or(balanced) else { continue };
            said.extend(names.into_iter().map(|name| (rank, name.clone(), of_app.clone(), addresses.clone())));
        }
        for outside in wanted.elsewhere(of) {
            let Some(address) = outside.address.parse().ok().or_else(|| elsewhere.get(&outside.address).copied()) else { continue };
            let of_app = app(outside.labels.as_ref());
            let rank = if of_app == own { Rank::OwnElsewhere } else { Rank::OthersElsewhere };
            said.push((rank, outside.name.clone(), of_app, vec![address]));
        }
        let mut names = meant(said);
        // What the document says of a name counts most.
        names.extend(of.extra_hosts.iter().filter_map(|(name, address)| Some((name.clone(), vec![address.parse().ok()?]))));
        names
    }
}

/// `<instance>.<service>` by all names of both.
fn single_names(services: &[&String], singles: &[wire::Single]) -> Vec<(String, IpAddr)> {
    let mut out = Vec::new();
    for (one, address) in singles.iter().filter_map(|s| Some((s, s.address.parse::<IpAddr>().ok()?))) {
        out.extend(one.names.iter().flat_map(|name| services.iter().map(move |service| (format!("{name}.{service}"), address))));
    }
    out
}

/// In an order of their own: a hosts file changes only with what is in it.
fn ready(singles: &[wire::Single]) -> Vec<IpAddr> {
    let found: BTreeSet<IpAddr> = singles.iter().filter(|s| s.ready).filter_map(|s| s.address.parse().ok()).collect();
    found.into_iter().collect()
}

/// Whose word counts for a name that several say: an application's own, and what the space runs itself before what runs elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Own,
    OwnElsewhere,
    Others,
    OthersElsewhere,
}

/// What each name means, given who says it: the name, the application, and where it leads. With its application a name is never in doubt.
fn meant(mut said: Vec<(Rank, String, String, Vec<IpAddr>)>) -> Names {
    said.sort_by_key(|(rank, ..)| *rank);
    let mut names = Names::new();
    for (_, name, app, addresses) in said {
        names.entry(format!("{name}.{app}")).or_insert_with(|| addresses.clone());
        names.entry(name).or_insert(addresses);
    }
    names
}

/// The ports of one name share one address: it is the name that people call.
pub(super) fn named(service: &Service) -> String {
    let app = service.wire.labels.as_ref().map(|l| l.app_id.as_str()).unwrap_or_default();
    format!("{app}.{}", service.wire.name)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_application_means_its_own_by_a_name_and_what_the_space_runs_before_what_runs_elsewhere() {
        let at = |n: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
        let said = |rank, name: &str, app: &str, n| (rank, name.to_owned(), app.to_owned(), vec![at(n)]);
        let names = meant(vec![
            said(Rank::OthersElsewhere, "db", "c", 4),
            said(Rank::Others, "db", "b", 3),
            said(Rank::OwnElsewhere, "db", "a", 2),
            said(Rank::OthersElsewhere, "bank", "c", 5),
            said(Rank::Others, "bank", "b", 6),
            said(Rank::Own, "web", "a", 1),
        ]);
        assert_eq!((&names["db"][..], &names["bank"][..], &names["web"][..]), (&[at(2)][..], &[at(6)][..], &[at(1)][..]));
        assert_eq!((&names["db.b"][..], &names["db.c"][..], &names["bank.c"][..]), (&[at(3)][..], &[at(4)][..], &[at(5)][..]));
    }

    #[test]
    fn single_instances_have_names_below_their_services_and_its_own_leads_to_those_that_are_ready() {
        let at = |n: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
        let one = |n: u8, ready| wire::Single { names: vec![format!("db-{n}"), format!("shop-db-{n}")], address: at(n).to_string(), ready };
        let singles = [one(2, true), one(1, true), one(3, false)];
        let (main, alias) = ("db".to_owned(), "store".to_owned());
        let names: BTreeMap<String, IpAddr> = single_names(&[&main, &alias], &singles).into_iter().collect();
        assert_eq!((names.len(), names["db-3.db"], names["shop-db-1.store"]), (12, at(3), at(1)));
        assert_eq!(ready(&singles), [at(1), at(2)]);
        let all = meant(vec![(Rank::Own, main, "shop".into(), ready(&singles))]);
        let text = crate::adapters::folders::hosts_text("", "", &all);
        assert!(text.ends_with("10.0.0.1 db\n10.0.0.2 db\n10.0.0.1 db.shop\n10.0.0.2 db.shop\n"), "{text}");
    }
}
