use super::super::objects;
use super::super::tests::{name, named_place, of};
use super::*;
use crate::domain::cluster::ClusterSettings;
use crate::domain::document::Document;
use crate::domain::kubernetes::read;

const DOCUMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: nginx
        ports: [{containerPort: 8080}]
        env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}]
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
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{host: shop.example.org, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 2, maxReplicas: 5, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]}
"#;

fn made(strategy: ReleaseStrategy, minor: u32, sets: &Sets) -> Vec<Value> {
    let mut model = read(&Document::alone(DOCUMENT)).model;
    model.release.strategy = strategy;
    for service in &mut model.services {
        service.preview = Some(crate::domain::model::Preview { host: "preview.shop.example.org".into(), publish: None });
    }
    let settings = ClusterSettings { gateway: "infra/public".into(), ..ClusterSettings::default() };
    let place = Place { revision: 7, settings: &settings, gateway: true, minor, pull: Some("{}"), ..named_place() };
    objects(&model, &place, sets)
}

fn route(objects: &[Value], host: &str) -> Value {
    objects.iter().find(|o| o["kind"] == "HTTPRoute" && o["spec"]["hostnames"][0] == host).unwrap_or_else(|| panic!("no route of {host}"))["spec"].clone()
}

#[test]
fn each_revision_has_objects_of_its_own() {
    let all = made(ReleaseStrategy::Canary, 36, &Sets { chosen: BTreeMap::from([(name("web"), 6)]), ..Sets::default() });
    let web = of(&all, "Deployment", "store-web-r7");
    assert_eq!((&web["spec"]["selector"]["matchLabels"][REVISION], &web["metadata"]["labels"][REVISION]), (&json!("7"), &json!("7")));
    let pod = &web["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"], "store-keys-r7");
    assert_eq!(of(&all, "Secret", "store-keys-r7")["metadata"]["labels"][REVISION], "7");
    assert_eq!(pod["imagePullSecrets"][0]["name"], "store-pull", "the registry's credential is renewed for all");
    assert_eq!(of(&all, "HorizontalPodAutoscaler", "store-web-r7")["spec"]["scaleTargetRef"]["name"], "store-web-r7");
    for service in ["store-web", "web"] {
        assert_eq!(of(&all, "Service", service)["spec"]["selector"][REVISION], "6", "{service}");
    }
    for preview in ["store-web-preview", "web-preview"] {
        assert_eq!(of(&all, "Service", preview)["spec"]["selector"][REVISION], "7", "{preview}");
    }
    assert_eq!(route(&all, "preview.shop.example.org")["rules"][0]["backendRefs"][0]["name"], "store-web-preview");
    let rolling = made(ReleaseStrategy::Rolling, 36, &Sets::default());
    assert_eq!(of(&rolling, "Deployment", "store-web")["spec"]["selector"]["matchLabels"].get(REVISION), None);
    assert_eq!(of(&rolling, "Service", "store-web")["spec"]["selector"].get(REVISION), None);
    assert!(!rolling.iter().any(|o| o["metadata"]["name"] == "store-web-preview"));
}

#[test]
fn a_route_shares_by_weights_and_by_a_header() {
    let header = Some(HeaderMatch { name: "X-Canary".into(), value: "yes".into() });
    let shares = |percent, header| Some(Shares { percent, header, services: BTreeSet::from([name("web")]) });
    let sets = |percent, header| Sets { chosen: BTreeMap::from([(name("web"), 6)]), shares: shares(percent, header), staged: true, ..Sets::default() };
    let all = made(ReleaseStrategy::Canary, 36, &sets(25, header.clone()));
    assert!(!all.iter().any(|o| o["kind"] == "HorizontalPodAutoscaler"), "the number is the release's meanwhile");
    let newest = of(&all, "Service", "store-web-r7");
    assert_eq!((&newest["spec"]["selector"][REVISION], &newest["spec"]["ports"][0]["port"]), (&json!("7"), &json!(80)));
    let rules = route(&all, "shop.example.org")["rules"].clone();
    assert_eq!(rules[0]["matches"][0]["headers"], json!([{ "type": "Exact", "name": "X-Canary", "value": "yes" }]));
    assert_eq!(rules[0]["backendRefs"], json!([{ "name": "store-web-r7", "port": 80 }]));
    let weights: Vec<(&str, u64)> =
        rules[1]["backendRefs"].as_array().unwrap().iter().map(|b| (b["name"].as_str().unwrap(), b["weight"].as_u64().unwrap())).collect();
    assert_eq!(weights, [("store-web", 75), ("store-web-r7", 25)]);
    let unseen = made(ReleaseStrategy::Canary, 36, &sets(0, None));
    assert_eq!(route(&unseen, "shop.example.org")["rules"][0]["backendRefs"], json!([{ "name": "store-web", "port": 80 }]));
    assert!(unseen.iter().any(|o| o["metadata"]["name"] == "store-web-r7" && o["kind"] == "Service"), "it is there before a route goes to it");
}

#[test]
fn the_old_set_is_reached_at_its_own_port() {
    let ports = BTreeMap::from([((name("web"), 80), (9090, Protocol::Tcp))]);
    let all = made(ReleaseStrategy::BlueGreen, 36, &Sets { chosen: BTreeMap::from([(name("web"), 6)]), ports, ..Sets::default() });
    assert_eq!(of(&all, "Service", "store-web")["spec"]["ports"][0]["targetPort"], 9090);
    assert_eq!(of(&all, "Service", "store-web-preview")["spec"]["ports"][0]["targetPort"], 8080);
    let open = of(&all, "NetworkPolicy", "store-web-open")["spec"]["ingress"][0]["ports"].clone();
    assert_eq!(open.as_array().unwrap().iter().map(|p| p["port"].as_u64().unwrap()).collect::<Vec<_>>(), [8080, 9090]);
}

#[test]
fn what_is_behind_a_service_waits_before_it_stops() {
    let pod = |minor| of(&made(ReleaseStrategy::Rolling, minor, &Sets::default()), "Deployment", "store-web")["spec"]["template"]["spec"].clone();
    let now = pod(36);
    assert_eq!(now["containers"][0]["lifecycle"]["preStop"], json!({ "sleep": { "seconds": 5 } }));
    assert_eq!(now["terminationGracePeriodSeconds"], 35, "what it had, and the wait");
    assert!(pod(29)["containers"][0].get("lifecycle").is_none_or(|l| l.get("preStop").is_none()), "an older server has no such hook");
}
