//! A repository: its manifests and tags as an event-sourced aggregate. Blobs are content, not history, and are not here.

use std::collections::{BTreeMap, BTreeSet};

use gantry_contract::registry::{BlobRef, RepositoryEvent as Event};
use gantry_es::{Ctx, Decider, Snapshots};
use gantry_kernel::{OrgId, ProjectId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::digest::Digest;
use super::name::{RepositoryName, Tag};
use super::retention::is_attached;

/// Everything about a pushed manifest that is worth remembering.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushed {
    pub digest: Digest,
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub subject: Option<Digest>,
    pub size_bytes: u64,
    pub blobs: Vec<BlobRef>,
    /// Those of `blobs` that the repository does not have.
    pub missing: Vec<String>,
    pub manifests: Vec<String>,
    pub platforms: Vec<String>,
    pub annotations: BTreeMap<String, String>,
}

/// Severity counts of one scan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    pub packages: u32,
    pub critical: u32,
    pub high: u32,
    pub medium: u32,
    pub low: u32,
    pub unknown: u32,
}

/// Where: every command carries it, because the events do.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub org: OrgId,
    pub project: ProjectId,
    pub name: RepositoryName,
}

#[derive(Clone, Debug)]
pub enum Command {
    /// Keeps a manifest and points `tags` at it.
    Push {
        at: Place,
        manifest: Box<Pushed>,
        tags: Vec<Tag>,
        /// Patterns of tags that stay as they are.
        frozen: Vec<String>,
    },
    DeleteTag {
        at: Place,
        tag: Tag,
        /// Only if it still points there: what was decided about an image must not hit the one that was pushed meanwhile.
        pointing_at: Option<Digest>,
        frozen: Vec<String>,
    },
    DeleteManifest {
        at: Place,
        digest: Digest,
        /// Only if no tag points at it, those of signatures apart.
        nameless: bool,
        frozen: Vec<String>,
    },
    RecordScan {
        at: Place,
        digest: Digest,
        findings: Findings,
        database: String,
    },
}

impl Command {
    /// The same, where tags of these patterns stay as they are.
    pub fn under(mut self, patterns: Vec<String>) -> Self {
        match &mut self {
            Self::Push { frozen, .. } | Self::DeleteTag { frozen, .. } | Self::DeleteManifest { frozen, .. } => *frozen = patterns,
            Self::RecordScan { .. } => {}
        }
        self
    }
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no tag `{0}`")]
    NoSuchTag(String),
    #[error("there is no manifest `{0}`")]
    NoSuchManifest(String),
    #[error(
        "the tag `{0}` is immutable by a rule of the project: it can neither be moved nor deleted; use another tag, or ask an administrator of the project to change the rule"
    )]
    ImmutableTag(String),
    #[error("the tag `{0}` points at this image")]
    Named(String),
}

/// Kept as a snapshot: raise its shape below whenever the same events would give another state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    manifests: BTreeSet<String>,
    tags: BTreeMap<String, String>,
    /// Digest → the last result, so that an unchanged one writes nothing.
    scans: BTreeMap<String, (Findings, String)>,
}

impl State {
    pub fn has(&self, digest: &Digest) -> bool {
        self.manifests.contains(digest.as_str())
    }

    pub fn tag(&self, tag: &Tag) -> Option<&str> {
        self.tags.get(tag.as_str()).map(String::as_str)
    }
}

pub struct Repository;

impl Decider for Repository {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Push { at, manifest, tags, frozen } => {
                let moves = |t: &&Tag| state.tag(t).is_some_and(|d| d != manifest.digest.as_str());
                thawed(&frozen, tags.iter().filter(moves).map(Tag::as_str))?;
                Ok(push(state, at, *manifest, tags))
            }
            Command::DeleteTag { at, tag, pointing_at, frozen } => {
                let meant = |digest: &&str| pointing_at.as_ref().is_none_or(|p| p.as_str() == *digest);
                let digest = state.tag(&tag).filter(meant).ok_or_else(|| Refusal::NoSuchTag(tag.to_string()))?.to_owned();
                thawed(&frozen, [tag.as_str()])?;
                Ok(vec![Event::TagDeleted { org: at.org, project: at.project, repository: at.name.to_string(), tag: tag.to_string(), digest }])
            }
            Command::DeleteManifest { at, digest, nameless, frozen } => {
                if nameless && let Some((tag, _)) = state.tags.iter().find(|(tag, d)| *d == digest.as_str() && !is_attached(tag)) {
                    return Err(Refusal::Named(tag.clone()));
                }
                thawed(&frozen, state.tags.iter().filter(|(_, d)| *d == digest.as_str()).map(|(t, _)| t.as_str()))?;
                delete(state, &at, digest.as_str())
            }
            Command::RecordScan { at, digest, findings, database } => {
                if !state.has(&digest) {
                    return Err(Refusal::NoSuchManifest(digest.to_string()));
                }
                if state.scans.get(digest.as_str()).is_some_and(|(f, d)| *f == findings && *d == database) {
                    return Ok(vec![]);
                }
                let Findings { packages, critical, high, medium, low, unknown } = findings;
                let (org, project, repository, digest) = (at.org, at.project, at.name.to_string(), digest.into());
                Ok(vec![Event::Scanned { org, project, repository, digest, packages, critical, high, medium, low, unknown, database }])
            }
        }
    }

    // One event per push, for years.
    fn snapshots() -> Option<Snapshots<State>> {
        Some(Snapshots::json(1))
    }

    fn evolve(mut state: State, event: &Event) -> State {
        match event {
            Event::ManifestPushed { digest, .. } => {
                state.manifests.insert(digest.clone());
            }
            Event::TagMoved { tag, digest, .. } => {
                state.tags.insert(tag.clone(), digest.clone());
            }
            Event::TagDeleted { tag, .. } => {
                state.tags.remove(tag);
            }
            Event::ManifestDeleted { digest, .. } => {
                state.manifests.remove(digest);
                state.scans.remove(digest);
                state.tags.retain(|_, d| d != digest);
            }
            Event::Scanned { digest, packages, critical, high, medium, low, unknown, database, .. } => {
                let findings = Findings { packages: *packages, critical: *critical, high: *high, medium: *medium, low: *low, unknown: *unknown };
                state.scans.insert(digest.clone(), (findings, database.clone()));
            }
        }
        state
    }
}

fn push(state: &State, at: Place, manifest: Pushed, tags: Vec<Tag>) -> Vec<Event> {
    let repository = at.name.to_string();
    let digest = manifest.digest.to_string();
    let mut events = Vec::new();
    if !state.has(&manifest.digest) {
        events.push(Event::ManifestPushed {
            org: at.org,
            project: at.project,
            repository: repository.clone(),
            digest: digest.clone(),
            media_type: manifest.media_type,
            artifact_type: manifest.artifact_type,
            subject: manifest.subject.map(String::from),
            size_bytes: manifest.size_bytes,
            blobs: manifest.blobs,
            missing: manifest.missing,
            manifests: manifest.manifests,
            platforms: manifest.platforms,
            annotations: manifest.annotations,
        });
    }
    let mut seen = BTreeSet::new();
    for tag in tags {
        let from = state.tag(&tag).map(str::to_owned);
        if from.as_deref() != Some(&digest) && seen.insert(tag.clone()) {
            let (repository, digest) = (repository.clone(), digest.clone());
            events.push(Event::TagMoved { org: at.org, project: at.project, repository, tag: tag.to_string(), digest, from });
        }
    }
    events
}

/// Refuses when one of `tags`, which would be moved or deleted, is immutable.
fn thawed<'a>(frozen: &[String], tags: impl IntoIterator<Item = &'a str>) -> Result<(), Refusal> {
    let held = tags.into_iter().find(|tag| frozen.iter().any(|p| super::pattern::matches(p, tag)));
    held.map_or(Ok(()), |tag| Err(Refusal::ImmutableTag(tag.to_owned())))
}

/// The tags go first, so that a reader of the history sees each one end.
fn delete(state: &State, at: &Place, digest: &str) -> Result<Vec<Event>, Refusal> {
    if !state.manifests.contains(digest) {
        return Err(Refusal::NoSuchManifest(digest.to_owned()));
    }
    let (org, project) = (at.org, at.project);
    let mut events: Vec<_> = state
        .tags
        .iter()
        .filter(|(_, d)| *d == digest)
        .map(|(tag, d)| Event::TagDeleted { org, project, repository: at.name.to_string(), tag: tag.clone(), digest: d.clone() })
        .collect();
    events.push(Event::ManifestDeleted { org, project, repository: at.name.to_string(), digest: digest.to_owned() });
    Ok(events)
}

#[cfg(test)]
mod tests {
    use gantry_es::spec::given;
    use proptest::prelude::*;

    use super::super::digest::Algorithm;
    use super::*;

    fn at() -> Place {
        let id = uuid::Uuid::from_u128(1);
        Place { org: id.into(), project: id.into(), name: RepositoryName::parse("acme/shop/web").unwrap() }
    }

    fn digest(n: u8) -> Digest {
        Digest::of(Algorithm::Sha256, &[n])
    }

    fn manifest(n: u8) -> Box<Pushed> {
        Box::new(Pushed {
            digest: digest(n),
            media_type: "m".into(),
            artifact_type: None,
            subject: None,
            size_bytes: 1,
            blobs: vec![],
            missing: vec![],
            manifests: vec![],
            platforms: vec![],
            annotations: BTreeMap::new(),
        })
    }

    fn push_command(n: u8, tag: Option<&str>) -> Command {
        Command::Push { at: at(), manifest: manifest(n), tags: tag.into_iter().map(|t| Tag::parse(t).unwrap()).collect(), frozen: vec![] }
    }

    fn moved(tag: &str, n: u8, from: Option<u8>) -> Event {
        let place = at();
        Event::TagMoved {
            org: place.org,
            project: place.project,
            repository: place.name.to_string(),
            tag: tag.into(),
            digest: digest(n).into(),
            from: from.map(|f| digest(f).into()),
        }
    }

    fn pushed(n: u8) -> Event {
        push(&State::default(), at(), *manifest(n), vec![]).remove(0)
    }

    #[test]
    fn a_first_push_keeps_the_manifest_and_moves_the_tag() {
        given::<Repository>([]).when(push_command(1, Some("v1"))).then([pushed(1), moved("v1", 1, None)]);
    }

    #[test]
    fn pushing_the_same_again_changes_nothing() {
        given::<Repository>([pushed(1), moved("v1", 1, None)]).when(push_command(1, Some("v1"))).then([]);
    }

    #[test]
    fn what_was_decided_about_an_image_does_not_hit_the_one_that_came_meanwhile() {
        let signed = format!("{}.sig", digest(2).as_str().replace(':', "-"));
        let history = [pushed(1), pushed(2), moved("v1", 2, Some(1)), moved(&signed, 1, None)];
        let tag = |n: u8| Command::DeleteTag { at: at(), tag: Tag::parse("v1").unwrap(), pointing_at: Some(digest(n)), frozen: vec![] };
        given::<Repository>(history.clone()).when(tag(1)).then_refused(|r| *r == Refusal::NoSuchTag("v1".into()));
        let left = given::<Repository>(history.clone()).when(tag(2)).then([Event::TagDeleted {
            org: at().org,
            project: at().project,
            repository: at().name.to_string(),
            tag: "v1".into(),
            digest: digest(2).into(),
        }]);
        assert_eq!(left.tag(&Tag::parse("v1").unwrap()), None);
        let nameless = |n: u8| Command::DeleteManifest { at: at(), digest: digest(n), nameless: true, frozen: vec![] };
        given::<Repository>(history.clone()).when(nameless(2)).then_refused(|r| *r == Refusal::Named("v1".into()));
        // The tag of a signature goes with it.
        let (org, project, repository) = (at().org, at().project, at().name.to_string());
        given::<Repository>(history).when(nameless(1)).then([
            Event::TagDeleted { org, project, repository: repository.clone(), tag: signed, digest: digest(1).into() },
            Event::ManifestDeleted { org, project, repository, digest: digest(1).into() },
        ]);
    }

    #[test]
    fn a_command_is_decided_by_the_patterns_that_it_is_given() {
        let history = [pushed(1), moved("v1", 1, None)];
        let held = push_command(2, Some("v1")).under(vec!["v*".into()]);
        given::<Repository>(history.clone()).when(held.clone()).then_refused(|r| *r == Refusal::ImmutableTag("v1".into()));
        given::<Repository>(history).when(held.under(vec![])).then([pushed(2), moved("v1", 2, Some(1))]);
    }

    #[test]
    fn a_tag_that_moves_says_from_where() {
        given::<Repository>([pushed(1), moved("v1", 1, None)]).when(push_command(2, Some("v1"))).then([pushed(2), moved("v1", 2, Some(1))]);
    }

    #[test]
    fn deleting_a_manifest_ends_its_tags_first() {
        let place = at();
        let ended =
            Event::TagDeleted { org: place.org, project: place.project, repository: place.name.to_string(), tag: "v1".into(), digest: digest(1).into() };
        let gone = Event::ManifestDeleted { org: place.org, project: place.project, repository: place.name.to_string(), digest: digest(1).into() };
        let state = given::<Repository>([pushed(1), pushed(2), moved("v1", 1, None), moved("v2", 2, None)])
            .when(Command::DeleteManifest { at: at(), digest: digest(1), nameless: false, frozen: vec![] })
            .then([ended, gone]);
        assert_eq!((state.tags.len(), state.manifests.len()), (1, 1));
    }

    #[test]
    fn what_is_not_there_cannot_be_deleted_or_scanned() {
        given::<Repository>([])
            .when(Command::DeleteTag { at: at(), tag: Tag::parse("v1").unwrap(), pointing_at: None, frozen: vec![] })
            .then_refused(|r| matches!(r, Refusal::NoSuchTag(t) if t == "v1"));
        given::<Repository>([])
            .when(Command::DeleteManifest { at: at(), digest: digest(1), nameless: false, frozen: vec![] })
            .then_refused(|r| matches!(r, Refusal::NoSuchManifest(_)));
        let scan = Command::RecordScan { at: at(), digest: digest(1), findings: Findings::default(), database: "d".into() };
        given::<Repository>([]).when(scan).then_refused(|r| matches!(r, Refusal::NoSuchManifest(_)));
    }

    #[test]
    fn an_immutable_tag_can_be_set_once_and_neither_moved_nor_deleted() {
        let frozen = || vec!["v*".to_owned()];
        let push = |n| Command::Push { at: at(), manifest: manifest(n), tags: vec![Tag::parse("v1").unwrap()], frozen: frozen() };
        let history = || [pushed(1), moved("v1", 1, None)];
        given::<Repository>([]).when(push(1)).then(history());
        given::<Repository>(history()).when(push(1)).then([]);
        given::<Repository>(history()).when(push(2)).then_refused(|r| matches!(r, Refusal::ImmutableTag(t) if t == "v1"));
        let delete = Command::DeleteTag { at: at(), tag: Tag::parse("v1").unwrap(), pointing_at: None, frozen: frozen() };
        given::<Repository>(history()).when(delete).then_refused(|r| matches!(r, Refusal::ImmutableTag(_)));
        let delete = Command::DeleteManifest { at: at(), digest: digest(1), nameless: false, frozen: frozen() };
        given::<Repository>(history()).when(delete).then_refused(|r| matches!(r, Refusal::ImmutableTag(_)));
    }

    #[test]
    fn an_unchanged_scan_writes_nothing() {
        let scan = || Command::RecordScan { at: at(), digest: digest(1), findings: Findings { high: 2, ..Findings::default() }, database: "d".into() };
        let first = given::<Repository>([pushed(1)]).when(scan()).result.unwrap();
        assert_eq!(first.len(), 1);
        given::<Repository>([pushed(1), first[0].clone()]).when(scan()).then([]);
    }

    proptest! {
        /// A tag never points at a manifest that is not there, whatever happened.
        #[test]
        fn tags_always_point_at_kept_manifests(steps in proptest::collection::vec((0u8..3, 0u8..4, 0u8..3), 0..40)) {
            let mut state = State::default();
            let ctx = Ctx { now: gantry_kernel::OffsetDateTime::UNIX_EPOCH, actor: "user:test".into() };
            for (what, n, t) in steps {
                let tag = Tag::parse(&format!("t{t}")).unwrap();
                let command = match what {
                    0 => Command::Push { at: at(), manifest: manifest(n), tags: vec![tag], frozen: vec![] },
                    1 => Command::DeleteTag { at: at(), tag, pointing_at: None, frozen: vec![] },
                    _ => Command::DeleteManifest { at: at(), digest: digest(n), nameless: false, frozen: vec![] },
                };
                if let Ok(events) = Repository::decide(&state, command, &ctx) {
                    state = gantry_es::fold::<Repository>(state, &events);
                }
                prop_assert!(state.tags.values().all(|d| state.manifests.contains(d)));
            }
        }
    }
}
