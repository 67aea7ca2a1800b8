//! A hosted repository: its name and where each of its branches and tags pointed when we last looked.

use std::collections::BTreeMap;

use gantry_contract::cicd::SourceEvent;
use gantry_es::{Ctx, Decider};
use gantry_kernel::{Name, OrgId, ProjectId};
use thiserror::Error;

/// "No commit": before a branch is made and after it is deleted.
pub const ZERO: &str = "0000000000000000000000000000000000000000";

#[derive(Clone, Debug, Default)]
pub struct Source {
    pub about: Option<(OrgId, ProjectId, Name)>,
    pub deleted: bool,
    pub refs: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub enum SourceCommand {
    Create {
        org: OrgId,
        project: ProjectId,
        org_name: Name,
        project_name: Name,
        name: Name,
    },
    /// All branches and tags as they are now; the difference becomes events.
    RecordRefs {
        refs: BTreeMap<String, String>,
    },
    Delete,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum SourceRefusal {
    #[error("the project already has a repository of that name")]
    NameTaken,
    #[error("there is no such repository")]
    NoSuchRepository,
}

pub struct SourceDecider;

impl Decider for SourceDecider {
    type State = Source;
    type Command = SourceCommand;
    type Event = SourceEvent;
    type Refusal = SourceRefusal;

    fn decide(state: &Source, command: SourceCommand, _: &Ctx) -> Result<Vec<SourceEvent>, SourceRefusal> {
        let existing = state.about.as_ref().filter(|_| !state.deleted);
        match command {
            SourceCommand::Create { org, project, org_name, project_name, name } => match existing {
                Some(_) => Err(SourceRefusal::NameTaken),
                None => Ok(vec![SourceEvent::Created { org, project, org_name, project_name, name }]),
            },
            SourceCommand::RecordRefs { refs } => {
                let (org, project, name) = existing.ok_or(SourceRefusal::NoSuchRepository)?;
                let gone = state.refs.keys().filter(|r| !refs.contains_key(*r)).map(|r| (r, ZERO));
                let there = refs.iter().map(|(r, commit)| (r, commit.as_str()));
                let pushed = |(reference, after): (&String, &str)| {
                    let before = state.refs.get(reference).map_or(ZERO, String::as_str);
                    (before != after).then(|| SourceEvent::Pushed {
                        org: *org,
                        project: *project,
                        name: name.clone(),
                        reference: reference.clone(),
                        before: before.to_owned(),
                        after: after.to_owned(),
                    })
                };
                Ok(gone.chain(there).filter_map(pushed).collect())
            }
            SourceCommand::Delete => match existing {
                None => Ok(Vec::new()),
                Some((org, project, name)) => Ok(vec![SourceEvent::Deleted { org: *org, project: *project, name: name.clone() }]),
            },
        }
    }

    fn evolve(mut state: Source, event: &SourceEvent) -> Source {
        match event {
            SourceEvent::Created { org, project, name, .. } => {
                state = Source { about: Some((*org, *project, name.clone())), ..Source::default() };
            }
            SourceEvent::Pushed { reference, after, .. } if after == ZERO => {
                state.refs.remove(reference);
            }
            SourceEvent::Pushed { reference, after, .. } => {
                state.refs.insert(reference.clone(), after.clone());
            }
            SourceEvent::Deleted { .. } => state.deleted = true,
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use gantry_es::spec::given;
    use gantry_kernel::Uuid;
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn ids() -> (OrgId, ProjectId) {
        (OrgId(Uuid::from_u128(1)), ProjectId(Uuid::from_u128(2)))
    }

    fn created() -> SourceEvent {
        SourceEvent::Created { org: ids().0, project: ids().1, org_name: name("acme"), project_name: name("shop"), name: name("web") }
    }

    fn pushed(reference: &str, before: &str, after: &str) -> SourceEvent {
        SourceEvent::Pushed { org: ids().0, project: ids().1, name: name("web"), reference: reference.into(), before: before.into(), after: after.into() }
    }

    fn refs(pairs: &[(&str, &str)]) -> SourceCommand {
        SourceCommand::RecordRefs { refs: pairs.iter().map(|(r, c)| ((*r).to_owned(), (*c).to_owned())).collect() }
    }

    #[test]
    fn a_name_is_taken_once_and_free_again_after_deletion() {
        let create = || SourceCommand::Create { org: ids().0, project: ids().1, org_name: name("acme"), project_name: name("shop"), name: name("web") };
        given::<SourceDecider>([]).when(create()).then([created()]);
        given::<SourceDecider>([created()]).when(create()).then_refused(|r| *r == SourceRefusal::NameTaken);
        let deleted = SourceEvent::Deleted { org: ids().0, project: ids().1, name: name("web") };
        given::<SourceDecider>([created()]).when(SourceCommand::Delete).then([deleted.clone()]);
        given::<SourceDecider>([created(), deleted.clone()]).when(create()).then([created()]);
        given::<SourceDecider>([created(), deleted]).when(refs(&[])).then_refused(|r| *r == SourceRefusal::NoSuchRepository);
    }

    #[test]
    fn only_what_moved_is_an_event() {
        let history = [created(), pushed("refs/heads/main", ZERO, "a"), pushed("refs/heads/old", ZERO, "a")];
        given::<SourceDecider>(history).when(refs(&[("refs/heads/main", "b"), ("refs/heads/new", "b")])).then([
            pushed("refs/heads/old", "a", ZERO),
            pushed("refs/heads/main", "a", "b"),
            pushed("refs/heads/new", ZERO, "b"),
        ]);
    }

    proptest! {
        #[test]
        fn looking_twice_finds_nothing_new(looks in proptest::collection::vec(proptest::collection::btree_map("refs/heads/[ab]", "[a-f0-9]{40}", 0..3), 1..6)) {
            let mut history = vec![created()];
            for refs in looks {
                let seen = given::<SourceDecider>(history.clone()).when(SourceCommand::RecordRefs { refs: refs.clone() }).result.unwrap();
                history.extend(seen);
                let state = gantry_es::fold::<SourceDecider>(Source::default(), &history);
                prop_assert_eq!(&state.refs, &refs.iter().filter(|(_, c)| c.as_str() != ZERO).map(|(r, c)| (r.clone(), c.clone())).collect());
                given::<SourceDecider>(history.clone()).when(SourceCommand::RecordRefs { refs }).then([]);
            }
        }
    }
}
