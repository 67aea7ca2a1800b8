use serde_json::json;

use super::*;

fn at(name: &str) -> At {
    ("x".into(), name.into())
}

fn claim(name: &str, class: &str, more: Value) -> Value {
    let mut out = json!({
        "metadata": { "namespace": "x", "name": name, "uid": "u" },
        "spec": { "storageClassName": class, "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    for (key, value) in more.as_object().unwrap() {
        out["spec"][key] = value.clone();
    }
    out
}

fn local(name: &str, size: &str, node: &str) -> Value {
    json!({
        "metadata": { "name": name, "resourceVersion": "7" }, "status": { "phase": "Available" },
        "spec": {
            "storageClassName": "local", "accessModes": ["ReadWriteOnce"], "capacity": { "storage": size },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": "In", "values": [node] }] }] } },
        },
    })
}

fn node(name: &str) -> Node {
    Node { name: name.into(), attributes: BTreeMap::from([(attribute("kubernetes.io/hostname"), name.to_owned())]), ..Node::default() }
}

fn with_classes() -> Storage {
    let mut storage = Storage::default();
    storage.class(&json!({ "metadata": { "name": "now" }, "provisioner": "csi.example.org" }));
    storage.class(&json!({
        "metadata": { "name": "late" }, "provisioner": "csi.example.org", "volumeBindingMode": "WaitForFirstConsumer",
        "allowedTopologies": [{ "matchLabelExpressions": [{ "key": ZONE, "values": ["a"] }] }],
    }));
    storage.class(&json!({ "metadata": { "name": "local" }, "provisioner": NONE_MADE, "volumeBindingMode": "WaitForFirstConsumer" }));
    storage
}

#[test]
fn a_claim_is_not_there_or_waits_for_others_or_for_the_node() {
    let mut storage = with_classes();
    assert!(storage.asked(&[at("none")]).unwrap_err().contains("not found"));
    storage.claim(&claim("now", "now", json!({})));
    assert!(storage.asked(&[at("now")]).unwrap_err().contains("unbound immediate"));
    storage.claim(&claim("late", "late", json!({})));
    let asked = storage.asked(&[at("late")]).unwrap();
    assert_eq!((asked.open.len(), asked.nodes[0][0][0].attribute.as_str()), (1, "node.zone"));
    let steps = storage.take(&asked.open, &node("n1")).unwrap();
    assert_eq!(steps, [Step::Make { claim: at("late") }]);
    // The node is named, then the volume is there, or who makes it takes the name away.
    let mut named = claim("late", "late", json!({}));
    named["metadata"]["annotations"] = json!({ "volume.kubernetes.io/selected-node": "n1" });
    storage.claim(&named);
    assert_eq!(storage.is_bound(&steps[0], "n1"), None);
    storage.claim(&claim("late", "late", json!({})));
    assert_eq!(storage.is_bound(&steps[0], "n1"), Some(false));
    named["spec"]["volumeName"] = "pv".into();
    named["metadata"]["annotations"][COMPLETE] = "yes".into();
    storage.claim(&named);
    assert_eq!(storage.is_bound(&steps[0], "n1"), Some(true));
}

#[test]
fn a_volume_of_the_node_is_taken_once_and_the_smallest_that_is_enough() {
    let mut storage = with_classes();
    for (name, size, host) in [("big", "10Gi", "n1"), ("small", "2Gi", "n1"), ("tiny", "1Mi", "n1"), ("other", "2Gi", "n2")] {
        storage.volume(&local(name, size, host));
    }
    for name in ["one", "two", "three"] {
        storage.claim(&claim(name, "local", json!({})));
    }
    let asked = storage.asked(&[at("one")]).unwrap();
    assert_eq!(asked.nodes[0].len(), 3, "of three volumes that are large enough");
    let taken = |step: &Step| matches!(step, Step::Take { volume, .. } if volume == "small");
    let steps = storage.take(&[at("one")], &node("n1")).unwrap();
    assert!(taken(&steps[0]), "{steps:?}");
    assert!(matches!(&steps[0], Step::Take { version, .. } if version == "7"), "as it was seen: {steps:?}");
    let both = storage.take(&[at("two"), at("three")], &node("n1"));
    assert!(both.unwrap_err().contains("three"), "one is left there");
    storage.give_back(&steps);
    assert_eq!(storage.take(&[at("two"), at("three")], &node("n1")).unwrap().len(), 2);
}

#[test]
fn volumes_that_are_there_say_which_nodes_reach_them_and_are_counted() {
    let mut storage = with_classes();
    storage.volume(&json!({ "metadata": { "name": "pv", "labels": { ZONE: "a__b" } }, "spec": { "csi": { "driver": "csi.example.org" } } }));
    let mut bound = claim("data", "now", json!({ "volumeName": "pv", "accessModes": [ONE_POD] }));
    storage.claim(&bound);
    assert!(storage.asked(&[at("data")]).is_err(), "binding is not complete");
    bound["metadata"]["annotations"] = json!({ COMPLETE: "yes" });
    storage.claim(&bound);
    storage.limit(
        &json!({ "metadata": { "name": "n1" }, "spec": { "drivers": [{ "name": "csi.example.org", "allocatable": { "count": 3 } }, { "name": "any" }] } }),
    );
    let asked = storage.asked(&[at("data")]).unwrap();
    assert_eq!(asked.nodes[0][0][0].values, ["a", "b"]);
    assert_eq!(asked.attached, storage.attached(&[at("data")]));
    assert!(storage.is_for_one(&at("data")) && !storage.is_for_one(&at("none")));
    let (mut here, mut there) = (node("n1"), node("n2"));
    storage.set_limits(&mut here);
    storage.set_limits(&mut there);
    let name = asked.attached.keys().next().unwrap();
    assert_eq!((here.extended[name], there.extended[name], here.extended.len()), (3, UNLIMITED, 1));
    let pod = json!({ "metadata": { "namespace": "x", "name": "p" }, "spec": { "volumes": [
        { "name": "a", "persistentVolumeClaim": { "claimName": "data" } }, { "name": "tmp", "ephemeral": {} }, { "name": "e", "emptyDir": {} },
    ] } });
    assert_eq!(Storage::claims_of(&pod), [at("data"), at("p-tmp")]);
}

#[test]
fn an_older_word_of_a_claim_is_passed_by_unless_it_was_asked_for() {
    let mut storage = with_classes();
    let seen = |storage: &mut Storage, version: &str, class: &str| {
        let mut word = claim("data", class, json!({}));
        word["metadata"]["resourceVersion"] = version.into();
        storage.claim(&word);
        storage.claims[&at("data")].class.clone()
    };
    assert_eq!(seen(&mut storage, "900", "late").as_deref(), Some("late"));
    assert_eq!(seen(&mut storage, "500", "now").as_deref(), Some("late"));
    // After a restore of etcd a list says so.
    storage.claims_asked();
    assert_eq!(seen(&mut storage, "500", "now").as_deref(), Some("now"));
    assert_eq!(seen(&mut storage, "499", "late").as_deref(), Some("now"), "from there as ever");
}
