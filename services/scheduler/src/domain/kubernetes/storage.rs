//! ConfigMaps, Secrets, claims, and the volumes of a pod.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::objects::{Object, note_annotations};
use super::quantity;
use crate::domain::fields::{At, Fields};
use crate::domain::model::{Config, File, Model, Mount, MountKind, Volume};

/// ConfigMaps and Secrets may have one name in Kubernetes and not in the model.
pub fn config_name(name: &str, secret: bool) -> String {
    if secret { format!("{name}.secret") } else { name.to_owned() }
}

/// The object's own name.
pub fn plain(config: &str) -> &str {
    config.strip_suffix(".secret").unwrap_or(config)
}

pub fn config(object: &Object<'_>, model: &mut Model) {
    let (f, secret) = (&object.root, object.kind == "Secret");
    let mut config = Config { secret, kind: f.text("type"), immutable: f.flag("immutable"), ..Config::default() };
    if config.kind == "Opaque" {
        config.kind.clear();
    }
    let encoded = |at: &At<'_>, key: &str, config: &mut Config| {
        let text: String = at.text().chars().filter(|c| !c.is_whitespace()).collect();
        match STANDARD.decode(&text).map(String::from_utf8) {
            Ok(Ok(text)) => drop(config.entries.insert(key.to_owned(), text)),
            Ok(Err(_)) => drop(config.binary.insert(key.to_owned(), text)),
            Err(_) => at.wrong("must be base64"),
        }
    };
    if let Some(data) = f.below("data") {
        for (key, at) in data.rest() {
            if secret {
                encoded(&at, key, &mut config);
            } else {
                config.entries.insert(key.to_owned(), at.text());
            }
        }
    }
    if let Some(data) = f.below("binaryData") {
        for (key, at) in data.rest() {
            // Also if it happens to be text: of these no variables are made (`envFrom`), which could not hold every byte.
            let text: String = at.text().chars().filter(|c| !c.is_whitespace()).collect();
            match STANDARD.decode(&text) {
                Ok(_) => drop(config.binary.insert(key.to_owned(), text)),
                Err(_) => at.wrong("must be base64"),
            }
        }
    }
    // It counts more than `data`, whatever that has under the same key.
    for (key, text) in f.map("stringData") {
        config.binary.remove(&key);
        config.entries.insert(key, text);
    }
    note_annotations(object);
    let name = config_name(&object.name, secret);
    object.remarks.place(format!("configs.{name}"), &object.path, object.line);
    model.configs.insert(name, config);
}

pub fn claim(object: &Object<'_>, model: &mut Model) {
    let Some(spec) = object.spec() else { return };
    let mut volume = claimed(&spec);
    if volume.class.is_empty() {
        volume.class = object.annotations.get("volume.beta.kubernetes.io/storage-class").cloned().unwrap_or_default();
    }
    object.remarks.place(format!("volumes.{}", object.name), &object.path, object.line);
    model.volumes.insert(object.name.clone(), volume);
}

/// The spec of a claim.
pub fn claimed(spec: &Fields<'_>) -> Volume {
    if let Some(at) = spec.take("storageClassName")
        && at.text().is_empty()
    {
        at.unsupported("without a class it would be bound to a volume that somebody made for it: the application gets one of its own");
    }
    let mut volume = Volume { class: spec.text("storageClassName"), access: spec.texts("accessModes").into_iter().collect(), ..Volume::default() };
    if let Some(resources) = spec.below("resources") {
        if let Some(requests) = resources.below("requests")
            && let Some(at) = requests.take("storage")
        {
            volume.size_bytes = at.parsed(quantity::whole, "a quantity such as 10Gi").unwrap_or(0);
        }
        resources.unsupported(&["limits"], "a claim has one size");
    }
    if let Some(at) = spec.take("volumeMode")
        && at.text() != "Filesystem"
    {
        at.unsupported("block devices are not given to containers");
    }
    spec.unsupported(&["volumeName", "selector"], "a certain volume cannot be chosen: the application gets one of its own");
    spec.unsupported(&["dataSource", "dataSourceRef"], "a volume starts empty");
    spec.note(&["volumeAttributesClassName"], "has no effect here");
    volume
}

/// What a volume of a pod is to its containers.
pub enum Source {
    Mount(Mount),
    /// Path below the mount, and the file without its path.
    Files(Vec<(String, File)>),
    /// It was listed; mounts of it are left out.
    Left,
}

/// The volumes of a pod by name.
pub fn volumes(spec: &Fields<'_>, model: &mut Model) -> BTreeMap<String, Source> {
    let mut out = BTreeMap::new();
    for at in spec.list("volumes") {
        let f = at.fields();
        let name = f.text("name");
        let source = source(&at, &f, &name, model);
        out.insert(name, source);
    }
    out
}

fn source(at: &At<'_>, f: &Fields<'_>, name: &str, model: &mut Model) -> Source {
    if let Some(empty) = f.below("emptyDir") {
        let size_bytes = empty.take("sizeLimit").and_then(|at| at.parsed(quantity::whole, "a quantity such as 1Gi")).unwrap_or(0);
        return match empty.text("medium").as_str() {
            "Memory" => Source::Mount(Mount { size_bytes, ..Mount::new(MountKind::Tmpfs, "", "") }),
            medium => {
                if !medium.is_empty() {
                    at.unsupported(format!("the medium `{medium}` is not known: it is a folder of the node's disk"));
                }
                Source::Mount(Mount { size_bytes, ..Mount::new(MountKind::Scratch, name, "") })
            }
        };
    }
    // An `emptyDir:` with nothing after it is one, too.
    if at.node.get("emptyDir").is_some() {
        return Source::Mount(Mount::new(MountKind::Scratch, name, ""));
    }
    if let Some(path) = f.below("hostPath") {
        path.note(&["type"], "the node shows the path as it is");
        return Source::Mount(Mount::new(MountKind::Bind, path.text("path"), ""));
    }
    if let Some(claim) = f.below("persistentVolumeClaim") {
        let name = claim.text("claimName");
        let read_only = claim.flag("readOnly");
        if !model.volumes.contains_key(&name) {
            at.unsupported(format!("the claim `{name}` is not in the document: a new, empty volume stands for it"));
            model.volumes.insert(name.clone(), Volume::default());
        }
        return Source::Mount(Mount { read_only, ..Mount::new(MountKind::Volume, name, "") });
    }
    if let Some(nfs) = f.below("nfs") {
        let read_only = nfs.flag("readOnly");
        return Source::Mount(Mount { read_only, ..Mount::new(MountKind::Nfs, format!("{}:{}", nfs.text("server"), nfs.text("path")), "") });
    }
    if let Some(ephemeral) = f.below("ephemeral") {
        let mut size_bytes = 0;
        if let Some(template) = ephemeral.below("volumeClaimTemplate") {
            template.skip(&["metadata"]);
            let volume = template.below("spec").map(|spec| claimed(&spec)).unwrap_or_default();
            size_bytes = volume.size_bytes;
            if !volume.class.is_empty() {
                at.note(format!("space of the node stands for a volume of the class `{}`", volume.class));
            }
        }
        return Source::Mount(Mount { size_bytes, ..Mount::new(MountKind::Scratch, name, "") });
    }
    for (kind, secret) in [("configMap", false), ("secret", true)] {
        if let Some(reference) = f.take(kind) {
            return Source::Files(files(&reference, secret, 0o644, model));
        }
    }
    if let Some(projected) = f.below("projected") {
        let mode = projected.take("defaultMode").and_then(|at| mode(&at)).unwrap_or(0o644);
        let mut out = Vec::new();
        for at in projected.list("sources") {
            let f = at.fields();
            for (kind, secret) in [("configMap", false), ("secret", true)] {
                if let Some(reference) = f.take(kind) {
                    out.extend(files(&reference, secret, mode, model));
                }
            }
            f.unsupported(&["serviceAccountToken"], "instances get no account of a cluster from the nodes");
            f.unsupported(&["downwardAPI", "clusterTrustBundle", "podCertificate"], "is not supported");
        }
        return Source::Files(out);
    }
    let rest = f.rest();
    match rest.first() {
        Some((kind, at)) => at.unsupported(format!("volumes of kind {kind} are not known")),
        None => return Source::Mount(Mount::new(MountKind::Scratch, name, "")),
    }
    Source::Left
}

fn mode(at: &At<'_>) -> Option<u32> {
    let mode = crate::domain::compose::mode(at.node);
    if mode.is_none() {
        at.wrong("must be a mode such as 0440, or its decimal number");
    }
    mode
}

/// The keys of a ConfigMap or Secret as files: all, or those chosen.
fn files(at: &At<'_>, secret: bool, standard: u32, model: &Model) -> Vec<(String, File)> {
    let f = at.fields();
    let own = if secret && f.has("secretName") { f.text("secretName") } else { f.text("name") };
    let name = config_name(&own, secret);
    let optional = f.flag("optional");
    let standard = f.take("defaultMode").and_then(|at| mode(&at)).unwrap_or(standard);
    let chosen: Vec<(String, String, u32)> = f
        .list("items")
        .iter()
        .map(|item| {
            let i = item.fields();
            (i.text("key"), i.text("path"), i.take("mode").and_then(|at| mode(&at)).unwrap_or(standard))
        })
        .collect();
    let Some(config) = model.configs.get(&name) else {
        if optional {
            at.note(format!("`{own}` is not there and need not be"));
        } else {
            at.unsupported(format!("`{own}` is neither in the document nor kept by the space (`gantry config|secret set`): its files are not there"));
        }
        return Vec::new();
    };
    let file = |key: &str, path: String, mode: u32| {
        let (content, base64) = config.get(key).map(|(c, b)| (c.to_owned(), b))?;
        Some((path, File { content, base64, mode, secret, source: format!("{name}/{key}"), ..File::default() }))
    };
    if chosen.is_empty() {
        let whole = config.entries.keys().chain(config.binary.keys()).filter_map(|key| file(key, key.clone(), standard));
        return whole.map(|(path, file)| (path, File { all_keys: config.external.is_some(), ..file })).collect();
    }
    let mut out = Vec::new();
    for (key, path, mode) in chosen {
        match file(&key, path, mode) {
            Some(found) => out.push(found),
            None if optional => at.note(format!("`{key}` of `{own}` is not there and need not be")),
            None => at.wrong(format!("`{own}` has no key `{key}`")),
        }
    }
    out
}
