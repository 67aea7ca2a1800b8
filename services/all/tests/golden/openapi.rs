//! The REST API of each service.

use std::process::Command;

use crate::compare::compare;

#[test]
fn golden_openapi_documents_are_what_the_services_serve() {
    for service in ["identity", "registry", "scheduler", "cicd", "catalog", "billing", "monitoring", "gateway"] {
        let printed = Command::new(env!("CARGO_BIN_EXE_gantryd")).args(["openapi", service]).output().expect("gantryd runs");
        assert!(printed.status.success(), "{service}: {}", String::from_utf8_lossy(&printed.stderr));
        compare(&format!("openapi/{service}.json"), &String::from_utf8(printed.stdout).expect("JSON is UTF-8"));
    }
}
