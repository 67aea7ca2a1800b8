//! People at their browsers: page, password, code, token; each step as a browser or a client makes it.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ask::{self, Answer, Talk};

pub const PASSWORD: &str = "tr4ck-Pumice_olive";
/// Verifier of all requests; nobody is to be kept out here.
const VERIFIER: &str = "a-verifier-of-forty-three-characters-or-more-is-what-pkce-wants";

/// Where people sign in to.
#[derive(Clone, Copy)]
pub struct Party<'a> {
    pub client: &'a str,
    pub secret: Option<&'a str>,
    pub redirect: &'a str,
    pub scope: &'a str,
}

pub const CONSOLE: Party<'static> =
    Party { client: "gantry-console", secret: None, redirect: "https://gantry.bench/auth/callback", scope: "openid profile email offline_access api" };

/// A browser with its cookies.
pub struct Visit {
    from: String,
    cookies: Vec<(String, String)>,
}

/// What became of a password.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    In,
    /// 429 or 503: come back later.
    Busy,
}

impl Visit {
    /// `from`: the address that the gateway would have seen.
    pub fn new(from: &str) -> Self {
        Self { from: from.to_owned(), cookies: Vec::new() }
    }

    /// A browser in which somebody is signed in.
    pub fn with_session(from: &str, cookie: &str) -> Self {
        Self { from: from.to_owned(), cookies: vec![("__Host-gantry_session".to_owned(), cookie.to_owned())] }
    }

    fn headers(&self) -> Vec<(&str, String)> {
        let cookies = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("; ");
        let mut all = vec![("x-forwarded-for", self.from.clone()), ("user-agent", "gantry bench".to_owned())];
        if !cookies.is_empty() {
            all.push(("cookie", cookies));
        }
        all
    }

    async fn ask<'t>(&mut self, talk: &'t mut Talk, method: &str, path: &str, fields: &[(&str, &str)]) -> Result<Answer<'t>> {
        let headers = self.headers();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let request = if method == "GET" { ask::get(path, &headers) } else { ask::post_form(path, &headers, fields) };
        let answer = talk.ask(&request).await?;
        for cookie in answer.headers("set-cookie") {
            let Some((name, value)) = cookie.split(';').next().and_then(|c| c.split_once('=')) else { continue };
            self.cookies.retain(|(n, _)| n != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(answer)
    }

    /// The sign-in page: its seal, and where it leads.
    pub async fn page(&mut self, talk: &mut Talk, party: Party<'_>) -> Result<(String, String)> {
        let to = authorize(party);
        let encoded: String = url::form_urlencoded::byte_serialize(to.as_bytes()).collect();
        let page = self.ask(talk, "GET", &format!("/login?continue={encoded}"), &[]).await?.expect(200)?;
        Ok((field(page.body, "csrf")?, to))
    }

    /// The page's answer with a name and password.
    pub async fn submit(&mut self, talk: &mut Talk, csrf: &str, to: &str, name: &str, password: &str) -> Result<Entry> {
        let fields = [("csrf", csrf), ("continue", to), ("username", name), ("password", password)];
        let answer = self.ask(talk, "POST", "/login", &fields).await?;
        match answer.status {
            303 => Ok(Entry::In),
            429 | 503 => Ok(Entry::Busy),
            other => bail!("the sign-in of {name} is answered {other}: {}", answer.body.chars().take(600).collect::<String>()),
        }
    }

    /// The sign-in page and the password.
    pub async fn password(&mut self, talk: &mut Talk, party: Party<'_>, name: &str, password: &str) -> Result<Entry> {
        let (csrf, to) = self.page(talk, party).await?;
        self.submit(talk, &csrf, &to, name, password).await
    }

    /// A code for the party, by the session at hand.
    pub async fn code(&mut self, talk: &mut Talk, party: Party<'_>) -> Result<String> {
        let answer = self.ask(talk, "GET", &authorize(party), &[]).await?.expect(303)?;
        let location = answer.headers("location").next().context("no location")?;
        let address = url::Url::parse(location).with_context(|| format!("no address of a client: {location}"))?;
        let code = address.query_pairs().find(|(n, _)| n == "code").map(|(_, v)| v.into_owned());
        code.with_context(|| format!("no code: {location}"))
    }

    pub async fn tokens(&mut self, talk: &mut Talk, party: Party<'_>, code: &str) -> Result<Value> {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("client_id", party.client),
            ("code", code),
            ("redirect_uri", party.redirect),
            ("code_verifier", VERIFIER),
        ];
        if let Some(secret) = party.secret {
            fields.push(("client_secret", secret));
        }
        talk.ask(&ask::post_form("/oauth2/token", &[("x-forwarded-for", &self.from)], &fields)).await?.expect(200)?.json()
    }

    /// All of it.
    pub async fn whole(&mut self, talk: &mut Talk, party: Party<'_>, name: &str, password: &str) -> Result<Value> {
        match self.password(talk, party, name, password).await? {
            Entry::In => {}
            Entry::Busy => bail!("{name} was told to come back later"),
        }
        let code = self.code(talk, party).await?;
        self.tokens(talk, party, &code).await
    }
}

fn authorize(party: Party<'_>) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let fields = [
        ("response_type", "code"),
        ("client_id", party.client),
        ("redirect_uri", party.redirect),
        ("scope", party.scope),
        ("state", "s"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    format!("/oauth2/authorize?{}", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish())
}

/// The value of a hidden field.
fn field(page: &str, name: &str) -> Result<String> {
    let mark = format!("name=\"{name}\" value=\"");
    let text = page.split_once(&mark).with_context(|| format!("no field {name}: {page}"))?.1;
    Ok(text.split('"').next().unwrap_or_default().to_owned())
}

/// Registers people by name, each with [`PASSWORD`].
pub async fn register(talk: &mut Talk, names: impl Iterator<Item = String>) -> Result<()> {
    for name in names {
        let body = json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD });
        let headers = [("content-type", "application/json"), ("x-forwarded-for", "10.0.0.1")];
        talk.ask(&ask::request("POST", "/api/v1/registrations", &headers, &body.to_string())).await?.expect(201)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_field_is_read_from_a_page() {
        assert_eq!(field("<input name=\"csrf\" value=\"ab-c\">", "csrf").unwrap(), "ab-c");
        assert!(field("<input>", "csrf").is_err());
    }
}
