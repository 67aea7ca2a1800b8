//! The RPCs and the REST API say the same: every operation has its RPC, every field its field.

use gantry_host::Service;
use gantry_registry::Registry;
use gantry_testkit::agreement::{Apart, disagreements};

#[test]
fn every_operation_of_rest_has_its_rpc_with_the_same_fields() {
    let document = serde_json::to_value(Registry::openapi()).unwrap();
    let apart = Apart { files: true, named_by_path: true, secrets: &["password", "secret"], ..Apart::default() };
    let faults = disagreements(&document, gantry_registry::api::grpc::OF_REST, &apart);
    assert!(faults.is_empty(), "{}", faults.into_iter().collect::<Vec<_>>().join("\n"));
}
