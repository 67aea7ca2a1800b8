//! One OAuth client: registered, changed, given secrets (two at once, so that one can be replaced without a gap), deleted.
//! Its id is never given to another one, because tokens, consents and logs name it.

use gantry_contract::identity::{ClientEvent, ClientSecret, ClientSettings};
use gantry_es::{Ctx, Decider};
use gantry_kernel::OrgId;
use thiserror::Error;

/// One in use and the one that replaces it.
pub const MAX_SECRETS: usize = 2;

pub struct Client;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    Absent,
    Present(Box<Present>),
    Deleted,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Present {
    pub id: String,
    pub org: Option<OrgId>,
    pub settings: ClientSettings,
    pub secrets: Vec<ClientSecret>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Register { client: String, org: Option<OrgId>, settings: Box<ClientSettings>, secret: Option<ClientSecret>, dynamic: bool },
    Change { settings: Box<ClientSettings> },
    AddSecret { secret: ClientSecret },
    RemoveSecret { id: String },
    Delete,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no such client")]
    Unknown,
    #[error("this client id is taken, or was once; ids are never used again")]
    Exists,
    #[error("a client has at most {MAX_SECRETS} secrets at once: remove one first")]
    TooManySecrets,
    #[error("there is no such secret")]
    NoSecret,
    #[error("this is the last secret: add another one first, or change how the client authenticates")]
    LastSecret,
}

/// Whether clients of this method have secrets of ours.
pub fn uses_secret(method: &str) -> bool {
    matches!(method, "client_secret_basic" | "client_secret_post")
}

impl Decider for Client {
    type State = State;
    type Command = Command;
    type Event = ClientEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, ctx: &Ctx) -> Result<Vec<ClientEvent>, Refusal> {
        let it = match (state, command) {
            (State::Absent, Command::Register { client, org, settings, secret, dynamic }) => {
                let added = secret.map(|secret| ClientEvent::SecretAdded { client: client.clone(), secret });
                return Ok([ClientEvent::Registered { client, org, settings, dynamic }].into_iter().chain(added).collect());
            }
            (_, Command::Register { .. }) => return Err(Refusal::Exists),
            (State::Absent | State::Deleted, _) => return Err(Refusal::Unknown),
            (State::Present(it), command) => (it, command),
        };
        let (it, command) = it;
        let client = it.id.clone();
        // Expired ones do not count, and make room for new ones.
        let alive = |s: &&ClientSecret| s.expires_at.is_none_or(|at| at > ctx.now.unix_timestamp());
        Ok(match command {
            Command::Register { .. } => return Err(Refusal::Exists),
            Command::Change { settings } if *settings == it.settings => vec![],
            Command::Change { settings } => vec![ClientEvent::Changed { client, settings }],
            Command::AddSecret { .. } if it.secrets.iter().filter(alive).count() >= MAX_SECRETS => return Err(Refusal::TooManySecrets),
            Command::AddSecret { secret } => {
                let gone = it.secrets.iter().filter(|s| !alive(s)).map(|s| ClientEvent::SecretRemoved { client: client.clone(), id: s.id.clone() });
                gone.chain([ClientEvent::SecretAdded { client: client.clone(), secret }]).collect()
            }
            Command::RemoveSecret { id } => {
                if !it.secrets.iter().any(|s| s.id == id) {
                    return Err(Refusal::NoSecret);
                }
                let others = it.secrets.iter().filter(alive).any(|s| s.id != id);
                if !others && uses_secret(&it.settings.token_endpoint_auth_method) {
                    return Err(Refusal::LastSecret);
                }
                vec![ClientEvent::SecretRemoved { client, id }]
            }
            Command::Delete => vec![ClientEvent::Deleted { client }],
        })
    }

    fn evolve(state: State, event: &ClientEvent) -> State {
        let mut it = match (state, event) {
            (_, ClientEvent::Registered { client, org, settings, .. }) => {
                return State::Present(Box::new(Present { id: client.clone(), org: *org, settings: (**settings).clone(), secrets: vec![] }));
            }
            (_, ClientEvent::Deleted { .. }) => return State::Deleted,
            (State::Present(it), _) => it,
            (state, _) => return state,
        };
        match event {
            ClientEvent::Changed { settings, .. } => it.settings = (**settings).clone(),
            ClientEvent::SecretAdded { secret, .. } => it.secrets.push(secret.clone()),
            ClientEvent::SecretRemoved { id, .. } => it.secrets.retain(|s| s.id != *id),
            ClientEvent::Registered { .. } | ClientEvent::Deleted { .. } => {}
        }
        State::Present(it)
    }
}

#[cfg(test)]
mod tests {
    use gantry_es::spec::given;
    use gantry_kernel::OffsetDateTime;

    use super::*;

    fn registered() -> ClientEvent {
        ClientEvent::Registered { client: "shop".into(), org: None, settings: Box::default(), dynamic: false }
    }

    fn secret(id: &str, expires_at: Option<i64>) -> ClientSecret {
        ClientSecret { id: id.into(), hash: "h".into(), hint: "gcs_".into(), created_at: 0, expires_at }
    }

    fn added(id: &str) -> ClientEvent {
        ClientEvent::SecretAdded { client: "shop".into(), secret: secret(id, None) }
    }

    fn register(client: &str) -> Command {
        Command::Register { client: client.into(), org: None, settings: Box::default(), secret: Some(secret("a", None)), dynamic: false }
    }

    #[test]
    fn an_id_is_given_once_for_ever() {
        given::<Client>([]).when(register("shop")).then([registered(), added("a")]);
        given::<Client>([registered()]).when(register("shop")).then_refused(|r| *r == Refusal::Exists);
        given::<Client>([registered(), ClientEvent::Deleted { client: "shop".into() }]).when(register("shop")).then_refused(|r| *r == Refusal::Exists);
        given::<Client>([]).when(Command::Delete).then_refused(|r| *r == Refusal::Unknown);
    }

    #[test]
    fn two_secrets_live_at_once_and_the_last_one_stays() {
        let both = [registered(), added("a"), added("b")];
        given::<Client>([registered(), added("a")]).when(Command::AddSecret { secret: secret("b", None) }).then([added("b")]);
        given::<Client>(both.clone()).when(Command::AddSecret { secret: secret("c", None) }).then_refused(|r| *r == Refusal::TooManySecrets);
        let gone = ClientEvent::SecretRemoved { client: "shop".into(), id: "a".into() };
        given::<Client>(both).when(Command::RemoveSecret { id: "a".into() }).then([gone]);
        given::<Client>([registered(), added("a")]).when(Command::RemoveSecret { id: "a".into() }).then_refused(|r| *r == Refusal::LastSecret);
        given::<Client>([registered(), added("a")]).when(Command::RemoveSecret { id: "x".into() }).then_refused(|r| *r == Refusal::NoSecret);
    }

    #[test]
    fn an_expired_secret_makes_room() {
        let old = ClientEvent::SecretAdded { client: "shop".into(), secret: secret("old", Some(10)) };
        let gone = ClientEvent::SecretRemoved { client: "shop".into(), id: "old".into() };
        let later = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(11);
        given::<Client>([registered(), added("a"), old]).at(later).when(Command::AddSecret { secret: secret("b", None) }).then([gone, added("b")]);
    }

    #[test]
    fn the_same_settings_again_change_nothing() {
        given::<Client>([registered()]).when(Command::Change { settings: Box::default() }).then([]);
        let other = || Box::new(ClientSettings { client_name: "Shop".into(), ..ClientSettings::default() });
        given::<Client>([registered()]).when(Command::Change { settings: other() }).then([ClientEvent::Changed { client: "shop".into(), settings: other() }]);
    }
}
