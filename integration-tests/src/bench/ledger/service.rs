//! Both services, as the host sees them.

use async_trait::async_trait;
use gantry_auth::peer;
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::{Append, AppendError, Store};
use gantry_host::config::Nothing;
use gantry_host::{Host, Parts, Service};
use tonic::{Request, Response, Status};
use utoipa::openapi::OpenApi;

use crate::bench::ledger::proto::ledger_server::LedgerServer;
use crate::bench::ledger::proto::{AppendRequest, AppendResponse, LoadRequest, LoadResponse, ledger_server};
use crate::bench::ledger::{Account, AccountEvent, entered};

/// Owns the accounts.
pub struct Ledger;

#[async_trait]
impl Service for Ledger {
    const NAME: &'static str = "ledger";
    type Config = Nothing;

    fn openapi() -> OpenApi {
        OpenApi::default()
    }

    async fn start(_: Nothing, host: Host) -> anyhow::Result<Parts> {
        let api = Api { accounts: Store::new(host.log().clone()), host };
        Ok(Parts { grpc: Some(tonic::service::Routes::new(LedgerServer::new(api))), grpc_names: vec!["gantry.bench.v1.Ledger"], ..Parts::default() })
    }
}

/// Another service, which calls the ledger and follows it over the bus.
pub struct Reader;

#[async_trait]
impl Service for Reader {
    const NAME: &'static str = "reader";
    type Config = Nothing;

    fn openapi() -> OpenApi {
        OpenApi::default()
    }

    async fn start(_: Nothing, _: Host) -> anyhow::Result<Parts> {
        Ok(Parts::default())
    }
}

struct Api {
    host: Host,
    accounts: Store<Account>,
}

#[tonic::async_trait]
impl ledger_server::Ledger for Api {
    async fn append(&self, request: Request<AppendRequest>) -> Result<Response<AppendResponse>, Status> {
        let caller = peer(&request, &["reader"])?;
        let AppendRequest { account, expected, entries } = request.into_inner();
        let version = expected + i64::try_from(entries.len()).unwrap_or(i64::MAX);
        let events = entries.into_iter().map(|e| entered(e.amount, e.note).encode()).collect();
        let meta = Meta { actor: format!("service:{caller}"), ..Meta::default() };
        let append = Append::one(StreamId::of::<AccountEvent>(account), Some(expected), events, meta);
        let appended = self.host.log().append(append).await.map_err(|error| match error {
            AppendError::Stale { .. } => Status::aborted(error.to_string()),
            error => Status::unavailable(error.to_string()),
        })?;
        Ok(Response::new(AppendResponse { version, position: appended.position }))
    }

    async fn load(&self, request: Request<LoadRequest>) -> Result<Response<LoadResponse>, Status> {
        peer(&request, &["reader"])?;
        let loaded = self.accounts.load(request.into_inner().account).await.map_err(|e| Status::unavailable(e.to_string()))?;
        Ok(Response::new(LoadResponse { version: loaded.version, balance: loaded.state.balance }))
    }
}
