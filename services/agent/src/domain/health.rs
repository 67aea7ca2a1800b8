//! From single probe answers to "started, alive, ready".

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_contract::proto::scheduler as wire;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    Startup,
    Live,
    Ready,
}

/// How to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    Http(Request),
    Tcp {
        port: u16,
    },
    /// Empty: the server as a whole.
    Grpc {
        port: u16,
        service: String,
    },
    Command(Vec<String>),
}

/// A request to an instance: never to another place, whatever it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub port: u16,
    pub path: String,
    pub https: bool,
    /// The `Host` header; the instance's address if empty.
    pub host: String,
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// `headers` as they are on the wire; one called `Host` takes the place of `host`.
    pub fn new(port: u16, path: &str, https: bool, host: &str, headers: &[wire::KeyValue]) -> Self {
        let (hosts, headers): (Vec<_>, Vec<_>) = headers.iter().cloned().partition(|h| h.name.eq_ignore_ascii_case("host"));
        let host = hosts.last().map_or(host, |h| h.value.as_str()).to_owned();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Self { port, path, https, host, headers: headers.into_iter().map(|h| (h.name, h.value)).collect() }
    }

    /// The text of a request over plain HTTP.
    ///
    /// # Errors
    /// A sentence, if a part of it would be more than a part.
    pub fn text(&self, address: &str) -> Result<String, String> {
        self.checked()?;
        let host = if self.host.is_empty() { authority(address, self.port) } else { self.host.clone() };
        let mut text = format!("GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n", self.path);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
            text.push_str("User-Agent: gantry-probe\r\n");
        }
        for (name, value) in self.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("connection")) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        Ok(text)
    }

    /// The same over TLS.
    ///
    /// # Errors
    /// As [`Request::text`].
    pub fn url(&self, address: &str) -> Result<String, String> {
        self.checked()?;
        Ok(format!("https://{}{}", authority(address, self.port), self.path))
    }

    fn checked(&self) -> Result<(), String> {
        let token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        let line = |text: &str| !text.contains(|c: char| c.is_control());
        if self.path.contains(|c: char| c.is_control() || c == ' ') {
            return Err(format!("{:?} is no path of a request", self.path));
        }
        if !line(&self.host) || self.host.contains(' ') {
            return Err(format!("{:?} is no host", self.host));
        }
        match self.headers.iter().find(|(name, value)| !token(name) || !line(value)) {
            Some((name, _)) => Err(format!("{name:?} is no header, or its value is no line")),
            None => Ok(()),
        }
    }
}

/// Address and port as they stand in a URL.
fn authority(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub purpose: Purpose,
    pub check: Check,
    pub period: Duration,
    pub timeout: Duration,
    pub initial_delay: Duration,
    pub failures: u32,
    pub successes: u32,
}

impl Probe {
    /// `None` if a word in it is unknown or its port is missing.
    pub fn parse(probe: &wire::Probe) -> Option<Self> {
        let port = || u16::try_from(probe.port).ok().filter(|p| *p > 0);
        let or = |value: u32, default: u32| Duration::from_millis(if value == 0 { default } else { value }.into());
        Some(Self {
            purpose: match probe.purpose.as_str() {
                "startup" => Purpose::Startup,
                "live" => Purpose::Live,
                "ready" => Purpose::Ready,
                _ => return None,
            },
            check: match probe.kind.as_str() {
                "http" => Check::Http(Request::new(port()?, &probe.path, probe.https, &probe.host, &probe.headers)),
                "tcp" => Check::Tcp { port: port()? },
                "grpc" => Check::Grpc { port: port()?, service: probe.service.clone() },
                "command" if !probe.command.is_empty() => Check::Command(probe.command.clone()),
                _ => return None,
            },
            period: or(probe.period_ms, 2_000).max(Duration::from_millis(100)),
            timeout: or(probe.timeout_ms, 1_000),
            initial_delay: Duration::from_millis(probe.initial_delay_ms.into()),
            failures: probe.failure_threshold.max(1),
            successes: probe.success_threshold.max(1),
        })
    }

    /// What an instance behind a balancer is asked if it brings no readiness probe: does its port accept?
    fn accepts(port: u16) -> Self {
        let check = Check::Tcp { port };
        let period = Duration::from_millis(500);
        Self { purpose: Purpose::Ready, check, period, timeout: Duration::from_secs(1), initial_delay: Duration::ZERO, failures: 2, successes: 1 }
    }
}

/// All probes of an instance, with one for each balanced port where it brings no readiness probe of its own.
pub fn probes(own: &[wire::Probe], balanced_ports: &BTreeSet<u16>) -> Vec<Probe> {
    let mut probes: Vec<_> = own.iter().filter_map(Probe::parse).collect();
    if !probes.iter().any(|p| p.purpose == Purpose::Ready) {
        probes.extend(balanced_ports.iter().map(|port| Probe::accepts(*port)));
    }
    probes
}

/// The run of answers to one probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Track {
    successes: u32,
    failures: u32,
    /// `None` until a threshold was reached for the first time.
    passing: Option<bool>,
}

impl Track {
    fn answer(&mut self, ok: bool, probe: &Probe) {
        (self.successes, self.failures) = if ok { (self.successes.saturating_add(1), 0) } else { (0, self.failures.saturating_add(1)) };
        if self.successes >= probe.successes {
            self.passing = Some(true);
        } else if self.failures >= probe.failures {
            self.passing = Some(false);
        }
    }
}

/// What is known of one running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    probes: Vec<Probe>,
    tracks: Vec<Track>,
    /// What the last failing probe said.
    pub reason: String,
}

impl Health {
    /// `ready_before`: it was ready when the agent went down; it stays in rotation until a probe says otherwise.
    pub fn new(probes: Vec<Probe>, ready_before: bool) -> Self {
        let passing = ready_before.then_some(true);
        let tracks = vec![Track { passing, ..Track::default() }; probes.len()];
        Self { probes, tracks, reason: String::new() }
    }

    /// A question that was asked before its time, so that a good answer is known soon, has failed: nobody's count of failures grows by it.
    pub fn failed_early(&mut self, index: usize, why: String) {
        if let Some(track) = self.tracks.get_mut(index) {
            track.successes = 0;
            self.reason = why;
        }
    }

    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// Takes in the answer of probe number `index`. A startup probe that failed too often counts as dead.
    pub fn answer(&mut self, index: usize, answer: Result<(), String>) {
        let (Some(probe), Some(track)) = (self.probes.get(index), self.tracks.get_mut(index)) else { return };
        track.answer(answer.is_ok(), probe);
        match answer {
            Err(why) => self.reason = why,
            Ok(()) if self.tracks.iter().all(|t| t.failures == 0) => self.reason.clear(),
            Ok(()) => {}
        }
    }

    /// Whether probe number `index` is to be asked now: live and ready wait for startup, startup ends for good.
    pub fn due(&self, index: usize) -> bool {
        match self.probes.get(index).map(|p| p.purpose) {
            Some(Purpose::Startup) => self.tracks[index].passing != Some(true),
            Some(Purpose::Live | Purpose::Ready) => self.started(),
            None => false,
        }
    }

    fn all(&self, purpose: Purpose, holds: impl Fn(&Track) -> bool) -> bool {
        self.probes.iter().zip(&self.tracks).filter(|(p, _)| p.purpose == purpose).all(|(_, t)| holds(t))
    }

    pub fn started(&self) -> bool {
        self.all(Purpose::Startup, |t| t.passing == Some(true))
    }

    pub fn ready(&self) -> bool {
        self.started() && self.alive() && self.all(Purpose::Ready, |t| t.passing == Some(true))
    }

    /// False = to be restarted.
    pub fn alive(&self) -> bool {
        self.all(Purpose::Live, |t| t.passing != Some(false)) && self.all(Purpose::Startup, |t| t.passing != Some(false))
    }

    /// It was ready, or could have been, and is not: a person should look.
    pub fn unhealthy(&self) -> bool {
        self.started() && !self.all(Purpose::Ready, |t| t.passing != Some(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(purpose: &str, failures: u32, successes: u32) -> wire::Probe {
        wire::Probe { purpose: purpose.into(), kind: "tcp".into(), port: 80, failure_threshold: failures, success_threshold: successes, ..Default::default() }
    }

    fn health(list: &[wire::Probe]) -> Health {
        Health::new(probes(list, &BTreeSet::new()), false)
    }

    #[test]
    fn a_request_says_what_its_document_says_and_nothing_besides() {
        let header = |name: &str, value: &str| wire::KeyValue { name: name.into(), value: value.into() };
        let text = |host: &str, headers: &[wire::KeyValue]| Request::new(80, "live", false, host, headers).text("10.0.0.7");
        let plain = text("", &[]).unwrap();
        assert_eq!(plain, "GET /live HTTP/1.1\r\nHost: 10.0.0.7:80\r\nConnection: close\r\nUser-Agent: gantry-probe\r\n\r\n");
        let own = text("shop.test", &[header("X-Key", "a b"), header("User-Agent", "mine"), header("connection", "keep-alive")]).unwrap();
        assert_eq!(own, "GET /live HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nX-Key: a b\r\nUser-Agent: mine\r\n\r\n");
        assert!(text("other.test", &[header("host", "shop.test")]).unwrap().contains("Host: shop.test\r\n"), "a header of that name counts");
        for (host, headers) in [("a\r\nX: y", vec![]), ("", vec![header("X", "1\r\nY: 2")]), ("", vec![header("X: y\r\nZ", "")]), ("", vec![header("", "x")])] {
            assert!(text(host, &headers).is_err(), "{host:?} {headers:?}");
        }
        assert!(Request::new(80, "/a HTTP/1.1\r\nX: y", false, "", &[]).text("10.0.0.7").is_err());
        assert_eq!(Request::new(443, "/x?y=1", true, "", &[]).url("fd00::7").unwrap(), "https://[fd00::7]:443/x?y=1");
    }

    #[test]
    fn what_a_probe_asks_is_read_from_the_wire() {
        let of = |kind: &str| wire::Probe { kind: kind.into(), https: true, host: "h".into(), service: "shop.Cart".into(), ..probe("ready", 1, 1) };
        let check = |kind: &str| Probe::parse(&of(kind)).unwrap().check;
        assert_eq!(check("http"), Check::Http(Request { port: 80, path: "/".into(), https: true, host: "h".into(), headers: Vec::new() }));
        assert_eq!(check("grpc"), Check::Grpc { port: 80, service: "shop.Cart".into() });
    }

    #[test]
    fn without_probes_a_running_container_is_ready() {
        assert!(health(&[]).ready());
    }

    #[test]
    fn a_balanced_port_is_asked_when_there_is_no_readiness_probe() {
        let of = |own: &[wire::Probe]| probes(own, &BTreeSet::from([8080])).len();
        assert_eq!((of(&[]), of(&[probe("ready", 1, 1)]), of(&[probe("live", 1, 1)])), (1, 1, 2));
    }

    #[test]
    fn readiness_waits_for_startup_and_comes_and_goes() {
        let mut health = health(&[probe("startup", 3, 1), probe("ready", 2, 2)]);
        assert!(!health.due(1) && health.due(0));
        health.answer(0, Ok(()));
        assert!(health.due(1) && !health.due(0) && !health.ready());
        health.answer(1, Ok(()));
        assert!(!health.ready());
        health.answer(1, Ok(()));
        assert!(health.ready());
        health.answer(1, Err("refused".into()));
        assert!(health.ready());
        health.answer(1, Err("refused".into()));
        assert!(!health.ready() && health.alive() && health.unhealthy());
        assert_eq!(health.reason, "refused");
    }

    #[test]
    fn a_live_probe_that_fails_often_enough_means_restart() {
        let mut health = health(&[probe("live", 2, 1)]);
        health.answer(0, Err("x".into()));
        assert!(health.alive());
        health.answer(0, Err("x".into()));
        assert!(!health.alive() && !health.ready());
    }

    #[test]
    fn questions_before_their_time_count_when_they_are_answered_well_and_not_when_they_fail() {
        let mut health = health(&[probe("startup", 2, 2)]);
        for _ in 0..10 {
            health.failed_early(0, "refused".into());
        }
        assert!(health.alive() && !health.started() && health.reason == "refused");
        health.answer(0, Ok(()));
        health.failed_early(0, "refused".into());
        health.answer(0, Ok(()));
        assert!(!health.started(), "not twice in a row");
        health.answer(0, Ok(()));
        assert!(health.started());
    }

    #[test]
    fn a_restarted_agent_keeps_what_was_ready() {
        let list = probes(&[probe("ready", 2, 1)], &BTreeSet::new());
        let mut health = Health::new(list, true);
        assert!(health.ready());
        health.answer(0, Err("x".into()));
        health.answer(0, Err("x".into()));
        assert!(!health.ready());
    }
}
