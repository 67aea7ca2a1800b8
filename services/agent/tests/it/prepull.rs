//! Images that are to be on a node before an instance needs them, on a real containerd.

use gantry_contract::proto::scheduler as wire;

use crate::stage::{Stage, web};

fn image(name: &str) -> wire::WantedImage {
    wire::WantedImage { image: name.into(), credential: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_asked_for_are_told_of_and_kept() {
    let Some(stage) = Stage::new().await else { return };
    let node = stage.agent().await;
    let cri = stage.containerd.cri().await;
    stage.containerd.import("gantry.local/ahead:1", &["/bin/busybox"]);
    let gc = gantry_agent::app::image_gc::ImageGc { cri: cri.clone(), shared: node.shared.clone(), home: stage.home.clone(), full_percent: 100 };
    assert!(gc.unneeded().await.unwrap().contains(&"gantry.local/ahead:1".to_owned()));

    // Nobody answers at that registry; the one after it is looked at all the same.
    node.shared.prepull.send_replace(vec![image("127.0.0.1:1/none/none:1"), image("gantry.local/ahead:1")]);
    stage.want(&node, [web(1, "beside")], []);
    let state = |name: &str| {
        let status = node.shared.status.borrow();
        status.images.iter().find(|i| i.image == name).map(|i| (i.state.clone(), i.reason.clone())).unwrap_or_default()
    };
    stage.until("it is there", || state("gantry.local/ahead:1").0 == "present").await;
    stage.until("it says why", || state("127.0.0.1:1/none/none:1").0 == "failed").await;
    assert!(state("127.0.0.1:1/none/none:1").1.contains("127.0.0.1:1"));
    assert!(!gc.unneeded().await.unwrap().contains(&"gantry.local/ahead:1".to_owned()), "it is kept for what comes");

    node.shared.prepull.send_replace(Vec::new());
    stage.until("nothing is said of it any more", || node.shared.status.borrow().images.is_empty()).await;
    assert!(gc.unneeded().await.unwrap().contains(&"gantry.local/ahead:1".to_owned()));
    stage.finish(node).await;
}
