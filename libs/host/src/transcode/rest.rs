//! The REST API from inside of its process: for RPCs that are written by hand because messages go both ways. They name their REST call
//! as the others do, and begin by making it: rights, limits and records are those of that call.

use axum::Router;
use axum::response::Response;
use gantry_kernel::Problem;
use http::Extensions;
use serde_json::{Map, Value};
use tonic::Status;
use tonic::metadata::MetadataMap;
use tower::ServiceExt;

use super::rule::Rule;
use super::{DESCRIPTORS, answer, on_behalf};

/// In the extensions of every gRPC request.
#[derive(Clone)]
pub struct Rest {
    router: Router,
}

impl Rest {
    pub(crate) fn new(router: Router) -> Self {
        Self { router }
    }

    /// Makes the REST call of the RPC `path` (`/<service>/<method>`) with these fields, on behalf of whoever made the RPC. `more` is in the
    /// extensions of the call, for its handler.
    ///
    /// # Errors
    /// What the handler refuses, with the details of any other RPC; or when `path` names no REST call.
    pub async fn ask<T: Clone + Send + Sync + 'static>(
        metadata: MetadataMap,
        extensions: &Extensions,
        path: &str,
        fields: Map<String, Value>,
        more: T,
    ) -> Result<Response, Status> {
        let own = extensions.get::<Self>().cloned().ok_or_else(|| Problem::internal("the host did not install Rest"))?;
        let rule = rule(path).ok_or_else(|| Problem::internal(format!("{path} names no REST call")))?;
        let mut request = on_behalf(metadata.into_headers(), extensions, path, &rule, fields, None).map_err(|problem| answer::unasked(&problem))?;
        request.extensions_mut().insert(more);
        let response = match own.router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if response.status().is_success() { Ok(response) } else { Err(answer::refusal(response).await) }
    }
}

fn rule(path: &str) -> Option<Rule> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let service = DESCRIPTORS.get_service_by_name(service)?;
    Rule::of(&service.methods().find(|m| m.name() == method)?)
}
