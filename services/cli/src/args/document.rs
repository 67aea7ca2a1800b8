//! What can be typed about a document that describes an application.

use std::path::PathBuf;

use clap::Args;

#[derive(Args, Clone, Debug)]
pub struct Source {
    /// The document; given again, the next is laid over the one before. Files that it names are read from its folder.
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub more: More,
}

/// The same where a document may also be left out.
#[derive(Args, Clone, Debug)]
pub struct OptionalSource {
    /// The document; given again, the next is laid over the one before.
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub more: More,
}

#[derive(Args, Clone, Debug)]
pub struct More {
    /// The application's name; the file's own, or its folder's, if not given.
    #[arg(long)]
    pub name: Option<String>,
    /// Told from the file if not given.
    #[arg(long, value_parser = ["compose", "kubernetes", "gantry"])]
    pub format: Option<String>,
    /// A value the document asks for: KEY=VALUE, may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub values: Vec<String>,
    /// The image of a service that is built: SERVICE=IMAGE, may be repeated.
    #[arg(long = "image", value_name = "SERVICE=IMAGE")]
    pub images: Vec<String>,
    /// Also what belongs to this profile; may be repeated.
    #[arg(long = "profile", value_name = "PROFILE")]
    pub profiles: Vec<String>,
}
