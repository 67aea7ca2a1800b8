//! A node's certificate is renewed at half of its life; the node's own port, and what dials the scheduler, show the new one from then on,
//! as they do with one that somebody else has put in its place. With it come the authorities that the platform trusts: another one counts
//! from then on, beside the one before until that ends. Connections that stand go on.

use std::time::Duration;

use gantry_host::{Channel, Host, Leaf};
use tonic::transport::{ClientTlsConfig, Endpoint};

use crate::adapters::enrolment::{self, Certificate};
use crate::app::line::Line;

const AGAIN: Duration = Duration::from_secs(60);

pub struct Renewal {
    pub host: Host,
    pub leaf: Leaf,
    pub line: Line,
}

impl Renewal {
    /// Until shutdown.
    pub async fn run(mut self) {
        let cancel = self.host.cancel.clone();
        loop {
            let Some(present) = enrolment::certificate(&self.leaf.chain_pem) else {
                // No node's: the platform's own machine, or an operator's authority, and others renew it.
                tokio::select! { () = cancel.cancelled() => return, () = tokio::time::sleep(AGAIN) => {} }
                self.replaced();
                continue;
            };
            let wait = until_half(&present, self.host.env.now());
            tokio::select! { () = cancel.cancelled() => return, () = tokio::time::sleep(wait.min(AGAIN)) => {} }
            if self.replaced() || !until_half(&present, self.host.env.now()).is_zero() {
                continue;
            }
            match self.renewed().await {
                Ok(()) => tracing::info!(node.id = %present.node, "the node's certificate was renewed"),
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(node.id = %present.node, error, until = %present.until, "the node's certificate could not be renewed; without one the node has to join again (`gantry node join-token`)");
                    tokio::select! { () = cancel.cancelled() => return, () = tokio::time::sleep(AGAIN) => {} }
                }
            }
        }
    }

    /// Somebody has put another one in its folder (an operator's authority, a node that joined anew).
    fn replaced(&mut self) -> bool {
        let shown = self.host.shown.leaf();
        if shown.chain_pem == self.leaf.chain_pem {
            return false;
        }
        // Who has put it there may have put another authority beside it.
        enrolment::trust_kept(&self.host);
        match dial(&self.host, &shown) {
            Ok(line) => self.line.replace(line),
            Err(error) => tracing::error!(error = format!("{error:#}"), "the scheduler is still dialled with the certificate before"),
        }
        self.leaf = shown;
        true
    }

    async fn renewed(&mut self) -> anyhow::Result<()> {
        let renewed = enrolment::renew(&self.host, &self.leaf).await?;
        // First: whoever is dialled next may show a certificate of the new authority.
        self.host.trust(&renewed.authorities)?;
        let leaf = renewed.leaf;
        self.host.show(&leaf)?;
        self.line.replace(dial(&self.host, &leaf)?);
        self.leaf = leaf;
        Ok(())
    }
}

fn until_half(present: &Certificate, now: time::OffsetDateTime) -> Duration {
    let half = present.from + (present.until - present.from) / 2;
    Duration::try_from(half - now).unwrap_or_default()
}

/// The scheduler, with this certificate.
fn dial(host: &Host, leaf: &Leaf) -> anyhow::Result<Channel> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(tonic::transport::Certificate::from_pem(host.trusted.pem()))
        .identity(tonic::transport::Identity::from_pem(&leaf.chain_pem, &leaf.key_pem))
        .domain_name(format!("scheduler.{}", gantry_host::SERVER_SUFFIX));
    let endpoint = Endpoint::from_shared(host.url_of("scheduler")?)?
        .connect_timeout(Duration::from_secs(3))
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_while_idle(true)
        .tls_config(tls)?;
    Ok(Channel::new(endpoint.connect_lazy(), "scheduler").endless())
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Name;
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn it_is_renewed_at_half_of_its_life_and_at_once_after_that() {
        let at = |hours: i64| OffsetDateTime::from_unix_timestamp(hours * 3600).unwrap();
        let present = Certificate { node: Name::parse("n1").unwrap(), from: at(100), until: at(124) };
        assert_eq!(until_half(&present, at(100)), Duration::from_secs(12 * 3600));
        assert_eq!(until_half(&present, at(120)), Duration::ZERO);
    }
}
