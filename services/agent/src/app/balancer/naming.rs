//! The part of the balancer for names: what an instance's containers call, and where that leads.

use std::collections::BTreeMap;
use std::net::IpAddr;

use gantry_contract::proto::scheduler as wire;

use super::Balancer;
use crate::domain::wanted::{Service, Wanted};

impl Balancer {
    /// Names and addresses that an instance's containers can call: the services of its space, and what its space names elsewhere.
    /// `elsewhere`: where those host names lead that were found.
    pub fn names(&self, wanted: &Wanted, of: &wire::WantedInstance, elsewhere: &BTreeMap<String, IpAddr>) -> BTreeMap<String, IpAddr> {
        let app = |labels: Option<&wire::Labels>| labels.map(|l| l.app.clone()).unwrap_or_default();
        let own = app(of.labels.as_ref());
        let mut said = Vec::new();
        for service in wanted.neighbours(of) {
            let Some(address) = self.saved.addresses.get(&named(service)) else { continue };
            let of_app = app(service.wire.labels.as_ref());
            let rank = if of_app == own { Rank::Own } else { Rank::Others };
            let names = std::iter::once(&service.wire.name).chain(&service.wire.aliases);
            said.extend(names.map(|name| (rank, name.clone(), of_app.clone(), IpAddr::V4(*address))));
        }
        for outside in wanted.elsewhere(of) {
            let Some(address) = outside.address.parse().ok().or_else(|| elsewhere.get(&outside.address).copied()) else { continue };
            let of_app = app(outside.labels.as_ref());
            let rank = if of_app == own { Rank::OwnElsewhere } else { Rank::OthersElsewhere };
            said.push((rank, outside.name.clone(), of_app, address));
        }
        let mut names = meant(said);
        // What the document says of a name counts most.
        names.extend(of.extra_hosts.iter().filter_map(|(name, address)| Some((name.clone(), address.parse().ok()?))));
        names
    }
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
fn meant(mut said: Vec<(Rank, String, String, IpAddr)>) -> BTreeMap<String, IpAddr> {
    said.sort_by_key(|(rank, ..)| *rank);
    let mut names = BTreeMap::new();
    for (_, name, app, address) in said {
        names.entry(format!("{name}.{app}")).or_insert(address);
        names.entry(name).or_insert(address);
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
        let said = |rank, name: &str, app: &str, n| (rank, name.to_owned(), app.to_owned(), at(n));
        let names = meant(vec![
            said(Rank::OthersElsewhere, "db", "c", 4),
            said(Rank::Others, "db", "b", 3),
            said(Rank::OwnElsewhere, "db", "a", 2),
            said(Rank::OthersElsewhere, "bank", "c", 5),
            said(Rank::Others, "bank", "b", 6),
            said(Rank::Own, "web", "a", 1),
        ]);
        assert_eq!((names["db"], names["bank"], names["web"]), (at(2), at(6), at(1)));
        assert_eq!((names["db.b"], names["db.c"], names["bank.c"]), (at(3), at(4), at(5)));
    }
}
