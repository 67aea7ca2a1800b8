use std::time::Instant;

use gantry_contract::identity::Condition;
use gantry_kernel::{Name, OrgId, ProjectId, RoleId, SpaceId, Uuid};
use time::macros::datetime;

use super::*;
use crate::permissions::{PermissionSet, find};
use crate::places::{OrgRef, ProjectRef, SpaceRef};
use crate::rights::{CustomRole, TeamRef};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn rights() -> (Rights, OrgRef, ProjectRef, SpaceRef) {
    let org = OrgRef { id: OrgId(Uuid::from_u128(1)), name: name("acme") };
    let project = ProjectRef { org: org.clone(), id: ProjectId(Uuid::from_u128(2)), name: name("shop"), public: false };
    let space = SpaceRef { project: project.clone(), id: SpaceId(Uuid::from_u128(3)), name: name("test") };
    let mut rights = Rights::of_area("apps");
    rights.put_org(org.clone());
    rights.put_project(project.clone());
    rights.put_space(space.clone());
    (rights, org, project, space)
}

fn binding(n: u128) -> BindingId {
    BindingId(Uuid::from_u128(n))
}

fn team(n: u128) -> TeamId {
    TeamId(Uuid::from_u128(n))
}

fn put_team(rights: &mut Rights, n: u128, parent: Option<u128>) {
    rights.put_team(TeamRef { id: team(n), org: OrgId(Uuid::from_u128(1)), name: name(&format!("t{n}")), parent: parent.map(team) });
}

fn custom(rights: &mut Rights, permissions: &[&str]) -> RoleRef {
    let id = RoleId(Uuid::from_u128(70));
    rights.put_role(CustomRole { id, org: None, name: name("special"), permissions: PermissionSet::new(permissions.iter().copied()) });
    RoleRef::Custom(id)
}

fn context(factors: &[&str]) -> Context {
    Context { now: datetime!(2026-11-23 09:30 UTC), from: "10.1.1.1".parse().ok(), factors: factors.iter().map(|f| (*f).to_owned()).collect() }
}

#[test]
fn a_role_holds_below_its_scope_but_not_above_or_beside() {
    let (mut rights, org, project, space) = rights();
    rights.grant(binding(9), "user:a".into(), Role::Editor, project.scope());
    assert_eq!(rights.role("user:a", space.scope()), Some(Role::Editor));
    assert_eq!(rights.role("user:a", org.scope()), None);
    assert_eq!(rights.role("user:a", Scope::Project(ProjectId(Uuid::from_u128(7)))), None);
    assert_eq!(rights.role("user:b", space.scope()), None);
    assert!(rights.may_know("user:a", org.scope()), "the way down to one's project may be seen");
    assert!(!rights.may_know("user:b", org.scope()));
    assert_eq!(rights.visible_orgs("user:a").len(), 1);
    assert_eq!((rights.visible_projects("user:a", None).len(), rights.visible_projects("user:b", None).len()), (1, 0));
}

#[test]
fn a_suspended_subject_has_no_rights_until_it_is_back() {
    let (mut rights, org, _, space) = rights();
    rights.grant(binding(9), "user:a".into(), Role::Admin, org.scope());
    rights.set_out("user:a".into(), true);
    assert_eq!(rights.role("user:a", space.scope()), None);
    assert!(!rights.may_know("user:a", org.scope()));
    assert!(rights.who_can(find("apps.read").unwrap(), org.scope()).is_empty());
    rights.set_out("user:a".into(), false);
    assert_eq!(rights.role("user:a", space.scope()), Some(Role::Admin));
}

#[test]
fn the_highest_of_several_roles_counts_and_a_revoked_one_does_not() {
    let (mut rights, org, _, space) = rights();
    rights.grant(binding(8), "user:a".into(), Role::Viewer, space.scope());
    rights.grant(binding(9), "user:a".into(), Role::Admin, org.scope());
    assert_eq!(rights.role("user:a", space.scope()), Some(Role::Admin));
    rights.revoke(binding(9));
    assert_eq!(rights.role("user:a", space.scope()), Some(Role::Viewer));
}

#[test]
fn a_team_passes_its_roles_to_its_members_and_to_the_teams_below() {
    let (mut rights, org, project, space) = rights();
    put_team(&mut rights, 20, None);
    put_team(&mut rights, 21, Some(20));
    rights.set_member(team(21), "user:a".into(), true);
    rights.set_member(team(20), "user:b".into(), true);
    rights.grant(binding(9), format!("team:{}", team(20)), Role::Editor, project.scope());
    rights.grant(binding(10), format!("team:{}", team(21)), Role::Admin, space.scope());
    assert_eq!(rights.role("user:a", project.scope()), Some(Role::Editor));
    assert_eq!(rights.role("user:a", space.scope()), Some(Role::Admin));
    assert_eq!(rights.role("user:b", space.scope()), Some(Role::Editor), "not the other way round");
    assert!(rights.may_know("user:a", org.scope()));
    let decision = rights.explain("user:a", find("apps.write").unwrap(), project.scope(), None);
    assert_eq!(decision.reasons[0].teams, [team(21), team(20)], "the way to the binding");
    let who = rights.who_can(find("apps.write").unwrap(), project.scope());
    assert_eq!(who.keys().collect::<Vec<_>>(), ["user:a", "user:b"]);
    assert_eq!(who["user:a"][0].teams, [team(21), team(20)]);
    rights.remove_team(team(20));
    assert_eq!(rights.role("user:a", project.scope()), None, "a team that is gone gives nothing");
    rights.set_member(team(21), "user:a".into(), false);
    assert_eq!(rights.role("user:a", space.scope()), None);
}

#[test]
fn who_is_bound_below_a_place_may_know_of_it_and_not_of_what_lies_beside() {
    let (mut rights, org, project, space) = rights();
    put_team(&mut rights, 20, None);
    rights.set_member(team(20), "user:b".into(), true);
    rights.grant(binding(9), "user:a".into(), Role::Viewer, space.scope());
    rights.grant(binding(10), format!("team:{}", team(20)), Role::Viewer, project.scope());
    let other = Scope::Space(SpaceId(Uuid::from_u128(8)));
    let knows = |subject: &str| [Scope::Platform, org.scope(), project.scope(), space.scope(), other].map(|at| rights.may_know(subject, at));
    assert_eq!(knows("user:a"), [false, true, true, true, false], "the way down to one's space, and no other");
    assert_eq!(knows("user:b"), [false, true, true, true, false], "by a team, and what lies below its project");
    assert_eq!(knows("user:c"), [false; 5]);
    rights.grant(binding(11), "user:c".into(), Role::Viewer, Scope::Platform);
    let knows = |subject: &str| [Scope::Platform, org.scope(), other].map(|at| rights.may_know(subject, at));
    assert_eq!(knows("user:c"), [true; 3], "the platform contains everything");
}

#[test]
fn a_circle_of_teams_ends_nowhere_and_hangs_nothing() {
    let (mut rights, org, _, _) = rights();
    put_team(&mut rights, 20, Some(21));
    put_team(&mut rights, 21, Some(20));
    rights.set_member(team(20), "user:a".into(), true);
    rights.grant(binding(9), format!("team:{}", team(21)), Role::Viewer, org.scope());
    assert_eq!(rights.role("user:a", org.scope()), Some(Role::Viewer));
    assert!(rights.members_below(team(21)).len() <= DEEPEST_TEAM);
}

#[test]
fn a_custom_role_gives_what_it_names_and_comes_up_to_a_role_in_its_area() {
    let (mut rights, _, project, _) = rights();
    let role = custom(&mut rights, &["apps.write", "images.pull"]);
    rights.put_binding(binding(9), Grant { subject: "user:a".into(), role, scope: project.scope(), condition: None });
    assert_eq!(rights.role("user:a", project.scope()), Some(Role::Editor), "in this service's area");
    assert_eq!(rights.role_with("user:a", project.scope(), "billing", None), None);
    assert!(rights.allows("user:a", find("images.pull").unwrap(), project.scope(), None));
    assert!(!rights.allows("user:a", find("images.push").unwrap(), project.scope(), None));
    let RoleRef::Custom(id) = role else { unreachable!() };
    rights.remove_role(id);
    assert_eq!(rights.role("user:a", project.scope()), None);
}

#[test]
fn a_condition_must_hold_for_the_request_and_never_holds_without_one() {
    let (mut rights, org, _, _) = rights();
    let condition = Condition { networks: vec!["10.0.0.0/8".into()], factors: vec!["otp".into()], ..Condition::default() };
    let grant = Grant { subject: "user:a".into(), role: Role::Admin.into(), scope: org.scope(), condition: Some(condition.into()) };
    rights.put_binding(binding(9), grant);
    let with = |factors: &[&str]| rights.role_with("user:a", org.scope(), "apps", Some(&context(factors)));
    assert_eq!(with(&["pwd", "otp"]), Some(Role::Admin));
    assert_eq!(with(&["pwd"]), None);
    assert_eq!(rights.role("user:a", org.scope()), None);
    assert!(rights.may_know("user:a", org.scope()));
    let why = rights.explain("user:a", find("apps.admin").unwrap(), org.scope(), Some(&context(&["pwd"])));
    assert!(!why.allowed && why.reasons[0].unmet.as_deref() == Some("only after a sign-in with otp"), "{why:?}");
}

#[test]
fn nobody_passes_on_more_than_they_have() {
    let (mut rights, org, project, _) = rights();
    let role = custom(&mut rights, &["identity.bindings-write", "apps.read"]);
    rights.put_binding(binding(9), Grant { subject: "user:a".into(), role, scope: org.scope(), condition: None });
    assert_eq!(rights.covers("user:a", role, project.scope(), None), Ok(()));
    assert!(rights.covers("user:a", Role::Viewer.into(), project.scope(), None).is_err());
    rights.grant(binding(10), "user:b".into(), Role::Admin, project.scope());
    assert_eq!(rights.covers("user:b", Role::Admin.into(), project.scope(), None), Ok(()));
    assert!(rights.covers("user:b", Role::Viewer.into(), org.scope(), None).is_err());
}

/// The figure of the issue (20 µs at the 99th percentile) is for a release build; this keeps the shape: a decision
/// must not grow with the number of bindings.
#[test]
fn a_decision_does_not_grow_with_the_number_of_bindings() {
    let (mut rights, org, _, space) = rights();
    for t in 0..200 {
        put_team(&mut rights, 1_000 + t, None);
        rights.grant(binding(5_000 + t), format!("team:{}", team(1_000 + t)), Role::Viewer, org.scope());
    }
    for n in 0..100_000_u128 {
        let project = Scope::Project(ProjectId(Uuid::from_u128(1_000_000 + n)));
        rights.grant(binding(10_000 + n), format!("user:{}", n % 10_000), Role::Editor, project);
        if n < 10_000 {
            rights.set_member(team(1_000 + n % 200), format!("user:{n}"), true);
        }
    }
    let mut slowest = Vec::new();
    for n in 0..2_000 {
        let subject = format!("user:{n}");
        let start = Instant::now();
        assert_eq!(rights.role(&subject, space.scope()), Some(Role::Viewer));
        slowest.push(start.elapsed());
    }
    slowest.sort_unstable();
    assert!(slowest[1_980].as_micros() < 500, "{:?}", slowest[1_980]);
}
