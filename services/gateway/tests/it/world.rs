//! A door in front of stand-ins for the services.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use gantry_gateway::{Gateway, GatewayConfig};
use gantry_host::Service;
use gantry_host::config::Nothing;
use gantry_testkit::{World, free_address};
use tokio::net::TcpListener;

pub struct Door {
    /// Dropped last: it stops the door.
    pub world: World,
    pub url: String,
    /// Trusts the door's certificate, follows no redirect.
    pub http: reqwest::Client,
    /// The same, never speaking HTTP/2.
    pub http1: reqwest::Client,
}

/// Opens a door before `services`; what is not named is away.
pub async fn door(services: Vec<(&str, Router)>, config: GatewayConfig) -> Door {
    let mut addresses = Vec::new();
    for (name, router) in services {
        addresses.push((name, format!("http://{}", serve(router).await)));
    }
    door_to(addresses, config).await
}

/// Opens a door before services at these addresses.
pub async fn door_to(services: Vec<(&str, String)>, config: GatewayConfig) -> Door {
    let (world, listen) = world(services.into_iter().map(|(name, url)| (name.to_owned(), url)).collect()).await;
    open(world, listen, config).await
}

/// Opens a door in the process of a service; the others are away.
pub async fn door_beside<S: Service<Config = Nothing>>(config: GatewayConfig) -> Door {
    let (world, listen) = world(BTreeMap::from([(S::NAME.to_owned(), String::new())])).await;
    world.start::<S>(Nothing {}).await;
    open(world, listen, config).await
}

/// Where the services are, and where the door will be. Without an address: in this process.
async fn world(mut peers: BTreeMap<String, String>) -> (World, SocketAddr) {
    for name in ["identity", "registry", "scheduler", "cicd", "catalog", "billing", "monitoring"] {
        // Nothing listens on the discard port of this machine.
        peers.entry(name.to_owned()).or_insert_with(|| "http://127.0.0.1:9".to_owned());
    }
    peers.retain(|_, url| !url.is_empty());
    let listen = free_address();
    let world = World::with(|platform| {
        platform.peers = peers;
        platform.public_url = format!("https://localhost:{}", listen.port());
    })
    .await;
    (world, listen)
}

async fn open(world: World, listen: SocketAddr, config: GatewayConfig) -> Door {
    world.start::<Gateway>(GatewayConfig { listen, ..config }).await;
    let ca = reqwest::Certificate::from_pem(world.running.pki().ca_pem.as_bytes()).expect("the authority's certificate");
    let client = || reqwest::Client::builder().tls_certs_only([ca.clone()]).redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(90));
    let (http, http1) = (client().build().expect("a client"), client().http1_only().build().expect("a client"));
    Door { url: format!("https://localhost:{}", listen.port()), http, http1, world }
}

/// Serves on a free port until the test ends.
async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}
