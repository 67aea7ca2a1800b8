//! A service's public address on its node: there while the scheduler says so, through restarts of the agent, and gone with the word or the lease.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use gantry_agent::adapters::disk::Disk;
use gantry_agent::adapters::haproxy::Haproxy;
use gantry_agent::app::balancer::{Balancer, Listen};
use gantry_agent::app::lease::Lease;
use gantry_agent::domain::wanted::Wanted;
use gantry_agent::node::Node;
use gantry_contract::proto::scheduler as wire;
use tokio::time::Instant;

use crate::stage::{Stage, service, web};

const PORT: u16 = 8099;

/// Of a network for documentation (RFC 5737), so that nobody has it; each test has another one. One that fails takes it away as well.
struct Address(&'static str);

impl Address {
    fn is_there(&self) -> bool {
        let shown = Command::new("ip").args(["-o", "-4", "address", "show", "dev", "lo"]).output().unwrap().stdout;
        String::from_utf8(shown).unwrap().split_whitespace().any(|word| word == format!("{}/32", self.0))
    }

    fn at(&self) -> wire::PublicAddress {
        wire::PublicAddress { address: self.0.into(), port: PORT.into() }
    }

    async fn answers(&self) -> bool {
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(10)).build().unwrap();
        client.get(format!("http://{}:{PORT}/", self.0)).send().await.is_ok_and(|a| a.status().is_success())
    }
}

/// As if the scheduler had heard the node just now.
fn heard(node: &Node) {
    node.shared.lease.send_replace(Lease::new(Instant::now(), Duration::from_secs(3600)));
}

impl Drop for Address {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = Command::new("ip").args(["address", "delete", &format!("{}/32", self.0), "dev", "lo"]).output();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_address_is_there_and_answers_as_long_as_it_is_this_nodes() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("6.3.1.e");
    let public = Address("198.51.100.77");
    let held = || wire::WantedService { public_addresses: vec![public.at()], ..service(&[1]) };
    let node = stage.agent().await;
    heard(&node);
    stage.want(&node, [web(1, "hello")], [held()]);
    stage.until("the instance is in rotation", || stage.rotation(&node).len() == 1).await;
    stage.until("the address is there", || public.is_there()).await;
    let mut tries = 0;
    while !public.answers().await {
        tries += 1;
        assert!(tries < 100, "the address does not answer");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    stage.stop_agent(node).await;
    assert!(public.is_there() && public.answers().await, "it stays while the agent is away");
    let node = stage.agent().await;
    heard(&node);
    stage.until("the next agent has taken over", || stage.rotation(&node).len() == 1).await;
    assert!(public.is_there() && public.answers().await);

    // Nobody hears the node: another one has the address soon.
    node.shared.lease.send_replace(Lease::over());
    stage.until("the address is gone with the lease", || !public.is_there()).await;
    assert_eq!(stage.asks().await, Some(200), "instances go on");
    heard(&node);
    stage.until("the address is back", || public.is_there()).await;

    // Another node has it now.
    stage.want(&node, [web(1, "hello")], [service(&[1])]);
    stage.until("the address is gone", || !public.is_there()).await;
    assert_eq!(stage.asks().await, Some(200), "the service goes on without it");
    stage.finish(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_an_agent_left_behind_is_taken_away_by_the_next() {
    let Some(stage) = Stage::new().await else { return };
    let public = Address("198.51.100.78");
    let node = stage.agent().await;
    heard(&node);
    stage.want(&node, [web(1, "hello")], [wire::WantedService { public_addresses: vec![public.at()], ..service(&[1]) }]);
    stage.until("the address is there", || public.is_there()).await;
    stage.stop_agent(node).await;
    // What the scheduler said meanwhile.
    let disk = Disk::open(stage.home.join("agent/state")).await.unwrap();
    let service = wire::WantedService { listen_port: 0, ..service(&[1]) };
    disk.save_wanted(&wire::WantedState { generation: 100, instances: vec![web(1, "hello")], services: vec![service], ..Default::default() }).await.unwrap();
    let node = stage.agent().await;
    heard(&node);
    stage.until("the address is gone", || !public.is_there()).await;
    stage.finish(node).await;
}

/// HAProxy cannot be started, and the agent is gone before anybody asks why.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_inside_the_node_is_given_back_also_by_an_agent_that_never_came_to_balance() {
    let Some(stage) = Stage::new().await else { return };
    let disk = Disk::open(stage.home.join("agent/state")).await.unwrap();
    let balancer = || {
        let haproxy = Haproxy::new("/nowhere/haproxy".into(), stage.home.join("haproxy"), stage.home.join("haproxy.log"), stage.http_listen().to_string());
        let listen = Listen { address: Ipv4Addr::LOCALHOST.into(), service_network: Some(stage.network()), public_interface: "lo".into() };
        Balancer::open(Arc::new(haproxy), disk.clone(), listen, "a-test")
    };
    let state = wire::WantedState { services: vec![wire::WantedService { listen_port: 0, ..service(&[]) }], ..Default::default() };
    let (wanted, faults) = Wanted::parse(state);
    assert!(faults.is_empty(), "{faults:?}");
    let mut first = balancer().await;
    assert!(first.round(&wanted, &BTreeMap::new(), BTreeSet::new(), &BTreeMap::new(), 0).await.is_err());
    assert_eq!(stage.containerd.subnet.addresses().len(), 1);
    drop(first);

    let mut next = balancer().await;
    next.round(&Wanted::default(), &BTreeMap::new(), BTreeSet::new(), &BTreeMap::new(), 0).await.unwrap();
    assert_eq!(stage.containerd.subnet.addresses(), Vec::<String>::new());
    stage.containerd.finish().await;
}
