//! What an instance writes on the node's disk is bounded: one that has written too much is ended with its reason, and made anew without it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use gantry_contract::proto::scheduler as wire;

use crate::stage::{Stage, web};

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_writes_too_much_is_ended_and_made_anew() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("6.3.1.h");
    gantry_testkit::clause("6.3.3.h");
    let node = stage.agent().await;
    let mount = |kind: &str, source: &str, target: &str| wire::Mount { kind: kind.into(), source: source.into(), target: target.into(), ..Default::default() };
    // Once alone, as the volume tells: into its own layer, and the other one into its scratch space.
    let writing = |n: u8, file: &str| {
        let once = format!("[ -f /data/{n} ] || {{ touch /data/{n}; dd if=/dev/zero of={file} bs=1M count=40; }}");
        let script = format!("{once}; mkdir -p /www && echo {n} > /www/index.html; exec httpd -f -p 8080 -h /www");
        wire::WantedInstance {
            args: vec!["-c".into(), script],
            mounts: vec![mount("volume", "acme/once", "/data"), mount("scratch", "work", "/work")],
            limits: Some(wire::Resources { storage_bytes: 16 << 20, ..Default::default() }),
            ..web(n, "")
        }
    };
    stage.want(&node, [writing(1, "/big"), writing(2, "/work/big"), web(3, "modest")], []);
    // One may be there again before the other goes.
    let told = RefCell::new(BTreeMap::new());
    let both = || {
        let reasons = [1, 2].map(|n| (n, stage.status(&node, n).reason));
        told.borrow_mut().extend(reasons.into_iter().filter(|(_, reason)| reason.starts_with("evicted: ")));
        told.borrow().len() == 2
    };
    stage.until("the reasons are told", both).await;
    let told = told.take();
    assert!(told[&1].contains("its container has written ") && told[&1].contains("its limit is 16 MiB"), "{told:?}");
    assert!(told[&2].contains("it has written "), "{told:?}");
    stage.until("both are there again", || [1, 2].iter().all(|n| stage.status(&node, *n).ready && stage.status(&node, *n).restarts == 1)).await;
    let scratch = stage.home.join(format!("agent/instances/{}/scratch-work", crate::stage::id(2)));
    assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 0, "scratch space is new");
    assert!(stage.home.join("volumes/acme/once/1").exists(), "volumes stay");
    assert_eq!((stage.status(&node, 3).restarts, stage.status(&node, 3).ready), (0, true));
    stage.finish(node).await;
}
