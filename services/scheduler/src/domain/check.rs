//! What is done with a model after reading, whatever the format: contents are filled in from configs, defaults are set, and
//! what cannot work is named.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use gantry_kernel::Name;

use super::document::{Document, Remarks};
use super::model::{Condition, Config, File, MAX_REPLICAS, Model, PathKind, Protocol, Restart, Scaling, Workload, WorkloadKind};

pub fn complete(model: &mut Model, document: &Document<'_>, remarks: &Remarks) {
    super::sites::adopt(model, document);
    super::kept::ask(model, document, remarks);
    let configs = model.configs.clone();
    for (name, workload) in &mut model.workloads {
        let at = format!("workloads.{name}");
        fill(&at, &configs, &mut workload.env, &workload.env_sources, &mut workload.files, remarks);
        for container in workload.others_mut() {
            fill(&at, &configs, &mut container.env, &container.env_sources, &mut container.files, remarks);
            super::kept::share_folders(&mut container.files, &container.mounts);
        }
        super::kept::share_folders(&mut workload.files, &workload.mounts);
        reserve(workload, document);
        sound(&at, workload, remarks);
    }
    super::nodes_networks::sound(model, remarks);
    super::isolation::sound(model, remarks);
    dependencies(model, remarks);
    reached(model, remarks);
    elsewhere(model, remarks);
    super::exchange::complete(model, remarks);
}

/// Variables and files that name a config get what is in it.
fn fill(
    at: &str,
    configs: &BTreeMap<String, Config>,
    env: &mut BTreeMap<String, String>,
    sources: &BTreeMap<String, String>,
    files: &mut [File],
    remarks: &Remarks,
) {
    let find = |source: &str| {
        let (config, key) = source.split_once('/')?;
        let config = configs.get(config)?;
        config.get(key).map(|(content, base64)| (content.to_owned(), base64, config.secret))
    };
    for (variable, source) in sources {
        match find(source) {
            Some((content, false, _)) => drop(env.insert(variable.clone(), content)),
            Some((_, true, _)) => remarks.wrong_at(&format!("{at}.env"), format!("`{variable}`: `{source}` is no text")),
            None => remarks.wrong_at(&format!("{at}.env"), format!("`{variable}`: there is no `{source}` among the configs")),
        }
    }
    for file in files.iter_mut().filter(|f| !f.source.is_empty()) {
        match find(&file.source) {
            Some((content, base64, secret)) => (file.content, file.base64, file.secret) = (content, base64, secret),
            None => remarks.wrong_at(&format!("{at}.files"), format!("`{}`: there is no `{}` among the configs", file.path, file.source)),
        }
    }
}

/// A limit without a reservation reserves itself; neither takes the platform's default.
fn reserve(workload: &mut Workload, document: &Document<'_>) {
    let (requests, limits) = (&mut workload.requests, &workload.limits);
    if requests.cpu_millis == 0 {
        requests.cpu_millis = if limits.cpu_millis > 0 { limits.cpu_millis } else { document.default_cpu_millis };
    }
    if requests.memory_bytes == 0 {
        requests.memory_bytes = if limits.memory_bytes > 0 { limits.memory_bytes } else { document.default_memory_bytes };
    }
    if matches!(workload.kind, WorkloadKind::Job | WorkloadKind::CronJob) && workload.restart == Restart::Always {
        workload.restart = Restart::OnFailure;
    }
}

fn sound(at: &str, w: &Workload, remarks: &Remarks) {
    let wrong = |field: &str, detail: String| remarks.wrong_at(&format!("{at}.{field}"), detail);
    if w.image.is_empty() {
        wrong("image", "an image is needed: images are built by a pipeline; name the result here, or with the deployment (`--image <service>=<image>`)".into());
    }
    if w.others().any(|c| c.image.is_empty()) {
        wrong("image", "every container needs an image".into());
    }
    if w.replicas > MAX_REPLICAS {
        wrong("replicas", format!("must be 0 to {MAX_REPLICAS}"));
    }
    if w.kind == WorkloadKind::CronJob {
        let schedule = w.schedule.clone().unwrap_or_default();
        if let Err(detail) = super::clock::Clock::parse(&schedule.cron, &schedule.time_zone) {
            wrong("schedule", detail);
        }
    }
    for (field, text) in w.budget.iter().flat_map(|b| [("min_available", &b.min_available), ("max_unavailable", &b.max_unavailable)]) {
        if text.as_ref().is_some_and(|t| super::placement::budget_amount(t, 1).is_none()) {
            wrong(&format!("budget.{field}"), "must be a number or a share such as 50%".into());
        }
    }
    if let Some(scaling) = &w.scaling {
        scales(w, scaling, &wrong);
    }
    for (asked, limit, what) in [
        (u64::from(w.requests.cpu_millis), u64::from(w.limits.cpu_millis), "processor time"),
        (w.requests.memory_bytes, w.limits.memory_bytes, "memory"),
        (w.requests.storage_bytes, w.limits.storage_bytes, "storage"),
    ] {
        if limit > 0 && asked > limit {
            wrong("requests", format!("more {what} is reserved than the limit allows"));
        }
    }
    // They become folders of the node, and none may lie in another, whose instances could put a link in its place.
    for volume in w.mounts.iter().filter(|m| m.kind == super::model::MountKind::Volume).map(|m| &m.source) {
        if volume.contains('/') || volume.contains(char::is_control) {
            wrong("mounts", format!("`{volume}` is no name of a volume: it must not hold `/`"));
        }
    }
    for path in w.mounts.iter().chain(w.others().flat_map(|c| &c.mounts)).map(|m| &m.sub_path) {
        if path.split('/').any(|part| part == "..") {
            wrong("mounts", format!("`{path}` leads out of its volume"));
        }
    }
    if w.tuning.memory_swap_bytes > 0 && u64::try_from(w.tuning.memory_swap_bytes).is_ok_and(|both| both < w.limits.memory_bytes) {
        wrong("tuning", "memory and swap together are less than the limit of memory".into());
    }
    for set in [&w.tuning.cpuset, &w.tuning.cpuset_memory] {
        if !set.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '-')) {
            wrong("tuning", format!("`{set}` is no list of numbers such as 0-3,7"));
        }
    }
    let mut targets = BTreeSet::new();
    for target in w.mounts.iter().map(|m| &m.target).chain(w.files.iter().map(|f| &f.path)) {
        if !target.starts_with('/') || target.split('/').any(|p| p == "..") {
            wrong("mounts", format!("the target `{target}` must be an absolute path"));
        } else if !targets.insert(target.trim_end_matches('/')) {
            wrong("mounts", format!("two things are mounted at `{target}`"));
        }
    }
}

/// Each is asked every few seconds, at one metrics store for all.
pub const MOST_MEASURES: usize = 20;

fn scales(w: &Workload, s: &Scaling, wrong: &dyn Fn(&str, String)) {
    if !matches!(w.kind, WorkloadKind::Stateless | WorkloadKind::Stateful) {
        wrong("scaling", "only stateless and stateful workloads have a number that can follow something".into());
    }
    if s.max == 0 || s.max > MAX_REPLICAS || s.min > s.max {
        wrong("scaling", format!("`min` to `max` must lie within 0 to {MAX_REPLICAS}, and `max` is at least 1"));
    }
    if s.metrics.is_empty() && s.schedules.is_empty() {
        wrong("scaling", "needs `metrics` or `schedules`".into());
    }
    if s.metrics.len() > MOST_MEASURES || s.schedules.len() > MOST_MEASURES {
        wrong("scaling", format!("has at most {MOST_MEASURES} `metrics` and as many `schedules`"));
    }
    for (n, one) in s.schedules.iter().enumerate() {
        for cron in [&one.from, &one.to] {
            if let Err(detail) = super::clock::Clock::parse(cron, &one.time_zone) {
                wrong(&format!("scaling.schedules[{n}]"), detail);
            }
        }
        if one.replicas == 0 || one.replicas > s.max {
            wrong(&format!("scaling.schedules[{n}]"), format!("`replicas` must be 1 to `max`, which is {}", s.max));
        }
    }
    for (side, pace) in [("up", &s.up), ("down", &s.down)] {
        let pace = pace.clone().unwrap_or_default();
        if pace.stabilization_seconds.is_some_and(|n| n > 3600) || pace.steps.iter().any(|s| !(1..=1800).contains(&s.period_seconds)) {
            wrong(&format!("scaling.{side}"), "`stabilization_seconds` is 0 to 3600, and `period_seconds` of a step 1 to 1800".into());
        }
        if !matches!(pace.select.to_ascii_lowercase().as_str(), "" | "max" | "min" | "disabled") {
            wrong(&format!("scaling.{side}"), "`select` must be max, min or disabled".into());
        }
    }
}

/// Every dependency exists, none is circular, and each condition can come true.
fn dependencies(model: &Model, remarks: &Remarks) {
    for (name, workload) in &model.workloads {
        let at = format!("workloads.{name}.depends_on");
        for (needed, condition) in &workload.depends_on {
            match model.workloads.get(needed) {
                None if workload.optional_dependencies.contains(needed) => {}
                None => remarks.wrong_at(&at, format!("there is no service `{needed}`")),
                Some(other) if *condition == Condition::Healthy && other.probes.is_empty() => {
                    remarks.wrong_at(
                        &at,
                        format!("`{needed}` has no healthcheck, so it never becomes healthy: one that its image brings is not run, and is to be named"),
                    );
                }
                Some(_) => {}
            }
        }
        if reaches(model, name, name, &mut BTreeSet::new()) {
            remarks.wrong_at(&at, format!("`{name}` depends on itself"));
        }
    }
}

fn reaches(model: &Model, from: &Name, to: &Name, seen: &mut BTreeSet<Name>) -> bool {
    let Some(workload) = model.workloads.get(from) else { return false };
    workload.depends_on.keys().any(|next| next == to || (seen.insert(next.clone()) && reaches(model, next, to, seen)))
}

/// Names for what runs elsewhere lead to something that instances can reach, and mean nothing else in the document.
fn elsewhere(model: &mut Model, remarks: &Remarks) {
    for (name, outside) in &mut model.outside {
        let at = format!("outside.{name}");
        outside.address = outside.address.trim_end_matches('.').to_ascii_lowercase();
        if let Some(fault) = fault_of(&outside.address) {
            remarks.wrong_at(&format!("{at}.address"), fault);
        }
        if outside.ports.contains(&0) {
            remarks.wrong_at(&format!("{at}.ports"), "a port is 1 to 65535");
        }
        if model.services.iter().any(|s| s.name == *name || s.aliases.contains(name.as_str())) {
            remarks.wrong_at(&at, format!("`{name}` is a service of the document itself"));
        }
    }
}

/// What is wrong with the address of something that runs elsewhere.
fn fault_of(address: &str) -> Option<String> {
    if let Ok(ip) = address.parse::<IpAddr>() {
        let own = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
        return own.then(|| format!("`{address}` is no other machine's address"));
    }
    let host = !address.is_empty() && !address.starts_with('*') && is_host(address) && !address.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    (!host).then(|| format!("`{address}` must be a host name such as db.example.org, or an address"))
}

/// Routes are well formed, and no two services of the document take the same one or the same published port.
fn reached(model: &mut Model, remarks: &Remarks) {
    let mut routes = BTreeMap::new();
    let (mut published, mut public) = (BTreeMap::new(), BTreeMap::new());
    for (n, service) in model.services.iter_mut().enumerate() {
        let at = format!("services[{n}]");
        if !model.workloads.contains_key(&service.workload) {
            remarks.wrong_at(&at, format!("there is no workload `{}`", service.workload));
        }
        if !super::model::BALANCES.contains(&service.balance.as_str()) {
            remarks.wrong_at(&at, format!("balance must be one of {}", super::model::BALANCES.join(", ")));
        }
        if let Some(fault) = service.access.fault() {
            remarks.wrong_at(&format!("{at}.access"), fault);
        }
        if let Some(address) = &service.address {
            let at = format!("{at}.address");
            if service.port == 0 || service.headless {
                remarks.wrong_at(&at, "needs a port that is balanced");
            }
            if !address.pool.is_empty()
                && let Err(e) = Name::parse(&address.pool)
            {
                remarks.wrong_at(&at, format!("`{}`: the name of a pool {e}", address.pool));
            }
            // Services of one name have one address together, as have those that ask for the same one.
            let one = address.ip.map_or_else(|| format!("{}/{}", service.name, address.pool), |ip| ip.to_string());
            let port = service.public_port();
            if let Some(other) = public.insert((one, port, service.protocol == Protocol::Udp), service.name.clone()) {
                remarks.wrong_at(&at, format!("port {port} of the address is `{other}`'s already"));
            }
        }
        for (r, route) in service.routes.iter_mut().enumerate() {
            let at = format!("{at}.routes[{r}]");
            route.host.make_ascii_lowercase();
            if !is_host(&route.host) {
                remarks.wrong_at(&at, format!("`{}` must be a host name such as shop.example.org", route.host));
            }
            let harmless = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'{' | b'}');
            if !route.path.starts_with('/') || (route.is_served() && route.path_kind == PathKind::Prefix && !route.path.bytes().all(harmless)) {
                remarks.wrong_at(&at, format!("the path `{}` must start with / and hold no spaces or quotes", route.path));
            }
            let asked = format!("{:?}", (&route.host, &route.path, route.path_kind, &route.headers, &route.queries, &route.method));
            let other = routes.insert(asked, (service.name.clone(), route.weight.is_some()));
            if let Some((other, weighted)) = other
                && !(weighted && route.weight.is_some())
            {
                remarks.wrong_at(&at, format!("`{}{}` already goes to `{other}`", route.host, route.path));
            }
        }
        let wanted = service.publish.map_or(0, |p| p.wanted);
        if wanted > 0
            && let Some(other) = published.insert((wanted, service.protocol == Protocol::Udp), service.name.clone())
        {
            remarks.wrong_at(&at, format!("port {wanted} is already published by `{other}`"));
        }
    }
}

/// A DNS name; the first label may be `*`; empty for every host.
pub fn is_host(host: &str) -> bool {
    let label = |text: &str| {
        let inside = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        inside && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-')
    };
    let name = host.strip_prefix("*.").unwrap_or(host);
    host.is_empty() || (host.len() <= 253 && name.split('.').all(label))
}

/// A name of ours out of any text: lower case, `-` instead of other characters.
pub fn name_of(text: &str) -> Option<Name> {
    let clean: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let mut clean = clean.trim_matches('-').to_owned();
    if clean.starts_with(|c: char| c.is_ascii_digit()) {
        clean.insert_str(0, "n-");
    }
    clean.truncate(63);
    Name::parse(clean.trim_end_matches('-')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_become_ours() {
        for (from, to) in [("my_app", "my-app"), ("Web.1", "web-1"), ("7zip", "n-7zip"), ("-a-", "a")] {
            assert_eq!(name_of(from).unwrap().as_str(), to);
        }
        assert_eq!(name_of("__"), None);
    }

    fn faults(workload: &str) -> Vec<String> {
        let text = format!("apiVersion: gantry.io/v1\nkind: Application\nmetadata: {{name: a}}\nspec:\n  workloads:\n    web: {{image: a/b/c, {workload}}}\n");
        let read = crate::domain::own::read(&Document::alone(&text));
        read.remarks.into_list().into_iter().filter(|r| r.level == crate::domain::document::Level::Wrong).map(|r| format!("{}: {}", r.path, r.detail)).collect()
    }

    #[test]
    fn scaling_schedules_and_budgets_make_sense_or_are_named() {
        let metric = "metrics: [{source: resource, name: cpu, target: utilization, value: '50'}]";
        assert_eq!(faults(&format!("budget: {{min_available: 50%}}, scaling: {{min: 1, max: 3, {metric}}}")), Vec::<String>::new());
        for (workload, part) in [
            ("budget: {min_available: many}".to_owned(), "a number or a share"),
            (format!("scaling: {{min: 4, max: 3, {metric}}}"), "`min` to `max`"),
            (format!("scaling: {{min: 0, max: 0, {metric}}}"), "at least 1"),
            ("scaling: {min: 1, max: 3}".to_owned(), "needs `metrics` or `schedules`"),
            (format!("kind: global, scaling: {{min: 1, max: 3, {metric}}}"), "only stateless and stateful"),
            ("scaling: {min: 1, max: 3, schedules: [{from: '0 8 * * *', to: nonsense, replicas: 2}]}".to_owned(), "five fields"),
            ("scaling: {min: 1, max: 3, schedules: [{from: '0 8 * * *', to: '0 9 * * *', replicas: 4}]}".to_owned(), "1 to `max`"),
            ("kind: cron_job, schedule: {cron: '0 8 * * *', time_zone: Europe/Atlantis}".to_owned(), "no time zone"),
            ("kind: cron_job".to_owned(), "five fields"),
        ] {
            let found = faults(&workload);
            assert!(found.iter().any(|f| f.contains(part)), "{workload}: {found:?}");
        }
    }

    fn outside_faults(spec: &str) -> Vec<String> {
        let text = format!("apiVersion: gantry.io/v1\nkind: Application\nmetadata: {{name: a}}\nspec: {{{spec}}}\n");
        let read = crate::domain::own::read(&Document::alone(&text));
        read.remarks.into_list().into_iter().filter(|r| r.level == crate::domain::document::Level::Wrong).map(|r| format!("{}: {}", r.path, r.detail)).collect()
    }

    #[test]
    fn what_runs_elsewhere_has_an_address_that_can_be_reached_and_a_name_of_its_own() {
        assert_eq!(outside_faults("outside: {bank: {address: Bank.example.org., ports: [443]}, bank6: {address: 'fd00::7'}}"), Vec::<String>::new());
        let web = "workloads: {web: {image: a/b/c}}, services: [{name: web, workload: web, port: 80, protocol: tcp}]";
        for (spec, part) in [
            ("outside: {bank: {address: ''}}".to_owned(), "must be a host name"),
            ("outside: {bank: {address: '*.example.org'}}".to_owned(), "must be a host name"),
            ("outside: {bank: {address: 'bank example'}}".to_owned(), "must be a host name"),
            ("outside: {bank: {address: 10.0.0.300}}".to_owned(), "must be a host name"),
            ("outside: {bank: {address: 127.0.0.1}}".to_owned(), "no other machine's"),
            ("outside: {bank: {address: '::'}}".to_owned(), "no other machine's"),
            ("outside: {bank: {address: bank.example.org, ports: [0]}}".to_owned(), "1 to 65535"),
            (format!("{web}, outside: {{web: {{address: bank.example.org}}}}"), "a service of the document itself"),
            ("outside: {}".to_owned(), "at least one workload"),
        ] {
            let found = outside_faults(&spec);
            assert!(found.iter().any(|f| f.contains(part)), "{spec}: {found:?}");
        }
    }

    #[test]
    fn hosts_are_told_from_nonsense() {
        for (host, good) in [("a.b", true), ("*.b.org", true), ("", true), ("a b", false), ("a..b", false), ("*", false), ("-a", false)] {
            assert_eq!(is_host(host), good, "{host}");
        }
    }
}
