//! One connection, step by step, so that what fails can be named: name, address, encryption.

use std::sync::Arc;
use std::time::Duration;

use gantry_host::reach;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, StdStream};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use url::Url;

use super::Directory;
use super::explain::{self, Fault, Step};

const CONNECT: Duration = Duration::from_secs(3);

/// Trusts the authorities in `pem` and no others.
pub fn tls(pem: &str) -> Result<Arc<ClientConfig>, Fault> {
    let unreadable = |why: String| Fault::new(Step::Tls, "", format!("the authority's certificate (ca_pem) cannot be read: {why}"));
    reach::trusting(pem).map(Arc::new).map_err(unreadable)
}

impl Directory {
    pub(super) async fn connect(&self, server: &str) -> Result<Ldap, Fault> {
        let url = Url::parse(server).map_err(|e| Fault::new(Step::Name, server, format!("is no address: {e}")))?;
        let host = url.host_str().unwrap_or_default();
        let port = url.port().unwrap_or(if url.scheme() == "ldaps" { 636 } else { 389 });
        let addresses = reach::resolve(host, port, self.0.private).await.map_err(|e| Fault::new(Step::Name, server, e.to_string()))?;
        let stream = tcp(server, &addresses).await?;
        let settings = &self.0.ldap;
        let encrypted = url.scheme() == "ldaps" || settings.starttls;
        let mut options = LdapConnSettings::new().set_starttls(settings.starttls).set_std_stream(StdStream::Tcp(stream));
        if let Some(tls) = &self.0.tls {
            options = options.set_config(tls.clone());
        }
        let opened = tokio::time::timeout(self.timeout(), LdapConnAsync::from_url_with_settings(options, &url)).await;
        let step = if encrypted { Step::Tls } else { Step::Connect };
        match opened {
            Ok(Ok((connection, ldap))) => {
                self.0.tracker.spawn(async move {
                    if let Err(error) = connection.drive().await {
                        tracing::debug!(error = %error, "a connection to a directory ended");
                    }
                });
                Ok(ldap)
            }
            Ok(Err(error)) => Err(explain::of(step, server, &error)),
            Err(_) => Err(Fault::new(step, server, "the server took the connection, but says nothing: is this its LDAP port?")),
        }
    }
}

async fn tcp(server: &str, addresses: &[std::net::SocketAddr]) -> Result<std::net::TcpStream, Fault> {
    let mut last = Fault::new(Step::Connect, server, "there is no address");
    for address in addresses {
        last = match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return stream.into_std().map_err(|e| Fault::new(Step::Connect, server, e.to_string()));
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Fault::new(Step::Connect, server, format!("nothing listens at {address}: check the port, and that the directory runs"))
            }
            Ok(Err(error)) => Fault::new(Step::Connect, server, format!("{address} cannot be reached: {error}")),
            Err(_) => Fault::new(Step::Connect, server, format!("{address} does not answer: a firewall may be in between, or the machine is off")),
        };
    }
    Err(last)
}
