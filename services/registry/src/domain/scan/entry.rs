//! Which program an image starts: its path followed through the layers as a file system would, over links and scripts.

use super::inventory::LayerInventory;
use crate::domain::config::Config;
use crate::domain::platform::Entry;

/// Links and interpreters that are followed; more is a circle.
const MOST_STEPS: usize = 40;

/// What is at a path, seen from above.
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
    let name = config.starts.as_str();
    if name.contains('/') {
        return follow(&under(&config.working_dir, name), layers);
    }
    config.path.split(':').find_map(|folder| follow(&under(folder, name), layers))
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

fn follow(path: &str, layers: &[(String, LayerInventory)]) -> Option<Entry> {
    let mut path = path.to_owned();
    for _ in 0..MOST_STEPS {
        let (at, rest) = match first_link(&path, layers) {
            Ok(found) => found,
            Err(whole) => match there(&whole, layers)? {
                There::Program(machine) => return Some(Entry { path: whole, machine: machine.to_owned() }),
                There::Script(interpreter) => {
                    path = under("", interpreter);
                    continue;
                }
                There::Link(_) => return None,
            },
        };
        let There::Link(target) = there(&at, layers)? else { return None };
        let folder = at.rsplit_once('/').map_or("", |(folder, _)| folder);
        path = format!("{}/{rest}", under(folder, target));
    }
    None
}

/// The first part of a path that is a link, and what follows it; or the whole path without `.` and `..`.
fn first_link(path: &str, layers: &[(String, LayerInventory)]) -> Result<(String, String), String> {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    let mut whole: Vec<&str> = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        if *part == ".." {
            whole.pop();
            continue;
        }
        whole.push(part);
        let at = whole.join("/");
        if matches!(there(&at, layers), Some(There::Link(_))) {
            return Ok((at, parts[n + 1..].join("/")));
        }
    }
    Err(whole.join("/"))
}

fn there<'a>(path: &str, layers: &'a [(String, LayerInventory)]) -> Option<There<'a>> {
    for (_, layer) in layers.iter().rev() {
        if let Some(target) = layer.links.get(path) {
            return Some(There::Link(target));
        }
        if let Some((machine, _)) = layer.programs.iter().find(|(_, paths)| paths.iter().any(|p| p == path)) {
            return Some(There::Program(machine));
        }
        if let Some(interpreter) = layer.scripts.get(path) {
            return Some(There::Script(interpreter));
        }
        if layer.removed.iter().any(|r| r == path) {
            return None;
        }
    }
    None
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
    fn programs_of_windows_are_found_below_their_folder() {
        let layers = [layer(&[("Files/App/Serve.exe", "windows/amd64")], &[], &[])];
        let config = Config { platform: "windows/amd64".into(), ..starts("C:\\app\\serve") };
        assert_eq!(entry(&config, &layers).unwrap().path, "Files/App/Serve.exe");
    }
}
