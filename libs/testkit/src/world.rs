//! One test's installation: own prefix, own schemas, services on free ports, certificates of its own.

use std::sync::OnceLock;
use std::time::Duration;

use gantry_host::{Host, Platform, Running, Service};
use gantry_kernel::{Env, Role, Scope, Secret, UserId};
use gantry_servers::TestServers;
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::identity::TestIdentity;
use crate::tokens::Signer;

/// How much slower than an idle machine the one may be that runs the tests: several of them at once on two cores, beside the servers.
const SLOWER: u32 = 5;
/// The runner ends a test after four minutes without saying what it waited for.
const MOST: Duration = Duration::from_secs(150);

/// How long to wait for what takes at most `limit` on an idle machine.
pub fn patience(limit: Duration) -> Duration {
    (limit * SLOWER).min(MOST).max(limit)
}

/// The shared servers of this test run; started by whoever asks first.
pub fn servers() -> &'static TestServers {
    static SERVERS: OnceLock<TestServers> = OnceLock::new();
    SERVERS.get_or_init(|| TestServers::shared().expect("Postgres, NATS and Redis can be started"))
}

/// Dropped at the end of the test: services stop, files go.
pub struct World {
    pub running: Running,
    pub identity: TestIdentity,
    pub home: TempDir,
    /// Trusts this installation, and shows the certificate of service `gateway`.
    pub http: reqwest::Client,
    signer: Signer,
}

impl World {
    /// Servers, certificates and identity's log; no service yet.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, with changes to the platform's settings.
    pub async fn with(change: impl FnOnce(&mut Platform)) -> Self {
        let env = Env::system();
        let servers = tokio::task::spawn_blocking(servers).await.expect("the servers start");
        let home = tempfile::tempdir().expect("a temporary folder");
        // Short, because it is part of schema names; the end of a v7 id is its random part.
        let id = env.uuid().simple().to_string();
        let mut platform = Platform {
            home: home.path().to_owned(),
            public_url: "https://gantry.test".into(),
            database_url: Secret::new(&servers.database_url),
            nats_url: Secret::new(&servers.nats_url),
            redis_url: Secret::new(&servers.redis_url),
            prefix: format!("t{}", &id[id.len() - 12..]),
            ca_dir: home.path().join("ca"),
            master_key_file: home.path().join("master.key"),
            port_base: 0,
            database_connections: 6,
            ..Platform::default()
        };
        change(&mut platform);
        let running = Running::new(platform, env).expect("certificates are made");
        let identity = TestIdentity::start(&running).await.expect("identity's log opens");
        let http = client(&running, "gateway");
        Self { running, identity, home, http, signer: Signer::new() }
    }

    /// Starts a service; its tokens are the ones of [`World::token`].
    pub async fn start<S: Service>(&self, config: S::Config) -> Host {
        let host = gantry_host::start::<S>(config, &self.running).await.expect("the service starts");
        self.trust(&host);
        host
    }

    /// Has a service take the tokens of [`World::token`] again. Identity goes back to its own keys whenever it turns them.
    pub fn trust(&self, host: &Host) {
        host.auth.verifier.keys().set(&self.signer.set);
    }

    /// The same service once more, as another process of this installation has it. Stop what comes back.
    pub async fn replica<S: Service>(&self, config: S::Config) -> (Running, Host) {
        let beside = Running::new(self.running.platform.clone(), Env::system()).expect("the certificates are there");
        let host = gantry_host::start::<S>(config, &beside).await.expect("the replica starts");
        self.trust(&host);
        (beside, host)
    }

    /// A client with the certificate of another service.
    pub fn client_as(&self, service: &str) -> reqwest::Client {
        client(&self.running, service)
    }

    /// The keys of this test's tokens (a JWK set), for services in other processes.
    pub fn keys(&self) -> Value {
        serde_json::to_value(&self.signer.set).expect("keys are JSON")
    }

    /// An access token of a user.
    pub fn token(&self, user: UserId, name: &str) -> String {
        self.signer.user(&self.running.env, &self.running.platform.public_url, user, name)
    }

    /// An access token of any subject, e.g. "service:cicd".
    pub fn token_of(&self, subject: &str) -> String {
        self.signer.subject(&self.running.env, &self.running.platform.public_url, subject, None)
    }

    /// Any claims, signed by the test's key.
    pub fn sign(&self, claims: &impl serde::Serialize) -> String {
        self.signer.sign(claims)
    }

    pub fn user(&self) -> UserId {
        UserId(self.running.env.uuid())
    }

    /// A token of an administrator of the platform; `host` knows the right when this returns.
    pub async fn operator(&self, host: &Host) -> String {
        let operator = self.user();
        self.identity.grant(&format!("user:{operator}"), Role::Admin, Scope::Platform).await;
        self.identity.settle(host).await;
        self.token(operator, "op")
    }

    /// A request to a service: status and JSON body (null if it is none).
    pub async fn call(&self, host: &Host, method: Method, path: &str, token: Option<&str>, body: Option<&Value>) -> (u16, Value) {
        let url = format!("{}{path}", host.url_of(host.name).expect("the service listens"));
        let mut request = self.http.request(method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.expect("the service answers");
        let status = response.status().as_u16();
        let bytes = response.bytes().await.expect("the answer is whole");
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Waits until `condition` holds, which it does within `limit` on an idle machine; says `what` if it does not with [`patience`].
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, limit: Duration, mut condition: impl FnMut() -> F) {
        let limit = patience(limit);
        let deadline = tokio::time::Instant::now() + limit;
        while !condition().await {
            assert!(tokio::time::Instant::now() < deadline, "not within {limit:?}: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn client(running: &Running, service: &str) -> reqwest::Client {
    let leaf = running.pki().leaf(service, &[]).expect("a certificate is made");
    let tls = gantry_host::client_config(running.pki(), &leaf).expect("the certificate is whole");
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(patience(Duration::from_secs(20)))
        .build()
        .expect("a client is made")
}

impl Drop for World {
    fn drop(&mut self) {
        self.running.cancel.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_machine_is_waited_for_and_the_runner_is_not_waited_out() {
        let seconds = |limit| patience(Duration::from_secs(limit)).as_secs();
        assert_eq!([1, 20, 30, 60, 200].map(seconds), [5, 100, 150, 150, 200]);
    }
}
