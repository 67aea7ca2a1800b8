use super::*;
use crate::domain::balance::{Access, Layer7, Service, Shape};
use crate::domain::datagrams::{Door, Relay};

fn opening(networks: &[&str], ports: &[(&str, u32, u32)]) -> wire::Opening {
    let ports = ports.iter().map(|(protocol, first, last)| wire::PortRange { protocol: (*protocol).into(), first: *first, last: *last });
    wire::Opening { networks: networks.iter().map(|n| (*n).to_owned()).collect(), ports: ports.collect(), ..Default::default() }
}

const ALL: (&str, u32, u32) = ("", 0, 65_535);

fn addresses(all: &[&str]) -> BTreeSet<IpAddr> {
    all.iter().map(|a| a.parse().unwrap()).collect()
}

fn made(of: &wire::Isolation) -> String {
    let asked = |address: &str| BTreeSet::from([address.parse::<SocketAddrV4>().unwrap()]);
    let tcp = BTreeMap::from([("a.web".to_owned(), asked("10.100.1.1:80")), ("a.db".to_owned(), asked("10.100.2.2:5432"))]);
    let udp = BTreeMap::from([("a.dns".to_owned(), asked("10.100.3.3:53"))]);
    let asked_at = Asked { tcp, udp };
    let ground = Ground {
        gateway: Some(Ipv4Addr::new(10, 62, 0, 1)),
        nodes: &addresses(&["192.168.0.2"]),
        guarded: &addresses(&["10.62.0.7", "fd00::7"]),
        services: Some(Ipv4Addr::new(10, 100, 0, 0)),
        resolvers: &["192.0.2.53".to_owned(), "fd00::53".to_owned()],
        asked_at: &asked_at,
    };
    table(of, &ground)
}

fn chain(text: &str, name: &str) -> Vec<String> {
    let body = text.split_once(&format!("  chain {name} {{\n")).unwrap().1.split_once("\n  }\n").unwrap().0;
    body.lines().map(|l| l.trim().to_owned()).collect()
}

/// Without those that every table has.
fn own(text: &str, name: &str) -> Vec<String> {
    chain(text, name).into_iter().skip(5).collect()
}

#[test]
fn who_is_not_selected_is_kept_from_the_guarded_alone() {
    let text = made(&wire::Isolation { opened: vec![opening(&["10.62.0.7"], &[("tcp", 80, 80)])], refused: vec!["a.db".into()], ..Default::default() });
    assert!(text.starts_with(OPEN), "{text}");
    assert_eq!(chain(&text, "guarded"), ["ip daddr @n1 meta l4proto tcp th dport { 80 } return", REFUSE]);
    assert_eq!(own(&text, "output"), ["ip daddr @n2 jump guarded", "ip6 daddr @n3 jump guarded", &format!("ip daddr . tcp dport @shut {REFUSE}")]);
    assert!(own(&text, "input").is_empty(), "{text}");
    assert!(text.contains("set shut { type ipv4_addr . inet_service; elements = { 10.100.2.2 . 5432 }; }"), "{text}");
}

#[test]
fn what_comes_in_is_the_nodes_own_and_what_is_open() {
    let except = wire::Opening { except: vec!["10.1.0.0/16".into()], ..opening(&["10.0.0.0/8"], &[ALL]) };
    let open = wire::Opening { everywhere: true, ..opening(&[], &[("udp", 53, 53), ("tcp", 80, 90), ("tcp", 85, 99), ("tcp", 100, 100)]) };
    let text = made(&wire::Isolation { ingress: true, from: vec![except, open, opening(&["fd00::/8"], &[("sctp", 0, 65_535)])], ..Default::default() });
    assert_eq!(
        own(&text, "input"),
        [
            "ip saddr @n3 accept",
            "ip saddr @n5 ip saddr != @n4 accept",
            "meta l4proto tcp th dport { 80-100 } accept",
            "meta l4proto udp th dport { 53 } accept",
            "ip6 saddr @n6 meta l4proto sctp accept",
            REFUSE
        ]
    );
    assert!(text.contains("set n3 { type ipv4_addr; flags interval; auto-merge; elements = { 10.62.0.1, 192.168.0.2 }; }"), "{text}");
}

#[test]
fn what_goes_out_is_questions_for_names_and_what_is_open() {
    let text = made(&wire::Isolation {
        egress: true,
        to: vec![opening(&["192.0.2.0/24"], &[("tcp", 443, 443)])],
        services: vec!["a.web".into()],
        ..Default::default()
    });
    assert_eq!(
        own(&text, "output")[2..],
        [
            format!("ip daddr . tcp dport @shut {REFUSE}"),
            "ip daddr . tcp dport @asked accept".to_owned(),
            format!("ip daddr . udp dport @shut_udp {REFUSE}"),
            format!("ip daddr 10.100.0.0/16 ct state new {REFUSE}"),
            "ip daddr 10.100.0.0/16 accept".to_owned(),
            "ip daddr 192.0.2.53 meta l4proto { tcp, udp } th dport 53 accept".to_owned(),
            "ip6 daddr fd00::53 meta l4proto { tcp, udp } th dport 53 accept".to_owned(),
            "ip daddr @n3 meta l4proto tcp th dport { 443 } accept".to_owned(),
            REFUSE.to_owned(),
        ]
    );
    assert!(own(&text, "input").is_empty());
}

#[test]
fn names_of_datagrams_are_asked_like_the_others() {
    let text = made(&wire::Isolation { egress: true, services: vec!["a.dns".into()], ..Default::default() });
    assert!(text.contains("set asked_udp { type ipv4_addr . inet_service; elements = { 10.100.3.3 . 53 }; }"), "{text}");
    assert!(own(&text, "output").contains(&"ip daddr . udp dport @asked_udp accept".to_owned()), "{text}");
    let text = made(&wire::Isolation { refused: vec!["a.dns".into()], ..Default::default() });
    assert!(own(&text, "output").contains(&format!("ip daddr . udp dport @shut_udp {REFUSE}")), "{text}");
}

#[test]
fn nothing_open_lets_nothing_through() {
    let text = made(&wire::Isolation {
        ingress: true,
        from: vec![opening(&[], &[ALL]), opening(&["10.0.0.0/8"], &[]), opening(&["x; accept", "10.0.0.0/33"], &[ALL])],
        ..Default::default()
    });
    assert_eq!(own(&text, "input"), ["ip saddr @n3 accept", REFUSE], "{text}");
    assert!(!text.contains("x;") && !text.contains("/33"), "{text}");
}

#[test]
fn where_names_are_asked_is_what_the_balancer_listens_at_inside() {
    let shape = Shape {
        name: "web".into(),
        http: true,
        algorithm: "roundrobin".into(),
        binds: ["10.100.1.1:80", "127.0.0.1:20080", "10.101.0.1:80"].map(str::to_owned).into(),
        routes: BTreeSet::new(),
        headers: Vec::new(),
        hold: String::new(),
        access: Access::default(),
        layer7: Layer7::default(),
    };
    let door = |address, published| Door { address, port: 53, published };
    let doors = [door(Some(Ipv4Addr::new(10, 100, 3, 3)), false), door(None, true), door(Some(Ipv4Addr::LOCALHOST), true)].into();
    let relay = Relay { doors, ..Relay::default() };
    let layout = Layout {
        services: BTreeMap::from([("a.web".to_owned(), Service { shape, slots: Vec::new() })]),
        datagrams: BTreeMap::from([("a.dns".to_owned(), relay)]),
    };
    let asked = asked_at(&layout, Some(Ipv4Addr::new(10, 100, 0, 0)));
    assert_eq!(asked.tcp["a.web"], BTreeSet::from(["10.100.1.1:80".parse().unwrap()]));
    assert_eq!(asked.udp["a.dns"], BTreeSet::from(["10.100.3.3:53".parse().unwrap()]));
    assert!(asked_at(&layout, None).tcp["a.web"].is_empty());
}

#[test]
fn the_gateway_is_the_first_interfaces() {
    let number = |a: u8, b: u8, c: u8, d: u8| format!("{:08X}", u32::from_ne_bytes([a, b, c, d]));
    let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
    let route = |interface: &str, to: &str, gateway: &str| format!("{interface}\t{to}\t{gateway}\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");
    let text =
        [route("net1", "00000000", &number(192, 0, 2, 1)), route("eth0", "00000000", &number(10, 62, 0, 1)), route("eth0", &number(10, 62, 0, 0), "00000000")]
            .concat();
    assert_eq!(gateway(&format!("{head}{text}")), Some(Ipv4Addr::new(10, 62, 0, 1)));
    assert_eq!(gateway(head), None);
    assert_eq!(gateway("eth0\tx\n"), None);
}

#[test]
fn no_network_of_one_policy_makes_the_packet_filter_refuse_the_whole_table() {
    let odd = opening(&["10.0.0.0/+8", "192.0.2.0/024", "fe80::1%eth0"], &[ALL]);
    let text = made(&wire::Isolation { egress: true, to: vec![odd], ..Default::default() });
    assert!(text.contains("elements = { 10.0.0.0/8, 192.0.2.0/24 }; }"), "{text}");
    assert!(!text.contains('+') && !text.contains('%'), "{text}");
}
