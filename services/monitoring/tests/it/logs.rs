//! Lines in, lines out.

use gantry_auth::AccessClaims;
use gantry_kernel::{Role, Uuid};
use gantry_testkit::{clause, neighbours};
use serde_json::Value;

use crate::place::{LONG, Place, events_until};

fn texts(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("a list").iter().filter_map(|l| l["text"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_read_in_order_across_instances_and_a_repeated_batch_shows_once() {
    clause("6.6.2.2.a");
    let place = Place::open(|_| {}).await;
    let t = place.host.env.now() - time::Duration::minutes(10);
    let at = |s: i64| t + time::Duration::seconds(s);
    let (a, b) = (Uuid::now_v7(), Uuid::now_v7());
    let first = place.batch(a, 0, &[(at(0), "a0"), (at(2), "a2")]);
    for batch in [&first, &first, &place.batch(b, 0, &[(at(1), "b1"), (at(3), "b3 100% _x")]), &first, &place.batch(a, 40, &[(at(4), "a4")])] {
        place.print(batch).await;
    }
    let path = place.path("logs");
    place.world.until("all lines are in", LONG, || async { texts(&place.get(&path, &place.reader).await.1).contains(&"a4") }).await;
    let (_, page) = place.get(&path, &place.reader).await;
    assert_eq!(texts(&page), ["a0", "b1", "a2", "b3 100% _x", "a4"]);

    let (_, page) = place.get(&format!("{path}?limit=2"), &place.reader).await;
    assert_eq!(texts(&page), ["b3 100% _x", "a4"]);
    let older = page["next"].as_str().expect("there is more").to_owned();
    let (_, page) = place.get(&format!("{path}?limit=10&cursor={older}"), &place.reader).await;
    assert_eq!(texts(&page), ["a0", "b1", "a2"]);
    let (_, page) = place.get(&format!("{path}?instance={b}"), &place.reader).await;
    assert_eq!(texts(&page), ["b1", "b3 100% _x"]);
    let (_, page) = place.get(&format!("{path}?q=100%25"), &place.reader).await;
    assert_eq!(texts(&page), ["b3 100% _x"]);
    let (_, page) = place.get(&format!("{path}?since=5m"), &place.reader).await;
    assert!(texts(&page).is_empty());
    let download = place.open_stream(&format!("{path}?format=text"), &place.reader, None).await.text().await.expect("text");
    assert_eq!(download.lines().count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_the_last_lines_then_new_ones_and_goes_on_after_a_break() {
    clause("6.6.2.3.a");
    let place = Place::open(|_| {}).await;
    let (now, instance) = (place.host.env.now(), Uuid::now_v7());
    place.print(&place.batch(instance, 0, &[(now, "one")])).await;
    let path = place.path("logs");
    place.world.until("the line is in", LONG, || async { texts(&place.get(&path, &place.reader).await.1) == ["one"] }).await;
    let follow = format!("{path}?follow=true");
    let mut stream = place.open_stream(&follow, &place.reader, None).await;
    let got = events_until(&mut stream, |e| e.len() == 1).await;
    assert_eq!(got[0].1["text"], "one");
    place.print(&place.batch(instance, 10, &[(now, "two")])).await;
    let got = events_until(&mut stream, |e| !e.is_empty()).await;
    assert_eq!(got[0].1["text"], "two");
    drop(stream);
    place.print(&place.batch(instance, 20, &[(now, "three"), (now, "four")])).await;
    let mut stream = place.open_stream(&follow, &place.reader, Some(&got[0].0)).await;
    let got = events_until(&mut stream, |e| e.len() == 2).await;
    assert_eq!((got[0].1["text"].as_str(), got[1].1["text"].as_str()), (Some("three"), Some("four")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_any_more_follows_no_further() {
    let place = Place::open(|_| {}).await;
    let (now, instance) = (place.host.env.now(), Uuid::now_v7());
    let (guest, scope) = (place.world.user(), place.space.scope());
    let subject = format!("user:{guest}");
    let binding = place.world.identity.grant(&subject, Role::Viewer, scope).await;
    place.world.identity.settle(&place.host).await;
    place.print(&place.batch(instance, 0, &[(now, "one")])).await;
    let path = place.path("logs");
    place.world.until("the line is in", LONG, || async { texts(&place.get(&path, &place.reader).await.1) == ["one"] }).await;
    let mut stream = place.open_stream(&format!("{path}?follow=true"), &place.world.token(guest, "guest"), None).await;
    assert_eq!(events_until(&mut stream, |e| e.len() == 1).await[0].1["text"], "one");
    place.world.identity.revoke(binding, &subject, Role::Viewer, scope).await;
    place.world.identity.settle(&place.host).await;
    place.print(&place.batch(instance, 10, &[(now, "two")])).await;
    let rest = tokio::time::timeout(gantry_testkit::patience(LONG), stream.text()).await.expect("it ends").expect("readable");
    assert!(rest.contains("event: problem") && !rest.contains("two"), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn followed_lines_and_events_end_with_the_sign_in_they_were_opened_with() {
    let place = Place::open(|_| {}).await;
    place.world.start::<neighbours::Identity>(Default::default()).await;
    let (now, issuer) = (place.host.env.now().unix_timestamp(), place.world.running.platform.public_url.clone());
    let token = |session: String| {
        place.world.sign(&AccessClaims {
            iss: issuer.clone(),
            sub: format!("user:{}", place.admin_id),
            aud: issuer.clone(),
            exp: now + 600,
            iat: now,
            jti: place.host.uuid().to_string(),
            client_id: "test".into(),
            scope: "openid".into(),
            preferred_username: Some("ada".into()),
            sid: Some(session),
            amr: vec!["pwd".into()],
            act: None,
            cnf: None,
        })
    };
    let follow = format!("{}?follow=true", place.path("logs"));
    let ending = token(format!("until:{}", now + 1));
    let mut staying = place.open_stream(&follow, &token("another".into()), None).await;
    let both = [follow.as_str(), "/api/v1/events"];
    let streams = [place.open_stream(both[0], &ending, None).await, place.open_stream(both[1], &ending, None).await];
    for (path, stream) in both.into_iter().zip(streams) {
        assert_eq!(stream.status(), 200);
        let rest = tokio::time::timeout(gantry_testkit::patience(LONG), stream.text()).await.expect("it ends").expect("readable");
        assert!(rest.contains("event: problem") && rest.contains("sign-in"), "{path}: {rest}");
    }
    let instance = Uuid::now_v7();
    place.print(&place.batch(instance, 0, &[(place.host.env.now(), "one")])).await;
    assert_eq!(events_until(&mut staying, |e| !e.is_empty()).await[0].1["text"], "one", "another sign-in stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reads_an_applications_lines() {
    let place = Place::open(|_| {}).await;
    let path = place.path("logs");
    assert_eq!(place.get(&path, &place.stranger).await.0, 404);
    assert_eq!(place.get(&place.path("metrics"), &place.stranger).await.0, 404);
    assert_eq!(place.get(&path.replace("/web/", "/none/"), &place.reader).await.0, 404);
    for bad in ["limit=0", "limit=x", "since=yesterday", "stream=stdin", "format=xml", "lines=3", "cursor=z"] {
        assert_eq!(place.get(&format!("{path}?{bad}"), &place.reader).await.0, 400, "{bad}");
    }
}
