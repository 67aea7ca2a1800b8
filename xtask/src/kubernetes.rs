//! The Kubernetes manifests and the Compose file: secrets for development, and a test that keeps them in step with the code.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Result;
use gantry_kernel::Env;
use gantry_servers::server::write_private;

use crate::work::say;

/// # Errors
/// When the folder cannot be written.
pub fn secrets(overlay: &Path) -> Result<()> {
    let env = Env::system();
    let (file, key) = (overlay.join("secrets.env"), overlay.join("master.key"));
    if !file.exists() {
        let hex = |bytes: [u8; 24]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let password = hex(env.random());
        let lines = [
            format!("password={password}"),
            format!("database_url=postgres://gantry:{password}@postgres:5432/gantry"),
            format!("nats_url=nats://gantry:{password}@nats:4222"),
            format!("redis_url=redis://:{password}@redis:6379/0"),
        ];
        write_private(&file, &(lines.join("\n") + "\n"))?;
    }
    if !key.exists() {
        // In one step: half a key would be found by the next call, and kept.
        let draft = overlay.join("master.key.new");
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?.write_all(&env.random::<32>())?;
        fs::rename(&draft, &key)?;
    }
    say(&format!("{} and {} are there; kubectl apply -k {}", file.display(), key.display(), overlay.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use gantry_servers::Ports;
    use gantry_servers::suite::SERVICES;
    use serde_json::Value;

    use super::*;
    use crate::work::Work;

    /// The services that are Deployments; the agent runs on nodes of its own, not on Kubernetes.
    fn deployed() -> Vec<&'static str> {
        SERVICES.into_iter().filter(|s| *s != "agent").chain(["gateway"]).collect()
    }

    fn port(service: &str) -> u64 {
        u64::from(if service == "gateway" { Ports::DEFAULT.gateway() } else { Ports::DEFAULT.service(service) })
    }

    fn documents(text: &str) -> Vec<Value> {
        serde_saphyr::from_str_multiple::<Value, Vec<Value>>(text).expect("YAML")
    }

    fn base() -> Vec<Value> {
        let folder = Work::find().expect("the repository").repository.join("k8s/base");
        let files = fs::read_dir(folder).expect("k8s/base").flatten().map(|e| e.path());
        let yaml = files.filter(|f| f.extension().is_some_and(|e| e == "yaml"));
        yaml.flat_map(|f| documents(&fs::read_to_string(f).expect("read"))).collect()
    }

    fn of<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
        let found = documents.iter().find(|d| d["kind"] == kind && d["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// Every value below that has this key.
    fn all<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(k, v)| {
                if k == key {
                    found.push(v);
                }
                all(v, key, found);
            }),
            Value::Array(items) => items.iter().for_each(|v| all(v, key, found)),
            _ => {}
        }
    }

    #[test]
    fn every_service_is_a_deployment_with_probes_limits_and_no_rights() {
        let documents = base();
        for service in deployed() {
            let deployment = of(&documents, "Deployment", service);
            let pod = &deployment["spec"]["template"]["spec"];
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{service}");
            let [container] = &pod["containers"].as_array().expect("containers")[..] else { panic!("{service}: one container") };
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{service}");
            assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false, "{service}");
            assert_eq!(container["args"][0], format!("--target={service}"));
            assert_eq!(container["ports"][0]["containerPort"], port(service), "{service}");
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                assert!(container[probe].to_string().contains(if probe == "readinessProbe" { "/readyz" } else { "/healthz" }), "{service} {probe}");
            }
            // Nodes hear late that a pod takes nothing any more; then what is under way is answered.
            let waits = container["lifecycle"]["preStop"]["exec"]["command"][1].as_str().and_then(|s| s.parse::<u64>().ok()).expect("seconds");
            let most = pod["terminationGracePeriodSeconds"].as_u64().expect("a grace");
            assert!(waits >= 5 && most >= waits + 36, "{service}: {waits} s of {most} s leave too little for what is under way");
            if deployment["spec"]["replicas"].as_u64() > Some(1) {
                assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0, "{service}");
            }
            for bound in ["requests", "limits"] {
                assert!(container["resources"][bound]["memory"].is_string() && container["resources"][bound]["cpu"].is_string(), "{service} {bound}");
            }
            assert_eq!(deployment["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"], service);
            assert_eq!(of(&documents, "Service", service)["spec"]["ports"][0]["port"], port(service), "{service}");
            let budget = &of(&documents, "PodDisruptionBudget", service)["spec"];
            assert_eq!(budget["selector"]["matchLabels"]["app.kubernetes.io/name"], service);
            // Where an overlay has one replica, as that for development, `minAvailable: 1` would let no node be drained.
            assert_eq!(budget["maxUnavailable"], 1, "{service}");
            assert_eq!(of(&documents, "NetworkPolicy", service)["spec"]["ingress"][0]["ports"][0]["port"], port(service), "{service}");
            let certificate = of(&documents, "Certificate", service);
            assert_eq!(certificate["spec"]["uris"][0], format!("spiffe://gantry/{service}"));
            let mut secrets = Vec::new();
            all(pod, "secretName", &mut secrets);
            assert!(secrets.contains(&&certificate["spec"]["secretName"]), "{service} mounts its certificate");
        }
        assert_eq!(of(&documents, "NetworkPolicy", "default-deny")["spec"]["podSelector"], serde_json::json!({}));
        let deployments = documents.iter().filter(|d| d["kind"] == "Deployment").count();
        assert_eq!(deployments, deployed().len(), "no Deployment of something that is no service");
    }

    #[test]
    fn what_is_kept_on_volumes_can_do_without_them() {
        let repository = Work::find().expect("the repository").repository;
        let read = |file: &str| fs::read_to_string(repository.join(file)).expect(file);
        let component = documents(&read("k8s/components/ephemeral/kustomization.yaml"));
        let patches = component[0]["patches"].as_array().expect("patches");
        let named = |kind: &str, name: &str| {
            let targets = patches.iter().map(|p| &p["target"]).filter(|target| target["kind"] == kind);
            targets.filter_map(|target| target["name"].as_str()).any(|names| names.split('|').any(|one| one == name))
        };
        let (all, servers) = (base(), documents(&read("k8s/overlays/dev/servers.yaml")));
        for claim in all.iter().filter(|d| d["kind"] == "PersistentVolumeClaim") {
            let name = claim["metadata"]["name"].as_str().expect("a name");
            assert!(named("PersistentVolumeClaim", name) && named("Deployment", name), "the claim {name}");
        }
        for set in servers.iter().filter(|d| !d["spec"]["volumeClaimTemplates"].is_null()) {
            let [claim] = &set["spec"]["volumeClaimTemplates"].as_array().expect("claims")[..] else { panic!("one claim") };
            assert_eq!(claim["metadata"]["name"], "data");
            let name = set["metadata"]["name"].as_str().expect("a name");
            assert!(named("StatefulSet", name), "the claims of {name}");
        }
    }

    #[test]
    fn the_scheduler_of_the_cluster_is_a_deployment_with_its_account_and_no_more_rights() {
        let folder = Work::find().expect("the repository").repository.join("k8s/components/kube-scheduler");
        let files = ["account.yaml", "deployment.yaml", "network.yaml"];
        let documents: Vec<Value> = files.iter().flat_map(|f| documents(&fs::read_to_string(folder.join(f)).expect("read"))).collect();
        let kustomization = fs::read_to_string(folder.join("kustomization.yaml")).expect("read");
        assert!(files.iter().all(|f| kustomization.contains(&format!("- {f}"))));
        let deployment = of(&documents, "Deployment", "kube-scheduler");
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!((&pod["securityContext"]["runAsNonRoot"], &pod["automountServiceAccountToken"]), (&Value::from(true), &Value::from(true)));
        let [container] = &pod["containers"].as_array().expect("containers")[..] else { panic!("one container") };
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
        assert_eq!(container["args"][0], "--target=kube-scheduler");
        for bound in ["requests", "limits"] {
            assert!(container["resources"][bound]["memory"].is_string() && container["resources"][bound]["cpu"].is_string(), "{bound}");
        }
        // Everything in the namespace of the suite.
        let lease = container["args"].as_array().expect("arguments").iter().find_map(|a| a.as_str()?.strip_prefix("--lease-namespace="));
        let bound = &of(&documents, "ClusterRoleBinding", "gantry-kube-scheduler")["subjects"][0];
        assert_eq!((lease, bound["namespace"].as_str()), (Some("gantry"), Some("gantry")));
        assert_eq!(bound["name"], of(&documents, "ServiceAccount", "kube-scheduler")["metadata"]["name"]);
        assert_eq!(pod["serviceAccountName"], bound["name"]);
        let labels = &deployment["spec"]["selector"]["matchLabels"];
        assert_eq!(of(&documents, "PodDisruptionBudget", "kube-scheduler")["spec"]["selector"]["matchLabels"], *labels);
        assert_eq!(of(&documents, "NetworkPolicy", "kube-scheduler-to-api-server")["spec"]["podSelector"]["matchLabels"], *labels);
    }

    #[test]
    fn network_policies_allow_what_the_services_call() {
        let documents = base();
        let calls = fs::read_to_string(Work::find().expect("the repository").repository.join("schemas/calls.txt")).expect("the golden list");
        for (from, to) in calls.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once(" -> ")).filter(|(f, _)| *f != "agent") {
            let policy = of(&documents, "NetworkPolicy", to);
            let mut values = Vec::new();
            all(policy, "values", &mut values);
            assert!(
                values.iter().any(|v| v.as_array().is_some_and(|v| v.contains(&Value::from(from)))),
                "{from} calls {to}, and the policy of {to} forbids it"
            );
        }
    }

    #[test]
    fn the_shared_configuration_has_known_keys_and_the_right_ports() {
        let repository = Work::find().expect("the repository").repository;
        let source = fs::read_to_string(repository.join("libs/host/src/config.rs")).expect("the host's configuration");
        let known: BTreeSet<String> = source.lines().filter_map(|l| l.trim().strip_prefix("pub ")?.split_once(':').map(|(k, _)| k.to_owned())).collect();
        for file in ["k8s/base/gantry.toml", "k8s/overlays/dev/gantry.toml"] {
            let config: toml::Table = fs::read_to_string(repository.join(file)).expect(file).parse().expect("TOML");
            let platform = config["platform"].as_table().expect("[platform]");
            for key in platform.keys() {
                assert!(known.contains(key), "{file}: platform.{key} is not in the host's configuration");
            }
            for service in deployed().into_iter().filter(|s| *s != "gateway") {
                assert_eq!(platform["peers"][service].as_str(), Some(format!("https://{service}:{}", port(service)).as_str()), "{file}");
            }
        }
        let compose = fs::read_to_string(repository.join("docker-compose.yml")).expect("the Compose file");
        let keys = compose.lines().filter_map(|l| l.trim().strip_prefix("GANTRYD__PLATFORM__")?.split_once(':').map(|(k, _)| k.to_lowercase()));
        for key in keys {
            let first = key.split("__").next().unwrap_or_default().to_owned();
            assert!(known.contains(&first), "docker-compose.yml: platform.{key} is not in the host's configuration");
        }
    }

    #[test]
    fn the_compose_file_starts_every_service_behind_its_servers() {
        let text = fs::read_to_string(Work::find().expect("the repository").repository.join("docker-compose.yml")).expect("the Compose file");
        let [file] = &documents(&text)[..] else { panic!("one document") };
        let services = file["services"].as_object().expect("services");
        for server in ["postgres", "nats", "redis", "prometheus", "init"] {
            assert!(services.contains_key(server), "{server}");
        }
        let target = services["gantryd"]["command"][0].as_str().and_then(|c| c.strip_prefix("--target=")).expect("a target");
        assert_eq!(target.split(',').collect::<BTreeSet<_>>(), deployed().into_iter().collect());
        for (name, service) in services {
            let waits = service["depends_on"].as_object().map(|d| d.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
            assert!(waits.iter().all(|w| services.contains_key(w)), "{name} waits for {waits:?}");
        }
        let published = |service: &str| services[service]["ports"].as_array().into_iter().flatten().filter_map(|p| p.as_str()).collect::<Vec<_>>();
        let ports = [published("gantryd"), published("nats")].concat();
        assert!(ports.iter().all(|p| p.starts_with("127.0.0.1:")), "loopback unless told otherwise");
        // The agent has the host's network, where the others are known by no name: what it calls is published there.
        let agent = services["agent"]["environment"].as_object().expect("the agent's environment");
        let called = ["PEERS__SCHEDULER", "PEERS__IDENTITY", "NATS_URL"].map(|key| agent[&format!("GANTRYD__PLATFORM__{key}")].as_str().expect(key));
        for url in called {
            let address = url.rsplit(['/', '@']).next().unwrap_or_default();
            assert!(ports.iter().any(|p| p.starts_with(&format!("{address}:"))), "{url} is not published: {ports:?}");
        }
    }

    #[test]
    fn the_servers_of_nats_take_large_events() {
        let repository = Work::find().expect("the repository").repository;
        let read = |file: &str| documents(&fs::read_to_string(repository.join(file)).expect(file));
        let compose = read("docker-compose.yml").remove(0);
        let nats = &compose["services"]["nats"];
        assert_eq!((&nats["command"][0], &nats["command"][1]), (&Value::from("-c"), &nats["configs"][0]["target"]));
        assert_eq!(compose["configs"]["nats"]["content"], "max_payload: 8MB\n");
        let overlay = read("k8s/overlays/dev/servers.yaml");
        let pod = &of(&overlay, "StatefulSet", "nats")["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!((&container["args"][0], &container["args"][1]), (&Value::from("-c"), &Value::from("/etc/gantry/nats.conf")));
        // After a write that failed, as on a full disk, it has to be started anew: its page of health says so.
        let probe = &container["livenessProbe"]["httpGet"];
        assert_eq!((&probe["path"], &probe["port"]), (&Value::from("/healthz"), &container["ports"][1]["name"]));
        assert_eq!(container["startupProbe"]["httpGet"], *probe);
        let page = format!("--http_port={}", container["ports"][1]["containerPort"]);
        assert!(container["args"].as_array().expect("arguments").contains(&Value::from(page)));
        assert_eq!(container["volumeMounts"][1]["mountPath"], "/etc/gantry");
        let config = of(&overlay, "ConfigMap", pod["volumes"][0]["configMap"]["name"].as_str().expect("a name"));
        assert_eq!(config["data"]["nats.conf"], "max_payload: 8MB\n");
    }

    #[test]
    fn secrets_are_made_once_and_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let read = || ["secrets.env", "master.key"].map(|file| fs::read(folder.path().join(file)).expect(file));
        secrets(folder.path()).expect("made");
        let first = read();
        secrets(folder.path()).expect("there");
        assert_eq!(first[1].len(), 32);
        assert_eq!(read(), first);
        for file in ["secrets.env", "master.key"] {
            assert_eq!(fs::metadata(folder.path().join(file)).expect(file).permissions().mode() & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn kustomize_takes_base_and_overlay() {
        if Command::new("kubectl").arg("version").arg("--client").output().is_err() {
            println!("kubectl is not on this machine: the manifests were checked by structure only");
            return;
        }
        let (repository, folder) = (Work::find().expect("the repository").repository, tempfile::tempdir().expect("a folder"));
        let copied = Command::new("cp").arg("-r").arg(repository.join("k8s")).arg(folder.path()).status().expect("cp");
        assert!(copied.success());
        let overlay = folder.path().join("k8s/overlays/dev");
        secrets(&overlay).expect("secrets");
        for (path, kind, count) in [("k8s/base", "Deployment", 8), ("k8s/overlays/dev", "StatefulSet", 4)] {
            let done = Command::new("kubectl").arg("kustomize").arg(folder.path().join(path)).output().expect("kubectl");
            assert!(done.status.success(), "{path}: {}", String::from_utf8_lossy(&done.stderr));
            let made = documents(&String::from_utf8_lossy(&done.stdout));
            assert_eq!(made.iter().filter(|d| d["kind"] == kind).count(), count, "{path}");
            let of_the_cluster = ["Namespace", "ClusterRole", "ClusterRoleBinding"];
            let namespaced = made.iter().filter(|d| !of_the_cluster.iter().any(|kind| d["kind"] == *kind));
            assert!(namespaced.into_iter().all(|d| d["metadata"]["namespace"] == "gantry"), "{path}");
            let account = &of(&made, "Deployment", "scheduler")["spec"]["template"]["spec"]["serviceAccountName"];
            assert_eq!(*account == "scheduler", path == "k8s/overlays/dev", "{path}");
        }
        // Two replicas of the registry stand on one store that both may have, and never on a volume of one node.
        for component in ["registry-shared", "registry-bucket", "kube-scheduler", "engine"] {
            let tried = folder.path().join("k8s/overlays").join(component);
            fs::create_dir_all(&tried).expect("a folder");
            let kustomization = format!(
                "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: gantry\nresources: [../../base]\ncomponents: [../../components/{component}]\n"
            );
            fs::write(tried.join("kustomization.yaml"), kustomization).expect("written");
            let done = Command::new("kubectl").arg("kustomize").arg(&tried).output().expect("kubectl");
            assert!(done.status.success(), "{component}: {}", String::from_utf8_lossy(&done.stderr));
            let made = documents(&String::from_utf8_lossy(&done.stdout));
            let registry = &of(&made, "Deployment", "registry")["spec"];
            let volumes = registry["template"]["spec"]["volumes"].as_array().expect("volumes");
            let data = volumes.iter().find(|v| v["name"] == "data").expect("its volume");
            let claim = made.iter().find(|d| d["kind"] == "PersistentVolumeClaim" && d["metadata"]["name"] == "registry");
            let shared = claim.is_none_or(|c| c["spec"]["accessModes"] == serde_json::json!(["ReadWriteMany"]));
            let rolls = registry["strategy"]["type"] == "RollingUpdate";
            assert_eq!((rolls, registry["replicas"] == 2), (shared, shared), "{component}");
            assert_eq!(data["persistentVolumeClaim"].is_null(), claim.is_none(), "{component}");
        }
    }
}
