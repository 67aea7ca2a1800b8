//! Addresses of this machine, by iproute2: which it has, and those that come and go with services. What is known of them is the caller's.

use std::collections::BTreeSet;
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
