//! Who may call which RPC. Every public RPC of the descriptors stands in the table; a new one without a line fails the test.

use gantry_kernel::{Role, Scope};
use gantry_testkit::refusals::Stranger::{Hidden, Nothing, Own, Refused};
use gantry_testkit::refusals::{Callers, Line, faults};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::place::{Place, web};

fn with(base: &Value, more: Value) -> Value {
    let both = base.as_object().into_iter().chain(more.as_object()).flatten();
    both.map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// In an order in which an administrator can make all the calls one after
/// another.
fn table() -> Vec<Line> {
    let space = json!({ "org": "acme", "project": "shop", "space": "test" });
    let app = with(&space, json!({ "app": "web" }));
    let instance = with(&app, json!({ "instance": "no-such-instance" }));
    let volume = with(&space, json!({ "volume": "x.none" }));
    let config = with(&space, json!({ "config": "db" }));
    let access = json!({ "server": "https://127.0.0.1:1", "token": "t" });
    vec![
        ("Apps.ListApps", space.clone(), Refused),
        ("Apps.WatchApps", space.clone(), Refused),
        ("Apps.DeployApp", with(&space, json!({ "deployment": { "name": "web", "document": web("9", 1) } })), Refused),
        ("Apps.GetApp", app.clone(), Refused),
        ("Apps.WatchApp", app.clone(), Refused),
        ("Apps.ListRevisions", app.clone(), Refused),
        ("Apps.CompareRevisions", with(&app, json!({ "from": 1 })), Refused),
        ("Apps.ExplainApp", app.clone(), Refused),
        ("Apps.ListSigns", app.clone(), Refused),
        ("Apps.WatchSigns", app.clone(), Refused),
        ("Apps.ListSpaceSigns", space.clone(), Refused),
        ("Apps.WatchSpaceSigns", space.clone(), Refused),
        ("Apps.AcknowledgeSign", with(&space, json!({ "sign": 1, "reason": "look" })), Nothing),
        ("Apps.ExportApp", app.clone(), Refused),
        ("Apps.CheckDocument", with(&space, json!({ "document": web("9", 1) })), Refused),
        ("Apps.DryRunScaleApp", with(&app, json!({ "workload": "web", "replicas": 2 })), Refused),
        ("Apps.ScaleApp", with(&app, json!({ "workload": "web", "replicas": 2 })), Refused),
        ("Apps.DryRunRestartApp", app.clone(), Refused),
        ("Apps.RestartApp", app.clone(), Refused),
        ("Apps.DryRunRollBackApp", with(&app, json!({ "revision": 1 })), Refused),
        ("Apps.RollBackApp", with(&app, json!({ "revision": 1 })), Refused),
        ("Apps.DryRunStopApp", app.clone(), Refused),
        ("Apps.StopApp", app.clone(), Refused),
        ("Apps.DryRunStartApp", app.clone(), Refused),
        ("Apps.StartApp", app.clone(), Refused),
        ("Releases.DryRunPromoteRelease", app.clone(), Refused),
        ("Releases.PromoteRelease", app.clone(), Refused),
        ("Releases.DryRunPauseRelease", with(&app, json!({ "reason": "look" })), Refused),
        ("Releases.PauseRelease", with(&app, json!({ "reason": "look" })), Refused),
        ("Releases.DryRunResumeRelease", app.clone(), Refused),
        ("Releases.ResumeRelease", app.clone(), Refused),
        ("Releases.DryRunAbortRelease", app.clone(), Refused),
        ("Releases.AbortRelease", app.clone(), Refused),
        ("Scaling.ListScaling", app.clone(), Refused),
        ("Scaling.DryRunPauseScaling", with(&app, json!({ "workload": "web" })), Refused),
        ("Scaling.PauseScaling", with(&app, json!({ "workload": "web" })), Refused),
        ("Scaling.DryRunResumeScaling", with(&app, json!({ "workload": "web" })), Refused),
        ("Scaling.ResumeScaling", with(&app, json!({ "workload": "web" })), Refused),
        ("Scaling.ListSizing", app.clone(), Refused),
        ("Instances.ListInstances", app.clone(), Refused),
        ("Instances.WatchInstances", app.clone(), Refused),
        ("Instances.ListProcesses", instance.clone(), Nothing),
        ("Instances.SignalProcess", with(&instance, json!({ "pid": 1, "signal": "TERM" })), Nothing),
        ("Instances.MigrateInstance", with(&instance, json!({ "node": "n1" })), Nothing),
        ("Sessions.Exec", json!({ "start": with(&instance, json!({ "command": ["ls"] })) }), Nothing),
        ("Sessions.Attach", json!({ "start": instance }), Nothing),
        ("Sessions.Forward", json!({ "start": with(&instance, json!({ "port": 80 })) }), Nothing),
        ("Sessions.Download", with(&instance, json!({ "path": "/etc" })), Nothing),
        ("Sessions.Upload", json!({ "start": with(&instance, json!({ "path": "/etc" })) }), Nothing),
        ("Volumes.ListVolumes", space.clone(), Refused),
        ("Volumes.GetVolume", volume.clone(), Nothing),
        ("Volumes.DryRunDeleteVolume", volume.clone(), Nothing),
        ("Volumes.DeleteVolume", volume.clone(), Nothing),
        ("Volumes.DryRunTakeSnapshot", with(&volume, json!({ "named": { "snapshot": "a" } })), Nothing),
        ("Volumes.TakeSnapshot", with(&volume, json!({ "named": { "snapshot": "a" } })), Nothing),
        ("Volumes.DryRunDeleteSnapshot", with(&volume, json!({ "snapshot": "a" })), Nothing),
        ("Volumes.DeleteSnapshot", with(&volume, json!({ "snapshot": "a" })), Nothing),
        ("Volumes.DryRunRollBackVolume", with(&volume, json!({ "named": { "snapshot": "a" } })), Nothing),
        ("Volumes.RollBackVolume", with(&volume, json!({ "named": { "snapshot": "a" } })), Nothing),
        ("Volumes.DryRunCopyVolume", with(&volume, json!({ "copy": { "app": "web", "volume": "data" } })), Nothing),
        ("Volumes.CopyVolume", with(&volume, json!({ "copy": { "app": "web", "volume": "data" } })), Nothing),
        ("Volumes.ListBackups", volume.clone(), Refused),
        ("Volumes.DryRunBackUpVolume", volume.clone(), Nothing),
        ("Volumes.BackUpVolume", volume.clone(), Nothing),
        ("Volumes.DryRunRestoreVolume", with(&volume, json!({ "from": { "backup": "a" } })), Nothing),
        ("Volumes.RestoreVolume", with(&volume, json!({ "from": { "backup": "a" } })), Nothing),
        ("Volumes.DryRunDeleteBackup", with(&volume, json!({ "backup": "a" })), Nothing),
        ("Volumes.DeleteBackup", with(&volume, json!({ "backup": "a" })), Nothing),
        ("Placement.GetPlacement", space.clone(), Refused),
        ("Placement.DryRunSetPlacement", with(&space, json!({ "rules": { "spread": 5 } })), Refused),
        ("Placement.SetPlacement", with(&space, json!({ "rules": { "spread": 5 } })), Refused),
        ("Placement.GetSpaceClusters", space.clone(), Refused),
        ("Placement.SetSpaceClusters", with(&space, json!({ "fleet": {} })), Refused),
        ("Services.ListServices", space.clone(), Refused),
        ("Services.WatchServices", space.clone(), Refused),
        ("Services.RegisterService", with(&space, json!({ "service": "bank", "registration": { "address": "bank.example.org" } })), Refused),
        ("Services.DeregisterService", with(&space, json!({ "service": "bank" })), Refused),
        ("Nodes.ListNodes", json!({}), Refused),
        ("Nodes.WatchNodes", json!({}), Refused),
        ("Nodes.GetNodeSettings", json!({ "node": "n1" }), Refused),
        ("Nodes.SetNodeSettings", json!({ "node": "n1", "settings": { "labels": { "disk": "fast" } } }), Refused),
        ("Nodes.CordonNode", json!({ "node": "n1" }), Refused),
        ("Nodes.PreviewCordon", json!({ "node": "n1" }), Refused),
        ("Nodes.PreviewUncordon", json!({ "node": "n1" }), Refused),
        ("Nodes.UncordonNode", json!({ "node": "n1" }), Refused),
        ("Nodes.DrainNode", json!({ "node": "n1" }), Refused),
        ("Nodes.PreviewDrain", json!({ "node": "n1" }), Refused),
        ("Configs.SetConfig", with(&config, json!({ "content": { "secret": true, "entries": { "content": "x" } } })), Refused),
        ("Configs.ListConfigs", space.clone(), Refused),
        ("Configs.GetConfig", config.clone(), Refused),
        ("Configs.ListConfigVersions", config.clone(), Refused),
        ("Configs.RevealConfig", with(&config, json!({ "asked": { "reason": "look" } })), Refused),
        ("Configs.RollBackConfig", with(&config, json!({ "to": { "version": 1 } })), Refused),
        ("Configs.RollOutConfig", with(&config, json!({ "to": {} })), Refused),
        ("Configs.DeleteConfig", config, Refused),
        ("AddressPools.ListAddressPools", json!({}), Own),
        ("AddressPools.SetAddressPool", json!({ "pool": "office", "settings": { "addresses": ["203.0.113.7"] } }), Refused),
        ("AddressPools.DeleteAddressPool", json!({ "pool": "office" }), Refused),
        ("Clusters.ListClusters", json!({}), Own),
        ("Clusters.GetClusterManifest", json!({}), Own),
        ("Clusters.AddCluster", json!({ "name": "east", "access": access }), Refused),
        ("Clusters.GetCluster", json!({ "cluster": "west" }), Hidden),
        ("Clusters.ChangeClusterAccess", json!({ "cluster": "west", "access": access }), Hidden),
        ("Clusters.SetClusterSettings", json!({ "cluster": "west", "settings": {} }), Hidden),
        ("Clusters.TestCluster", json!({ "cluster": "west" }), Hidden),
        ("Clusters.RemoveCluster", json!({ "cluster": "west" }), Hidden),
        ("Apps.DryRunDeleteApp", app.clone(), Refused),
        ("Apps.DeleteApp", app, Refused),
        ("Nodes.RemoveNode", json!({ "node": "n1", "force": true }), Refused),
        ("Nodes.AdmitNode", json!({ "node": "n1" }), Refused),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_refuses_nobody_and_strangers_and_lets_its_administrator_through() {
    let place = Place::new().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 1)).await;
    place.reaches("web", "running", 1).await;
    let (eve, op) = (place.world.user(), place.world.user());
    for scope in [Scope::Platform, place.space.scope()] {
        place.world.identity.grant(&format!("user:{op}"), Role::Admin, scope).await;
    }
    place.world.identity.settle(&place.host).await;
    let (stranger, admin) = (place.world.token(eve, "eve"), place.world.token(op, "op"));
    let callers = Callers { channel: place.channel("gateway"), stranger: &stranger, administrator: &admin };
    let wrong = faults(&callers, &[gantry_scheduler::OF_REST, gantry_scheduler::BY_HAND].concat(), &table()).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
