//! A stored event of every kind and version decodes for ever: `tests/events/<kind>.<version>.json`.

use std::collections::BTreeSet;

use gantry_contract::branding::BrandingEvent;
use gantry_contract::certificate::{AuthorityEvent, CertificateEvent};
use gantry_contract::factor::FactorEvent;
use gantry_contract::identity::{BindingEvent, ClientEvent, MembershipEvent, OrgEvent, RobotEvent, RoleEvent, TeamEvent, UserEvent};
use gantry_contract::policy::SecurityPolicyEvent;
use gantry_contract::upstream::{LinkEvent, UpstreamEvent};
use gantry_es::EventData;
use gantry_testkit::history::{kinds, samples};
use serde_json::Value;

fn decode(kind: &str, version: u16, data: Value) -> Result<Value, gantry_es::DecodeError> {
    let aggregate = kind.split('.').next().unwrap();
    let encoded = match aggregate {
        UserEvent::AGGREGATE => UserEvent::decode(kind, version, data)?.encode(),
        OrgEvent::AGGREGATE => OrgEvent::decode(kind, version, data)?.encode(),
        SecurityPolicyEvent::AGGREGATE => SecurityPolicyEvent::decode(kind, version, data)?.encode(),
        BrandingEvent::AGGREGATE => BrandingEvent::decode(kind, version, data)?.encode(),
        CertificateEvent::AGGREGATE => CertificateEvent::decode(kind, version, data)?.encode(),
        AuthorityEvent::AGGREGATE => AuthorityEvent::decode(kind, version, data)?.encode(),
        FactorEvent::AGGREGATE => FactorEvent::decode(kind, version, data)?.encode(),
        BindingEvent::AGGREGATE => BindingEvent::decode(kind, version, data)?.encode(),
        UpstreamEvent::AGGREGATE => UpstreamEvent::decode(kind, version, data)?.encode(),
        LinkEvent::AGGREGATE => LinkEvent::decode(kind, version, data)?.encode(),
        RoleEvent::AGGREGATE => RoleEvent::decode(kind, version, data)?.encode(),
        TeamEvent::AGGREGATE => TeamEvent::decode(kind, version, data)?.encode(),
        MembershipEvent::AGGREGATE => MembershipEvent::decode(kind, version, data)?.encode(),
        RobotEvent::AGGREGATE => RobotEvent::decode(kind, version, data)?.encode(),
        ClientEvent::AGGREGATE => ClientEvent::decode(kind, version, data)?.encode(),
        other => panic!("no aggregate {other}"),
    };
    assert_eq!(encoded.kind, kind);
    Ok(encoded.data.value())
}

#[test]
fn every_stored_event_decodes_and_every_kind_has_a_sample() {
    let seen = samples(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/events"), decode);
    let all: BTreeSet<String> = [
        kinds::<UserEvent>(),
        kinds::<OrgEvent>(),
        kinds::<BindingEvent>(),
        kinds::<RoleEvent>(),
        kinds::<TeamEvent>(),
        kinds::<MembershipEvent>(),
        kinds::<RobotEvent>(),
        kinds::<ClientEvent>(),
        kinds::<FactorEvent>(),
        kinds::<SecurityPolicyEvent>(),
        kinds::<BrandingEvent>(),
        kinds::<CertificateEvent>(),
        kinds::<AuthorityEvent>(),
        kinds::<UpstreamEvent>(),
        kinds::<LinkEvent>(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert_eq!(seen, all);
}

#[test]
fn a_password_change_from_before_the_flag_decodes() {
    let old = serde_json::json!({ "user": uuid::Uuid::nil(), "password_hash": "c2VhbGVk" });
    assert_eq!(decode("user.password-changed", 1, old).unwrap()["must_change_password"], false);
}

#[test]
fn a_binding_with_a_custom_role_and_a_condition_decodes() {
    let condition =
        serde_json::json!({ "hours": { "from": "08:00", "to": "18:00", "utc_offset_minutes": 480 }, "networks": ["10.0.0.0/8"], "factors": ["otp"] });
    let id = uuid::Uuid::nil();
    let granted = serde_json::json!({ "binding": id, "subject": format!("team:{id}"), "role": format!("role:{id}"), "scope": { "level": "platform" }, "condition": condition });
    assert_eq!(decode("binding.granted", 1, granted.clone()).unwrap(), granted);
}
