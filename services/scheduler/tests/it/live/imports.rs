//! The import itself, and one cluster that is imported twice.

use gantry_kubernetes::Trouble;
use reqwest::Method;
use serde_json::json;

use super::cluster::Live;
use super::documents::WEB;

pub async fn import(live: &Live) {
    let (_, tested) = live.call(Method::POST, "/api/v1/clusters/east/test", None).await;
    assert_eq!(tested["usable"], true, "{tested}");
    println!("{} with {}", tested["version"], tested["capabilities"]);
    let placement = live.place.apps().replace("/apps", "/placement");
    assert_eq!(live.call(Method::PUT, &placement, Some(json!({}))).await.0, 200);
    assert_eq!(live.call(Method::DELETE, "/api/v1/clusters/east", None).await.0, 204);
}

/// The cluster, imported a second time with namespaces of its own, is two clusters to the platform.
pub async fn over_two(live: &Live) {
    let prefix = format!("gantry-live-w{}-", live.mark);
    let second = format!("{prefix}acme-shop-test");
    let body = json!({ "name": "west", "access": { "kubeconfig": live.kubeconfig }, "settings": { "namespace_prefix": prefix } });
    let (status, answer) = live.call(Method::POST, "/api/v1/clusters", Some(body)).await;
    assert_eq!(status, 201, "{answer}");
    let weighed = async |east: u32, west: u32| {
        let west = json!({ "cluster": "west", "weight": west, "overrides": { "env": { "SITE": "west" } } });
        let body = json!({ "clusters": [{ "cluster": "east", "weight": east }, west] });
        let (status, answer) = live.call(Method::PUT, &live.place.apps().replace("/apps", "/clusters"), Some(body)).await;
        assert_eq!(status, 200, "{answer}");
    };
    let asked = async |namespace: &str| match live.client.get(&format!("/apis/apps/v1/namespaces/{namespace}/deployments/shop-web")).await {
        Ok(object) => object["spec"]["replicas"].as_u64(),
        Err(Trouble::NotFound(_)) => None,
        Err(trouble) => panic!("{trouble}"),
    };
    weighed(1, 1).await;
    live.deploy("shop", WEB).await;
    live.reaches("shop", "running", 1).await;
    assert_eq!((asked(&live.namespace).await, asked(&second).await), (Some(1), Some(1)));
    weighed(0, 1).await;
    live.until("all of it is on the second", async || (asked(&live.namespace).await, asked(&second).await) == (None, Some(2))).await;
    live.reaches("shop", "running", 1).await;
    weighed(3, 1).await;
    live.until("all of it is on the first", async || (asked(&live.namespace).await, asked(&second).await) == (Some(2), None)).await;
    live.reaches("shop", "running", 1).await;
    live.leaves_nothing(&["shop"]).await;
    let gone = async || matches!(live.client.get(&format!("/api/v1/namespaces/{second}")).await, Err(Trouble::NotFound(_)));
    live.until("the second namespace is gone", gone).await;
}
