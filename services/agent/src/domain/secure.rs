//! Routes over HTTPS: which certificate is shown for which host, and who is led there.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::balance::{Certified, Layout, Shape};
use super::haproxy::Places;
use super::matching::{escaped, quoted};

/// The line by which HTTPS listens: whoever names a host that nobody has a certificate for is not let in.
pub fn bind(address: &str, folder: &str) -> String {
    format!("  bind {address} ssl crt-list {folder}/{CERTIFICATES} strict-sni alpn h2,http/1.1 ssl-min-ver TLSv1.2\n")
}

/// Which certificate is shown for which host.
pub const CERTIFICATES: &str = "certificates.list";
/// Hosts whose plain requests are led to HTTPS (1), and those that are not, though they are below one that is (0).
pub const SECURE: &str = "secure.map";

/// Of its routes.
fn hosts(shape: &Shape) -> impl Iterator<Item = &str> {
    let plain = shape.routes.iter().map(|(host, _)| host.as_str());
    plain.chain(shape.layer7.rules.iter().map(|rule| rule.asked.host.as_str()))
}

/// The certificates of a layout by host; who was there first has it. Nobody's host is led to HTTPS, or shown with a certificate, because
/// another space asks for that.
fn certificates(layout: &Layout) -> BTreeMap<&str, &Certified> {
    let (mut spaces, mut out): (BTreeMap<&str, &str>, BTreeMap<&str, &Certified>) = Default::default();
    for shape in layout.services.values().map(|s| &s.shape) {
        for host in hosts(shape) {
            spaces.entry(host).or_insert(&shape.layer7.space);
        }
        for certified in &shape.layer7.certificates {
            let host = certified.host.as_str();
            if spaces.get(host).is_none_or(|space| *space == shape.layer7.space) {
                out.entry(host).or_insert(certified);
            }
        }
    }
    out
}

/// Lines for [`CERTIFICATES`] and [`SECURE`]. `file`: where a certificate lies; none if it does not.
pub fn files(layout: &Layout, file: impl Fn(&str) -> Option<String>) -> (String, String) {
    let certificates = certificates(layout);
    let (mut list, mut led) = (String::new(), BTreeMap::new());
    for (host, certified) in &certificates {
        let Some(path) = file(&certified.print) else { continue };
        let _ = writeln!(list, "{path} {host}");
        if !certified.plain_http {
            led.insert(*host, 1);
        }
    }
    let below: Vec<&str> = led.keys().copied().filter_map(|host: &str| host.strip_prefix('*')).collect();
    for host in layout.services.values().flat_map(|s| hosts(&s.shape)).filter(|host| below.iter().any(|domain| host.ends_with(domain))) {
        led.entry(host).or_insert(0);
    }
    let led = led.into_iter().filter(|(host, _)| !host.starts_with('*'));
    (list, led.fold(String::new(), |text, (host, led)| format!("{text}{host} {led}\n")))
}

/// Says how a request came, and leads to HTTPS where that is served. What came over HTTPS to a balancer before this one is not led there again:
/// that would never end.
pub fn leading(layout: &Layout, places: &Places) -> String {
    let mut text = String::from(
        "  http-request set-header X-Forwarded-Proto https if { ssl_fc }
  http-request set-header X-Forwarded-Proto http if !{ ssl_fc } !{ req.hdr(x-forwarded-proto) -m found }
",
    );
    if places.https_listen.is_empty() {
        return text;
    }
    let port = if places.https_port == 443 { String::new() } else { format!(":{}", places.https_port) };
    let plain = "!{ ssl_fc } !{ req.hdr(x-forwarded-proto) -m str https }";
    let told = format!("{{ var(txn.host),map_str({}/{SECURE})", places.maps);
    let mut led = vec![format!("{told} -m str 1 }}")];
    for (host, certified) in certificates(layout) {
        if let Some(domain) = host.strip_prefix('*').filter(|_| !certified.plain_http) {
            // A certificate of this kind is for one label.
            led.push(format!("!{told} -m found }} {{ var(txn.host) -m reg -- {} }}", quoted(&format!("^[^.]+{}$", escaped(domain)))));
        }
    }
    for host in led {
        let _ = writeln!(text, "  http-request redirect prefix https://%[var(txn.host)]{port} code 308 if {plain} {host}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::balance::{Access, Layer7, Service};
    use super::super::haproxy::config;
    use super::*;

    fn layout() -> Layout {
        let shape = Shape {
            name: "web_1a".into(),
            http: true,
            algorithm: "roundrobin".into(),
            binds: BTreeSet::new(),
            routes: BTreeSet::from([("shop.local".into(), "/".into())]),
            headers: Vec::new(),
            hold: String::new(),
            access: Access::default(),
            layer7: Layer7::default(),
        };
        Layout { services: BTreeMap::from([("svc".into(), Service { shape, slots: Vec::new() })]), ..Layout::default() }
    }

    #[test]
    fn hosts_with_a_certificate_are_served_over_https_and_led_there() {
        let mut layout = layout();
        let certified = |host: &str, plain_http| Certified { host: host.into(), print: "ab12".into(), plain_http };
        let own = vec![certified("shop.local", false), certified("both.local", true), certified("*.shop.local", false)];
        layout.services.get_mut("svc").unwrap().shape.layer7.certificates = own;
        // Who was there first has the host.
        let mut other = layout.services["svc"].clone();
        other.shape.layer7.certificates = vec![Certified { print: "other".into(), ..certified("shop.local", true) }];
        layout.services.insert("svc-2".into(), other.clone());
        // Another space's host is its own, with a certificate or without.
        // One below a host that is led is not, if it has a route of its own.
        layout.services.get_mut("svc").unwrap().shape.routes.extend(["plain.local", "own.shop.local"].map(|host| (host.into(), "/".into())));
        other.shape.layer7 = Layer7 { space: "theirs".into(), certificates: vec![certified("plain.local", false)], ..Layer7::default() };
        other.shape.routes.insert(("plain.local".into(), "/".into()));
        layout.services.insert("svc-3".into(), other);
        let places = Places { stats_socket: "/s".into(), maps: "/m".into(), https_listen: "127.0.0.1:7481".into(), https_port: 7481, ..Places::default() };
        let text = config(&layout, &places);
        assert!(text.contains("  bind 127.0.0.1:7481 ssl crt-list /m/certificates.list strict-sni alpn h2,http/1.1 ssl-min-ver TLSv1.2\n"), "{text}");
        let led = "  http-request redirect prefix https://%[var(txn.host)]:7481 code 308 if !{ ssl_fc } !{ req.hdr(x-forwarded-proto) -m str https }";
        assert!(text.contains(&format!("{led} {{ var(txn.host),map_str(/m/secure.map) -m str 1 }}\n")), "{text}");
        let below = r"!{ var(txn.host),map_str(/m/secure.map) -m found } { var(txn.host) -m reg -- '^[^.]+\.shop\.local$' }";
        assert!(text.contains(&format!("{led} {below}\n")), "{text}");
        let (list, map) = files(&layout, |print| (print == "ab12").then(|| "/c/ab12.pem".into()));
        assert_eq!(list, "/c/ab12.pem *.shop.local\n/c/ab12.pem both.local\n/c/ab12.pem shop.local\n");
        assert_eq!(map, "own.shop.local 0\nshop.local 1\n");
        assert!(config(&layout, &Places { https_port: 443, ..places.clone() }).contains("https://%[var(txn.host)] code 308"));
        // Without the port there is nothing to be led to.
        let text = config(&layout, &Places { https_listen: String::new(), ..places });
        assert!(!text.contains("ssl crt-list") && !text.contains("redirect prefix"), "{text}");
    }
}
