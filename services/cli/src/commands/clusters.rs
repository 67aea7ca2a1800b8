//! Kubernetes clusters.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{Context, confirm, files, segment};
use crate::args::{Cluster, ClusterAccess, Format};
use crate::output::print;

pub async fn run(cx: &mut Context, command: Cluster) -> Result<()> {
    let of = |name: &str| format!("/api/v1/clusters/{}", segment(name));
    match command {
        Cluster::Add { name, org, access, unchecked, adopt, settings } => {
            let mut body = json!({ "name": name, "org": org, "access": body(&access)?, "unchecked": unchecked, "adopt": adopt });
            if let Some(file) = settings {
                body["settings"] = files::settings(&file)?;
            }
            let added = cx.client.post("/api/v1/clusters", &[], &body).await?;
            cx.one(&added)
        }
        Cluster::List => {
            let items = cx.client.list("/api/v1/clusters", &[], 1_000).await?;
            if cx.common.output != Format::Table {
                return cx.list(&items, &[]);
            }
            let rows: Vec<Value> = items.iter().map(row).collect();
            let columns = [
                ("NAME", "name"),
                ("ORG", "org"),
                ("HEALTH", "health"),
                ("SINCE", "since"),
                ("PLACE", "place"),
                ("SERVER", "server"),
                ("CREDENTIAL", "credential"),
                ("EXPIRES", "expires"),
            ];
            cx.list(&rows, &columns)
        }
        Cluster::Show { name } => {
            let found: Value = cx.client.get(&of(&name), &[]).await?;
            cx.one(&found)
        }
        Cluster::Test { name } => {
            let tested = cx.client.post(&format!("{}/test", of(&name)), &[], &json!({})).await?;
            cx.one(&tested)?;
            // For scripts.
            if tested["usable"] != true {
                bail!("{name} is not usable: {}", tested["problem"].as_str().unwrap_or("see above"));
            }
            Ok(())
        }
        Cluster::Access { name, access } => {
            let changed = cx.client.put_new(&format!("{}/access", of(&name)), &body(&access)?).await?;
            cx.one(&changed)
        }
        Cluster::Settings { name, set } => {
            let settings = match set {
                Some(file) => cx.client.put_new(&format!("{}/settings", of(&name)), &files::settings(&file)?).await?["settings"].clone(),
                None => cx.client.get::<Value>(&of(&name), &[]).await?["settings"].clone(),
            };
            cx.one(&settings)
        }
        Cluster::Remove { name, yes } => {
            confirm(&format!("Forget the cluster {name}"), yes)?;
            cx.client.delete(&of(&name)).await?;
            cx.note(&format!("{name} is forgotten; what `gantry cluster manifest` made is still on it"));
            Ok(())
        }
        Cluster::Credential { client } => {
            let credential = super::credential::exec_credential(cx, &client, super::credential::asked()).await?;
            print(&credential.to_string())
        }
        Cluster::Manifest { scheduler, roles } => {
            let query = [("scheduler", scheduler.to_string()), ("roles", roles.to_string())];
            let text = cx.client.stream("/api/v1/cluster-manifest", &query).await?.text().await?;
            match cx.common.output {
                Format::Table | Format::Yaml => print(text.trim_end()),
                _ => cx.one(&Value::from(text)),
            }
        }
    }
}

/// As a line of a table.
fn row(of: &Value) -> Value {
    let settings = &of["settings"];
    let place: Vec<&str> = ["region", "zone"].iter().filter_map(|f| settings[*f].as_str().filter(|t| !t.is_empty())).collect();
    json!({
        "name": of["name"], "org": of["org"], "health": of["health"]["state"], "since": of["health"]["since"], "place": place.join("/"),
        "server": of["server"], "credential": of["credential"], "expires": of["credential_expires_at"],
    })
}

fn body(access: &ClusterAccess) -> Result<Value> {
    if let Some(file) = &access.kubeconfig {
        let folder = file.parent().unwrap_or(Path::new("."));
        let whole = gantry_kubernetes::flatten(&files::text(file)?, folder).with_context(|| format!("{}", file.display()))?;
        return Ok(json!({ "kubeconfig": whole, "context": access.context.clone().unwrap_or_default() }));
    }
    if let (Some(server), Some(token)) = (&access.server, &access.token_file) {
        let ca = access.server_ca.as_deref().map(files::text).transpose()?.unwrap_or_default();
        return Ok(json!({ "server": server, "token": files::text(token)?.trim(), "ca_pem": ca }));
    }
    if access.in_cluster {
        return Ok(json!({ "in_cluster": true }));
    }
    bail!("say how it is reached: --kubeconfig FILE, --server URL --token-file FILE, or --in-cluster")
}
