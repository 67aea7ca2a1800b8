//! The processes of a pod, read out of its own `/proc` by its own shell, and signals to them. The API shows no processes.

use serde_json::{Value, json};

/// Of proc(5), on every Linux that matters.
const TICKS_A_SECOND: u64 = 100;
const SIGNALS: [&str; 10] = ["TERM", "KILL", "HUP", "INT", "QUIT", "USR1", "USR2", "STOP", "CONT", "WINCH"];

/// Records begin with 0x1E, their parts with 0x1F; before them its own number and how long the machine runs.
const SCRIPT: &str = "printf '%s ' $$; cat /proc/uptime; for d in /proc/[0-9]*; do printf '\\036'; cat $d/stat 2>/dev/null; printf '\\037'; \
                      cat $d/status 2>/dev/null; printf '\\037'; cat $d/cmdline 2>/dev/null; done; exit 0";

pub fn listing() -> Vec<String> {
    ["sh", "-c", SCRIPT].map(str::to_owned).to_vec()
}

/// # Errors
/// When it is no signal that can be sent.
pub fn signalling(pid: u32, signal: &str) -> Result<Vec<String>, String> {
    if !SIGNALS.contains(&signal) {
        return Err(format!("{signal} is no signal that can be sent; {} are", SIGNALS.join(", ")));
    }
    Ok(["sh", "-c", "kill -s \"$1\" \"$2\"", "sh", signal, &pid.to_string()].map(str::to_owned).to_vec())
}

/// As an agent lists them, without those that looked.
///
/// # Errors
/// When it is no such list.
pub fn read(text: &[u8]) -> Result<Value, String> {
    let mut records = text.split(|b| *b == 0x1E);
    let head = String::from_utf8_lossy(records.next().unwrap_or_default()).into_owned();
    let mut head = head.split_whitespace();
    let (own, uptime) = (head.next().and_then(|n| n.parse::<u64>().ok()), head.next().and_then(|n| n.split('.').next()?.parse::<u64>().ok()));
    let (Some(own), Some(uptime)) = (own, uptime) else { return Err("the image's shell does not show its processes".into()) };
    let mut all: Vec<(u64, Value)> = records.filter_map(|record| process(record, own, uptime)).collect();
    all.sort_by_key(|(pid, _)| *pid);
    Ok(all.into_iter().map(|(_, process)| process).collect())
}

/// `None`: it has ended meanwhile, or is one of those that looked.
fn process(record: &[u8], own: u64, uptime: u64) -> Option<(u64, Value)> {
    let mut parts = record.splitn(3, |b| *b == 0x1F);
    let stat = String::from_utf8_lossy(parts.next()?).into_owned();
    let status = String::from_utf8_lossy(parts.next()?).into_owned();
    let command = String::from_utf8_lossy(parts.next()?).replace('\0', " ");
    // A program's name may have anything in it, also brackets.
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(')')?;
    let pid: u64 = pid.trim().parse().ok()?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    let parent = number(1);
    if pid == own || parent == own {
        return None;
    }
    let line = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)).map(str::trim).unwrap_or_default();
    let kib = line("VmRSS:").split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let user = line("Uid:").split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let command = match command.trim() {
        "" => format!("[{name}]"),
        command => command.to_owned(),
    };
    let process = json!({
        "pid": pid, "parent": parent, "user": user, "state": fields.first().copied().unwrap_or_default(), "threads": number(17),
        "cpu_millis": (number(11) + number(12)) * 1000 / TICKS_A_SECOND, "memory_bytes": kib << 10,
        "running_seconds": uptime.saturating_sub(number(19) / TICKS_A_SECOND), "command": command,
    });
    Some((pid, process))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_read_and_those_that_look_are_not_told() {
        let stat = |pid: u32, name: &str, parent: u32| format!("{pid} ({name}) S {parent} 1 1 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 360000 1 1");
        let status = "Name:\tx\nUid:\t0\t1000\t0\t0\nVmRSS:\t   2048 kB\nThreads:\t3\n";
        let text = format!(
            "40 4000.55 1.0\n\x1e{}\x1f{status}\x1fnginx\0-g\0daemon off;\0\x1e{}\x1f{status}\x1fsh\0\x1e{}\x1f{status}\x1fcat\0\x1e\x1f\x1f\x1e{}\x1f{status}\x1f",
            stat(1, "nginx (x", 0),
            stat(40, "sh", 0),
            stat(41, "cat", 40),
            stat(7, "kworker", 1)
        );
        let all = read(text.as_bytes()).unwrap();
        let one = json!({"pid": 1, "parent": 0, "user": 1000, "state": "S", "threads": 3, "cpu_millis": 2000, "memory_bytes": 2_097_152, "running_seconds": 400, "command": "nginx -g daemon off;"});
        assert_eq!(all[0], one);
        assert_eq!((all.as_array().unwrap().len(), &all[1]["command"]), (2, &json!("[kworker]")));
        assert!(read(b"sh: cat: not found").is_err());
    }

    #[test]
    fn only_signals_that_can_be_sent_are_sent() {
        assert_eq!(signalling(7, "TERM").unwrap()[4..], ["TERM", "7"]);
        assert!(signalling(7, "TERM; rm -rf /").is_err());
    }
}
