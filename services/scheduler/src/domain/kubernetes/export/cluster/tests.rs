use std::sync::LazyLock;

use gantry_kernel::{OrgId, ProjectId, SpaceId, Uuid};
use gantry_kubernetes::{REVISION, SCOPE};

use super::labels::{UNFIT, is_key};
use super::*;
use crate::domain::document::Document;
use crate::domain::kubernetes::read;

static HOME: LazyLock<Home> = LazyLock::new(home);
static APP: LazyLock<Name> = LazyLock::new(|| name("store"));
static SETTINGS: LazyLock<ClusterSettings> = LazyLock::new(ClusterSettings::default);
static WEB: LazyLock<BTreeSet<Name>> = LazyLock::new(|| BTreeSet::from([name("web")]));

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn home() -> Home {
    let id = Uuid::from_u128(1);
    Home { org: OrgId(id), project: ProjectId(id), space: SpaceId(id), org_name: name("acme"), project_name: name("shop"), space_name: name("test") }
}

/// The application `store` on a cluster of Kubernetes 1.36, where nothing of it is yet.
pub fn place() -> Place<'static> {
    Place {
        app: AppId(Uuid::from_u128(7)),
        app_name: &APP,
        home: &HOME,
        scope: "c1",
        revision: 3,
        settings: &SETTINGS,
        gateway: false,
        route_timeouts: true,
        minor: 36,
        scale: const { &BTreeMap::new() },
        restarts: const { &BTreeMap::new() },
        plain: const { &BTreeSet::new() },
        pull: None,
        held: const { &BTreeSet::new() },
        unchanged: const { &BTreeMap::new() },
    }
}

/// The same, where its service is called `web` by all of the space.
pub fn named_place() -> Place<'static> {
    Place { plain: &WEB, ..place() }
}

fn made(text: &str, settings: &ClusterSettings, change: impl FnOnce(&mut Place<'_>)) -> Vec<Value> {
    let reading = read(&Document::alone(text));
    assert!(!reading.remarks.any_wrong(), "{:?}", reading.remarks.into_list());
    let mut place = Place { settings, ..named_place() };
    change(&mut place);
    objects(&reading.model, &place, &Sets::default())
}

pub fn of<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name);
    found.unwrap_or_else(|| {
        panic!("no {kind} {name} among {:?}", objects.iter().map(|o| format!("{}/{}", o["kind"], o["metadata"]["name"])).collect::<Vec<_>>())
    })
}

const ALL: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: nginx
        ports: [{containerPort: 8080}]
        env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}]
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: hunter2}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{host: shop.example.org, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 2, maxReplicas: 5, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec: {ttlSecondsAfterFinished: 5, template: {spec: {restartPolicy: Never, containers: [{name: migrate, image: nginx}]}}}
"#;

#[test]
fn binary_entries_stay_apart_from_those_that_become_variables() {
    let more = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {A: b}\nbinaryData: {b.bin: AAEC, c.txt: aGk=}\n";
    let all = made(&format!("{ALL}{more}"), &ClusterSettings::default(), |_| {});
    let settings = of(&all, "ConfigMap", "store-settings");
    assert_eq!((&settings["data"], &settings["binaryData"]), (&json!({ "A": "b" }), &json!({ "b.bin": "AAEC", "c.txt": "aGk=" })));
}

/// As Compose says it, where Kubernetes has other words or rules.
#[test]
fn what_compose_says_in_its_own_words_is_said_in_the_clusters() {
    let text = r#"
services:
  git:
    image: git
    hostname: git.example.org
    deploy: {placement: {preferences: [{spread: node.labels.zone}]}}
    volumes:
    - {type: bind, source: /, target: /host, read_only: true, bind: {propagation: rslave}}
    - {type: bind, source: /mnt, target: /mnt, bind: {propagation: rshared}}
  mounts:
    image: git
    privileged: true
    volumes: ["/mnt:/mnt:rshared"]
"#;
    let reading = crate::domain::compose::read(&Document::alone(text));
    assert!(!reading.remarks.any_wrong(), "{:?}", reading.remarks.into_list());
    let all = objects(&reading.model, &place(), &Sets::default());
    let git = of(&all, "Deployment", "store-git");
    let pod = &git["spec"]["template"]["spec"];
    assert_eq!(pod["hostname"], "git", "a name with dots is refused");
    let chosen = &git["spec"]["selector"];
    assert_eq!(&pod["topologySpreadConstraints"][0]["labelSelector"], chosen, "no selector counts no pods");
    let mounted = |object: &Value, path: &str| {
        let mounts = object["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
        mounts.iter().find(|m| m["mountPath"] == path).unwrap()["mountPropagation"].clone()
    };
    assert_eq!([mounted(git, "/host"), mounted(git, "/mnt")], ["HostToContainer", "HostToContainer"], "it may not mount");
    assert_eq!(mounted(of(&all, "Deployment", "store-mounts"), "/mnt"), "Bidirectional");
    let lacks = crate::domain::lacks::kubernetes(&reading.model, false, true, true);
    assert!(lacks.iter().any(|l| l.at == "workloads.git.hostname" && l.detail.contains("`git`")), "{lacks:?}");
}

#[test]
fn names_labels_and_references_are_the_applications() {
    let all = made(ALL, &ClusterSettings::default(), |_| {});
    let web = of(&all, "Deployment", "store-web");
    assert_eq!(web["metadata"]["namespace"], "gantry-acme-shop-test");
    let chosen = json!({ OWNER: Uuid::from_u128(7), WORKLOAD: "web" });
    assert_eq!(web["spec"]["selector"]["matchLabels"], chosen);
    let labels = &web["spec"]["template"]["metadata"]["labels"];
    assert_eq!((&labels["app"], &labels[REVISION], &labels[SCOPE]), (&json!("web"), &json!("3"), &json!("c1")));
    assert_eq!(web["spec"]["replicas"], 2, "until the autoscaler sets them: the engine hands them over");
    let pod = &web["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"], "store-keys");
    assert_eq!(pod["volumes"][0]["persistentVolumeClaim"]["claimName"], "store-data");
    assert_eq!((&pod["automountServiceAccountToken"], &pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"]), (&json!(false), &json!(false)));
    assert_eq!(of(&all, "Secret", "store-keys")["data"]["token"], "aHVudGVyMg==");
    assert_eq!(of(&all, "HorizontalPodAutoscaler", "store-web")["spec"]["scaleTargetRef"]["name"], "store-web");
    let ingress = all.iter().find(|o| o["kind"] == "Ingress").unwrap();
    assert_eq!(ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"], "store-web");
    assert_eq!(of(&all, "Service", "web")["spec"]["selector"], chosen, "by its name alone, too");
    assert_eq!(of(&all, "NetworkPolicy", "store-web-open")["spec"]["ingress"][0]["ports"][0]["port"], 8080);
    let job = of(&all, "Job", "store-migrate-r3");
    assert!(job["spec"].get("ttlSecondsAfterFinished").is_none());
    assert!(of(&all, "PersistentVolumeClaim", "store-data")["metadata"]["annotations"][KEEP].is_string());
}

#[test]
fn a_secret_for_images_is_named_as_the_cluster_has_it() {
    let text = ALL.replacen("    spec:\n      containers:", "    spec:\n      imagePullSecrets: [{name: keys}, {name: elsewhere}]\n      containers:", 1);
    let all = made(&text, &ClusterSettings::default(), |place| place.pull = Some("{}"));
    let secrets = &of(&all, "Deployment", "store-web")["spec"]["template"]["spec"]["imagePullSecrets"];
    assert_eq!(*secrets, json!([{ "name": "store-pull" }, { "name": "store-keys" }, { "name": "elsewhere" }]));
}

#[test]
fn routes_join_the_gateway_if_there_is_one() {
    let settings = ClusterSettings { gateway: "infra/public".into(), ..ClusterSettings::default() };
    let all = made(ALL, &settings, |place| place.gateway = true);
    let route = all.iter().find(|o| o["kind"] == "HTTPRoute").expect("a route");
    assert_eq!(route["spec"]["parentRefs"], json!([{ "namespace": "infra", "name": "public" }]));
    assert_eq!(route["spec"]["rules"][0]["backendRefs"][0]["name"], "store-web");
    assert!(!all.iter().any(|o| o["kind"] == "Ingress"));
    assert!(made(ALL, &settings, |_| {}).iter().any(|o| o["kind"] == "Ingress"), "a cluster without the Gateway API");
}

#[test]
fn what_is_set_by_hand_and_what_is_held_back_counts() {
    let restarts = BTreeMap::from([(name("migrate"), 42)]);
    let reading = read(&Document::alone(ALL));
    let place = Place { revision: 1, restarts: &restarts, pull: Some("{}"), held: &WEB, ..place() };
    let all = objects(&reading.model, &place, &Sets::default());
    assert!(!all.iter().any(|o| o["kind"] == "Deployment" || (o["kind"] == "Service" && o["metadata"]["name"] == "web")));
    let job = of(&all, "Job", "store-migrate-r1-42");
    assert_eq!(job["spec"]["template"]["spec"]["imagePullSecrets"][0]["name"], "store-pull");
    assert_eq!(of(&all, "Secret", "store-pull")["type"], "kubernetes.io/dockerconfigjson");
}

#[test]
fn a_space_is_a_namespace_with_its_rules() {
    let settings = ClusterSettings { space_quota: BTreeMap::from([("pods".into(), "9".into())]), ..ClusterSettings::default() };
    let kinds: Vec<String> = space(&home(), &settings, 100, 1 << 27).iter().map(|o| o["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["Namespace", "LimitRange", "ResourceQuota", "NetworkPolicy"]);
    let settings = ClusterSettings { roles: true, ..settings };
    let all = space(&home(), &settings, 100, 1 << 27);
    let editor = of(&all, "RoleBinding", "gantry-editor");
    assert_eq!((&editor["roleRef"]["name"], &editor["metadata"]["namespace"]), (&json!("edit"), &json!("gantry-acme-shop-test")));
    let groups: Vec<&str> = editor["subjects"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(groups, ["gantry:acme:editor", "gantry:acme/shop:editor", "gantry:acme/shop/test:editor"]);
    let long = Home { org_name: name(&"a".repeat(40)), ..home() };
    let text = namespace(&Home { project_name: name(&"b".repeat(40)), ..long }, &settings);
    assert!(text.len() <= 63 && text.starts_with("gantry-aaa"), "{text}");
}

#[test]
fn what_kubernetes_takes_for_no_label_becomes_an_annotation() {
    let document =
        "services:\n  web:\n    image: nginx\n    labels:\n      tier: front\n      rule: 'Host(`shop.example.org`)'\n      'a key with spaces': x\n";
    let reading = crate::domain::compose::read(&Document::alone(document));
    let all = objects(&reading.model, &place(), &Sets::default());
    let metadata = &of(&all, "Deployment", "store-web")["spec"]["template"]["metadata"];
    assert_eq!((&metadata["labels"]["tier"], metadata["labels"].get("rule")), (&json!("front"), None));
    assert_eq!(metadata["annotations"]["rule"], "Host(`shop.example.org`)");
    assert!(metadata["annotations"][UNFIT].as_str().unwrap().contains("a key with spaces"), "{metadata}");
    assert!(is_key("app.kubernetes.io/name") && is_key("A_b.c") && !is_key("/x") && !is_key("X/y") && !is_key(&"a".repeat(64)));
}

#[test]
fn a_secret_called_pull_is_the_documents() {
    let text = ALL.replace("keys", "pull");
    let all = made(&text, &ClusterSettings::default(), |place| place.pull = Some("{}"));
    assert_eq!(of(&all, "Secret", "store-pull")["data"]["token"], "aHVudGVyMg==");
    assert_eq!(of(&all, "Secret", "store-gantry-pull")["type"], "kubernetes.io/dockerconfigjson");
    let pod = &of(&all, "Deployment", "store-web")["spec"]["template"]["spec"];
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "store-gantry-pull" }]));
    assert_eq!(pod["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"], "store-pull");
}

#[test]
fn what_the_api_refuses_of_a_kind_is_not_said() {
    let text = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent}\nspec:\n  selector: {matchLabels: {app: agent}}\n  template:\n    metadata: {labels: {app: agent}}\n    spec:\n      containers: [{name: agent, image: nginx}]\n      topologySpreadConstraints: [{topologyKey: topology.kubernetes.io/zone, maxSkew: 1, whenUnsatisfiable: ScheduleAnyway, minDomains: 2, labelSelector: {}}]\n";
    let mut model = read(&Document::alone(text)).model;
    for w in model.workloads.values_mut() {
        w.update.partition = 2;
    }
    let object = super::super::workload(&name("agent"), &model.workloads[&name("agent")], &BTreeMap::new(), &model);
    assert!(object["spec"]["updateStrategy"]["rollingUpdate"].get("partition").is_none(), "{object}");
    let spread = &object["spec"]["template"]["spec"]["topologySpreadConstraints"][0];
    assert!(spread["whenUnsatisfiable"] == "ScheduleAnyway" && spread.get("minDomains").is_none(), "{spread}");
}

#[test]
fn pods_that_stand_are_not_replaced_for_what_a_newer_platform_adds() {
    let pod = |all: &[Value]| of(all, "Deployment", "store-web")["spec"]["template"]["spec"].clone();
    let new = pod(&made(ALL, &ClusterSettings::default(), |_| {}));
    assert_eq!((&new["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"], &new["terminationGracePeriodSeconds"]), (&json!(5), &json!(35)));
    let old = pod(&made(ALL, &ClusterSettings::default(), |place| place.minor = 29));
    assert!(old["containers"][0].get("lifecycle").is_none() && old.get("terminationGracePeriodSeconds").is_none(), "{old}");
    // The cluster is 1.36 by now.
    let stands = |waits: bool| BTreeMap::from([(name("web"), Unchanged { waits, signals: false })]);
    let (without, with) = (stands(false), stands(true));
    let model = read(&Document::alone(ALL)).model;
    assert_eq!(pod(&made_of(&model, &without)), old);
    assert_eq!(pod(&made_of(&model, &with)), new);
}

/// With these pods of this revision on the cluster.
fn made_of(model: &Model, unchanged: &BTreeMap<Name, Unchanged>) -> Vec<Value> {
    objects(model, &Place { unchanged, ..place() }, &Sets::default())
}

#[test]
fn names_that_compose_takes_are_names_that_the_api_takes() {
    let document = "services:\n  web:\n    image: nginx\n    volumes: ['db_data:/data']\n    secrets: [db_password]\nvolumes: {db_data: {}}\nsecrets: {db_password: {environment: X}}\n";
    let values = BTreeMap::from([("X".to_owned(), "hunter2".to_owned())]);
    let reading = crate::domain::compose::read(&Document { values: &values, ..Document::alone(document) });
    assert!(!reading.remarks.any_wrong(), "{:?}", reading.remarks.into_list());
    let all = made_of(&reading.model, &BTreeMap::new());
    let fits = |n: &str| {
        n.split('.').all(|l| !l.starts_with('-') && !l.ends_with('-') && l.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-'))
    };
    assert!(all.iter().all(|o| fits(o["metadata"]["name"].as_str().unwrap())), "{all:#?}");
    let pod = &of(&all, "Deployment", "store-web")["spec"]["template"]["spec"];
    let claim = all.iter().find(|o| o["kind"] == "PersistentVolumeClaim").expect("a claim");
    let volume = pod["volumes"].as_array().unwrap().iter().find(|v| !v["persistentVolumeClaim"].is_null()).expect("a volume");
    assert_eq!(volume["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"]);
    assert!(pod["containers"][0]["volumeMounts"].as_array().unwrap().iter().any(|m| m["name"] == volume["name"]) && fits(volume["name"].as_str().unwrap()));
}

#[test]
fn a_claim_says_whether_its_class_is_the_clusters_choice() {
    let settings = ClusterSettings { storage_class: "fast".into(), ..ClusterSettings::default() };
    let claim = |text: &str| of(&made(text, &settings, |_| {}), "PersistentVolumeClaim", "store-data").clone();
    let open = claim(ALL);
    assert!(open["spec"]["storageClassName"] == "fast" && open["metadata"]["annotations"][OPEN_CLASS].is_string(), "{open}");
    let said = claim(&ALL.replace("accessModes: [ReadWriteOnce],", "accessModes: [ReadWriteOnce], storageClassName: slow,"));
    assert!(said["spec"]["storageClassName"] == "slow" && said["metadata"]["annotations"].get(OPEN_CLASS).is_none(), "{said}");
}

#[test]
fn a_quota_that_counts_limits_refuses_nobody_who_says_none() {
    let settings = ClusterSettings { space_quota: BTreeMap::from([("limits.memory".into(), "8Gi".into())]), ..ClusterSettings::default() };
    let range = of(&space(&home(), &settings, 100, 1 << 27), "LimitRange", "gantry-space")["spec"]["limits"][0].clone();
    assert_eq!((&range["default"], &range["defaultRequest"]["cpu"]), (&json!({ "memory": "128Mi" }), &json!("100m")));
    let text = ALL.replace("        image: nginx\n        ports", "        image: nginx\n        resources: {requests: {memory: 1Gi}}\n        ports");
    let all = made(&text, &settings, |_| {});
    let resources = &of(&all, "Deployment", "store-web")["spec"]["template"]["spec"]["containers"][0]["resources"];
    assert_eq!(resources["limits"], json!({ "memory": "1Gi" }), "{resources}");
}

#[test]
fn a_clusters_autoscaler_keeps_one_at_least() {
    let mut model = read(&Document::alone(ALL)).model;
    model.workloads.get_mut(&name("web")).unwrap().scaling.as_mut().unwrap().min = 0;
    let all = made_of(&model, &BTreeMap::new());
    assert_eq!(of(&all, "HorizontalPodAutoscaler", "store-web")["spec"]["minReplicas"], 1);
    let lacks = crate::domain::lacks::kubernetes(&model, true, true, true);
    assert!(lacks.iter().any(|lack| lack.at.ends_with("web.scaling.min")), "it is said");
}

#[test]
fn a_time_limit_of_a_route_is_left_out_where_the_cluster_has_no_word_for_it() {
    let text = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: nginx, ports: [{containerPort: 8080}]}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec: {hostnames: [shop.example.org], rules: [{backendRefs: [{name: web, port: 80}], timeouts: {request: 5s}}]}
"#;
    let settings = ClusterSettings { gateway: "infra/public".into(), ..ClusterSettings::default() };
    let rule = |timeouts: bool| {
        let all = made(text, &settings, |place| (place.gateway, place.route_timeouts) = (true, timeouts));
        all.iter().find(|o| o["kind"] == "HTTPRoute").expect("a route")["spec"]["rules"][0].clone()
    };
    assert_eq!(rule(true)["timeouts"], json!({ "request": "5s" }));
    assert!(rule(false).get("timeouts").is_none() && rule(false)["backendRefs"][0]["name"] == "store-web");
    let model = read(&Document::alone(text)).model;
    let told = |timeouts: bool| crate::domain::lacks::kubernetes(&model, true, timeouts, true).iter().any(|lack| lack.at.ends_with("timeout_ms"));
    assert!(told(false) && !told(true), "it is said");
}

#[test]
fn a_set_that_replaces_several_together_is_told_where_it_cannot() {
    let text = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  serviceName: db\n  replicas: 4\n  selector: {matchLabels: {app: db}}\n  updateStrategy: {rollingUpdate: {maxUnavailable: 2}}\n  template:\n    metadata: {labels: {app: db}}\n    spec: {containers: [{name: db, image: postgres}]}\n";
    let strategy = |minor: u32| of(&made(text, &SETTINGS, |place| place.minor = minor), "StatefulSet", "store-db")["spec"]["updateStrategy"].clone();
    assert_eq!(strategy(36), json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 2 } }));
    assert_eq!(strategy(34), json!({ "type": "RollingUpdate" }));
    let model = read(&Document::alone(text)).model;
    let told =
        |together: bool| crate::domain::lacks::kubernetes(&model, true, true, together).iter().any(|lack| lack.at == "workloads.db.update.max_unavailable");
    assert!(told(false) && !told(true));
}

#[test]
fn a_metric_of_a_route_is_measured_at_the_object_that_stands_for_it() {
    let metric = "metrics: [{type: Object, object: {metric: {name: hits}, describedObject: {apiVersion: networking.k8s.io/v1, kind: Ingress, name: web}, target: {type: Value, value: 100}}}]";
    let text = ALL.replace("metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]", metric);
    let described = |settings: &ClusterSettings, gateway: bool| {
        let all = made(&text, settings, |place| place.gateway = gateway);
        let described = of(&all, "HorizontalPodAutoscaler", "store-web")["spec"]["metrics"][0]["object"]["describedObject"].clone();
        let (kind, name) = (described["kind"].as_str().unwrap(), described["name"].as_str().unwrap());
        assert_eq!(of(&all, kind, name)["apiVersion"], described["apiVersion"], "it is there");
        kind.to_owned()
    };
    assert_eq!(described(&ClusterSettings::default(), false), "Ingress");
    let gateway = ClusterSettings { gateway: "infra/public".into(), ..ClusterSettings::default() };
    assert_eq!(described(&gateway, true), "HTTPRoute");
}

#[test]
fn pods_are_open_to_the_namespaces_that_are_named_and_to_no_others() {
    let settings = ClusterSettings { open_to: vec!["monitoring".into(), "mesh-system".into()], ..ClusterSettings::default() };
    let from = of(&space(&home(), &settings, 100, 1 << 27), "NetworkPolicy", "gantry-space")["spec"]["ingress"][0]["from"].clone();
    let of_namespace = |name: &str| json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } });
    assert_eq!(from, json!([{ "podSelector": {} }, of_namespace("monitoring"), of_namespace("mesh-system")]));
    let all = space(&home(), &ClusterSettings::default(), 100, 1 << 27);
    assert_eq!(of(&all, "NetworkPolicy", "gantry-space")["spec"]["ingress"][0]["from"], json!([{ "podSelector": {} }]));
    let wrong = ClusterSettings { open_to: vec!["no Name".into(), String::new()], ..ClusterSettings::default() };
    assert_eq!(wrong.faults().len(), 2);
}

#[test]
fn an_account_that_a_workload_names_is_made_and_its_token_is_for_who_asks() {
    let made_of = |more: &str| {
        let text = ALL.replacen("    spec:\n      containers:", &format!("    spec:\n{more}      containers:"), 1);
        made(&text, &ClusterSettings::default(), |_| {})
    };
    let pod = |all: &[Value]| of(all, "Deployment", "store-web")["spec"]["template"]["spec"].clone();
    let all = made_of("      serviceAccountName: reader\n");
    assert_eq!(of(&all, "ServiceAccount", "reader")["automountServiceAccountToken"], false, "called as the document calls it");
    assert_eq!((pod(&all)["serviceAccountName"].as_str(), pod(&all).get("automountServiceAccountToken")), (Some("reader"), None), "as the account says");
    let all = made_of("      serviceAccountName: reader\n      automountServiceAccountToken: true\n");
    assert_eq!(pod(&all)["automountServiceAccountToken"], true);
    let all = made_of("      serviceAccountName: default\n");
    assert!(!all.iter().any(|o| o["kind"] == "ServiceAccount"), "every namespace has that");
    let all = made_of("");
    assert_eq!(pod(&all)["automountServiceAccountToken"], false);
}
