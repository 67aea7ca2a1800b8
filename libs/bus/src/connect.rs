//! The connection to NATS, and the least it must offer.

use async_nats::jetstream;
use thiserror::Error;

/// JetStream features that are relied on (ordered consumers by several subjects, message TTL) came with 2.11.
const OLDEST: (u32, u32) = (2, 11);
/// The largest message a server should take, in bytes: what a request may bring (1 MiB by default) grows as it becomes an event.
const LARGEST: usize = 8_000_000;

#[derive(Debug, Error)]
pub enum BusError {
    #[error("the NATS server cannot be reached")]
    Connect(#[from] async_nats::ConnectError),
    #[error("the NATS server has version {0}; 2.11 or newer is needed")]
    TooOld(String),
    #[error("JetStream refused: {0}")]
    JetStream(String),
}

/// A connection with the subject prefix of this installation. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    pub client: async_nats::Client,
    pub js: jetstream::Context,
    /// First token of every subject; also names the streams.
    pub prefix: String,
}

impl Bus {
    /// Connects (and goes on connecting whenever the server goes away).
    ///
    /// # Errors
    /// When the server cannot be reached now or is older than 2.11.
    pub async fn connect(url: &str, prefix: &str, name: &str) -> Result<Self, BusError> {
        let (options, address) = options(url, name)?;
        let client = options.connect(address).await?;
        let version = client.server_info().version.clone();
        let mut parts = version.split('.').map(|p| p.parse::<u32>().unwrap_or(0));
        if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < OLDEST {
            return Err(BusError::TooOld(version));
        }
        if let Some(fault) = too_small(client.server_info().max_payload) {
            tracing::warn!(client = name, "{fault}");
        }
        Ok(Self::of(client, prefix))
    }

    /// The same without waiting for the server: it is used as soon as it can be reached. Its version is not looked at.
    ///
    /// # Errors
    /// When the address is none.
    pub async fn when_there(url: &str, prefix: &str, name: &str) -> Result<Self, BusError> {
        let (options, address) = options(url, name)?;
        Ok(Self::of(options.retry_on_initial_connect().connect(address).await?, prefix))
    }

    fn of(client: async_nats::Client, prefix: &str) -> Self {
        Self { js: jetstream::new(client.clone()), client, prefix: prefix.to_owned() }
    }
}

/// What an operator must know of a server that takes messages of so many bytes.
fn too_small(max_payload: usize) -> Option<String> {
    (max_payload < LARGEST).then(|| {
        format!("the NATS server takes messages of {max_payload} bytes at most: a larger event would hold up all after it; set `max_payload: 8MB` there")
    })
}

fn options(url: &str, name: &str) -> Result<(async_nats::ConnectOptions, async_nats::ServerAddr), BusError> {
    let options = async_nats::ConnectOptions::new().name(name);
    let address: async_nats::ServerAddr = url.parse().map_err(|e: std::io::Error| BusError::JetStream(e.to_string()))?;
    // The client takes a user and password in the address apart, but does not send them.
    let options = match (address.username(), address.password()) {
        (Some(user), Some(password)) => options.user_and_password(user.to_owned(), password.to_owned()),
        _ => options,
    };
    Ok((options, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_with_the_default_size_of_messages_is_told_of() {
        assert!(too_small(1 << 20).is_some_and(|fault| fault.contains("1048576 bytes") && fault.contains("max_payload")));
        assert_eq!((too_small(8 << 20), too_small(8_000_000)), (None, None));
    }
}
