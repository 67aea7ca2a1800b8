//! Every configuration key with its default.

use std::process::Command;

use crate::compare::compare;

/// The least that must be set.
fn gantryd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantryd"));
    command.env_clear();
    for key in ["DATABASE_URL", "NATS_URL", "REDIS_URL"] {
        command.env(format!("GANTRYD__PLATFORM__{key}"), "set://by.the/operator");
    }
    command
}

#[test]
fn golden_configuration_shows_every_key_and_no_secret() {
    let printed = gantryd().arg("--print-config").output().expect("gantryd runs");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let text = String::from_utf8(printed.stdout).expect("TOML is UTF-8");
    assert!(!text.contains("by.the"), "a secret was printed");
    compare("config.toml", &text);
}

#[test]
fn all_faults_of_a_configuration_are_listed_at_once() {
    let refused = gantryd()
        .env("GANTRYD__PLATFORM__PUBLIC_URL", "http://plain/")
        .env("GANTRYD__PLATFORM__DATABASE_CONNECTIONS", "0")
        .env("GANTRYD__PLATFORM__LOG_FORMAT", "xml")
        .env("GANTRYD__NOBODY__KEY", "1")
        .arg("--print-config")
        .output()
        .expect("gantryd runs");
    assert!(!refused.status.success());
    let text = String::from_utf8_lossy(&refused.stderr);
    for fault in ["platform.public_url", "platform.database_connections = 0", "platform.log_format", "[nobody]"] {
        assert!(text.contains(fault), "{fault} is missing in:\n{text}");
    }
}
