//! Configs and secrets that a space keeps, and how applications use them: what may be set, what a revision is tied to, and what
//! its instances are given. Variables have the version of their revision; files follow newer ones while the instance runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_kernel::Uuid;
use sha2::{Digest, Sha256};

use super::document::{Document, Remarks};
use super::model::{Config, File, Model, Mount, Pin};

/// Of all contents of one version, keys included.
pub const MOST_BYTES: u64 = 1 << 20;
const MOST_KEYS: usize = 1_000;
const MOST_NAME: usize = 200;

/// What is wrong with what somebody wants to set: the field and what is allowed.
pub type Fault = (String, String);

/// # Errors
/// What a name may be.
pub fn checked_name(name: &str) -> Result<(), Fault> {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if name.len() <= MOST_NAME && inner && ends(name.chars().next()) && ends(name.chars().last()) {
        return Ok(());
    }
    Err(("name".into(), format!("1 to {MOST_NAME} letters, digits, `.`, `_` and `-`, beginning and ending with a letter or digit")))
}

/// How many bytes a version has.
///
/// # Errors
/// All faults: keys that are none, contents that are not base64, too much of it.
pub fn checked(content: &Config) -> Result<u64, Vec<Fault>> {
    let mut faults = Vec::new();
    let (mut bytes, keys) = (0_u64, content.entries.len() + content.binary.len());
    for key in content.entries.keys().chain(content.binary.keys()) {
        let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if key.is_empty() || key.len() > 253 || !plain || key.starts_with("..") || key == "." {
            faults.push((format!("entries.{key}"), "a key is 1 to 253 letters, digits, `.`, `_` and `-`, and does not begin with `..`".into()));
        }
        bytes += key.len() as u64;
    }
    for (key, text) in &content.binary {
        match STANDARD.decode(text) {
            Ok(decoded) => bytes += decoded.len() as u64,
            Err(_) => faults.push((format!("binary.{key}"), "must be base64".into())),
        }
        if content.entries.contains_key(key) {
            faults.push((format!("binary.{key}"), "is also among `entries`".into()));
        }
    }
    bytes += content.entries.values().map(|v| v.len() as u64).sum::<u64>();
    if keys == 0 {
        faults.push(("entries".into(), "needs at least one key".into()));
    }
    if keys > MOST_KEYS {
        faults.push(("entries".into(), format!("has at most {MOST_KEYS} keys")));
    }
    if bytes > MOST_BYTES {
        faults.push((
            "entries".into(),
            format!("all keys and contents together are {bytes} bytes, and may be {MOST_BYTES} (1 MiB): keep larger files in a volume or an image"),
        ));
    }
    if faults.is_empty() { Ok(bytes) } else { Err(faults) }
}

/// Tells equal contents of one config from others, and nothing else: without the salt nobody can try contents against it.
pub fn fingerprint(salt: &str, content: &Config) -> String {
    let text = serde_json::to_vec(&(&content.entries, &content.binary, &content.kind)).unwrap_or_default();
    let inner = Sha256::new().chain_update(salt).chain_update(text).finalize();
    hex::encode(&Sha256::new().chain_update(salt).chain_update(inner).finalize()[..6])
}

/// Keys, and whether each is no text.
pub fn keys(content: &Config) -> BTreeMap<String, bool> {
    let texts = content.entries.keys().map(|k| (k.clone(), false));
    texts.chain(content.binary.keys().map(|k| (k.clone(), true))).collect()
}

/// The configs of a model that are the space's get the keys they have there; those that are not there are told.
pub fn ask(model: &mut Model, document: &Document<'_>, remarks: &Remarks) {
    for (name, config) in &mut model.configs {
        let Some(external) = &config.external else { continue };
        let at = format!("configs.{name}");
        let what = if config.secret { "secret" } else { "config" };
        match document.kept.get(&(external.clone(), config.secret)) {
            Some(keys) => {
                config.entries = keys.iter().map(|k| (k.clone(), String::new())).collect();
                config.binary.clear();
            }
            None if document.kept.contains_key(&(external.clone(), !config.secret)) => {
                remarks.wrong_at(&at, format!("`{external}` of the space is a {}, not a {what}", if config.secret { "config" } else { "secret" }));
            }
            None => remarks.wrong_at(&at, missing(external, config.secret)),
        }
    }
}

/// What to do about it, too.
pub fn missing(name: &str, secret: bool) -> String {
    let what = if secret { "secret" } else { "config" };
    format!("the space has no {what} `{name}`: make it first, with `gantry {what} set {name}`")
}

/// Files that share a folder with one that follows the space are shown by it, too; a folder into which something else is mounted
/// cannot be shown as a whole.
pub fn share_folders(files: &mut [File], mounts: &[Mount]) {
    let folders: BTreeSet<String> = files.iter().filter(|f| !f.folder.is_empty()).map(|f| f.folder.trim_end_matches('/').to_owned()).collect();
    for folder in folders {
        let inside = |path: &str| path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/') || rest.is_empty());
        let crowded = folder.is_empty() || mounts.iter().any(|m| inside(&m.target)) || files.iter().any(|f| f.path.trim_end_matches('/') == folder);
        for file in files.iter_mut().filter(|f| inside(&f.path)) {
            file.folder = if crowded { String::new() } else { folder.clone() };
        }
    }
}

/// How a model uses one of its configs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    pub variables: bool,
    pub files: bool,
    /// Of these, some that are not in a folder of their own: a cluster cannot change them under a running container.
    pub single_files: bool,
}

pub fn uses(model: &Model, config: &str) -> Uses {
    let from = |source: &str| source.split_once('/').is_some_and(|(name, _)| name == config);
    let mut found = Uses::default();
    let mut look = |sources: &BTreeMap<String, String>, files: &[File]| {
        found.variables |= sources.values().any(|s| from(s));
        for file in files.iter().filter(|f| from(&f.source)) {
            found.files = true;
            found.single_files |= file.folder.is_empty();
        }
    };
    for workload in model.workloads.values() {
        look(&workload.env_sources, &workload.files);
        workload.others().for_each(|c| look(&c.env_sources, &c.files));
    }
    found
}

/// One version of a config, without its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub config: Uuid,
    pub number: u32,
    pub fingerprint: String,
    pub keys: BTreeMap<String, bool>,
}

/// Which configs of the space a model asks for: its own name for each, the space's, whether it is a secret, and a version if it
/// names one.
pub fn wanted(model: &Model) -> Vec<(String, String, bool, Option<u32>)> {
    let external = |(name, c): (&String, &Config)| Some((name.clone(), c.external.clone()?, c.secret, c.version));
    model.configs.iter().filter_map(external).collect()
}

/// Where all keys of a config are shown: the path above them and the config, with one of the files.
fn shown_as_a_whole(files: &[File]) -> BTreeMap<(String, String), File> {
    let mut shown = BTreeMap::new();
    for like in files.iter().filter(|f| f.all_keys) {
        let Some((config, key)) = like.source.split_once('/') else { continue };
        let Some(above) = like.path.strip_suffix(key).and_then(|p| p.strip_suffix('/')) else { continue };
        shown.entry((above.to_owned(), config.to_owned())).or_insert_with(|| like.clone());
    }
    shown
}

/// Where all keys of a config are shown, these are the keys of the version that it is tied to.
fn keys_of(files: &mut Vec<File>, found: &BTreeMap<String, Version>) {
    let shown = shown_as_a_whole(files);
    let there = |source: &str| source.split_once('/').and_then(|(config, key)| Some(found.get(config)?.keys.contains_key(key))).unwrap_or(true);
    files.retain(|f| !f.all_keys || there(&f.source));
    for ((above, config), like) in shown {
        let Some(version) = found.get(&config) else { continue };
        for (key, base64) in &version.keys {
            let path = format!("{above}/{key}");
            if !files.iter().any(|f| f.path == path) {
                files.push(File { path, content: String::new(), base64: *base64, source: format!("{config}/{key}"), ..like.clone() });
            }
        }
    }
}

/// Ties a model to versions, found by its own names of the configs.
///
/// # Errors
/// Where, and what is missing in a version.
pub fn pin(model: &mut Model, found: &BTreeMap<String, Version>) -> Result<(), Fault> {
    for workload in model.workloads.values_mut() {
        keys_of(&mut workload.files, found);
        workload.others_mut().for_each(|c| keys_of(&mut c.files, found));
    }
    let lacks = |source: &str, variable: bool| -> Option<String> {
        let (config, key) = source.split_once('/')?;
        let version = found.get(config)?;
        match version.keys.get(key) {
            None => {
                let there: Vec<&str> = version.keys.keys().map(String::as_str).collect();
                Some(format!("version {} of `{config}` has no key `{key}`; it has: {}", version.number, there.join(", ")))
            }
            Some(true) if variable => Some(format!("`{key}` of `{config}` is no text, so it cannot be a variable: use it as a file")),
            Some(_) => None,
        }
    };
    for (name, workload) in &model.workloads {
        let others = workload.others().map(|c| (&c.env_sources, &c.files));
        for (sources, files) in std::iter::once((&workload.env_sources, &workload.files)).chain(others) {
            let variable = sources.values().find_map(|s| lacks(s, true));
            if let Some(detail) = variable.or_else(|| files.iter().find_map(|f| lacks(&f.source, false))) {
                return Err((format!("workloads.{name}"), detail));
            }
        }
    }
    for (name, config) in model.configs.iter_mut().filter(|(_, c)| c.external.is_some()) {
        let Some(version) = found.get(name) else { return Err((format!("configs.{name}"), "was not looked up".into())) };
        config.pinned = Some(Pin { config: version.config, version: version.number, fingerprint: version.fingerprint.clone() });
        let of = |binary: bool| version.keys.iter().filter(move |(_, b)| **b == binary).map(|(k, _)| (k.clone(), String::new())).collect();
        (config.entries, config.binary) = (of(false), of(true));
    }
    Ok(())
}

/// What a config of the space holds for one revision: as it was tied to, and as it is for files now.
#[derive(Clone, Debug)]
pub struct Contents {
    pub pinned: Arc<Config>,
    pub live: Arc<Config>,
}

/// The model with all contents, as instances are given it; by its own names of the configs.
pub fn fill(model: &Model, contents: &BTreeMap<String, Contents>) -> Model {
    let mut out = model.clone();
    let names: BTreeMap<String, String> = contents.keys().filter_map(|n| Some((n.clone(), fixed_name(n, model.configs.get(n)?)))).collect();
    for workload in out.workloads.values_mut() {
        variables(&mut workload.env, &mut workload.env_sources, contents, &names);
        fill_files(&mut workload.files, contents);
        for container in workload.others_mut() {
            variables(&mut container.env, &mut container.env_sources, contents, &names);
            fill_files(&mut container.files, contents);
        }
    }
    for (name, held) in contents {
        let Some(config) = out.configs.get(name).cloned() else { continue };
        let plain = Config { external: None, version: None, pinned: None, immutable: false, ..config };
        // What a newer version lacks stays as it was: a file that is shown must be there.
        let (mut entries, mut binary) = (held.pinned.entries.clone(), held.pinned.binary.clone());
        entries.retain(|key, _| held.live.get(key).is_none());
        binary.retain(|key, _| held.live.get(key).is_none());
        entries.extend(held.live.entries.clone());
        binary.extend(held.live.binary.clone());
        if uses(model, name).variables {
            let fixed = Config { entries: held.pinned.entries.clone(), binary: held.pinned.binary.clone(), kind: held.pinned.kind.clone(), ..plain.clone() };
            out.configs.insert(names[name].clone(), fixed);
        }
        out.configs.insert(name.clone(), Config { entries, binary, kind: held.live.kind.clone(), ..plain });
    }
    out
}

/// Of the object on a cluster that variables are read from: each version has its own, so that a pod that is started again has
/// the variables of its revision.
fn fixed_name(name: &str, config: &Config) -> String {
    let plain = name.strip_suffix(".secret").unwrap_or(name);
    let version = config.pinned.as_ref().map_or(0, |p| p.version);
    format!("{plain}-v{version}{}", if config.secret { ".secret" } else { "" })
}

fn variables(
    env: &mut BTreeMap<String, String>,
    sources: &mut BTreeMap<String, String>,
    contents: &BTreeMap<String, Contents>,
    names: &BTreeMap<String, String>,
) {
    for (variable, source) in sources.iter_mut() {
        let Some((config, key)) = source.split_once('/') else { continue };
        let Some(held) = contents.get(config) else { continue };
        match held.pinned.get(key) {
            Some((text, _)) => drop(env.insert(variable.clone(), text.to_owned())),
            None => drop(env.remove(variable)),
        }
        if let Some(name) = names.get(config) {
            *source = format!("{name}/{key}");
        }
    }
}

/// Contents, and behind them files of keys that a newer version has more, in folders that show all keys of a config. Where a folder is
/// not shown as a whole nothing can be added under a running container.
fn fill_files(files: &mut Vec<File>, contents: &BTreeMap<String, Contents>) {
    files.iter_mut().for_each(|f| file(f, contents));
    for ((above, config), like) in shown_as_a_whole(files).into_iter().filter(|(_, like)| !like.folder.is_empty()) {
        let Some(held) = contents.get(&config) else { continue };
        for key in keys(&held.live).into_keys() {
            let path = format!("{above}/{key}");
            let Some((content, base64)) = held.live.get(&key).filter(|_| !files.iter().any(|f| f.path == path)) else { continue };
            let source = format!("{config}/{key}");
            files.push(File { path, content: content.to_owned(), base64, source, live: true, added: true, ..like.clone() });
        }
    }
}

fn file(file: &mut File, contents: &BTreeMap<String, Contents>) {
    let Some((config, key)) = file.source.split_once('/') else { return };
    let Some(held) = contents.get(config) else { return };
    if let Some((content, base64)) = held.live.get(key).or_else(|| held.pinned.get(key)) {
        (file.content, file.base64, file.live) = (content.to_owned(), base64, true);
    }
}

#[cfg(test)]
mod tests;
