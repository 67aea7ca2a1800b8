//! The account that `gantry cluster manifest` makes, and what the platform can do with it and nothing else.

use std::panic::AssertUnwindSafe;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use gantry_kubernetes::{Account, Kind, More, NAMESPACE};
use reqwest::Method;
use serde_json::{Value, json};

use super::cluster::Live;
use super::documents::{MORE, WEB};

const fn of_the_cluster(kind: &'static str, plural: &'static str) -> Kind {
    Kind { group: "rbac.authorization.k8s.io", version: "v1", kind, plural, namespaced: false, optional: false }
}

static ROLE: Kind = of_the_cluster("ClusterRole", "clusterroles");
static BINDING: Kind = of_the_cluster("ClusterRoleBinding", "clusterrolebindings");

pub async fn least(live: &Live) {
    let name = format!("gantry-live-account-{}", live.mark);
    let outcome = AssertUnwindSafe(with(live, &name)).catch_unwind().await;
    // None of it is the platform's, which would take it away.
    for (kind, what) in [(&BINDING, "the binding"), (&ROLE, "the role"), (&NAMESPACE, "the namespace")] {
        if let Err(trouble) = live.client.delete(kind, None, &name, None).await {
            println!("LEFT {what} {name} could not be removed: {trouble}");
        }
    }
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    let gone = async || matches!(live.client.get(&format!("/api/v1/namespaces/{name}")).await, Err(gantry_kubernetes::Trouble::NotFound(_)));
    live.until("the account's namespace is gone", gone).await;
}

async fn with(live: &Live, name: &str) {
    let account = Account { namespace: name.to_owned(), name: name.to_owned() };
    let accounts = format!("/api/v1/namespaces/{name}/serviceaccounts");
    for object in gantry_kubernetes::objects(&account, More::default()) {
        let path = match object["kind"].as_str().expect("a kind") {
            "Namespace" => NAMESPACE.path(None),
            "ServiceAccount" => accounts.clone(),
            "ClusterRole" => ROLE.path(None),
            "ClusterRoleBinding" => BINDING.path(None),
            // A token is asked for below: one that ends by itself.
            "Secret" => continue,
            other => panic!("the manifest has a {other}"),
        };
        live.client.post(&path, &object).await.unwrap_or_else(|e| panic!("{path}: {e}"));
    }
    let ask = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "expirationSeconds": 7200 } });
    let given = live.client.post(&format!("{accounts}/{name}/token"), &ask).await.unwrap_or_else(|e| panic!("the token: {e}"));
    let body = json!({ "kubeconfig": kubeconfig(&live.kubeconfig, given["status"]["token"].as_str().expect("a token")).to_string() });
    // What authorisers know of a new role they know a moment later.
    let taken = async || {
        let (status, answer) = live.call(Method::PUT, "/api/v1/clusters/east/access", Some(body.clone())).await;
        if status != 200 {
            println!("{answer}");
        }
        status == 200
    };
    live.until("the platform has the account's rights, and needs no others", taken).await;
    live.deploy("all", &format!("{WEB}{MORE}")).await;
    live.reaches("all", "running", 1).await;
    live.deploy("all", &WEB.replace("'one'", "'two'")).await;
    live.reaches("all", "running", 2).await;
    live.leaves_nothing(&["all"]).await;
}

/// The same server, and this token.
fn kubeconfig(of: &str, token: &str) -> Value {
    let access = gantry_kubernetes::parse(of, None).expect("it was parsed before");
    let mut cluster = json!({ "server": access.server, "insecure-skip-tls-verify": access.insecure });
    if let Some(pem) = &access.ca_pem {
        cluster["certificate-authority-data"] = STANDARD.encode(pem).into();
    }
    if let Some(name) = &access.tls_server_name {
        cluster["tls-server-name"] = name.as_str().into();
    }
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "it" } }],
        "clusters": [{ "name": "it", "cluster": cluster }],
        "users": [{ "name": "it", "user": { "token": token } }],
    })
}
