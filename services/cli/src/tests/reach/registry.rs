//! The same for the registry's API.

use serde_json::json;

use super::held;

/// `{json}` is a file of retention rules, `{new}` one that is not there yet. All are about the project acme/shop.
const COMMANDS: &[&str] = &[
    "image list",
    "image tags web --text 1 --prefix v",
    "image layers web sha256:1",
    "image scan web sha256:1",
    "image scan web sha256:1 --format html",
    "image rescan web sha256:1",
    "image scanners web sha256:1",
    "image sbom web sha256:1 --scanner trivy",
    "image signatures web sha256:1",
    "image search web --platform linux/arm64 --label a=b --package zlib --finding CVE-2026-1 --kind image",
    "image platforms web v1 --wanted linux/amd64",
    "image export web v1 --platform linux/arm64 -f {new}",
    "image origin web v1",
    "image derived web sha256:1",
    "image delete web v1",
    "image delete web@sha256:1",
    "image history web v1",
    "image restore web v1",
    "image collect --dry-run",
    "image collections",
    "image check",
    "image damage",
    "registry settings",
    "registry usage",
    "registry quota 10GiB",
    "registry immutable web:v*",
    "registry platforms linux/amd64",
    "registry scanning --attach-sbom spdx",
    "registry retention set {json}",
    "registry retention simulate",
    "registry retention run --yes",
    "registry key add build {file}",
    "registry key remove build",
    "registry policy set strict --block high",
    "registry policy remove strict",
    "registry allow CVE-2026-1 --reason later",
    "registry disallow CVE-2026-1",
    "registry cache list",
    "registry cache set hub https://hub.example --username ada --password-file {file}",
    "registry cache contents hub",
    "registry cache test hub",
    "registry cache remove hub",
    "registry target list",
    "registry target set there https://there.example",
    "registry target test there",
    "registry target remove there",
    "registry replication list",
    "registry replication set out push --target there",
    "registry replication run out",
    "registry replication runs out",
    "registry replication show 1",
    "registry replication report 1",
    "registry replication cancel 1",
    "registry replication remove out",
    "registry scanner list",
    "registry scanner set trivy https://trivy.example",
    "registry scanner test trivy",
    "registry scanner remove trivy",
    "registry webhook list",
    "registry webhook set chat https://chat.example --on pushed --secret-file {file}",
    "registry webhook rotate chat --only",
    "registry webhook test chat",
    "registry webhook resume chat",
    "registry webhook log chat --state dead",
    "registry webhook show 1",
    "registry webhook resend 1",
    "registry webhook replay chat --all",
    "registry webhook remove chat",
];

#[tokio::test]
async fn every_operation_of_the_registry_can_be_typed() {
    let yes = json!({
        "items": [], "next": null, "id": "1", "ok": true, "state": "delivered", "finished_at": "2026-01-01T00:00:00Z", "events": 1, "secret": "whsec_x",
        "tags": [], "images": [], "layers": [], "kept": 0, "removed": 0, "retention": { "rules": [] },
    });
    let commands: Vec<String> = COMMANDS.iter().map(|words| format!("{words} --at acme/shop")).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let others = [("GET /api/v1/images?digest", "the text takes a digest, too")];
    held(include_str!("../../../../../schemas/openapi/registry.json"), &commands, yes, &others, &[], "").await;
}
