//! Comparing with a file below `schemas/`.

use std::path::PathBuf;

#[track_caller]
pub fn compare(file: &str, now: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(file);
    #[allow(clippy::disallowed_methods, reason = "`make golden` speaks through the environment")]
    if std::env::var("GANTRY_GOLDEN").is_ok_and(|v| v == "write") {
        std::fs::create_dir_all(path.parent().expect("the file is in a folder")).expect("the folder can be made");
        std::fs::write(&path, now).expect("the file can be written");
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    if golden != now {
        let line = golden.lines().zip(now.lines()).position(|(a, b)| a != b).unwrap_or_else(|| golden.lines().count().min(now.lines().count()));
        let (was, is) = (golden.lines().nth(line).unwrap_or("(end)"), now.lines().nth(line).unwrap_or("(end)"));
        panic!(
            "schemas/{file} differs from the code at line {}:\n  file: {was}\n  code: {is}\nIf the change is meant, run `make golden` and say why in the commit.",
            line + 1
        );
    }
}
