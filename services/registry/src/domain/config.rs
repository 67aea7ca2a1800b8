//! What an image's config says besides what people are shown (`layers`): platform, what is started and where it is looked for,
//! labels, and the digests of the layers unpacked (image-spec, config.md).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::digest::Digest;
use super::manifest::config_platform;

/// Where programs are looked for when the config does not say it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MOST_LABELS: usize = 500;
const LONGEST_LABEL: usize = 200;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `linux/amd64`; empty if it does not say.
    pub platform: String,
    /// First word of what is started; empty if nothing is.
    pub starts: String,
    pub path: String,
    pub working_dir: String,
    /// At most 500 of at most 200 characters each way.
    pub labels: BTreeMap<String, String>,
    /// Of the layers unpacked, lowest first; empty if one of them is no digest.
    pub diff_ids: Vec<Digest>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    config: Option<Run>,
    rootfs: Option<Roots>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Run {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    labels: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Roots {
    diff_ids: Option<Vec<String>>,
}

impl Config {
    /// Of bytes that are no config: one that says nothing.
    pub fn parse(bytes: &[u8]) -> Self {
        let Raw { config, rootfs } = serde_json::from_slice(bytes).unwrap_or_default();
        let run = config.unwrap_or_default();
        let first = |words: Option<Vec<String>>| words.into_iter().flatten().find(|w| !w.is_empty());
        let path = run.env.iter().flatten().find_map(|e| e.strip_prefix("PATH=")).filter(|p| p.len() <= 10_000).unwrap_or(PATH).to_owned();
        let plain = |text: &str| !text.is_empty() && !text.contains('\0');
        let cut = |text: String| text.replace('\0', "").chars().take(LONGEST_LABEL).collect();
        let labels = run.labels.into_iter().flatten().filter(|(k, _)| plain(k) && k.len() <= LONGEST_LABEL);
        let diff_ids: Option<Vec<Digest>> = rootfs.unwrap_or_default().diff_ids.into_iter().flatten().map(|d| Digest::parse(&d).ok()).collect();
        Self {
            platform: config_platform(bytes).unwrap_or_default(),
            starts: first(run.entrypoint).or_else(|| first(run.cmd)).unwrap_or_default(),
            path,
            working_dir: run.working_dir.unwrap_or_default(),
            labels: labels.take(MOST_LABELS).map(|(k, v)| (k, cut(v.unwrap_or_default()))).collect(),
            diff_ids: diff_ids.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_started_and_labelled_is_read() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let config = serde_json::json!({
            "os": "linux", "architecture": "arm64", "rootfs": { "diff_ids": [digest] },
            "config": { "Cmd": ["serve"], "Env": ["A=b", "PATH=/opt/bin"], "WorkingDir": "/srv", "Labels": { "team": "web", "empty": null } },
        });
        let read = Config::parse(config.to_string().as_bytes());
        assert_eq!((read.platform.as_str(), read.starts.as_str(), read.path.as_str()), ("linux/arm64", "serve", "/opt/bin"));
        assert_eq!((read.labels["team"].as_str(), read.labels["empty"].as_str(), read.diff_ids.len()), ("web", "", 1));
        let both = serde_json::json!({ "config": { "Entrypoint": ["/app"], "Cmd": ["serve"] }, "rootfs": { "diff_ids": ["sha256:x"] } });
        let read = Config::parse(both.to_string().as_bytes());
        assert_eq!((read.starts.as_str(), read.diff_ids.len(), read.path.as_str()), ("/app", 0, PATH));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Config::parse(&bytes);
        }
    }
}
