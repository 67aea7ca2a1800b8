//! OpenID Connect as any client does it: authorization code with PKCE, a person at the HTML form.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Client;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use super::api::text;
use super::browser::{Browser, Landed};
use super::form::Form;
use super::story::random;

/// A client of the command line's kind: public, with a redirect to a port of this machine (nobody listens; we read the address).
const CLIENT: &str = "gantry-cli";
const REDIRECT: &str = "http://127.0.0.1:49152/callback";

/// One sign-in that has begun.
pub struct SignIn {
    client: Client,
    issuer: String,
    token_endpoint: String,
    /// Where the browser has to go.
    pub authorize: Url,
    verifier: String,
    state: String,
    nonce: String,
}

/// What came of it.
pub struct Tokens {
    pub access: String,
    pub claims: Value,
}

impl SignIn {
    /// # Errors
    /// When the platform does not describe itself.
    pub async fn begin(client: Client, url: &str) -> Result<Self> {
        let address = format!("{url}/.well-known/openid-configuration");
        let discovery: Value = client.get(&address).send().await.with_context(|| format!("{address} does not answer"))?.error_for_status()?.json().await?;
        anyhow::ensure!(text(&discovery, "issuer") == url, "the issuer is {}", discovery["issuer"]);
        let (verifier, state, nonce) = (format!("{}{}", random(), random()), random(), random());
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        let mut authorize = Url::parse(text(&discovery, "authorization_endpoint")).context("no authorization endpoint")?;
        authorize.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", REDIRECT),
            ("scope", "openid profile email offline_access api"),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let token_endpoint = text(&discovery, "token_endpoint").to_owned();
        Ok(Self { client, issuer: url.to_owned(), token_endpoint, authorize, verifier, state, nonce })
    }

    /// A person types name and password.
    ///
    /// # Errors
    /// When they are refused.
    pub async fn by_password(&self, browser: &mut Browser, user: &str, password: &str) -> Result<Tokens> {
        let (url, page) = browser.open(self.authorize.as_str()).await?.page()?;
        let form = Form::with(&page, "password")?.fill("username", user).fill("password", password);
        let landed = browser.submit(&url, form, None).await?;
        self.finish(browser, landed).await
    }

    /// From wherever the browser landed to tokens. The session is there by now.
    ///
    /// # Errors
    /// When no code comes, or it is not taken.
    pub async fn finish(&self, browser: &mut Browser, landed: Landed) -> Result<Tokens> {
        let landed = match landed {
            Landed::Page { .. } => browser.open(self.authorize.as_str()).await?,
            away @ Landed::Away(_) => away,
        };
        // A thief of the code has no verifier. The code may end with such a try, so the next is a fresh one.
        let stolen = self.code(landed)?;
        let refused = self.exchange(&stolen, "not-the-verifier-not-the-verifier-not-the-verifier").await?;
        anyhow::ensure!(!refused.status().is_success(), "the code was taken without its PKCE verifier");
        let code = self.code(browser.open(self.authorize.as_str()).await?)?;
        let answer = self.exchange(&code, &self.verifier).await?;
        let status = answer.status();
        let tokens: Value = answer.json().await?;
        anyhow::ensure!(status.is_success(), "the code was not taken: {status} {tokens}");
        let claims = payload(text(&tokens, "id_token"))?;
        anyhow::ensure!(text(&claims, "nonce") == self.nonce, "the ID token has another nonce");
        anyhow::ensure!(text(&claims, "iss") == self.issuer, "the ID token is by {}", claims["iss"]);
        Ok(Tokens { access: text(&tokens, "access_token").to_owned(), claims })
    }

    fn code(&self, landed: Landed) -> Result<String> {
        let back = match landed {
            Landed::Away(url) => url,
            Landed::Page { url, html, .. } => bail!("no code: the browser is at {url}: {}", super::form::text(&html)),
        };
        let answer = |key: &str| back.query_pairs().find(|(k, _)| k == key).map(|(_, v)| v.into_owned());
        anyhow::ensure!(answer("state").as_deref() == Some(self.state.as_str()), "another state came back: {back}");
        answer("code").with_context(|| format!("no code came back: {back}"))
    }

    async fn exchange(&self, code: &str, verifier: &str) -> Result<reqwest::Response> {
        let fields = [("grant_type", "authorization_code"), ("client_id", CLIENT), ("redirect_uri", REDIRECT), ("code", code), ("code_verifier", verifier)];
        Ok(self.client.post(&self.token_endpoint).form(&fields).send().await?)
    }
}

/// The claims of a token that came straight from its issuer over TLS (OpenID Connect Core 3.1.3.7, number 6).
fn payload(token: &str) -> Result<Value> {
    let part = token.split('.').nth(1).context("no ID token")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
}
