//! The life of a service instance: requested → ready or failed → deleting → deleted; bindings while it is ready.

use std::collections::BTreeMap;

use gantry_contract::catalog::ServiceInstanceEvent as Event;
use gantry_es::{Ctx, Decider};
use gantry_kernel::{Name, OrgId, ProjectId, SpaceId, Uuid};
use serde_json::Value;
use thiserror::Error;

pub struct ServiceInstance;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    None,
    Provisioning,
    Ready,
    Failed,
    Deleting,
    Deleted,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Provisioning => "provisioning",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct State {
    pub phase: Phase,
    /// Everything asked for; there from the first event on.
    pub request: Option<Request>,
    /// Bindings by name.
    pub bindings: BTreeMap<Name, Uuid>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub instance: Uuid,
    pub org: OrgId,
    pub project: ProjectId,
    pub space: SpaceId,
    pub org_name: Name,
    pub project_name: Name,
    pub space_name: Name,
    pub name: Name,
    pub offering: String,
    pub plan: String,
    pub parameters: Value,
    /// On whose behalf.
    pub subject: String,
}

#[derive(Clone, Debug)]
pub enum Command {
    Request(Box<Request>),
    Succeed,
    Fail { reason: String },
    Bind { binding: Uuid, name: Name },
    Unbind { name: Name },
    Delete,
    FinishDeletion,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is an instance of this id already")]
    Exists,
    #[error("there is no such instance")]
    Missing,
    #[error("the instance is {0}")]
    WrongPhase(&'static str),
    #[error("there is a binding of this name already")]
    Bound,
    #[error("there is no such binding")]
    NotBound,
}

impl Decider for ServiceInstance {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<Event>, Refusal> {
        if let Command::Request(request) = command {
            return if state.phase == Phase::None { Ok(vec![requested(*request)]) } else { Err(Refusal::Exists) };
        }
        let Some(instance) = state.request.as_ref().map(|r| r.instance) else { return Err(Refusal::Missing) };
        let wrong = Err(Refusal::WrongPhase(state.phase.as_str()));
        let events = match (command, state.phase) {
            (Command::Succeed, Phase::Provisioning) => vec![Event::Provisioned { instance }],
            (Command::Fail { reason }, Phase::Provisioning) => vec![Event::Failed { instance, reason }],
            // A process that repeats its last step.
            (Command::Succeed, Phase::Ready) | (Command::Fail { .. }, Phase::Failed) => vec![],
            (Command::Bind { name, .. }, Phase::Ready) if state.bindings.contains_key(&name) => return Err(Refusal::Bound),
            (Command::Bind { binding, name }, Phase::Ready) => vec![Event::Bound { instance, binding, name }],
            (Command::Unbind { name }, Phase::Ready | Phase::Failed) => match state.bindings.get(&name) {
                Some(binding) => vec![Event::Unbound { instance, binding: *binding, name }],
                None => return Err(Refusal::NotBound),
            },
            (Command::Delete, Phase::Provisioning | Phase::Ready | Phase::Failed) => vec![Event::Deleting { instance }],
            (Command::Delete, Phase::Deleting) | (Command::FinishDeletion, Phase::Deleted) => vec![],
            (Command::FinishDeletion, Phase::Deleting) => vec![Event::Deleted { instance }],
            (Command::Delete, Phase::Deleted) => return Err(Refusal::Missing),
            _ => return wrong,
        };
        Ok(events)
    }

    fn evolve(mut state: State, event: &Event) -> State {
        match event.clone() {
            Event::Requested { instance, org, project, space, org_name, project_name, space_name, name, offering, plan, parameters, subject } => {
                state.phase = Phase::Provisioning;
                state.request = Some(Request { instance, org, project, space, org_name, project_name, space_name, name, offering, plan, parameters, subject });
            }
            Event::Provisioned { .. } => state.phase = Phase::Ready,
            Event::Failed { .. } => state.phase = Phase::Failed,
            Event::Bound { binding, name, .. } => {
                state.bindings.insert(name, binding);
            }
            Event::Unbound { name, .. } => {
                state.bindings.remove(&name);
            }
            Event::Deleting { .. } => state.phase = Phase::Deleting,
            Event::Deleted { .. } => {
                state.phase = Phase::Deleted;
                state.bindings.clear();
            }
        }
        state
    }
}

fn requested(r: Request) -> Event {
    Event::Requested {
        instance: r.instance,
        org: r.org,
        project: r.project,
        space: r.space,
        org_name: r.org_name,
        project_name: r.project_name,
        space_name: r.space_name,
        name: r.name,
        offering: r.offering,
        plan: r.plan,
        parameters: r.parameters,
        subject: r.subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_es::spec::given;

    const ID: Uuid = Uuid::from_u128(1);

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }
    fn request() -> Request {
        let nil = Uuid::nil();
        Request {
            instance: ID,
            org: OrgId(nil),
            project: ProjectId(nil),
            space: SpaceId(nil),
            org_name: name("acme"),
            project_name: name("shop"),
            space_name: name("test"),
            name: name("cache"),
            offering: "redis".into(),
            plan: "small".into(),
            parameters: serde_json::json!({}),
            subject: "user:1".into(),
        }
    }
    fn was_requested() -> Event {
        requested(request())
    }
    fn provisioned() -> Event {
        Event::Provisioned { instance: ID }
    }
    fn failed() -> Event {
        Event::Failed { instance: ID, reason: "no".into() }
    }
    fn bind() -> Command {
        Command::Bind { binding: ID, name: name("web") }
    }
    fn bound() -> Event {
        Event::Bound { instance: ID, binding: ID, name: name("web") }
    }

    #[test]
    fn an_instance_is_requested_once() {
        given::<ServiceInstance>([]).when(Command::Request(Box::new(request()))).then([was_requested()]);
        given::<ServiceInstance>([was_requested()]).when(Command::Request(Box::new(request()))).then_refused(|r| *r == Refusal::Exists);
    }

    #[test]
    fn a_repeated_last_step_of_provisioning_is_nothing() {
        given::<ServiceInstance>([was_requested()]).when(Command::Succeed).then([provisioned()]);
        given::<ServiceInstance>([was_requested(), provisioned()]).when(Command::Succeed).then([]);
        given::<ServiceInstance>([was_requested(), provisioned()])
            .when(Command::Fail { reason: "late".into() })
            .then_refused(|r| *r == Refusal::WrongPhase("ready"));
        given::<ServiceInstance>([was_requested(), failed()]).when(Command::Fail { reason: "no".into() }).then([]);
    }

    #[test]
    fn only_a_ready_instance_is_bound_and_each_name_once() {
        given::<ServiceInstance>([was_requested(), provisioned()]).when(bind()).then([bound()]);
        given::<ServiceInstance>([was_requested(), provisioned(), bound()]).when(bind()).then_refused(|r| *r == Refusal::Bound);
        given::<ServiceInstance>([was_requested()]).when(bind()).then_refused(|r| *r == Refusal::WrongPhase("provisioning"));
        given::<ServiceInstance>([]).when(bind()).then_refused(|r| *r == Refusal::Missing);
    }

    #[test]
    fn only_what_is_bound_is_unbound() {
        let unbound = Event::Unbound { instance: ID, binding: ID, name: name("web") };
        given::<ServiceInstance>([was_requested(), provisioned(), bound()]).when(Command::Unbind { name: name("web") }).then([unbound]);
        given::<ServiceInstance>([was_requested(), provisioned()]).when(Command::Unbind { name: name("web") }).then_refused(|r| *r == Refusal::NotBound);
    }

    #[test]
    fn an_instance_can_be_deleted_at_any_time_and_is_then_gone() {
        let deleting = || Event::Deleting { instance: ID };
        let deleted = || Event::Deleted { instance: ID };
        for history in [vec![was_requested()], vec![was_requested(), failed()], vec![was_requested(), provisioned(), bound()]] {
            given::<ServiceInstance>(history).when(Command::Delete).then([deleting()]);
        }
        given::<ServiceInstance>([was_requested(), deleting()]).when(Command::Delete).then([]);
        given::<ServiceInstance>([was_requested(), deleting()]).when(Command::Succeed).then_refused(|r| *r == Refusal::WrongPhase("deleting"));
        given::<ServiceInstance>([was_requested(), deleting()]).when(Command::FinishDeletion).then([deleted()]);
        given::<ServiceInstance>([was_requested(), deleting(), deleted()]).when(Command::FinishDeletion).then([]);
        given::<ServiceInstance>([was_requested(), deleting(), deleted()]).when(Command::Delete).then_refused(|r| *r == Refusal::Missing);
    }
}
