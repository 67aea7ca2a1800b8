//! Tokens and passwords for another registry: asked for when it challenges, kept while they are good.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gantry_host::reach;
use http::header;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::{Remote, RemoteError, Result};
use crate::domain::challenge::Challenge;

/// A token is good for a minute if it does not say (Docker's token specification, `expires_in`).
const LIFE: u64 = 60;
const MOST_TOKENS: usize = 1_000;
const LARGEST: usize = 256 << 10;

/// What a request needs, so that one token serves the whole piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    Nothing,
    Catalog,
    Pull(String),
    /// To a repository, perhaps with content of another one.
    Push(String, Option<String>),
    Delete(String),
}

impl Scope {
    fn texts(&self) -> Vec<String> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Catalog => vec!["registry:catalog:*".into()],
            Self::Pull(name) => vec![format!("repository:{name}:pull")],
            Self::Push(name, None) => vec![format!("repository:{name}:pull,push")],
            Self::Push(name, Some(from)) => vec![format!("repository:{name}:pull,push"), format!("repository:{from}:pull")],
            Self::Delete(name) => vec![format!("repository:{name}:pull,push,delete")],
        }
    }
}

pub(super) struct Token {
    text: String,
    until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Remote {
    /// With what is known to open the door. Nothing goes to another host than the registry's own.
    pub(super) fn authorized(&self, scope: &Scope, request: reqwest::RequestBuilder, url: &Url) -> reqwest::RequestBuilder {
        if url.origin() != self.0.base.origin() {
            return request;
        }
        let key = scope.texts().join(" ");
        let tokens = self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = tokens.get(&key).filter(|t| t.until > Instant::now()) {
            return request.bearer_auth(&token.text);
        }
        match &self.0.credentials {
            Some((user, password)) if self.0.basic.load(Ordering::Relaxed) => request.basic_auth(user, Some(password.expose())),
            _ => request,
        }
    }

    /// Gets what a 401 asks for.
    pub(super) async fn answer_challenge(&self, scope: &Scope, refused: &reqwest::Response) -> Result<()> {
        let headers = refused.headers().get_all(header::WWW_AUTHENTICATE);
        let texts: Vec<&str> = headers.iter().filter_map(|v| v.to_str().ok()).collect();
        let denied = || RemoteError::Denied(self.0.host.clone());
        match Challenge::parse(&texts.join(", ")) {
            Some(Challenge::Basic) if self.0.credentials.is_some() => {
                self.0.basic.store(true, Ordering::Relaxed);
                Ok(())
            }
            Some(Challenge::Bearer { realm, service, scope: asked }) => {
                let token = self.token(scope, &realm, service, asked).await?;
                let mut tokens = self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner);
                if tokens.len() >= MOST_TOKENS {
                    tokens.clear();
                }
                tokens.insert(scope.texts().join(" "), token);
                Ok(())
            }
            Some(Challenge::Basic) | None => Err(denied()),
        }
    }

    async fn token(&self, scope: &Scope, realm: &str, service: Option<String>, asked: Option<String>) -> Result<Token> {
        let bad = |why: &str| RemoteError::Answer(self.0.host.clone(), format!("the token service `{realm}`: {why}"));
        let url = Url::parse(realm).map_err(|_| bad("is not an address"))?;
        if url.scheme() != "https" && self.0.base.scheme() == "https" {
            return Err(bad("is not https"));
        }
        reach::check_url(&url, self.0.private)?;
        // Some registries name repositories in another way in their scopes: what they ask for on a pull is right.
        let scopes = match (scope, asked) {
            (Scope::Pull(_) | Scope::Nothing | Scope::Catalog, Some(asked)) => asked.split(' ').map(str::to_owned).collect(),
            _ => scope.texts(),
        };
        let mut query: Vec<(&str, String)> = scopes.into_iter().map(|s| ("scope", s)).collect();
        query.extend(service.map(|s| ("service", s)));
        let mut request = self.0.http.get(url).query(&query);
        if let Some((user, password)) = &self.0.credentials {
            request = request.basic_auth(user, Some(password.expose()));
        }
        let response = self.judge(self.execute(request).await?).await?;
        let body = self.whole(response, LARGEST).await?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| bad("its answer is not a token"))?;
        let text = answer.token.or(answer.access_token).filter(|t| !t.is_empty()).ok_or_else(|| bad("its answer has no token"))?;
        // A little earlier than it says: a request takes time, too.
        let life = Duration::from_secs(answer.expires_in.unwrap_or(LIFE).clamp(1, 24 * 3600) * 4 / 5);
        Ok(Token { text, until: Instant::now() + life })
    }
}
