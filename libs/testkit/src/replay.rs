//! The fuzz corpora as ordinary tests: every seed, and the same mutations of it each time. No libFuzzer, no nightly.

use std::path::Path;

/// Mutations of each seed.
const ROUNDS: u32 = 400;
/// Pieces that parsers trip over.
const PIECES: [&[u8]; 16] = [b"\0", b"\xff", b"\xc0\xaf", b"&", b"=", b"%", b"%00", b"..", b"(", b")", b"\"", b"\\", b"{", b"[", b"\r\n", b"\xe2\x80\xae"];

/// Calls `entry` with each file of `fuzz/corpus/<target>` and with mutations of it; `entry` panics when its promise breaks.
///
/// # Panics
/// When there is no such corpus, or `entry` does: the input then stands in `target/fuzz-finds/<target>`.
pub fn replay(target: &str, entry: impl Fn(&[u8])) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut seeds: Vec<_> = std::fs::read_dir(top.join("fuzz/corpus").join(target))
        .expect("the corpus is there")
        .map(|file| file.expect("a file").path())
        .map(|path| std::fs::read(path).expect("a seed"))
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "fuzz/corpus/{target} is empty");
    let tried = |data: &[u8]| {
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| entry(data))) {
            let file = top.join("target/fuzz-finds").join(target);
            let _ = std::fs::create_dir_all(top.join("target/fuzz-finds")).and_then(|()| std::fs::write(&file, data));
            eprintln!("the input is in {}; as text: {:?}", file.display(), String::from_utf8_lossy(data));
            std::panic::resume_unwind(panic);
        }
    };
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for seed in &seeds {
        tried(seed);
        for _ in 0..ROUNDS {
            let mut data = seed.clone();
            for _ in 0..=dice.below(4) {
                mutate(&mut data, &seeds, &mut dice);
            }
            tried(&data);
        }
    }
}

fn mutate(data: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(data.len() + 1);
    match dice.below(6) {
        0 if at < data.len() => data[at] ^= 1 << dice.below(8),
        1 => data.truncate(at),
        2 => {
            data.splice(at..at, PIECES[dice.below(PIECES.len())].iter().copied());
        }
        3 => {
            let end = at + dice.below(data.len() + 1 - at);
            let part = data[at..end].to_vec();
            data.splice(end..end, part);
        }
        4 => {
            let end = at + dice.below(data.len() + 1 - at);
            data.drain(at..end);
        }
        _ => {
            let other = &seeds[dice.below(seeds.len())];
            data.truncate(at);
            data.extend_from_slice(&other[dice.below(other.len() + 1)..]);
        }
    }
}

/// xorshift64: the same numbers each time.
struct Dice(u64);

impl Dice {
    /// 0 to `n` - 1; 0 if `n` is 0.
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(0) % n.max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;

    fn names(folder: PathBuf) -> BTreeSet<String> {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        entries.map(|e| e.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_fuzz_target_has_a_program_seeds_a_line_and_a_test() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let fuzz = top.join("fuzz");
        let targets = names(fuzz.join("fuzz_targets"));
        assert!(!targets.is_empty());
        assert_eq!(targets, names(fuzz.join("corpus")), "targets, and folders with seeds");
        let (programs, list) = (std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap(), std::fs::read_to_string(fuzz.join("README.md")).unwrap());
        for target in &targets {
            assert!(programs.contains(&format!("name = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"")), "{target} is no program of fuzz/Cargo.toml");
            assert!(list.contains(&format!("\n| `{target}` |")), "{target} is not in fuzz/README.md");
            let (service, entry) = target.split_once('_').expect("a service's name, and what it reads");
            let main = std::fs::read_to_string(fuzz.join("fuzz_targets").join(format!("{target}.rs"))).unwrap();
            assert!(main.contains(&format!("gantry_{service}::fuzzing::{entry}(data)")), "{target} calls something else");
            let entries = std::fs::read_to_string(top.join("services").join(service).join("src/fuzzing.rs")).unwrap();
            assert!(entries.contains(&format!("\npub fn {entry}(data: &[u8]) {{")), "{target} has nothing to call");
            assert!(entries.contains(&format!("replay(\"{target}\", super::{entry});")), "{target} is replayed by no test");
        }
        assert_eq!(programs.matches("[[bin]]").count(), targets.len(), "programs without a target");
    }

    #[test]
    fn mutations_are_many_and_the_same_each_time() {
        let run = || {
            let seen = std::cell::RefCell::new(Vec::new());
            replay("identity_redirect", |data| seen.borrow_mut().push(data.to_vec()));
            seen.into_inner()
        };
        let first = run();
        assert_eq!(first, run());
        let different: std::collections::BTreeSet<_> = first.iter().collect();
        assert!(different.len() > first.len() / 2, "{} of {}", different.len(), first.len());
    }
}
