//! What a document wants done after a container's start and before its stop: a command inside, a request, a pause.

use std::time::Duration;

use gantry_contract::proto::scheduler::Hook;
use gantry_cri::Cri;

use super::probe;
use crate::domain::health::{Check, Request};

/// How long what follows a start may take.
pub const POST_START: Duration = Duration::from_secs(60);

/// One after the other, all within `limit`. `address` is the instance's; requests need it.
///
/// # Errors
/// A sentence about the first that failed.
pub async fn run(cri: &Cri, container: &str, address: &str, hooks: &[Hook], limit: Duration) -> Result<(), String> {
    if hooks.is_empty() {
        return Ok(());
    }
    let all = async {
        for hook in hooks {
            one(cri, container, address, hook, limit).await?;
        }
        Ok(())
    };
    tokio::time::timeout(limit, all).await.unwrap_or_else(|_| Err(format!("not done within {} s", limit.as_secs())))
}

async fn one(cri: &Cri, container: &str, address: &str, hook: &Hook, limit: Duration) -> Result<(), String> {
    match hook.kind.as_str() {
        "sleep" => {
            tokio::time::sleep(Duration::from_secs(hook.seconds.into())).await;
            Ok(())
        }
        "http" => {
            let port = u16::try_from(hook.port).map_err(|_| format!("{} is no port", hook.port))?;
            let request = Request::new(port, &hook.path, hook.https, &hook.host, &hook.headers);
            probe::ask(cri, container, address, &Check::Http(request), limit).await
        }
        _ => probe::ask(cri, container, address, &Check::Command(hook.command.clone()), limit).await,
    }
}
