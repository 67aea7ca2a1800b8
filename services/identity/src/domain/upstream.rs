//! An upstream: a directory or foreign provider that vouches for people. Created, changed, deleted; and the link between
//! an account there and a person here. Names are unique on the platform (claimed in the log): they stand in redirect addresses.

pub mod filter;
pub mod groups;
pub mod link;
pub mod person;
pub mod preset;
pub mod settings;

use gantry_contract::upstream::{Settings, UpstreamEvent};
use gantry_es::{Ctx, Decider, Sealed};
use gantry_kernel::{Name, OrgId, UpstreamId};
use thiserror::Error;

use crate::domain::policy::WAYS;

pub struct Upstream;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    Absent,
    Present(Box<Present>),
    Deleted,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Present {
    pub upstream: UpstreamId,
    pub org: Option<OrgId>,
    pub name: Name,
    pub settings: Settings,
    pub secret: Option<Sealed>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create {
        upstream: UpstreamId,
        org: Option<OrgId>,
        name: Name,
        settings: Box<Settings>,
        secret: Option<Sealed>,
    },
    /// `secret`: `None` keeps the one there is.
    Change {
        settings: Box<Settings>,
        secret: Option<Sealed>,
    },
    Delete,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no such upstream")]
    Unknown,
    #[error("this upstream exists already")]
    Exists,
    #[error("`{0}` is a way to sign in of its own in security policies: choose another name")]
    Reserved(Name),
    #[error("an upstream stays what it is: make another one for another kind of connection")]
    OtherKind,
}

impl Decider for Upstream {
    type State = State;
    type Command = Command;
    type Event = UpstreamEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<UpstreamEvent>, Refusal> {
        match (state, command) {
            (State::Absent, Command::Create { name, .. }) if WAYS.contains(&name.as_str()) => Err(Refusal::Reserved(name)),
            (State::Absent, Command::Create { upstream, org, name, settings, secret }) => {
                Ok(vec![UpstreamEvent::Created { upstream, org, name, settings, secret }])
            }
            (_, Command::Create { .. }) => Err(Refusal::Exists),
            (State::Absent | State::Deleted, _) => Err(Refusal::Unknown),
            (State::Present(it), Command::Change { settings, secret }) => {
                if std::mem::discriminant(&it.settings.connection) != std::mem::discriminant(&settings.connection) {
                    return Err(Refusal::OtherKind);
                }
                if *settings == it.settings && secret.is_none() {
                    return Ok(vec![]);
                }
                Ok(vec![UpstreamEvent::Changed { upstream: it.upstream, settings, secret }])
            }
            (State::Present(it), Command::Delete) => Ok(vec![UpstreamEvent::Deleted { upstream: it.upstream, name: it.name.clone() }]),
        }
    }

    fn evolve(state: State, event: &UpstreamEvent) -> State {
        match (state, event) {
            (_, UpstreamEvent::Created { upstream, org, name, settings, secret }) => {
                State::Present(Box::new(Present { upstream: *upstream, org: *org, name: name.clone(), settings: (**settings).clone(), secret: secret.clone() }))
            }
            (State::Present(mut it), UpstreamEvent::Changed { settings, secret, .. }) => {
                it.settings = (**settings).clone();
                if let Some(secret) = secret {
                    it.secret = Some(secret.clone());
                }
                State::Present(it)
            }
            (State::Present(_), UpstreamEvent::Deleted { .. }) => State::Deleted,
            (state, _) => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_contract::upstream::{Connection, Oidc, Rules};
    use gantry_es::spec::given;
    use gantry_kernel::Uuid;

    use super::settings::tests::ldap;
    use super::*;

    const ID: UpstreamId = UpstreamId(Uuid::from_u128(1));

    fn name() -> Name {
        Name::parse("corp").unwrap()
    }

    fn sealed(text: &str) -> Option<Sealed> {
        Some(Sealed(text.into()))
    }

    fn created() -> UpstreamEvent {
        UpstreamEvent::Created { upstream: ID, org: None, name: name(), settings: Box::new(ldap()), secret: sealed("a") }
    }

    fn change(settings: Settings, secret: Option<Sealed>) -> Command {
        Command::Change { settings: Box::new(settings), secret }
    }

    #[test]
    fn an_upstream_is_created_once_changed_and_deleted() {
        let create = || Command::Create { upstream: ID, org: None, name: name(), settings: Box::new(ldap()), secret: sealed("a") };
        given::<Upstream>([]).when(create()).then([created()]);
        given::<Upstream>([created()]).when(create()).then_refused(|r| *r == Refusal::Exists);
        let other = Settings { sync_minutes: 5, ..ldap() };
        let changed = UpstreamEvent::Changed { upstream: ID, settings: Box::new(other.clone()), secret: None };
        given::<Upstream>([created()]).when(change(other.clone(), None)).then([changed.clone()]);
        given::<Upstream>([created(), changed]).when(change(other, None)).then([]);
        let deleted = UpstreamEvent::Deleted { upstream: ID, name: name() };
        given::<Upstream>([created()]).when(Command::Delete).then([deleted.clone()]);
        given::<Upstream>([created(), deleted]).when(Command::Delete).then_refused(|r| *r == Refusal::Unknown);
        given::<Upstream>([]).when(change(ldap(), None)).then_refused(|r| *r == Refusal::Unknown);
    }

    #[test]
    fn no_upstream_is_called_as_another_way_to_sign_in_is() {
        for way in WAYS {
            let name = Name::parse(way).unwrap();
            let create = Command::Create { upstream: ID, org: None, name: name.clone(), settings: Box::new(ldap()), secret: sealed("a") };
            given::<Upstream>([]).when(create).then_refused(|r| *r == Refusal::Reserved(name.clone()));
        }
    }

    #[test]
    fn a_secret_stays_unless_a_new_one_is_given() {
        let keep = UpstreamEvent::Changed { upstream: ID, settings: Box::new(ldap()), secret: None };
        let State::Present(it) = gantry_es::fold::<Upstream>(State::Absent, [&created(), &keep]) else { panic!("present") };
        assert_eq!(it.secret, sealed("a"));
        given::<Upstream>([created()]).when(change(ldap(), sealed("b"))).then([UpstreamEvent::Changed {
            upstream: ID,
            settings: Box::new(ldap()),
            secret: sealed("b"),
        }]);
    }

    #[test]
    fn a_directory_does_not_become_a_provider() {
        let oidc =
            Oidc { issuer: "https://id.example.org".into(), client_id: "gantry".into(), scopes: vec![], claims: Default::default(), secret_in_body: false };
        let settings = Settings { connection: Connection::Oidc(oidc), rules: Rules::default(), ..ldap() };
        given::<Upstream>([created()]).when(change(settings, None)).then_refused(|r| *r == Refusal::OtherKind);
    }
}
