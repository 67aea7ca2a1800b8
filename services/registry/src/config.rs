//! `[registry]`: where content is kept, and bounds. `[registry.s3]` is in `config/s3.rs`.

mod s3;

use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_host::Section;
use serde::{Deserialize, Serialize};

pub use s3::S3;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of blobs and uploads; empty: `registry` in the platform's home.
    pub storage: PathBuf,
    /// Content of at most so many bytes (manifests, configs, tiny layers) lives in the database; 0: none but empty content.
    pub inline_bytes: u64,
    /// Blobs and uploads in a bucket of an S3-compatible store instead of `storage`, which then only holds what is on its way.
    pub s3: S3,
    /// Audience of registry tokens.
    pub audience: String,
    pub max_blob_bytes: u64,
    /// Whether an image may be pushed while some of its layers are not here (config and one layer must be).
    pub sparse_images: bool,
    /// Longest pause between two pieces of an upload.
    pub patience_seconds: u64,
    /// How long content that nothing refers to stays. Longer than any push may take.
    pub gc_grace_seconds: u64,
    pub gc_interval_seconds: u64,
    /// How often kept content is read and compared with its digest, and how fast.
    pub scrub_every_seconds: u64,
    pub scrub_bytes_per_second: u64,
    /// Uploads that nobody touched for this long are removed.
    pub upload_ttl_seconds: u64,
    /// Folder of vulnerability records (`*.json`, `*.gz`, `*.zip`: OSV, Debian's tracker, Alpine's secdb); empty: images are inventoried, not matched.
    pub advisories: PathBuf,
    /// Addresses of such files (JSON, or a ZIP of JSON files); fetched into the folder when they change.
    pub advisory_mirrors: Vec<String>,
    /// How often the folder is looked at.
    pub advisories_interval_seconds: u64,
    /// How often storage is metered.
    pub usage_interval_seconds: u64,
    /// Whether administrators of projects, not only of the platform, may let caches, replications and webhooks reach this machine and private networks.
    pub private_targets: bool,
    /// Seconds between tries of telling a webhook something; after the last it is given up.
    pub webhook_pauses_seconds: Vec<u64>,
    /// Scanners outside that are given every project's images.
    pub scanners: Vec<PlatformScanner>,
    /// Tries in a row that fail until a webhook is paused.
    pub webhook_pause_failures: u64,
}

/// A scanner outside for all projects, spoken to by Harbor's pluggable scanner API.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlatformScanner {
    pub name: String,
    pub url: String,
    /// `none`, `basic`, `bearer` or `api_key`.
    pub auth: String,
    pub username: String,
    /// File with the password, token or key.
    pub secret_file: PathBuf,
    /// Ask it for a bill of materials, too.
    pub sbom: bool,
    /// A report older than this is asked for again.
    pub rescan_hours: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            storage: PathBuf::new(),
            inline_bytes: 32 << 10,
            s3: S3::default(),
            audience: "gantry-registry".into(),
            max_blob_bytes: 50 << 30,
            sparse_images: true,
            patience_seconds: 60,
            gc_grace_seconds: 6 * 3600,
            gc_interval_seconds: 600,
            scrub_every_seconds: 14 * 24 * 3600,
            scrub_bytes_per_second: 50 << 20,
            upload_ttl_seconds: 7 * 24 * 3600,
            advisories: PathBuf::new(),
            advisory_mirrors: Vec::new(),
            advisories_interval_seconds: 60,
            usage_interval_seconds: 60,
            private_targets: false,
            webhook_pauses_seconds: vec![5, 30, 120, 600, 1800, 7200, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600],
            scanners: Vec::new(),
            webhook_pause_failures: 50,
        }
    }
}

impl Section for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        let mut within = |name: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                faults.push(format!("{name} = {value}: must be {least} to {most}"));
            }
        };
        within("inline_bytes", self.inline_bytes, 0, 1 << 20);
        within("max_blob_bytes", self.max_blob_bytes, 1 << 20, 1 << 44);
        within("patience_seconds", self.patience_seconds, 1, 3600);
        within("gc_grace_seconds", self.gc_grace_seconds, 60, 30 * 24 * 3600);
        within("gc_interval_seconds", self.gc_interval_seconds, 1, 24 * 3600);
        within("scrub_every_seconds", self.scrub_every_seconds, 3600, 366 * 24 * 3600);
        within("scrub_bytes_per_second", self.scrub_bytes_per_second, 1 << 20, 1 << 40);
        within("upload_ttl_seconds", self.upload_ttl_seconds, 60, 90 * 24 * 3600);
        within("advisories_interval_seconds", self.advisories_interval_seconds, 1, 24 * 3600);
        within("webhook_pause_failures", self.webhook_pause_failures, 1, 1_000_000);
        for (n, pause) in self.webhook_pauses_seconds.iter().enumerate() {
            within(&format!("webhook_pauses_seconds[{n}]"), *pause, 1, 7 * 24 * 3600);
        }
        within("usage_interval_seconds", self.usage_interval_seconds, 1, 3600);
        for (n, scanner) in self.scanners.iter().enumerate() {
            if gantry_kernel::Name::parse(&scanner.name).is_err() {
                faults.push(format!("scanners[{n}].name = {:?}: must be of a-z, 0-9 and '-'", scanner.name));
            }
            if url::Url::parse(&scanner.url).is_ok_and(|u| matches!(u.scheme(), "http" | "https")) {
                if !matches!(scanner.auth.as_str(), "" | "none" | "basic" | "bearer" | "api_key") {
                    faults.push(format!("scanners[{n}].auth = {:?}: must be none, basic, bearer or api_key", scanner.auth));
                }
            } else {
                faults.push(format!("scanners[{n}].url = {:?}: must be an http or https address", scanner.url));
            }
            if !matches!(scanner.auth.as_str(), "" | "none") && scanner.secret_file.as_os_str().is_empty() {
                faults.push(format!("scanners[{n}].secret_file: must be set for auth = {:?}", scanner.auth));
            }
            if let Some(hours) = scanner.rescan_hours.filter(|hours| !(1..=24 * 366).contains(hours)) {
                faults.push(format!("scanners[{n}].rescan_hours = {hours}: must be 1 to 8784"));
            }
        }
        if self.audience.is_empty() {
            faults.push("audience: must be set".into());
        }
        self.s3.validate(self.max_blob_bytes, faults);
    }
}

impl Config {
    pub fn storage(&self, home: &Path) -> PathBuf {
        if self.storage.as_os_str().is_empty() { home.join("registry") } else { self.storage.clone() }
    }

    /// A mark that a blob is needed which is younger than this is as good as a new one: well within the grace period.
    pub fn fresh(&self) -> Duration {
        Duration::from_secs(self.gc_grace_seconds / 4).min(Duration::from_secs(20))
    }

    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_listed() {
        let mut faults = Vec::new();
        Config { gc_grace_seconds: 0, audience: String::new(), ..Config::default() }.validate(&mut faults);
        assert_eq!(faults.len(), 2, "{faults:?}");
        let scanner = PlatformScanner { name: "clair".into(), url: "https://clair".into(), auth: "bearer".into(), rescan_hours: Some(0), ..Default::default() };
        let mut odd = Vec::new();
        Config { scanners: vec![scanner], ..Config::default() }.validate(&mut odd);
        assert_eq!(odd.len(), 2, "{odd:?}");
        let mut none = Vec::new();
        Config::default().validate(&mut none);
        assert!(none.is_empty());
    }
}
