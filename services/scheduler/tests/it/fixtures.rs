//! Files that people wrote, unchanged (`/work/shared/fixtures` where it is there): each is read, and what it lacks is said
//! with its line; with that given, each can be deployed. The same for files of our own of the kinds that people write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gantry_scheduler::domain::document::{Document, Level, Reading, Remark};
use gantry_scheduler::domain::export::{Format, export};
use gantry_scheduler::domain::model::Model;
use gantry_scheduler::domain::{compose, kubernetes, lacks, own};

fn read(format: Format, document: &Document<'_>) -> Reading {
    let reading = match format {
        Format::Compose => compose::read(document),
        Format::Kubernetes => kubernetes::read(document),
        Format::Gantry => own::read(document),
    };
    reading.remarks.lacking(lacks::containerd(&reading.model));
    reading
}

/// Name and text of each file, or nothing if the folder is not there.
fn files(kind: &str) -> BTreeMap<String, String> {
    let folder = Path::new("/work/shared/fixtures").join(kind);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("{} is not here: passed by", folder.display());
        return BTreeMap::new();
    };
    let name = |e: &std::fs::DirEntry| e.file_name().to_string_lossy().trim_end_matches(".yaml").to_owned();
    entries.map(|e| e.unwrap()).map(|e| (name(&e), std::fs::read_to_string(e.path()).unwrap())).collect()
}

/// Every refusal has a place, and a line that is one of the file's.
fn told(name: &str, text: &str, remarks: &[Remark]) {
    let lines = text.lines().count() as u64;
    for r in remarks {
        let placed = (1..=lines).contains(&r.line) || r.path == "document";
        assert!(placed && !r.path.is_empty() && r.detail.len() > 5, "{name}: {r:?}");
    }
}

fn refused(name: &str, text: &str, format: Format, with: &Document<'_>) -> Vec<(u64, Level)> {
    match read(format, &Document { text, ..*with }).finish(false) {
        Ok(_) => Vec::new(),
        Err(remarks) => {
            told(name, text, &remarks);
            remarks.into_iter().map(|r| (r.line, r.level)).collect()
        }
    }
}

/// What a file is turned into reads back as the same application.
fn survives(name: &str, model: &Model) {
    for format in [Format::Compose, Format::Kubernetes, Format::Gantry] {
        let text = export(format, "app", model);
        let back = read(format, &Document::alone(&text)).finish(true).unwrap_or_else(|r| panic!("{name} as {format:?}: {r:#?}\n{text}"));
        assert!(back.model == *model, "{name} as {format:?} is another one:\n{text}");
    }
}

#[test]
fn every_compose_file_deploys_or_says_what_it_lacks() {
    gantry_testkit::clause("6.3.2.a");
    let (wrong, not) = (Level::Wrong, Level::Unsupported);
    let expected: BTreeMap<&str, Vec<(u64, Level)>> = [
        ("elasticsearch-logstash-kibana", vec![(25, not), (26, not)]),
        ("flask-redis", vec![(7, wrong), (16, not)]),
        ("nginx-golang-postgres", vec![(3, wrong), (34, not), (48, not)]),
        ("prometheus-grafana", vec![(11, not), (23, not)]),
        ("react-express-mongodb", vec![(3, wrong), (10, not), (20, wrong), (24, not)]),
        ("traefik-golang", vec![(14, wrong)]),
    ]
    .into();
    for (name, text) in files("compose") {
        let found = refused(&name, &text, Format::Compose, &Document::alone(&text));
        assert_eq!(found, expected.get(name.as_str()).cloned().unwrap_or_default(), "{name}");
        // The files it names, and images for what it builds: what a pipeline and the folder have.
        let needs = read(Format::Compose, &Document::alone(&text)).remarks.needs();
        let here: BTreeMap<String, Vec<u8>> = needs.iter().map(|n| (if n == "." { "app.py".into() } else { n.clone() }, b"x".to_vec())).collect();
        let images = ["web", "backend", "frontend"].map(|s| (s.to_owned(), format!("acme/shop/{s}:1"))).into();
        let whole = Document { files: &here, images: &images, ..Document::alone(&text) };
        assert_eq!(refused(&name, &text, Format::Compose, &whole), [], "{name} with all that it needs");
        survives(&name, &read(Format::Compose, &whole).model);
    }
}

#[test]
fn every_kubernetes_file_deploys_or_says_what_it_lacks() {
    gantry_testkit::clause("6.3.2.a");
    let (wrong, not, yet) = (Level::Wrong, Level::Unsupported, Level::NotYet);
    let expected: BTreeMap<&str, Vec<(u64, Level)>> = [
        ("cassandra-service", vec![(1, wrong), (1, not)]),
        ("cassandra-statefulset", vec![(109, not)]),
        ("tensorflow-deployment", vec![(32, not)]),
        ("tensorflow-ingress", vec![(1, wrong)]),
        ("tensorflow-pvc", vec![(1, wrong)]),
    ]
    .into();
    let all = files("kubernetes");
    for (name, text) in &all {
        let found: BTreeSet<(u64, u8)> = refused(name, text, Format::Kubernetes, &Document::alone(text)).into_iter().map(|(l, v)| (l, v as u8)).collect();
        for (line, level) in expected.get(name.as_str()).cloned().unwrap_or_default() {
            assert!(found.contains(&(line, level as u8)), "{name}: {line} is not among {found:?}");
        }
        if name == "guestbook-all-in-one" {
            assert!(found.is_empty(), "{name}: {found:?}");
        }
    }
    // What belongs together: the parts of one application in several files.
    for (name, parts) in [
        ("cassandra", vec!["cassandra-statefulset", "cassandra-service"]),
        ("tensorflow", vec!["tensorflow-deployment", "tensorflow-pvc", "tensorflow-ingress"]),
    ] {
        let texts: Vec<String> = parts.iter().filter_map(|p| all.get(*p).cloned()).collect();
        let Some((first, rest)) = texts.split_first() else { continue };
        let document = Document { overrides: rest, ..Document::alone(first) };
        let reading = read(Format::Kubernetes, &document);
        assert!(!reading.remarks.any_wrong(), "{name}: {:#?}", reading.remarks.into_list());
        let parsed = reading.finish(true).unwrap();
        assert!(parsed.remarks.iter().any(|r| r.level == yet || r.level == not), "{name}");
        survives(name, &parsed.model);
    }
    if let Some(text) = all.get("guestbook-all-in-one") {
        let model = read(Format::Kubernetes, &Document::alone(text)).finish(false).unwrap().model;
        assert_eq!((model.workloads.len(), model.services.len()), (3, 3));
        survives("guestbook", &model);
    }
}

/// Files of our own. The comment `# refused` marks the lines at which they ask for what is not done, `# missing` those for which files, values
/// or images have to come along.
const OWN: [(Format, &str, &str); 15] = [
    (Format::Compose, "wordpress", include_str!("fixtures/compose/wordpress.yaml")),
    (Format::Compose, "nextcloud", include_str!("fixtures/compose/nextcloud.yaml")),
    (Format::Compose, "prometheus", include_str!("fixtures/compose/prometheus.yaml")),
    (Format::Compose, "kafka", include_str!("fixtures/compose/kafka.yaml")),
    (Format::Compose, "elasticsearch", include_str!("fixtures/compose/elasticsearch.yaml")),
    (Format::Compose, "traefik", include_str!("fixtures/compose/traefik.yaml")),
    (Format::Compose, "voting", include_str!("fixtures/compose/voting.yaml")),
    (Format::Compose, "models", include_str!("fixtures/compose/models.yaml")),
    (Format::Compose, "keycloak", include_str!("fixtures/compose/keycloak.yaml")),
    (Format::Compose, "gitlab", include_str!("fixtures/compose/gitlab.yaml")),
    (Format::Kubernetes, "zookeeper", include_str!("fixtures/kubernetes/zookeeper.yaml")),
    (Format::Kubernetes, "edge", include_str!("fixtures/kubernetes/edge.yaml")),
    (Format::Kubernetes, "backup", include_str!("fixtures/kubernetes/backup.yaml")),
    (Format::Kubernetes, "chart", include_str!("fixtures/kubernetes/chart.yaml")),
    (Format::Kubernetes, "kustomized", include_str!("fixtures/kubernetes/kustomized.yaml")),
];

#[test]
fn files_of_the_usual_kinds_deploy_or_say_what_they_lack() {
    gantry_testkit::clause("6.3.2.a");
    let mut other = Vec::new();
    for (format, name, text) in OWN {
        let marked = |marks: &[&str]| -> BTreeSet<u64> {
            text.lines().zip(1..).filter(|(line, _)| marks.iter().any(|mark| line.ends_with(*mark))).map(|(_, number)| number).collect()
        };
        let lines = |document: &Document<'_>| -> BTreeSet<u64> { refused(name, text, format, document).into_iter().map(|(line, _)| line).collect() };
        let mut compare = |what: &str, found: BTreeSet<u64>, marked: BTreeSet<u64>| {
            let (more, less): (Vec<_>, Vec<_>) = (found.difference(&marked).collect(), marked.difference(&found).collect());
            if found != marked {
                other.push(format!("{name}{what}: not marked {more:?}, marked and not refused {less:?}"));
            }
        };
        compare("", lines(&Document::alone(text)), marked(&["# refused", "# missing"]));
        let needs = read(format, &Document::alone(text)).remarks.needs();
        let here: BTreeMap<String, Vec<u8>> = needs.into_iter().map(|need| (need, b"x".to_vec())).collect();
        let images = ["vote", "result", "worker"].map(|s| (s.to_owned(), format!("acme/shop/{s}:1"))).into();
        let values = BTreeMap::from([("GRAFANA_PASSWORD".to_owned(), "hush".to_owned())]);
        let whole = Document { files: &here, images: &images, values: &values, ..Document::alone(text) };
        compare(" with all that it needs", lines(&whole), marked(&["# refused"]));
        survives(name, &read(format, &whole).model);
    }
    assert!(other.is_empty(), "{other:#?}");
}
