//! Objects of each kind: made, changed, put back, made anew, and taken away.

use gantry_kubernetes::Kind;
use serde_json::json;

use super::cluster::Live;
use super::documents::{MORE, WEB, WORDS};

pub async fn kinds(live: &Live) {
    live.deploy("all", &format!("{WEB}{MORE}")).await;
    live.reaches("all", "running", 1).await;
    let kinds = [
        ("apis/apps/v1", "deployments", "all-web"),
        ("apis/apps/v1", "statefulsets", "all-state"),
        ("apis/apps/v1", "daemonsets", "all-each"),
        ("apis/batch/v1", "jobs", "all-once-r1"),
        ("apis/batch/v1", "cronjobs", "all-yearly"),
        ("api/v1", "services", "all-web"),
        ("api/v1", "services", "web"),
        ("api/v1", "configmaps", "all-settings"),
        ("api/v1", "secrets", "all-keys"),
        ("apis/policy/v1", "poddisruptionbudgets", "all-web"),
        ("apis/networking.k8s.io/v1", "ingresses", "all-web-0"),
        ("apis/networking.k8s.io/v1", "networkpolicies", "gantry-space"),
        ("api/v1", "limitranges", "gantry-space"),
    ];
    for (api, plural, name) in kinds {
        assert!(live.object(api, plural, name).await.is_some(), "there is no {plural}/{name}");
    }
    let instances = live.place.instances("all").await;
    assert!(instances.iter().filter(|i| i["workload"] == "web" && i["available"] == true).count() == 2, "{instances:#?}");
    live.leaves_nothing(&["all"]).await;
}

pub async fn revisions(live: &Live) {
    live.deploy("web", WEB).await;
    live.reaches("web", "running", 1).await;
    let config = "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {a: b}\n";
    live.deploy("web", &format!("{}{config}", WEB.replace("'one'", "'two'"))).await;
    live.reaches("web", "running", 2).await;
    assert!(live.object("api/v1", "configmaps", "web-extra").await.is_some());
    assert!(live.place.instances("web").await.iter().all(|i| i["revision"] == 2));
    live.place.post(&format!("{}/web/scale", live.place.apps()), json!({ "workload": "web", "replicas": 3 })).await;
    live.until("three are ready", async || live.place.instances("web").await.iter().filter(|i| i["available"] == true).count() == 3).await;
    // What left the model leaves the cluster.
    live.deploy("web", WEB).await;
    live.reaches("web", "running", 3).await;
    live.until("the config is gone", async || live.object("api/v1", "configmaps", "web-extra").await.is_none()).await;
    // An image that is nowhere: the reason is told, and the revision before comes back.
    live.deploy("web", &WEB.replace("IMAGE", "invalid.invalid/broken:1")).await;
    live.until("the reason is told", async || live.why("web").await.to_string().contains("invalid.invalid")).await;
    live.reaches("web", "running", 3).await;
    live.leaves_nothing(&["web"]).await;
}

pub async fn drift(live: &Live) {
    live.deploy("web", WEB).await;
    live.reaches("web", "running", 1).await;
    live.meddle("apis/apps/v1", "deployments", "web-web", |d| d["spec"]["progressDeadlineSeconds"] = 77.into()).await;
    live.until("the drift is shown", async || live.why("web").await["cluster"]["drift"].to_string().contains("somebody")).await;
    live.set(json!({ "drift": "correct" })).await;
    let back = async || live.object("apis/apps/v1", "deployments", "web-web").await.is_some_and(|d| d["spec"]["progressDeadlineSeconds"] == 120);
    live.until("it is put back", back).await;
    let foreign = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "other-taken" }, "data": { "whose": "theirs" } });
    live.client.post(&format!("/api/v1/namespaces/{}/configmaps?fieldManager=somebody", live.namespace), &foreign).await.expect("made by somebody");
    live.deploy(
        "other",
        &format!("{}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: taken}}\ndata: {{whose: ours}}\n", WEB.replace("name: web", "name: api")),
    )
    .await;
    live.until("whose it is is told", async || live.why("other").await.to_string().contains("made by `somebody`")).await;
    assert_eq!(live.object("api/v1", "configmaps", "other-taken").await.unwrap()["data"]["whose"], "theirs");
    // The namespace stays with what somebody has put into it, and goes with the last of it.
    live.deletes(&["other", "web"]).await;
    live.until("ours is gone", async || live.object("apis/apps/v1", "deployments", "web-web").await.is_none()).await;
    assert_eq!(live.object("api/v1", "configmaps", "other-taken").await.expect("theirs")["data"]["whose"], "theirs");
    let config = Kind::of("v1", "ConfigMap").expect("a kind");
    live.client.delete(config, Some(&live.namespace), "other-taken", None).await.expect("removed by somebody");
    live.leaves_nothing(&[]).await;
}

pub async fn volumes(live: &Live) {
    if !live.found.capabilities.default_storage_class {
        println!("SKIPPED volumes_are_claimed: the cluster has no default storage class");
        return;
    }
    let claim = "\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}\n";
    let web = WEB
        .replace("replicas: 2", "replicas: 1")
        .replace("        image: IMAGE\n", "        image: IMAGE\n        volumeMounts: [{name: data, mountPath: /data}]\n");
    let web = web.replace(
        "      terminationGracePeriodSeconds: 1\n",
        "      terminationGracePeriodSeconds: 1\n      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]\n",
    );
    live.deploy("web", &format!("{web}{claim}")).await;
    live.reaches("web", "running", 1).await;
    assert_eq!(live.object("api/v1", "persistentvolumeclaims", "web-data").await.expect("the claim")["status"]["phase"], "Bound");
    live.leaves_nothing(&["web"]).await;
}

/// What the API lets nobody change, and replicas that an autoscaler takes over.
pub async fn changes(live: &Live) {
    let state = &MORE[..MORE.find("---\napiVersion: apps/v1\nkind: DaemonSet").expect("it is there")];
    let state = state.replace(", envFrom: [{configMapRef: {name: settings}}]", "");
    live.deploy("web", &format!("{WEB}{state}")).await;
    live.reaches("web", "running", 1).await;
    let set = live.object("apis/apps/v1", "statefulsets", "web-state").await.expect("the set");
    assert_eq!(live.object("api/v1", "services", "web-state").await.expect("the service")["spec"]["clusterIP"], "None");
    let changed = state.replace("clusterIP: None, ", "").replace("  serviceName: state\n", "  serviceName: state\n  podManagementPolicy: Parallel\n");
    let scaled = "\n---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 1, maxReplicas: 5, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 90}}}]}\n";
    live.deploy("web", &format!("{}{changed}{scaled}", WEB.replace("  replicas: 2\n", ""))).await;
    live.reaches("web", "running", 2).await;
    let now = live.object("apis/apps/v1", "statefulsets", "web-state").await.expect("the set");
    assert!(now["metadata"]["uid"] != set["metadata"]["uid"] && now["spec"]["podManagementPolicy"] == "Parallel", "{now}");
    assert_ne!(live.object("api/v1", "services", "web-state").await.expect("the service")["spec"]["clusterIP"], "None");
    assert_eq!(live.object("apis/apps/v1", "deployments", "web-web").await.expect("the deployment")["spec"]["replicas"], 2, "not one for a moment");
    live.deploy("web", &format!("{WEB}{state}")).await;
    live.reaches("web", "running", 3).await;
    assert_eq!(live.object("api/v1", "services", "web-state").await.expect("the service")["spec"]["clusterIP"], "None");
    live.leaves_nothing(&["web"]).await;
}

/// Of a probe, a variable, a volume and a service's memory of its callers there is one kind at a time: the next one takes the place
/// of the one before, with all that the server has filled in beside it.
pub async fn instead(live: &Live) {
    let with = |variable: &str, probe: &str, source: &str, service: &str| {
        let more = format!(
            "env: [{{name: ROUND, {variable}}}]\n        livenessProbe: {{{probe}, failureThreshold: 1000}}\n        volumeMounts: [{{name: own, mountPath: /etc/gantry-live/own.txt, subPath: own.txt}}]"
        );
        let web = WEB.replace("replicas: 2", "replicas: 1").replace("env: [{name: ROUND, value: 'one'}]", &more);
        let volumes = format!("      terminationGracePeriodSeconds: 1\n      volumes: [{{name: own, {source}}}]\n");
        web.replace("      terminationGracePeriodSeconds: 1\n", &volumes)
            .replace("spec: {selector: {app: web}, ports", &format!("spec: {{{service}selector: {{app: web}}, ports"))
    };
    let config = "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: own}\ndata: {own.txt: a}\n";
    let secret = "\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: own}\nstringData: {own.txt: a}\n";
    let first =
        with("valueFrom: {fieldRef: {fieldPath: status.podIP}}", "httpGet: {path: /, port: 8080}", "configMap: {name: own}", "sessionAffinity: ClientIP, ");
    live.deploy("web", &format!("{first}{config}")).await;
    live.reaches("web", "running", 1).await;
    live.deploy("web", &format!("{}{secret}", with("value: two", "tcpSocket: {port: 8080}", "secret: {secretName: own}", ""))).await;
    live.reaches("web", "running", 2).await;
    let container =
        async || live.object("apis/apps/v1", "deployments", "web-web").await.expect("the deployment")["spec"]["template"]["spec"]["containers"][0].clone();
    let now = container().await;
    assert!(now["livenessProbe"]["httpGet"].is_null() && now["livenessProbe"]["tcpSocket"]["port"] == 8080, "{now}");
    let variable = now["env"].as_array().into_iter().flatten().find(|v| v["name"] == "ROUND").cloned().unwrap_or_default();
    assert!(variable["value"] == "two" && variable["valueFrom"].is_null(), "{variable}");
    assert_ne!(live.object("api/v1", "services", "web-web").await.expect("the service")["spec"]["sessionAffinity"], "ClientIP");
    live.deploy("web", &WEB.replace("replicas: 2", "replicas: 1")).await;
    live.reaches("web", "running", 3).await;
    let now = container().await;
    assert!(now["livenessProbe"].is_null() && now["volumeMounts"].as_array().is_none_or(Vec::is_empty), "{now}");
    live.leaves_nothing(&["web"]).await;
}

/// What Compose says in its own words: a name with a domain, and instances spread without saying which. The API server refuses none
/// of it and warns of nothing.
pub async fn words(live: &Live) {
    live.compose("git", WORDS).await;
    live.reaches("git", "running", 1).await;
    let pod = live.object("apis/apps/v1", "deployments", "git-web").await.expect("the deployment")["spec"]["template"]["spec"].clone();
    assert_eq!(pod["hostname"], "git", "{pod}");
    assert!(pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].is_object(), "{pod}");
    let why = live.why("git").await;
    assert_eq!(why["cluster"]["warnings"], serde_json::json!([]), "{why}");
    live.leaves_nothing(&["git"]).await;
}
