//! The RPCs and the REST API say the same: every operation has its RPC, every field its field.

use gantry_host::Service;
use gantry_scheduler::Scheduler;
use gantry_testkit::agreement::{Apart, disagreements};

#[test]
fn every_operation_of_rest_has_its_rpc_with_the_same_fields() {
    let document = serde_json::to_value(Scheduler::openapi()).unwrap();
    let apart = Apart { by_hand: gantry_scheduler::BY_HAND, ..Apart::default() };
    let faults = disagreements(&document, gantry_scheduler::OF_REST, &apart);
    assert!(faults.is_empty(), "{}", faults.into_iter().collect::<Vec<_>>().join("\n"));
}
