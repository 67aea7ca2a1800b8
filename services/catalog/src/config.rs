//! `[catalog]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gantry_host::Section;
use gantry_kernel::Secret;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder with further offerings (`*.yaml`); empty: only the built-in ones.
    pub offerings_dir: PathBuf,
    /// Offering to the full name of its image; others are taken from `image_prefix`.
    pub images: BTreeMap<String, String>,
    /// What stands before the image names of offerings; empty: `<registry>/library/public`.
    pub image_prefix: String,
    /// How long provisioning may take before it has failed. 10 to 3600.
    pub provision_timeout_seconds: u32,
    /// The Open Service Broker door; closed while the password is empty.
    pub osb_username: String,
    pub osb_password: Secret,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            offerings_dir: PathBuf::new(),
            images: BTreeMap::new(),
            image_prefix: String::new(),
            provision_timeout_seconds: 600,
            osb_username: "platform".into(),
            osb_password: Secret::default(),
        }
    }
}

impl Section for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        if !(10..=3_600).contains(&self.provision_timeout_seconds) {
            faults.push(format!("provision_timeout_seconds = {}: must be 10 to 3600", self.provision_timeout_seconds));
        }
        if !self.osb_password.is_empty() && (self.osb_username.is_empty() || self.osb_username.contains(':')) {
            faults.push(format!("osb_username = {:?}: must not be empty and have no colon", self.osb_username));
        }
        if !self.osb_password.is_empty() && self.osb_password.expose().len() < 16 {
            faults.push("osb_password: must have at least 16 characters".into());
        }
    }
}
