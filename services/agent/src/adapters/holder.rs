//! Holds requests to services that have no instance: HAProxy passes them here, the scheduler is told that somebody waits, and
//! when an instance is in rotation each is passed on to it. Bounded in number and time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_kernel::InstanceId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::balance::{Layout, Slot};

/// Of one service.
const MOST: usize = 256;
/// HAProxy waits for a server's answer for a minute.
const LONGEST: Duration = Duration::from_secs(55);
const LATE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\nContent-Length: 38\r\nConnection: close\r\n\r\nthe application is starting; try again";

/// How many wait for each service.
type Waiting = Arc<Mutex<BTreeMap<String, usize>>>;

/// How many requests were passed on to each instance and go on.
type Passed = Arc<Mutex<BTreeMap<InstanceId, u64>>>;

pub struct Holder {
    layout: watch::Receiver<Layout>,
    wake: Arc<Notify>,
    tracker: TaskTracker,
    cancel: CancellationToken,
    waiting: Waiting,
    passed: Passed,
    /// Sockets that are open, by service.
    open: BTreeMap<String, (String, CancellationToken)>,
}

impl Holder {
    /// `wake` is rung when the first begins to wait for a service, and when nobody does any more.
    pub fn new(layout: watch::Receiver<Layout>, wake: Arc<Notify>, tracker: TaskTracker, cancel: CancellationToken) -> Self {
        Self { layout, wake, tracker, cancel, waiting: Arc::default(), passed: Arc::default(), open: BTreeMap::new() }
    }

    /// Opens the sockets of these services (id to path) and closes all others; call it before the balancer uses them.
    pub async fn keep(&mut self, services: &BTreeMap<String, String>) {
        self.open.retain(|id, (path, closed)| {
            let stays = services.get(id) == Some(&*path);
            if !stays {
                closed.cancel();
            }
            stays
        });
        for (id, path) in services {
            if self.open.contains_key(id) {
                continue;
            }
            match listen(path.into()).await {
                Ok(listener) => {
                    let closed = self.cancel.child_token();
                    self.open.insert(id.clone(), (path.clone(), closed.clone()));
                    self.tracker.spawn(serve(listener, id.clone(), self.line(), self.tracker.clone(), closed));
                }
                Err(error) => tracing::error!(service.id = id, %error, "requests to a service without instances cannot be held"),
            }
        }
    }

    /// Services for which somebody waits.
    pub fn waiting(&self) -> BTreeSet<String> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().filter(|(_, n)| **n > 0).map(|(id, _)| id.clone()).collect()
    }

    /// Requests under way that were held: for HAProxy they are the holder's, and none of their instance.
    pub fn passed_on(&self) -> BTreeMap<InstanceId, u64> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn line(&self) -> Line {
        let (layout, wake, waiting) = (self.layout.clone(), self.wake.clone(), self.waiting.clone());
        Line { layout, wake, waiting, passed: self.passed.clone(), cancel: self.cancel.clone() }
    }
}

async fn listen(path: PathBuf) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    // One that an earlier agent left.
    match tokio::fs::remove_file(&path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => UnixListener::bind(path),
    }
}

/// What one who waits needs.
#[derive(Clone)]
struct Line {
    layout: watch::Receiver<Layout>,
    wake: Arc<Notify>,
    waiting: Waiting,
    passed: Passed,
    /// The agent's end.
    cancel: CancellationToken,
}

impl Line {
    /// `None`: too many wait already.
    fn join(&self, service: &str) -> Option<Place> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.entry(service.to_owned()).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        if *count == 1 {
            self.wake.notify_one();
        }
        Some(Place { line: self.clone(), service: service.to_owned() })
    }
}

/// Given back when it is dropped.
struct Place {
    line: Line,
    service: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.line.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.service) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.service);
                self.line.wake.notify_one();
            }
        }
    }
}

/// Of one request to its instance; over when it is dropped.
struct Passage {
    passed: Passed,
    instance: InstanceId,
}

impl Passage {
    fn begin(passed: Passed, instance: InstanceId) -> Self {
        *passed.lock().unwrap_or_else(PoisonError::into_inner).entry(instance).or_default() += 1;
        Self { passed, instance }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = passed.get_mut(&self.instance) {
            *count -= 1;
            if *count == 0 {
                passed.remove(&self.instance);
            }
        }
    }
}

async fn serve(listener: UnixListener, service: String, line: Line, tracker: TaskTracker, closed: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = closed.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, _)) => {
                let (service, line, closed) = (service.clone(), line.clone(), closed.clone());
                tracker.spawn(async move { hold(client, &service, line, closed).await });
            }
            Err(error) => {
                tracing::warn!(%error, "a request cannot be taken in");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Once `closed` nobody is held any more: who waits is told so. What has been passed on goes on to its own end.
async fn hold(mut client: UnixStream, service: &str, mut line: Line, closed: CancellationToken) {
    let Some(place) = line.join(service) else { return refuse(client).await };
    let ready = tokio::time::timeout(LONGEST, async {
        let layout = line.layout.wait_for(|layout| server(layout, service).is_some()).await.ok()?;
        server(&layout, service)
    });
    let ready = tokio::select! {
        () = closed.cancelled() => None,
        ready = ready => ready.ok().flatten(),
    };
    let Some((instance, address)) = ready else { return refuse(client).await };
    let _passage = Passage::begin(line.passed.clone(), instance);
    let connected = tokio::select! {
        () = line.cancel.cancelled() => return,
        connected = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(&address)) => connected,
    };
    drop(place);
    match connected {
        Ok(Ok(mut instance)) => {
            tokio::select! {
                () = line.cancel.cancelled() => {}
                // Its end is the connection's.
                _ = tokio::io::copy_bidirectional(&mut client, &mut instance) => {}
            }
        }
        Ok(Err(error)) => {
            tracing::warn!(service.id = service, address, %error, "a held request did not reach its instance");
            refuse(client).await;
        }
        Err(_) => refuse(client).await,
    }
}

/// One of the instances in rotation, and where it listens.
fn server(layout: &Layout, service: &str) -> Option<(InstanceId, String)> {
    let slots = &layout.services.get(service)?.slots;
    slots.iter().find_map(|slot| match slot {
        Slot::Serving { instance, server } => Some((*instance, format!("{}:{}", server.address, server.port))),
        Slot::Free | Slot::Draining { .. } => None,
    })
}

/// Says that it is not there yet. What the client still sends is taken in, or the answer would be lost.
async fn refuse(mut client: UnixStream) {
    let said = async {
        client.write_all(LATE).await?;
        client.shutdown().await?;
        let mut rest = [0; 4096];
        while client.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), said).await;
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;

    use super::*;
    use crate::domain::balance::{Server, Service, Shape};

    #[test]
    fn the_refusal_has_the_length_it_says() {
        let text = std::str::from_utf8(LATE).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }

    #[test]
    fn no_more_than_so_many_wait_and_a_place_is_given_back() {
        let layout = watch::channel(Layout::default()).1;
        let line = Line { layout, wake: Arc::default(), waiting: Waiting::default(), passed: Passed::default(), cancel: CancellationToken::new() };
        let places: Vec<_> = std::iter::from_fn(|| line.join("web")).collect();
        assert_eq!(places.len(), MOST);
        assert!(line.join("other").is_some());
        drop(places);
        assert!(line.join("web").is_some());
        assert!(line.waiting.lock().unwrap().is_empty());
    }

    fn layout(server: Server) -> Layout {
        let shape = Shape {
            name: "web_1".into(),
            http: false,
            algorithm: "roundrobin".into(),
            binds: BTreeSet::new(),
            routes: BTreeSet::new(),
            headers: Vec::new(),
            hold: String::new(),
            access: crate::domain::balance::Access::default(),
            layer7: crate::domain::balance::Layer7::default(),
        };
        let slots = vec![Slot::Serving { instance: InstanceId(Uuid::from_u128(1)), server }];
        Layout { services: BTreeMap::from([("web".to_owned(), Service { shape, slots })]), ..Layout::default() }
    }

    /// A holder of one service, and where to connect to it.
    async fn holder(layout: watch::Receiver<Layout>, folder: &std::path::Path) -> (Holder, String) {
        let mut holder = Holder::new(layout, Arc::default(), TaskTracker::new(), CancellationToken::new());
        let path = folder.join("web.sock").display().to_string();
        holder.keep(&BTreeMap::from([("web".to_owned(), path.clone())])).await;
        (holder, path)
    }

    #[tokio::test]
    async fn what_was_passed_on_goes_on_when_nothing_is_held_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (_layout, seen) = watch::channel(layout(Server { address: "127.0.0.1".into(), port, weight: 1 }));
        let (mut holder, path) = holder(seen, folder.path()).await;
        let mut client = UnixStream::connect(&path).await.unwrap();
        let (mut instance, _) = listener.accept().await.unwrap();
        let mut word = [0; 3];
        client.write_all(b"one").await.unwrap();
        instance.read_exact(&mut word).await.unwrap();
        holder.keep(&BTreeMap::new()).await;
        assert_eq!(holder.passed_on(), BTreeMap::from([(InstanceId(Uuid::from_u128(1)), 1)]), "its instance is not to stop yet");
        instance.write_all(b"two").await.unwrap();
        client.read_exact(&mut word).await.unwrap();
        client.write_all(b"tre").await.unwrap();
        instance.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"tre");
        // The agent's own end is theirs, too.
        holder.cancel.cancel();
        assert_eq!(client.read(&mut word).await.unwrap(), 0);
        let over = async {
            while !holder.passed_on().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), over).await.expect("nothing of it goes on");
    }

    #[tokio::test]
    async fn who_waits_is_told_when_nothing_is_held_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let (_layout, seen) = watch::channel(Layout::default());
        let (mut holder, path) = holder(seen, folder.path()).await;
        let mut client = UnixStream::connect(&path).await.unwrap();
        let waits = async {
            while holder.waiting().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waits).await.expect("it waits");
        holder.keep(&BTreeMap::new()).await;
        let mut answer = vec![0; LATE.len()];
        tokio::time::timeout(Duration::from_secs(10), client.read_exact(&mut answer)).await.expect("in time").unwrap();
        assert_eq!(answer, LATE);
    }
}
