//! A kubeconfig (kubernetes.io/docs/reference/config-api/kubeconfig.v1) becomes an [`Access`]. Files that it names are read only
//! where it is this machine's own ([`flatten`]): others come from somebody else's.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use thiserror::Error;

use crate::access::{Access, Credential, Exec};

#[derive(Debug, Error, PartialEq, Eq)]
pub enum KubeconfigError {
    #[error("it is no kubeconfig: {0}")]
    Malformed(String),
    #[error("there is no context `{0}` in it; it has: {1}")]
    NoContext(String, String),
    #[error("it names no current context: say which one of {0}")]
    NoCurrent(String),
    #[error("the context names {0} `{1}`, which is not in it")]
    Missing(&'static str, String),
    #[error("`{0}` names a file, which is not here: send its content, as `kubectl config view --raw --flatten --minify` writes it")]
    File(&'static str),
    #[error("it names {0}, which cannot be read: {1}")]
    Unreadable(String, String),
    #[error("`{0}` is not base64 of PEM")]
    Encoding(&'static str),
    #[error("the user `{0}` has neither token, nor client certificate, nor exec plugin; {1}")]
    NoCredential(String, &'static str),
    #[error("the exec plugin `{0}` of the user asks a person (`interactiveMode: Always`), and there is none where the platform runs it")]
    Interactive(String),
    #[error("the server `{0}` is not an https:// address")]
    Server(String),
    #[error(
        "its cluster is reached through a proxy (`proxy-url`), which the platform does not use: take the line out if the platform reaches {0} itself, or give an address that it reaches"
    )]
    Proxy(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    current_context: String,
    #[serde(default)]
    contexts: Vec<Context>,
    #[serde(default)]
    clusters: Vec<Cluster>,
    #[serde(default)]
    users: Vec<User>,
}

#[derive(Deserialize)]
struct Context {
    name: String,
    context: ContextBody,
}

#[derive(Deserialize)]
struct ContextBody {
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
struct Cluster {
    name: String,
    cluster: ClusterBody,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ClusterBody {
    server: String,
    #[serde(default)]
    certificate_authority: Option<String>,
    #[serde(default)]
    certificate_authority_data: Option<String>,
    #[serde(default)]
    tls_server_name: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    #[serde(default)]
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct User {
    name: String,
    user: UserBody,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct UserBody {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    username: Option<String>,
    exec: Option<ExecBody>,
    auth_provider: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecBody {
    api_version: String,
    command: String,
    #[serde(default)]
    args: Option<Vec<String>>,
    #[serde(default)]
    env: Option<Vec<EnvBody>>,
    #[serde(default)]
    provide_cluster_info: bool,
    #[serde(default)]
    interactive_mode: Option<String>,
}

#[derive(Deserialize)]
struct EnvBody {
    name: String,
    value: String,
}

/// Reads the context named, or the current one.
///
/// # Errors
/// When it is no kubeconfig, lacks what the context names, or names files.
pub fn parse(text: &str, context: Option<&str>) -> Result<Access, KubeconfigError> {
    let file: File = serde_saphyr::from_str(text).map_err(|e| KubeconfigError::Malformed(first_line(&e.to_string())))?;
    let names = || file.contexts.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
    let wanted = context.unwrap_or(&file.current_context);
    if wanted.is_empty() {
        return Err(KubeconfigError::NoCurrent(names()));
    }
    let context = file.contexts.iter().find(|c| c.name == wanted).ok_or_else(|| KubeconfigError::NoContext(wanted.to_owned(), names()))?;
    let cluster = file.clusters.iter().find(|c| c.name == context.context.cluster);
    let cluster = &cluster.ok_or_else(|| KubeconfigError::Missing("the cluster", context.context.cluster.clone()))?.cluster;
    let user = file.users.iter().find(|u| u.name == context.context.user);
    let user = user.ok_or_else(|| KubeconfigError::Missing("the user", context.context.user.clone()))?;
    if !url::Url::parse(&cluster.server).is_ok_and(|u| is_safe(&u)) {
        return Err(KubeconfigError::Server(cluster.server.clone()));
    }
    if cluster.proxy_url.as_ref().is_some_and(|p| !p.is_empty()) {
        return Err(KubeconfigError::Proxy(cluster.server.clone()));
    }
    Ok(Access {
        server: cluster.server.trim_end_matches('/').to_owned(),
        ca_pem: pem(cluster.certificate_authority_data.as_deref(), cluster.certificate_authority.as_deref(), "certificate-authority")?,
        tls_server_name: cluster.tls_server_name.clone().filter(|n| !n.is_empty()),
        insecure: cluster.insecure_skip_tls_verify,
        credential: credential(&user.name, &user.user)?,
    })
}

/// With the files that it names in it; their paths are relative to its folder, as kubectl reads them. What stands in it already counts.
///
/// # Errors
/// When it is no YAML, or a file cannot be read.
pub fn flatten(text: &str, folder: &Path) -> Result<String, KubeconfigError> {
    let mut config: serde_json::Value = serde_saphyr::from_str(text).map_err(|e| KubeconfigError::Malformed(first_line(&e.to_string())))?;
    let read = |name: &str| std::fs::read(folder.join(name)).map_err(|e| KubeconfigError::Unreadable(name.to_owned(), e.to_string()));
    let lists: [(&str, &str, &[&str]); 2] =
        [("clusters", "cluster", &["certificate-authority"]), ("users", "user", &["client-certificate", "client-key", "tokenFile"])];
    for (list, entry, fields) in lists {
        for item in config.get_mut(list).and_then(serde_json::Value::as_array_mut).into_iter().flatten() {
            let Some(of) = item.get_mut(entry).and_then(serde_json::Value::as_object_mut) else { continue };
            for field in fields {
                let there = if *field == "tokenFile" { "token".to_owned() } else { format!("{field}-data") };
                let file = of.remove(*field).and_then(|name| name.as_str().map(str::to_owned)).filter(|name| !name.is_empty());
                let Some(file) = file.filter(|_| of.get(&there).and_then(serde_json::Value::as_str).is_none_or(str::is_empty)) else { continue };
                let content = read(&file)?;
                let content = if *field == "tokenFile" { String::from_utf8_lossy(&content).trim().to_owned() } else { STANDARD.encode(content) };
                of.insert(there, content.into());
            }
        }
    }
    // JSON is YAML.
    Ok(config.to_string())
}

/// Encrypted, or not leaving this machine (`kubectl proxy`).
fn is_safe(url: &url::Url) -> bool {
    match url.scheme() {
        "https" => url.host_str().is_some(),
        "http" => matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")),
        _ => false,
    }
}

/// What kubectl takes first is taken first: a token, then a certificate, then the plugin.
fn credential(name: &str, user: &UserBody) -> Result<Credential, KubeconfigError> {
    if let Some(token) = user.token.clone().filter(|t| !t.is_empty()) {
        return Ok(Credential::Token { token });
    }
    if user.token_file.is_some() {
        return Err(KubeconfigError::File("tokenFile"));
    }
    let certificate = pem(user.client_certificate_data.as_deref(), user.client_certificate.as_deref(), "client-certificate")?;
    let key = pem(user.client_key_data.as_deref(), user.client_key.as_deref(), "client-key")?;
    if let (Some(certificate_pem), Some(key_pem)) = (certificate, key) {
        return Ok(Credential::Certificate { certificate_pem, key_pem });
    }
    if let Some(exec) = &user.exec {
        if exec.interactive_mode.as_deref() == Some("Always") {
            return Err(KubeconfigError::Interactive(exec.command.clone()));
        }
        return Ok(Credential::Exec(Exec {
            api_version: exec.api_version.clone(),
            command: exec.command.clone(),
            args: exec.args.clone().unwrap_or_default(),
            env: exec.env.iter().flatten().map(|e| (e.name.clone(), e.value.clone())).collect(),
            provide_cluster_info: exec.provide_cluster_info,
        }));
    }
    let hint = if user.auth_provider.is_some() {
        "`auth-provider` was removed from Kubernetes in 1.26: use an exec plugin or a service account's token"
    } else if user.username.is_some() {
        "passwords were removed from Kubernetes in 1.19: use a service account's token"
    } else {
        "`gantry cluster manifest` makes a service account"
    };
    Err(KubeconfigError::NoCredential(name.to_owned(), hint))
}

fn pem(data: Option<&str>, file: Option<&str>, field: &'static str) -> Result<Option<String>, KubeconfigError> {
    match (data.filter(|d| !d.is_empty()), file.filter(|f| !f.is_empty())) {
        (Some(data), _) => {
            let clean: String = data.chars().filter(|c| !c.is_whitespace()).collect();
            let bytes = STANDARD.decode(clean).map_err(|_| KubeconfigError::Encoding(field))?;
            let text = String::from_utf8(bytes).ok().filter(|t| t.contains("-----BEGIN")).ok_or(KubeconfigError::Encoding(field))?;
            Ok(Some(text))
        }
        (None, Some(_)) => Err(KubeconfigError::File(field)),
        (None, None) => Ok(None),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(user: &str, cluster: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\npreferences: {{}}\ncontexts:\n- name: a\n  context: {{cluster: c, user: u, namespace: x}}\nclusters:\n- name: c\n  cluster: {{server: 'https://10.0.0.1:6443'{cluster}}}\nusers:\n- name: u\n  user: {user}\n"
        )
    }

    #[test]
    fn a_token_a_certificate_and_a_plugin_are_taken() {
        let token = parse(&config("{token: abc}", ""), None).unwrap();
        assert_eq!((token.server.as_str(), &token.credential), ("https://10.0.0.1:6443", &Credential::Token { token: "abc".into() }));
        let data = STANDARD.encode("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n");
        let certificate = parse(
            &config(
                &format!("{{client-certificate-data: {data}, client-key-data: {data}}}"),
                &format!(", certificate-authority-data: {data}, tls-server-name: api"),
            ),
            Some("a"),
        )
        .unwrap();
        assert_eq!((certificate.credential.word(), certificate.tls_server_name.as_deref()), ("certificate", Some("api")));
        assert!(certificate.ca_pem.unwrap().starts_with("-----BEGIN"));
        let exec =
            "{exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [eks, get-token], env: [{name: A, value: b}], interactiveMode: Never}}";
        let Credential::Exec(exec) = parse(&config(exec, ""), None).unwrap().credential else { panic!("no plugin") };
        assert_eq!((exec.command.as_str(), exec.args.len(), exec.env.len()), ("aws", 2, 1));
    }

    #[test]
    fn what_is_wrong_is_said_so_that_it_can_be_mended() {
        let error = |text: &str, context: Option<&str>| parse(text, context).unwrap_err().to_string();
        assert!(error("just text", None).starts_with("it is no kubeconfig"));
        assert!(error(&config("{token: x}", ""), Some("b")).contains("it has: a"));
        assert!(error(&config("{token: x}", ", certificate-authority: /ca.pem"), None).contains("--flatten"));
        assert!(error(&config("{client-certificate-data: '###', client-key-data: x}", ""), None).contains("base64"));
        assert!(error(&config("{auth-provider: {name: gcp}}", ""), None).contains("1.26"));
        assert!(error(&config("{username: u, password: p}", ""), None).contains("1.19"));
        assert!(error(&config("{token: x}", "").replace("https://10", "http://10"), None).contains("https://"));
        assert!(error(&config("{token: x}", "").replace("user: u,", "user: w,"), None).contains("`w`"));
        let asking = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: login, interactiveMode: Always}}";
        assert!(error(&config(asking, ""), None).contains("`login`"));
        assert!(error(&config("{token: x}", ", proxy-url: 'http://proxy:3128'"), None).contains("proxy-url"));
        assert!(error(&config("{token: x}", "").replace("current-context: a", "current-context: ''"), None).contains("which one of a"));
    }

    #[test]
    fn files_of_this_machine_are_read_from_the_folder_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let pem = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";
        std::fs::write(folder.path().join("ca.crt"), pem).unwrap();
        std::fs::write(folder.path().join("token"), "secret\n").unwrap();
        let text = config("{tokenFile: token}", ", certificate-authority: ca.crt");
        let access = parse(&flatten(&text, folder.path()).unwrap(), None).unwrap();
        assert_eq!((access.ca_pem.as_deref(), &access.credential), (Some(pem), &Credential::Token { token: "secret".into() }));
        let gone = flatten(&text.replace("ca.crt", "gone.crt"), folder.path()).unwrap_err().to_string();
        assert!(gone.contains("gone.crt"), "{gone}");
        let both = config("{token: kept, tokenFile: nowhere}", "");
        assert_eq!(parse(&flatten(&both, folder.path()).unwrap(), None).unwrap().credential, Credential::Token { token: "kept".into() });
    }

    #[test]
    fn secrets_do_not_show() {
        let access = parse(&config("{token: hunter2}", ""), None).unwrap();
        assert!(!format!("{access:?}").contains("hunter2"));
    }
}
