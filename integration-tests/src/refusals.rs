//! Every operation of the public API, asked by nobody, by a stranger, about things that do not exist, and with bodies that
//! are none. The list comes from the suite itself, so an operation without a check of rights shows as soon as it is there.

mod asking;
mod operations;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::json;

use crate::demo::{Api, Browser, SignIn, Suite, operator, random};
use asking::{Answer, Asking, Body};
use operations::Operation;

/// What anybody who has signed in may ask for; each answers about the caller alone, or about what is public.
const ANYBODYS: &[&str] = &[
    "GET /api/v1/address-pools",
    "GET /api/v1/cluster-manifest",
    "GET /api/v1/clusters",
    "GET /api/v1/events",
    "GET /api/v1/images",
    "GET /api/v1/me",
    "PATCH /api/v1/me",
    "GET /api/v1/me/applications",
    "GET /api/v1/me/certificates",
    "GET /api/v1/me/consents",
    "GET /api/v1/me/export",
    "GET /api/v1/me/factors",
    "POST /api/v1/me/factors/totp",
    "GET /api/v1/me/links",
    "GET /api/v1/offerings",
    "GET /api/v1/orgs",
    "GET /api/v1/permissions",
    "GET /api/v1/price-plans",
    "GET /api/v1/roles",
    "GET /api/v1/sessions",
    "DELETE /api/v1/sessions",
    "GET /api/v1/tokens",
    "GET /api/v1/users",
];

/// Answers without an end.
const STREAMS: &[&str] = &["GET /api/v1/events"];

/// More than any JSON body of the API may have.
const HUGE: usize = 12 << 20;

pub async fn run() -> ExitCode {
    match story().await {
        Ok((asked, faults)) if faults.is_empty() => {
            println!("refusals: {asked} requests, each refused as it must be");
            ExitCode::SUCCESS
        }
        Ok((asked, faults)) => {
            faults.iter().for_each(|fault| println!("  {fault}"));
            println!("refusals: {} of {asked} requests were answered otherwise", faults.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("refusals: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Story {
    asking: Asking,
    operator: String,
    stranger: String,
    /// Names of things that are there and belong to somebody else.
    theirs: BTreeMap<&'static str, String>,
    /// Names of things that are nowhere.
    nobodys: BTreeMap<&'static str, String>,
    absent: String,
    asked: usize,
    faults: Vec<String>,
}

async fn story() -> Result<(usize, Vec<String>)> {
    let suite = Suite::find()?;
    let api = operator(&suite).await?;
    let theirs = somebodys(&api).await?;
    let stranger = stranger(&suite, &api).await?;
    let document = api.get("/api/openapi.json").await?;
    let operations = operations::of(&document)?;
    anyhow::ensure!(operations.len() > 50, "only {} operations are documented", operations.len());
    let nobodys = theirs.keys().map(|key| (*key, format!("no-{}", &random()[..8]))).collect();
    let asking = Asking { client: suite.client()?, url: suite.url.clone() };
    let mut story = Story { asking, operator: api.token.clone(), stranger, theirs, nobodys, absent: absent(), asked: 0, faults: Vec::new() };
    for operation in &operations {
        story.without_a_token(operation).await?;
        story.by_a_stranger(operation).await?;
        story.with_bad_bodies(operation).await?;
        story.with_bad_queries(operation).await?;
    }
    api.call(Method::DELETE, &format!("/api/v1/orgs/{0}?confirm={0}", story.theirs["org"]), None).await?;
    Ok((story.asked, story.faults))
}

/// An id that nothing has.
#[allow(clippy::disallowed_methods, reason = "a story is a program of its own, with real chance")]
fn absent() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// An organisation with a project and a space that the stranger has nothing to do with.
async fn somebodys(api: &Api) -> Result<BTreeMap<&'static str, String>> {
    let org = format!("refusals-{}", &random()[..8]);
    api.post("/api/v1/orgs", &json!({ "name": org })).await?;
    api.post(&format!("/api/v1/orgs/{org}/projects"), &json!({ "name": "shop" })).await?;
    api.post(&format!("/api/v1/orgs/{org}/projects/shop/spaces"), &json!({ "name": "test" })).await?;
    Ok([("org", org), ("project", "shop".to_owned()), ("space", "test".to_owned())].into())
}

async fn stranger(suite: &Suite, api: &Api) -> Result<String> {
    let (name, password) = (format!("stranger-{}", &random()[..8]), random());
    let user = json!({ "username": name, "email": format!("{name}@example.org"), "password": password, "display_name": "A Stranger" });
    api.post("/api/v1/registrations", &user).await.context("the stranger cannot register")?;
    let mut browser = Browser::new(suite.client()?, &suite.url)?;
    Ok(SignIn::begin(suite.client()?, &suite.url).await?.by_password(&mut browser, &name, &password).await?.access)
}

impl Story {
    async fn ask(&mut self, operation: &Operation, path: &str, token: Option<&str>, body: &Body) -> Result<Answer> {
        self.asked += 1;
        self.asking.ask(&operation.method, path, token, body).await
    }

    fn fault(&mut self, operation: &Operation, how: &str, answer: &Answer, instead_of: &str) {
        self.faults.push(format!("{}, {how}: {} {} instead of {instead_of}", operation.name(), answer.status, answer.problem));
    }

    async fn without_a_token(&mut self, operation: &Operation) -> Result<()> {
        if operation.anonymous {
            return Ok(());
        }
        let path = operation.path(&self.theirs, &self.absent);
        for token in [None, Some("not.a.token")] {
            let answer = self.ask(operation, &path, token, &Body::None).await?;
            if answer.status != 401 || !answer.refused() {
                self.fault(operation, if token.is_some() { "with a token that is none" } else { "without a token" }, &answer, "401");
            }
        }
        Ok(())
    }

    /// Refused, and in the same words whether the thing exists or not.
    async fn by_a_stranger(&mut self, operation: &Operation) -> Result<()> {
        if operation.anonymous {
            return Ok(());
        }
        if ANYBODYS.contains(&operation.name().as_str()) {
            return self.tells_nothing_of_others(operation).await;
        }
        let stranger = self.stranger.clone();
        let body = if operation.takes_json { Body::Json(b"{}".to_vec()) } else { Body::None };
        let path = operation.path(&self.theirs, &self.absent);
        let theirs = self.ask(operation, &path, Some(&stranger), &body).await?;
        if !theirs.refused() {
            self.fault(operation, "by a stranger", &theirs, "a refusal");
        }
        if operation.of_a_tenant() {
            let path = operation.path(&self.nobodys, &self.absent);
            let nobodys = self.ask(operation, &path, Some(&stranger), &body).await?;
            if (theirs.status, &theirs.problem["code"]) != (nobodys.status, &nobodys.problem["code"]) {
                let told = format!("{} {}, as for a thing that is there", theirs.status, theirs.problem["code"]);
                self.fault(operation, "by a stranger about a thing that is nowhere", &nobodys, &told);
            }
        }
        Ok(())
    }

    async fn tells_nothing_of_others(&mut self, operation: &Operation) -> Result<()> {
        if operation.method != Method::GET || STREAMS.contains(&operation.name().as_str()) {
            return Ok(());
        }
        self.asked += 1;
        let told = self.asking.text(&operation.template, &self.stranger).await?;
        if told.contains(&self.theirs["org"]) {
            self.faults.push(format!("{} tells a stranger of {}", operation.name(), self.theirs["org"]));
        }
        Ok(())
    }

    async fn with_bad_bodies(&mut self, operation: &Operation) -> Result<()> {
        if !operation.takes_json {
            return Ok(());
        }
        let token = (!operation.anonymous).then(|| self.operator.clone());
        let path = operation.path(&self.theirs, &self.absent);
        let deep = "[".repeat(100_000).into_bytes();
        let huge = format!("{{\"name\": \"{}\"}}", "x".repeat(HUGE)).into_bytes();
        let bodies = [
            ("with a body that is no JSON", Body::Json(b"{\"name\": ".to_vec())),
            ("with invalid UTF-8", Body::Json(b"{\"name\": \"\xff\xfe\"}".to_vec())),
            ("with a list as the body", Body::Json(b"[1, 2]".to_vec())),
            ("with an unknown field", Body::Json(json!({ "no_such_field": true }).to_string().into_bytes())),
            ("with a null character", Body::Json(b"{\"name\": \"a\\u0000b\"}".to_vec())),
            ("with a deeply nested body", Body::Json(deep)),
            ("with a huge body", Body::Json(huge)),
            ("with a body of another type", Body::Text("name=x")),
        ];
        for (how, body) in &bodies {
            let answer = self.ask(operation, &path, token.as_deref(), body).await?;
            if !answer.refused() {
                self.fault(operation, how, &answer, "a refusal");
            }
        }
        Ok(())
    }

    async fn with_bad_queries(&mut self, operation: &Operation) -> Result<()> {
        let token = (!operation.anonymous).then(|| self.operator.clone());
        let path = operation.path(&self.theirs, &self.absent);
        for (key, value) in [("limit", "many"), ("limit", "0"), ("limit", "-1"), ("cursor", "%00nonsense"), ("from", "yesterday"), ("to", "0")] {
            if operation.query.iter().any(|known| known == key) {
                let answer = self.ask(operation, &format!("{path}?{key}={value}"), token.as_deref(), &Body::None).await?;
                if !answer.refused() {
                    self.fault(operation, &format!("with {key}={value}"), &answer, "a refusal");
                }
            }
        }
        Ok(())
    }
}
