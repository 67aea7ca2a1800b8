//! The wire between the nodes: a bridge with an address of the machine, a cable to each node, and doors to what listens on the
//! machine's loopback only.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use tokio::net::{TcpListener, TcpStream};

/// Runs a program and gives what it printed.
///
/// # Panics
/// When it fails.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    String::from_utf8(output.stdout).unwrap()
}

fn ip(line: &str) {
    run("ip", &line.split(' ').collect::<Vec<_>>());
}

/// A bridge of its own for each test, named after the test's process.
pub struct Wire {
    bridge: String,
    /// Of 172.29.x.0/24.
    third: u8,
    cables: Vec<u8>,
}

impl Wire {
    pub fn new() -> Self {
        let pid = std::process::id();
        let taken = run("ip", &["-o", "-4", "address"]);
        let third = (0..250).map(|n| (pid + n) % 250).find(|n| !taken.contains(&format!(" 172.29.{n}."))).expect("a free network");
        let third = u8::try_from(third).unwrap();
        let wire = Self { bridge: format!("gtb{}", pid % 1_000_000), third, cables: Vec::new() };
        ip(&format!("link add {} type bridge", wire.bridge));
        ip(&format!("address add {}/24 dev {}", wire.machine(), wire.bridge));
        ip(&format!("link set {} up", wire.bridge));
        wire
    }

    /// The machine's own address on it.
    pub fn machine(&self) -> Ipv4Addr {
        Ipv4Addr::new(172, 29, self.third, 1)
    }

    pub fn address(&self, node: u8) -> Ipv4Addr {
        Ipv4Addr::new(172, 29, self.third, 10 + node)
    }

    fn cable(&self, node: u8) -> String {
        format!("{}n{node}", self.bridge)
    }

    /// Names of network namespaces begin so.
    pub fn namespace(&self, node: u8) -> String {
        format!("{}-n{node}", self.bridge)
    }

    /// Gives a network namespace, which is there already, its interface.
    pub fn plug(&mut self, node: u8) {
        let (cable, namespace) = (self.cable(node), self.namespace(node));
        self.cables.push(node);
        ip(&format!("link add {cable} type veth peer name eth0 netns {namespace}"));
        ip(&format!("link set {cable} master {} up", self.bridge));
        ip(&format!("-n {namespace} address add {}/24 dev eth0", self.address(node)));
        ip(&format!("-n {namespace} link set lo up"));
        ip(&format!("-n {namespace} link set eth0 up"));
        ip(&format!("-n {namespace} route add default via {}", self.machine()));
    }

    /// With the node's end; at once, where the end of its namespace would take some time.
    pub fn unplug(&mut self, node: u8) {
        ip(&format!("link delete {}", self.cable(node)));
        self.cables.retain(|n| *n != node);
    }

    /// Nothing goes through any more, and nobody is told.
    pub fn cut(&self, node: u8) {
        ip(&format!("link set {} nomaster", self.cable(node)));
    }

    pub fn mend(&self, node: u8) {
        ip(&format!("link set {} master {}", self.cable(node), self.bridge));
    }

    /// What of it is left on the machine.
    pub fn left(&self) -> Vec<String> {
        let links = run("ip", &["-o", "link"]) + &run("ip", &["netns", "list"]);
        links.lines().filter(|l| l.contains(&format!("{}n", self.bridge)) || l.contains(&format!("{}-", self.bridge))).map(str::to_owned).collect()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for node in &self.cables {
            let _ = Command::new("ip").args(["link", "delete", &self.cable(*node)]).output();
        }
        let _ = Command::new("ip").args(["link", "delete", &self.bridge]).output();
    }
}

/// Lets the nodes reach what listens on the loopback of the machine, under the same port of its address on the wire. Gives the
/// address back as nodes have to write it.
pub async fn door(machine: Ipv4Addr, url: &str) -> String {
    let after = url.rsplit_once('@').map_or_else(|| url.split_once("://").map_or(url, |(_, rest)| rest), |(_, rest)| rest);
    let inside = after.split('/').next().unwrap();
    let port: u16 = inside.strip_prefix("127.0.0.1:").expect("a server on the loopback").parse().unwrap();
    let listener = TcpListener::bind((machine, port)).await.unwrap();
    spawn(relay(listener, SocketAddr::from(([127, 0, 0, 1], port))));
    url.replacen(inside, &format!("{machine}:{port}"), 1)
}

async fn relay(listener: TcpListener, to: SocketAddr) {
    while let Ok((mut client, _)) = listener.accept().await {
        spawn(async move {
            if let Ok(mut server) = TcpStream::connect(to).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

/// Ends with the test.
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::spawn(task)
}
