//! Whether the sign-in of somebody who has a session open still stands, from identity.

use gantry_auth::Caller;
use gantry_contract::proto::identity::StandingRequest;
use gantry_contract::proto::identity::tokens_client::TokensClient;
use gantry_host::Host;
use gantry_kernel::{OffsetDateTime, Problem};

/// # Errors
/// When identity cannot be asked: it is not known then.
pub async fn stands(host: &Host, caller: &Caller) -> Result<bool, Problem> {
    if lent_is_over(caller, host.env.now()) {
        return Ok(false);
    }
    let asked = StandingRequest { token_id: caller.token.clone(), session: caller.session.clone().unwrap_or_default(), subject: caller.subject.clone() };
    let mut request = tonic::Request::new(asked);
    request.set_timeout(std::time::Duration::from_secs(3));
    Ok(TokensClient::new(host.channel("identity")?).standing(request).await?.into_inner().stands)
}

/// Somebody else's rights are lent for as long as the token says; nothing else ends them.
fn lent_is_over(caller: &Caller, now: OffsetDateTime) -> bool {
    caller.acting.is_some() && caller.session.is_none() && now >= caller.until
}
