//! The authorization endpoint's decision for a request that is well formed: a code, a page, or an error.

use std::collections::BTreeSet;

use gantry_kernel::{Problem, UserId};
use time::Duration;

use crate::app::App;
use crate::app::clients::Client;
use crate::app::people::subject;
use crate::app::secrets::{fresh, kept};
use crate::domain::assurance::{asked, level};
use crate::domain::authorize::Request;
use crate::error::fault;
use crate::store::codes::{self, Code};
use crate::store::sessions::Session;
use crate::store::{consents, directory};

/// Long enough for a redirect, too short for a thief.
const CODE_LIFE: Duration = Duration::seconds(60);
/// As long as a person may take to sign in and agree.
const MARK_SECS: i64 = 1_800;

#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send the browser back with a code.
    Grant,
    /// Show the sign-in page.
    SignIn,
    /// Ask for a second factor.
    StepUp,
    /// Ask the person what the client may have.
    Consent,
    /// An error for the client (OpenID Connect Core 3.1.2.6).
    Refuse(&'static str),
}

/// Who must be signed in, as a request says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    #[default]
    Anybody,
    User(UserId),
    /// Whom an `id_token_hint` means that is not ours, or of a key that is gone, nobody knows.
    Unclear,
}

/// What the decision looks at besides the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    pub session: Option<&'a Session>,
    /// When this request came first; it is back from a page of ours.
    pub first_seen: Option<i64>,
    pub expected: Expected,
    /// When the person agreed to all that is asked; `None`: not yet. `Some(i64::MAX)`: need not be asked.
    pub agreed_at: Option<i64>,
}

pub fn next(request: &Request, facts: Facts<'_>, now: time::OffsetDateTime) -> Next {
    let since = |at: i64| facts.first_seen.is_some_and(|first| at >= first);
    let good = |session: &&Session| {
        let age = (now - session.auth_time).whole_seconds();
        let again = since(session.auth_time.unix_timestamp());
        // `max_age=0` means `prompt=login` (OpenID Connect Core 3.1.2.1), also within the same second.
        let young = request.max_age.is_none_or(|max| (max > 0 && age <= max) || again);
        let right_person = match facts.expected {
            Expected::Anybody => true,
            Expected::User(user) => user.0 == session.user_id,
            // Nobody is vouched for unseen. With a page people see who is signed in, and applications keep hints for long.
            Expected::Unclear => !request.prompt.none,
        };
        young && (again || !request.prompt.login) && right_person
    };
    let Some(session) = facts.session.filter(good) else {
        return if request.prompt.none { Next::Refuse("login_required") } else { Next::SignIn };
    };
    // What is essential must hold; what is only preferred is tried once, with what the person has.
    let essential = !request.claims.acr.is_empty() && asked(&request.claims.acr.join(" ")).is_none_or(|wanted| level(&session.amr) < wanted);
    let preferred = asked(&request.acr_values.join(" ")).is_some_and(|wanted| level(&session.amr) < wanted);
    if (essential || preferred) && facts.first_seen.is_none() && !request.prompt.none {
        return Next::StepUp;
    }
    if essential {
        return Next::Refuse("unmet_authentication_requirements");
    }
    match facts.agreed_at {
        Some(i64::MAX) if !request.prompt.consent => Next::Grant,
        Some(at) if !request.prompt.consent || since(at) => Next::Grant,
        Some(_) | None if request.prompt.none => Next::Refuse("consent_required"),
        Some(_) | None => Next::Consent,
    }
}

impl App {
    /// When the person agreed to all that the request asks for; `Some(i64::MAX)`: this client need not ask.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn agreed(&self, client: &Client, request: &Request, user: UserId) -> Result<Option<i64>, Problem> {
        let trusted = match client.org {
            _ if client.settings.consent_required => false,
            None => true,
            // An organisation vouches for its clients to its own people only.
            Some(org) => directory::is_member(self.orm(), org, user.0).await.map_err(fault)?,
        };
        if trusted && !request.prompt.consent {
            return Ok(Some(i64::MAX));
        }
        let given = consents::get(self.pool(), user, &client.id).await.map_err(fault)?;
        let asked = asked_scopes(request);
        Ok(given.filter(|c| asked.iter().all(|s| c.scope.split(' ').any(|g| g == *s))).map(|c| c.granted_at.unix_timestamp()))
    }

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
            claims: serde_json::to_string(&request.claims).map_err(fault)?,
            dpop_jkt: request.dpop_jkt.clone(),
        };
        codes::insert(self.pool(), &kept(&code), &row).await.map_err(fault)?;
        Ok(code)
    }

    /// The person that a request names by a claim, or by an ID token of ours as a hint (OpenID Connect Core 3.1.2.2).
    pub fn hinted(&self, request: &Request) -> Expected {
        #[derive(serde::Deserialize)]
        struct Hint {
            sub: String,
        }
        let sub = match (&request.claims.sub, &request.id_token_hint) {
            (Some(sub), _) => sub.clone(),
            (None, Some(token)) => match self.keys.verify_hint::<Hint>(token, &self.issuer) {
                Some(hint) => hint.sub,
                None => return Expected::Unclear,
            },
            (None, None) => return Expected::Anybody,
        };
        // Somebody we do not know is nobody who could be signed in.
        Expected::User(sub.strip_prefix("user:").and_then(|id| id.parse().ok()).unwrap_or(UserId(gantry_kernel::Uuid::nil())))
    }

    /// Marks an address of ours that a client's request comes back to with the time it came first. Nobody else can make
    /// the mark, and an old one counts for nothing.
    pub fn mark(&self, client: &str, at: i64) -> String {
        format!("{at}.{}", self.forms.field(&format!("authorize {at} {client}")))
    }

    pub fn marked(&self, client: &str, mark: &str) -> Option<i64> {
        let (at, seal) = mark.split_once('.')?;
        let at: i64 = at.parse().ok()?;
        let young = (0..=MARK_SECS).contains(&(self.now().unix_timestamp() - at));
        (young && self.forms.fits(&format!("authorize {at} {client}"), seal)).then_some(at)
    }

    /// Records what a person agreed to.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn agree(&self, user: UserId, request: &Request, from: &str) -> Result<(), Problem> {
        let asked = asked_scopes(request);
        let scope = asked.iter().copied().collect::<Vec<_>>().join(" ");
        consents::put(self.pool(), user, &request.client_id, &scope, self.now()).await.map_err(fault)?;
        let (actor, object) = (subject(user), format!("client:{}", request.client_id));
        self.record(crate::app::context::Fact { actor: &actor, action: "consent.given", object: &object, result: "ok", reason: &scope, from }).await;
        Ok(())
    }
}

/// The scopes of a request with those of single claims.
pub fn asked_scopes(request: &Request) -> BTreeSet<&str> {
    request.scope.split(' ').chain(request.claims.scopes()).collect()
}

#[cfg(test)]
mod tests {
    use gantry_kernel::{OffsetDateTime, Uuid};

    use super::*;
    use crate::domain::authorize::Prompt;

    fn request(prompt: Prompt, max_age: Option<i64>) -> Request {
        Request {
            client_id: "shop".into(),
            redirect_uri: "https://shop.example/cb".into(),
            response_mode: Default::default(),
            scope: "openid".into(),
            state: None,
            nonce: None,
            challenge: String::new(),
            prompt,
            max_age,
            login_hint: None,
            id_token_hint: None,
            acr_values: vec![],
            claims: Default::default(),
            dpop_jkt: None,
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

    const ANY: Prompt = Prompt { none: false, login: false, consent: false };
    const NONE: Prompt = Prompt { none: true, ..ANY };
    const LOGIN: Prompt = Prompt { login: true, ..ANY };
    const CONSENT: Prompt = Prompt { consent: true, ..ANY };
    const T0: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn facts(session: Option<&Session>) -> Facts<'_> {
        Facts { session, agreed_at: Some(i64::MAX), ..Facts::default() }
    }

    #[test]
    fn a_session_is_enough_unless_more_is_asked() {
        let (now, it) = (T0 + Duration::minutes(10), session(T0));
        assert_eq!(next(&request(ANY, None), facts(Some(&it)), now), Next::Grant);
        assert_eq!(next(&request(ANY, None), facts(None), now), Next::SignIn);
        assert_eq!(next(&request(NONE, None), facts(None), now), Next::Refuse("login_required"));
        assert_eq!(next(&request(NONE, None), facts(Some(&it)), now), Next::Grant);
        assert_eq!(next(&request(ANY, Some(60)), facts(Some(&it)), now), Next::SignIn);
        assert_eq!(next(&request(NONE, Some(60)), facts(Some(&it)), now), Next::Refuse("login_required"));
    }

    #[test]
    fn prompt_login_wants_a_sign_in_after_the_request() {
        let it = session(T0 + Duration::days(1));
        let at = it.auth_time.unix_timestamp();
        for asked in [request(LOGIN, None), request(ANY, Some(0))] {
            let later = it.auth_time + Duration::seconds(5);
            let back = |first| next(&asked, Facts { first_seen: first, ..facts(Some(&it)) }, later);
            assert_eq!(back(None), Next::SignIn);
            assert_eq!(back(Some(at + 1)), Next::SignIn);
            assert_eq!(back(Some(at)), Next::Grant);
        }
    }

    #[test]
    fn consent_is_asked_once_and_again_when_the_client_wants_it() {
        let it = session(T0);
        let with = |agreed_at, first_seen| Facts { session: Some(&it), agreed_at, first_seen, expected: Expected::Anybody };
        assert_eq!(next(&request(ANY, None), with(None, None), T0), Next::Consent);
        assert_eq!(next(&request(NONE, None), with(None, None), T0), Next::Refuse("consent_required"));
        assert_eq!(next(&request(ANY, None), with(Some(5), None), T0), Next::Grant);
        assert_eq!(next(&request(CONSENT, None), with(Some(5), None), T0), Next::Consent);
        assert_eq!(next(&request(CONSENT, None), with(Some(5), Some(6)), T0), Next::Consent);
        assert_eq!(next(&request(CONSENT, None), with(Some(6), Some(6)), T0), Next::Grant);
    }

    #[test]
    fn the_right_person_and_the_asked_strength_are_needed() {
        let it = session(T0);
        let other = Facts { expected: Expected::User(UserId(Uuid::max())), ..facts(Some(&it)) };
        assert_eq!(next(&request(NONE, None), other, T0), Next::Refuse("login_required"));
        let unclear = Facts { expected: Expected::Unclear, ..facts(Some(&it)) };
        assert_eq!(next(&request(NONE, None), unclear, T0), Next::Refuse("login_required"), "not without a page");
        assert_eq!(next(&request(ANY, None), unclear, T0), Next::Grant, "an old hint locks nobody out");
        let strong = Request { claims: crate::domain::claims::ClaimsRequest { acr: vec!["2".into()], ..Default::default() }, ..request(ANY, None) };
        assert_eq!(next(&strong, facts(Some(&it)), T0), Next::StepUp);
        let preferred = Request { acr_values: vec!["2".into(), "1".into()], ..request(ANY, None) };
        assert_eq!(next(&preferred, facts(Some(&it)), T0), Next::Grant);
        let preferred = Request { acr_values: vec!["2".into()], ..request(ANY, None) };
        assert_eq!(next(&preferred, facts(Some(&it)), T0), Next::StepUp);
        assert_eq!(next(&preferred, Facts { first_seen: Some(0), ..facts(Some(&it)) }, T0), Next::Grant);
        let tried = Facts { first_seen: Some(0), ..facts(Some(&it)) };
        assert_eq!(next(&strong, tried, T0), Next::Refuse("unmet_authentication_requirements"));
        let two = Session { amr: "pwd otp mfa".into(), ..it.clone() };
        assert_eq!(next(&strong, facts(Some(&two)), T0), Next::Grant);
    }
}
