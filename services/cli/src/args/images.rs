//! What can be typed about images.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Image {
    /// All tags of the project, with what scanning found.
    List,
    /// The tags of a repository, by name.
    Tags {
        repository: String,
        /// Only tags whose name contains this.
        #[arg(long)]
        text: Option<String>,
        /// Only tags whose name begins with this.
        #[arg(long)]
        prefix: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 10_000)]
        limit: usize,
    },
    /// The layers of an image with the steps that made them, and how much of it only it has.
    Layers { repository: String, digest: String },
    /// What the scanner found in an image.
    Scan {
        repository: String,
        digest: String,
        /// sarif or html: printed as they are.
        #[arg(long, value_parser = ["sarif", "html"])]
        format: Option<String>,
    },
    /// Have an image scanned again, by the project's scanners outside, too.
    Rescan { repository: String, digest: String },
    /// What the scanners outside were asked about an image, and how it went.
    Scanners { repository: String, digest: String },
    /// The bill of materials of an image.
    Sbom {
        repository: String,
        digest: String,
        /// The form to print it in.
        #[arg(long, value_parser = ["cyclonedx", "cyclonedx-1.5", "spdx"], default_value = "cyclonedx")]
        format: String,
        /// The one that this scanner outside made, as it made it.
        #[arg(long)]
        scanner: Option<String>,
    },
    /// Who signed an image, how it was built, and whether the project's policies hand it out.
    Signatures { repository: String, digest: String },
    /// Find images in all projects you may see: by name, platform, label, package, finding or digest. Everything given must hold.
    Search {
        /// Part of a repository's name, name:start-of-tag, or the start of a digest.
        text: Option<String>,
        /// Such as linux/arm64; or only an operating system or an architecture.
        #[arg(long)]
        platform: Option<String>,
        /// Of the config or the manifest's annotations: name, or name=value.
        #[arg(long)]
        label: Option<String>,
        /// Installed in it: name, or name@version.
        #[arg(long)]
        package: Option<String>,
        /// The advisory's id or an alias, such as CVE-2026-1.
        #[arg(long)]
        finding: Option<String>,
        /// Only these.
        #[arg(long, value_parser = ["image", "index", "artifact"])]
        kind: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// For which platforms a tag has images, whether they are what they claim, and which wanted ones are missing.
    Platforms {
        repository: String,
        /// A tag or a digest.
        reference: String,
        /// A platform that should be there; may be repeated. Those of the project if not given.
        #[arg(long)]
        wanted: Vec<String>,
    },
    /// Save the image of one platform as a tar archive.
    Export {
        repository: String,
        /// A tag or a digest.
        reference: String,
        /// Such as linux/arm64; may be left out when there is only one image.
        #[arg(long)]
        platform: Option<String>,
        /// oci: an OCI layout. docker: what docker load takes, too.
        #[arg(long, value_parser = ["oci", "docker"], default_value = "oci")]
        format: String,
        /// The file to write.
        #[arg(short = 'f', long = "file", value_name = "FILE")]
        file: PathBuf,
    },
    /// What an image was built on, whether that is signed, and whether it has moved since.
    Origin {
        repository: String,
        /// A tag or a digest.
        reference: String,
    },
    /// Which images are built on this one, in all projects you may see.
    Derived { repository: String, digest: String },
    /// Remove a tag; or an image, by its digest, with every tag that points at it.
    Delete {
        /// `web`, or with what is to go: `web:v1`, `web@sha256:...`.
        repository: String,
        /// A tag or a digest.
        reference: Option<String>,
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
    /// The last collections, newest first.
    Collections,
    /// Have all content of the platform compared with its digest now.
    Check,
    /// The images that damaged content hurts.
    Damage,
}
