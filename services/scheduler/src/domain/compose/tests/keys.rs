//! Every key of the specification (compose-spec, `schema/compose-spec.json` of June 2026) is heard: it becomes part of the model, or is told
//! with its line. `‹` and `›` mark what is.

use super::*;
use crate::domain::told::unheard;

/// Of a service.
const SERVICE: &[&str] = &[
    "‹annotations: {a: b}›",
    "‹attach: false›",
    "‹build: {context: ., args: {A: 1}}›",
    "blkio_config: {‹weight: 300›}",
    "blkio_config: {‹weight_device: [{path: /dev/sda, weight: 400}]›}",
    "blkio_config: {‹device_read_bps: [{path: /dev/sda, rate: 1mb}]›}",
    "blkio_config: {‹device_read_iops: [{path: /dev/sda, rate: 100}]›}",
    "blkio_config: {‹device_write_bps: [{path: /dev/sda, rate: 1mb}]›}",
    "blkio_config: {‹device_write_iops: [{path: /dev/sda, rate: 100}]›}",
    "‹cap_add: [NET_ADMIN]›",
    "‹cap_drop: [ALL]›",
    "‹cgroup: host›",
    "‹cgroup_parent: m-executor›",
    "‹command: [a]›",
    "‹configs: [conf]›",
    "configs: [{source: conf‹, target: /x›}]",
    "configs: [{source: conf‹, uid: '5'›}]",
    "configs: [{source: conf‹, gid: '5'›}]",
    "configs: [{source: conf‹, mode: 0400›}]",
    "‹container_name: boss›",
    "‹cpu_count: 2›",
    "‹cpu_percent: 50›",
    "‹cpu_shares: 512›",
    "‹cpu_quota: 50000›",
    "cpu_quota: 50000‹\n    cpu_period: 50000›",
    "‹cpu_period: 50000›",
    "‹cpu_rt_period: 1400us›",
    "‹cpu_rt_runtime: 400ms›",
    "‹cpus: 0.5›",
    "‹cpuset: '0'›",
    "‹credential_spec: {file: x.json}›",
    "‹depends_on: [db]›",
    "depends_on: {db: {‹condition: service_healthy›}}",
    "depends_on: {db: {condition: service_started‹, restart: true›}}",
    "depends_on: {db: {condition: service_started‹, required: false›}}",
    "‹develop: {watch: [{path: ., action: sync, target: /x}]}›",
    "‹device_cgroup_rules: ['c 1:3 mr']›",
    "‹devices: ['/dev/fuse']›",
    "devices: [{source: /dev/fuse‹, target: /dev/x›}]",
    "devices: [{source: /dev/fuse‹, permissions: r›}]",
    "‹dns: 10.0.0.1›",
    "‹dns_opt: [ndots:1]›",
    "‹dns_search: example.org›",
    "‹domainname: example.org›",
    "‹entrypoint: [a]›",
    "‹env_file: x.env›",
    "env_file: [{path: none.env‹, required: false›}]",
    "env_file: [{path: x.env‹, format: raw›}]",
    "‹environment: {A: b}›",
    "‹environment: [A=b]›",
    "‹expose: [80]›",
    "‹extends: {service: db}›",
    "extends: {‹file: none.yaml, ›service: db}",
    "‹external_links: [x]›",
    "‹extra_hosts: ['h=192.0.2.1']›",
    "‹gpus: all›",
    "gpus: [{‹driver: amd, ›capabilities: [gpu]}]",
    "gpus: [{capabilities: [gpu]‹, count: 2›}]",
    "gpus: [{capabilities: [gpu]‹, device_ids: ['0']›}]",
    "gpus: [{capabilities: [gpu]‹, options: {a: b}›}]",
    "gpus: [{capabilities: [gpu‹, utility›]}]",
    "gpus: [{‹capabilities: [gpu], ›count: 1}]",
    "‹group_add: ['20']›",
    "‹healthcheck: {test: [CMD, a]}›",
    "healthcheck: {test: [CMD, a]‹, interval: 5s›}",
    "healthcheck: {test: [CMD, a]‹, timeout: 5s›}",
    "healthcheck: {test: [CMD, a]‹, retries: 5›}",
    "healthcheck: {test: [CMD, a]‹, start_period: 1m30s›}",
    "healthcheck: {test: [CMD, a]‹, start_interval: 2s›}",
    "healthcheck: {test: [CMD, a]‹, disable: true›}",
    "‹hostname: h›",
    "‹init: true›",
    "‹ipc: host›",
    "‹ipc: 'service:db'›",
    "‹isolation: hyperv›",
    "‹labels: {a: b}›",
    "‹label_file: x.labels›",
    "‹links: ['db:pg']›",
    "‹logging: {driver: syslog, options: {a: b}}›",
    "‹mac_address: '02:42:ac:11:65:43'›",
    "‹mem_limit: 64m›",
    "‹mem_reservation: 32m›",
    "‹mem_swappiness: 10›",
    "‹memswap_limit: 1g›",
    "‹models: [llm]›",
    "‹network_mode: host›",
    "‹network_mode: none›",
    "‹networks: [front]›",
    "networks: {front: {‹aliases: [x]›}}",
    "networks: {front: {‹interface_name: eth7›}}",
    "networks: {front: {‹ipv4_address: 10.0.0.7›}}",
    "networks: {front: {‹ipv6_address: '2001:db8::7'›}}",
    "networks: {front: {‹link_local_ips: [169.254.8.8]›}}",
    "networks: {front: {‹mac_address: '02:42:ac:11:65:43'›}}",
    "networks: {front: {‹driver_opts: {a: b}›}}",
    "networks: {front: {‹priority: 5›}}",
    "networks: {front: {‹gw_priority: 5›}}",
    "‹oom_kill_disable: true›",
    "‹oom_score_adj: 5›",
    "‹pid: host›",
    "‹pids_limit: 5›",
    "‹platform: linux/arm64›",
    "‹ports: ['80']›",
    "ports: [{target: 80‹, name: n›}]",
    "ports: [{target: 80‹, mode: host›}]",
    "ports: [{target: 80‹, host_ip: 127.0.0.1›}]",
    "ports: [{target: 80‹, published: '8080'›}]",
    "ports: [{target: 80‹, protocol: udp›}]",
    "ports: [{target: 80‹, app_protocol: http›}]",
    "ports: [{target: 80‹, app_protocol: mysql›}]",
    "‹post_start: [{command: [a]}]›",
    "post_start: [{command: [a]‹, user: root›}]",
    "post_start: [{command: [a]‹, privileged: true›}]",
    "post_start: [{command: [a]‹, working_dir: /w›}]",
    "post_start: [{command: [a]‹, environment: [A=b]›}]",
    "‹pre_stop: [{command: [a]}]›",
    "‹privileged: true›",
    "‹profiles: [x]›",
    "‹provider: {type: x, options: {a: b}}›",
    "‹pull_policy: always›",
    "‹pull_policy: daily›",
    "‹pull_refresh_after: 24h›",
    "‹read_only: true›",
    "‹restart: on-failure›",
    "restart: on-failure‹:3›",
    "‹runtime: kata›",
    "‹scale: 2›",
    "‹security_opt: [no-new-privileges]›",
    "‹security_opt: ['systempaths=unconfined']›",
    "‹shm_size: 64m›",
    "‹secrets: [key]›",
    "secrets: [{source: key‹, target: x›}]",
    "secrets: [{source: key‹, uid: '5'›}]",
    "secrets: [{source: key‹, gid: '5'›}]",
    "secrets: [{source: key‹, mode: 0440›}]",
    "‹sysctls: {net.core.somaxconn: 1024}›",
    "‹stdin_open: true›",
    "‹stop_grace_period: 1m30s›",
    "‹stop_signal: SIGINT›",
    "‹storage_opt: {size: 1G}›",
    "storage_opt: {‹other: x›}",
    "‹tmpfs: /t›",
    "tmpfs: ['/t‹:size=1m›']",
    "‹tty: true›",
    "‹ulimits: {nofile: 5}›",
    "ulimits: {nofile: {soft: 5, hard: 6‹, other: 7›}}",
    "‹use_api_socket: true›",
    "‹user: '5:6'›",
    "‹userns_mode: keep-id›",
    "‹uts: host›",
    "‹volumes: ['data:/d']›",
    "volumes: ['data:/d‹:ro›']",
    "volumes: ['data:/d‹:z›']",
    "volumes: ['data:/d‹:nocopy›']",
    "volumes: ['data:/d‹:bogus›']",
    "volumes: [{type: volume, source: data, target: /d‹, read_only: true›}]",
    "volumes: [{type: volume, source: data, target: /d‹, consistency: cached›}]",
    "volumes: [{type: bind, source: /x, target: /d, bind: {‹propagation: rshared›}}]",
    "volumes: [{type: bind, source: /x, target: /d, bind: {‹create_host_path: false›}}]",
    "volumes: [{type: bind, source: /x, target: /d, bind: {‹recursive: disabled›}}]",
    "volumes: [{type: bind, source: /x, target: /d, bind: {‹selinux: z›}}]",
    "volumes: [{type: volume, source: data, target: /d, volume: {‹labels: {a: b}›}}]",
    "volumes: [{type: volume, source: data, target: /d, volume: {‹nocopy: true›}}]",
    "volumes: [{type: volume, source: data, target: /d, volume: {‹subpath: x›}}]",
    "volumes: [{type: tmpfs, target: /d, tmpfs: {‹size: 1m›}}]",
    "volumes: [{type: tmpfs, target: /d, tmpfs: {‹mode: 0700›}}]",
    "volumes: [‹{type: image, source: a/b/e, target: /d, image: {subpath: x}}›]",
    "volumes: [‹{type: npipe, source: x, target: /d}›]",
    "volumes: [‹{type: cluster, source: data, target: /d}›]",
    "‹volumes_from: [db]›",
    "‹working_dir: /w›",
    // Values that have another meaning than the usual one.
    "‹ports: [22:22]›",
    "‹expose: ['3000-3002']›",
    "‹tty: 'yes'›",
    "‹mem_limit: 1048576›",
];

/// Of its `deploy`.
const DEPLOY: &[&str] = &[
    "‹mode: global›",
    "‹mode: global-job›",
    "‹endpoint_mode: dnsrr›",
    "‹replicas: 2›",
    "‹labels: {a: b}›",
    "‹rollback_config: {parallelism: 2}›",
    "update_config: {‹parallelism: 2›}",
    "update_config: {‹delay: 5s›}",
    "update_config: {‹failure_action: pause›}",
    "update_config: {failure_action: pause}‹\n      x-a: 1\n      labels: [a=b]›",
    "update_config: {‹failure_action: continue›}",
    "update_config: {‹monitor: 60s›}",
    "update_config: {‹max_failure_ratio: 0.1›}",
    "update_config: {‹order: stop-first›}",
    "update_config: {‹other: 1›}",
    "restart_policy: {‹condition: on-failure›}",
    "restart_policy: {‹delay: 5s›}",
    "restart_policy: {‹max_attempts: 3›}",
    "restart_policy: {‹window: 60s›}",
    "placement: {‹constraints: ['node.labels.a == b']›}",
    "placement: {‹constraints: ['node.role == manager']›}",
    "placement: {‹preferences: [{spread: node.labels.rack}]›}",
    "placement: {preferences: [{spread: node.labels.rack‹, other: 1›}]}",
    "placement: {‹max_replicas_per_node: 1›}",
    "resources: {limits: {‹cpus: '0.5'›}}",
    "resources: {limits: {‹memory: 64M›}}",
    "resources: {limits: {‹pids: 5›}}",
    "resources: {reservations: {‹cpus: '0.2'›}}",
    "resources: {reservations: {‹memory: 32M›}}",
    "resources: {reservations: {‹generic_resources: [{discrete_resource_spec: {kind: gpu, value: 2}}]›}}",
    "resources: {reservations: {‹devices: [{capabilities: [gpu], count: 2}]›}}",
];

/// Whole documents.
const TOP: &[&str] = &[
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {‹name: x›}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {‹driver: macvlan›}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {‹driver_opts: {a: b}›}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {ipam: {‹driver: own›}}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {ipam: {‹config: [{subnet: 10.0.0.0/24}]›}}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/24‹, ip_range: 10.0.0.0/25›}]}}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/24‹, gateway: 10.0.0.1›}]}}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/24‹, aux_addresses: {h: 10.0.0.5}›}]}}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {ipam: {‹options: {a: b}›}}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {‹external: true›}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {external: {‹name: x›}}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {‹internal: true›}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {‹enable_ipv4: false›}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {‹enable_ipv6: true›}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {‹attachable: true›}}\n",
    "services: {web: {image: a/b/c, networks: [n]}}\nnetworks: {n: {‹labels: {a: b}›}}\n",
    "services: {web: {image: a/b/c, volumes: ['v:/v']}}\nvolumes: {v: {‹name: x›}}\n",
    "services: {web: {image: a/b/c, volumes: ['v:/v']}}\nvolumes: {v: {‹driver: nfs›}}\n",
    "services: {web: {image: a/b/c, volumes: ['v:/v']}}\nvolumes: {v: {‹driver_opts: {type: nfs}›}}\n",
    "services: {web: {image: a/b/c, volumes: ['v:/v']}}\nvolumes: {v: {‹external: true›}}\n",
    "services: {web: {image: a/b/c, volumes: ['v:/v']}}\nvolumes: {v: {‹labels: [a=b]›}}\n",
    "services: {web: {image: a/b/c}}\nconfigs: {c: {‹content: x›}}\n",
    "services: {web: {image: a/b/c}}\nconfigs: {c: {‹environment: NOT_GIVEN›}}\n",
    "services: {web: {image: a/b/c}}\nconfigs: {c: {‹file: x.env›}}\n",
    "services: {web: {image: a/b/c}}\nconfigs: {c: {‹external: true›}}\n",
    "services: {web: {image: a/b/c}}\nconfigs: {c: {content: x‹, name: y›}}\n",
    "services: {web: {image: a/b/c}}\nconfigs: {c: {content: x‹, labels: {a: b}›}}\n",
    "services: {web: {image: a/b/c}}\nconfigs: {c: {content: x‹, template_driver: golang›}}\n",
    "services: {web: {image: a/b/c}}\nsecrets: {s: {file: x.env‹, name: y›}}\n",
    "services: {web: {image: a/b/c}}\nsecrets: {s: {file: x.env‹, labels: {a: b}›}}\n",
    "services: {web: {image: a/b/c}}\nsecrets: {s: {file: x.env‹, driver: d›}}\n",
    "services: {web: {image: a/b/c}}\nsecrets: {s: {file: x.env‹, driver_opts: {a: b}›}}\n",
    "services: {web: {image: a/b/c}}\nsecrets: {s: {file: x.env‹, template_driver: golang›}}\n",
    "services: {web: {image: a/b/c}}\nsecrets: {s: {external: true‹, driver: d›}}\n",
    "services: {web: {image: a/b/c}}\nsecrets: {s: {external: true‹, file: x.env›}}\n",
    "services: {web: {image: a/b/c}}\nsecrets: {s: {external: true‹, labels: {a: b}›}}\n",
    "services: {web: {image: a/b/c}}\n‹models: {llm: {model: ai/x, context_size: 1024, runtime_flags: [a]}}›\n",
    "services: {web: {image: a/b/c}}\n‹other: {a: b}›\n",
    "services: {web: {image: a/b/c}}\n‹include: [inc.yaml]›\n",
    "services: {web: {image: a/b/c}}\ninclude: [{path: inc.yaml‹, env_file: inc.env›}]\n",
    "services: {web: {image: a/b/c}}\ninclude: [{path: inc.yaml‹, project_directory: sub›}]\n",
    "services: {web: {image: a/b/c}}\ninclude: [{path: inc.yaml‹, other: x›}]\n",
    "services: {web: {image: a/b/c}}\ninclude: [{path: [inc.yaml‹, {a: b}›]}]\n",
    "services: {web: {image: a/b/c}}\ninclude: [‹odd.yaml›]\n",
];

/// Files that lie beside each of them.
const BESIDE: [(&str, &str); 5] = [
    ("x.env", "A='b'\n"),
    ("x.labels", "org.example.tier=web\n"),
    ("inc.yaml", "services: {inc: {image: 'a/b/inc:${V:-none}', volumes: ['./d:/d']}}\n"),
    ("inc.env", "V=1\n"),
    ("odd.yaml", "services: {odd: {image: a/b/odd}}\nnetwork: {a: {}}\n"),
];

#[test]
fn every_key_of_the_specification_is_heard() {
    gantry_testkit::clause("6.3.2.a");
    let rest = "  db:\n    image: a/b/d\n    healthcheck: {test: [CMD, ok]}\n    expose: [5432]\nvolumes: {data: {}}\nnetworks: {front: {}}\nconfigs: {conf: {content: x}}\nsecrets: {key: {content: y}}\n";
    let service = SERVICE.iter().map(|keys| format!("services:\n  web:\n    image: a/b/c\n    {keys}\n{rest}"));
    let deploy = DEPLOY.iter().map(|keys| {
        format!("services:\n  web:\n    image: a/b/c\n    deploy:\n      replicas: 1\n      {keys}\n{rest}")
            .replace("replicas: 1\n      ‹replicas", "‹replicas")
    });
    let texts = service.chain(deploy).chain(TOP.iter().map(|text| (*text).to_owned()));
    let files: BTreeMap<String, Vec<u8>> = BESIDE.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    let silent = unheard(texts, |text| read(&Document { files: &files, ..Document::alone(text) }));
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn labels_come_from_files_and_the_services_own_count_more() {
    let text = "services:\n  web:\n    image: a/b/c\n    label_file: [a.labels, b.labels]\n    labels: {own: '1'}\n";
    let files = [("a.labels", "tier=web\nown=2\n"), ("b.labels", "tier=front\n# none\n")];
    let labels = among(text, &files).unwrap_or_else(|r| panic!("{r:#?}")).model.workloads[&name("web")].labels.clone();
    assert_eq!(labels, BTreeMap::from([("own", "1"), ("tier", "front")].map(|(k, v)| (k.to_owned(), v.to_owned()))));
    assert_eq!(bad(text), [("services.web.label_file[0]".into(), 4), ("services.web.label_file[1]".into(), 4)], "not without the files");
}

#[test]
fn room_on_the_disk_is_limited_and_devices_have_what_is_usual() {
    assert_eq!(web("    storage_opt: {size: 2G}\n").limits.storage_bytes, 2 << 30);
    let devices = web("    devices: [{source: /dev/fuse}, {source: /dev/a, target: /dev/b}, '/dev/c:rw', '/dev/d:/dev/e']\n").devices;
    let all: Vec<(&str, &str, &str)> = devices.iter().map(|d| (d.source.as_str(), d.target.as_str(), d.permissions.as_str())).collect();
    assert_eq!(all, [("/dev/fuse", "/dev/fuse", "rwm"), ("/dev/a", "/dev/b", "rwm"), ("/dev/c", "/dev/c", "rw"), ("/dev/d", "/dev/e", "rwm")]);
    assert_eq!(web("    gpus: [{driver: amd, capabilities: [gpu], count: 2}]\n").extended["amd.com/gpu"], 2);
}

#[test]
fn what_is_included_has_the_values_of_its_own_folder() {
    let text = "name: shop\ninclude: [mon/compose.yaml]\nservices:\n  web: {image: 'a/b/${COMPOSE_PROJECT_NAME}:${TAG:-0}'}\n";
    let files =
        [(".env", "OWN=here\n"), ("mon/.env", "TAG=7\nOWN=there\n"), ("mon/compose.yaml", "services: {mon: {image: 'a/b/mon:${TAG}', hostname: '${OWN}'}}\n")];
    let model = among(text, &files).unwrap_or_else(|r| panic!("{r:#?}")).model;
    let of = |w: &str| (model.workloads[&name(w)].image.as_str(), model.workloads[&name(w)].hostname.as_str());
    assert_eq!([of("web"), of("mon")], [("a/b/shop:0", ""), ("a/b/mon:7", "here")], "the document's own values count more");
    let without = read(&Document::alone(text)).remarks.needs();
    assert!(without.contains("mon/.env") && without.contains("mon/compose.yaml"), "{without:?}");
}

#[test]
fn sections_of_an_included_file_are_told_as_those_of_the_document() {
    let told = |included: &str| among("include: [a.yaml]\nservices: {w: {image: x}}\n", &[("a.yaml", included)]).expect_err(included);
    for (included, path) in [
        ("services: {b: {image: x}}\nx-gantry: {release: {}}\n", "x-gantry"),
        ("services: {b: {image: x}}\nnetwork: {a: {}}\n", "network"),
        ("services: {b: {image: x}}\nvolumes: [data]\n", "volumes"),
    ] {
        let found = told(included);
        assert!(found.iter().any(|r| (r.file.as_str(), r.line, r.path.as_str()) == ("a.yaml", 2, path)), "{included}: {found:?}");
    }
}
