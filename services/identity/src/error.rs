//! Where refusals become answers: problems for the REST API, OAuth errors (RFC 6749 section 5.2) for the OAuth endpoints.

use axum::response::{IntoResponse, Response};
use gantry_es_pg::{ExecuteError, KeyringError};
use gantry_host::{AsProblem, from_execute};
use gantry_kernel::{Kind, Problem};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::domain::upstream::{self, link};
use crate::domain::{binding, client, factor, membership, org, robot, role, teams, user};

impl AsProblem for user::Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Unknown => Problem::new(Kind::NotFound, "request.not_found", self.to_string()),
            Self::Exists => Problem::conflict("identity.user_exists", self.to_string()),
            Self::Suspended => Problem::conflict("identity.user_suspended", self.to_string()),
            Self::Same => Problem::invalid("from", self.to_string()),
        }
    }
}

impl AsProblem for org::Refusal {
    fn as_problem(&self) -> Problem {
        let text = self.to_string();
        match self {
            Self::Unknown | Self::NoProject(_) | Self::NoSpace(_) => Problem::new(Kind::NotFound, "request.not_found", text),
            Self::Exists => Problem::conflict("identity.name_taken", text),
            Self::ProjectExists(_) | Self::SpaceExists(_) => Problem::conflict("identity.name_taken", text),
            Self::TooMany => Problem::new(Kind::QuotaExceeded, "identity.too_many", text),
            Self::OwnerStays => Problem::conflict("identity.owner_stays", text),
        }
    }
}

impl AsProblem for factor::Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Unknown => Problem::new(Kind::NotFound, "request.not_found", self.to_string()),
            Self::TooMany => Problem::conflict("identity.too_many_factors", self.to_string()),
            Self::NothingToRecover => Problem::conflict("identity.no_factor", self.to_string()),
        }
    }
}

impl AsProblem for crate::domain::policy::Refusal {
    fn as_problem(&self) -> Problem {
        match *self {}
    }
}

impl AsProblem for crate::domain::branding::Refusal {
    fn as_problem(&self) -> Problem {
        match *self {}
    }
}

impl AsProblem for crate::domain::certificate::Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Unknown => Problem::new(Kind::NotFound, "request.not_found", self.to_string()),
            Self::Exists => Problem::conflict("identity.certificate_taken", self.to_string()),
        }
    }
}

impl AsProblem for binding::Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Unknown => Problem::new(Kind::NotFound, "request.not_found", self.to_string()),
            Self::Exists => Problem::conflict("identity.binding_exists", self.to_string()),
        }
    }
}

impl AsProblem for upstream::Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Unknown => Problem::new(Kind::NotFound, "request.not_found", self.to_string()),
            Self::Exists => Problem::conflict("identity.name_taken", self.to_string()),
            Self::OtherKind => Problem::invalid("settings.connection", self.to_string()),
            Self::Reserved(_) => Problem::invalid("name", self.to_string()),
        }
    }
}

impl AsProblem for link::Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Unknown => Problem::new(Kind::NotFound, "request.not_found", self.to_string()),
            Self::Exists => Problem::conflict("identity.link_exists", self.to_string()),
        }
    }
}

impl AsProblem for role::Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Unknown => Problem::new(Kind::NotFound, "request.not_found", self.to_string()),
            Self::Exists => Problem::conflict("identity.name_taken", self.to_string()),
            Self::Permissions => Problem::invalid("permissions", self.to_string()),
        }
    }
}

impl AsProblem for teams::Refusal {
    fn as_problem(&self) -> Problem {
        let text = self.to_string();
        match self {
            Self::Unknown => Problem::new(Kind::NotFound, "request.not_found", text),
            Self::NoParent => Problem::invalid("parent", text),
            Self::Exists(_) => Problem::conflict("identity.name_taken", text),
            Self::Circle(_) => Problem::conflict("identity.team_circle", text),
            Self::TooDeep | Self::TooMany => Problem::new(Kind::QuotaExceeded, "identity.too_many", text),
            Self::HasTeams(_) => Problem::conflict("identity.team_has_teams", text),
        }
    }
}

impl AsProblem for membership::Refusal {
    fn as_problem(&self) -> Problem {
        match *self {}
    }
}

impl AsProblem for robot::Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Unknown => Problem::new(Kind::NotFound, "request.not_found", self.to_string()),
            Self::Exists => Problem::conflict("identity.name_taken", self.to_string()),
        }
    }
}

impl AsProblem for client::Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Unknown | Self::NoSecret => Problem::new(Kind::NotFound, "request.not_found", self.to_string()),
            Self::Exists => Problem::conflict("identity.client_exists", self.to_string()),
            Self::TooManySecrets => Problem::conflict("identity.too_many_secrets", self.to_string()),
            Self::LastSecret => Problem::conflict("identity.last_secret", self.to_string()),
        }
    }
}

/// What an execution that did not happen looks like to the caller. Claims of personal names are hashes: not to be shown.
pub fn refused<R: std::error::Error + AsProblem + Send + Sync + 'static>(error: ExecuteError<R>) -> Problem {
    match error {
        ExecuteError::NameTaken { scope, .. } if scope == "username" => Problem::conflict("identity.name_taken", "this user name is taken"),
        ExecuteError::NameTaken { scope, .. } if scope == "email" => Problem::conflict("identity.email_taken", "this e-mail address is in use"),
        ExecuteError::NameTaken { scope, .. } if scope == "binding" => Problem::conflict("identity.binding_exists", "this role is given already"),
        ExecuteError::NameTaken { name, .. } => Problem::conflict("identity.name_taken", format!("the name `{name}` is taken")),
        error => from_execute(error),
    }
}

/// The database or the keyring did not do its part.
pub fn fault(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Problem {
    Problem::internal(error)
}

/// A sealed value cannot be read.
pub fn unsealed(error: KeyringError) -> Problem {
    match error {
        KeyringError::Erased => Problem::new(Kind::NotFound, "request.not_found", "this user was erased"),
        error @ (KeyringError::Damaged | KeyringError::MasterKey | KeyringError::Sql(_)) => Problem::internal(error),
    }
}

/// An answer of an OAuth endpoint that says no.
#[derive(Debug)]
pub struct OAuthError {
    pub status: StatusCode,
    pub error: &'static str,
    pub description: String,
    /// `WWW-Authenticate`: how to prove who is asking.
    pub challenge: Option<&'static str>,
    pub problem: Option<Box<Problem>>,
}

impl OAuthError {
    pub fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, description: description.into(), challenge: None, problem: None }
    }

    pub fn invalid_request(description: impl Into<String>) -> Self {
        Self::new("invalid_request", description)
    }

    pub fn invalid_grant(description: impl Into<String>) -> Self {
        Self::new("invalid_grant", description)
    }

    pub fn invalid_client() -> Self {
        let challenge = Some("Basic realm=\"gantry\"");
        Self { status: StatusCode::UNAUTHORIZED, challenge, ..Self::new("invalid_client", "the client is not known or its secret is wrong") }
    }
}

impl From<Problem> for OAuthError {
    fn from(problem: Problem) -> Self {
        let error = match problem.kind {
            Kind::TooMany | Kind::Unavailable => "temporarily_unavailable",
            Kind::Internal => "server_error",
            Kind::Unauthenticated => "invalid_grant",
            Kind::Invalid | Kind::Forbidden | Kind::NotFound | Kind::Conflict | Kind::Stale | Kind::TooLarge | Kind::QuotaExceeded => "invalid_request",
        };
        let status = if problem.kind == Kind::Unauthenticated { StatusCode::BAD_REQUEST } else { problem.kind.status() };
        Self { status, error, description: problem.detail.clone(), challenge: None, problem: Some(Box::new(problem)) }
    }
}

/// `text` with the characters only that an `error_description` may have (RFC 6749 section 5.2).
pub fn described(text: &str) -> String {
    let fine = |letter: char| match letter {
        '"' => '\'',
        '\\' => '/',
        ' '..='~' => letter,
        _ => '?',
    };
    text.chars().map(fine).collect()
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": described(&self.description) });
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(problem) = self.problem {
            if let Some(after) = problem.retry_after {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
            }
            // The host logs the cause.
            response.extensions_mut().insert(*problem);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_has_no_character_that_it_may_not_have() {
        assert_eq!(described("must be a JWK set: {\"keys\": [...]}"), "must be a JWK set: {'keys': [...]}");
        assert_eq!(described("a\\b\r\n\u{4f60} `c`"), "a/b??? `c`");
    }
}
