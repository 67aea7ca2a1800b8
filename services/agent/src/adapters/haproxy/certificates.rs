//! Certificates with their keys, as files that only HAProxy reads. Each is tried by itself before it is used, and goes when no route has it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tokio::process::Command;

use super::{CHECKED_WITHIN, Haproxy};
use crate::adapters::disk::replace;
use crate::domain::balance::Layout;
use crate::domain::secure;

/// Those that HAProxy does not take are remembered up to this number.
const MOST_REFUSED: usize = 1_000;

#[derive(Default)]
pub(super) struct Certificates {
    /// With their keys, by what they are called.
    good: Mutex<BTreeMap<String, Vec<u8>>>,
    refused: Mutex<BTreeSet<String>>,
}

impl Haproxy {
    /// Can HAProxy serve with it? `print` is its name, `pem` the chain and the key.
    pub async fn takes(&self, print: &str, pem: Vec<u8>) -> bool {
        if self.certificates.good.lock().unwrap_or_else(PoisonError::into_inner).contains_key(print) {
            return true;
        }
        if self.certificates.refused.lock().unwrap_or_else(PoisonError::into_inner).contains(print) {
            return false;
        }
        // HAProxy would ask a person for the word to it.
        let encrypted = pem.windows(9).any(|part| part == b"ENCRYPTED");
        let tried = if encrypted { Ok(false) } else { self.tried(print, &pem).await };
        match tried {
            Ok(true) => {
                self.certificates.good.lock().unwrap_or_else(PoisonError::into_inner).insert(print.to_owned(), pem);
                true
            }
            Ok(false) => {
                let mut refused = self.certificates.refused.lock().unwrap_or_else(PoisonError::into_inner);
                if refused.len() >= MOST_REFUSED {
                    refused.clear();
                }
                refused.insert(print.to_owned());
                false
            }
            // It says nothing of the certificate.
            Err(error) => {
                tracing::warn!(%error, "a certificate could not be tried");
                false
            }
        }
    }

    fn certificate(&self, print: &str) -> PathBuf {
        self.folder.join("certificates").join(format!("{print}.pem"))
    }

    /// In a configuration of its own, which nobody runs.
    async fn tried(&self, print: &str, pem: &[u8]) -> io::Result<bool> {
        let (file, config) = (self.certificate(&format!("{print}.tried")), self.folder.join(format!("{print}.cfg")));
        tokio::fs::create_dir_all(self.folder.join("certificates")).await?;
        let answer = async {
            replace(&file, pem, 0o600).await?;
            let text = format!(
                "defaults\n  mode http\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\nfrontend tried\n  bind 127.0.0.1:1 ssl crt {} ssl-min-ver TLSv1.2\n",
                file.display()
            );
            replace(&config, text.as_bytes(), 0o600).await?;
            let mut command = Command::new(&self.binary);
            command.arg("-c").arg("-q").arg("-f").arg(&config).stdin(std::process::Stdio::null()).kill_on_drop(true);
            let output = tokio::time::timeout(CHECKED_WITHIN, command.output()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok::<bool, io::Error>(output.status.success())
        };
        let answer = answer.await;
        for left in [&file, &config] {
            let _ = tokio::fs::remove_file(left).await;
        }
        answer
    }

    /// The files that a layout needs; true: there is something to serve over HTTPS.
    pub(super) async fn write_certificates(&self, layout: &Layout) -> io::Result<bool> {
        let used = prints(layout);
        if !used.is_empty() {
            tokio::fs::create_dir_all(self.folder.join("certificates")).await?;
        }
        for print in &used {
            let pem = self.certificates.good.lock().unwrap_or_else(PoisonError::into_inner).get(*print).cloned();
            let path = self.certificate(print);
            if let Some(pem) = pem.filter(|_| !path.exists()) {
                replace(&path, &pem, 0o600).await?;
            }
        }
        let there = |print: &str| Some(self.certificate(print)).filter(|path| path.exists()).map(|path| path.display().to_string());
        let (list, led) = secure::files(layout, there);
        replace(&self.folder.join(secure::CERTIFICATES), list.as_bytes(), 0o600).await?;
        replace(&self.folder.join(secure::SECURE), led.as_bytes(), 0o600).await?;
        Ok(!list.is_empty())
    }

    /// Those that no route has any more go, from the disk and from memory.
    pub(super) async fn drop_certificates(&self, layout: &Layout) {
        let used = prints(layout);
        self.certificates.good.lock().unwrap_or_else(PoisonError::into_inner).retain(|print, _| used.contains(print.as_str()));
        let Ok(mut files) = tokio::fs::read_dir(self.folder.join("certificates")).await else { return };
        while let Ok(Some(file)) = files.next_entry().await {
            let name = file.file_name();
            let print = name.to_str().and_then(|name| name.strip_suffix(".pem"));
            if print.is_none_or(|print| !used.contains(print))
                && let Err(error) = tokio::fs::remove_file(file.path()).await
            {
                tracing::error!(path = %file.path().display(), %error, "a certificate that no route has any more cannot be removed");
            }
        }
    }
}

fn prints(layout: &Layout) -> BTreeSet<&str> {
    layout.services.values().flat_map(|s| &s.shape.layer7.certificates).map(|c| c.print.as_str()).collect()
}
