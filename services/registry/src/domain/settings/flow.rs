//! Caches, targets, replications and webhooks among a project's settings: what is kept of them, and what makes sense.

use gantry_contract::registry::flow::{Direction, Endpoint, Replication, Scanner, ScannerAuth, Target, Upstream, Webhook};
use gantry_es::Sealed;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{LONGEST, MOST, Refusal, Settings, invalid, name_field, pattern_field, text_field};
use crate::domain::cron::Cron;
use crate::domain::name::RepositoryName;

/// As kept: the secret is sealed for the project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptUpstream {
    pub upstream: Upstream,
    pub secret: Option<Sealed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTarget {
    pub target: Target,
    pub secret: Option<Sealed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptScanner {
    pub scanner: Scanner,
    pub secret: Option<Sealed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptWebhook {
    pub webhook: Webhook,
    pub secrets: Vec<Sealed>,
}

impl Settings {
    /// The cache a repository belongs to, with the repository's name there. `rest` is the name after the project.
    pub fn upstream_of(&self, rest: &str) -> Option<(&KeptUpstream, String)> {
        // The longest prefix wins: a project may cache one registry below `hub` and another below `hub/mirror`.
        let inside = |kept: &&KeptUpstream| below(&kept.upstream.prefix, rest).is_some();
        let kept = self.upstreams.values().filter(inside).max_by_key(|k| k.upstream.prefix.len())?;
        let rest = below(&kept.upstream.prefix, rest)?;
        Some((kept, joined(&kept.upstream.remote_prefix, rest)))
    }
}

/// What follows `prefix` in a repository's name; nothing when it is not below it.
pub fn below<'a>(prefix: &str, name: &'a str) -> Option<&'a str> {
    if prefix.is_empty() { Some(name) } else { name.strip_prefix(prefix)?.strip_prefix('/') }
}

pub fn joined(prefix: &str, rest: &str) -> String {
    if prefix.is_empty() { rest.to_owned() } else { format!("{prefix}/{rest}") }
}

pub(super) fn check_upstream(state: &Settings, upstream: &Upstream) -> Result<(), Refusal> {
    name_field(&upstream.name)?;
    check_endpoint(&upstream.endpoint)?;
    prefix_field("prefix", &upstream.prefix)?;
    prefix_field("remote_prefix", &upstream.remote_prefix)?;
    if let Some(other) = state.upstreams.values().map(|k| &k.upstream).find(|u| u.name != upstream.name && u.prefix == upstream.prefix) {
        return invalid("prefix", &format!("the upstream `{}` has it already", other.name));
    }
    if upstream.fresh_seconds > 366 * 24 * 3600 {
        return invalid("fresh_seconds", "must be at most a year");
    }
    match upstream.keep_days {
        Some(days) if !(1..=36_500).contains(&days) => invalid("keep_days", "must be 1 to 36500"),
        _ => Ok(()),
    }
}

pub(super) fn check_endpoint(endpoint: &Endpoint) -> Result<(), Refusal> {
    address_field("endpoint.url", &endpoint.url, endpoint.allow_private)?;
    if !matches!(Url::parse(&endpoint.url).map(|u| u.path().to_owned()).as_deref(), Ok("/" | "")) {
        return invalid("endpoint.url", "must be the registry's address without a path; give first parts of repositories as a prefix");
    }
    if endpoint.username.len() > LONGEST || endpoint.username.contains(':') || endpoint.username.chars().any(char::is_control) {
        return invalid("endpoint.username", "must have at most 1000 characters and no colon");
    }
    certificate_field("endpoint.ca_pem", endpoint.ca_pem.as_deref())
}

pub(super) fn check_replication(state: &Settings, rule: &Replication) -> Result<(), Refusal> {
    name_field(&rule.name)?;
    if !state.targets.contains_key(&rule.target) {
        return invalid("target", "there is no target of this name; add it first");
    }
    pattern_field("repositories", &rule.repositories)?;
    pattern_field("tags", &rule.tags)?;
    prefix_field("remote_prefix", &rule.remote_prefix)?;
    prefix_field("local_prefix", &rule.local_prefix)?;
    if rule.labels.len() > MOST || rule.platforms.len() > MOST {
        return Err(Refusal::TooMany);
    }
    rule.labels.iter().enumerate().try_for_each(|(i, l)| text_field(&format!("labels[{i}]"), l, LONGEST))?;
    rule.platforms.iter().enumerate().try_for_each(|(i, p)| pattern_field(&format!("platforms[{i}]"), p))?;
    if let Some(schedule) = &rule.schedule {
        Cron::parse(schedule).or_else(|fault| invalid("schedule", &fault))?;
    }
    if rule.on_event && rule.direction == Direction::Pull {
        return invalid("on_event", "is for replication to a target; one from a target goes by schedule or by hand");
    }
    if rule.bytes_per_second.is_some_and(|b| b < 1024) {
        return invalid("bytes_per_second", "must be at least 1024");
    }
    Ok(())
}

pub(super) fn check_webhook(webhook: &Webhook) -> Result<(), Refusal> {
    name_field(&webhook.name)?;
    address_field("url", &webhook.url, webhook.allow_private)?;
    pattern_field("repositories", &webhook.repositories)?;
    pattern_field("tags", &webhook.tags)?;
    certificate_field("ca_pem", webhook.ca_pem.as_deref())
}

pub(super) fn check_scanner(scanner: &Scanner, has_secret: bool) -> Result<(), Refusal> {
    name_field(&scanner.name)?;
    address_field("url", &scanner.url, scanner.allow_private)?;
    if Url::parse(&scanner.url).is_ok_and(|u| u.query().is_some()) {
        return invalid("url", "must not have a query");
    }
    pattern_field("repositories", &scanner.repositories)?;
    if scanner.username.len() > LONGEST || scanner.username.contains(':') || scanner.username.chars().any(char::is_control) {
        return invalid("username", "must have at most 1000 characters and no colon");
    }
    if scanner.auth == ScannerAuth::Basic && scanner.username.is_empty() {
        return invalid("username", "is needed for basic");
    }
    if scanner.auth != ScannerAuth::None && !has_secret {
        return invalid("password", "is needed for this kind of auth");
    }
    if scanner.rescan_hours.is_some_and(|h| !(1..=24 * 366).contains(&h)) {
        return invalid("rescan_hours", "must be 1 to 8784");
    }
    certificate_field("ca_pem", scanner.ca_pem.as_deref())
}

fn address_field(field: &str, text: &str, private: bool) -> Result<(), Refusal> {
    text_field(field, text, LONGEST)?;
    let Ok(url) = Url::parse(text) else { return invalid(field, "is not an address such as https://registry.example") };
    match url.scheme() {
        "https" => {}
        "http" if private => {}
        _ => return invalid(field, "must be an https address (http only with allow_private)"),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return invalid(field, "has no host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return invalid(field, "must not hold a name or password: they would be readable in the settings");
    }
    if url.fragment().is_some() { invalid(field, "must not have a fragment") } else { Ok(()) }
}

fn certificate_field(field: &str, pem: Option<&str>) -> Result<(), Refusal> {
    match pem {
        Some(pem) if pem.len() > 100_000 || !pem.contains("-----BEGIN CERTIFICATE-----") => {
            invalid(field, "must be certificates in PEM, at most 100,000 characters")
        }
        _ => Ok(()),
    }
}

fn prefix_field(field: &str, prefix: &str) -> Result<(), Refusal> {
    if prefix.is_empty() || RepositoryName::of("o", "p", prefix).is_ok() {
        return Ok(());
    }
    invalid(field, "must be first parts of a repository's name, such as `hub` or `mirror/library`, or empty")
}

#[cfg(test)]
mod tests {
    use gantry_contract::registry::flow::Platforms;
    use gantry_contract::registry::settings::{Change, SettingsEvent as Event};
    use gantry_es::spec::given;
    use proptest::prelude::*;

    use super::super::{Command, ProjectSettings};
    use super::*;

    fn command(change: Change) -> Command {
        let id = uuid::Uuid::from_u128(1);
        Command { org: id.into(), project: id.into(), change }
    }

    fn event(change: Change) -> Event {
        let Command { org, project, change } = command(change);
        Event::Changed { org, project, change }
    }

    fn endpoint(url: &str) -> Endpoint {
        Endpoint { url: url.into(), username: String::new(), ca_pem: None, allow_private: false }
    }

    fn upstream(name: &str, prefix: &str) -> Upstream {
        Upstream {
            name: name.into(),
            endpoint: endpoint("https://registry.example"),
            prefix: prefix.into(),
            remote_prefix: "library".into(),
            fresh_seconds: 600,
            platforms: Platforms::OnDemand,
            keep_days: None,
            enabled: true,
        }
    }

    fn rule() -> Replication {
        serde_json::from_str(r#"{"name":"away","direction":"push","target":"other"}"#).unwrap()
    }

    fn refused(history: Vec<Event>, change: Change, wanted: &str) {
        let wanted = wanted.to_owned();
        given::<ProjectSettings>(history).when(command(change)).then_refused(move |r| matches!(r, Refusal::Invalid { field, .. } if *field == wanted));
    }

    fn set(upstream: Upstream) -> Change {
        Change::UpstreamSet { upstream, secret: None }
    }

    #[test]
    fn the_longest_prefix_says_which_cache_a_repository_belongs_to() {
        let mut settings = Settings::default();
        settings.apply(&set(upstream("a", "hub")));
        settings.apply(&set(Upstream { remote_prefix: String::new(), ..upstream("b", "hub/deep") }));
        let name = |rest: &str| settings.upstream_of(rest).map(|(k, there)| (k.upstream.name.clone(), there));
        assert_eq!(name("hub/nginx"), Some(("a".into(), "library/nginx".into())));
        assert_eq!(name("hub/deep/nginx"), Some(("b".into(), "nginx".into())));
        assert_eq!((name("hub"), name("hubs/nginx"), name("web")), (None, None, None));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_field() {
        let at = |url: &str| Upstream { endpoint: endpoint(url), ..upstream("a", "hub") };
        for bad in ["http://registry.example", "ftp://x", "registry.example", "https://ada:secret@registry.example", "https://registry.example/v2/x", ""] {
            refused(vec![], set(at(bad)), "endpoint.url");
        }
        refused(vec![], set(upstream("a", "Hub/")), "prefix");
        refused(vec![event(set(upstream("a", "hub")))], set(upstream("b", "hub")), "prefix");
        refused(vec![], set(Upstream { keep_days: Some(0), ..upstream("a", "hub") }), "keep_days");
        refused(vec![], Change::ReplicationSet(rule()), "target");
        let target = Change::TargetSet { target: Target { name: "other".into(), endpoint: endpoint("https://b.example") }, secret: None };
        let history = || vec![event(target.clone())];
        refused(history(), Change::ReplicationSet(Replication { schedule: Some("every day".into()), ..rule() }), "schedule");
        refused(history(), Change::ReplicationSet(Replication { on_event: true, direction: Direction::Pull, ..rule() }), "on_event");
        refused(history(), Change::ReplicationSet(Replication { bytes_per_second: Some(1), ..rule() }), "bytes_per_second");
        given::<ProjectSettings>(vec![event(target.clone()), event(Change::ReplicationSet(rule()))])
            .when(command(Change::TargetRemoved("other".into())))
            .then_refused(|r| *r == Refusal::TargetInUse("away".into()));
        let webhook: Webhook = serde_json::from_str(r#"{"name":"ci","url":"http://ci.example/hook"}"#).unwrap();
        refused(vec![], Change::WebhookSet { webhook: webhook.clone(), secrets: vec![] }, "url");
        let private = Change::WebhookSet { webhook: Webhook { allow_private: true, ..webhook }, secrets: vec![] };
        given::<ProjectSettings>([]).when(command(private.clone())).then([event(private)]);
    }

    proptest! {
        /// What is cut off in front is what was put there.
        #[test]
        fn prefixes_come_off_as_they_went_on(prefix in "[a-z]{0,3}(/[a-z]{1,3}){0,2}", rest in "[a-z]{1,5}(/[a-z]{1,5}){0,2}") {
            prop_assume!(!prefix.starts_with('/'));
            let name = joined(&prefix, &rest);
            prop_assert_eq!(below(&prefix, &name), Some(rest.as_str()));
        }
    }
}
