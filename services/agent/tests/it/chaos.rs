//! Whatever is killed, the wanted state is reached again: nothing twice, nothing left over.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use gantry_contract::proto::scheduler as wire;

use crate::stage::{Stage, id, service, web};

fn kill(pid: u32) {
    // Gone already is as well.
    let _ = Command::new("kill").args(["-9", &pid.to_string()]).output();
}

/// Numbers that look like chance and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // xorshift64 (Marsaglia, 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_random_kills_everything_runs_once_and_nothing_leaks() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("7.1.e");
    let mut node = stage.agent().await;
    let with_volume = |n: u8| {
        let mount = wire::Mount { kind: "volume".into(), source: format!("v{n}"), target: "/data".into(), size_bytes: 16 << 20, ..Default::default() };
        let secret =
            wire::FileContent { path: "/run/secrets/key".into(), content: b"key".to_vec(), folder: "/run/secrets".into(), live: true, ..Default::default() };
        wire::WantedInstance { mounts: vec![mount], files: vec![secret], ..web(n, "x") }
    };
    let all = || (1..=3).map(with_volume).collect::<Vec<_>>();
    stage.want(&node, all(), [service(&[1, 2, 3])]);
    stage.until("all run", || stage.ready(&node).len() == 3).await;

    let (mut dice, end, mut kills) = (Dice(0x9E37_79B9_7F4A_7C15), Instant::now() + Duration::from_secs(25), [0; 4]);
    while Instant::now() < end {
        let what = dice.roll(4);
        kills[what] += 1;
        match what {
            0 => {
                let found = stage.containerd.cri().await.list_containers(&node.own()).await.unwrap_or_default();
                if let Some(one) = found.get(dice.roll(found.len().max(1)))
                    && let Ok(status) = stage.containerd.cri().await.container_status(&one.id).await
                    && let Some(pid) = status.pid
                {
                    kill(pid);
                }
            }
            1 => {
                let shims = stage.containerd.shims();
                if let Some(pid) = shims.get(dice.roll(shims.len().max(1))) {
                    kill(*pid);
                }
            }
            2 => stage.containerd.crash().await,
            _ => {
                stage.stop_agent(node).await;
                node = stage.agent().await;
            }
        }
        // Faults come now and then, and meet every stage of what the one before set off.
        tokio::time::sleep(Duration::from_millis(200 + 100 * dice.roll(15) as u64)).await;
    }
    eprintln!("killed: {} containers, {} shims, {} times containerd, {} times the agent", kills[0], kills[1], kills[2], kills[3]);
    let end = Instant::now() + Duration::from_secs(120);
    while stage.ready(&node).len() != 3 {
        assert!(Instant::now() < end, "{:?}", node.shared.status.borrow());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let cri = stage.containerd.cri().await;
    stage.until("old pods are gone", || node.shared.pods.borrow().len() == 3).await;
    for n in 1..=3 {
        let own = BTreeMap::from([("gantry.io/instance".to_owned(), id(n).to_string())]);
        let running = cri.list_containers(&own).await.unwrap().into_iter().filter(|c| c.state == gantry_cri::ContainerState::Running).count();
        assert_eq!(running, 1, "instance {n} runs {running} times");
    }
    // Each instance has its own address, and no other is taken.
    let leases = || {
        let folder = stage.containerd.folder.path().join("ipam");
        let networks = std::fs::read_dir(folder).into_iter().flatten().flatten();
        networks
            .flat_map(|n| std::fs::read_dir(n.path()).into_iter().flatten().flatten())
            .filter(|f| f.file_name().to_string_lossy().starts_with("10."))
            .count()
    };
    stage.until("no address is leaked", || leases() == 3).await;
    // What is in memory is there once for each of them.
    let in_memory = || {
        let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let home = stage.home.display().to_string();
        table.lines().filter(|l| l.contains(&home) && l.split(' ').nth(1).is_some_and(|point| point.ends_with("/memory"))).count()
    };
    stage.until("configs and secrets are in memory once", || in_memory() == 3).await;
    stage.want(&node, [], []);
    stage.until("nothing is left", || node.shared.pods.borrow().is_empty()).await;
    stage.until("no secrets stay in memory", || in_memory() == 0).await;
    stage.until("no address is taken", || leases() == 0).await;
    let namespaces = std::fs::read_dir(stage.containerd.folder.path().join("state")).unwrap().flatten().map(|e| e.path().join("netns"));
    let left: Vec<_> = namespaces.filter_map(|p| std::fs::read_dir(p).ok()).flatten().flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "network namespaces are left: {left:?}");
    // Mounts and shims are counted there.
    stage.finish(node).await;
}
