//! Against a real cluster: `make test-kubernetes`, with GANTRY_TEST_KUBECONFIG and GANTRY_TEST_IMAGE (an HTTP server on port
//! 8080). Each test has namespaces of its own and leaves nothing behind. Never run by itself; what the cluster lacks is named.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use gantry_kernel::{Env, Role, Scope};
use gantry_kubernetes::{Client, Found, Options, Trouble};
use gantry_testkit::kubernetes::ApiServer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::place::Place;
use crate::sessions::{Socket, next, socket_of};

/// Images are pulled, and a node's heartbeat is slow.
const PATIENCE: Duration = Duration::from_secs(300);

struct Live {
    place: Place,
    token: String,
    client: Client,
    found: Found,
    image: String,
    namespace: String,
    kubeconfig: String,
}

#[allow(clippy::disallowed_methods, reason = "what the suite is given by the shell")]
fn wanted(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `make test-kubernetes` says what it needs"))
}

impl Live {
    async fn started(name: &str) -> Self {
        let file = wanted("GANTRY_TEST_KUBECONFIG");
        let kubeconfig = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
        Self::on(&kubeconfig, wanted("GANTRY_TEST_IMAGE"), name).await
    }

    async fn on(kubeconfig: &str, image: String, name: &str) -> Self {
        let access = gantry_kubernetes::parse(kubeconfig, None).unwrap_or_else(|e| panic!("the kubeconfig: {e}"));
        let client = Client::new(access, Options::new(Env::system())).expect("the access is usable");
        let found = gantry_kubernetes::discover(&client).await.unwrap_or_else(|e| panic!("the cluster: {e}"));
        let place = Place::new().await;
        let operator = place.world.user();
        place.world.identity.grant(&format!("user:{operator}"), Role::Admin, Scope::Platform).await;
        place.world.identity.grant(&place.subject, Role::Admin, place.space.scope()).await;
        place.world.identity.settle(&place.host).await;
        let token = place.world.token(operator, "op");
        let mark: String = place.host.uuid().simple().to_string().chars().rev().take(5).collect();
        let prefix = format!("gantry-live-{name}{mark}-");
        let namespace = format!("{prefix}acme-shop-test");
        let own = Self { place, token, client, found, image, namespace, kubeconfig: kubeconfig.to_owned() };
        let body = json!({ "name": "east", "access": { "kubeconfig": kubeconfig }, "settings": { "namespace_prefix": prefix } });
        let (status, answer) = own.call(Method::POST, "/api/v1/clusters", Some(body)).await;
        assert_eq!(status, 201, "{answer}");
        let placement = own.place.apps().replace("/apps", "/placement");
        let (status, answer) = own.call(Method::PUT, &placement, Some(json!({ "cluster": "east" }))).await;
        assert_eq!(status, 200, "{answer}");
        own
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let place = &self.place;
        place.world.call(&place.host, method, path, Some(&self.token), body.as_ref()).await
    }

    /// A Kubernetes document, deployed.
    async fn deploy(&self, name: &str, document: &str) {
        let document = document.replace("IMAGE", &self.image);
        let body = json!({ "name": name, "document": document, "format": "kubernetes", "reason": "live" });
        let (status, answer) = self.place.post(&self.place.apps(), body).await;
        assert!(status == 201 || status == 200, "{status} {answer}");
    }

    async fn reaches(&self, name: &str, state: &str, revision: u64) {
        let holds = async || {
            let app = self.place.app(name).await;
            app["state"] == state && app["revision"] == revision
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds().await {
            assert!(tokio::time::Instant::now() < deadline, "not {state} at {revision}: {:#}\n{:#}", self.place.app(name).await, self.why(name).await);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds().await {
            assert!(tokio::time::Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn why(&self, name: &str) -> Value {
        self.place.get(&format!("{}/{name}/why", self.place.apps())).await.1
    }

    async fn object(&self, api: &str, plural: &str, name: &str) -> Option<Value> {
        match self.client.get(&format!("/{api}/namespaces/{}/{plural}/{name}", self.namespace)).await {
            Ok(object) => Some(object),
            Err(Trouble::NotFound(_)) => None,
            Err(trouble) => panic!("{plural}/{name}: {trouble}"),
        }
    }

    /// Somebody else changes an object.
    async fn meddle(&self, api: &str, plural: &str, name: &str, change: impl Fn(&mut Value)) {
        let path = format!("/{api}/namespaces/{}/{plural}/{name}", self.namespace);
        for _ in 0..20 {
            let mut object = self.client.get(&path).await.expect("the object");
            change(&mut object);
            match self.client.put(&format!("{path}?fieldManager=somebody"), &object).await {
                Ok(_) => return,
                Err(Trouble::Conflict(_)) => {}
                Err(trouble) => panic!("{path}: {trouble}"),
            }
        }
        panic!("{path} is changed all the time");
    }

    async fn deletes(&self, apps: &[&str]) {
        for app in apps {
            let (status, answer) =
                self.place.world.call(&self.place.host, Method::DELETE, &format!("{}/{app}", self.place.apps()), Some(&self.place.token), None).await;
            assert_eq!(status / 100, 2, "{answer}");
        }
    }

    /// Deletes the applications, and holds that nothing is left on the cluster.
    async fn leaves_nothing(&self, apps: &[&str]) {
        self.deletes(apps).await;
        let gone = async || matches!(self.client.get(&format!("/api/v1/namespaces/{}", self.namespace)).await, Err(Trouble::NotFound(_)));
        self.until("the namespace is gone with all that was in it", gone).await;
    }
}

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  progressDeadlineSeconds: 60
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: IMAGE
        env: [{name: ROUND, value: 'one'}]
        ports: [{containerPort: 8080}]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
        resources: {requests: {cpu: 10m, memory: 16Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
";

const MORE: &str = "
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: state}
spec:
  serviceName: state
  selector: {matchLabels: {app: state}}
  template:
    metadata: {labels: {app: state}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: state, image: IMAGE, ports: [{containerPort: 8080}], envFrom: [{configMapRef: {name: settings}}], resources: {requests: {cpu: 10m, memory: 16Mi}}}]
---
apiVersion: v1
kind: Service
metadata: {name: state}
spec: {clusterIP: None, selector: {app: state}, ports: [{port: 8080}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: each}
spec:
  selector: {matchLabels: {app: each}}
  template:
    metadata: {labels: {app: each}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: each, image: IMAGE, resources: {requests: {cpu: 10m, memory: 16Mi}}}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers: [{name: once, image: IMAGE, resources: {requests: {cpu: 10m, memory: 16Mi}}}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: yearly}
spec:
  schedule: '0 0 1 1 *'
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: yearly, image: IMAGE}]}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {COLOUR: green}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: hunter2}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{host: live.example.org, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
";

async fn kinds(live: &Live) {
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

async fn revisions(live: &Live) {
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

async fn drift(live: &Live) {
    live.deploy("web", WEB).await;
    live.reaches("web", "running", 1).await;
    live.meddle("apis/apps/v1", "deployments", "web-web", |d| d["spec"]["progressDeadlineSeconds"] = 77.into()).await;
    live.until("the drift is shown", async || live.why("web").await["cluster"]["drift"].to_string().contains("somebody")).await;
    let (status, _) = live
        .call(
            Method::PUT,
            "/api/v1/clusters/east/settings",
            Some(json!({ "drift": "correct", "namespace_prefix": live.namespace.trim_end_matches("acme-shop-test") })),
        )
        .await;
    assert_eq!(status, 200);
    let back = async || live.object("apis/apps/v1", "deployments", "web-web").await.is_some_and(|d| d["spec"]["progressDeadlineSeconds"] == 60);
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
    let config = gantry_kubernetes::Kind::of("v1", "ConfigMap").expect("a kind");
    live.client.delete(config, Some(&live.namespace), "other-taken", None).await.expect("removed by somebody");
    live.leaves_nothing(&[]).await;
}

async fn volumes(live: &Live) {
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
async fn changes(live: &Live) {
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

/// The Deployment as an Argo Rollout, which says how it is released.
fn rollout(round: &str, strategy: &str) -> String {
    let web = WEB.replace("apiVersion: apps/v1\nkind: Deployment", "apiVersion: argoproj.io/v1alpha1\nkind: Rollout").replace("'one'", &format!("'{round}'"));
    web.replace("  progressDeadlineSeconds: 60\n", &format!("  progressDeadlineSeconds: 60\n  strategy: {strategy}\n"))
}

/// Asks the service through the API server, all the time.
struct Asking {
    asked: Arc<AtomicU32>,
    failed: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Asking {
    /// Nothing, if the credential may not do that.
    async fn start(live: &Live, test: &str) -> Option<Self> {
        let path = format!("/api/v1/namespaces/{}/services/web-web:80/proxy/", live.namespace);
        if let Err(trouble) = ask(&live.client, &path).await {
            println!("SKIPPED the requests of {test}: services are not reached through the API server: {trouble}");
            return None;
        }
        let (asked, failed): (Arc<AtomicU32>, Arc<Mutex<Vec<String>>>) = Default::default();
        let (client, counted, told) = (live.client.clone(), asked.clone(), failed.clone());
        let task = tokio::spawn(async move {
            loop {
                if let Err(trouble) = ask(&client, &path).await {
                    told.lock().unwrap().push(trouble);
                }
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Some(Self { asked, failed, task })
    }

    fn end(self) {
        self.task.abort();
        let (asked, failed) = (self.asked.load(Ordering::SeqCst), self.failed.lock().unwrap().clone());
        println!("{asked} requests, {} failed", failed.len());
        assert!(asked > 0 && failed.is_empty(), "{} of {asked} failed, such as {:?}", failed.len(), failed.first());
    }
}

async fn ask(client: &Client, path: &str) -> Result<(), String> {
    let mut answer = std::pin::pin!(client.stream(path).await.map_err(|t| t.to_string())?);
    while let Some(piece) = answer.next().await {
        piece.map_err(|e| e.to_string())?;
    }
    Ok(())
}

impl Live {
    async fn waits_for_promotion(&self, step: u64) {
        let waits = async || {
            let app = self.place.app("web").await;
            app["release"]["waits_for"] == "promotion" && app["release"]["step"] == step
        };
        self.until("the step waits for a promotion", waits).await;
    }

    async fn verb(&self, verb: &str, body: Value) {
        let (status, answer) = self.place.post(&format!("{}/web/release/{verb}", self.place.apps()), body).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn replicas(&self, name: &str) -> Option<u64> {
        self.object("apis/apps/v1", "deployments", name).await?["spec"]["replicas"].as_u64()
    }

    async fn selected(&self, service: &str) -> Value {
        self.object("api/v1", "services", service).await.expect("the service")["spec"]["selector"]["gantry.io/revision"].clone()
    }
}

async fn blue_green(live: &Live) {
    let held = "{blueGreen: {activeService: web, previewService: seen, autoPromotionEnabled: false, scaleDownDelaySeconds: 600}}";
    live.deploy("web", &rollout("one", held)).await;
    live.reaches("web", "running", 1).await;
    let asking = Asking::start(live, "blue_green").await;
    live.deploy("web", &rollout("two", held)).await;
    live.waits_for_promotion(1).await;
    assert_eq!((live.selected("web-web").await, live.selected("web-web-preview").await), (json!("1"), json!("2")));
    assert_eq!((live.replicas("web-web-r1").await, live.replicas("web-web-r2").await), (Some(2), Some(2)));
    live.verb("promote", json!({})).await;
    live.until("the new one has the requests", async || live.selected("web-web").await == "2").await;
    // Back, while the old ones are kept.
    live.verb("abort", json!({ "reason": "live" })).await;
    live.until("the old one has the requests", async || live.selected("web-web").await == "1").await;
    live.reaches("web", "running", 1).await;
    live.until("the new ones are gone", async || live.replicas("web-web-r2").await.is_none()).await;
    live.deploy("web", &rollout("three", &held.replace("autoPromotionEnabled: false, scaleDownDelaySeconds: 600", "scaleDownDelaySeconds: 1"))).await;
    live.reaches("web", "running", 3).await;
    assert_eq!((live.replicas("web-web-r1").await, live.replicas("web-web-r3").await), (None, Some(2)));
    asking.into_iter().for_each(Asking::end);
    live.leaves_nothing(&["web"]).await;
}

async fn canary(live: &Live) {
    let plain = WEB.replace("replicas: 2", "replicas: 4");
    live.deploy("web", &plain).await;
    live.reaches("web", "running", 1).await;
    let asking = Asking::start(live, "canary").await;
    let steps = "{canary: {steps: [{setWeight: 25}, {pause: {}}, {setWeight: 50}, {pause: {}}]}}";
    live.deploy("web", &rollout("two", steps).replace("replicas: 2", "replicas: 4")).await;
    live.waits_for_promotion(1).await;
    live.until("a quarter is new", async || (live.replicas("web-web").await, live.replicas("web-web-r2").await) == (Some(3), Some(1))).await;
    assert_eq!(live.why("web").await["cluster"]["drift"], json!([]), "what the release does is no drift");
    live.verb("promote", json!({})).await;
    live.waits_for_promotion(2).await;
    live.until("half is new", async || (live.replicas("web-web").await, live.replicas("web-web-r2").await) == (Some(2), Some(2))).await;
    live.verb("promote", json!({ "full": true })).await;
    live.reaches("web", "running", 2).await;
    assert_eq!((live.replicas("web-web").await, live.replicas("web-web-r2").await), (None, Some(4)));
    // Back to a Deployment that rolls.
    live.deploy("web", &plain.replace("'one'", "'three'")).await;
    live.reaches("web", "running", 3).await;
    assert_eq!((live.replicas("web-web").await, live.replicas("web-web-r2").await), (Some(4), None));
    asking.into_iter().for_each(Asking::end);
    live.leaves_nothing(&["web"]).await;
}

async fn gateway(live: &Live) {
    if !live.found.capabilities.gateway {
        println!("SKIPPED a_canary_shares_by_the_weights_of_a_route: the cluster has no Gateway API");
        return;
    }
    // The route's objects are looked at: no gateway has to be there for it.
    let prefix = live.namespace.trim_end_matches("acme-shop-test");
    let settings = json!({ "namespace_prefix": prefix, "gateway": "gantry-live/none" });
    assert_eq!(live.call(Method::PUT, "/api/v1/clusters/east/settings", Some(settings)).await.0, 200);
    let route = "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\nspec: {rules: [{host: live.example.org, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}\n";
    let steps = "{canary: {steps: [{setWeight: 25}, {pause: {}}]}}";
    live.deploy("web", &format!("{}{route}", rollout("one", steps))).await;
    live.reaches("web", "running", 1).await;
    live.deploy("web", &format!("{}{route}", rollout("two", steps))).await;
    live.waits_for_promotion(1).await;
    let weights = async || {
        let route = live.object("apis/gateway.networking.k8s.io/v1", "httproutes", "web-web-0-0").await.unwrap_or_default();
        route["spec"]["rules"][0]["backendRefs"].as_array().into_iter().flatten().map(|b| b["weight"].as_u64().unwrap_or(0)).collect::<Vec<_>>()
    };
    live.until("a quarter goes to the new one", async || weights().await == [75, 25]).await;
    live.verb("abort", json!({})).await;
    live.reaches("web", "running", 1).await;
    live.leaves_nothing(&["web"]).await;
}

async fn import(live: &Live) {
    let (_, tested) = live.call(Method::POST, "/api/v1/clusters/east/test", None).await;
    assert_eq!(tested["usable"], true, "{tested}");
    println!("{} with {}", tested["version"], tested["capabilities"]);
    let placement = live.place.apps().replace("/apps", "/placement");
    assert_eq!(live.call(Method::PUT, &placement, Some(json!({}))).await.0, 200);
    assert_eq!(live.call(Method::DELETE, "/api/v1/clusters/east", None).await.0, 204);
}

/// Commands, ports and logs of an instance. An image without a shell skips what needs one, by name.
async fn inside(live: &Live) {
    use futures::SinkExt;
    use tokio_tungstenite::tungstenite::Message;
    live.deploy("web", &WEB.replace("replicas: 2", "replicas: 1")).await;
    live.reaches("web", "running", 1).await;
    let place = &live.place;
    let open = async |tail: &str| socket_of(place, "web", "web-web-0", tail, &live.token).await.unwrap_or_else(|e| panic!("{tail}: {e:?}"));
    let ends = async |socket: &mut Socket| {
        let mut said = String::new();
        loop {
            let frame = next(socket).await;
            match frame.split_first() {
                Some((3, end)) => return (said, serde_json::from_slice::<Value>(end).expect("JSON")),
                Some((_, bytes)) => said.push_str(&String::from_utf8_lossy(bytes)),
                None => {}
            }
        }
    };
    let mut port = open("forward?port=8080").await;
    port.send(Message::Binary(b"\x00GET / HTTP/1.1\r\nHost: live\r\nConnection: close\r\n\r\n".to_vec().into())).await.expect("sent");
    let (answer, _) = ends(&mut port).await;
    assert!(answer.starts_with("HTTP/1."), "{answer}");
    // `echo`, and an exit code that is no other's.
    let mut shell = open("exec?command=[%22sh%22,%22-c%22,%22cat%3B%20exit%207%22]&stdin=true").await;
    shell.send(Message::Binary(b"\x00hello".to_vec().into())).await.expect("sent");
    shell.send(Message::Binary(vec![255, 0].into())).await.expect("sent");
    let (said, end) = ends(&mut shell).await;
    if said != "hello" && (end["error"].is_string() || end["exit_code"] == 127 || end["exit_code"] == 126) {
        println!("SKIPPED commands, processes and logs: the image has no shell ({end})");
    } else {
        if live.found.minor < 30 && end["error"].is_string() {
            println!("SKIPPED the end of input: Kubernetes 1.{} cannot be told", live.found.minor);
        } else {
            assert_eq!((said.as_str(), &end), ("hello", &json!({ "exit_code": 7 })));
        }
        let (status, list) = live.call(Method::GET, &format!("{}/web/instances/web-web-0/processes", place.apps()), None).await;
        assert!(status == 200 && !list["items"].as_array().expect("a list").is_empty(), "{list}");
        let messages = async || place.host.bus.sample_stream("logs").await.expect("the stream").info().await.expect("its state").state.messages;
        let before = messages().await;
        let says = "\n---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: says}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: says, image: IMAGE, command: [sh, -c, 'echo a line']}]}}}\n";
        live.deploy("web", &format!("{}{says}", WEB.replace("replicas: 2", "replicas: 1"))).await;
        live.until("the line is on the log stream", async || messages().await > before).await;
    }
    live.leaves_nothing(&["web"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn commands_ports_and_logs_of_instances() {
    inside(&Live::started("g").await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn each_kind_is_made_and_nothing_is_left_behind() {
    kinds(&Live::started("a").await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn revisions_roll_scale_fail_and_are_pruned() {
    revisions(&Live::started("b").await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn drift_is_shown_and_corrected_and_what_others_own_stays() {
    drift(&Live::started("c").await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn volumes_are_claimed() {
    volumes(&Live::started("d").await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_cannot_be_changed_is_made_anew() {
    changes(&Live::started("f").await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn blue_green_switches_and_goes_back_without_a_failed_request() {
    blue_green(&Live::started("g").await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_canary_grows_and_leaves_without_a_failed_request() {
    canary(&Live::started("h").await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_canary_shares_by_the_weights_of_a_route() {
    gateway(&Live::started("i").await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_cluster_is_tested_and_forgotten() {
    import(&Live::started("e").await).await;
}

/// What the image would answer.
async fn http() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
        }
    });
    port
}

/// The cluster, imported a second time with namespaces of its own, is two clusters to the platform.
async fn over_two(live: &Live) {
    let prefix = live.namespace.trim_end_matches("acme-shop-test").replacen("live", "west", 1);
    let second = format!("{prefix}acme-shop-test");
    let body = json!({ "name": "west", "access": { "kubeconfig": live.kubeconfig }, "settings": { "namespace_prefix": prefix } });
    let (status, answer) = live.call(Method::POST, "/api/v1/clusters", Some(body)).await;
    assert_eq!(status, 201, "{answer}");
    let weighed = async |east: u32, west: u32| {
        let west = json!({ "cluster": "west", "weight": west, "overrides": { "env": { "SITE": "west" } } });
        let body = json!({ "clusters": [{ "cluster": "east", "weight": east }, west] });
        let (status, answer) = live.call(Method::PUT, &live.place.apps().replace("/apps", "/clusters"), Some(body)).await;
        assert_eq!(status, 200, "{answer}");
    };
    let asked = async |namespace: &str| match live.client.get(&format!("/apis/apps/v1/namespaces/{namespace}/deployments/shop-web")).await {
        Ok(object) => object["spec"]["replicas"].as_u64(),
        Err(Trouble::NotFound(_)) => None,
        Err(trouble) => panic!("{trouble}"),
    };
    weighed(1, 1).await;
    live.deploy("shop", WEB).await;
    live.reaches("shop", "running", 1).await;
    assert_eq!((asked(&live.namespace).await, asked(&second).await), (Some(1), Some(1)));
    weighed(0, 1).await;
    live.until("all of it is on the second", async || (asked(&live.namespace).await, asked(&second).await) == (None, Some(2))).await;
    live.reaches("shop", "running", 1).await;
    weighed(3, 1).await;
    live.until("all of it is on the first", async || (asked(&live.namespace).await, asked(&second).await) == (Some(2), None)).await;
    live.reaches("shop", "running", 1).await;
    live.leaves_nothing(&["shop"]).await;
    let gone = async || matches!(live.client.get(&format!("/api/v1/namespaces/{second}")).await, Err(Trouble::NotFound(_)));
    live.until("the second namespace is gone", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn replicas_are_divided_over_two_imports_and_move_between_them() {
    over_two(&Live::started("h").await).await;
}

/// The suite itself, where no cluster is: what it asks for is what the API promises, as far as our own server keeps to it.
async fn on_our_own(name: &str) -> Live {
    let server = ApiServer::start().await;
    server.lock().gateway = name == "i";
    server.controllers();
    let port = http().await;
    server.lock().ports.insert(8080, port);
    Live::on(&server.kubeconfig("good"), "example.org/web:1".into(), name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_suite_holds_on_our_own_server() {
    kinds(&on_our_own("a").await).await;
    drift(&on_our_own("c").await).await;
    volumes(&on_our_own("d").await).await;
    changes(&on_our_own("f").await).await;
    inside(&on_our_own("g").await).await;
    blue_green(&on_our_own("g").await).await;
    canary(&on_our_own("h").await).await;
    gateway(&on_our_own("i").await).await;
    import(&on_our_own("e").await).await;
    over_two(&on_our_own("h").await).await;
}
