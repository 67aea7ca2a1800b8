//! `make check` and `make golden`.

use anyhow::Result;

use crate::work::{Work, run, say};
use crate::{conformance, rooms};

/// Formatting, lints, rooms.
///
/// # Errors
/// When one of them finds something.
pub fn check(work: &Work) -> Result<()> {
    say("cargo fmt --check");
    run(&mut work.cargo(["fmt", "--all", "--check"]))?;
    say("cargo clippy -D warnings");
    run(&mut work.cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    say("rooms");
    rooms::run(work, false)
}

/// Rewrites every golden file: the tests that compare them do it when GANTRY_GOLDEN=write.
///
/// # Errors
/// When a test cannot be built or run.
pub fn golden(work: &Work) -> Result<()> {
    gantry_servers::TestServers::in_folder(&work.test_servers())?;
    let mut tests = work.cargo(["test", "--workspace", "--locked", "--no-fail-fast", "golden"]);
    run(tests.env("GANTRY_GOLDEN", "write").env("GANTRY_TEST_DIR", work.test_servers()))?;
    rooms::run(work, true)?;
    conformance::write_list(work)
}
