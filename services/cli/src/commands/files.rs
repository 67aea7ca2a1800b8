//! What a command is given in files of this machine: texts, bytes, secrets and settings.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

pub fn bytes(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

pub fn text(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// What is secret comes from a file, or from the standard input (`-`), never from the command line, which others can see. Without the
/// end of its line, which editors and `echo` put there.
pub fn secret(file: &Path) -> Result<String> {
    let text = if file == Path::new("-") { std::io::read_to_string(std::io::stdin())? } else { text(file)? };
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// YAML, of which JSON is a part.
pub fn settings(file: &Path) -> Result<Value> {
    serde_saphyr::from_str(&text(file)?).with_context(|| format!("{} is neither YAML nor JSON", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_without_the_end_of_its_line_and_a_file_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, " hunter 2 \r\n").unwrap();
        assert_eq!((text(&file).unwrap().as_str(), secret(&file).unwrap().as_str()), (" hunter 2 \r\n", " hunter 2 "));
        let gone = secret(&folder.path().join("gone")).unwrap_err().to_string();
        assert!(gone.starts_with("cannot read") && gone.contains("gone"), "{gone}");
    }

    #[test]
    fn settings_are_yaml_or_json() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings");
        for written in ["a: [1]\n", r#"{"a": [1]}"#] {
            std::fs::write(&file, written).unwrap();
            assert_eq!(settings(&file).unwrap(), serde_json::json!({ "a": [1] }));
        }
        std::fs::write(&file, "{").unwrap();
        assert!(settings(&file).unwrap_err().to_string().contains("neither YAML nor JSON"));
    }
}
