mod keys;
mod valid;

use proptest::prelude::*;

use super::*;
use crate::domain::document::{Level, Parsed, Remark};
use crate::domain::lacks;
use crate::domain::model::{Access, Check, Hook, MountKind, Protocol, Purpose, Restart, Workload, WorkloadKind};

fn with<'a>(text: &'a str, values: &'a BTreeMap<String, String>) -> Document<'a> {
    Document { values, default_memory_bytes: 64 << 20, ..Document::alone(text) }
}

fn parsed(document: &Document<'_>, accept: bool) -> Result<Parsed, Vec<Remark>> {
    read(document).finish(accept)
}

fn good(text: &str) -> Model {
    parsed(&with(text, &BTreeMap::new()), false).unwrap_or_else(|r| panic!("{r:#?}")).model
}

fn bad(text: &str) -> Vec<(String, u64)> {
    parsed(&with(text, &BTreeMap::new()), false).expect_err("refused").into_iter().map(|r| (r.path, r.line)).collect()
}

/// With files beside it.
fn among(text: &str, files: &[(&str, &str)]) -> Result<Parsed, Vec<Remark>> {
    let files = files.iter().map(|(p, t)| ((*p).to_owned(), t.as_bytes().to_vec())).collect();
    parsed(&Document { files: &files, ..Document::alone(text) }, false)
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
      access: {allow: [192.0.2.0/24], deny: ["192.0.2.7"], requests_per_second: 20, concurrent: 5}
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
    let access = Access { allow: vec!["192.0.2.0/24".into()], deny: vec!["192.0.2.7".into()], requests_per_second: 20, concurrent: 5 };
    assert_eq!(service.access, access);
    let db = model.services.iter().find(|s| s.name == name("db")).unwrap();
    assert_eq!(db.port, 0, "a workload without ports still has its name");
}

#[test]
fn who_may_connect_is_a_network_and_nothing_else() {
    for wrong in ["allow: [example.org]", "deny: [192.0.2.0/33]", "allow: [\"192.0.2.1; x\"]", "concurrent: 2000000", "colour: red"] {
        let text = format!("services:\n  web:\n    image: a/b/c\n    ports: [80]\n    x-gantry:\n      access: {{{wrong}}}\n");
        assert_eq!(bad(&text).len(), 1, "{wrong}");
    }
}

#[test]
fn what_is_published_is_asked_an_address_for_and_without_it_every_port() {
    for (asks, pool, ip) in
        [("office", "office", None), ("{pool: office, ip: 203.0.113.7}", "office", Some(std::net::Ipv4Addr::new(203, 0, 113, 7))), ("{}", "", None)]
    {
        let text = format!("services:\n  web:\n    image: a/b/c\n    ports: ['80:8080']\n    expose: ['9000']\n    x-gantry: {{address: {asks}}}\n");
        let model = good(&text);
        let with: Vec<u16> = model.services.iter().filter(|s| s.address.is_some()).map(|s| s.public_port()).collect();
        assert_eq!(with, [80], "{asks}");
        let address = model.services.iter().find_map(|s| s.address.clone()).unwrap();
        assert_eq!((address.pool.as_str(), address.ip), (pool, ip));
    }
    let alone = good("services:\n  web:\n    image: a/b/c\n    expose: ['9000', '9001']\n    x-gantry: {address: office}\n");
    assert!(alone.services.iter().all(|s| s.address.is_some()));
    for wrong in ["{ip: '::1'}", "{colour: red}", "No Name"] {
        let text = format!("services:\n  web:\n    image: a/b/c\n    ports: ['80:8080']\n    x-gantry: {{address: {wrong}}}\n");
        assert_eq!(bad(&text).len(), 1, "{wrong}");
    }
    assert_eq!(bad("services:\n  web:\n    image: a/b/c\n    x-gantry: {address: office}\n").len(), 1, "there is no port to answer at");
}

#[test]
fn what_is_not_done_is_listed_with_its_line() {
    let text = "services:\n  web:\n    image: a/b/c\n    volumes_from: [x]\n    nonsense: 1\n    ports:\n      - 80:80\n    env_file: .env\n";
    assert_eq!(bad(text), [("services.web.volumes_from".into(), 4), ("services.web.nonsense".into(), 5), ("services.web.env_file[0]".into(), 8)]);
    let values = BTreeMap::new();
    let parsed = parsed(&with(text, &values), true).unwrap();
    assert_eq!(parsed.remarks.iter().filter(|r| r.level == Level::Unsupported).count(), 3);
}

#[test]
fn allowing_the_unsupported_does_not_allow_the_wrong() {
    let values = BTreeMap::new();
    let text = "services:\n  web:\n    ports: [x]\n";
    let remarks = parsed(&with(text, &values), true).unwrap_err();
    assert_eq!(remarks.len(), 2, "{remarks:?}");
}

#[test]
fn what_the_engine_does_not_do_yet_is_kept_and_listed_with_its_line() {
    let text = "services:\n  web:\n    image: a/b/c\n    network_mode: host\n    init: true\n    deploy:\n      resources: {reservations: {devices: [{driver: nvidia, count: 2, capabilities: [gpu]}]}}\n";
    let reading = read(&Document::alone(text));
    reading.remarks.lacking(lacks::containerd(&reading.model));
    let web = reading.model.workloads[&name("web")].clone();
    assert!(web.sharing.host_network && web.init_process && web.extended["nvidia.com/gpu"] == 2);
    let refused = reading.finish(false).unwrap_err();
    let lines: Vec<(u64, Level)> = refused.iter().map(|r| (r.line, r.level)).collect();
    assert_eq!(lines, [(4, Level::NotYet), (5, Level::NotYet), (6, Level::NotYet)], "{refused:#?}");
}

#[test]
fn the_whole_of_a_service_has_its_place_in_the_model() {
    let text = r#"
name: all
services:
  My_App:
    image: a/b/c
    container_name: boss
    hostname: host-1
    tty: true
    stdin_open: true
    group_add: ["20"]
    devices: ["/dev/fuse:/dev/fuse:rw"]
    dns: 10.0.0.1
    dns_search: [a.b]
    extra_hosts: ["db=10.0.0.9", "v6=[::1]"]
    annotations: {a: b}
    labels: [tier=web]
    shm_size: 64m
    security_opt: [apparmor:strict, "label:type:svirt_t", no-new-privileges, "seccomp:/etc/seccomp/app.json"]
    memswap_limit: -1
    cpuset: "0-1"
    networks: {back: {aliases: [api], ipv4_address: 10.1.0.5, priority: 9}, front: {}}
    post_start: [{command: [/bin/prepare], user: root}]
    pre_stop: [{command: /bin/drain --now}]
    expose: ["80", "53/udp", "9000-9002"]
    volumes: [{type: volume, source: data, target: /data, volume: {nocopy: true, subpath: x}}, {type: tmpfs, target: /t, tmpfs: {size: 1m}}]
    logging: {driver: syslog}
    restart: on-failure:3
    deploy: {endpoint_mode: dnsrr, placement: {preferences: [{spread: node.labels.rack}]}}
networks: {front: {internal: true}, back: {ipam: {config: [{subnet: 10.1.0.0/16}]}}}
volumes: {data: {driver_opts: {type: nfs}}}
"#;
    let model = good(text);
    let app = &model.workloads[&name("my-app")];
    assert_eq!((app.hostname.as_str(), app.tty, app.stdin, app.groups.as_slice()), ("host-1", true, true, [20].as_slice()));
    assert_eq!((app.devices.len(), app.dns.servers.len(), app.extra_hosts["db"].as_str(), app.extra_hosts["v6"].as_str()), (1, 1, "10.0.0.9", "::1"));
    assert_eq!((app.apparmor.as_str(), app.selinux.as_str(), app.seccomp.as_str()), ("localhost/strict", "::svirt_t:", "localhost/etc/seccomp/app.json"));
    assert_eq!((app.no_new_privileges, app.tuning.memory_swap_bytes, app.tuning.cpuset.as_str()), (Some(true), -1, "0-1"));
    assert_eq!(app.nics.iter().map(|n| n.network.as_str()).collect::<Vec<_>>(), ["back", "front"], "the first by priority");
    assert!(matches!(&app.hooks.pre_stop[0], Hook::Command { command, .. } if command[..] == ["/bin/drain", "--now"]));
    assert_eq!((app.restart, app.restart_attempts, app.mounts.len()), (Restart::OnFailure, Some(3), 3));
    assert_eq!(app.placement.spread[0].topology, "node.labels.rack");
    let ports: Vec<(u16, Protocol)> = model.services.iter().map(|s| (s.port, s.protocol)).collect();
    assert_eq!(ports, [(80, Protocol::Tcp), (9000, Protocol::Tcp), (9001, Protocol::Tcp), (9002, Protocol::Tcp), (53, Protocol::Udp)]);
    assert_eq!(model.services[0].aliases.iter().map(String::as_str).collect::<Vec<_>>(), ["My_App", "api", "boss", "host-1"]);
    assert!(model.services[0].headless && model.networks["front"].internal && model.volumes["data"].options["type"] == "nfs");
}

#[test]
fn files_beside_the_document_come_along() {
    let text = r#"
services:
  web:
    image: "a/b/web:${TAG}"
    env_file: [conf/web.env, {path: conf/none.env, required: false}]
    environment: {B: own}
    configs: [site]
    secrets: [{source: key, target: tls.key, mode: 256, uid: "7"}]
    volumes: ["./conf/nginx.conf:/etc/nginx.conf:ro", "./static:/srv"]
configs: {site: {file: ./conf/site.json}}
secrets: {key: {file: conf/key.bin}}
"#;
    let files = [
        (".env", "TAG=3\n"),
        ("conf/web.env", "A=$TAG\nB=file\n"),
        ("conf/nginx.conf", "server {}"),
        ("static/a.html", "a"),
        ("static/x/b.html", "b"),
        ("conf/site.json", "{}"),
        ("conf/key.bin", "k"),
    ];
    let model = among(text, &files).unwrap_or_else(|r| panic!("{r:#?}")).model;
    let web = &model.workloads[&name("web")];
    assert_eq!((web.image.as_str(), web.env["A"].as_str(), web.env["B"].as_str()), ("a/b/web:3", "3", "own"));
    let paths: Vec<(&str, u32, bool)> = web.files.iter().map(|f| (f.path.as_str(), f.mode, f.secret)).collect();
    assert_eq!(
        paths,
        [
            ("/site", 0o444, false),
            ("/run/secrets/tls.key", 0o400, true),
            ("/etc/nginx.conf", 0o444, false),
            ("/srv/a.html", 0o444, false),
            ("/srv/x/b.html", 0o444, false)
        ]
    );
    assert_eq!((web.files[1].content.as_str(), web.files[1].uid), ("k", Some(7)));
    assert!(model.configs["key.secret"].secret);
    let lacking = read(&Document::alone(text));
    assert_eq!(
        lacking.remarks.needs().into_iter().collect::<Vec<_>>(),
        ["conf/key.bin", "conf/nginx.conf", "conf/none.env", "conf/site.json", "conf/web.env", "static"]
    );
}

#[test]
fn extends_include_overrides_and_profiles_make_one_application() {
    let text = "include: [{path: mon/compose.yaml}]\nservices:\n  base: {image: a/b/c, environment: [A=1, B=1], profiles: [never]}\n  web:\n    extends: {service: base}\n    profiles: !reset []\n    environment: {B: 2}\n    command: [one, two]\n  worker:\n    extends: {file: common/base.yaml, service: job}\n  debug: {image: a/b/d, profiles: [dev]}\n";
    let files = [
        ("mon/compose.yaml", "services:\n  mon: {image: a/b/mon, env_file: mon.env}\n"),
        ("mon/mon.env", "M=1"),
        ("common/base.yaml", "services:\n  root: {image: a/b/job, volumes: [./j.conf:/j.conf]}\n  job: {extends: root, cap_drop: [ALL]}\n"),
        ("common/j.conf", "x"),
    ];
    let files: BTreeMap<String, Vec<u8>> = files.iter().map(|(p, t)| ((*p).to_owned(), t.as_bytes().to_vec())).collect();
    let overrides = ["services:\n  web:\n    command: [three]\n    environment: !override {C: 3}\n    cap_add: !reset []\n".to_owned()];
    let profiles = BTreeSet::from(["dev".to_owned()]);
    let document = Document { files: &files, overrides: &overrides, profiles: &profiles, ..Document::alone(text) };
    let model = parsed(&document, false).unwrap_or_else(|r| panic!("{r:#?}")).model;
    assert_eq!(model.workloads.keys().map(Name::as_str).collect::<Vec<_>>(), ["debug", "mon", "web", "worker"]);
    let web = &model.workloads[&name("web")];
    assert_eq!((web.args.join(" "), web.env.clone()), ("three".into(), BTreeMap::from([("C".to_owned(), "3".to_owned())])));
    assert_eq!(model.workloads[&name("mon")].env["M"], "1");
    let worker = &model.workloads[&name("worker")];
    assert_eq!((worker.files[0].content.as_str(), worker.cap_drop.join(",")), ("x", "ALL".into()));
}

#[test]
fn files_that_lead_out_or_in_circles_are_refused() {
    for (text, files) in [
        ("services: {a: {image: x, extends: {service: a}}}", vec![]),
        ("services: {a: {image: x, extends: b}, b: {image: x, extends: a}}", vec![]),
        (
            "include: [a.yaml]\nservices: {w: {image: x}}",
            vec![("a.yaml", "include: [b.yaml]\nservices: {a: {image: x}}"), ("b.yaml", "include: [a.yaml]\nservices: {b: {image: x}}")],
        ),
        ("include: [../a.yaml]\nservices: {w: {image: x}}", vec![]),
        ("include: ['https://example.org/a.yaml']\nservices: {w: {image: x}}", vec![]),
        ("services: {w: {image: x, extends: {file: /etc/passwd, service: a}}}", vec![]),
        ("services: {w: {image: x, env_file: ../../etc/passwd}}", vec![]),
        ("services: {w: {image: x, volumes: ['../a:/b']}}", vec![]),
        ("services: {w: {image: x, secrets: [s]}}\nsecrets: {s: {file: a/../../b}}", vec![]),
        ("include: [a.yaml]\nservices: {w: {image: x}}", vec![("a.yaml", "services: {w: {image: y}}")]),
        ("services: {w: {image: x, extends: nobody}}", vec![]),
        ("include: [a.yaml]\nservices: {w: {image: x}}", vec![("a.yaml", "services: [")]),
    ] {
        let remarks = among(text, &files).expect_err(text);
        assert!(!remarks.is_empty() && remarks.iter().all(|r| !r.detail.is_empty()), "{text}");
    }
    let remarks = among("include: [a.yaml]\nservices: {w: {image: x}}", &[("a.yaml", "services:\n  b:\n    image: x\n    bogus: 1\n")]).unwrap_err();
    assert_eq!((remarks[0].file.as_str(), remarks[0].line, remarks[0].path.as_str()), ("a.yaml", 4, "services.b.bogus"));
}

#[test]
fn dependencies_must_exist_and_not_be_circular() {
    let text = "services:\n  a:\n    image: x/y/z\n    depends_on: [b, c]\n  b:\n    image: x/y/z\n    depends_on: [a]\n";
    let found = bad(text);
    assert!(found.iter().any(|(p, l)| p == "services.a.depends_on" && *l == 4), "{found:?}");
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
    let web = parsed(&with(text, &values), false).unwrap().model.workloads.remove(&name("web")).unwrap();
    assert_eq!((web.image.as_str(), web.replicas), ("acme/shop/web:v2", 4));
    assert_eq!(bad(text), [("document".into(), 3)], "TAG is required");
    let both = "services:\n  web:\n    image: ${IMAGE:?}\n    user: ${WHO:?who}\n    hostname: a$\n";
    assert_eq!(bad(both).into_iter().map(|(_, line)| line).collect::<Vec<_>>(), [3, 4, 5], "all at once");
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
    assert_eq!(bad(flask), [("services.web.build".into(), 3), ("services.web.volumes[0]".into(), 6)]);
}

/// What is said about a service `web` with these keys, by line and level.
fn said(keys: &str) -> Vec<(u64, Level, String)> {
    let text = format!("services:\n  web:\n    image: a/b/c\n{keys}volumes: {{data: {{}}}}\n");
    read(&Document::alone(&text)).remarks.into_list().into_iter().map(|r| (r.line, r.level, r.detail)).collect()
}

fn web(keys: &str) -> Workload {
    good(&format!("services:\n  web:\n    image: a/b/c\n{keys}volumes: {{data: {{}}}}\n")).workloads.remove(&name("web")).unwrap()
}

#[test]
fn a_value_of_another_kind_is_named_and_never_left_out() {
    for (keys, line) in [
        ("    volumes: data:/data\n", 4),
        ("    secrets: key\n", 4),
        ("    devices: /dev/fuse\n", 4),
        ("    profiles: dev\n", 4),
        ("    networks: front\n", 4),
        ("    healthcheck: curl\n", 4),
        ("    ulimits: 5\n", 4),
        ("    post_start: {command: a}\n", 4),
        ("    deploy: [a]\n", 4),
        ("    deploy:\n      resources: much\n", 5),
        ("    deploy:\n      resources:\n        limits: [1]\n", 6),
        ("    deploy:\n      placement:\n        preferences: rack\n", 6),
        ("    command:\n      - serve\n      - --name: x\n", 6),
        ("    environment:\n      - A: b\n", 5),
        ("    environment:\n      - =b\n", 5),
        ("    extra_hosts:\n      - a: 192.0.2.1\n", 5),
        ("    x-gantry: now\n", 4),
    ] {
        let found = said(keys);
        assert!(found.iter().any(|(at, level, _)| *level == Level::Wrong && (*at == line || *at + 1 == line)), "{keys}: {found:?}");
    }
    for section in ["configs", "secrets"] {
        assert_eq!(bad(&format!("services: {{web: {{image: a/b/c}}}}\n{section}: [a]\n")).len(), 1, "{section}");
    }
}

#[test]
fn an_empty_entry_point_leaves_the_command_alone() {
    let bare = web("    command: sh -c 'sleep 1'\n    entrypoint: \"\"\n");
    assert_eq!((bare.command.as_slice(), bare.args.len()), (["sh", "-c", "sleep 1"].map(str::to_owned).as_slice(), 0));
    assert_eq!(web("    entrypoint: ['']\n    command: [a]\n").command, ["a"]);
    assert_eq!(web("    entrypoint:\n    command: [a]\n").args, ["a"], "nothing said is the image's own");
    for keys in ["    entrypoint: []\n", "    command: []\n", "    command: ''\n"] {
        assert!(said(keys).iter().any(|(line, level, _)| (*line, *level) == (4, Level::Unsupported)), "{keys}");
    }
    assert_eq!(web("    entrypoint: /run\n    command: []\n").command, ["/run"]);
}

#[test]
fn what_is_bound_to_the_machine_itself_is_not_published() {
    let of = |ports: &str| {
        let model = good(&format!("services:\n  web:\n    image: a/b/c\n    ports: {ports}\n"));
        model.services.iter().map(|s| (s.port, s.publish.map(|p| p.wanted))).collect::<Vec<_>>()
    };
    assert_eq!(of("['127.0.0.1:8080:80']"), [(80, None)]);
    assert_eq!(of("['[::1]:8080:80', '127.0.0.1:8080:80']"), [(80, None)]);
    assert_eq!(of("[{target: 80, published: '8080', host_ip: 127.0.0.1}]"), [(80, None)]);
    assert_eq!(of("['127.0.0.1:8080:80', '8080:80']"), [(80, Some(8080))]);
    assert_eq!(of("['0.0.0.0:8080:80', '[::]:8080:80']"), [(80, Some(8080))], "one port at two addresses");
    assert_eq!(of("['192.0.2.1:8080:80']"), [(80, Some(8080))]);
    for (ports, words) in [("['127.0.0.1:80:80']", "not published"), ("['192.0.2.1:80:80']", "listen address")] {
        let found = said(&format!("    ports: {ports}\n"));
        assert!(found.iter().any(|(line, level, detail)| (*line, *level) == (4, Level::Note) && detail.contains(words)), "{found:?}");
    }
    for (port, words) in [("5000-6000:5000-6000/udp", "at most 100"), ("80:80/sctp", "SCTP")] {
        let found = said(&format!("    ports: ['{port}']\n"));
        assert!(found.iter().any(|(_, level, detail)| *level == Level::Unsupported && detail.contains(words)), "{found:?}");
    }
}

#[test]
fn paths_of_windows_and_sources_that_are_empty_are_named() {
    for (volume, level, words) in [
        ("'C:\\data:/data'", Level::Unsupported, "Windows"),
        ("'c:/data:/data:ro'", Level::Unsupported, "Windows"),
        ("{type: bind, source: 'D:\\x', target: /x}", Level::Unsupported, "Windows"),
        ("{type: bind, source: '', target: /x}", Level::Wrong, "source"),
        ("'${DATA}:/data'", Level::Wrong, "before the `:`"),
        ("'.\\site:/srv'", Level::Unsupported, "`./site` lies beside"),
    ] {
        let found = said(&format!("    volumes:\n      - {volume}\n"));
        assert!(found.iter().any(|(line, l, detail)| *line == 5 && *l == level && detail.contains(words)), "{volume}: {found:?}");
    }
    let text = "services: {web: {image: a/b/c, volumes: ['.\\bin\\run:/run.sh', 'd:/data']}}\nvolumes: {d: {}}\n";
    let found = among(text, &[("bin/run", "#!/bin/sh\n")]).unwrap_or_else(|r| panic!("{r:#?}")).model;
    let web = &found.workloads[&name("web")];
    assert_eq!((web.files[0].path.as_str(), web.files[0].mode), ("/run.sh", 0o555), "a script can be run");
    assert_eq!(web.mounts[0].source, "d", "a volume of one letter");
}

#[test]
fn what_deploy_says_counts_wherever_it_stands() {
    let first = web(
        "    deploy: {replicas: 2, restart_policy: {condition: on-failure}, resources: {limits: {cpus: '1'}}}\n    scale: 5\n    restart: always\n    cpus: 3\n",
    );
    assert_eq!((first.replicas, first.restart, first.limits.cpu_millis), (2, Restart::OnFailure, 1000));
    let model = good("services:\n  web:\n    image: a/b/c\n    mac_address: 02:42:ac:11:65:43\n    networks: [front]\nnetworks: {front: {}}\n");
    let nics = &model.workloads[&name("web")].nics;
    assert_eq!((nics.len(), nics[0].network.as_str(), nics[0].mac.as_str()), (1, "front", "02:42:ac:11:65:43"));
}

#[test]
fn health_checks_without_a_test_are_the_images_and_zero_is_the_usual() {
    let check = web("    healthcheck: {test: pg_isready, interval: 0s, timeout: 0s, retries: 0, start_period: 2s, start_interval: 1s}\n");
    let live = check.probes.iter().find(|p| p.purpose == Purpose::Live).unwrap();
    assert_eq!((live.period_ms, live.timeout_ms, live.failure_threshold, live.initial_delay_ms), (30_000, 30_000, 3, 2000));
    for none in ["{test: [NONE]}", "{disable: true, test: [CMD, a]}"] {
        let keys = format!("    healthcheck: {none}\n");
        assert!(web(&keys).probes.is_empty() && !said(&keys).iter().any(|(_, _, detail)| detail.contains("name `test`")), "{none}");
    }
    for of_image in ["{interval: 5s}", "{test: []}", "{disable: false}"] {
        let found = said(&format!("    healthcheck: {of_image}\n"));
        assert!(found.iter().any(|(_, level, detail)| *level == Level::Note && detail.contains("name `test`")), "{of_image}: {found:?}");
    }
}

#[test]
fn platforms_pulls_and_hosts_have_one_meaning_each() {
    let arch = |platform: &str| web(&format!("    platform: {platform}\n")).placement.architectures.into_iter().collect::<Vec<_>>();
    assert_eq!([arch("linux/arm64/v8"), arch("linux/x86_64"), arch("arm64")], [vec!["arm64".to_owned()], vec!["amd64".into()], vec!["arm64".into()]]);
    assert!(arch("linux").is_empty() && arch("''").is_empty());
    assert!(said("    platform: windows/amd64\n").iter().any(|(line, level, _)| (*line, *level) == (4, Level::Unsupported)));
    let pull = |policy: &str| web(&format!("    pull_policy: {policy}\n")).pull;
    assert_eq!(["always", "if_not_present", "missing", "never", "build", "every_12h"].map(pull), ["always", "missing", "missing", "never", "", ""]);
    assert!(said("    pull_policy: sometimes\n").iter().any(|(line, level, _)| (*line, *level) == (4, Level::Wrong)));
    let hosts = web("    extra_hosts: ['a=192.0.2.1', 'b:192.0.2.2', 'c=::1']\n").extra_hosts;
    assert_eq!(hosts.values().map(String::as_str).collect::<Vec<_>>(), ["192.0.2.1", "192.0.2.2", "::1"]);
    for (hosts, words) in [("['h:host-gateway']", "the machine"), ("['a:192.0.2.1', 'a:192.0.2.2']", "192.0.2.2"), ("{a: [192.0.2.1, 192.0.2.2]}", "192.0.2.2")]
    {
        let found = said(&format!("    extra_hosts: {hosts}\n"));
        assert!(found.iter().any(|(_, level, detail)| *level == Level::Unsupported && detail.contains(words)), "{hosts}: {found:?}");
    }
    assert!(said("    networks: [nowhere]\n").iter().any(|(_, level, detail)| *level == Level::Unsupported && detail.contains("not declared")));
}

#[test]
fn what_others_wait_for_to_end_is_a_job() {
    let model = good(
        "services:\n  web:\n    image: a/b/c\n    depends_on: {init: {condition: service_completed_successfully}, seed: {condition: service_started}}\n  init:\n    image: a/b/d\n  seed:\n    image: a/b/e\n",
    );
    let of = |w: &str| (model.workloads[&name(w)].kind, model.workloads[&name(w)].restart);
    assert_eq!(of("init"), (WorkloadKind::Job, Restart::OnFailure));
    assert_eq!([of("seed"), of("web")], [(WorkloadKind::Stateless, Restart::Always); 2]);
}

#[test]
fn the_folder_of_the_document_is_where_compose_is_started() {
    let found =
        among("services: {web: {image: a/b/c, volumes: ['${PWD}/app.conf:/app.conf:ro']}}\n", &[("app.conf", "x")]).unwrap_or_else(|r| panic!("{r:#?}"));
    assert_eq!(found.model.workloads[&name("web")].files[0].path, "/app.conf");
    let twice = good("services:\n  a:\n    image: a/b/c\n    hostname: ${NONE:-}\n  b:\n    image: a/b/d\n    hostname: ${NONE:-}\n");
    assert!(twice.services.iter().all(|s| s.aliases.is_empty()), "an empty name is nobody's");
}

#[test]
fn a_link_gives_the_other_service_one_more_name() {
    let model = good("services:\n  web:\n    image: a/b/c\n    links: ['db:mysql', db]\n  db:\n    image: a/b/d\n    expose: [3306]\n");
    let db = model.services.iter().find(|s| s.name == name("db")).unwrap();
    assert!(db.aliases.contains("mysql") && model.workloads[&name("web")].depends_on.contains_key(&name("db")));
    let taken = bad("services:\n  web:\n    image: a/b/c\n    links: ['db:other']\n  db:\n    image: a/b/d\n  other:\n    image: a/b/e\n");
    assert_eq!(taken.len(), 1, "{taken:?}");
}

#[test]
fn what_is_no_compose_file_or_has_nothing_left_is_told_why() {
    for (text, words) in [
        ("", "is empty"),
        ("- a\n", "not a list"),
        ("web:\n  image: a/b/c\n", "belongs below it"),
        ("apiVersion: v1\nkind: Pod\n", "`kubernetes`"),
        ("services: {web: {image: a/b/c, profiles: [dev]}}\n", "profiles"),
        ("services: {web: {image: a/b/c, depends_on: [db]}, db: {image: a/b/d, profiles: [dev]}}\n", "left out"),
        ("services: {web: {provider: {type: model}}}\n", "image"),
    ] {
        let found = parsed(&with(text, &BTreeMap::new()), true).expect_err(text);
        assert!(found.iter().any(|r| r.detail.contains(words)), "{text}: {found:?}");
    }
    let both = good("services: {web: {image: a/b/c, environment: {A: 1}}}\n---\nservices: {web: {environment: {B: 2}}}\n");
    assert_eq!(both.workloads[&name("web")].env.len(), 2, "a further document is laid over the first");
    let missing = read(&Document::alone("services:\n  web:\n    image: a/b/c\n    user: ${WHO}\n")).remarks.into_list();
    assert!(missing.iter().any(|r| r.line == 4 && r.detail.contains("`WHO`")), "{missing:?}");
}

proptest! {
    #[test]
    fn no_document_makes_the_reader_panic(text in "(services|web|image|ports|volumes|deploy|x-gantry|: |\n|  |- |\\[|\\]|\\{|\\}|\\$|\\{A|80|\"|a|,){0,40}") {
        let _ = read(&with(&text, &BTreeMap::new()));
    }
}
