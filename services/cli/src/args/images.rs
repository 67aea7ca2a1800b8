//! What can be typed about images.

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Image {
    List,
    /// What the scanner found in an image.
    Scan {
        repository: String,
        digest: String,
        /// sarif or html: printed as they are.
        #[arg(long, value_parser = ["sarif", "html"])]
        format: Option<String>,
    },
    /// The bill of materials of an image.
    Sbom {
        repository: String,
        digest: String,
        #[arg(long, value_parser = ["cyclonedx", "cyclonedx-1.5", "spdx"], default_value = "cyclonedx")]
        format: String,
    },
    /// Who signed an image, how it was built, and whether the project's policies hand it out.
    Signatures {
        repository: String,
        digest: String,
    },
    /// Remove a tag.
    Delete {
        repository: String,
        tag: String,
    },
    /// Who moved and deleted which tag when, newest first.
    History {
        repository: String,
        /// Only this tag.
        tag: Option<String>,
    },
    /// Bring a deleted tag back while its content lives.
    Restore {
        repository: String,
        tag: String,
        /// One it pointed at before; the last one if not given.
        #[arg(long)]
        digest: Option<String>,
    },
    /// Remove content that no image needs, on the whole platform.
    Collect {
        /// Only say how much there is.
        #[arg(long)]
        dry_run: bool,
        /// How long nobody must have needed it, in seconds.
        #[arg(long)]
        older_than: Option<u64>,
    },
    /// Have all content of the platform compared with its digest now.
    Check,
    /// The images that damaged content hurts.
    Damage,
}
