use super::*;

const MOUNTS: &str = "600 500 0:50 / / rw,relatime - overlay overlay rw,lowerdir=7/fs:/l/2,upperdir=/snaps/up\\040per/fs,workdir=/w\n\
                      601 600 0:51 / /proc rw - proc proc rw\n602 600 8:1 /v /data rw - ext4 /dev/sda1 rw\n";

fn status(user: u32, effective: &str) -> String {
    format!("Name:\tx\nUid:\t{user}\t{user}\t{user}\t{user}\nCapEff:\t{effective}\nCapBnd:\t00000000a80425fb\n")
}

fn process(program: &str, user: u32) -> Process {
    Process::parse(7, program.into(), &status(user, "0000000000000000")).unwrap()
}

fn details(ground: &Ground, process: &Process, allowed: &[&str]) -> Vec<(&'static str, bool)> {
    let allowed: Vec<String> = allowed.iter().map(|a| (*a).to_owned()).collect();
    let written = |program: &str| ground.written_at(program).as_deref() == Some(Path::new("/snaps/up per/fs/tmp/evil"));
    ground.judge(process, &allowed, written).into_iter().map(|f| (f.kind, f.sure)).collect()
}

#[test]
fn a_program_that_is_not_of_the_image_is_a_sign() {
    let ground = Ground::parse(&status(0, "0"), MOUNTS).unwrap();
    assert_eq!(ground.originals("/bin/sh").collect::<Vec<_>>(), [Path::new("/snaps/7/fs/bin/sh"), Path::new("/l/2/bin/sh")]);
    let of = |program: &str| details(&ground, &process(program, 0), &[]);
    assert!(of("/bin/sh").is_empty() && of("/database").is_empty());
    assert_eq!(of("/tmp/evil"), [("program", true)]);
    assert_eq!(of("/data/x"), [("program", true)]);
    assert_eq!(of("/usr/bin/y (deleted)"), [("program", false)]);
    assert_eq!(of("/memfd:z (deleted)"), [("program", false)]);
    for allowed in ["/data/", "/data/x"] {
        assert!(details(&ground, &process("/data/x", 0), &[allowed]).is_empty());
    }
    assert_eq!(details(&ground, &process("/data/xy", 0), &["/data/x"]), [("program", true)]);
}

#[test]
fn rights_that_a_container_was_not_given_are_a_sign() {
    let plain = Ground::parse(&status(1000, "0"), MOUNTS).unwrap();
    assert!(details(&plain, &process("/bin/sh", 1000), &[]).is_empty());
    assert_eq!(details(&plain, &process("/bin/su", 0), &[]), [("privilege", false)]);
    let root = Ground::parse(&status(0, "0"), MOUNTS).unwrap();
    assert!(details(&root, &process("/bin/su", 0), &[]).is_empty());
    let more = Process::parse(7, "/bin/sh".into(), &status(0, "000001ffffffffff")).unwrap();
    assert_eq!(details(&root, &more, &[]), [("privilege", false)]);
    assert!(Process::parse(7, String::new(), "Name:\tx\n").is_none());
}

#[test]
fn a_fence_lets_through_what_is_named_and_nothing_that_is_no_network() {
    let egress = |network: &str, port| wire::Egress { network: network.into(), port };
    let egress = vec![egress("192.0.2.0/24", 443), egress("fd00::/8", 0), egress("0.0.0.0/0 accept; x", 0), egress("10.0.0.0/33", 0)];
    let guard = wire::Guard { closed: true, egress, ..Default::default() };
    let text = fence(Some(&guard), Some(Ipv4Addr::new(10, 100, 0, 0)), &["192.0.2.53".into()]).unwrap();
    for line in [
        "ip daddr 10.100.0.0/16 accept",
        "ip daddr 192.0.2.53 meta l4proto { tcp, udp } th dport 53 accept",
        "ip daddr 192.0.2.0/24 meta l4proto { tcp, udp } th dport 443 accept",
        "ip6 daddr fd00::/8 accept",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("; x") && !text.contains("/33"), "{text}");
    assert_eq!(fence(Some(&wire::Guard { closed: false, ..guard }), None, &[]), None);
    assert_eq!(fence(None, None, &[]), None);
}

#[test]
fn what_was_refused_is_read_from_the_kernels_list() {
    let listing = r#"{"nftables": [{"metainfo": {}}, {"set": {"name": "refused", "elem": [
        {"elem": {"val": {"concat": ["192.168.9.7", "tcp", 81]}, "expires": 3599}}, {"concat": ["fd00::1", "udp", "domain"]}]}}]}"#;
    assert_eq!(refused(listing), ["192.168.9.7:81/tcp", "[fd00::1]:domain/udp"]);
    assert!(refused("").is_empty() && refused(r#"{"nftables": [{"set": {"name": "refused"}}]}"#).is_empty());
    let snmp = "Ip: A\nIp: 1\nIcmp: InMsgs OutDestUnreachs\nIcmp: 5 3\nUdp: X\n";
    assert_eq!(refusals(snmp, "Icmp6InMsgs  \t1\nIcmp6OutDestUnreachs            \t2\n"), 5);
    assert_eq!(refusals("", ""), 0);
}

#[test]
fn without_a_word_signs_are_reported() {
    let guard = |action: &str| wire::Guard { action: action.into(), ..Default::default() };
    assert_eq!(Response::of(None), Response::Report);
    for word in ["none", "report", "restart", "stop", "quarantine"] {
        assert_eq!(Response::of(Some(&guard(word))).as_str(), word);
    }
}

#[test]
fn numbers_in_networks_are_written_as_every_program_reads_them() {
    let written = ["192.0.2.7", "10.0.0.0/+8", "10.0.0.0/008", "0.0.0.0/0", "fd00::1/64", "FD00:0::1"].map(|text| network(text).unwrap());
    assert_eq!(written, ["192.0.2.7", "10.0.0.0/8", "10.0.0.0/8", "0.0.0.0/0", "fd00::1/64", "fd00::1"]);
    for none in ["", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "fe80::1%eth0", "10.0.0.0/8 ", "10.0.0.0/8\n", "shop"] {
        assert_eq!(network(none), None, "{none:?}");
    }
    let egress = vec![wire::Egress { network: "10.0.0.0/+8".into(), port: 0 }];
    let text = fence(Some(&wire::Guard { closed: true, egress, ..Default::default() }), None, &["fe80::1%eth0".into(), "192.0.2.53".into()]).unwrap();
    assert!(text.contains("    ip daddr 10.0.0.0/8 accept\n") && text.contains("daddr 192.0.2.53 ") && !text.contains('%'), "{text}");
}
