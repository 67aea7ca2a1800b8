//! A certificate that a person signs in with, and an authority that an organisation trusts: each made once, removed once.

use gantry_contract::certificate::{AuthorityEvent, CertificateEvent, WhenStale};
use gantry_es::{Ctx, Decider, Sealed};
use gantry_kernel::{Name, OrgId, UserId, Uuid};
use thiserror::Error;

pub struct Certificate;

/// Whose it is and what it is found by, while it is bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State<T> {
    #[default]
    Absent,
    Here(T),
    Removed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub certificate: Uuid,
    pub user: UserId,
    pub key: String,
}

#[derive(Clone, Debug)]
pub struct Binding {
    pub certificate: Uuid,
    pub user: UserId,
    pub key: String,
    pub authority: Option<Uuid>,
    pub details: Sealed,
    pub label: Sealed,
    /// Unix seconds.
    pub not_after: i64,
}

#[derive(Clone, Debug)]
pub enum Command {
    Bind(Binding),
    Remove { reason: String },
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no such certificate")]
    Unknown,
    #[error("this certificate is bound already")]
    Exists,
}

impl Decider for Certificate {
    type State = State<Bound>;
    type Command = Command;
    type Event = CertificateEvent;
    type Refusal = Refusal;

    fn decide(state: &Self::State, command: Command, _: &Ctx) -> Result<Vec<CertificateEvent>, Refusal> {
        match (state, command) {
            (State::Absent, Command::Bind(Binding { certificate, user, key, authority, details, label, not_after })) => {
                Ok(vec![CertificateEvent::Bound { certificate, user, key, authority, details, label, not_after }])
            }
            (_, Command::Bind(_)) => Err(Refusal::Exists),
            (State::Here(it), Command::Remove { reason }) => Ok(vec![CertificateEvent::Removed { certificate: it.certificate, user: it.user, reason }]),
            (State::Absent | State::Removed, Command::Remove { .. }) => Err(Refusal::Unknown),
        }
    }

    fn evolve(_: Self::State, event: &CertificateEvent) -> Self::State {
        match event {
            CertificateEvent::Bound { certificate, user, key, .. } => State::Here(Bound { certificate: *certificate, user: *user, key: key.clone() }),
            CertificateEvent::Removed { .. } => State::Removed,
        }
    }
}

pub struct Authority;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    pub authority: Uuid,
    pub org: OrgId,
    pub name: Name,
    /// Where its list of revoked certificates is, and what holds without one.
    pub revocation: (Option<String>, Option<WhenStale>),
}

#[derive(Clone, Debug)]
pub enum AuthorityCommand {
    Trust {
        authority: Uuid,
        org: OrgId,
        name: Name,
        pem: String,
    },
    /// Nothing happens when it is so already.
    SetRevocation {
        url: Option<String>,
        when_stale: Option<WhenStale>,
    },
    Remove,
}

impl Decider for Authority {
    type State = State<Trusted>;
    type Command = AuthorityCommand;
    type Event = AuthorityEvent;
    type Refusal = Refusal;

    fn decide(state: &Self::State, command: AuthorityCommand, _: &Ctx) -> Result<Vec<AuthorityEvent>, Refusal> {
        match (state, command) {
            (State::Absent, AuthorityCommand::Trust { authority, org, name, pem }) => Ok(vec![AuthorityEvent::Trusted { authority, org, name, pem }]),
            (_, AuthorityCommand::Trust { .. }) => Err(Refusal::Exists),
            (State::Here(it), AuthorityCommand::Remove) => Ok(vec![AuthorityEvent::Removed { authority: it.authority, org: it.org, name: it.name.clone() }]),
            (State::Here(it), AuthorityCommand::SetRevocation { url, when_stale }) if it.revocation == (url.clone(), when_stale) => Ok(Vec::new()),
            (State::Here(it), AuthorityCommand::SetRevocation { url, when_stale }) => {
                Ok(vec![AuthorityEvent::RevocationSet { authority: it.authority, org: it.org, url, when_stale }])
            }
            (State::Absent | State::Removed, AuthorityCommand::Remove | AuthorityCommand::SetRevocation { .. }) => Err(Refusal::Unknown),
        }
    }

    fn evolve(state: Self::State, event: &AuthorityEvent) -> Self::State {
        match (state, event) {
            (_, AuthorityEvent::Trusted { authority, org, name, .. }) => {
                State::Here(Trusted { authority: *authority, org: *org, name: name.clone(), revocation: (None, None) })
            }
            (State::Here(it), AuthorityEvent::RevocationSet { url, when_stale, .. }) => State::Here(Trusted { revocation: (url.clone(), *when_stale), ..it }),
            (state, AuthorityEvent::RevocationSet { .. }) => state,
            (_, AuthorityEvent::Removed { .. }) => State::Removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_es::spec::given;

    use super::*;

    const ID: Uuid = Uuid::from_u128(1);
    const USER: UserId = UserId(Uuid::from_u128(2));

    fn binding() -> Binding {
        let sealed = || Sealed("s".into());
        Binding { certificate: ID, user: USER, key: "k".into(), authority: None, details: sealed(), label: sealed(), not_after: 7 }
    }

    fn bound() -> CertificateEvent {
        let sealed = || Sealed("s".into());
        CertificateEvent::Bound { certificate: ID, user: USER, key: "k".into(), authority: None, details: sealed(), label: sealed(), not_after: 7 }
    }

    #[test]
    fn a_certificate_is_bound_once_and_removed_once() {
        given::<Certificate>([]).when(Command::Bind(binding())).then([bound()]);
        given::<Certificate>([bound()]).when(Command::Bind(binding())).then_refused(|r| *r == Refusal::Exists);
        let remove = || Command::Remove { reason: "lost".into() };
        let removed = || CertificateEvent::Removed { certificate: ID, user: USER, reason: "lost".into() };
        given::<Certificate>([bound()]).when(remove()).then([removed()]);
        given::<Certificate>([bound(), removed()]).when(remove()).then_refused(|r| *r == Refusal::Unknown);
        given::<Certificate>([bound(), removed()]).when(Command::Bind(binding())).then_refused(|r| *r == Refusal::Exists);
    }

    #[test]
    fn an_authority_is_trusted_until_it_is_removed() {
        let (org, name) = (OrgId(Uuid::from_u128(3)), Name::parse("cards").unwrap());
        let trust = || AuthorityCommand::Trust { authority: ID, org, name: name.clone(), pem: "p".into() };
        let trusted = || AuthorityEvent::Trusted { authority: ID, org, name: name.clone(), pem: "p".into() };
        given::<Authority>([]).when(trust()).then([trusted()]);
        given::<Authority>([trusted()]).when(AuthorityCommand::Remove).then([AuthorityEvent::Removed { authority: ID, org, name: name.clone() }]);
        given::<Authority>([]).when(AuthorityCommand::Remove).then_refused(|r| *r == Refusal::Unknown);
        let set = |when_stale| AuthorityCommand::SetRevocation { url: Some("http://crl.test/".into()), when_stale };
        let done = |when_stale| AuthorityEvent::RevocationSet { authority: ID, org, url: Some("http://crl.test/".into()), when_stale };
        given::<Authority>([trusted()]).when(set(Some(WhenStale::Refuse))).then([done(Some(WhenStale::Refuse))]);
        given::<Authority>([trusted(), done(Some(WhenStale::Refuse))]).when(set(Some(WhenStale::Refuse))).then([]);
        given::<Authority>([trusted(), done(Some(WhenStale::Refuse))]).when(set(Some(WhenStale::Accept))).then([done(Some(WhenStale::Accept))]);
        given::<Authority>([]).when(set(None)).then_refused(|r| *r == Refusal::Unknown);
    }
}
