//! Where figures are kept: each is written the moment it is known, so that nothing that happens later takes it away; and the table of
//! what is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};

use crate::bench::figure::Figure;

const FOLDER: &str = "target/bench";
/// Figures of short rounds, small sizes or programs without optimisation lie apart: nobody shall take them for real ones.
const LOOK: &str = "target/bench/quick";

/// One process measures one way. Set once, by the command line.
static ONLY_A_LOOK: OnceLock<bool> = OnceLock::new();

/// Decides where figures of this process are kept.
pub fn only_a_look(yes: bool) {
    let _ = ONLY_A_LOOK.set(yes);
}

pub fn folder() -> &'static Path {
    Path::new(if ONLY_A_LOOK.get() == Some(&true) { LOOK } else { FOLDER })
}

fn file(name: &str) -> PathBuf {
    folder().join(format!("{name}.json"))
}

/// Takes away what was measured before under this name: one that cannot be measured now must not look as if it had been.
///
/// # Errors
/// When the disk refuses.
pub fn forget(name: &str) -> Result<()> {
    let file = file(name);
    if file.exists() {
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}

/// # Errors
/// When the disk refuses.
pub fn keep(figure: &Figure) -> Result<()> {
    let file = file(&figure.name);
    fs::create_dir_all(folder())?;
    fs::write(&file, serde_json::to_string_pretty(figure)? + "\n").with_context(|| format!("cannot write {}", file.display()))
}

/// What was measured last under this name, if anything.
///
/// # Errors
/// When it cannot be read.
pub fn kept(name: &str) -> Result<Option<Figure>> {
    let file = file(name);
    if !file.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&file)?;
    serde_json::from_str(&text).map(Some).with_context(|| format!("{} is no figure", file.display()))
}

/// Prints these figures beside their anchors, and how many goals are met.
pub fn show<'a>(names: impl Iterator<Item = &'a str>) {
    let (mut met, mut goals) = (0, 0);
    println!("{}", Figure::head());
    for name in names {
        match kept(name) {
            Ok(Some(figure)) => {
                goals += usize::from(figure.met.is_some());
                met += usize::from(figure.met == Some(true));
                println!("{figure}");
            }
            Ok(None) => println!("{name:<32} not measured"),
            Err(error) => println!("{name:<32} {error:#}"),
        }
    }
    println!("{met} of {goals} goals met; {}", folder().display());
}

/// Figures of a group. Each is written down and shown when it comes in.
#[derive(Default)]
pub struct Figures {
    all: Vec<Figure>,
    fault: Option<anyhow::Error>,
}

impl Figures {
    pub fn push(&mut self, figure: Figure) {
        eprintln!("bench: {figure}");
        if let Err(error) = keep(&figure) {
            self.fault.get_or_insert(error);
        }
        self.all.push(figure);
    }

    /// # Errors
    /// When one of them could not be written.
    pub fn all(self) -> Result<Vec<Figure>> {
        match self.fault {
            None => Ok(self.all),
            Some(fault) => Err(fault),
        }
    }
}

impl Extend<Figure> for Figures {
    fn extend<T: IntoIterator<Item = Figure>>(&mut self, figures: T) {
        figures.into_iter().for_each(|figure| self.push(figure));
    }
}
