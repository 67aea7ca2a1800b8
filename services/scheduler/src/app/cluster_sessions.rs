//! Sessions into pods: what an agent does on a node is done here through the cluster's API server, with what the image has.
//! Copying needs `tar` in the image, processes and signals need `sh`; a command, its own streams and ports need nothing.
//!
//! Nobody ends a command on a cluster when its caller leaves, so each carries a mark in its environment, by which it is found and
//! ended as it would be on a node.

pub mod archives;
mod files;
mod processes;
mod streams;

use std::time::Duration;

use gantry_contract::proto::scheduler::{OpenSession, SessionFrame};
use gantry_kernel::{AppId, InstanceId, Kind, Problem};
use gantry_kubernetes::{Client, Command, Outcome, Remote, Said, Target, Trouble};
use tokio::sync::mpsc;
use tonic::Status;

use self::streams::Other;
use super::context::Scheduler;
use super::sessions::{FRAMES, Frames, Link, must_lead};
use crate::domain::session::{End, OUTPUT};

/// How the main container of an instance is called on nodes.
const MAIN: &str = "main";
/// Of what a short command says.
const MOST: usize = 4 << 20;
/// Of what a program complains about.
const COMPLAINT: usize = 2_000;
/// Before a command that has lost its caller is left to itself.
const ENDING: Duration = Duration::from_secs(15);

/// The caller's side.
struct Pipe {
    to: mpsc::Sender<SessionFrame>,
    from: mpsc::Receiver<Result<SessionFrame, Status>>,
}

impl Pipe {
    /// False when nobody takes it any more.
    async fn send(&self, channel: u8, bytes: &[u8]) -> bool {
        send(&self.to, channel, bytes).await
    }
}

async fn send(to: &mpsc::Sender<SessionFrame>, channel: u8, bytes: &[u8]) -> bool {
    let mut data = Vec::with_capacity(bytes.len() + 1);
    data.push(channel);
    data.extend_from_slice(bytes);
    to.send(SessionFrame { data, ..SessionFrame::default() }).await.is_ok()
}

/// What has been opened.
enum Work {
    Exec {
        run: Command,
        mark: String,
        remote: Remote,
    },
    Attach {
        restarts: u64,
        remote: Remote,
    },
    Forward(Remote),
    Download(Remote),
    /// `plain`: the end of the archive can be told.
    Upload {
        plain: bool,
        remote: Remote,
    },
    Processes(Remote),
    Signal(Remote),
}

/// Opens a session into a pod; what is refused is refused before anything is sent.
///
/// # Errors
/// When this process does not lead, the pod is not there any more, or the cluster refuses or cannot be reached.
pub async fn dial(s: &Scheduler, cluster: &str, app: AppId, instance: InstanceId, open: OpenSession) -> Result<Link, Problem> {
    must_lead(s)?;
    let running = s.clusters.get(cluster).ok_or_else(|| away(format!("the cluster {cluster} is not looked after now; see `gantry cluster test {cluster}`")))?;
    let mut found = None;
    running.engine.each_pod_of(&app.to_string(), |pod| {
        if pod.uid == instance.to_string() {
            // Any other name the cluster knows, or refuses.
            let container = Some(&open.container).filter(|name| !matches!(name.as_str(), "" | MAIN)).or(pod.containers.first());
            found = Some(Target { namespace: pod.namespace.clone(), pod: pod.name.clone(), container: container.cloned().unwrap_or_default() });
        }
    });
    let at = found.ok_or_else(|| Problem::conflict("scheduler.instance_not_running", "its pod is not on the cluster any more"))?;
    let client = running.engine.client().clone();
    let mark = s.host.uuid().simple().to_string();
    let work = begin(&client, &at, open, mark).await.map_err(|no| match no {
        No::Here(why) => Problem::conflict("scheduler.session_failed", why),
        No::There(trouble) => refused(cluster, &trouble),
    })?;
    let (to_agent, from) = mpsc::channel(FRAMES);
    let (to, from_agent) = mpsc::channel(FRAMES);
    s.host.tracker.spawn(async move { work.run(&client, &at, Pipe { to, from }).await });
    Ok(Link { to_agent, from_agent: Frames::Cluster(from_agent) })
}

fn away(why: String) -> Problem {
    Problem::new(Kind::Unavailable, "scheduler.node_away", why).retry_after(Duration::from_secs(5))
}

/// Which of the two it is: the cluster does not do it, or cannot be asked now.
fn refused(cluster: &str, trouble: &Trouble) -> Problem {
    let told = format!("the cluster {cluster}: {trouble}");
    match trouble {
        Trouble::Forbidden(_)
        | Trouble::NotFound(_)
        | Trouble::Refused { .. }
        | Trouble::Conflict(_)
        | Trouble::FieldConflict(_)
        | Trouble::Immutable(_)
        | Trouble::Expired => Problem::conflict("scheduler.session_failed", told),
        Trouble::Unreachable { .. }
        | Trouble::Untrusted { .. }
        | Trouble::Access(_)
        | Trouble::Unauthenticated(_)
        | Trouble::TooMany(_)
        | Trouble::Unavailable { .. }
        | Trouble::Malformed(_) => away(told),
    }
}

/// Why there is no session.
enum No {
    Here(String),
    There(Trouble),
}

impl From<Trouble> for No {
    fn from(trouble: Trouble) -> Self {
        Self::There(trouble)
    }
}

async fn begin(client: &Client, at: &Target, open: OpenSession, mark: String) -> Result<Work, No> {
    let short = |command: Vec<String>| Command { command, ..Command::default() };
    Ok(match open.kind.as_str() {
        "exec" => {
            let run = Command { command: open.command, stdin: open.stdin, tty: open.tty };
            let remote = client.exec(at, &marked(&run, &mark)).await?;
            Work::Exec { run, mark, remote }
        }
        "attach" => {
            let pod = client.get(&path_of(at)).await?;
            let list = |field: &str| pod["spec"][field].as_array().into_iter().flatten();
            let container = list("containers").chain(list("initContainers")).find(|c| c["name"] == at.container.as_str());
            let has = |field: &str| container.is_some_and(|c| c[field] == true);
            if open.stdin && !has("stdin") {
                return Err(No::Here("its document gives it no input (`stdin_open`); attach without input, or use exec".into()));
            }
            let remote = client.attach(at, open.stdin, has("tty")).await?;
            Work::Attach { restarts: streams::restarts(&pod, &at.container), remote }
        }
        "forward" => {
            let port = u16::try_from(open.port).ok().filter(|p| *p > 0).ok_or_else(|| No::Here(format!("{} is no port", open.port)))?;
            Work::Forward(client.forward(at, port).await?)
        }
        "download" => Work::Download(client.exec(at, &short(files::packing(&open.path))).await?),
        "upload" => {
            let run = |command: Vec<String>| Command { stdin: true, ..short(command) };
            let remote = client.exec(at, &run(files::unpacking(&open.path))).await?;
            if remote.input.ends() {
                Work::Upload { plain: true, remote }
            } else {
                // What has begun to unpack sees its input break off, and ends.
                drop(remote);
                Work::Upload { plain: false, remote: client.exec(at, &run(files::unpacking_text(&open.path))).await? }
            }
        }
        "processes" => Work::Processes(client.exec(at, &short(processes::listing())).await?),
        "signal" => Work::Signal(client.exec(at, &short(processes::signalling(open.pid, &open.signal).map_err(No::Here)?)).await?),
        other => return Err(No::Here(format!("sessions of kind `{other}` are not known on clusters"))),
    })
}

fn path_of(at: &Target) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", at.namespace, at.pod)
}

/// The variable by which the processes of a command are found.
const MARK: &str = "GANTRY_SESSION";

/// With the mark, if `env` would not take the command for something else.
fn marked(run: &Command, mark: &str) -> Command {
    let mut run = run.clone();
    if run.command.first().is_some_and(|program| !program.contains('=') && !program.starts_with('-')) {
        drop(run.command.splice(0..0, ["env".to_owned(), format!("{MARK}={mark}")]));
    }
    run
}

impl Work {
    async fn run(self, client: &Client, at: &Target, mut pipe: Pipe) {
        let end = match self {
            Self::Exec { run, mark, remote } => {
                let outcome = streams::exec(client, at, &run, remote, &mut pipe).await;
                if outcome.is_none() {
                    end(client, at, &mark).await;
                }
                outcome.map(ended)
            }
            Self::Attach { restarts, remote } => match streams::carry(remote, Other::Process { tty: false }, &mut pipe).await {
                None => None,
                Some(outcome) => Some(match streams::exit_code(client, at, restarts).await {
                    Some(code) => End::Exited(code),
                    None => ended(outcome),
                }),
            },
            Self::Forward(remote) => streams::carry(remote, Other::Port, &mut pipe).await.map(|outcome| match outcome {
                // The port's other side has closed its connection.
                Outcome::Closed => End::Exited(0),
                outcome => ended(outcome),
            }),
            Self::Download(remote) => files::download(remote, &pipe).await,
            Self::Upload { plain, remote } => files::upload(remote, plain, &mut pipe).await,
            Self::Processes(remote) => match answer(remote).await.and_then(|text| processes::read(&text)) {
                Ok(all) => {
                    pipe.send(OUTPUT, all.to_string().as_bytes()).await;
                    Some(End::Exited(0))
                }
                Err(why) => Some(End::Failed(needs("sh", "is what processes are seen with", &why))),
            },
            Self::Signal(remote) => Some(match answer(remote).await {
                Ok(_) => End::Exited(0),
                Err(why) => End::Failed(needs("sh", "is what signals are sent with", &why)),
            }),
        };
        if let Some(end) = end {
            // One who has left need not hear it.
            let _ = pipe.to.send(SessionFrame { data: end.frame(), ..SessionFrame::default() }).await;
        }
    }
}

fn ended(outcome: Outcome) -> End {
    match outcome {
        Outcome::Exited(code) => End::Exited(code),
        Outcome::Failed(why) => End::Failed(why),
        Outcome::Closed => End::Failed("the cluster broke off before it said how it ended".into()),
    }
}

/// Told when it is the image that lacks the program.
fn needs(program: &str, what: &str, why: &str) -> String {
    if is_missing(why, program) { format!("the image has no `{program}`, which {what} on clusters: {why}") } else { why.to_owned() }
}

/// As runc and crun say that a program is not in the image.
fn is_missing(why: &str, program: &str) -> bool {
    let named = [format!("\"{program}\""), format!("`{program}`"), format!("\\\"{program}\\\"")].iter().any(|name| why.contains(name));
    let missing = ["executable file not found", "not found in $PATH", "no such file or directory"].iter().any(|words| why.contains(words));
    named && missing
}

/// All that a short command says.
async fn answer(mut remote: Remote) -> Result<Vec<u8>, String> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match remote.output.next().await {
            Said::Stdout(bytes) if out.len() + bytes.len() > MOST => return Err(format!("it says more than {} MiB", MOST >> 20)),
            Said::Stdout(bytes) => out.extend_from_slice(&bytes),
            Said::Stderr(bytes) => complain(&mut err, &bytes),
            Said::Done(Outcome::Exited(0)) => return Ok(out),
            Said::Done(outcome) => return Err(complaint(outcome, &err)),
        }
    }
}

fn complain(err: &mut Vec<u8>, bytes: &[u8]) {
    err.extend_from_slice(&bytes[..bytes.len().min(COMPLAINT.saturating_sub(err.len()))]);
}

/// What went wrong, as the program has said it if it has said anything.
fn complaint(outcome: Outcome, err: &[u8]) -> String {
    let said = String::from_utf8_lossy(err).trim().to_owned();
    match outcome {
        Outcome::Exited(code) if said.is_empty() => format!("it ended with exit code {code}"),
        Outcome::Exited(_) => said,
        Outcome::Failed(why) => why,
        Outcome::Closed => "the cluster broke off".into(),
    }
}

/// Ends a command whose caller has left, and what it has started: first asked, then made to.
async fn end(client: &Client, at: &Target, mark: &str) {
    const SCRIPT: &str = "for s in HUP KILL; do n=0; for e in /proc/[0-9]*/environ; do if grep -q \"$1\" \"$e\" 2>/dev/null; then p=${e#/proc/}; \
                          kill -s $s \"${p%/environ}\" 2>/dev/null && n=1; fi; done; [ $n = 0 ] && exit 0; [ $s = HUP ] && sleep 2; done; exit 0";
    let command = ["sh", "-c", SCRIPT, "sh", &format!("{MARK}={mark}")].map(str::to_owned).to_vec();
    let ending = async {
        let remote = client.exec(at, &Command { command, ..Command::default() }).await.map_err(|trouble| trouble.to_string())?;
        answer(remote).await.map(drop)
    };
    let said = tokio::time::timeout(ENDING, ending).await.unwrap_or_else(|_| Err("no answer in time".into()));
    if let Err(why) = said {
        tracing::info!(pod = at.pod, error = why, "a command that its caller has left cannot be ended on its cluster");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_the_image_lacks_is_told_from_what_it_says_itself() {
        let runc = "OCI runtime exec failed: exec failed: unable to start container process: exec: \"tar\": executable file not found in $PATH: unknown";
        assert!(needs("tar", "copies", runc).starts_with("the image has no `tar`"));
        assert!(is_missing("executable file `env` not found in $PATH: No such file or directory", "env"));
        assert!(!is_missing("tar: /nowhere: No such file or directory", "tar"));
        assert!(!is_missing(runc, "sh"));
    }

    #[test]
    fn a_command_is_marked_unless_it_would_be_taken_for_a_variable() {
        let of = |program: &str| marked(&Command { command: vec![program.into(), "-l".into()], ..Command::default() }, "m").command;
        assert_eq!(of("ls"), ["env", "GANTRY_SESSION=m", "ls", "-l"]);
        assert_eq!((of("a=b")[0].as_str(), of("-x")[0].as_str()), ("a=b", "-x"));
    }
}
