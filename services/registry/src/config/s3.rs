//! `[registry.s3]`: the bucket that keeps blobs and uploads.

use std::path::PathBuf;
use std::time::Duration;

use gantry_kernel::Secret;
use serde::{Deserialize, Serialize};
use url::Url;

/// S3 takes at most so many parts of one object.
pub const MOST_PARTS: u64 = 10_000;
/// Every part but the last has at least so many bytes.
const LEAST_PART: u64 = 5 << 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3 {
    /// Name of the bucket; empty: content is kept in the folder `storage`.
    pub bucket: String,
    /// What every key begins with, without a slash at its end; empty: nothing.
    pub prefix: String,
    pub region: String,
    /// Address of the store; empty: Amazon's of the region.
    pub endpoint: String,
    /// The address that clients of `redirect` reach, where it is another than `endpoint`.
    pub public_endpoint: String,
    /// `https://<bucket>.<endpoint>` instead of `https://<endpoint>/<bucket>`.
    pub virtual_hosts: bool,
    /// Both or none; none: the usual AWS variables of the environment, web identity, or the machine's role.
    pub access_key_id: String,
    pub secret_access_key: Secret,
    /// Certificates (PEM) that the store's is signed with, if not by a public authority.
    pub ca_file: PathBuf,
    /// Whether an `http://` endpoint is meant.
    pub allow_http: bool,
    /// Whether clients fetch layers from the store themselves (307), by addresses that hold for `redirect_seconds`. They must reach it
    /// then, and damage is found by the regular check only.
    pub redirect: bool,
    pub redirect_seconds: u64,
    /// Bytes of one part of a large blob. A push holds two in memory.
    pub part_bytes: u64,
    /// How long a request to the store is tried again before the client hears 503.
    pub patience_seconds: u64,
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: String::new(),
            region: "us-east-1".into(),
            endpoint: String::new(),
            public_endpoint: String::new(),
            virtual_hosts: false,
            access_key_id: String::new(),
            secret_access_key: Secret::default(),
            ca_file: PathBuf::new(),
            allow_http: false,
            redirect: false,
            redirect_seconds: 900,
            part_bytes: 8 << 20,
            patience_seconds: 20,
        }
    }
}

impl S3 {
    pub fn is_on(&self) -> bool {
        !self.bucket.is_empty()
    }

    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_seconds)
    }

    pub fn redirect_for(&self) -> Duration {
        Duration::from_secs(self.redirect_seconds)
    }

    /// Every fault of the section. `max_blob_bytes` must fit into as many parts as S3 takes.
    pub(super) fn validate(&self, max_blob_bytes: u64, faults: &mut Vec<String>) {
        if !self.is_on() {
            if !self.endpoint.is_empty() || !self.access_key_id.is_empty() || self.redirect {
                faults.push("s3.bucket: must be set when anything else of s3 is".into());
            }
            return;
        }
        let named = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.';
        if !(3..=63).contains(&self.bucket.len()) || !self.bucket.bytes().all(named) {
            faults.push(format!("s3.bucket = {}: must be 3 to 63 lower-case letters, digits, `-` and `.`", self.bucket));
        }
        if self.prefix.starts_with('/') || self.prefix.ends_with('/') || self.prefix.split('/').any(|part| part == "." || part == "..") {
            faults.push(format!("s3.prefix = {}: must not begin or end with `/`, nor have `.` or `..` as a part", self.prefix));
        }
        for (name, text) in [("endpoint", &self.endpoint), ("public_endpoint", &self.public_endpoint)] {
            let Some(scheme) = scheme(text) else { continue };
            match scheme.as_deref() {
                Some("https") => {}
                Some("http") if self.allow_http => {}
                Some("http") => faults.push(format!("s3.{name} = {text}: is not encrypted; set s3.allow_http = true if that is meant")),
                _ => faults.push(format!("s3.{name} = {text}: must be an https:// or http:// address")),
            }
        }
        if self.region.is_empty() {
            faults.push("s3.region: must be set; stores without regions take us-east-1".into());
        }
        if self.access_key_id.is_empty() != self.secret_access_key.is_empty() {
            faults.push("s3.access_key_id and s3.secret_access_key: both or none must be set".into());
        }
        let mut within = |name: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                faults.push(format!("s3.{name} = {value}: must be {least} to {most}"));
            }
        };
        within("part_bytes", self.part_bytes, LEAST_PART.max(max_blob_bytes.div_ceil(MOST_PARTS)), 1 << 30);
        // What S3 takes at most: seven days.
        within("redirect_seconds", self.redirect_seconds, 60, 7 * 24 * 3600);
        within("patience_seconds", self.patience_seconds, 1, 300);
    }
}

/// None: not given. `Some(None)`: not an address.
fn scheme(text: &str) -> Option<Option<String>> {
    (!text.is_empty()).then(|| Url::parse(text).ok().filter(|url| url.has_host()).map(|url| url.scheme().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_bucket_is_listed_at_once() {
        let odd = S3 {
            bucket: "Images".into(),
            prefix: "/a/".into(),
            endpoint: "http://store".into(),
            public_endpoint: "store:9000".into(),
            region: String::new(),
            access_key_id: "key".into(),
            part_bytes: 1,
            redirect_seconds: 0,
            patience_seconds: 0,
            ..S3::default()
        };
        let mut faults = Vec::new();
        odd.validate(50 << 30, &mut faults);
        assert_eq!(faults.len(), 9, "{faults:#?}");
        let mut none = Vec::new();
        S3 { bucket: "images".into(), ..S3::default() }.validate(50 << 30, &mut none);
        S3::default().validate(50 << 30, &mut none);
        assert!(none.is_empty(), "{none:?}");
        S3 { bucket: "images".into(), ..S3::default() }.validate(1 << 44, &mut none);
        assert!(none[0].contains("part_bytes"), "a larger blob needs larger parts: {none:?}");
        let mut alone = Vec::new();
        S3 { redirect: true, ..S3::default() }.validate(1 << 30, &mut alone);
        assert_eq!(alone.len(), 1);
    }
}
