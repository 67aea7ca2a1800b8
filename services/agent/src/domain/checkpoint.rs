//! What goes with a checkpoint, and whether another machine can go on from it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Of the machine and the container that it was taken of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// "x86_64"
    pub architecture: String,
    /// Of CRIU: "4.2.1".
    pub criu: String,
    /// What the processor can do, as /proc/cpuinfo names it: a program may have found and used all of it.
    pub processor: BTreeSet<String>,
}

/// Why a container cannot go on from what was taken on another machine; nothing if it can.
pub fn obstacle(taken: &About, here: &About) -> Option<String> {
    if taken.architecture != here.architecture {
        return Some(format!("it was taken on {}, and this node is {}", taken.architecture, here.architecture));
    }
    // Images are read by later versions, not by earlier ones.
    if number(&taken.criu) > number(&here.criu) {
        return Some(format!("it was taken by CRIU {}, and this node has {}", taken.criu, here.criu));
    }
    let missing: Vec<&str> = taken.processor.difference(&here.processor).map(String::as_str).take(5).collect();
    (!missing.is_empty()).then(|| format!("the processor of this node lacks what that of the other has: {}", missing.join(", ")))
}

fn number(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// The version in what `criu --version` prints: `Version: 4.2.1`.
pub fn version(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.strip_prefix("Version:")).map(str::trim).filter(|v| !v.is_empty())
}

/// The flags of the first processor in /proc/cpuinfo.
pub fn flags(cpuinfo: &str) -> BTreeSet<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
    let words = line.and_then(|line| line.split_once(':')).map_or("", |(_, words)| words);
    words.split_whitespace().map(str::to_owned).collect()
}

/// The folder that holds what a container has changed of its image, from the /proc/<pid>/mountinfo of its process; nothing if its root
/// is no overlay.
pub fn own_layer(mountinfo: &str) -> Option<&str> {
    let root = mountinfo.lines().find(|line| line.split(' ').nth(4) == Some("/"))?;
    let (_, kind) = root.split_once(" - overlay ")?;
    kind.split(' ').nth(1)?.split(',').find_map(|option| option.strip_prefix("upperdir="))
}

/// The lines in which CRIU says what went wrong, without times and places in its source; at most a few.
pub fn faults(log: &str) -> String {
    let errors = log.lines().filter_map(|line| line.split_once(" Error "));
    let said = errors.map(|(_, text)| text.split_once("): ").map_or(text, |(_, said)| said).trim());
    // It goes on without this.
    let said: Vec<&str> = said.filter(|text| !text.starts_with("rlimit:")).take(3).collect();
    said.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(criu: &str, processor: &[&str]) -> About {
        About { architecture: "x86_64".into(), criu: criu.into(), processor: processor.iter().map(|f| (*f).to_owned()).collect() }
    }

    #[test]
    fn a_machine_that_can_less_is_refused_with_what_it_lacks() {
        gantry_testkit::clause("6.3.3.x");
        let taken = about("4.2.1", &["avx", "sse"]);
        assert_eq!(obstacle(&taken, &taken), None);
        assert_eq!(obstacle(&taken, &about("4.10", &["avx", "avx512f", "sse"])), None);
        assert!(obstacle(&taken, &about("4.2", &["avx", "sse"])).is_some_and(|why| why.contains("4.2.1")));
        assert!(obstacle(&taken, &about("4.2.1", &["sse"])).is_some_and(|why| why.ends_with("has: avx")));
        let arm = About { architecture: "aarch64".into(), ..taken.clone() };
        assert!(obstacle(&taken, &arm).is_some_and(|why| why.contains("aarch64")));
    }

    #[test]
    fn what_programs_and_the_kernel_say_is_read() {
        assert_eq!(version("Version: 4.2.1\nGitID: x\n"), Some("4.2.1"));
        assert_eq!(version("criu: not found"), None);
        assert_eq!(flags("processor: 0\nflags\t\t: fpu sse\n").len(), 2);
        let mounts = "91 60 0:50 / /proc rw - proc proc rw\n\
                      95 60 0:50 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/s/1/fs:/s/2/fs,upperdir=/s/7/fs,workdir=/s/7/work\n";
        assert_eq!(own_layer(mounts), Some("/s/7/fs"));
        assert_eq!(own_layer("95 60 8:1 / / rw - ext4 /dev/sda1 rw\n"), None);
        let log = "(00.05) Error (criu/util.c:1533): rlimit: Can't setup\n(00.1) sockets: fine\n\
                   (00.19) Error (criu/sockets.c:628): sockets: Can't get 1:16 opt: Operation not supported\n(00.2) Error (criu/cr-dump.c:2111): Dumping FAILED.\n";
        assert_eq!(faults(log), "sockets: Can't get 1:16 opt: Operation not supported; Dumping FAILED.");
    }
}
