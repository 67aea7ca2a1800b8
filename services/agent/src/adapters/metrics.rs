//! Figures of the machine and of every container as Prometheus text. Read when asked for; nothing is kept but by which process the network
//! of a container is found, as long as it runs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use gantry_cri::{ContainerState, ContainerUsage, Cri};

use super::executions::Figures;
use super::facts;
use super::haproxy::Haproxy;
use super::processes::Remembered;
use crate::domain::balance::{Layout, Slot};
use crate::domain::haproxy::{served, traffic};
use crate::domain::spec::label;

/// Kernel clock ticks a second, the same on every Linux that matters.
const TICKS: f64 = 100.0;
const SECTOR_BYTES: u64 = 512;

/// Text in the making: one block of lines per name.
#[derive(Default)]
struct Text {
    blocks: BTreeMap<&'static str, (&'static str, &'static str, String)>,
}

impl Text {
    fn put(&mut self, name: &'static str, kind: &'static str, help: &'static str, labels: &[(&str, &str)], value: f64) {
        let (_, _, lines) = self.blocks.entry(name).or_insert_with(|| (kind, help, String::new()));
        let labels = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect::<Vec<_>>().join(",");
        let _ = if labels.is_empty() { writeln!(lines, "{name} {value}") } else { writeln!(lines, "{name}{{{labels}}} {value}") };
    }

    fn render(self) -> String {
        let blocks = self.blocks.into_iter();
        blocks.map(|(name, (kind, help, lines))| format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}")).collect()
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The first process of each container, by the container's id: it is the same for as long as the container runs, and to ask the engine for
/// all of them again would cost more than all else.
#[derive(Default)]
pub struct FirstProcesses(Mutex<BTreeMap<String, Remembered>>);

impl FirstProcesses {
    async fn of(&self, cri: &Cri, container: &str) -> Option<u32> {
        let known = self.held().get(container).and_then(|process| process.pid());
        if known.is_some() {
            return known;
        }
        let status = cri.container_status(container).await.ok()?;
        let pid = status.pid.filter(|_| status.state == ContainerState::Running)?;
        self.held().insert(container.to_owned(), Remembered::of(pid)?);
        Some(pid)
    }

    fn keep(&self, running: &[ContainerUsage]) {
        self.held().retain(|id, _| running.iter().any(|c| c.id == *id));
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What figures are made of.
pub struct Sources<'a> {
    pub node: &'a str,
    /// Where the containers lie.
    pub home: &'a Path,
    pub cri: &'a Cri,
    /// Labels that choose our own containers.
    pub own: &'a BTreeMap<String, String>,
    pub haproxy: &'a Haproxy,
    pub layout: &'a Layout,
    pub heard: &'a Figures,
    pub processes: &'a FirstProcesses,
}

/// Everything known now. A source that fails is left out.
pub async fn collect(from: Sources<'_>) -> String {
    let Sources { node, home, cri, own, haproxy, layout, heard, processes } = from;
    let mut text = Text::default();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    processors(&mut text, node, &read("/proc/stat"), &read("/proc/loadavg"));
    memory(&mut text, node, &read("/proc/meminfo"));
    disks(&mut text, node, &read("/proc/diskstats"));
    network(&mut text, node, &read("/proc/net/dev"));
    if let Some((total, free)) = facts::storage(home).await {
        text.put("gantry_node_filesystem_size_bytes", "gauge", "Size of the file system that holds the containers.", &[("node", node)], total as f64);
        text.put("gantry_node_filesystem_available_bytes", "gauge", "What is left of it.", &[("node", node)], free as f64);
    }
    executions(&mut text, node, heard);
    match cri.usage(own).await {
        Ok(usage) => {
            processes.keep(&usage);
            for container in usage {
                let process = processes.of(cri, &container.id).await;
                let (received, sent) = process.and_then(container_network).unwrap_or_default();
                container_figures(&mut text, node, &container, received, sent);
            }
        }
        Err(error) => tracing::warn!(%error, "the runtime gives no figures"),
    }
    if let Ok(csv) = haproxy.statistics().await {
        services(&mut text, node, &csv, layout);
    }
    text.render()
}

fn executions(text: &mut Text, node: &str, heard: &Figures) {
    let labels = [("node", node)];
    let hearing = if heard.hearing.load(Ordering::Relaxed) { 1.0 } else { 0.0 };
    text.put("gantry_node_executions_heard", "gauge", "1 if the kernel tells which programs begin to run in containers.", &labels, hearing);
    let looked = heard.looked.load(Ordering::Relaxed) as f64;
    text.put("gantry_node_executions_total", "counter", "Programs of containers looked at when they began to run.", &labels, looked);
    let lost = heard.lost.load(Ordering::Relaxed) as f64;
    text.put("gantry_node_executions_lost_total", "counter", "Times that programs were missed which began to run.", &labels, lost);
}

fn processors(text: &mut Text, node: &str, stat: &str, load: &str) {
    let modes = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
    let mut cpus = 0;
    for line in stat.lines() {
        let mut cells = line.split_whitespace();
        match cells.next() {
            Some("cpu") => {
                for (mode, ticks) in modes.iter().zip(cells) {
                    let seconds = ticks.parse::<f64>().unwrap_or(0.0) / TICKS;
                    text.put("gantry_node_cpu_seconds_total", "counter", "Processor time by mode, all cores.", &[("node", node), ("mode", mode)], seconds);
                }
            }
            Some(name) if name.starts_with("cpu") => cpus += 1,
            _ => {}
        }
    }
    text.put("gantry_node_cpus", "gauge", "Processor cores.", &[("node", node)], f64::from(cpus));
    if let Some(one) = load.split_whitespace().next().and_then(|l| l.parse().ok()) {
        text.put("gantry_node_load1", "gauge", "Load average of one minute.", &[("node", node)], one);
    }
}

fn memory(text: &mut Text, node: &str, meminfo: &str) {
    let names = [
        ("MemTotal:", "gantry_node_memory_total_bytes", "Memory of the machine."),
        ("MemAvailable:", "gantry_node_memory_available_bytes", "Memory that programs can still have."),
        ("Cached:", "gantry_node_memory_cached_bytes", "Memory that holds files."),
        ("SwapTotal:", "gantry_node_swap_total_bytes", "Swap space."),
        ("SwapFree:", "gantry_node_swap_free_bytes", "Unused swap space."),
    ];
    for (key, name, help) in names {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key));
        if let Some(kib) = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()) {
            text.put(name, "gauge", help, &[("node", node)], kib * 1024.0);
        }
    }
}

fn disks(text: &mut Text, node: &str, diskstats: &str) {
    for line in diskstats.lines() {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let Some(device) = cells.get(2).filter(|name| !name.starts_with("loop") && !name.starts_with("ram")) else { continue };
        let number = |index: usize| cells.get(index).and_then(|c| c.parse::<u64>().ok()).unwrap_or(0);
        let labels = [("node", node), ("device", *device)];
        text.put("gantry_node_disk_reads_total", "counter", "Reads done.", &labels, number(3) as f64);
        text.put("gantry_node_disk_read_bytes_total", "counter", "Bytes read.", &labels, (number(5) * SECTOR_BYTES) as f64);
        text.put("gantry_node_disk_writes_total", "counter", "Writes done.", &labels, number(7) as f64);
        text.put("gantry_node_disk_written_bytes_total", "counter", "Bytes written.", &labels, (number(9) * SECTOR_BYTES) as f64);
        text.put("gantry_node_disk_busy_seconds_total", "counter", "Time with input or output under way.", &labels, number(12) as f64 / 1000.0);
    }
}

/// Interfaces of `/proc/net/dev` with bytes received and sent.
fn interfaces(dev: &str) -> Vec<(&str, u64, u64)> {
    let row = |line: &'_ str| -> Option<(usize, u64, u64)> {
        let (name, rest) = line.split_once(':')?;
        let cells: Vec<&str> = rest.split_whitespace().collect();
        Some((name.len(), cells.first()?.parse().ok()?, cells.get(8)?.parse().ok()?))
    };
    dev.lines().filter_map(|line| row(line).map(|(length, received, sent)| (line[..length].trim(), received, sent))).collect()
}

fn network(text: &mut Text, node: &str, dev: &str) {
    // Ends of the containers' cables are counted as containers'.
    for (name, received, sent) in interfaces(dev).into_iter().filter(|(name, ..)| !name.starts_with("veth")) {
        let labels = [("node", node), ("device", name)];
        text.put("gantry_node_network_receive_bytes_total", "counter", "Bytes received.", &labels, received as f64);
        text.put("gantry_node_network_transmit_bytes_total", "counter", "Bytes sent.", &labels, sent as f64);
    }
}

/// Bytes received and sent in the network of a process. The kernel has them at hand: to read them elsewhere would cost more.
fn container_network(pid: u32) -> Option<(u64, u64)> {
    let dev = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    let outside = interfaces(&dev).into_iter().filter(|(name, ..)| *name != "lo");
    Some(outside.fold((0, 0), |(received, sent), (_, r, s)| (received + r, sent + s)))
}

fn container_figures(text: &mut Text, node: &str, usage: &ContainerUsage, received: u64, sent: u64) {
    let of = |name: &str| usage.labels.get(name).map_or("", String::as_str);
    let labels = [
        ("node", node),
        ("org", of(label::ORG)),
        ("project", of(label::PROJECT)),
        ("space", of(label::SPACE)),
        ("app", of(label::APP)),
        ("workload", of(label::WORKLOAD)),
        ("instance", of(label::INSTANCE)),
    ];
    let seconds = usage.cpu_nanos as f64 / 1e9;
    text.put("gantry_container_cpu_seconds_total", "counter", "Processor time used.", &labels, seconds);
    text.put("gantry_container_memory_bytes", "gauge", "Memory in use that cannot be given back at once.", &labels, usage.memory_working_set_bytes as f64);
    text.put("gantry_container_disk_bytes", "gauge", "Bytes in the container's own layer.", &labels, usage.disk_bytes as f64);
    text.put("gantry_container_network_receive_bytes_total", "counter", "Bytes received.", &labels, received as f64);
    text.put("gantry_container_network_transmit_bytes_total", "counter", "Bytes sent.", &labels, sent as f64);
}

fn services(text: &mut Text, node: &str, csv: &str, layout: &Layout) {
    let totals = traffic(csv);
    for (id, service) in &layout.services {
        let Some(total) = totals.get(&service.shape.name) else { continue };
        let labels = [("node", node), ("service", service.shape.name.rsplit_once('_').map_or("", |(name, _)| name)), ("service_id", id)];
        text.put("gantry_service_requests_total", "counter", "Requests (TCP: connections) balanced.", &labels, total.requests as f64);
        text.put("gantry_service_errors_total", "counter", "Requests that failed.", &labels, total.errors as f64);
        text.put("gantry_service_receive_bytes_total", "counter", "Bytes from clients.", &labels, total.bytes_in as f64);
        text.put("gantry_service_transmit_bytes_total", "counter", "Bytes to clients.", &labels, total.bytes_out as f64);
        text.put(
            "gantry_service_denied_total",
            "counter",
            "Requests (TCP: connections) refused by the service's lists and limits.",
            &labels,
            total.denied as f64,
        );
        text.put("gantry_service_sessions", "gauge", "Requests under way.", &labels, total.sessions as f64);
    }
    let served = served(csv);
    for (id, service) in &layout.services {
        for (slot, at) in service.slots.iter().enumerate() {
            let (Slot::Serving { instance, .. } | Slot::Draining { instance, .. }) = at else { continue };
            let Some(one) = served.get(&(service.shape.name.clone(), slot)) else { continue };
            let instance = instance.to_string();
            let labels = [("node", node), ("service_id", id), ("instance", &instance)];
            text.put(
                "gantry_instance_requests_total",
                "counter",
                "Requests (TCP: connections) that an instance got from this node.",
                &labels,
                one.requests as f64,
            );
            text.put("gantry_instance_errors_total", "counter", "Those that failed.", &labels, one.errors as f64);
            text.put("gantry_instance_response_seconds", "gauge", "Mean time of its last answers.", &labels, one.response_ms as f64 / 1000.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_become_figures() {
        let mut text = Text::default();
        processors(&mut text, "n1", "cpu  100 0 50 1000 0 0 0 0 0 0\ncpu0 1 1\ncpu1 1 1\n", "0.50 0.1 0.1 1/2 3");
        memory(&mut text, "n1", "MemTotal: 10 kB\nMemAvailable: 5 kB\n");
        disks(&mut text, "n1", "254 0 vda 10 0 20 5 30 0 40 6 0 700 11\n7 0 loop0 1 1 1 1 1 1 1 1 1 1 1\n");
        network(&mut text, "n1", "Inter-|\n face |\n  eth0: 100 1 0 0 0 0 0 0 200 2 0 0 0 0 0 0\n veth1: 5 1 0 0 0 0 0 0 6 2 0 0 0 0 0 0\n");
        let text = text.render();
        for line in [
            "gantry_node_cpu_seconds_total{node=\"n1\",mode=\"user\"} 1\n",
            "gantry_node_cpus{node=\"n1\"} 2\n",
            "gantry_node_memory_total_bytes{node=\"n1\"} 10240\n",
            "gantry_node_disk_written_bytes_total{node=\"n1\",device=\"vda\"} 20480\n",
            "gantry_node_network_transmit_bytes_total{node=\"n1\",device=\"eth0\"} 200\n",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(!text.contains("loop0") && !text.contains("veth1"));
        assert_eq!(text.matches("# TYPE gantry_node_cpu_seconds_total counter").count(), 1);
    }

    #[tokio::test]
    async fn the_first_process_of_a_container_is_asked_for_once_and_forgotten_with_it() {
        let (processes, nobody) = (FirstProcesses::default(), Cri::lazy("/nowhere"));
        let own = std::process::id();
        processes.held().insert("c".into(), Remembered::of(own).unwrap());
        assert_eq!(processes.of(&nobody, "c").await, Some(own));
        processes.keep(&[]);
        assert_eq!(processes.of(&nobody, "c").await, None);
        let own = container_network(std::process::id());
        assert!(own.is_some(), "the kernel tells of this process");
        assert_eq!(container_network(u32::MAX), None);
    }

    #[test]
    fn a_label_cannot_break_out() {
        let mut text = Text::default();
        text.put("x", "gauge", "h", &[("a", "b\"\n\\")], 1.0);
        assert!(text.render().contains(r#"x{a="b\"\n\\"} 1"#));
    }
}
