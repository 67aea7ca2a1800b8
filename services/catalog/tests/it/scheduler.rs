//! The scheduler's side of `scheduler.v1.Applications`: remembers deployments by idempotency key, and is in whatever state the test says.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::Stream;
use gantry_contract::proto::scheduler::applications_server::{Applications, ApplicationsServer};
use gantry_contract::proto::scheduler::{App, AppRef, DeleteResponse, DeployRequest, DeployResponse, Endpoint};
use gantry_host::Running;
use tokio::sync::watch;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

#[derive(Clone)]
pub struct FakeScheduler {
    pub deployed: Arc<Mutex<BTreeMap<String, DeployRequest>>>,
    pub calls: Arc<Mutex<u32>>,
    pub deleted: Arc<Mutex<Vec<String>>>,
    state: Arc<watch::Sender<(String, String)>>,
    refusal: Arc<Mutex<Option<Status>>>,
    pub url: String,
}

impl FakeScheduler {
    pub async fn start(running: &Running) -> Self {
        let pki = running.pki();
        let leaf = pki.leaf("scheduler", &[]).expect("a certificate is made");
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(&leaf.chain_pem, &leaf.key_pem)).client_ca_root(Certificate::from_pem(&pki.ca_pem));
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let url = format!("https://{}", incoming.local_addr().expect("an address"));
        let fake = Self {
            deployed: Arc::default(),
            calls: Arc::default(),
            deleted: Arc::default(),
            state: Arc::new(watch::channel(("releasing".to_owned(), String::new())).0),
            refusal: Arc::default(),
            url,
        };
        let service = ApplicationsServer::new(fake.clone());
        let server = Server::builder().tls_config(tls).expect("TLS is configured").add_service(service);
        tokio::spawn(async move { server.serve_with_incoming(incoming).await });
        running.set_address("scheduler", fake.url.clone());
        fake
    }

    pub fn becomes(&self, state: &str, reason: &str) {
        self.state.send_replace((state.into(), reason.into()));
    }

    pub fn refuses(&self, status: Option<Status>) {
        *self.refusal.lock().expect("unpoisoned") = status;
    }

    pub fn calls(&self) -> u32 {
        *self.calls.lock().expect("unpoisoned")
    }

    pub fn only_deployment(&self) -> DeployRequest {
        let deployed = self.deployed.lock().expect("unpoisoned");
        assert_eq!(deployed.len(), 1, "one application, however often it was asked for");
        deployed.values().next().expect("one").clone()
    }

    fn app(&self) -> App {
        let (state, reason) = self.state.borrow().clone();
        let endpoint = Endpoint { service: "redis".into(), host: "127.0.0.1".into(), port: 20_017, protocol: "tcp".into(), url: String::new() };
        let inside = Endpoint { host: "redis.svc-cache".into(), port: 6379, ..endpoint.clone() };
        App { state, reason, endpoints: vec![endpoint], inside: vec![inside], ..App::default() }
    }
}

#[tonic::async_trait]
impl Applications for FakeScheduler {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<App, Status>> + Send>>;

    async fn deploy(&self, request: Request<DeployRequest>) -> Result<Response<DeployResponse>, Status> {
        if let Some(status) = self.refusal.lock().expect("unpoisoned").clone() {
            return Err(status);
        }
        *self.calls.lock().expect("unpoisoned") += 1;
        let request = request.into_inner();
        self.deployed.lock().expect("unpoisoned").insert(request.idempotency_key.clone(), request);
        Ok(Response::new(DeployResponse { app_id: "a".into(), revision: 1 }))
    }

    async fn get(&self, _: Request<AppRef>) -> Result<Response<App>, Status> {
        Ok(Response::new(self.app()))
    }

    async fn delete(&self, request: Request<AppRef>) -> Result<Response<DeleteResponse>, Status> {
        self.deleted.lock().expect("unpoisoned").push(request.into_inner().app);
        Ok(Response::new(DeleteResponse {}))
    }

    async fn watch(&self, _: Request<AppRef>) -> Result<Response<Self::WatchStream>, Status> {
        let changes = tokio_stream::wrappers::WatchStream::new(self.state.subscribe());
        let fake = self.clone();
        Ok(Response::new(Box::pin(futures::StreamExt::map(changes, move |_| Ok(fake.app())))))
    }
}
