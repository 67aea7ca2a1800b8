//! Takes away what a story started, so that the next has room: at its end, and before it for stories that broke off.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::Value;

use super::api::{Api, items, text};
use super::browser::Browser;
use super::sign_in::SignIn;
use super::story::{PROJECT, SPACE};
use super::suite::Suite;

const LIMIT: Duration = Duration::from_secs(60);

/// Signs the administrator in.
///
/// # Errors
/// When the first password no longer fits.
pub async fn operator(suite: &Suite) -> Result<Api> {
    let sign_in = SignIn::begin(suite.client()?, &suite.url).await?;
    let (name, password) = &suite.admin;
    let mut browser = Browser::new(suite.client()?, &suite.url)?;
    let tokens = sign_in.by_password(&mut browser, name, password).await.context("the administrator cannot sign in (has the first password been changed?)")?;
    Ok(Api::new(suite.client()?, &suite.url, tokens.access))
}

/// Clears the spaces of earlier stories; gives how many had something in them.
///
/// # Errors
/// When something cannot be deleted.
pub async fn of_earlier_stories(operator: &Api) -> Result<usize> {
    let (mut cleared, mut cursor) = (0, String::new());
    loop {
        let page = operator.get(&format!("/api/v1/orgs?limit=500{cursor}")).await?;
        for org in items(&page).iter().map(|o| text(o, "name")).filter(|n| is_ours(n)) {
            cleared += usize::from(clear(operator, org).await? > 0);
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(cleared),
        }
    }
}

/// `demo-` and eight hexadecimal digits: no person names an organisation like that.
fn is_ours(org: &str) -> bool {
    org.strip_prefix("demo-").is_some_and(|id| id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Deletes every service instance and application of one story and waits until they are gone; gives how many there were.
///
/// # Errors
/// When something cannot be deleted, or stays.
pub async fn clear(api: &Api, org: &str) -> Result<usize> {
    let space = format!("/api/v1/orgs/{org}/projects/{PROJECT}/spaces/{SPACE}");
    let (instances, apps) = (format!("{space}/instances"), format!("{space}/apps"));
    let mut count = 0;
    for instance in names(api, &instances).await? {
        let one = api.call(Method::GET, &format!("{instances}/{instance}"), None).await?.1;
        for binding in one["bindings"].as_array().into_iter().flatten() {
            delete(api, &format!("{instances}/{instance}/bindings/{}", text(binding, "name"))).await?;
        }
        delete(api, &format!("{instances}/{instance}")).await?;
        count += 1;
    }
    // Those of service instances go with them.
    for app in names(api, &apps).await?.into_iter().filter(|a| !a.starts_with("svc-")) {
        delete(api, &format!("{apps}/{app}")).await?;
        count += 1;
    }
    if count > 0 {
        let empty = |list: &Value| Ok(items(list).iter().all(|a| text(a, "state") == "deleted").then_some(()));
        api.until(&format!("no application is left in {org}"), LIMIT, &apps, empty).await?;
    }
    Ok(count)
}

/// What a list holds; nothing if the place does not exist.
async fn names(api: &Api, path: &str) -> Result<Vec<String>> {
    let (status, list) = api.call(Method::GET, path, None).await?;
    anyhow::ensure!(status < 300 || status == 404, "GET {path} answers {status}: {list}");
    Ok(items(&list).iter().filter(|i| !matches!(text(i, "state"), "deleting" | "deleted")).map(|i| text(i, "name").to_owned()).collect())
}

async fn delete(api: &Api, path: &str) -> Result<()> {
    let (status, answer) = api.call(Method::DELETE, path, None).await?;
    anyhow::ensure!(status < 300 || status == 404, "DELETE {path} answers {status}: {answer}");
    Ok(())
}
