//! Which client is asking (RFC 6749 section 2.3): HTTP Basic, a secret in the body, or, for public clients, only the id.

use gantry_kernel::Secret;
use http::HeaderMap;

use crate::api::oauth::form::Form;
use crate::api::origin::basic;
use crate::app::App;
use crate::app::clients::Client;
use crate::error::OAuthError;

/// # Errors
/// `invalid_client`, and `invalid_request` when it authenticates twice.
pub fn client<'a>(app: &'a App, headers: &HeaderMap, form: &Form) -> Result<&'a Client, OAuthError> {
    let header = basic(headers).map(|(id, secret)| (decode(&id), Secret::new(decode(secret.expose()))));
    let in_body = form.get("client_secret").map(Secret::new);
    let (id, secret) = match (header, in_body) {
        (Some(_), Some(_)) => return Err(OAuthError::invalid_request("the client authenticates in two ways")),
        (Some((id, secret)), None) => {
            if form.get("client_id").is_some_and(|in_body| in_body != id) {
                return Err(OAuthError::invalid_request("client_id differs from the authenticated one"));
            }
            (id, Some(secret))
        }
        (None, secret) => (form.need("client_id")?.to_owned(), secret),
    };
    let client = app.clients.get(&id).ok_or_else(OAuthError::invalid_client)?;
    let authentic = match &secret {
        // Some programs always send Basic, with an empty secret for public clients.
        Some(secret) if client.is_public() => secret.is_empty(),
        Some(secret) => client.secret_fits(secret.expose()),
        None => client.is_public(),
    };
    if authentic { Ok(client) } else { Err(OAuthError::invalid_client()) }
}

/// Both halves are form-encoded before Basic (section 2.3.1).
fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    url::form_urlencoded::parse(format!("x={}", text.replace('&', "%26").replace('=', "%3D").replace(' ', "+")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_form_decoded() {
        assert_eq!(decode("a%3Ab%26c"), "a:b&c");
        assert_eq!(decode("plain=&+x"), "plain=& x");
    }
}
