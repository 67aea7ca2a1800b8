//! Services that call each other: the trace and the deadline go along.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use gantry_contract::proto::billing::quotas_client::QuotasClient;
use gantry_contract::proto::billing::quotas_server::{Quotas, QuotasServer};
use gantry_contract::proto::billing::{ReserveRequest, ReserveResponse};
use gantry_es::{Meta, NewEvent, Recorded, StreamId};
use gantry_es_pg::{Append, Projection};
use gantry_host::config::Nothing;
use gantry_host::{ApiResult, Host, Parts, Service, telemetry};
use gantry_testkit::World;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use tonic::{Code, Request, Response, Status};
use tracing_subscriber::layer::SubscriberExt;

/// Takes HTTP requests and asks `back`.
struct Front;

#[async_trait]
impl Service for Front {
    const NAME: &'static str = "front";
    const DATABASE: bool = false;
    type Config = Nothing;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApiBuilder::new().build()
    }

    async fn start(_: Nothing, host: Host) -> anyhow::Result<Parts> {
        Ok(Parts { router: Router::new().route("/api/v1/orders", post(order)).with_state(host), ..Parts::default() })
    }
}

async fn order(State(host): State<Host>) -> ApiResult<&'static str> {
    QuotasClient::new(host.channel("back")?).reserve(ReserveRequest::default()).await?;
    Ok("ordered")
}

/// Writes an event for each call; hangs when asked for "slow".
struct Back;

#[derive(Clone)]
struct Desk(Host);

/// The slow call was cut off.
static CUT: AtomicBool = AtomicBool::new(false);

struct SetsCut;

impl Drop for SetsCut {
    fn drop(&mut self) {
        CUT.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Quotas for Desk {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        let patience = request.metadata().get("grpc-timeout").and_then(|v| v.to_str().ok()).unwrap_or("none").to_owned();
        match request.into_inner().holder.as_str() {
            "slow" => {
                let _cut = SetsCut;
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            "patience" => return Err(Status::failed_precondition(patience)),
            // Somebody further on: it may not take longer than whoever asked us.
            "relay" => {
                QuotasClient::new(self.0.channel("back")?).reserve(ReserveRequest { holder: "patience".into(), ..Default::default() }).await?;
            }
            _ => {
                let event = NewEvent { kind: "order.placed".into(), kind_version: 1, data: serde_json::json!({}).into() };
                self.0
                    .log()
                    .append(Append::one(StreamId::new("order", "1"), None, vec![event], Meta::system()))
                    .await
                    .map_err(|e| Status::internal(e.to_string()))?;
            }
        }
        Ok(Response::new(ReserveResponse {}))
    }
}

#[async_trait]
impl Service for Back {
    const NAME: &'static str = "back";
    type Config = Nothing;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApiBuilder::new().build()
    }

    async fn start(_: Nothing, host: Host) -> anyhow::Result<Parts> {
        Ok(Parts { grpc: Some(tonic::service::Routes::new(QuotasServer::new(Desk(host)))), ..Parts::default() })
    }
}

/// Reads `back`'s events.
struct Reader;

struct Orders;

#[async_trait]
impl Projection for Orders {
    fn name(&self) -> &'static str {
        "orders"
    }
    fn ddl(&self) -> &'static str {
        "create table orders (position bigint primary key)"
    }
    fn tables(&self) -> &'static [&'static str] {
        &["orders"]
    }
    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        tx.execute_unprepared(&format!("insert into orders values ({})", event.position)).await?;
        Ok(())
    }
}

#[async_trait]
impl Service for Reader {
    const NAME: &'static str = "reader";
    type Config = Nothing;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApiBuilder::new().build()
    }

    async fn start(_: Nothing, host: Host) -> anyhow::Result<Parts> {
        host.subscribe("back", Arc::new(Orders)).await?;
        Ok(Parts::default())
    }
}

/// Keeps what a collector would be sent.
#[derive(Clone, Debug, Default)]
struct Collected(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Collected {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

// One thread, so that the subscriber of this test is its own.
#[tokio::test]
async fn one_trace_leads_from_http_through_grpc_and_the_event_to_the_projection_of_another_service() {
    let collected = Collected::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(collected.clone()).build();
    let _here = tracing::subscriber::set_default(tracing_subscriber::registry().with(telemetry::traces(&provider)));
    let world = World::new().await;
    let back = world.start::<Back>(Nothing {}).await;
    let reader = world.start::<Reader>(Nothing {}).await;
    let front = world.start::<Front>(Nothing {}).await;

    let url = format!("{}/api/v1/orders", front.url_of("front").unwrap());
    let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = world.http.post(url).header("traceparent", theirs).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());

    let span = |name: &str| collected.0.lock().unwrap().iter().find(|s| s.name == name).cloned();
    world.until("the other service has taken the event in", Duration::from_secs(20), || async { span("orders").is_some() }).await;
    let rows: i64 = sqlx::query_scalar("select count(*) from orders").fetch_one(&reader.db().pool).await.unwrap();
    assert_eq!(rows, 1);
    // Client and server name a call alike; the server's is the child.
    let call = "/gantry.billing.v1.Quotas/Reserve";
    world.until("the request's own span has ended", Duration::from_secs(5), || async { span("POST /api/v1/orders").is_some() }).await;
    let request = span("POST /api/v1/orders").unwrap();
    let calls: Vec<SpanData> = collected.0.lock().unwrap().iter().filter(|s| s.name == call).cloned().collect();
    let projection = span("orders").unwrap();
    assert_eq!(calls.len(), 2, "{calls:?}");
    let client = calls.iter().find(|s| s.span_kind == opentelemetry::trace::SpanKind::Client).unwrap();
    let server = calls.iter().find(|s| s.span_kind == opentelemetry::trace::SpanKind::Server).unwrap();
    for span in [&request, client, server, &projection] {
        assert_eq!(span.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c", "{}", span.name);
    }
    assert_eq!(request.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(client.parent_span_id, request.span_context.span_id());
    assert_eq!(server.parent_span_id, client.span_context.span_id());
    assert_eq!(projection.parent_span_id, server.span_context.span_id());
    let kept = back.log().read(0, 1).await.unwrap().remove(0).meta.trace.unwrap();
    assert_eq!(kept, format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", server.span_context.span_id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_reaches_the_event_also_where_nobody_collects_spans() {
    let world = World::new().await;
    let back = world.start::<Back>(Nothing {}).await;
    let front = world.start::<Front>(Nothing {}).await;
    let url = format!("{}/api/v1/orders", front.url_of("front").unwrap());
    let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(world.http.post(&url).header("traceparent", theirs).send().await.unwrap().status(), 200);
    assert_eq!(world.http.post(&url).send().await.unwrap().status(), 200);
    let events = back.log().read(0, 2).await.unwrap();
    let traces: Vec<_> = events.iter().map(|e| e.meta.trace.clone().unwrap()).collect();
    assert!(traces[0].starts_with("00-0af7651916cd43dd8448eb211c80319c-") && traces[0] != theirs, "{traces:?}");
    assert!(traces[1].starts_with("00-") && traces[1][..35] != traces[0][..35], "a trace of its own: {traces:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_hangs_is_waited_for_no_longer_than_the_deadline_and_stops_its_work_then() {
    let world = World::new().await;
    let host = world.start::<Back>(Nothing {}).await;
    let ask = |holder: &str, timeout: Option<Duration>| {
        let mut request = Request::new(ReserveRequest { holder: holder.into(), ..Default::default() });
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        let channel = host.channel("back").unwrap();
        async move { QuotasClient::new(channel).reserve(request).await.unwrap_err() }
    };
    let status = ask("patience", None).await;
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "15000m"), "every call has a deadline");

    let began = Instant::now();
    let status = ask("slow", Some(Duration::from_millis(500))).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "long before it would have answered: {:?}", began.elapsed());
    world.until("the peer stops as well", Duration::from_secs(5), || async { CUT.load(Ordering::Relaxed) }).await;

    let status = ask("relay", Some(Duration::from_secs(12))).await;
    let left: u64 = status.message().trim_end_matches('m').parse().unwrap_or_else(|_| panic!("{status:?}"));
    assert!((1..12_000).contains(&left), "whoever is asked in turn has less time: {left} ms");
}
