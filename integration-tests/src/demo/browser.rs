//! A browser without a screen: cookies, redirects, forms.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use reqwest::Client;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use url::Url;

use super::form::Form;

/// More redirects than any flow needs.
const MAX_REDIRECTS: usize = 10;

pub struct Browser {
    client: Client,
    home: Url,
    cookies: BTreeMap<String, String>,
}

/// Where a chain of redirects ended.
pub enum Landed {
    Page {
        url: Url,
        status: u16,
        html: String,
    },
    /// Out of the suite: an application's own address.
    Away(Url),
}

impl Landed {
    /// # Errors
    /// When it is no page.
    pub fn page(self) -> Result<(Url, String)> {
        match self {
            Self::Page { url, html, status } if status < 400 => Ok((url, html)),
            Self::Page { url, html, status } => bail!("{url} answers {status}: {}", super::form::text(&html)),
            Self::Away(url) => bail!("the browser was sent away to {url}"),
        }
    }
}

impl Browser {
    /// # Errors
    /// When `home` is no address.
    pub fn new(client: Client, home: &str) -> Result<Self> {
        Ok(Self { client, home: Url::parse(home)?, cookies: BTreeMap::new() })
    }

    /// # Errors
    /// When the suite does not answer.
    pub async fn open(&mut self, address: &str) -> Result<Landed> {
        let url = self.home.join(address)?;
        self.go(url, None).await
    }

    /// Sends a form by its button, or by Enter.
    ///
    /// # Errors
    /// When the suite does not answer.
    pub async fn submit(&mut self, on: &Url, form: Form, button: Option<(&str, &str)>) -> Result<Landed> {
        let url = if form.action.is_empty() { on.clone() } else { on.join(&form.action)? };
        let mut fields = form.fields;
        fields.extend(button.map(|(n, v)| (n.to_owned(), v.to_owned())));
        self.go(url, Some(fields)).await
    }

    async fn go(&mut self, mut url: Url, mut fields: Option<Vec<(String, String)>>) -> Result<Landed> {
        for _ in 0..MAX_REDIRECTS {
            if url.origin() != self.home.origin() {
                return Ok(Landed::Away(url));
            }
            let jar = self.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("; ");
            let request = match fields.take() {
                Some(fields) => self.client.post(url.clone()).header("origin", self.home.origin().ascii_serialization()).form(&fields),
                None => self.client.get(url.clone()),
            };
            let answer = request.header(COOKIE, jar).header("accept", "text/html").send().await.with_context(|| format!("{url} does not answer"))?;
            for cookie in answer.headers().get_all(SET_COOKIE) {
                let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
                if let Some((name, value)) = pair.split_once('=') {
                    self.cookies.insert(name.trim().to_owned(), value.trim().to_owned());
                }
            }
            match answer.headers().get(LOCATION).filter(|_| answer.status().is_redirection()) {
                Some(location) => url = url.join(location.to_str()?)?,
                None => return Ok(Landed::Page { url, status: answer.status().as_u16(), html: answer.text().await? }),
            }
        }
        bail!("{url}: redirected more than {MAX_REDIRECTS} times")
    }
}
