//! Releases: availability, failure, continuation.

use std::time::Duration;

use gantry_contract::proto::scheduler::{AppRef, DeployRequest};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::agent::Agent;
use crate::place::{LONG, Place, config, web};

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_never_has_fewer_in_rotation() {
    for clause in ["6.3.3.f", "6.3.3.r", "6.4.2.2.e"] {
        gantry_testkit::clause(clause);
    }
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 3)).await;
    place.reaches("web", "running", 1).await;
    agent.node.lock().unwrap().fewest = None;
    assert_eq!(place.deploy("web", &web("2", 3)).await.0, 201);
    place.reaches("web", "running", 2).await;
    place.world.until("the old ones are gone", LONG, || async { agent.running().len() == 3 }).await;
    let served_by = |version: char| {
        let mut node = agent.node.lock().unwrap();
        assert!(node.running.values().all(|image| image.ends_with(version)), "{:?}", node.running);
        node.fewest.take()
    };
    assert_eq!(served_by('2'), Some(3), "at every moment three were in rotation");
    // Nor has the way back.
    assert_eq!(place.post(&format!("{}/web/rollback", place.apps()), json!({"revision": 1})).await.0, 200);
    place.reaches("web", "running", 1).await;
    place.world.until("the new ones are gone", LONG, || async { agent.running().len() == 3 }).await;
    assert_eq!(served_by('1'), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_updates_policy_says_how_many_at_once_and_which_go_first() {
    gantry_testkit::clause("6.3.2.r");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let updated = |image: &str, order: &str| web(image, 4).replace("parallelism: 1", &format!("parallelism: 2, order: {order}"));
    place.deploy("web", &updated("1", "stop-first")).await;
    place.reaches("web", "running", 1).await;
    let fewest = || agent.node.lock().unwrap().fewest.take();
    let all_are = |version: char| {
        let node = agent.node.lock().unwrap();
        node.running.len() == 4 && node.running.values().all(|image| image.ends_with(version))
    };
    fewest();
    assert_eq!(place.deploy("web", &updated("2", "stop-first")).await.0, 201);
    place.reaches("web", "running", 2).await;
    place.world.until("all are new", LONG, || async { all_are('2') }).await;
    let seen = fewest().unwrap();
    assert!((2..4).contains(&seen), "two of the four may be missing: {seen} were in rotation");
    assert_eq!(place.deploy("web", &updated("3", "start-first")).await.0, 201);
    place.reaches("web", "running", 3).await;
    place.world.until("all are new again", LONG, || async { all_are('3') }).await;
    assert_eq!(fewest(), Some(4), "none was missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_replaces_all_instances_without_a_gap() {
    gantry_testkit::clause("6.3.3.bb");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    let before = agent.running();
    agent.node.lock().unwrap().fewest = None;
    place.post(&format!("{}/web/restart", place.apps()), json!({})).await;
    place.world.until("all are new", LONG, || async { agent.running().len() == 2 && agent.running().iter().all(|i| !before.contains(i)) }).await;
    assert_eq!(agent.node.lock().unwrap().fewest, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_dies_is_replaced() {
    gantry_testkit::clause("6.3.3.h");
    gantry_testkit::clause("6.3.3.y");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    let victim = agent.running()[0].clone();
    agent.node.lock().unwrap().kill(&victim, 137);
    place.world.until("another runs instead", LONG, || async { agent.running().len() == 2 && !agent.running().contains(&victim) }).await;
    place.reaches("web", "running", 1).await;
    let (_, why) = place.get(&format!("{}/web/why", place.apps())).await;
    let dead = why["instances"].as_array().unwrap().iter().find(|i| i["id"] == victim.as_str()).unwrap();
    assert_eq!((&dead["state"], &dead["exit_code"]), (&json!("exited"), &json!(137)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_does_not_come_up_is_rolled_back() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    {
        let mut node = agent.node.lock().unwrap();
        node.fewest = None;
        node.broken.insert(format!("{:0>64}", 2));
    }
    place.deploy("web", &web("2", 2)).await;
    place.reaches("web", "releasing", 2).await;
    place.reaches("web", "running", 1).await;
    let app = place.app("web").await;
    assert!(app["reason"].as_str().unwrap().contains("revision 2: no progress"), "{app}");
    assert_eq!(agent.node.lock().unwrap().fewest, Some(2), "the old ones served all the time");
    let (_, revisions) = place.get(&format!("{}/web/revisions", place.apps())).await;
    assert_eq!(revisions["items"][0]["current"], false);
    assert_eq!(place.post(&format!("{}/web/rollback", place.apps()), json!({"revision": 9})).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_the_whole_revision_back() {
    gantry_testkit::clause("6.3.3.c");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 1)).await;
    place.reaches("web", "running", 1).await;
    place.deploy("web", &web("2", 1).replace("hunter2", "changed")).await;
    place.reaches("web", "running", 2).await;
    assert_eq!(place.post(&format!("{}/web/rollback", place.apps()), json!({"revision": 1})).await.0, 200);
    place.reaches("web", "running", 1).await;
    let node = agent.node.lock().unwrap();
    let current = node.wanted.instances.iter().find(|i| !i.stopping).unwrap();
    assert_eq!((current.env[0].value.as_str(), current.image.ends_with('1')), ("hunter2", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_scheduler_continues_a_release_in_the_middle() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 3)).await;
    place.reaches("web", "running", 1).await;
    agent.node.lock().unwrap().broken.insert(format!("{:0>64}", 2));
    place.deploy("web", &web("2", 3)).await;
    place.world.until("the release is under way", LONG, || async { place.instances("web").await.len() == 4 }).await;
    agent.node.lock().unwrap().fewest = None;
    // The process ends, its agents lose the stream; another one starts on the same log.
    let place = place.restarted(config()).await;
    agent.attach(&place, "n1", 4000).await;
    agent.node.lock().unwrap().broken.clear();
    place.reaches("web", "running", 2).await;
    place.world.until("the old ones are gone", LONG, || async { agent.running().len() == 3 }).await;
    assert_eq!(agent.node.lock().unwrap().fewest, Some(3), "three served all the time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_deploys_and_watches_until_it_runs() {
    let place = Place::new().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    let mut client = place.applications("cicd");
    let at = AppRef { org: "acme".into(), project: "shop".into(), space: "test".into(), app: "web".into() };
    let request = DeployRequest {
        app: Some(at.clone()),
        format: "compose".into(),
        document: web("${TAG}", 2),
        values: [("TAG".to_owned(), "7".to_owned())].into(),
        reason: "run 1".into(),
        subject: place.subject.clone(),
        idempotency_key: "run-1".into(),
        ..DeployRequest::default()
    };
    let first = client.deploy(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.revision, 1);
    assert_eq!(client.deploy(request).await.unwrap().into_inner(), first, "the same key is the same deployment");
    let mut watch = client.watch(at.clone()).await.unwrap().into_inner();
    let seen = tokio::time::timeout(gantry_testkit::patience(LONG), async {
        loop {
            let app = watch.message().await.unwrap().unwrap();
            if app.state == "running" {
                return app;
            }
        }
    });
    let app = seen.await.unwrap();
    assert_eq!((app.instances.len(), app.endpoints[0].port), (2, 20080));
    client.delete(at.clone()).await.unwrap();
    client.delete(at).await.unwrap();
    let gone = tokio::time::timeout(Duration::from_secs(90), async {
        while let Ok(Some(app)) = watch.message().await {
            if app.state == "deleted" {
                return true;
            }
        }
        false
    });
    assert!(gone.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_depends_waits_and_a_job_runs_once() {
    gantry_testkit::clause("6.3.2.l");
    gantry_testkit::clause("6.3.2.o");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let text = "services:\n  migrate:\n    image: acme/shop/migrate:1\n    deploy: {mode: replicated-job}\n  web:\n    image: acme/shop/web:2\n    depends_on: {migrate: {condition: service_completed_successfully}}\n";
    place.deploy("shop", text).await;
    place.world.until("the job runs", LONG, || async { agent.running().len() == 1 }).await;
    let (_, why) = place.get(&format!("{}/shop/why", place.apps())).await;
    assert_eq!(why["waiting"][0]["reason"], "waits until `migrate` has completed", "{why:#}");
    let job = agent.running()[0].clone();
    agent.node.lock().unwrap().kill(&job, 0);
    place.reaches("shop", "running", 1).await;
    assert_eq!(agent.running().len(), 1, "the web service only");
    assert!(agent.node.lock().unwrap().running.values().all(|i| i.contains("/web@")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_restarted_with_another_one_follows_it() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let text = "services:\n  db:\n    image: acme/shop/db:1\n  web:\n    image: acme/shop/web:1\n    depends_on: {db: {condition: service_started, restart: true}}\n  apart:\n    image: acme/shop/apart:1\n";
    place.deploy("shop", text).await;
    place.reaches("shop", "running", 1).await;
    let before = agent.running();
    let placed = async || {
        let all = place.instances("shop").await;
        let new = all.iter().filter(|i| i["state"] == "running" && !before.iter().any(|b| i["id"] == b.as_str()));
        let at = |i: &serde_json::Value| time::OffsetDateTime::parse(i["placed_at"].as_str().unwrap(), &time::format_description::well_known::Rfc3339).unwrap();
        new.map(|i| (i["workload"].as_str().unwrap().to_owned(), at(i))).collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(place.post(&format!("{}/shop/restart", place.apps()), json!({"workloads": ["db"]})).await.0, 200);
    place.world.until("both are new", LONG, || async { placed().await.len() == 2 && place.instances("shop").await.len() == 3 }).await;
    let new = placed().await;
    assert!(new["web"] > new["db"], "the one that follows comes after: {new:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_too_often_is_given_up_and_whoever_waits_for_it_is_told() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let text = "apiVersion: gantry.io/v1\nkind: Application\nmetadata: {name: shop}\nspec:\n  workloads:\n    migrate: {image: acme/shop/migrate:1, kind: job, restart: on-failure, job: {retries: 1}}\n    web: {image: acme/shop/web:2, depends_on: {migrate: completed}}\n";
    let (status, answer) = place.post(&place.apps(), json!({"name": "shop", "format": "gantry", "document": text, "reason": "test"})).await;
    assert_eq!(status, 201, "{answer:#}");
    place.world.until("the job runs", LONG, || async { agent.running().len() == 1 }).await;
    assert_eq!(agent.node.lock().unwrap().wanted.instances[0].restart_policy, "never", "the node does not try by itself");
    let first = agent.running()[0].clone();
    agent.node.lock().unwrap().kill(&first, 1);
    place.world.until("it is tried again", LONG, || async { agent.running().len() == 1 && agent.running()[0] != first }).await;
    // Who decides next counts the tries of before.
    let place = place.restarted(config()).await;
    agent.attach(&place, "n1", 4000).await;
    let second = agent.running()[0].clone();
    agent.node.lock().unwrap().kill(&second, 1);
    place.reaches("shop", "failed", 1).await;
    let told = || async { place.get(&format!("{}/shop/why", place.apps())).await.1["waiting"].to_string() };
    place.world.until("who waits is told", LONG, || async { told().await.contains("waits for `migrate`, which failed 2 times and is given up") }).await;
    assert!(agent.running().is_empty());
    // Whoever has mended the cause has it tried anew.
    assert_eq!(place.post(&format!("{}/shop/restart", place.apps()), json!({"workloads": ["migrate"]})).await.0, 200);
    place.world.until("the job runs again", LONG, || async { agent.running().len() == 1 }).await;
    let third = agent.running()[0].clone();
    agent.node.lock().unwrap().kill(&third, 0);
    place.reaches("shop", "running", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_done_stays_done_however_many_others_have_ended_since() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let text = "services:\n  migrate:\n    image: acme/shop/migrate:1\n    deploy: {mode: replicated-job}\n  web:\n    image: acme/shop/web:2\n";
    place.deploy("shop", text).await;
    let job = || agent.node.lock().unwrap().running.iter().find(|(_, image)| image.contains("/migrate@")).map(|(id, _)| id.clone());
    place.world.until("the job runs", LONG, async || job().is_some()).await;
    let id = job().unwrap();
    agent.node.lock().unwrap().kill(&id, 0);
    place.reaches("shop", "running", 1).await;
    // As a service that crashed again and again for some hours leaves it.
    let crashed = "insert into instances (id, app, org, project, space, workload, number, revision, node, cpu_millis, memory_bytes, storage_bytes, position,
                       phase, placed_at, changed_at, ended_at)
                   select gen_random_uuid(), app, org, project, space, workload, number, revision, node, 0, 0, 0, position, 'stopped', now(), now(), now()
                   from instances, generate_series(1, 250) where workload = 'web'";
    place.host.db().orm.execute_unprepared(crashed).await.unwrap();
    assert_eq!(place.post(&format!("{}/shop/scale", place.apps()), json!({"workload": "web", "replicas": 2})).await.0, 200);
    place.world.until("two serve", LONG, async || agent.running().len() >= 2).await;
    place.reaches("shop", "running", 1).await;
    assert!(agent.node.lock().unwrap().running.values().all(|image| image.contains("/web@")), "the job is not run again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_whose_release_is_paused_is_stopped_whole() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 3)).await;
    place.reaches("web", "running", 1).await;
    let slow = web("2", 3).replace("monitor: 10s", "monitor: 10s, delay: 1h");
    assert_eq!(place.deploy("web", &slow).await.0, 201);
    let has = |version: char| agent.node.lock().unwrap().running.values().any(|image| image.ends_with(version));
    place.world.until("the first new one runs", LONG, async || has('2')).await;
    let verb = async |verb: &str| place.post(&format!("{}/web/{verb}", place.apps()), json!({})).await.0;
    assert_eq!(verb("release/pause").await, 200);
    assert!(has('1'), "the others wait for an hour");
    assert_eq!(verb("stop").await, 200);
    place.world.until("nothing runs", LONG, async || agent.running().is_empty()).await;
    // What it was doing it goes on with.
    assert_eq!(verb("start").await, 200);
    place.world.until("three run", LONG, async || agent.running().len() >= 3).await;
    assert_eq!(place.app("web").await["release"]["paused"], true);
}
