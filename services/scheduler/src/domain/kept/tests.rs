use gantry_kernel::Name;

use super::*;
use crate::domain::document::Kept;
use crate::domain::model::MountKind;
use crate::domain::{compose, kubernetes, own};

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn content(pairs: &[(&str, &str)]) -> Config {
    Config { secret: true, entries: texts(pairs), ..Config::default() }
}

fn version(number: u32, keys: &[&str]) -> Version {
    let keys = keys.iter().map(|k| ((*k).to_owned(), false)).collect();
    Version { config: Uuid::from_u128(1), number, fingerprint: format!("f{number}"), keys }
}

fn kept() -> Kept {
    let kept = |name: &str, secret, keys: &[&str]| ((name.to_owned(), secret), keys.iter().map(|k| (*k).to_owned()).collect());
    Kept::from([kept("db", true, &["password", "user"]), kept("token", true, &["value"]), kept("page", false, &["index.html"])])
}

fn web(model: &Model) -> &crate::domain::model::Workload {
    &model.workloads[&Name::parse("web").unwrap()]
}

#[test]
fn what_is_no_config_is_refused_with_every_fault() {
    assert_eq!(checked(&content(&[("a", "xyz")])).unwrap(), 4);
    let bad = Config { entries: texts(&[("../x", ""), ("ok", "")]), binary: texts(&[("ok", "%%")]), ..Config::default() };
    let faults = checked(&bad).unwrap_err();
    assert_eq!(faults.iter().map(|f| f.0.as_str()).collect::<Vec<_>>(), ["entries.../x", "binary.ok", "binary.ok"]);
    assert_eq!(checked(&Config::default()).unwrap_err()[0].0, "entries");
    let large = content(&[("k", &"x".repeat(1 << 20))]);
    assert!(checked(&large).unwrap_err()[0].1.contains("1 MiB"));
    assert!(checked(&content(&[("k", &"x".repeat((1 << 20) - 1))])).is_ok());
    for (name, good) in [("db_password", true), ("a", true), ("", false), ("-a", false), ("a@2", false), ("a/b", false), (&"x".repeat(201), false)] {
        assert_eq!(checked_name(name).is_ok(), good, "{name}");
    }
}

#[test]
fn a_fingerprint_tells_contents_apart_and_needs_the_salt() {
    let (a, b) = (content(&[("k", "1")]), content(&[("k", "2")]));
    assert_eq!(fingerprint("s", &a), fingerprint("s", &a));
    assert_ne!(fingerprint("s", &a), fingerprint("s", &b));
    assert_ne!(fingerprint("s", &a), fingerprint("t", &a));
    assert_eq!(fingerprint("s", &a).len(), 12);
}

const COMPOSE: &str = "services: {web: {image: a/b/c, secrets: [token, db], configs: [{source: p, target: /srv/index.html}]}}\n\
    secrets: {token: {external: true}, db: {external: true, name: 'db@3'}}\nconfigs: {p: {external: true, name: page}}\n";

fn compose_model() -> Model {
    let kept = kept();
    compose::read(&Document { kept: &kept, ..Document::alone(COMPOSE) }).finish(false).unwrap().model
}

#[test]
fn compose_names_them_external_and_gets_files() {
    let model = compose_model();
    let files: Vec<(&str, &str, &str)> = web(&model).files.iter().map(|f| (f.path.as_str(), f.source.as_str(), f.folder.as_str())).collect();
    // One key is the file; several are a folder of files.
    assert!(files.contains(&("/run/secrets/token", "token.secret/value", "/run/secrets")), "{files:?}");
    assert!(files.contains(&("/run/secrets/db/password", "db.secret/password", "/run/secrets")), "{files:?}");
    assert!(files.contains(&("/srv/index.html", "p/index.html", "")), "{files:?}");
    let asked: Vec<_> = wanted(&model).into_iter().map(|(_, name, secret, version)| (name, secret, version)).collect();
    assert_eq!(asked, [("db".to_owned(), true, Some(3)), ("page".to_owned(), false, None), ("token".to_owned(), true, None)]);
}

#[test]
fn what_the_space_does_not_have_is_told_with_what_to_do() {
    let remarks = compose::read(&Document::alone(COMPOSE)).finish(false).map(|_| ()).unwrap_err();
    assert!(remarks.iter().any(|r| r.detail.contains("gantry secret set token")), "{remarks:?}");
    let of_another_kind = Kept::from([(("token".to_owned(), false), BTreeSet::new())]);
    let text = "services: {web: {image: a/b/c, secrets: [token]}}\nsecrets: {token: {external: true}}\n";
    let remarks = compose::read(&Document { kept: &of_another_kind, ..Document::alone(text) }).finish(false).map(|_| ()).unwrap_err();
    assert!(remarks.iter().any(|r| r.detail.contains("is a config, not a secret")), "{remarks:?}");
}

#[test]
fn a_kubernetes_file_may_name_what_is_not_in_it() {
    let kept = kept();
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  volumes: [{name: s, secret: {secretName: db}}]\n  containers:\n  - name: web\n    image: a/b/c\n    args: ['--token=$(TOKEN)']\n    \
        envFrom: [{secretRef: {name: db}, prefix: DB_}]\n    env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: token, key: value}}}]\n    volumeMounts: [{name: s, mountPath: /etc/db}]\n";
    let model = kubernetes::read(&Document { kept: &kept, ..Document::alone(text) }).finish(false).unwrap().model;
    let sources = &web(&model).env_sources;
    assert_eq!((sources["DB_password"].as_str(), sources["TOKEN"].as_str()), ("db.secret/password", "token.secret/value"));
    assert_eq!(web(&model).args, ["--token=$(TOKEN)"], "filled in where it runs");
    assert!(web(&model).files.iter().all(|f| f.folder == "/etc/db") && web(&model).files.len() == 2);
    assert_eq!(wanted(&model).len(), 2, "what nothing uses is left out");
    assert!(kubernetes::read(&Document::alone(text)).finish(false).is_err());
}

#[test]
fn a_config_and_a_secret_may_have_the_same_name() {
    let mut kept = kept();
    kept.insert(("db".into(), false), BTreeSet::from(["url".to_owned()]));
    let compose = "services: {web: {image: a/b/c, secrets: [db], configs: [db]}}\nsecrets: {db: {external: true}}\nconfigs: {db: {external: true}}\n";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  volumes: [{name: s, secret: {secretName: db}}, {name: c, configMap: {name: db}}]\n  containers:\n  - name: web\n    image: a/b/c\n    \
        volumeMounts: [{name: s, mountPath: /run/secrets/db}, {name: c, mountPath: /db}]\n";
    let of_compose = compose::read(&Document { kept: &kept, ..Document::alone(compose) }).finish(false).unwrap().model;
    let of_kubernetes = kubernetes::read(&Document { kept: &kept, ..Document::alone(pod) }).finish(false).unwrap().model;
    for model in [&of_compose, &of_kubernetes] {
        let asked: Vec<_> = wanted(model).into_iter().map(|(_, name, secret, _)| (name, secret)).collect();
        assert_eq!(asked, [("db".to_owned(), false), ("db".to_owned(), true)]);
        let sources: BTreeSet<&str> = web(model).files.iter().map(|f| f.source.as_str()).collect();
        assert_eq!(sources, BTreeSet::from(["db/url", "db.secret/password", "db.secret/user"]));
    }
}

#[test]
fn our_own_form_names_a_version() {
    let kept = kept();
    let text = "apiVersion: gantry.io/v1\nkind: Application\nmetadata: {name: x}\nspec:\n  configs: {db: {secret: true, external: db, version: 2}}\n  workloads:\n    web:\n      image: a/b/c\n      \
        env_sources: {PASSWORD: db/password}\n";
    let model = own::read(&Document { kept: &kept, ..Document::alone(text) }).finish(false).unwrap().model;
    assert_eq!(wanted(&model), [("db".to_owned(), "db".to_owned(), true, Some(2))]);
}

#[test]
fn a_revision_is_tied_to_versions_and_to_keys_they_have() {
    let mut model = compose_model();
    let found = |keys: &[&str]| {
        BTreeMap::from([
            ("token.secret".to_owned(), version(1, keys)),
            ("db.secret".to_owned(), version(3, &["password", "user"])),
            ("p".to_owned(), version(7, &["index.html"])),
        ])
    };
    let (at, detail) = pin(&mut model.clone(), &found(&["other"])).unwrap_err();
    assert!(at == "workloads.web" && detail.contains("has no key `value`; it has: other"), "{detail}");
    pin(&mut model, &found(&["value"])).unwrap();
    assert_eq!(model.configs["p"].pinned.as_ref().map(|p| p.version), Some(7));
    let mut binary = found(&["value"]);
    binary.get_mut("token.secret").unwrap().keys.insert("value".into(), true);
    model.workloads.values_mut().next().unwrap().env_sources.insert("T".into(), "token.secret/value".into());
    assert!(pin(&mut model, &binary).unwrap_err().1.contains("use it as a file"));
}

#[test]
fn variables_stay_with_the_revision_and_files_follow() {
    let mut model = compose_model();
    model.workloads.values_mut().next().unwrap().env_sources.insert("T".into(), "token.secret/value".into());
    let all = [("token.secret", version(1, &["value"])), ("db.secret", version(3, &["password", "user"])), ("p", version(7, &["index.html"]))];
    pin(&mut model, &all.into_iter().map(|(n, v)| (n.to_owned(), v)).collect()).unwrap();
    let held = |old: &[(&str, &str)], new: &[(&str, &str)]| Contents { pinned: Arc::new(content(old)), live: Arc::new(content(new)) };
    let contents = BTreeMap::from([
        ("token.secret".to_owned(), held(&[("value", "old")], &[("value", "new")])),
        ("db.secret".to_owned(), held(&[("password", "p"), ("user", "u")], &[("password", "q")])),
        ("p".to_owned(), held(&[("index.html", "<p>")], &[("index.html", "<p>")])),
    ]);
    let filled = fill(&model, &contents);
    let web = web(&filled);
    let file = |path: &str| web.files.iter().find(|f| f.path == path).map(|f| (f.content.as_str(), f.live)).unwrap();
    assert_eq!(web.env["T"], "old");
    assert_eq!((file("/run/secrets/token"), file("/run/secrets/db/password"), file("/run/secrets/db/user")), (("new", true), ("q", true), ("u", true)));
    // On a cluster the variables come from an object of their version.
    assert_eq!((web.env_sources["T"].as_str(), filled.configs["token-v1.secret"].entries["value"].as_str()), ("token-v1.secret/value", "old"));
    assert_eq!((filled.configs["token.secret"].entries["value"].as_str(), filled.configs["db.secret"].entries["user"].as_str()), ("new", "u"));
    assert_eq!(uses(&model, "token.secret"), Uses { variables: true, files: true, single_files: false });
    assert_eq!(uses(&model, "p"), Uses { variables: false, files: true, single_files: true });
}

#[test]
fn keys_that_a_new_version_adds_come_to_folders_that_show_all_of_them() {
    let held = |old: &[(&str, &str)], new: &[(&str, &str)]| Contents { pinned: Arc::new(content(old)), live: Arc::new(content(new)) };
    let mut model = compose_model();
    let all = [("token.secret", version(1, &["value"])), ("db.secret", version(3, &["password", "user"])), ("p", version(7, &["index.html"]))];
    pin(&mut model, &all.into_iter().map(|(n, v)| (n.to_owned(), v)).collect()).unwrap();
    let contents = BTreeMap::from([
        ("token.secret".to_owned(), held(&[("value", "v")], &[("value", "v"), ("more", "m")])),
        ("db.secret".to_owned(), held(&[("password", "p"), ("user", "u")], &[("password", "p"), ("host", "h")])),
    ]);
    let filled = fill(&model, &contents);
    let paths: Vec<&str> = web(&filled).files.iter().map(|f| f.path.as_str()).collect();
    // One file is one key, whatever comes; what goes stays as it was; what comes is behind the others, whose places count.
    assert_eq!(paths[..paths.len() - 1], web(&model).files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>());
    let last = web(&filled).files.last().unwrap();
    assert_eq!(
        (last.path.as_str(), last.content.as_str(), last.live, last.added, last.folder.as_str()),
        ("/run/secrets/db/host", "h", true, true, "/run/secrets")
    );
    assert!(fill(&filled, &contents) == filled, "once");

    let kept = kept();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  volumes:\n  - {name: s, secret: {secretName: db}}\n  - {name: i, secret: {secretName: db, items: [{key: user, path: me}]}}\n  \
        containers:\n  - name: web\n    image: a/b/c\n    volumeMounts: [{name: s, mountPath: /etc/db}, {name: i, mountPath: /etc/one}, {name: s, mountPath: /etc/user, subPath: user}]\n";
    let mut model = kubernetes::read(&Document { kept: &kept, ..Document::alone(pod) }).finish(false).unwrap().model;
    let found = |keys: &[&str]| BTreeMap::from([("db.secret".to_owned(), version(4, keys))]);
    pin(&mut model, &found(&["password", "user"])).unwrap();
    let added = |model: &Model| web(model).files.iter().filter(|f| f.added).map(|f| f.path.clone()).collect::<Vec<_>>();
    let contents = BTreeMap::from([("db.secret".to_owned(), held(&[("password", "p"), ("user", "u")], &[("password", "p"), ("user", "u"), ("host", "h")]))]);
    let filled = fill(&model, &contents);
    assert_eq!(added(&filled), ["/etc/db/host"], "chosen keys stay those that were chosen");
    // On a cluster the kubelet shows what comes, and no pod is made anew for it.
    let objects = crate::domain::export::export(crate::domain::export::Format::Kubernetes, "shop", &filled);
    assert!(objects.contains("path: me") && !objects.contains("key: host") && !objects.contains("path: host"), "{objects}");
    // All keys are those that the next version has.
    pin(&mut model, &found(&["host", "user"])).unwrap();
    let below: Vec<&str> = web(&model).files.iter().filter_map(|f| f.path.strip_prefix("/etc/db/")).collect();
    assert_eq!(below, ["user", "host"]);
    assert!(pin(&mut model, &found(&["password"])).is_err(), "a chosen one is missed");
}

#[test]
fn a_folder_with_something_else_in_it_is_not_shown_as_a_whole() {
    let file = |path: &str, folder: &str| File { path: path.into(), folder: folder.into(), ..File::default() };
    let mut files = [file("/run/secrets/a", "/run/secrets"), file("/run/secrets/b", ""), file("/etc/x", "")];
    share_folders(&mut files, &[]);
    assert_eq!(files.iter().map(|f| f.folder.as_str()).collect::<Vec<_>>(), ["/run/secrets", "/run/secrets", ""]);
    share_folders(&mut files, &[Mount::new(MountKind::Tmpfs, "", "/run/secrets/tmp")]);
    assert!(files.iter().all(|f| f.folder.is_empty()));
}

#[test]
fn an_export_names_them_and_holds_nothing_of_them() {
    let mut model = compose_model();
    model.configs.get_mut("token.secret").unwrap().pinned = Some(Pin { config: Uuid::from_u128(1), version: 1, fingerprint: "f".into() });
    for format in [crate::domain::export::Format::Compose, crate::domain::export::Format::Gantry] {
        let text = crate::domain::export::export(format, "shop", &model);
        assert!(text.contains("external") && !text.contains("pinned"), "{text}");
    }
    let kept = kept();
    let text = crate::domain::export::export(crate::domain::export::Format::Gantry, "shop", &model);
    let again = own::read(&Document { kept: &kept, ..Document::alone(&text) }).finish(false).unwrap().model;
    assert_eq!(wanted(&again), wanted(&model));
    let objects = crate::domain::export::export(crate::domain::export::Format::Kubernetes, "shop", &model);
    assert!(!objects.contains("kind: Secret"), "{objects}");
}
