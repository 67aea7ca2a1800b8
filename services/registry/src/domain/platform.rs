//! Platforms as people and images write them, brought to one form; and whether an image is for the machine it says: the
//! platform of its config beside what its programs are.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest text that is a platform.
const LONGEST: usize = 64;
/// Architectures whose machines run the programs of another, too.
const ALSO_RUN: [(&str, &str); 4] = [("amd64", "386"), ("arm64", "arm"), ("mips64", "mips"), ("mips64le", "mipsle")];

/// Operating system, architecture and variant, in the names of Go (image-spec, image-index.md, `platform`), lower case. A variant
/// that its architecture means anyway (`arm64/v8`, `amd64/v1`) is left out; `arm` without one is `arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    /// Empty if there is none.
    pub variant: String,
}

impl Platform {
    /// `os/architecture[/variant]`; other words for architectures (`x86_64`, `aarch64`) are understood.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (*os, *architecture, ""),
            [os, architecture, variant] => (*os, *architecture, *variant),
            _ => return None,
        };
        let word = |t: &str| t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if text.len() > LONGEST || os.is_empty() || architecture.is_empty() || !(word(os) && word(architecture) && word(variant)) {
            return None;
        }
        let os = if os == "macos" { "darwin" } else { os };
        let (architecture, variant) = match (architecture, variant) {
            ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("i386" | "i686" | "x86", variant) => ("386", variant),
            ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            other => other,
        };
        Some(Self { os: os.into(), architecture: architecture.into(), variant: variant.into() })
    }

    /// Whether an image for `offered` serves somebody who asks for this one.
    pub fn takes(&self, offered: &Self) -> bool {
        self.os == offered.os && self.architecture == offered.architecture && (self.variant.is_empty() || self.variant == offered.variant)
    }

    /// What it is found by.
    pub fn terms(&self) -> Vec<String> {
        let base = format!("{}/{}", self.os, self.architecture);
        let mut terms = vec![format!("os:{}", self.os), format!("arch:{}", self.architecture), format!("platform:{base}")];
        if !self.variant.is_empty() {
            terms.push(format!("platform:{base}/{}", self.variant));
        }
        terms
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// The term that finds images for a platform as it is asked for: `linux/arm64`, `linux/arm/v7`, `linux`, or `arm64`.
pub fn term(asked: &str) -> Option<String> {
    if asked.contains('/') {
        let whole = Platform::parse(asked)?;
        // `linux/arm` means any of its variants, not only the usual one.
        let base = asked.matches('/').count() == 1 && whole.architecture == "arm" && !asked.to_ascii_lowercase().contains("armel");
        let variant = if base { "" } else { whole.variant.as_str() };
        return Some(Platform { variant: variant.into(), ..whole }.terms().pop().unwrap_or_default());
    }
    const SYSTEMS: [&str; 9] = ["linux", "windows", "darwin", "macos", "freebsd", "netbsd", "openbsd", "illumos", "wasip1"];
    let word = asked.trim().to_ascii_lowercase();
    if SYSTEMS.contains(&word.as_str()) {
        return Platform::parse(&format!("{word}/x")).map(|p| format!("os:{}", p.os));
    }
    Platform::parse(&format!("linux/{word}")).map(|p| format!("arch:{}", p.architecture))
}

/// What an image says it is for, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PlatformCheck)]
pub struct Check {
    /// As its config says: `linux/amd64`.
    pub claimed: String,
    /// Null: nothing in it tells (scripts and data only).
    pub agrees: Option<bool>,
    /// Architectures of its programs, and how many of each; those for Windows as `windows/amd64`.
    pub machines: BTreeMap<String, u32>,
    /// What is started in it, if that was found.
    pub entry: Option<Entry>,
    /// What does not fit, in words.
    pub fault: Option<String>,
}

/// What is started in an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PlatformEntry)]
pub struct Entry {
    /// In the image, links followed; of a script, its interpreter.
    pub path: String,
    pub machine: String,
}

/// Judges by what is started first, then by most of the programs.
pub fn check(claimed: &str, machines: &BTreeMap<String, u32>, entry: Option<Entry>) -> Check {
    let said = Platform::parse(claimed);
    let windows = said.as_ref().is_some_and(|p| p.os == "windows");
    let runs = |machine: &str| {
        let Some(said) = &said else { return true };
        let (is_windows, architecture) = machine.strip_prefix("windows/").map_or((false, machine), |rest| (true, rest));
        is_windows == windows && (architecture == said.architecture || ALSO_RUN.contains(&(said.architecture.as_str(), architecture)))
    };
    // Libraries of .NET have the form of Windows programs on every system.
    let counts = |machine: &str| windows || !machine.starts_with("windows/") || machines.keys().all(|m| m.starts_with("windows/"));
    let total: u32 = machines.iter().filter(|(m, _)| counts(m)).map(|(_, n)| n).sum();
    let fits: u32 = machines.iter().filter(|(m, _)| counts(m) && runs(m)).map(|(_, n)| n).sum();
    let most = machines.iter().filter(|(m, _)| counts(m) && !runs(m)).max_by_key(|(_, n)| **n);
    let fault = match (&entry, most) {
        _ if said.is_none() => None,
        (Some(entry), _) if !runs(&entry.machine) => Some(format!("claims {claimed}, contains {}: its entry point /{} is for that", entry.machine, entry.path)),
        // What is started fits: foreign programs beside it are tools and data.
        (Some(_), _) => None,
        // A few foreign programs are tools and test data; an image of them is a mistake.
        (None, Some((most, count))) if fits * 2 < total => Some(format!("claims {claimed}, contains {most}: {count} of its {total} programs are for that")),
        (None, _) => None,
    };
    let told = said.is_some() && (total > 0 || entry.is_some());
    Check { claimed: claimed.to_owned(), agrees: told.then_some(fault.is_none()), machines: machines.clone(), entry, fault }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn machines(all: &[(&str, u32)]) -> BTreeMap<String, u32> {
        all.iter().map(|(m, n)| ((*m).to_owned(), *n)).collect()
    }

    #[test]
    fn one_platform_has_one_form() {
        for (written, meant) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("macos/arm64", "darwin/arm64"),
        ] {
            assert_eq!(Platform::parse(written).unwrap().to_string(), meant, "{written}");
        }
        for bad in ["", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "linux/amd 64", "linux/\0"] {
            assert_eq!(Platform::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_platform_is_asked_for_whole_or_by_a_part() {
        for (asked, meant) in [
            ("linux/arm64", "platform:linux/arm64"),
            ("linux/arm64/v8", "platform:linux/arm64"),
            ("linux/arm", "platform:linux/arm"),
            ("linux/arm/v6", "platform:linux/arm/v6"),
            ("windows", "os:windows"),
            ("aarch64", "arch:arm64"),
        ] {
            assert_eq!(term(asked).as_deref(), Some(meant), "{asked}");
        }
        assert_eq!(term("a b"), None);
        let (asked, v6) = (Platform::parse("linux/arm64").unwrap(), Platform::parse("linux/arm/v6").unwrap());
        assert!(asked.takes(&Platform::parse("linux/arm64/v9").unwrap()) && !asked.takes(&v6));
        assert!(v6.terms().contains(&"platform:linux/arm".to_owned()));
    }

    #[test]
    fn an_image_of_foreign_programs_is_said_so() {
        let fault = |claimed: &str, all: &[(&str, u32)]| check(claimed, &machines(all), None).fault;
        assert_eq!(fault("linux/amd64", &[("arm64", 3)]).as_deref(), Some("claims linux/amd64, contains arm64: 3 of its 3 programs are for that"));
        assert_eq!(fault("linux/amd64", &[("amd64", 50), ("arm64", 2)]), None);
        assert_eq!(fault("linux/amd64", &[("386", 5)]), None);
        assert_eq!(fault("linux/amd64", &[("amd64", 1), ("windows/amd64", 80)]), None, "libraries of .NET");
        assert!(fault("windows/amd64", &[("amd64", 4)]).is_some());
        assert!(fault("linux/amd64", &[("windows/amd64", 4)]).is_some());
        assert_eq!(check("linux/amd64", &BTreeMap::new(), None).agrees, None);
        assert_eq!(check("", &machines(&[("arm64", 3)]), None).agrees, None);
    }

    #[test]
    fn what_is_started_decides_over_what_lies_beside_it() {
        let entry = |machine: &str| Some(Entry { path: "usr/bin/app".into(), machine: machine.into() });
        let foreign = check("linux/amd64", &machines(&[("amd64", 90), ("arm64", 1)]), entry("arm64"));
        assert_eq!(foreign.fault.as_deref(), Some("claims linux/amd64, contains arm64: its entry point /usr/bin/app is for that"));
        assert_eq!(foreign.agrees, Some(false));
        assert_eq!(check("linux/arm64", &machines(&[("amd64", 90), ("arm64", 1)]), entry("arm64")).agrees, Some(true));
    }

    proptest! {
        #[test]
        fn a_form_is_its_own_form(text in "\\PC{0,20}|[a-z0-9/]{0,30}") {
            if let Some(platform) = Platform::parse(&text) {
                let again = Platform::parse(&platform.to_string());
                prop_assert_eq!(again, Some(platform));
            }
            let _ = term(&text);
        }
    }
}
