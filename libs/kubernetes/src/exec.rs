//! Credentials from a program (client.authentication.k8s.io/v1, kubernetes.io/docs/reference/access-authn-authz/authentication
//! "client-go credential plugins"). Which programs may be run is the caller's decision.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::access::{Access, Exec};
use crate::trouble::Trouble;

const PATIENCE: Duration = Duration::from_secs(30);
const MOST: usize = 1 << 20;

/// What the program gave.
#[derive(Clone, Default)]
pub struct Given {
    pub token: Option<String>,
    /// Certificate and key, PEM.
    pub certificate: Option<(String, String)>,
    pub expires: Option<OffsetDateTime>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    token: Option<String>,
    expiration_timestamp: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// # Errors
/// When the program is not there, fails, takes too long, or prints something else.
pub async fn run(exec: &Exec, access: &Access) -> Result<Given, Trouble> {
    let told = |reason: String| Trouble::Access(format!("the credential plugin `{}` {reason}", exec.command));
    let mut spec = json!({ "interactive": false });
    if exec.provide_cluster_info {
        let mut cluster = json!({ "server": access.server, "insecure-skip-tls-verify": access.insecure });
        if let Some(pem) = &access.ca_pem {
            use base64::Engine;
            cluster["certificate-authority-data"] = Value::from(base64::engine::general_purpose::STANDARD.encode(pem));
        }
        if let Some(name) = &access.tls_server_name {
            cluster["tls-server-name"] = Value::from(name.as_str());
        }
        spec["cluster"] = cluster;
    }
    let about = json!({ "apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec });
    let mut command = tokio::process::Command::new(&exec.command);
    command
        .args(&exec.args)
        .envs(exec.env.iter().map(|(k, v)| (k, v)))
        .env("KUBERNETES_EXEC_INFO", about.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.map_err(|_| told(format!("did not end within {} s", PATIENCE.as_secs())))?.map_err(|e| told(format!("cannot be run: {e}")))?;
    if !output.status.success() {
        let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect();
        return Err(told(format!("failed ({}): {said}", output.status)));
    }
    if output.stdout.len() > MOST {
        return Err(told("printed more than 1 MiB".into()));
    }
    read(&output.stdout).map_err(told)
}

fn read(stdout: &[u8]) -> Result<Given, String> {
    let answer: Answer = serde_json::from_slice(stdout).map_err(|_| "printed no ExecCredential".to_owned())?;
    if answer.kind != "ExecCredential" {
        return Err("printed no ExecCredential".into());
    }
    let status = answer.status;
    let expires = match status.expiration_timestamp.as_deref() {
        Some(text) => Some(OffsetDateTime::parse(text, &Rfc3339).map_err(|_| format!("printed an expirationTimestamp that is no time: {text}"))?),
        None => None,
    };
    let given = Given { token: status.token, certificate: status.client_certificate_data.zip(status.client_key_data), expires };
    if given.token.is_none() && given.certificate.is_none() {
        return Err("gave neither a token nor a certificate".into());
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_credential_is_taken_for_one() {
        let given = read(
            br#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"t","expirationTimestamp":"2030-01-01T00:00:00Z"}}"#,
        )
        .unwrap();
        assert_eq!((given.token.as_deref(), given.expires.map(|e| e.year())), (Some("t"), Some(2030)));
        assert!(read(b"hello").is_err());
        assert!(read(br#"{"kind":"ExecCredential","status":{}}"#).is_err());
        assert!(read(br#"{"kind":"ExecCredential","status":{"token":"t","expirationTimestamp":"tomorrow"}}"#).is_err());
    }

    #[tokio::test]
    async fn a_plugin_is_told_what_it_is_for_and_its_failure_is_told() {
        let access = Access {
            server: "https://x".into(),
            ca_pem: None,
            tls_server_name: None,
            insecure: false,
            credential: crate::Credential::Token { token: String::new() },
        };
        let exec = |script: &str| Exec {
            api_version: "client.authentication.k8s.io/v1".into(),
            command: "sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("WHO".into(), "me".into())],
            provide_cluster_info: true,
        };
        let print = r#"case "$KUBERNETES_EXEC_INFO" in *https://x*) echo "{\"kind\":\"ExecCredential\",\"status\":{\"token\":\"for-$WHO\"}}";; esac"#;
        assert_eq!(run(&exec(print), &access).await.unwrap().token.as_deref(), Some("for-me"));
        let Err(failed) = run(&exec("echo no session >&2; exit 3"), &access).await else { panic!("it cannot have worked") };
        assert!(failed.to_string().contains("no session"), "{failed}");
    }
}
