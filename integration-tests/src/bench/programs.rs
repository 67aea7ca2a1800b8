//! The programs that are measured: where they are, and whether they are what the sources say. A figure of a program that was built before
//! its sources were changed is a figure of something else.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

/// What every group measures or is measured by.
pub const MEASURED: [&str; 2] = ["bench", "gantryd"];

/// This program's file. The kernel marks it as deleted once a build has put a new one in its place; the new one is meant.
///
/// # Errors
/// When the kernel does not tell.
pub fn own() -> Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(path.to_str().and_then(|p| p.strip_suffix(" (deleted)")).map(PathBuf::from).unwrap_or(path))
}

/// Whether these programs, which lie beside this one, are newer than all that they were built from.
///
/// # Errors
/// When one is not, with the file that was changed since; or when that cannot be told.
pub fn fresh(names: &[&str]) -> Result<()> {
    for name in names {
        let program = own()?.with_file_name(name);
        let built = changed(&program).with_context(|| format!("{} is not there: `make bench` builds it", program.display()))?;
        let list = program.with_extension("d");
        let text = fs::read_to_string(&list)
            .with_context(|| format!("{}: what {name} was built from is not known (`--as-built` measures it all the same)", list.display()))?;
        if let Some(source) = outdated_by(built, &sources(&text)) {
            bail!(
                "{} is older than {}: `make bench` builds it anew (`--as-built` measures it as it is, which is a figure of something else)",
                program.display(),
                source.display()
            );
        }
    }
    Ok(())
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// The first of the files that was changed since: cargo would build anew. Whoever takes one away changes the one that names it; and folders,
/// which build scripts name (a console that was never built), have times of their own.
fn outdated_by(built: SystemTime, sources: &[PathBuf]) -> Option<&PathBuf> {
    sources.iter().find(|source| source.is_file() && changed(source).is_some_and(|at| at > built))
}

/// What cargo writes beside a program (doc.rust-lang.org/cargo/reference/build-cache.html "dep-info files"): `program: file file ...`, with
/// a backslash before each space of a name.
fn sources(list: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for (_, files) in list.lines().filter_map(|line| line.split_once(": ")) {
        let (mut name, mut letters) = (String::new(), files.chars());
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => name.extend(letters.next()),
                ' ' => all.push(std::mem::take(&mut name)),
                letter => name.push(letter),
            }
        }
        all.push(name);
    }
    all.into_iter().filter(|name| !name.is_empty()).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_was_built_from_is_read_with_its_spaces() {
        let list = "/t/release/gantryd: /w/a.rs /w/my\\ own/b.rs  /w/c.rs\n\n";
        assert_eq!(sources(list), ["/w/a.rs", "/w/my own/b.rs", "/w/c.rs"].map(PathBuf::from));
        assert!(sources("nothing").is_empty());
    }

    #[test]
    fn a_program_is_older_than_a_source_that_was_changed_since() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("a.rs");
        fs::write(&source, "").unwrap();
        let at = changed(&source).unwrap();
        let before = at - std::time::Duration::from_secs(1);
        let all = [folder.path().to_owned(), folder.path().join("gone.rs"), source];
        assert_eq!(outdated_by(at, &all), None);
        assert_eq!(outdated_by(before, &all), Some(&all[2]));
        assert_eq!(outdated_by(before, &all[..2]), None);
    }
}
