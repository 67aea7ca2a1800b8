//! What of a request's and an answer's headers crosses the door (RFC 9110 section 7.6, RFC 7239).

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What the door knows about the one who is asking.
pub struct Seen<'a> {
    pub client: IpAddr,
    /// `host[:port]` as the client wrote it.
    pub host: &'a str,
    pub request_id: &'a str,
    pub traceparent: &'a str,
}

/// Headers that belong to one connection and never travel on.
const HOP_BY_HOP: [&str; 8] =
    ["connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding"];

/// Headers by which a client could pretend to be somebody's proxy, or one of us.
const FOREIGN: [&str; 12] = [
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-real-ip",
    "x-original-url",
    "x-rewrite-url",
    "x-client-ip",
];

/// The certificate that a client showed to the door for certificates (RFC 9440).
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// The name of the header that carries the request's id both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Removes what belongs to this connection, and what its `Connection` header names. Keeps `Upgrade` when `upgrade`.
pub fn strip_hop_by_hop(headers: &mut HeaderMap, upgrade: bool) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name: &HeaderName| !(upgrade && name == header::UPGRADE))
        .collect();
    for name in named {
        headers.remove(name);
    }
    remove(headers, |name| HOP_BY_HOP.contains(&name));
    if upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        headers.remove(header::UPGRADE);
    }
}

/// One look at each header there is: mostly fewer than the names that must not be there, each of which would be hashed.
fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name.as_str())).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Makes a client's headers fit to be read by a service: foreign forwarding facts out, ours in.
pub fn prepare(headers: &mut HeaderMap, seen: &Seen<'_>, upgrade: bool) {
    strip_hop_by_hop(headers, upgrade);
    remove(headers, |name| FOREIGN.contains(&name) || name.starts_with("x-gantry-"));
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    let client = seen.client.to_string();
    set("x-forwarded-for", &client);
    set("x-forwarded-proto", "https");
    set("x-forwarded-host", seen.host);
    let node = if seen.client.is_ipv6() { format!("\"[{client}]\"") } else { client };
    set("forwarded", &format!("for={node};host=\"{}\";proto=https", seen.host.replace(['"', '\\'], "")));
    set("x-request-id", seen.request_id);
    set("traceparent", seen.traceparent);
}

/// The `Cookie` header without these cookies; `None` when nothing is left.
pub fn without_cookies(cookie: &str, names: &[&str]) -> Option<String> {
    let ours = |pair: &&str| !pair.is_empty() && !names.contains(&pair.split('=').next().unwrap_or_default());
    let kept: Vec<&str> = cookie.split(';').map(str::trim).filter(ours).collect();
    (!kept.is_empty()).then(|| kept.join("; "))
}

/// The value of one cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen<'static> {
        Seen { client: IpAddr::from([192, 0, 2, 7]), host: "localhost:7443", request_id: "r1", traceparent: "00-x" }
    }

    #[test]
    fn what_a_client_claims_about_its_origin_is_dropped() {
        let mut headers = HeaderMap::new();
        for name in FOREIGN {
            headers.append(name, HeaderValue::from_static("evil"));
        }
        headers.append("x-gantry-peer", HeaderValue::from_static("scheduler"));
        prepare(&mut headers, &seen(), false);
        assert!(headers.values().all(|value| value != "evil" && value != "scheduler"));
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["forwarded"], "for=192.0.2.7;host=\"localhost:7443\";proto=https");
        assert_eq!(headers["x-request-id"], "r1");
    }

    #[test]
    fn headers_named_by_connection_stay_on_this_side() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONNECTION, HeaderValue::from_static("close, X-Secret"));
        headers.append("x-secret", HeaderValue::from_static("1"));
        headers.append(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        headers.append(header::UPGRADE, HeaderValue::from_static("h2c"));
        headers.append(header::ACCEPT, HeaderValue::from_static("*/*"));
        strip_hop_by_hop(&mut headers, false);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn an_upgrade_keeps_the_two_headers_it_needs() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.append(header::UPGRADE, HeaderValue::from_static("websocket"));
        strip_hop_by_hop(&mut headers, true);
        assert_eq!((&headers[header::CONNECTION], &headers[header::UPGRADE]), (&HeaderValue::from_static("upgrade"), &HeaderValue::from_static("websocket")));
    }

    #[test]
    fn the_consoles_cookies_never_reach_a_service() {
        let ours = ["__Host-gantry", "__Host-gantry-login"];
        let given = "__Host-gantry=s; a=b; __Host-gantry-login=x; __Host-gantry_session=theirs";
        assert_eq!(without_cookies(given, &ours).as_deref(), Some("a=b; __Host-gantry_session=theirs"));
        assert_eq!(without_cookies("__Host-gantry=s", &ours), None);
    }
}
