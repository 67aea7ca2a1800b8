//! Social sign-in by OAuth 2.0: the authorization request, and the person behind a code. How each provider wants it is
//! in `domain::upstream::preset`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_contract::upstream::{Oauth2, Preset};
use gantry_kernel::Secret;
use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::oidc::Asked;
use super::provider::{Http, ProviderError};
use crate::domain::upstream::person::{External, is_address};
use crate::domain::upstream::preset::{Manners, PersonStyle, TokenStyle, manners, resolved};

/// Where the browser is sent.
///
/// # Errors
/// When the endpoint is no address.
pub fn authorize(oauth2: &Oauth2, asked: &Asked) -> Result<String, ProviderError> {
    let (whole, manners) = (resolved(oauth2), manners(oauth2.preset));
    let mut url = Url::parse(&whole.endpoints.authorize).map_err(|e| ProviderError::Settings(e.to_string()))?;
    {
        let mut query = url.query_pairs_mut();
        query.append_pair(manners.client_parameter, &whole.client_id).append_pair("redirect_uri", asked.redirect).append_pair("state", asked.state);
        if manners.response_type {
            query.append_pair("response_type", "code");
        }
        if !whole.scopes.is_empty() {
            query.append_pair("scope", &whole.scopes.join(" "));
        }
        if !whole.agent_id.is_empty() {
            query.append_pair("agentid", &whole.agent_id);
        }
        if manners.pkce {
            query.append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(Sha256::digest(asked.verifier))).append_pair("code_challenge_method", "S256");
        }
        for (name, value) in manners.fixed {
            query.append_pair(name, value);
        }
    }
    Ok(url.into())
}

/// The person behind a code.
///
/// # Errors
/// When the provider refuses or says something else than it documents.
pub async fn person(http: &Http, oauth2: &Oauth2, secret: &Secret, asked: &Asked<'_>, code: &str) -> Result<External, ProviderError> {
    let (whole, manners) = (resolved(oauth2), manners(oauth2.preset));
    let token = token(http, &whole, &manners, secret, asked, code).await?;
    let mut request = http.request(Method::GET, &whole.endpoints.person);
    request = match manners.person {
        PersonStyle::Bearer => request.bearer_auth(&token),
        PersonStyle::Header(name) => request.header(name, &token),
        PersonStyle::Query => request.query(&[("access_token", token.as_str()), ("code", code)]),
    };
    let mut about = checked(&manners, http.json(request).await?)?;
    let mut verified_list = None;
    match whole.preset {
        Preset::Wecom if !whole.endpoints.details.is_empty() => about = wecom_details(http, &whole, &manners, &token, about).await?,
        Preset::Github if !whole.endpoints.details.is_empty() => {
            verified_list = github_address(&http.json(http.request(Method::GET, &whole.endpoints.details).bearer_auth(&token)).await?);
        }
        _ => {}
    }
    external(&whole, &about, verified_list)
}

async fn token(http: &Http, whole: &Oauth2, manners: &Manners, secret: &Secret, asked: &Asked<'_>, code: &str) -> Result<String, ProviderError> {
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", asked.redirect),
        ("client_id", whole.client_id.as_str()),
        ("client_secret", secret.expose()),
    ];
    if manners.pkce {
        fields.push(("code_verifier", asked.verifier));
    }
    let (request, name) = match manners.token {
        TokenStyle::Form => (http.request(Method::POST, &whole.endpoints.token).form(&fields), "access_token"),
        TokenStyle::Json => {
            let body: serde_json::Map<String, Value> = fields.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
            (http.request(Method::POST, &whole.endpoints.token).json(&body), "access_token")
        }
        TokenStyle::JsonCamel => {
            let body = json!({ "clientId": whole.client_id, "clientSecret": secret.expose(), "code": code, "grantType": "authorization_code" });
            (http.request(Method::POST, &whole.endpoints.token).json(&body), "accessToken")
        }
        TokenStyle::Application => {
            let query = [("corpid", whole.client_id.as_str()), ("corpsecret", secret.expose())];
            (http.request(Method::GET, &whole.endpoints.token).query(&query), "access_token")
        }
    };
    let said = checked(manners, http.json(request).await?)?;
    said[name].as_str().filter(|t| !t.is_empty()).map(str::to_owned).ok_or_else(|| ProviderError::Answer(format!("there is no {name}")))
}

/// Refusals that come with a status of success: GitHub's `error`, and error numbers that are not 0.
fn checked(manners: &Manners, said: Value) -> Result<Value, ProviderError> {
    if let Some(error) = said["error"].as_str() {
        return Err(ProviderError::Refused(error.chars().take(200).collect()));
    }
    for field in manners.error_fields {
        if said[field].as_i64().is_some_and(|n| n != 0) {
            let text = said["errmsg"].as_str().or(said["msg"].as_str()).unwrap_or_default();
            return Err(ProviderError::Refused(format!("{} {}", said[field], text.chars().take(200).collect::<String>())));
        }
    }
    Ok(said)
}

/// WeCom tells who by id first; strangers to the company have no `userid`.
async fn wecom_details(http: &Http, whole: &Oauth2, manners: &Manners, token: &str, about: Value) -> Result<Value, ProviderError> {
    let id = about["userid"].as_str().or(about["UserId"].as_str()).filter(|i| !i.is_empty());
    let id = id.ok_or_else(|| ProviderError::Refused("this person is no member of the company".into()))?;
    let request = http.request(Method::GET, &whole.endpoints.details).query(&[("access_token", token), ("userid", id)]);
    checked(manners, http.json(request).await?)
}

/// The primary address, if it was verified.
fn github_address(list: &Value) -> Option<String> {
    let all = list.as_array()?;
    let primary = all.iter().find(|a| a["primary"] == true && a["verified"] == true)?;
    primary["email"].as_str().map(str::to_owned)
}

fn external(whole: &Oauth2, about: &Value, verified: Option<String>) -> Result<External, ProviderError> {
    let at = |pointer: &str| if pointer.is_empty() { None } else { about.pointer(pointer) };
    let text = |pointer: &str| match at(pointer) {
        Some(Value::String(text)) => Some(text.trim().to_owned()).filter(|t| !t.is_empty()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let subject = text(&whole.fields.id).ok_or_else(|| ProviderError::Answer(format!("there is nothing at {}", whole.fields.id)))?;
    let marked = match at(&whole.fields.email_verified) {
        Some(Value::Bool(yes)) => *yes,
        Some(Value::String(text)) => !text.is_empty() && text != "false",
        _ => false,
    };
    let email_verified = verified.is_some() || marked;
    let email = verified.or_else(|| text(&whole.fields.email)).filter(|e| is_address(e));
    let username = text(&whole.fields.username).or_else(|| email.clone()).unwrap_or_else(|| subject.clone());
    let groups = at(&whole.fields.groups).and_then(Value::as_array).map(|all| all.iter().filter_map(|g| g.as_str().map(str::to_owned)).collect());
    Ok(External {
        display_name: text(&whole.fields.display_name).unwrap_or_else(|| username.clone()),
        email_verified: email_verified && email.is_some(),
        subject,
        username,
        email,
        groups,
        disabled: false,
    })
}
