use proptest::prelude::*;

use super::*;
use crate::domain::document::Level;
use crate::domain::model::{Check, MountKind, Protocol, Purpose, Restart, WorkloadKind};

fn with<'a>(text: &'a str, values: &'a BTreeMap<String, String>) -> Document<'a> {
    Document { text, values, allow_unsupported: false, default_cpu_millis: 100, default_memory_bytes: 64 << 20 }
}

fn good(text: &str) -> Model {
    read(&with(text, &BTreeMap::new())).unwrap_or_else(|r| panic!("{r:#?}")).model
}

fn bad(text: &str) -> Vec<(String, u64)> {
    read(&with(text, &BTreeMap::new())).expect_err("refused").into_iter().map(|r| (r.path, r.line)).collect()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

#[test]
fn a_whole_service_becomes_a_workload() {
    let model = good(
        r#"
services:
  web:
    image: localhost:7443/acme/shop/web:1
    entrypoint: /bin/serve --quiet
    command: ["--port", "8080"]
    environment: {A: "1", B: 2}
    ports: ["20080:8080"]
    read_only: true
    user: "1000"
    cap_drop: [ALL]
    sysctls: [net.core.somaxconn=1024]
    stop_grace_period: 1m
    ulimits: {nofile: {soft: 10, hard: 20}}
    healthcheck: {test: [CMD, /bin/check], interval: 5s, retries: 2}
    tmpfs: /tmp
    volumes: ["data:/data:ro"]
    configs: [{source: app, target: /etc/app.conf, mode: "0440"}]
    depends_on: {db: {condition: service_healthy}}
    deploy:
      replicas: 3
      resources: {limits: {cpus: "0.5", memory: 128M, pids: 64}, reservations: {memory: 64M}}
      update_config: {parallelism: 2, order: start-first, failure_action: pause}
      placement: {constraints: ["node.labels.disk == ssd"], max_replicas_per_node: 2}
    x-gantry:
      balance: leastconn
      routes: [{host: Shop.localhost, path: /, port: 8080}]
  db:
    image: acme/shop/db
    healthcheck: {test: pg_isready}
volumes: {data: {}}
configs: {app: {content: "x=1"}}
"#,
    );
    let web = &model.workloads[&name("web")];
    assert_eq!((web.command.join(" "), web.args.join(" ")), ("/bin/serve --quiet".into(), "--port 8080".into()));
    assert_eq!((web.replicas, web.update.surge, web.update.max_unavailable, web.update.rollback), (3, 2, 0, false));
    assert_eq!((web.limits.cpu_millis, web.requests.cpu_millis, web.requests.memory_bytes, web.limits.pids), (500, 500, 64 << 20, 64));
    assert_eq!((web.env["B"].as_str(), web.ulimits[0].as_str(), web.stop_grace_seconds), ("2", "nofile=10:20", 60));
    assert_eq!((web.mounts.len(), web.mounts.iter().any(|m| m.kind == MountKind::Tmpfs)), (2, true));
    assert_eq!((web.files[0].path.as_str(), web.files[0].mode), ("/etc/app.conf", 0o440));
    assert_eq!(web.placement.rules[0].to_string(), "node.labels.disk == ssd");
    assert_eq!(web.probes.iter().map(|p| (p.purpose, p.period_ms)).collect::<Vec<_>>(), [(Purpose::Ready, 1000), (Purpose::Live, 5000)]);
    let service = model.services.iter().find(|s| s.name == name("web")).unwrap();
    assert_eq!((service.protocol, service.balance.as_str(), service.publish.unwrap().wanted), (Protocol::Http, "leastconn", 20080));
    assert_eq!(service.routes[0].host, "shop.localhost");
    let db = model.services.iter().find(|s| s.name == name("db")).unwrap();
    assert_eq!(db.port, 0, "a workload without ports still has its name");
}

#[test]
fn what_is_not_done_is_listed_with_its_line() {
    let text = "services:\n  web:\n    image: a/b/c\n    build: .\n    devices: [/dev/kvm]\n    ports:\n      - 80:80\n    env_file: .env\n";
    assert_eq!(bad(text), [("services.web.build".into(), 4), ("services.web.devices".into(), 5), ("services.web.env_file".into(), 8)]);
    let values = BTreeMap::new();
    let parsed = read(&Document { allow_unsupported: true, ..with(text, &values) }).unwrap();
    assert_eq!(parsed.remarks.iter().filter(|r| r.level == Level::Unsupported).count(), 3);
}

#[test]
fn allowing_the_unsupported_does_not_allow_the_wrong() {
    let values = BTreeMap::new();
    let text = "services:\n  web:\n    ports: [x]\n";
    let remarks = read(&Document { allow_unsupported: true, ..with(text, &values) }).unwrap_err();
    assert_eq!(remarks.len(), 2, "{remarks:?}");
}

#[test]
fn dependencies_must_exist_and_not_be_circular() {
    let text = "services:\n  a:\n    image: x/y/z\n    depends_on: [b, c]\n  b:\n    image: x/y/z\n    depends_on: [a]\n";
    let found = bad(text);
    assert!(found.iter().any(|(p, l)| p == "services.a.depends_on" && *l == 2), "{found:?}");
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn two_services_may_not_take_one_route_or_port() {
    let text = "services:\n  a:\n    image: x/y/z\n    ports: ['20001:80']\n    x-gantry: {routes: [{host: h.test}]}\n  b:\n    image: x/y/z\n    ports: ['20001:80']\n    x-gantry: {routes: [{host: h.test}]}\n";
    assert_eq!(bad(text).len(), 2);
}

#[test]
fn values_are_filled_in_before_types_are_read() {
    let values = BTreeMap::from([("N".to_owned(), "4".to_owned()), ("TAG".to_owned(), "v2".to_owned())]);
    let text = "services:\n  web:\n    image: acme/shop/web:${TAG:?}\n    deploy: {replicas: \"${N:-1}\"}\n";
    let web = read(&with(text, &values)).unwrap().model.workloads.remove(&name("web")).unwrap();
    assert_eq!((web.image.as_str(), web.replicas), ("acme/shop/web:v2", 4));
    assert_eq!(bad(text), [("document".into(), 3)], "TAG is required");
}

#[test]
fn a_job_restarts_on_failure_only_and_a_published_port_is_probed() {
    let model = good("services:\n  job:\n    image: x/y/z\n    deploy: {mode: replicated-job}\n  web:\n    image: x/y/z\n    ports: ['80']\n");
    let job = &model.workloads[&name("job")];
    assert_eq!((job.kind, job.restart, job.probes.len()), (WorkloadKind::Job, Restart::OnFailure, 0));
    assert_eq!(model.workloads[&name("web")].probes[0].check, Check::Tcp { port: 80 });
}

#[test]
fn real_files_are_read_or_say_what_they_lack() {
    // Written by people for docker compose; the shapes of the usual example files.
    let gitea = "services:\n  gitea:\n    image: gitea/gitea:latest\n    environment:\n      - DB_TYPE=postgres\n    restart: always\n    volumes:\n      - git_data:/data\n    ports:\n      - 3000:3000\n  db:\n    image: postgres:alpine\n    restart: always\n    expose:\n      - 5432\nvolumes:\n  git_data:\n";
    let model = good(gitea);
    assert_eq!((model.workloads.len(), model.services.len(), model.volumes.len()), (2, 2, 1));
    assert_eq!(model.workloads[&name("gitea")].update.surge, 0, "one volume, one instance at a time");
    let portainer = "services:\n  portainer:\n    image: portainer/portainer-ce:alpine\n    command: -H unix:///var/run/docker.sock\n    volumes:\n      - \"/var/run/docker.sock:/var/run/docker.sock\"\n";
    assert_eq!(good(portainer).workloads[&name("portainer")].mounts[0].kind, MountKind::Bind);
    let flask = "services:\n  web:\n    build:\n      context: .\n    volumes:\n      - .:/code\n";
    assert_eq!(bad(flask), [("services.web.build".into(), 3), ("services.web.image".into(), 3), ("services.web.volumes[0]".into(), 6)]);
}

proptest! {
    #[test]
    fn no_document_makes_the_reader_panic(text in "(services|web|image|ports|volumes|deploy|x-gantry|: |\n|  |- |\\[|\\]|\\{|\\}|\\$|\\{A|80|\"|a|,){0,40}") {
        let _ = read(&with(&text, &BTreeMap::new()));
    }
}
