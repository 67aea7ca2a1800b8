//! All teams of one organisation as a forest: names are unique in it and no team can come to be above itself, so one
//! aggregate keeps their shape. Who is in a team is not kept here: see `membership`.

use std::collections::BTreeMap;

use gantry_contract::identity::TeamEvent;
use gantry_es::{Ctx, Decider};
use gantry_kernel::{Name, OrgId, TeamId};
use thiserror::Error;

const MOST: usize = 5_000;
/// A team and those above it: as many as decisions follow.
const DEEPEST: usize = 16;

pub struct Teams;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct State(pub BTreeMap<TeamId, Team>);

#[derive(Clone, Debug, PartialEq)]
pub struct Team {
    pub name: Name,
    pub display_name: String,
    pub parent: Option<TeamId>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create { org: OrgId, team: TeamId, name: Name, display_name: String, parent: Option<TeamId> },
    Rename { org: OrgId, team: TeamId, display_name: String },
    Move { org: OrgId, team: TeamId, parent: Option<TeamId> },
    Delete { org: OrgId, team: TeamId },
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no such team")]
    Unknown,
    #[error("there is no such team to be the parent")]
    NoParent,
    #[error("the team `{0}` exists already")]
    Exists(Name),
    #[error("a team cannot be above itself: `{0}` is below it already")]
    Circle(Name),
    #[error("teams nest at most {DEEPEST} deep")]
    TooDeep,
    #[error("an organisation has at most {MOST} teams")]
    TooMany,
    #[error("`{0}` is below it: move or delete that team first")]
    HasTeams(Name),
}

impl State {
    pub fn by_name(&self, name: &str) -> Option<(TeamId, &Team)> {
        self.0.iter().find(|(_, t)| t.name.as_str() == name).map(|(id, t)| (*id, t))
    }

    /// The team and all above it.
    fn depth(&self, team: Option<TeamId>) -> usize {
        let mut at = team;
        let mut depth = 0;
        while let Some(team) = at.and_then(|id| self.0.get(&id)) {
            depth += 1;
            at = team.parent;
        }
        depth
    }

    fn is_below(&self, team: TeamId, above: TeamId) -> bool {
        let mut at = Some(team);
        while let Some(id) = at {
            if id == above {
                return true;
            }
            at = self.0.get(&id).and_then(|t| t.parent);
        }
        false
    }

    /// How many levels hang on the team, itself included.
    fn height(&self, team: TeamId) -> usize {
        let below = self.0.iter().filter(|(_, t)| t.parent == Some(team)).map(|(id, _)| self.height(*id));
        1 + below.max().unwrap_or(0)
    }
}

impl Decider for Teams {
    type State = State;
    type Command = Command;
    type Event = TeamEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<TeamEvent>, Refusal> {
        let known = |team: TeamId| state.0.get(&team).ok_or(Refusal::Unknown);
        Ok(match command {
            Command::Create { name, .. } if state.by_name(name.as_str()).is_some() => return Err(Refusal::Exists(name)),
            Command::Create { .. } if state.0.len() >= MOST => return Err(Refusal::TooMany),
            Command::Create { parent: Some(parent), .. } if !state.0.contains_key(&parent) => return Err(Refusal::NoParent),
            Command::Create { parent, .. } if state.depth(parent) + 1 > DEEPEST => return Err(Refusal::TooDeep),
            Command::Create { org, team, name, display_name, parent } => vec![TeamEvent::Created { org, team, name, display_name, parent }],
            Command::Rename { org, team, display_name } => {
                if known(team)?.display_name == display_name {
                    vec![]
                } else {
                    vec![TeamEvent::Renamed { org, team, display_name }]
                }
            }
            Command::Move { org, team, parent } => {
                let it = known(team)?;
                if it.parent == parent {
                    return Ok(vec![]);
                }
                if let Some(above) = parent {
                    let target = state.0.get(&above).ok_or(Refusal::NoParent)?;
                    if state.is_below(above, team) {
                        return Err(Refusal::Circle(target.name.clone()));
                    }
                    if state.depth(parent) + state.height(team) > DEEPEST {
                        return Err(Refusal::TooDeep);
                    }
                }
                vec![TeamEvent::Moved { org, team, parent }]
            }
            Command::Delete { org, team } => {
                let name = known(team)?.name.clone();
                if let Some(below) = state.0.values().find(|t| t.parent == Some(team)) {
                    return Err(Refusal::HasTeams(below.name.clone()));
                }
                vec![TeamEvent::Deleted { org, team, name }]
            }
        })
    }

    fn evolve(mut state: State, event: &TeamEvent) -> State {
        match event {
            TeamEvent::Created { team, name, display_name, parent, .. } => {
                state.0.insert(*team, Team { name: name.clone(), display_name: display_name.clone(), parent: *parent });
            }
            TeamEvent::Renamed { team, display_name, .. } => {
                if let Some(it) = state.0.get_mut(team) {
                    it.display_name.clone_from(display_name);
                }
            }
            TeamEvent::Moved { team, parent, .. } => {
                if let Some(it) = state.0.get_mut(team) {
                    it.parent = *parent;
                }
            }
            TeamEvent::Deleted { team, .. } => {
                state.0.remove(team);
            }
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

    const ORG: OrgId = OrgId(Uuid::from_u128(1));

    fn id(n: u128) -> TeamId {
        TeamId(Uuid::from_u128(n))
    }

    fn created(n: u128, parent: Option<u128>) -> TeamEvent {
        let name = Name::parse(&format!("t{n}")).unwrap();
        TeamEvent::Created { org: ORG, team: id(n), display_name: name.to_string(), name, parent: parent.map(id) }
    }

    fn create(n: u128, parent: Option<u128>) -> Command {
        let name = Name::parse(&format!("t{n}")).unwrap();
        Command::Create { org: ORG, team: id(n), display_name: name.to_string(), name, parent: parent.map(id) }
    }

    fn to(n: u128, parent: Option<u128>) -> Command {
        Command::Move { org: ORG, team: id(n), parent: parent.map(id) }
    }

    #[test]
    fn a_team_has_a_free_name_and_a_known_parent() {
        given::<Teams>([]).when(create(1, None)).then([created(1, None)]);
        given::<Teams>([created(1, None)]).when(create(2, Some(1))).then([created(2, Some(1))]);
        given::<Teams>([created(1, None)]).when(create(1, None)).then_refused(|r| matches!(r, Refusal::Exists(_)));
        given::<Teams>([]).when(create(2, Some(1))).then_refused(|r| *r == Refusal::NoParent);
    }

    #[test]
    fn a_circle_is_refused() {
        let chain = || [created(1, None), created(2, Some(1)), created(3, Some(2))];
        given::<Teams>(chain()).when(to(1, Some(3))).then_refused(|r| matches!(r, Refusal::Circle(n) if n.as_str() == "t3"));
        given::<Teams>(chain()).when(to(1, Some(1))).then_refused(|r| matches!(r, Refusal::Circle(_)));
        given::<Teams>(chain()).when(to(3, Some(1))).then([TeamEvent::Moved { org: ORG, team: id(3), parent: Some(id(1)) }]);
        given::<Teams>(chain()).when(to(3, Some(2))).then([]);
    }

    #[test]
    fn a_team_with_teams_below_stays() {
        let two = || [created(1, None), created(2, Some(1))];
        given::<Teams>(two()).when(Command::Delete { org: ORG, team: id(1) }).then_refused(|r| matches!(r, Refusal::HasTeams(_)));
        let gone = TeamEvent::Deleted { org: ORG, team: id(2), name: Name::parse("t2").unwrap() };
        given::<Teams>(two()).when(Command::Delete { org: ORG, team: id(2) }).then([gone]);
        given::<Teams>([]).when(Command::Delete { org: ORG, team: id(2) }).then_refused(|r| *r == Refusal::Unknown);
    }

    #[test]
    fn the_depth_is_bounded_for_new_teams_and_for_moved_ones() {
        let deep: Vec<_> = (1..=16).map(|n| created(n, n.checked_sub(1).filter(|p| *p > 0))).collect();
        given::<Teams>(deep.clone()).when(create(17, Some(16))).then_refused(|r| *r == Refusal::TooDeep);
        let pair = deep.into_iter().chain([created(20, None), created(21, Some(20))]);
        given::<Teams>(pair).when(to(20, Some(15))).then_refused(|r| *r == Refusal::TooDeep);
    }

    proptest! {
        /// Whatever is asked for in whatever order, every team ends at a root within the allowed depth.
        #[test]
        fn no_order_of_commands_makes_a_circle(steps in proptest::collection::vec((0_u128..8, proptest::option::of(0_u128..8), any::<bool>()), 0..60)) {
            let ctx = Ctx { now: gantry_kernel::OffsetDateTime::UNIX_EPOCH, actor: "system".into() };
            let mut state = State::default();
            for (n, parent, moves) in steps {
                let command = if moves { to(n, parent) } else { create(n, parent) };
                for event in Teams::decide(&state, command, &ctx).unwrap_or_default() {
                    state = Teams::evolve(state, &event);
                }
            }
            for team in state.0.keys() {
                let mut at = Some(*team);
                let mut steps = 0;
                while let Some(id) = at {
                    at = state.0[&id].parent;
                    steps += 1;
                    prop_assert!(steps <= DEEPEST);
                }
            }
        }
    }
}
