//! A project's settings for its images, as an event-sourced aggregate: quota, immutable tags, retention, trusted keys,
//! policies, accepted findings, scanning; and what comes in and goes out (`flow`).

pub mod flow;
pub mod newer;

use std::collections::{BTreeMap, BTreeSet};

use gantry_contract::registry::flow::Replication;
use gantry_contract::registry::settings::{Allowance, Change, Policy, Retention, RetentionRule, Scanning, SettingsEvent as Event, TagRule, TrustedKey};
use gantry_es::{Ctx, Decider};
use gantry_kernel::{OffsetDateTime, OrgId, ProjectId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::flow::{KeptScanner, KeptTarget, KeptUpstream, KeptWebhook};
use super::pattern;
use super::platform::Platform;
use super::scan::cvss::Severity;

/// Of each kind of thing, a project has at most this many.
pub const MOST: usize = 100;
/// Reasons and labels.
const LONGEST: usize = 1000;

#[derive(Clone, Debug)]
pub struct Command {
    pub org: OrgId,
    pub project: ProjectId,
    pub change: Change,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("{field}: {detail}")]
    Invalid { field: String, detail: String },
    #[error("there is no {what} `{name}` in this project's settings")]
    NoSuch { what: &'static str, name: String },
    #[error("a project has at most {MOST} of these; remove one first")]
    TooMany,
    #[error("the policy `{0}` asks for signatures of this key; change the policy first")]
    KeyInUse(String),
    #[error("the replication `{0}` goes to this target; change or remove the replication first")]
    TargetInUse(String),
}

/// Everything a project wants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub quota_bytes: Option<u64>,
    pub immutability: Vec<TagRule>,
    pub retention: Retention,
    pub keys: BTreeMap<String, TrustedKey>,
    pub policies: BTreeMap<String, Policy>,
    pub allowances: BTreeMap<String, Allowance>,
    pub scanning: Scanning,
    pub wanted_platforms: Vec<String>,
    pub upstreams: BTreeMap<String, KeptUpstream>,
    pub targets: BTreeMap<String, KeptTarget>,
    pub replications: BTreeMap<String, Replication>,
    pub webhooks: BTreeMap<String, KeptWebhook>,
    pub scanners: BTreeMap<String, KeptScanner>,
    /// Places of what is known in part only, because a newer program has written it (`newer`).
    #[serde(skip)]
    pub beyond: BTreeSet<String>,
}

impl Settings {
    /// Patterns of the tags that, once set, can neither be moved nor deleted. `repository` is the name after the project.
    pub fn frozen(&self, repository: &str) -> Vec<String> {
        self.immutability.iter().filter(|r| pattern::matches(&r.repositories, repository)).map(|r| r.tags.clone()).collect()
    }

    /// The allowance for a finding, if one holds now.
    pub fn allowance(&self, ids: &[&str], package: &str, now: OffsetDateTime) -> Option<&Allowance> {
        self.allowances
            .values()
            .find(|a| ids.iter().any(|id| *id == a.id) && a.until.is_none_or(|u| u > now) && a.package.as_deref().is_none_or(|p| p == package))
    }

    /// As after `change`.
    pub fn apply(&mut self, change: &Change) {
        if let Some(place) = newer::place(change) {
            self.beyond.remove(&place);
        }
        match change.clone() {
            Change::Quota(bytes) => self.quota_bytes = bytes,
            Change::Immutability(rules) => self.immutability = rules,
            Change::Retention(retention) => self.retention = retention,
            Change::KeyTrusted(key) => drop(self.keys.insert(key.name.clone(), key)),
            Change::KeyDistrusted(name) => drop(self.keys.remove(&name)),
            Change::PolicySet(policy) => drop(self.policies.insert(policy.name.clone(), policy)),
            Change::PolicyRemoved(name) => drop(self.policies.remove(&name)),
            Change::FindingAllowed(allowance) => drop(self.allowances.insert(allowance.id.clone(), allowance)),
            Change::FindingDisallowed(id) => drop(self.allowances.remove(&id)),
            Change::Scanning(scanning) => self.scanning = scanning,
            Change::Platforms(platforms) => self.wanted_platforms = platforms.wanted,
            Change::UpstreamSet { upstream, secret } => drop(self.upstreams.insert(upstream.name.clone(), KeptUpstream { upstream, secret })),
            Change::UpstreamRemoved(name) => drop(self.upstreams.remove(&name)),
            Change::TargetSet { target, secret } => drop(self.targets.insert(target.name.clone(), KeptTarget { target, secret })),
            Change::TargetRemoved(name) => drop(self.targets.remove(&name)),
            Change::ReplicationSet(rule) => drop(self.replications.insert(rule.name.clone(), rule)),
            Change::ReplicationRemoved(name) => drop(self.replications.remove(&name)),
            Change::WebhookSet { webhook, secrets } => drop(self.webhooks.insert(webhook.name.clone(), KeptWebhook { webhook, secrets })),
            Change::WebhookRemoved(name) => drop(self.webhooks.remove(&name)),
            Change::ScannerSet { scanner, secret } => drop(self.scanners.insert(scanner.name.clone(), KeptScanner { scanner, secret })),
            Change::ScannerRemoved(name) => drop(self.scanners.remove(&name)),
        }
    }
}

pub struct ProjectSettings;

impl Decider for ProjectSettings {
    type State = Settings;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(state: &Settings, command: Command, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
        let Command { org, project, change } = command;
        check(state, &change, ctx.now)?;
        let mut after = state.clone();
        after.apply(&change);
        if after == *state {
            return Ok(vec![]);
        }
        Ok(vec![Event::Changed { org, project, change }])
    }

    fn evolve(mut state: Settings, event: &Event) -> Settings {
        let Event::Changed { change, .. } = event;
        state.apply(change);
        state
    }
}

fn check(state: &Settings, change: &Change, now: OffsetDateTime) -> Result<(), Refusal> {
    let room = |count: usize, known: bool| if known || count < MOST { Ok(()) } else { Err(Refusal::TooMany) };
    let there = |what, name: &String, known: bool| if known { Ok(()) } else { Err(Refusal::NoSuch { what, name: name.clone() }) };
    match change {
        Change::Quota(_) => Ok(()),
        Change::Immutability(rules) => {
            room(rules.len(), rules.len() == MOST)?;
            for (i, rule) in rules.iter().enumerate() {
                pattern_field(&format!("rules[{i}].repositories"), &rule.repositories)?;
                pattern_field(&format!("rules[{i}].tags"), &rule.tags)?;
            }
            Ok(())
        }
        Change::Retention(retention) => {
            room(retention.rules.len(), retention.rules.len() == MOST)?;
            if retention.every_hours.is_some_and(|h| !(1..=24 * 31).contains(&h)) {
                return invalid("every_hours", "must be 1 to 744");
            }
            if retention.untagged_days.is_some_and(|d| !(1..=36_500).contains(&d)) {
                return invalid("untagged_days", "must be 1 to 36500");
            }
            retention.rules.iter().enumerate().try_for_each(|(i, rule)| check_retention(i, rule))
        }
        Change::KeyTrusted(key) => {
            name_field(&key.name)?;
            room(state.keys.len(), state.keys.contains_key(&key.name))
        }
        Change::KeyDistrusted(name) => {
            there("key", name, state.keys.contains_key(name))?;
            match state.policies.values().find(|p| p.signed_by.contains(name)) {
                Some(policy) => Err(Refusal::KeyInUse(policy.name.clone())),
                None => Ok(()),
            }
        }
        Change::PolicySet(policy) => {
            room(state.policies.len(), state.policies.contains_key(&policy.name))?;
            check_policy(state, policy)
        }
        Change::PolicyRemoved(name) => there("policy", name, state.policies.contains_key(name)),
        Change::FindingAllowed(allowance) => {
            room(state.allowances.len(), state.allowances.contains_key(&allowance.id))?;
            text_field("id", &allowance.id, 100)?;
            text_field("reason", &allowance.reason, LONGEST)?;
            if allowance.until.is_some_and(|u| u <= now) {
                return invalid("until", "must lie in the future");
            }
            Ok(())
        }
        Change::FindingDisallowed(id) => there("allowance", id, state.allowances.contains_key(id)),
        Change::Scanning(scanning) => match scanning.attach_sbom.as_deref() {
            None | Some("cyclonedx" | "spdx") => Ok(()),
            Some(_) => invalid("attach_sbom", "must be cyclonedx, spdx or null"),
        },
        Change::Platforms(platforms) => {
            room(platforms.wanted.len(), platforms.wanted.len() == MOST)?;
            match platforms.wanted.iter().position(|p| Platform::parse(p).is_none()) {
                Some(at) => invalid(&format!("wanted[{at}]"), "must be os/architecture[/variant], such as linux/amd64"),
                None => Ok(()),
            }
        }
        Change::UpstreamSet { upstream, .. } => {
            room(state.upstreams.len(), state.upstreams.contains_key(&upstream.name))?;
            flow::check_upstream(state, upstream)
        }
        Change::UpstreamRemoved(name) => there("upstream", name, state.upstreams.contains_key(name)),
        Change::TargetSet { target, .. } => {
            room(state.targets.len(), state.targets.contains_key(&target.name))?;
            name_field(&target.name)?;
            flow::check_endpoint(&target.endpoint)
        }
        Change::TargetRemoved(name) => {
            there("target", name, state.targets.contains_key(name))?;
            state.replications.values().find(|r| r.target == *name).map_or(Ok(()), |r| Err(Refusal::TargetInUse(r.name.clone())))
        }
        Change::ReplicationSet(rule) => {
            room(state.replications.len(), state.replications.contains_key(&rule.name))?;
            flow::check_replication(state, rule)
        }
        Change::ReplicationRemoved(name) => there("replication", name, state.replications.contains_key(name)),
        Change::WebhookSet { webhook, .. } => {
            room(state.webhooks.len(), state.webhooks.contains_key(&webhook.name))?;
            flow::check_webhook(webhook)
        }
        Change::WebhookRemoved(name) => there("webhook", name, state.webhooks.contains_key(name)),
        Change::ScannerSet { scanner, secret } => {
            room(state.scanners.len(), state.scanners.contains_key(&scanner.name))?;
            flow::check_scanner(scanner, secret.is_some())
        }
        Change::ScannerRemoved(name) => there("scanner", name, state.scanners.contains_key(name)),
    }
}

fn check_retention(i: usize, rule: &RetentionRule) -> Result<(), Refusal> {
    use gantry_contract::registry::settings::Keep;
    pattern_field(&format!("rules[{i}].repositories"), &rule.repositories)?;
    pattern_field(&format!("rules[{i}].tags"), &rule.tags)?;
    if let Some(label) = &rule.label {
        text_field(&format!("rules[{i}].label"), label, LONGEST)?;
    }
    match rule.keep {
        Keep::Newest(0) | Keep::PushedWithinDays(0) | Keep::PulledWithinDays(0) => invalid(&format!("rules[{i}].keep"), "must be at least 1"),
        Keep::PushedWithinDays(days) | Keep::PulledWithinDays(days) if days > 36_500 => invalid(&format!("rules[{i}].keep"), "must be at most 36500 days"),
        _ => Ok(()),
    }
}

fn check_policy(state: &Settings, policy: &Policy) -> Result<(), Refusal> {
    name_field(&policy.name)?;
    pattern_field("repositories", &policy.repositories)?;
    if policy.at.is_empty() {
        return invalid("at", "must be pull, deploy or both");
    }
    if let Some(word) = &policy.block_severity
        && (Severity::from_word(word) == Severity::Unknown || Severity::from_word(word).as_str() != word)
    {
        return invalid("block_severity", "must be low, medium, high or critical");
    }
    if policy.provenance_level > 3 {
        return invalid("provenance_level", "must be 0 to 3");
    }
    if policy.provenance_level == 3 && policy.builders.is_empty() {
        return invalid("builders", "level 3 needs the builders that count for it");
    }
    for (field, patterns) in [("builders", &policy.builders), ("denied_licences", &policy.denied_licences)] {
        if patterns.len() > MOST {
            return Err(Refusal::TooMany);
        }
        patterns.iter().enumerate().try_for_each(|(i, p)| pattern_field(&format!("{field}[{i}]"), p))?;
    }
    for (i, key) in policy.signed_by.iter().enumerate() {
        if key != "*" && !state.keys.contains_key(key) {
            return invalid(&format!("signed_by[{i}]"), "there is no trusted key of this name; add it first");
        }
    }
    let asks = policy.block_severity.is_some()
        || policy.must_be_scanned
        || !policy.signed_by.is_empty()
        || policy.provenance_level > 0
        || !policy.denied_licences.is_empty();
    if asks { Ok(()) } else { invalid("policy", "asks for nothing; give a severity, signers, a provenance level, denied licences or must_be_scanned") }
}

fn invalid<T>(field: &str, detail: &str) -> Result<T, Refusal> {
    Err(Refusal::Invalid { field: field.into(), detail: detail.into() })
}

fn pattern_field(field: &str, text: &str) -> Result<(), Refusal> {
    pattern::fault(text).map_or(Ok(()), |fault| invalid(field, fault))
}

fn name_field(name: &str) -> Result<(), Refusal> {
    gantry_kernel::Name::parse(name)
        .map(|_| ())
        .or_else(|_| invalid("name", "must be of a-z, 0-9 and '-', at most 63 characters, starting with a letter or digit"))
}

fn text_field(field: &str, text: &str, most: usize) -> Result<(), Refusal> {
    if text.trim().is_empty() || text.len() > most { invalid(field, &format!("must have 1 to {most} characters")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use gantry_contract::registry::settings::{Keep, Moment, WantedPlatforms};
    use gantry_es::spec::given;

    use super::*;

    fn command(change: Change) -> Command {
        let id = uuid::Uuid::from_u128(1);
        Command { org: id.into(), project: id.into(), change }
    }

    fn event(change: Change) -> Event {
        let Command { org, project, change } = command(change);
        Event::Changed { org, project, change }
    }

    fn policy() -> Policy {
        Policy {
            name: "strict".into(),
            repositories: "*".into(),
            at: vec![Moment::Pull],
            block_severity: Some("high".into()),
            only_fixable: false,
            must_be_scanned: false,
            signed_by: vec![],
            provenance_level: 0,
            builders: vec![],
            denied_licences: vec![],
        }
    }

    #[test]
    fn a_change_is_kept_and_the_same_again_is_nothing() {
        given::<ProjectSettings>([]).when(command(Change::Quota(Some(5)))).then([event(Change::Quota(Some(5)))]);
        given::<ProjectSettings>([event(Change::Quota(Some(5)))]).when(command(Change::Quota(Some(5)))).then([]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_field() {
        let bad = |change: Change, wanted: &str| {
            let wanted = wanted.to_owned();
            given::<ProjectSettings>([]).when(command(change)).then_refused(move |r| matches!(r, Refusal::Invalid { field, .. } if *field == wanted));
        };
        bad(Change::Immutability(vec![TagRule { repositories: "*".into(), tags: "{".into() }]), "rules[0].tags");
        bad(Change::PolicySet(Policy { block_severity: Some("severe".into()), ..policy() }), "block_severity");
        bad(Change::PolicySet(Policy { block_severity: None, ..policy() }), "policy");
        bad(Change::PolicySet(Policy { signed_by: vec!["nobody".into()], ..policy() }), "signed_by[0]");
        bad(Change::PolicySet(Policy { provenance_level: 3, ..policy() }), "builders");
        bad(Change::PolicySet(Policy { name: "No Name".into(), ..policy() }), "name");
        let rule = RetentionRule { repositories: "*".into(), tags: "*".into(), label: None, keep: Keep::Newest(0) };
        bad(Change::Retention(Retention { rules: vec![rule], ..Retention::default() }), "rules[0].keep");
        for days in [0, 36_501] {
            bad(Change::Retention(Retention { untagged_days: Some(days), ..Retention::default() }), "untagged_days");
        }
        bad(Change::Platforms(WantedPlatforms { wanted: vec!["linux/amd64".into(), "amd64".into()] }), "wanted[1]");
        let past = Some(OffsetDateTime::UNIX_EPOCH - std::time::Duration::from_secs(1));
        bad(Change::FindingAllowed(Allowance { id: "CVE-1".into(), reason: "r".into(), until: past, package: None }), "until");
        bad(Change::FindingAllowed(Allowance { id: "CVE-1".into(), reason: " ".into(), until: None, package: None }), "reason");
        bad(Change::Scanning(Scanning { attach_sbom: Some("pdf".into()) }), "attach_sbom");
    }

    #[test]
    fn a_key_that_a_policy_needs_stays() {
        let key = TrustedKey { name: "release".into(), pem: "x".into(), subject: vec![] };
        let history = [event(Change::KeyTrusted(key)), event(Change::PolicySet(Policy { signed_by: vec!["release".into()], ..policy() }))];
        given::<ProjectSettings>(history).when(command(Change::KeyDistrusted("release".into()))).then_refused(|r| *r == Refusal::KeyInUse("strict".into()));
        given::<ProjectSettings>([]).when(command(Change::KeyDistrusted("x".into()))).then_refused(|r| matches!(r, Refusal::NoSuch { .. }));
    }

    #[test]
    fn allowances_end_and_may_be_for_one_package() {
        let mut settings = Settings::default();
        let at = OffsetDateTime::UNIX_EPOCH;
        let until = Some(at + std::time::Duration::from_secs(10));
        settings.apply(&Change::FindingAllowed(Allowance { id: "CVE-1".into(), reason: "not reachable".into(), until, package: Some("bash".into()) }));
        assert!(settings.allowance(&["DSA-1", "CVE-1"], "bash", at).is_some());
        assert!(settings.allowance(&["CVE-1"], "zsh", at).is_none());
        assert!(settings.allowance(&["CVE-1"], "bash", at + std::time::Duration::from_secs(10)).is_none());
    }
}
