//! Addresses of this machine, by iproute2: which it has, and those that come and go with services. What is known of them is the caller's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::machine::{CommandError, run};

/// The machine's own, of IPv4.
///
/// # Errors
/// When `ip` does not tell.
pub async fn local() -> Result<BTreeSet<Ipv4Addr>, CommandError> {
    let shown = run("ip", &["-o", "-4", "address", "show"]).await?;
    let words = shown.lines().filter_map(|line| line.split_whitespace().skip_while(|word| *word != "inet").nth(1));
    Ok(words.filter_map(|word| word.split('/').next()?.parse().ok()).collect())
}

/// The network of one of the machine's interfaces in which an address is; nothing if it is in none, or `ip` does not tell.
pub async fn network_of(address: Ipv4Addr) -> Option<String> {
    network_in(&run("ip", &["-o", "-4", "address", "show"]).await.ok()?, address)
}

/// The narrowest of those that are shown; an address by itself is no network.
fn network_in(shown: &str, address: Ipv4Addr) -> Option<String> {
    let words = shown.lines().filter_map(|line| line.split_whitespace().skip_while(|word| *word != "inet").nth(1));
    let networks = words.filter_map(|word| {
        let (own, length) = word.split_once('/')?;
        let (own, length) = (own.parse::<Ipv4Addr>().ok()?, length.parse::<u32>().ok().filter(|length| (1..32).contains(length))?);
        let mask = u32::MAX << (32 - length);
        (u32::from(own) & mask == u32::from(address) & mask).then(|| (length, Ipv4Addr::from(u32::from(own) & mask)))
    });
    networks.max().map(|(length, first)| format!("{first}/{length}"))
}

/// Those that stand by themselves, as [`put`] and [`add`] leave them, with the interface of each.
///
/// # Errors
/// When `ip` does not tell.
pub async fn single() -> Result<BTreeMap<Ipv4Addr, String>, CommandError> {
    Ok(single_in(&run("ip", &["-o", "-4", "address", "show"]).await?))
}

fn single_in(shown: &str) -> BTreeMap<Ipv4Addr, String> {
    let one = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let interface = words.next()?;
        let address = words.skip_while(|word| *word != "inet").nth(1)?.strip_suffix("/32")?;
        Some((address.parse().ok()?, interface.to_owned()))
    };
    shown.lines().filter_map(one).collect()
}

/// # Errors
/// When the machine has it already, or refuses it.
pub async fn add(address: Ipv4Addr, interface: &str) -> Result<(), CommandError> {
    run("ip", &["address", "add", &format!("{address}/32"), "dev", interface]).await.map(drop)
}

/// Whether the machine has it already or not.
///
/// # Errors
/// When the machine refuses it.
pub async fn put(address: Ipv4Addr, interface: &str) -> Result<(), CommandError> {
    run("ip", &["address", "replace", &format!("{address}/32"), "dev", interface]).await.map(drop)
}

/// Afterwards the machine does not have it; it may have lost it before (by hand, or by a new start).
///
/// # Errors
/// When it may still be there.
pub async fn remove(address: Ipv4Addr, interface: &str) -> Result<(), CommandError> {
    let Err(error) = run("ip", &["address", "delete", &format!("{address}/32"), "dev", interface]).await else { return Ok(()) };
    match local().await {
        Ok(there) if !there.contains(&address) => Ok(()),
        Ok(_) | Err(_) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_in_the_network_of_their_bridge() {
        let shown = "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n\
                     1: lo    inet 10.100.3.4/32 scope global lo\\       valid_lft forever preferred_lft forever\n\
                     2: eth0    inet 10.0.0.5/8 brd 10.255.255.255 scope global eth0\\       valid_lft forever preferred_lft forever\n\
                     3: gantry0    inet 10.88.0.1/16 brd 10.88.255.255 scope global gantry0\\       valid_lft forever preferred_lft forever\n";
        let of = |address: [u8; 4]| network_in(shown, address.into());
        assert_eq!(of([10, 88, 3, 7]).as_deref(), Some("10.88.0.0/16"));
        assert_eq!(of([10, 100, 3, 4]).as_deref(), Some("10.0.0.0/8"), "an address by itself is no network");
        assert_eq!((of([192, 0, 2, 1]), network_in("", Ipv4Addr::LOCALHOST)), (None, None));
        assert_eq!(single_in(shown), BTreeMap::from([(Ipv4Addr::new(10, 100, 3, 4), "lo".to_owned())]));
    }

    #[tokio::test]
    async fn an_address_is_gone_when_the_machine_does_not_have_it_and_not_before() {
        if local().await.is_err() {
            eprintln!("skipped: no address was looked for: `ip` is not on this machine");
            return;
        }
        // Of a network for documentation (RFC 5737), on an interface that is not there.
        assert!(remove(Ipv4Addr::new(192, 0, 2, 99), "gantry-absent").await.is_ok());
        assert!(local().await.unwrap().contains(&Ipv4Addr::LOCALHOST));
        assert!(remove(Ipv4Addr::LOCALHOST, "gantry-absent").await.is_err(), "it is still there, wherever it was looked for");
    }
}
