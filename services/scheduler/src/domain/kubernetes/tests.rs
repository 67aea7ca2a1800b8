mod meant;
mod spoken;

use proptest::prelude::*;

use super::*;
use crate::domain::document::{Level, Remark};
use crate::domain::lacks;
use crate::domain::model::{Check, EnvFact, Hook, MetricTarget, MountKind, Operator, PathKind, Protocol, Restart, Workload, WorkloadKind};

fn reading(text: &str) -> Reading {
    let reading = read(&Document::alone(text));
    reading.remarks.lacking(lacks::containerd(&reading.model));
    reading
}

/// Reads what may ask for more than is done here.
fn model(text: &str) -> (Model, Vec<Remark>) {
    let parsed = reading(text).finish(true).unwrap_or_else(|r| panic!("{r:#?}"));
    (parsed.model, parsed.remarks)
}

fn lines(text: &str) -> Vec<(u64, Level, String)> {
    reading(text).finish(false).expect_err("refused").into_iter().map(|r| (r.line, r.level, r.path)).collect()
}

fn of<'m>(model: &'m Model, name: &str) -> &'m Workload {
    &model.workloads[&Name::parse(name).unwrap()]
}

const WEB: &str = r#"
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: app, namespace: shop}
  data: {LOG: info, site.json: "{}"}
- apiVersion: v1
  kind: Secret
  metadata: {name: app, namespace: shop}
  stringData: {password: s3cret}
  data: {key.bin: /wD/}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 8
  revisionHistoryLimit: 3
  selector: {matchLabels: {app: web}}
  strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailable: 1}}
  template:
    metadata:
      labels: {app: web}
      annotations: {kubernetes.io/egress-bandwidth: 10M}
    spec:
      securityContext: {runAsUser: 1000, runAsGroup: 2000, seccompProfile: {type: RuntimeDefault}, sysctls: [{name: net.core.somaxconn, value: "1024"}]}
      terminationGracePeriodSeconds: 45
      nodeSelector: {kubernetes.io/arch: amd64, disk: ssd}
      tolerations: [{key: dedicated, operator: Exists, effect: NoSchedule}]
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms: [{matchExpressions: [{key: cores, operator: Gt, values: ["8"]}]}]
          preferredDuringSchedulingIgnoredDuringExecution: [{weight: 10, preference: {matchExpressions: [{key: rack, operator: In, values: [a, b]}]}}]
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution: [{weight: 5, podAffinityTerm: {topologyKey: topology.kubernetes.io/zone, labelSelector: {matchLabels: {app: web}}}}]
      topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}]
      containers:
      - name: web
        image: acme/shop/web:1
        command: [/bin/web, --level, $(LOG), "--ip=$(POD_IP)", $$(LOG)]
        envFrom: [{configMapRef: {name: app}, prefix: ""}]
        env:
        - {name: PASSWORD, valueFrom: {secretKeyRef: {name: app, key: password}}}
        - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: CPUS, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
        - {name: URL, value: "http://x/$(LOG)"}
        ports: [{name: http, containerPort: 8080}, {containerPort: 9000}]
        resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {cpu: "1", memory: 256Mi, ephemeral-storage: 1Gi}}
        volumeMounts: [{name: conf, mountPath: /etc/app}, {name: conf, mountPath: /one.json, subPath: site.json}, {name: tmp, mountPath: /tmp}, {name: keys, mountPath: /keys, readOnly: true}]
        livenessProbe: {httpGet: {path: /live, port: http}, periodSeconds: 5}
        readinessProbe: {grpc: {port: 9000}}
        startupProbe: {tcpSocket: {port: http}, failureThreshold: 30}
        lifecycle: {preStop: {exec: {command: [/bin/drain]}}, postStart: {httpGet: {path: /warm, port: 8080}}}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}, runAsUser: 1001}
      volumes:
      - {name: conf, configMap: {name: app, items: [{key: site.json, path: site.json, mode: 0400}]}}
      - {name: tmp, emptyDir: {medium: Memory, sizeLimit: 16Mi}}
      - {name: keys, secret: {secretName: app, defaultMode: 256}}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: shop}
spec:
  type: LoadBalancer
  loadBalancerSourceRanges: [192.0.2.0/24]
  selector: {app: web}
  sessionAffinity: ClientIP
  ports: [{name: web, port: 80, targetPort: http}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: front, namespace: shop}
spec:
  rules: [{host: Shop.example.org, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: front, port: {name: web}}}}]}}]
"#;

#[test]
fn a_whole_deployment_becomes_a_workload_with_its_services_and_routes() {
    let (model, remarks) = model(WEB);
    let web = of(&model, "web");
    assert_eq!((web.replicas, web.update.surge, web.update.max_unavailable, web.stop_grace_seconds), (8, 2, 1, 45));
    assert_eq!((web.user.as_str(), web.seccomp.as_str(), web.no_new_privileges, web.read_only_root), ("1001:2000", "runtime/default", Some(true), true));
    assert_eq!(web.command, ["/bin/web", "--level", "info", "--ip=$(POD_IP)", "$(LOG)"]);
    assert_eq!((web.env["LOG"].as_str(), web.env["PASSWORD"].as_str(), web.env["URL"].as_str()), ("info", "s3cret", "http://x/info"));
    assert_eq!((web.env_sources["PASSWORD"].as_str(), &web.env_facts["POD_IP"]), ("app.secret/password", &EnvFact::Address));
    assert_eq!((web.requests.cpu_millis, web.limits.cpu_millis, web.limits.memory_bytes, web.limits.storage_bytes), (100, 1000, 256 << 20, 1 << 30));
    let files: Vec<(&str, u32, bool)> = web.files.iter().map(|f| (f.path.as_str(), f.mode, f.base64)).collect();
    assert_eq!(files, [("/etc/app/site.json", 0o400, false), ("/one.json", 0o400, false), ("/keys/password", 0o400, false), ("/keys/key.bin", 0o400, true)]);
    assert_eq!((web.mounts[0].kind, web.mounts[0].size_bytes), (MountKind::Tmpfs, 16 << 20));
    assert_eq!(
        web.probes.iter().map(|p| p.check.clone()).collect::<Vec<_>>(),
        [Check::Tcp { port: 8080 }, Check::http("/live", 8080), Check::Grpc { port: 9000, service: String::new() }]
    );
    assert!(matches!(&web.hooks.pre_stop[0], Hook::Command { command, .. } if command[..] == ["/bin/drain"]));
    assert_eq!(web.nics[0].up_bps, 10_000_000);
    assert_eq!(web.placement.rules.iter().map(ToString::to_string).collect::<Vec<_>>(), ["node.labels.disk == ssd", "node.arch == amd64"]);
    assert_eq!((web.placement.any_of[0][0].operator, web.placement.preferences[0].weight, web.placement.affinity[0].apart), (Operator::Above, 10, true));
    let front = &model.services[0];
    assert_eq!((front.name.as_str(), front.port, front.service_port, front.publish.unwrap().wanted, front.balance.as_str()), ("front", 8080, 80, 80, "source"));
    assert_eq!((front.protocol, front.routes[0].host.as_str()), (Protocol::Http, "shop.example.org"));
    assert_eq!(front.access.allow, ["192.0.2.0/24"]);
    assert!(remarks.iter().all(|r| r.level == Level::Note), "all of it is done here: {remarks:#?}");
}

#[test]
fn stateful_sets_daemons_jobs_and_schedules_keep_their_kind() {
    let text = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 3
  selector: {matchLabels: {app: db}}
  podManagementPolicy: Parallel
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: x, volumeMounts: [{name: data, mountPath: /data}]}]}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Gi}}}}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: each}
spec: {selector: {matchLabels: {app: each}}, template: {metadata: {labels: {app: each}}, spec: {containers: [{name: c, image: x}]}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec: {completions: 4, parallelism: 2, backoffLimit: 1, template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec: {schedule: "0 3 * * *", timeZone: Europe/Berlin, concurrencyPolicy: Forbid, jobTemplate: {spec: {template: {spec: {restartPolicy: OnFailure, containers: [{name: c, image: x}]}}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, labels: {app: bare}}
spec: {containers: [{name: c, image: x}, {name: side, image: y}], initContainers: [{name: first, image: z}]}
"#;
    let (model, _) = model(text);
    let kinds: Vec<(&str, WorkloadKind)> = model.workloads.iter().map(|(n, w)| (n.as_str(), w.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("bare", WorkloadKind::Stateless),
            ("db", WorkloadKind::Stateful),
            ("each", WorkloadKind::Global),
            ("nightly", WorkloadKind::CronJob),
            ("once", WorkloadKind::Job)
        ]
    );
    assert_eq!((of(&model, "db").mounts[0].source.as_str(), model.volumes["data"].size_bytes, of(&model, "db").update.parallel), ("data", 10 << 30, true));
    let once = of(&model, "once");
    assert_eq!((once.replicas, once.job.as_ref().unwrap().parallelism, once.restart), (4, 2, Restart::Never));
    assert_eq!(of(&model, "nightly").schedule.as_ref().unwrap().cron, "0 3 * * *");
    assert_eq!((of(&model, "bare").sidecars.len(), of(&model, "bare").init.len()), (1, 1));
    assert!(reading(text).finish(false).is_ok(), "nodes do all of it");
}

#[test]
fn autoscalers_budgets_and_policies_belong_to_what_they_choose() {
    let text = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: x, ports: [{containerPort: 80}]}]}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 9
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}, {type: External, external: {metric: {name: queue}, target: {type: AverageValue, averageValue: "30"}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 60, policies: [{type: Percent, value: 50, periodSeconds: 15}]}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 50%, selector: {matchLabels: {app: web}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {namespaceSelector: {}}], ports: [{port: 80, endPort: 90}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, clusterIP: None, ports: [{port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  hostnames: [a.test]
  rules: [{matches: [{path: {type: Exact, value: /x}, headers: [{name: v, value: "2"}]}], backendRefs: [{name: web, port: 80, weight: 9}], timeouts: {request: 5s}}]
---
apiVersion: v1
kind: Service
metadata: {name: mail}
spec: {type: ExternalName, externalName: mail.example.org}
"#;
    let (model, _) = model(text);
    let web = of(&model, "web");
    let scaling = web.scaling.as_ref().unwrap();
    assert_eq!((scaling.min, scaling.max, scaling.metrics[0].target, scaling.metrics[1].value.as_str()), (2, 9, MetricTarget::Utilization, "30"));
    assert_eq!(web.budget.as_ref().unwrap().min_available.as_deref(), Some("50%"));
    let closed = &model.policies["closed"];
    assert_eq!((closed.ingress.as_ref().unwrap()[0].peers.len(), closed.egress.as_ref().unwrap().len()), (2, 0));
    let route = &model.services[0].routes[0];
    assert_eq!((route.path_kind, route.headers.len(), route.weight, route.timeout_ms), (PathKind::Exact, 1, Some(9), 5000));
    assert_eq!(model.outside[&Name::parse("mail").unwrap()].address, "mail.example.org");
    assert!(reading(text).finish(false).is_ok(), "nodes do all of it");
}

#[test]
fn nothing_is_dropped_silently() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  bogus: 1\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      gadget: true\n      containers:\n      - name: c\n        image: x\n        frob: 2\n        env:\n        - name: A\n          valueFrom: {configMapKeyRef: {name: none, key: k}}\n---\napiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: fast}\nprovisioner: x\n---\napiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\nspec: {a: 1}\n";
    let found = lines(text);
    let places: Vec<(u64, &str)> = found.iter().map(|(line, _, path)| (*line, path.as_str())).collect();
    assert_eq!(
        places,
        [
            (5, "Deployment/web.spec.bogus"),
            (10, "Deployment/web.spec.template.spec.gadget"),
            (14, "Deployment/web.spec.template.spec.containers[0].frob"),
            (17, "Deployment/web.spec.template.spec.containers[0].env[0].valueFrom"),
            (19, "StorageClass/fast"),
            (24, "Widget/w"),
        ]
    );
}

#[test]
fn bad_input_is_refused_in_words() {
    let pod = |container: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, image: x, {container}}}]}}\n");
    for text in [
        "".to_owned(),
        "a: [".to_owned(),
        "apiVersion: v1\nkind: Pod\n".to_owned(),
        "kind: Pod\nmetadata: {name: p}\n".to_owned(),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: alone}\ndata: {a: b}\n".to_owned(),
        pod("resources: {limits: {memory: 1Gb}}"),
        pod("resources: {limits: {cpu: -1}}"),
        pod("resources: {limits: {memory: 99999999999999999999Ei}}"),
        pod("resources: {limits: {memory: 1Mi}, requests: {memory: 2Mi}}"),
        pod("livenessProbe: {httpGet: {port: nobody}}"),
        pod("livenessProbe: {}"),
        pod("volumeMounts: [{name: none, mountPath: /x}]"),
        pod("env: [{value: 1}]"),
        pod("ports: [{containerPort: 99999}]"),
        pod("securityContext: {runAsUser: root}"),
        format!("{}---\n{}", pod("tty: true"), pod("tty: true")),
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c, image: x}]}}}\n".to_owned(),
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: w}\nspec: {schedule: never, jobTemplate: {spec: {template: {spec: {containers: [{name: c, image: x}]}}}}}\n".to_owned(),
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nmetadata: {name: k}\nresources: [a.yaml]\n".to_owned(),
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Release.Name }}\n".to_owned(),
    ] {
        let remarks = reading(&text).finish(true).expect_err(&text);
        assert!(remarks.iter().all(|r| r.level == Level::Wrong && !r.detail.is_empty()), "{text}: {remarks:?}");
    }
    let helm = reading("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Values.name }}\n").finish(true).unwrap_err();
    assert!(helm[0].detail.contains("template"), "{helm:?}");
}

proptest! {
    #[test]
    fn no_document_makes_the_reader_panic(text in "(apiVersion: v1\n|apiVersion: apps/v1\n|kind: Pod\n|kind: Deployment\n|kind: List\n|metadata: \\{name: a\\}\n|spec:\n|  containers:\n|  - |    |name: a\n|image: x\n|env: |items:\n|---\n|\\[|\\]|\\{|\\}|: |5Gi|-1){0,40}") {
        let _ = reading(&text);
    }
}

#[test]
fn a_balancers_address_is_one_of_a_pool_and_is_written_as_such() {
    let text = |annotations: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, annotations: {{{annotations}}}}}\nspec: {{type: LoadBalancer, selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]{more}}}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec: {{containers: [{{name: web, image: a/b/c}}]}}\n"
        )
    };
    let read_in = |annotations: &str, more: &str| model(&text(annotations, more)).0.services[0].clone();
    assert_eq!(read_in("", "").address, None, "a port of the nodes, as ever");
    let ip = Some(std::net::Ipv4Addr::new(203, 0, 113, 7));
    for (annotations, more, pool, asked) in [
        ("", ", loadBalancerIP: 203.0.113.7", "", ip),
        ("metallb.io/address-pool: office", "", "office", None),
        ("metallb.universe.tf/loadBalancerIPs: 203.0.113.7", "", "", ip),
        ("gantry.io/address-pool: office", ", loadBalancerIP: 203.0.113.7", "office", ip),
    ] {
        let service = read_in(annotations, more);
        let address = service.address.clone().unwrap();
        assert_eq!((address.pool.as_str(), address.ip, service.public_port()), (pool, asked, 80), "{annotations} {more}");
        assert!(service.publish.is_some());
    }
    let alone = read_in("gantry.io/address-pool: office", ", allocateLoadBalancerNodePorts: false");
    assert_eq!((alone.publish, alone.public_port()), (None, 80));
    assert!(reading(&text("", ", loadBalancerIP: nonsense")).finish(true).is_err());
}

/// A Deployment `web` with these fields of its pod and of its container.
fn deployment(pod: &str, container: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec: {{{pod}containers: [{{name: web, image: a/b/c{container}}}]}}\n"
    )
}

/// What is said of it but notes, in words.
fn refusals(text: &str) -> Vec<String> {
    let found = reading(text).remarks.into_list();
    found.into_iter().filter(|r| matches!(r.level, Level::Wrong | Level::Unsupported)).map(|r| r.detail).collect()
}

#[test]
fn claims_of_one_name_are_volumes_of_their_own() {
    let set = |name: &str| {
        format!(
            "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\nspec:\n  selector: {{matchLabels: {{app: {name}}}}}\n  template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{containers: [{{name: c, image: x, volumeMounts: [{{name: data, mountPath: /data}}]}}]}}}}\n  volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{resources: {{requests: {{storage: 1Gi}}}}}}}}]\n"
        )
    };
    let (model, remarks) = model(&format!("{}{}", set("db"), set("queue")));
    let sources = ["db", "queue"].map(|w| of(&model, w).mounts[0].source.clone());
    assert_eq!(sources, ["data", "data-queue"], "no two workloads write to one volume");
    let both = set("db")
        .replace("volumeMounts:", "command: [/db], volumeMounts:")
        .replace("spec: {containers", "spec: {volumes: [{name: data, persistentVolumeClaim: {claimName: data}}], containers");
    assert_eq!(refusals(&both), Vec::<String>::new(), "the template counts more than the pod's volume of its name");
    assert!(model.volumes.contains_key("data-queue") && remarks.iter().any(|r| r.level == Level::Note && r.detail.contains("`data-queue`")));
}

#[test]
fn a_claim_that_a_stateful_set_shares_is_named() {
    let text = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: shared}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: db}}\n  template: {metadata: {labels: {app: db}}, spec: {volumes: [{name: v, persistentVolumeClaim: {claimName: shared}}], containers: [{name: c, image: x, volumeMounts: [{name: v, mountPath: /data}]}]}}\n";
    assert!(refusals(text).iter().any(|d| d.contains("`shared` is not shared")), "{:?}", refusals(text));
    assert!(refusals(&text.replace("replicas: 2", "replicas: 1")).is_empty());
}

#[test]
fn a_part_of_a_config_is_a_file_a_folder_or_named() {
    let config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {one: a, two: b}\n";
    let files = |items: &str, sub: &str| {
        let pod = format!("volumes: [{{name: v, configMap: {{name: app{items}}}}}], ");
        let text = format!("{}{config}", deployment(&pod, &format!(", volumeMounts: [{{name: v, mountPath: /etc/x, subPath: {sub}}}]")));
        let reading = reading(&text);
        let paths: Vec<String> = of(&reading.model, "web").files.iter().map(|f| f.path.clone()).collect();
        (paths, refusals(&text))
    };
    assert_eq!(files("", "one"), (vec!["/etc/x".to_owned()], Vec::new()));
    let items = ", items: [{key: one, path: conf.d/one}, {key: two, path: conf.d/two}]";
    assert_eq!(files(items, "conf.d"), (vec!["/etc/x/one".to_owned(), "/etc/x/two".to_owned()], Vec::new()));
    let (paths, said) = files("", "three");
    assert!(paths.is_empty() && said.len() == 1 && said[0].contains("`three`"), "{said:?}");
}

#[test]
fn what_a_cluster_writes_by_itself_is_no_refusal() {
    let container = ", env: [{name: CPUS, valueFrom: {resourceFieldRef: {containerName: web, divisor: '0', resource: limits.cpu}}}], readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 0, timeoutSeconds: 0, failureThreshold: 0}";
    let text = format!(
        "{}---\napiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{clusterIP: 10.96.3.7, sessionAffinity: None, selector: {{app: web}}, ports: [{{port: 80}}]}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: mail}}\nspec: {{type: ExternalName, externalName: mail.example.org, sessionAffinity: None, ports: [{{name: smtp, port: 25, protocol: TCP, targetPort: 25}}]}}\n",
        deployment("restartPolicy: Always, securityContext: {}, ", container)
    );
    assert_eq!(refusals(&text), Vec::<String>::new());
    let read = reading(&text);
    let probe = &of(&read.model, "web").probes[0];
    assert_eq!((probe.period_ms, probe.timeout_ms, probe.failure_threshold), (10_000, 1000, 3));
    assert!(!read.model.services.iter().any(|s| s.headless));
    assert_eq!(read.model.outside[&Name::parse("mail").unwrap()].ports.iter().copied().collect::<Vec<_>>(), [25]);
}

#[test]
fn what_is_meant_otherwise_is_told_in_its_own_words() {
    let plain = deployment("", "");
    for (text, words) in [
        (plain.replace("apps/v1", "v1"), "a Deployment has the `apiVersion` apps/v1"),
        (plain.replace("a/b/c", "'{{ .Values.image }}'"), "template"),
        (plain.replace("metadata: {name: web}", "metadata: {name: '{{ .Release.Name }}'}"), "template"),
        (format!("{plain}---\n{}", plain.replace("{name: web}", "{name: web, namespace: other}")), "two namespaces"),
        (deployment("hostAliases: [{ip: 192.0.2.1, hostnames: [a]}, {ip: 192.0.2.2, hostnames: [a]}], ", ""), "192.0.2.1, not 192.0.2.2"),
        (deployment("priority: high, ", ""), "must be a whole number"),
        ("apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec: {schedule: '@daily'}\n".to_owned(), "needs `jobTemplate`"),
        (format!("{plain}---\napiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {{name: r}}\n"), "plain HTTP"),
        (
            format!("{plain}---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {{name: r}}\n"),
            "belongs to a cluster",
        ),
        (format!("{plain}---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: p}}\nspec: {{storageClassName: ''}}\n"), "without a class"),
    ] {
        let found = refusals(&text);
        assert!(found.iter().any(|detail| detail.contains(words)), "{text}: {found:?}");
    }
}

#[test]
fn annotations_have_lines_and_secrets_of_all_hosts_are_kept() {
    let text = format!(
        "{}---\napiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\n  annotations:\n    example.org/other: x\nspec:\n  tls: [{{secretName: cert}}]\n  rules: [{{host: a.test, http: {{paths: [{{path: /, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}]\n",
        deployment("", "")
    );
    let line = text.lines().position(|l| l.contains("example.org/other")).unwrap() as u64 + 1;
    assert!(lines(&text).iter().any(|(at, level, path)| *at == line && *level == Level::Unsupported && path.ends_with("annotations")), "{:?}", lines(&text));
    assert_eq!(reading(&text).model.services[0].routes[0].tls_secret, "cert");
}

#[test]
fn a_certificate_of_a_whole_domain_serves_its_hosts_and_that_of_all_the_backend_for_the_rest() {
    let text = format!(
        "{}---\napiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: web}}\nspec:\n  tls: [{{hosts: ['*.example.org'], secretName: wild}}, {{hosts: [b.example.org], secretName: own}}, {{secretName: rest}}]\n  defaultBackend: {{service: {{name: web, port: {{number: 80}}}}}}\n  rules:\n  - {{host: a.example.org, http: {{paths: [{{path: /, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}\n  - {{host: b.example.org, http: {{paths: [{{path: /, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}\n  - {{host: a.b.example.org, http: {{paths: [{{path: /, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}\n",
        deployment("", "")
    );
    let read = reading(&text);
    let found: Vec<_> = read.model.services[0].routes.iter().map(|r| (r.host.as_str(), r.tls_secret.as_str())).collect();
    // A wildcard stands for one label.
    assert_eq!(found, [("", "rest"), ("a.example.org", "wild"), ("b.example.org", "own"), ("a.b.example.org", "rest")]);
}

#[test]
fn what_a_secret_says_as_text_counts_more_than_its_data() {
    let text =
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: key}}\ndata: {{a: /wD/, b: Yg==}}\nstringData: {{a: text}}\n---\n{}", deployment("", ""));
    let config = &reading(&text).model.configs["key.secret"];
    assert_eq!((config.entries.get("a").map(String::as_str), config.entries.get("b").map(String::as_str)), (Some("text"), Some("b")));
    assert!(config.binary.is_empty());
}

#[test]
fn older_autoscalers_have_the_same_targets() {
    let text = format!(
        "{}---\napiVersion: autoscaling/v2beta1\nkind: HorizontalPodAutoscaler\nmetadata: {{name: web}}\nspec:\n  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}\n  maxReplicas: 4\n  metrics: [{{type: Resource, resource: {{name: cpu, targetAverageUtilization: 60}}}}, {{type: Pods, pods: {{metricName: rate, targetAverageValue: 1k}}}}]\n",
        deployment("", "")
    );
    assert_eq!(refusals(&text), Vec::<String>::new());
    let read = reading(&text);
    let found: Vec<_> = of(&read.model, "web").scaling.as_ref().unwrap().metrics.iter().map(|m| (m.name.as_str(), m.target, m.value.as_str())).collect();
    assert_eq!(found, [("cpu", MetricTarget::Utilization, "60"), ("rate", MetricTarget::Average, "1k")]);
}
