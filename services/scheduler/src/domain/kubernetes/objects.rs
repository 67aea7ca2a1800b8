//! Objects of all documents, lists unfolded, with what every object has.

use std::collections::BTreeMap;

use super::serving::{ADDRESSES, POOLS};
use crate::domain::document::Remarks;
use crate::domain::fields::{At, Fields};
use crate::domain::yaml::Node;

pub struct Object<'a> {
    /// "" for the core group; without the version.
    pub group: String,
    pub kind: String,
    pub name: String,
    namespace: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    annotation_lines: BTreeMap<String, u64>,
    /// `Deployment/web`
    pub path: String,
    pub line: u64,
    pub remarks: &'a Remarks,
    /// What has not been read yet.
    pub root: Fields<'a>,
}

impl<'a> Object<'a> {
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    pub fn spec(&self) -> Option<Fields<'a>> {
        let spec = self.root.below("spec");
        if spec.is_none() {
            self.wrong("needs `spec`");
        }
        spec
    }

    /// The one it names; empty if it names none.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The line of an annotation.
    pub fn line_of(&self, annotation: &str) -> u64 {
        self.annotation_lines.get(annotation).copied().unwrap_or(self.line)
    }

    /// Nothing of it is to be listed one by one.
    pub fn all_read(&self) {
        drop(self.root.rest());
    }

    pub fn wrong(&self, detail: &str) {
        self.remarks.wrong(&self.path, self.line, detail);
    }

    pub fn unsupported(&self, detail: &str) {
        self.remarks.unsupported(&self.path, self.line, detail);
    }

    pub fn note(&self, detail: &str) {
        self.remarks.note(&self.path, self.line, detail);
    }
}

/// What is said of texts that a tool was to fill in.
pub const TEMPLATE: &str = "looks like a template: render it first, as with `helm template`";

/// Objects by kind and name; each once.
pub fn gather<'a>(roots: &'a [Node], remarks: &'a Remarks) -> Vec<Object<'a>> {
    let mut out: Vec<Object<'a>> = Vec::new();
    let mut namespaces = BTreeMap::new();
    for (n, node) in roots.iter().enumerate() {
        let at = At { path: format!("document[{n}]"), line: node.line, node, remarks };
        unfold(&at, &mut out, &mut namespaces);
    }
    for (n, (namespace, (path, line))) in namespaces.iter().enumerate() {
        match n {
            0 => remarks.note(path, *line, format!("`{namespace}` has no effect here: the application lives in the space that it is deployed into")),
            _ => remarks.unsupported(path, *line, format!("the namespace `{namespace}` is another one: an application lives in one space")),
        }
    }
    // Once for all: tools write them to each object.
    let mut labelled = out.iter().filter(|o| !o.labels.is_empty() && !o.is("", "Pod"));
    if let Some(first) = labelled.next() {
        let more = labelled.count();
        let whose = if more > 0 { format!("{} and {more} more", first.path) } else { first.path.clone() };
        remarks.note(&format!("{}.metadata.labels", first.path), first.line, format!("labels have no effect here but those of pods: {whose}"));
    }
    out
}

fn unfold<'a>(at: &At<'a>, out: &mut Vec<Object<'a>>, namespaces: &mut BTreeMap<String, (String, u64)>) {
    let root = at.fields();
    let (api, kind) = (root.text("apiVersion"), root.text("kind"));
    if kind.is_empty() || api.is_empty() {
        drop(root.rest());
        at.wrong("an object needs `apiVersion` and `kind`");
        return;
    }
    if kind == "List" || (kind.ends_with("List") && root.has("items")) {
        root.skip(&["metadata"]);
        for item in root.list("items") {
            unfold(&item, out, namespaces);
        }
        return;
    }
    let group = api.rsplit_once('/').map_or("", |(group, _)| group).to_owned();
    let mut name = at.node.nearest(&["metadata", "name"]).scalar().unwrap_or_default();
    if name.is_empty() {
        let generated = at.node.get("metadata").and_then(|m| m.get("generateName")).and_then(Node::scalar);
        generated.unwrap_or_default().trim_end_matches(['-', '.']).clone_into(&mut name);
    }
    // Paths begin with the object instead of the document's number, which nobody counts.
    let path = format!("{kind}/{name}");
    drop(root.rest());
    let own = At { path: path.clone(), line: at.line, node: at.node, remarks: at.remarks };
    let root = own.fields();
    root.skip(&["apiVersion", "kind", "status"]);
    let metadata = root.below("metadata");
    let map = |key: &str| metadata.as_ref().map(|m| m.map(key)).unwrap_or_default();
    let (labels, annotations) = (map("labels"), map("annotations"));
    let annotation_lines = at.node.get("metadata").and_then(|m| m.get("annotations")).and_then(Node::entries).unwrap_or_default();
    let annotation_lines = annotation_lines.iter().map(|e| (e.key.clone(), e.line)).collect();
    let mut given = false;
    let mut own_namespace = String::new();
    if let Some(metadata) = &metadata {
        metadata.skip(&["creationTimestamp", "uid", "resourceVersion", "generation", "managedFields", "selfLink", "deletionTimestamp", "name"]);
        metadata.note(&["ownerReferences", "finalizers"], "has no effect here");
        given = metadata.has("name") || metadata.has("generateName");
        match metadata.take("generateName") {
            Some(at) if metadata.has("name") => at.note("has no effect beside `name`"),
            Some(at) => at.unsupported(format!("no end of a name is made up: it is called `{name}` here, and is the same one in each deployment")),
            None => {}
        }
        if let Some(namespace) = metadata.take("namespace") {
            own_namespace = namespace.text();
            namespaces.entry(own_namespace.clone()).or_insert((namespace.path.clone(), namespace.line));
        }
    }
    if !given {
        own.wrong("needs `metadata.name`");
    }
    if name.contains("{{") {
        own.wrong(TEMPLATE);
    }
    if let Some(known) = out.iter().find(|o| o.kind == kind && o.group == group && o.name == name) {
        if known.namespace == own_namespace {
            own.wrong("is there twice");
        } else {
            own.unsupported("is there in two namespaces: an application lives in one space, so this one is left out");
        }
        drop(root.rest());
        return;
    }
    let (line, remarks) = (at.line, at.remarks);
    out.push(Object { group, kind, name, namespace: own_namespace, labels, annotations, annotation_lines, path, line, remarks, root });
}

/// By it Helm makes objects before or after others, or only to test what it has installed.
const HOOK: &str = "helm.sh/hook";

/// Annotations of objects that have no effect are said so, except those that tools write for themselves.
pub fn note_annotations(object: &Object<'_>) {
    let own = |key: &str| {
        key.contains("kubernetes.io/last-applied")
            || key.starts_with("gantry.io/")
            || key == HOOK
            || key.starts_with("kubectl.")
            || key.starts_with("deployment.kubernetes.io/")
            || (object.kind == "Service" && POOLS.iter().chain(ADDRESSES).any(|read| *read == key))
    };
    if let Some(hook) = object.annotations.get(HOOK) {
        let detail = format!("`{HOOK}: {hook}`: it is made together with all others, and not at a certain moment of an installation or as a test");
        object.remarks.unsupported(&format!("{}.metadata.annotations", object.path), object.line_of(HOOK), detail);
    }
    let others: Vec<&str> = object.annotations.keys().map(String::as_str).filter(|k| !own(k)).collect();
    if let Some(first) = others.first() {
        object.remarks.note(&format!("{}.metadata.annotations", object.path), object.line_of(first), format!("have no effect here: {}", others.join(", ")));
    }
}
