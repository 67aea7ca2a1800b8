//! The authorization endpoint's decision for a request that is well formed: a code, a page, or an error.

use gantry_kernel::Problem;
use time::Duration;

use crate::app::App;
use crate::app::secrets::{fresh, kept};
use crate::domain::authorize::{Prompt, Request};
use crate::error::fault;
use crate::store::codes::{self, Code};
use crate::store::sessions::Session;

/// Long enough for a redirect, too short for a thief.
const CODE_LIFE: Duration = Duration::seconds(60);

#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send the browser back with a code.
    Grant,
    /// Show the sign-in page.
    SignIn,
    /// `prompt=none`, but somebody would have to do something.
    LoginRequired,
}

/// What the session at hand is good for. `not_before`: the sign-in must be at least that recent, because the request
/// asked for a new one and this is its second round.
pub fn next(request: &Request, session: Option<&Session>, not_before: Option<i64>, now: time::OffsetDateTime) -> Next {
    let fresh_enough = |session: &Session| {
        let age = (now - session.auth_time).whole_seconds();
        let young = request.max_age.is_none_or(|max| age <= max);
        let signed_in_again = match (request.prompt, not_before) {
            (Prompt::Login, Some(at)) => session.auth_time.unix_timestamp() >= at,
            (Prompt::Login, None) => false,
            (Prompt::AsNeeded | Prompt::Never, _) => true,
        };
        young && signed_in_again
    };
    match (session.is_some_and(fresh_enough), request.prompt) {
        (true, _) => Next::Grant,
        (false, Prompt::Never) => Next::LoginRequired,
        (false, Prompt::AsNeeded | Prompt::Login) => Next::SignIn,
    }
}

impl App {
    /// # Errors
    /// When the database refuses.
    pub async fn issue_code(&self, request: &Request, session: &Session) -> Result<String, Problem> {
        let code = fresh(&self.host.env, "gc_");
        let row = Code {
            family: self.host.env.uuid(),
            client_id: request.client_id.clone(),
            user_id: session.user_id,
            session_id: session.id,
            redirect_uri: request.redirect_uri.clone(),
            challenge: request.challenge.clone(),
            nonce: request.nonce.clone(),
            scope: request.scope.clone(),
            auth_time: session.auth_time,
            amr: session.amr.clone(),
            expires_at: self.now() + CODE_LIFE,
        };
        codes::insert(self.pool(), &kept(&code), &row).await.map_err(fault)?;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::{OffsetDateTime, Uuid};

    use super::*;

    fn request(prompt: Prompt, max_age: Option<i64>) -> Request {
        Request {
            client_id: "shop".into(),
            redirect_uri: "https://shop.example/cb".into(),
            scope: "openid".into(),
            state: None,
            nonce: None,
            challenge: String::new(),
            prompt,
            max_age,
            login_hint: None,
        }
    }

    fn session(auth_time: OffsetDateTime) -> Session {
        Session {
            id: Uuid::nil(),
            user_id: Uuid::nil(),
            created_at: auth_time,
            last_seen_at: auth_time,
            auth_time,
            amr: "pwd".into(),
            expires_at: auth_time + Duration::hours(12),
            from_addr: String::new(),
            user_agent: String::new(),
        }
    }

    #[test]
    fn a_session_is_enough_unless_more_is_asked() {
        let t0 = OffsetDateTime::UNIX_EPOCH + Duration::days(1);
        let (now, it) = (t0 + Duration::minutes(10), session(t0));
        assert_eq!(next(&request(Prompt::AsNeeded, None), Some(&it), None, now), Next::Grant);
        assert_eq!(next(&request(Prompt::AsNeeded, None), None, None, now), Next::SignIn);
        assert_eq!(next(&request(Prompt::Never, None), None, None, now), Next::LoginRequired);
        assert_eq!(next(&request(Prompt::Never, None), Some(&it), None, now), Next::Grant);
        assert_eq!(next(&request(Prompt::AsNeeded, Some(60)), Some(&it), None, now), Next::SignIn);
        assert_eq!(next(&request(Prompt::Never, Some(60)), Some(&it), None, now), Next::LoginRequired);
    }

    #[test]
    fn prompt_login_wants_a_sign_in_after_the_request() {
        let t0 = OffsetDateTime::UNIX_EPOCH + Duration::days(1);
        let it = session(t0);
        let asked = request(Prompt::Login, None);
        assert_eq!(next(&asked, Some(&it), None, t0), Next::SignIn);
        assert_eq!(next(&asked, Some(&it), Some(t0.unix_timestamp() + 1), t0), Next::SignIn);
        assert_eq!(next(&asked, Some(&it), Some(t0.unix_timestamp()), t0), Next::Grant);
    }
}
