//! Which command does what; one file per group.

mod account;
mod alerts;
mod app;
mod audit;
mod catalog;
mod certificates;
mod clients;
mod clusters;
mod configuration;
mod credential;
mod delivery;
mod document;
mod files;
mod finding;
mod flow;
mod inside;
mod kept;
mod logs;
mod metrics;
mod money;
mod operate;
mod orgs;
mod people;
mod places;
mod pools;
mod preview;
mod prices;
mod progress;
mod registry;
mod remains;
mod saved;
mod services;
mod signs;
mod spaces;
mod upstream;
mod volumes;
mod why;

use anyhow::Result;
use clap::CommandFactory;
use serde_json::Value;

pub use configuration::SetName;
use files::settings;

use crate::args::{Arguments, Command, Common, Place};
use crate::client::Client;
use crate::failure::Failure;
use crate::login;
use crate::output;
use crate::session::Store;

/// # Errors
/// What [`crate::failure::render`] shows.
pub async fn run(arguments: Arguments) -> Result<()> {
    let store = Store::find()?;
    with_store(arguments, store).await
}

/// As [`run`], with the remembered things elsewhere.
pub async fn with_store(arguments: Arguments, store: Store) -> Result<()> {
    let Arguments { common, command } = arguments;
    match command {
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "gantry", &mut std::io::stdout());
            return Ok(());
        }
        Command::Use { place } => {
            let mut session = store.read()?;
            session.at = Some(place.to_string());
            return store.write(&session);
        }
        Command::Admin(command) => return operate::admin(command),
        _ => {}
    }
    let client = Client::new(&common, store)?;
    let mut cx = Context { client, common };
    match command {
        Command::Login => {
            login::login(&mut cx.client).await?;
            if cx.client.has_given_token() {
                cx.note("GANTRY_TOKEN is set and comes before this sign-in: unset it to work as who has just signed in");
            }
            places::whoami(&mut cx).await
        }
        Command::Logout => login::logout(&mut cx.client).await,
        Command::Whoami => places::whoami(&mut cx).await,
        Command::Account(command) => account::run(&mut cx, command).await,
        Command::Register(new) => account::register(&mut cx, new).await,
        Command::Org(command) => orgs::org(&mut cx, command).await,
        Command::Member(command) => orgs::member(&mut cx, command).await,
        Command::Invitation(command) => orgs::invitation(&mut cx, command).await,
        Command::SecurityPolicy(command) => orgs::policy(&mut cx, command).await,
        Command::ScimToken(command) => orgs::scim_token(&mut cx, command).await,
        Command::Issuer(command) => orgs::issuer(&mut cx, command).await,
        Command::Project(command) => places::run(&mut cx, command, 2).await,
        Command::Space(command) => spaces::run(&mut cx, command).await,
        Command::ConfigurationSet(command) => configuration::sets(&mut cx, command).await,
        Command::Apply { files, set, prune, yes } => configuration::apply(&mut cx, &files, set.as_ref(), prune, yes).await,
        Command::Diff { files, set } => configuration::diff(&mut cx, &files, set.as_ref()).await,
        Command::Export { platform } => {
            let org = if platform { None } else { Some(cx.at(1)?.remove(0)) };
            configuration::export(&mut cx, org.as_deref()).await
        }
        Command::User(command) => people::user(&mut cx, command).await,
        Command::Team(command) => people::team(&mut cx, command).await,
        Command::Role(command) => people::role(&mut cx, command).await,
        Command::Rights(command) => people::rights(&mut cx, command).await,
        Command::CanI { permission, subject, platform } => people::can_i(&mut cx, &permission, subject, platform).await,
        Command::ServiceAccount(command) => people::service_account(&mut cx, command).await,
        Command::Token(command) => people::token(&mut cx, command).await,
        Command::App(command) => app::run(&mut cx, command).await,
        Command::Config(command) => kept::run(&mut cx, command, false).await,
        Command::Secret(command) => kept::run(&mut cx, command, true).await,
        Command::Volume(command) => volumes::run(&mut cx, command).await,
        Command::Image(command) => delivery::image(&mut cx, command).await,
        Command::Registry(command) => registry::run(&mut cx, command).await,
        Command::Repo(command) => delivery::repo(&mut cx, command).await,
        Command::Pipeline(command) => delivery::pipeline(&mut cx, command).await,
        Command::Catalog(command) => catalog::run(&mut cx, command).await,
        Command::Usage { from, to, project } => money::usage(&mut cx, from, to, project).await,
        Command::Invoice { period: Some(period), void: Some(reason), yes, .. } => money::void(&mut cx, &period, &reason, yes).await,
        Command::Invoice { period, list, .. } => money::invoice(&mut cx, period, list).await,
        Command::Upstream(command) => upstream::run(&mut cx, command).await,
        Command::Quota(command) => money::quota(&mut cx, command).await,
        Command::PricePlan(command) => prices::run(&mut cx, command).await,
        Command::Client(command) => clients::run(&mut cx, command).await,
        Command::Mails => operate::mails(&mut cx).await,
        Command::Key(command) => clients::keys(&mut cx, command).await,
        Command::Cluster(command) => clusters::run(&mut cx, command).await,
        Command::Pool(command) => pools::run(&mut cx, command).await,
        Command::Service(command) => services::run(&mut cx, command).await,
        Command::Alert(command) => alerts::run(&mut cx, command).await,
        Command::Sign(command) => signs::run(&mut cx, command).await,
        Command::Node(command) => operate::node(&mut cx, command).await,
        Command::Events(command) => operate::events(&mut cx, command).await,
        Command::Audit(command) => audit::run(&mut cx, command).await,
        Command::Completion { .. } | Command::Use { .. } | Command::Admin(_) => Ok(()),
    }
}

pub struct Context {
    pub client: Client,
    pub common: Common,
}

impl Context {
    /// The first `depth` names of the place to work in.
    fn at(&self, depth: usize) -> Result<Vec<String>> {
        let remembered = || self.client.session.at.as_ref().and_then(|p| p.parse::<Place>().ok());
        let place = self.common.at.clone().or_else(remembered);
        let wanted = ["an organisation: --at org", "a project: --at org/project", "a space: --at org/project/space"][depth - 1];
        match place {
            Some(place) if place.names().len() >= depth => Ok(place.names()[..depth].to_vec()),
            Some(place) => Err(Failure::Usage(format!("this needs {wanted} (now: {place}); `gantry use PLACE` remembers one")).into()),
            None => Err(Failure::Usage(format!("this needs {wanted}; `gantry use PLACE` remembers one")).into()),
        }
    }

    fn org(&self) -> Result<String> {
        Ok(path(&self.at(1)?))
    }

    fn project(&self) -> Result<String> {
        Ok(path(&self.at(2)?))
    }

    fn space(&self) -> Result<String> {
        Ok(path(&self.at(3)?))
    }

    fn list(&self, items: &[Value], columns: &[output::Column]) -> Result<()> {
        output::list(self.common.output, items, columns)?;
        if let Some(shown) = self.client.cut() {
            // Also for programs: what is not there must not be taken for what does not exist.
            eprintln!("only {shown} are shown, there are more: --help tells how to narrow them down, or --limit");
        }
        Ok(())
    }

    fn one(&self, item: &Value) -> Result<()> {
        output::one(self.common.output, item)
    }

    /// A line for people; programs that asked for JSON or YAML do not get it.
    fn note(&self, text: &str) {
        if self.common.output == crate::args::Format::Table {
            eprintln!("{text}");
        }
    }
}

/// `/api/v1/orgs/acme/projects/shop/spaces/test`.
fn path(names: &[String]) -> String {
    let words = ["orgs", "projects", "spaces"];
    names.iter().zip(words).fold("/api/v1".to_owned(), |path, (name, word)| format!("{path}/{word}/{name}"))
}

/// One part of a path, so that a name with a slash stays one part.
fn segment(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// Asks before something is lost; scripts say `--yes`.
fn confirm(what: &str, yes: bool) -> Result<()> {
    use std::io::IsTerminal;
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("{what}? say --yes to do it without a terminal")).into());
    }
    match inquire::Confirm::new(&format!("{what}?")).with_default(false).prompt()? {
        true => Ok(()),
        false => Err(Failure::Usage("nothing was changed".to_owned()).into()),
    }
}

/// `KEY=VALUE` words as a JSON object; a value that is JSON is taken as such.
fn pairs(words: &[String]) -> Result<Value> {
    let mut object = serde_json::Map::new();
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(|| Failure::Usage(format!("{word}: must be KEY=VALUE")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        object.insert(key.to_owned(), value);
    }
    Ok(Value::Object(object))
}

/// The same with every value as text: what a document's `${...}` takes.
fn texts(words: &[String]) -> Result<std::collections::BTreeMap<String, String>> {
    let pair = |word: &String| word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    words.iter().map(|w| pair(w).ok_or_else(|| Failure::Usage(format!("{w}: must be KEY=VALUE")).into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slash_stays_one_part_of_the_path() {
        assert_eq!(segment("team/api:v1"), "team%2Fapi%3Av1");
        assert_eq!(path(&["acme".into(), "shop".into()]), "/api/v1/orgs/acme/projects/shop");
    }

    #[test]
    fn values_keep_their_type() {
        let seen = pairs(&["replicas=3".into(), "name=shop".into(), "on=true".into()]).expect("pairs");
        assert_eq!(seen, serde_json::json!({ "replicas": 3, "name": "shop", "on": true }));
        assert!(pairs(&["nonsense".into()]).is_err());
    }
}
