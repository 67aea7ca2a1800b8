//! Against a real cluster: `make test-kubernetes`, with GANTRY_TEST_KUBECONFIG and GANTRY_TEST_IMAGE (an HTTP server on port
//! 8080). Each test has namespaces of its own and leaves nothing behind, also if it fails. Never run by itself; what the cluster
//! lacks is named.

mod cluster;
mod documents;
mod imports;
mod inside;
mod least;
mod objects;
mod releases;

use gantry_testkit::kubernetes::ApiServer;

use cluster::{Live, cleanly};
use imports::{import, over_two};
use inside::inside;
use least::least;
use objects::{changes, drift, instead, kinds, revisions, volumes, words};
use releases::{blue_green, canary, gateway};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn commands_ports_and_logs_of_instances() {
    cleanly(Live::started("g").await, inside).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn each_kind_is_made_and_nothing_is_left_behind() {
    cleanly(Live::started("a").await, kinds).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn revisions_roll_scale_fail_and_are_pruned() {
    cleanly(Live::started("b").await, revisions).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn drift_is_shown_and_corrected_and_what_others_own_stays() {
    cleanly(Live::started("c").await, drift).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn volumes_are_claimed() {
    cleanly(Live::started("d").await, volumes).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_cannot_be_changed_is_made_anew() {
    cleanly(Live::started("f").await, changes).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_there_may_be_one_of_takes_the_place_of_the_one_before() {
    cleanly(Live::started("j").await, instead).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_compose_file_is_taken_without_a_word() {
    cleanly(Live::started("l").await, words).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn blue_green_switches_and_goes_back_without_a_failed_request() {
    cleanly(Live::started("g").await, blue_green).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_canary_grows_and_leaves_without_a_failed_request() {
    cleanly(Live::started("h").await, canary).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_canary_shares_by_the_weights_of_a_route() {
    cleanly(Live::started("i").await, gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_cluster_is_tested_and_forgotten() {
    cleanly(Live::started("e").await, import).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn the_account_of_the_manifest_has_the_rights_that_are_needed() {
    cleanly(Live::started("k").await, least).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn replicas_are_divided_over_two_imports_and_move_between_them() {
    cleanly(Live::started("h").await, over_two).await;
}

/// What the image would answer.
async fn http() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
        }
    });
    port
}

/// The suite itself, where no cluster is: what it asks for is what the API promises, as far as our own server keeps to it.
async fn on_our_own(name: &str) -> Live {
    let server = ApiServer::start().await;
    server.lock().gateway = name == "i";
    server.controllers();
    let port = http().await;
    server.lock().ports.insert(8080, port);
    // What the engine does it may, with no more rights than it says that it needs.
    server.account("least", &gantry_kubernetes::manifest(&gantry_kubernetes::Account::default(), gantry_kubernetes::More::default()));
    Live::on(&server.kubeconfig("good"), &server.kubeconfig("least"), "example.org/web:1".into(), name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_suite_holds_on_our_own_server() {
    kinds(&on_our_own("a").await).await;
    drift(&on_our_own("c").await).await;
    volumes(&on_our_own("d").await).await;
    changes(&on_our_own("f").await).await;
    instead(&on_our_own("j").await).await;
    words(&on_our_own("l").await).await;
    inside(&on_our_own("g").await).await;
    blue_green(&on_our_own("g").await).await;
    canary(&on_our_own("h").await).await;
    gateway(&on_our_own("i").await).await;
    import(&on_our_own("e").await).await;
    least(&on_our_own("k").await).await;
    over_two(&on_our_own("h").await).await;
}
