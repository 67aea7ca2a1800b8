//! Which program an image starts: its path followed through the layers as a file system would, over links and scripts.

use std::collections::{HashMap, HashSet};

use super::inventory::{LayerInventory, folders};
use crate::domain::config::Config;
use crate::domain::platform::Entry;

/// Links and interpreters that are followed; more is a circle.
const MOST_STEPS: usize = 40;
/// Bytes and parts of a path, and folders of `PATH`, that are looked at: an image may say anything.
const LONGEST: usize = 4_096;
const MOST_PARTS: usize = 128;
const MOST_FOLDERS: usize = 100;

/// What is at each path, seen from above.
type Seen<'a> = HashMap<&'a str, There<'a>>;

/// What is at a path.
#[derive(Clone, Copy)]
enum There<'a> {
    Link(&'a str),
    Program(&'a str),
    Script(&'a str),
}

/// The program that `config` starts in these layers (lowest first), with its machine; none when it is not found.
pub fn entry(config: &Config, layers: &[(String, LayerInventory)]) -> Option<Entry> {
    if config.starts.is_empty() {
        return None;
    }
    if config.platform.starts_with("windows/") {
        return on_windows(&config.starts, layers);
    }
    let seen = seen(layers);
    let name = config.starts.as_str();
    if name.contains('/') {
        return follow(&under(&config.working_dir, name), &seen);
    }
    config.path.split(':').take(MOST_FOLDERS).find_map(|folder| follow(&under(folder, name), &seen))
}

/// From the highest layer down, so that each path is looked at once however much the layers remove.
fn seen(layers: &[(String, LayerInventory)]) -> Seen<'_> {
    let mut seen = Seen::new();
    let mut removed: HashSet<&str> = HashSet::new();
    let mut opaque: HashSet<&str> = HashSet::new();
    for (_, layer) in layers.iter().rev() {
        let links = layer.links.iter().map(|(path, target)| (path.as_str(), There::Link(target)));
        let programs = layer.programs.iter().flat_map(|(machine, paths)| paths.iter().map(move |path| (path.as_str(), There::Program(machine))));
        let scripts = layer.scripts.iter().map(|(path, interpreter)| (path.as_str(), There::Script(interpreter)));
        for (path, what) in links.chain(programs).chain(scripts) {
            if !removed.contains(path) && !folders(path).any(|f| removed.contains(f) || opaque.contains(f)) {
                seen.entry(path).or_insert(what);
            }
        }
        removed.extend(layer.removed.iter().map(String::as_str));
        opaque.extend(layer.opaque.iter().map(String::as_str));
    }
    seen
}

/// Programs of Windows lie below `Files/` in their layers; their names are compared without regard to case.
fn on_windows(starts: &str, layers: &[(String, LayerInventory)]) -> Option<Entry> {
    let plain = starts.replace('\\', "/").to_ascii_lowercase();
    let plain = plain.trim_start_matches("c:").trim_start_matches('/');
    let wanted = [format!("files/{plain}"), format!("files/{plain}.exe"), plain.to_owned()];
    let programs = layers.iter().rev().flat_map(|(_, layer)| &layer.programs);
    programs
        .flat_map(|(machine, paths)| paths.iter().map(move |p| (machine, p)))
        .find_map(|(machine, path)| wanted.contains(&path.to_ascii_lowercase()).then(|| Entry { path: path.clone(), machine: machine.clone() }))
}

/// An absolute path, or one below `folder`.
fn under(folder: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") }
}

fn follow(path: &str, seen: &Seen<'_>) -> Option<Entry> {
    let mut path = path.to_owned();
    for _ in 0..MOST_STEPS {
        if path.len() > LONGEST || path.split('/').count() > MOST_PARTS {
            return None;
        }
        let (at, rest) = match first_link(&path, seen) {
            Ok(found) => found,
            Err(whole) => match seen.get(whole.as_str()).copied()? {
                There::Program(machine) => return Some(Entry { path: whole, machine: machine.to_owned() }),
                There::Script(interpreter) => {
                    path = under("", interpreter);
                    continue;
                }
                There::Link(_) => return None,
            },
        };
        let There::Link(target) = seen.get(at.as_str()).copied()? else { return None };
        let folder = at.rsplit_once('/').map_or("", |(folder, _)| folder);
        path = format!("{}/{rest}", under(folder, target));
    }
    None
}

/// The first part of a path that is a link, and what follows it; or the whole path without `.` and `..`.
fn first_link(path: &str, seen: &Seen<'_>) -> Result<(String, String), String> {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    let mut whole: Vec<&str> = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        if *part == ".." {
            whole.pop();
            continue;
        }
        whole.push(part);
        let at = whole.join("/");
        if matches!(seen.get(at.as_str()), Some(There::Link(_))) {
            return Ok((at, parts[n + 1..].join("/")));
        }
    }
    Err(whole.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(programs: &[(&str, &str)], links: &[(&str, &str)], scripts: &[(&str, &str)]) -> (String, LayerInventory) {
        let pairs = |all: &[(&str, &str)]| all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let mut layer = LayerInventory { links: pairs(links), scripts: pairs(scripts), ..LayerInventory::default() };
        for (path, machine) in programs {
            layer.programs.entry((*machine).to_owned()).or_default().push((*path).to_owned());
        }
        (String::new(), layer)
    }

    fn starts(text: &str) -> Config {
        Config { starts: text.into(), path: "/usr/local/bin:/bin".into(), working_dir: "/srv".into(), platform: "linux/amd64".into(), ..Config::default() }
    }

    #[test]
    fn a_name_is_looked_up_and_links_and_scripts_are_followed() {
        let base = layer(&[("usr/bin/dash", "amd64"), ("srv/app", "arm64")], &[("bin", "usr/bin"), ("usr/bin/sh", "dash")], &[]);
        let own = layer(&[], &[], &[("usr/local/bin/start.sh", "/bin/sh")]);
        let layers = [base, own];
        let found = |text: &str| entry(&starts(text), &layers).map(|e| (e.path, e.machine));
        let dash = Some(("usr/bin/dash".to_owned(), "amd64".to_owned()));
        assert_eq!(found("sh"), dash);
        assert_eq!(found("/bin/sh"), dash);
        assert_eq!(found("start.sh"), dash);
        assert_eq!(found("./app"), Some(("srv/app".to_owned(), "arm64".to_owned())));
        assert_eq!(found("../bin/sh"), dash);
        assert_eq!(found("nothing"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn an_upper_layer_hides_a_lower_one_and_circles_end() {
        let mut gone = layer(&[], &[("a", "b"), ("b", "a")], &[]);
        gone.1.removed.push("bin/app".into());
        let layers = [layer(&[("bin/app", "amd64")], &[], &[]), gone];
        assert_eq!(entry(&starts("app"), &layers), None);
        assert_eq!(entry(&starts("/a"), &layers), None);
        let replaced = [layer(&[("bin/app", "amd64")], &[], &[]), layer(&[("bin/app", "arm64")], &[], &[])];
        assert_eq!(entry(&starts("app"), &replaced).unwrap().machine, "arm64");
    }

    #[test]
    fn a_removed_folder_hides_what_was_in_it_and_paths_without_an_end_are_not_followed() {
        let mut gone = layer(&[], &[], &[]);
        gone.1.removed.push("bin".into());
        gone.1.opaque.push("opt".into());
        let layers = [layer(&[("bin/app", "amd64"), ("opt/x/run", "amd64")], &[], &[]), gone];
        assert_eq!(entry(&starts("app"), &layers), None);
        assert_eq!(entry(&starts("/opt/x/run"), &layers), None);
        let endless = Config { working_dir: "a/".repeat(1_000_000), ..starts("./app") };
        assert_eq!(entry(&endless, &layers), None);
    }

    #[test]
    fn programs_of_windows_are_found_below_their_folder() {
        let layers = [layer(&[("Files/App/Serve.exe", "windows/amd64")], &[], &[])];
        let config = Config { platform: "windows/amd64".into(), ..starts("C:\\app\\serve") };
        assert_eq!(entry(&config, &layers).unwrap().path, "Files/App/Serve.exe");
    }
}
