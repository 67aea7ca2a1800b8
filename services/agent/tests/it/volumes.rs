//! Volumes of real containers: the limit is the kernel's, snapshots and copies hold what was in them.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_agent::adapters::volumes::{Owner, VolumeError};
use gantry_contract::proto::scheduler as wire;

use crate::stage::{Stage, id, web};

const MIB: u64 = 1 << 20;

fn keeps(n: u8, size: u64, script: &str) -> wire::WantedInstance {
    let mount = wire::Mount { kind: "volume".into(), source: "a.data".into(), target: "/data".into(), size_bytes: size, ..Default::default() };
    wire::WantedInstance { args: vec!["-c".into(), format!("{script}; sleep 1000")], mounts: vec![mount], probes: vec![], ..web(n, "") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_with_a_size_takes_no_more_and_stays_when_its_instance_goes() {
    let Some(stage) = Stage::new().await else { return };
    for clause in ["6.2.1.h", "6.2.3.2", "6.3.2.g", "7.4.3.e", "7.4.3.f"] {
        gantry_testkit::clause(clause);
    }
    let node = stage.agent().await;
    let log = |n: u8| std::fs::read_to_string(stage.home.join(format!("agent/logs/{}/0.log", id(n)))).unwrap_or_default();
    let own = "dd if=/dev/zero of=/own/x bs=1M count=1 2>/dev/null && echo own";
    let fill = format!("{own}; dd if=/dev/zero of=/data/big bs=1M count=64 2>&1; rm /data/big; echo kept > /data/file; sync; echo done");
    let mut first = keeps(1, 24 * MIB, &fill);
    first.mounts.push(wire::Mount { kind: "volume".into(), source: format!("{}.anonymous-0", id(1)), target: "/own".into(), ..Default::default() });
    stage.want(&node, [first], []);
    stage.until("it has written", || log(1).contains("done")).await;
    let text = log(1);
    assert!(text.contains("No space left") && text.contains("own"), "{text}");

    // While it runs: frozen for the copy, and running on.
    node.volumes.snapshot("a.data", "one").await.unwrap();
    let found = node.volumes.list(|o| o.space == "test").await;
    let data = found.iter().find(|f| f.name == "a.data").unwrap();
    assert_eq!((data.owner.size_bytes, data.owner.app.as_str(), data.snapshots[0].name.as_str()), (24 * MIB, "web", "one"));
    assert!(data.used_bytes > 0 && data.used_bytes <= 25 * MIB, "{data:?}");

    // Gone, and let go: nothing stays mounted, its own volume went along.
    stage.want(&node, [], []);
    stage.until("it is gone", || node.shared.pods.borrow().is_empty()).await;
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap();
    let at = stage.home.join("volumes/a.data").display().to_string();
    stage.until("it is unmounted", || !mounts().contains(&at)).await;
    stage.until("its own volume is gone", || !stage.home.join(format!("volumes/{}.anonymous-0", id(1))).exists()).await;

    // The next one has what was in it, and more room.
    stage.want(&node, [keeps(2, 48 * MIB, "cat /data/file; echo new > /data/file; dd if=/dev/zero of=/data/big bs=1M count=32 2>&1; sync; echo done")], []);
    stage.until("the next has written", || log(2).contains("done")).await;
    assert!(log(2).contains("kept") && !log(2).contains("No space left"), "{}", log(2));
    stage.want(&node, [], []);
    stage.until("it is gone too", || !mounts().contains(&at) && node.shared.pods.borrow().is_empty()).await;

    // Back to the snapshot.
    node.volumes.roll_back("a.data", "one").await.unwrap();
    stage.want(&node, [keeps(3, 48 * MIB, "cat /data/file; echo done")], []);
    stage.until("the third has read", || log(3).contains("done")).await;
    assert!(log(3).contains("kept"), "{}", log(3));
    // More room is taken while it runs, where the kernel lets this process; elsewhere with the next instance.
    let room = || {
        let seen = rustix::fs::statvfs(stage.home.join("volumes/a.data")).unwrap();
        seen.f_blocks * seen.f_frsize
    };
    assert!(room() < 48 * MIB);
    node.volumes.prepare("a.data", &Owner { size_bytes: 96 * MIB, ..data.owner.clone() }).await.unwrap();
    if gantry_agent::adapters::volumes::may_grow_mounted().await {
        assert!(room() > 64 * MIB, "{}", room());
    } else {
        eprintln!("without CAP_SYS_RESOURCE a volume in use does not grow: this was not tried");
    }
    stage.want(&node, [], []);
    stage.until("the third has let go", || !mounts().contains(&at) && node.shared.pods.borrow().is_empty()).await;
    stage.want(&node, [keeps(4, 96 * MIB, "df -m /data; echo done")], []);
    stage.until("the fourth has looked", || log(4).contains("done")).await;
    assert!(room() > 64 * MIB, "{}", room());
    stage.want(&node, [], []);
    stage.until("all is gone", || !mounts().contains(&at) && node.shared.pods.borrow().is_empty()).await;

    // Its content elsewhere, as a backup or a copy has it.
    let mut archive = Vec::new();
    let reading = node.volumes.read("a.data", "").await.unwrap();
    gantry_agent::adapters::copying::pack_folder(&reading.path, &mut archive).unwrap();
    node.volumes.done(reading).await;
    let filling = node.volumes.fresh("b.data", &Owner { app_id: "b".into(), space: "test".into(), size_bytes: 24 * MIB, ..Owner::default() }).await.unwrap();
    gantry_agent::adapters::copying::unpack_folder(&filling.path, &archive[..]).unwrap();
    assert_eq!(std::fs::read_to_string(filling.path.join("file")).unwrap(), "kept\n");
    node.volumes.done(filling).await;
    node.volumes.filled("b.data").await.unwrap();
    let filled = node.volumes.read("b.data", "").await.unwrap();
    assert_eq!(std::fs::read_to_string(filled.path.join("file")).unwrap(), "kept\n");
    node.volumes.done(filled).await;
    let old = node.volumes.read("a.data", "one").await.unwrap();
    assert_eq!(std::fs::read_to_string(old.path.join("file")).unwrap(), "kept\n");
    node.volumes.done(old).await;
    for name in ["a.data", "b.data"] {
        node.volumes.delete(name).await.unwrap();
    }
    assert!(matches!(node.volumes.delete("a.data").await, Err(VolumeError::Missing(_))));
    assert!(!mounts().contains(&stage.home.display().to_string()));
    tokio::time::timeout(Duration::from_secs(60), stage.finish(node)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pod_has_left_that_was_taken_away_by_hand_is_cleared() {
    let Some(stage) = Stage::new().await else { return };
    let node = stage.agent().await;
    let log = |n: u8| std::fs::read_to_string(stage.home.join(format!("agent/logs/{}/0.log", id(n)))).unwrap_or_default();
    let left = |n: u8| stage.home.join(format!("agent/instances/{}", id(n))).exists();
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap();
    let at = stage.home.join("volumes/a.data").display().to_string();
    let by_hand = async || {
        let cri = stage.containerd.cri().await;
        for pod in cri.list_pods(&BTreeMap::new()).await.unwrap() {
            // The agent may be about to do the same.
            let _ = cri.stop_pod(&pod.id).await;
            let _ = cri.remove_pod(&pod.id).await;
        }
    };

    // While no agent runs.
    stage.want(&node, [keeps(1, 24 * MIB, "echo kept > /data/file; sync; echo done")], []);
    stage.until("it has written", || log(1).contains("done")).await;
    assert!(mounts().contains(&at) && left(1));
    stage.stop_agent(node.clone()).await;
    by_hand().await;
    stage.want(&node, [], []);
    let node = stage.agent().await;
    stage.until("nothing is left of the first", || !mounts().contains(&at) && !left(1)).await;

    // While one runs, and the instance is not wanted any more in the same moment.
    stage.want(&node, [keeps(2, 24 * MIB, "cat /data/file; echo done")], []);
    stage.until("the second has read", || log(2).contains("done")).await;
    assert!(log(2).contains("kept"), "the volume itself stays: {}", log(2));
    stage.want(&node, [], []);
    by_hand().await;
    stage.until("nothing is left of the second", || !mounts().contains(&at) && !left(2)).await;
    stage.finish(node).await;
}
