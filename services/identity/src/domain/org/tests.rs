use gantry_es::spec::given;
use gantry_kernel::Uuid;

use super::*;

const ORG: OrgId = OrgId(Uuid::from_u128(1));
const OWNER: UserId = UserId(Uuid::from_u128(2));
const OTHER: UserId = UserId(Uuid::from_u128(3));
const PROJECT: ProjectId = ProjectId(Uuid::from_u128(4));
const SPACE: SpaceId = SpaceId(Uuid::from_u128(5));

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn created() -> Vec<OrgEvent> {
    vec![OrgEvent::Created { org: ORG, name: name("acme"), display_name: "Acme".into(), owner: OWNER }, OrgEvent::MemberAdded { org: ORG, user: OWNER }]
}

fn with_space() -> Vec<OrgEvent> {
    let mut events = created();
    events.push(OrgEvent::ProjectCreated { org: ORG, org_name: name("acme"), project: PROJECT, name: name("shop"), public: false });
    events.push(OrgEvent::SpaceCreated { org: ORG, project: PROJECT, space: SPACE, name: name("test") });
    events
}

fn space_deleted() -> OrgEvent {
    OrgEvent::SpaceDeleted { org: ORG, project: PROJECT, space: SPACE, name: name("test") }
}

fn project_deleted() -> OrgEvent {
    OrgEvent::ProjectDeleted { org: ORG, project: PROJECT, name: name("shop") }
}

#[test]
fn the_creator_is_the_first_member() {
    let create = || Command::Create { org: ORG, name: name("acme"), display_name: "Acme".into(), owner: OWNER };
    given::<Org>([]).when(create()).then(created());
    given::<Org>(created()).when(create()).then_refused(|r| *r == Refusal::Exists);
}

#[test]
fn a_project_name_is_unique_and_free_again_after_deletion() {
    let create = || Command::CreateProject { project: PROJECT, name: name("shop"), public: false };
    given::<Org>(with_space()).when(create()).then_refused(|r| *r == Refusal::ProjectExists(name("shop")));
    let deleted = with_space().into_iter().chain([space_deleted(), project_deleted()]);
    let state = given::<Org>(deleted).when(create()).then([OrgEvent::ProjectCreated {
        org: ORG,
        org_name: name("acme"),
        project: PROJECT,
        name: name("shop"),
        public: false,
    }]);
    let State::Present(it) = state else { panic!("it is there") };
    assert!(it.projects[&name("shop")].spaces.is_empty());
}

#[test]
fn a_deleted_project_takes_its_spaces_along() {
    given::<Org>(with_space()).when(Command::DeleteProject { name: name("shop") }).then([space_deleted(), project_deleted()]);
    given::<Org>(created()).when(Command::DeleteProject { name: name("shop") }).then_refused(|r| *r == Refusal::NoProject(name("shop")));
}

#[test]
fn a_space_needs_its_project_and_a_free_name() {
    let space = |project: &str, to: &str| Command::CreateSpace { project: name(project), space: SPACE, name: name(to) };
    given::<Org>(with_space()).when(space("shop", "test")).then_refused(|r| *r == Refusal::SpaceExists(name("test")));
    given::<Org>(with_space()).when(space("other", "test")).then_refused(|r| *r == Refusal::NoProject(name("other")));
    given::<Org>(with_space()).when(Command::DeleteSpace { project: name("shop"), name: name("live") }).then_refused(|r| *r == Refusal::NoSpace(name("live")));
    given::<Org>(with_space()).when(Command::DeleteSpace { project: name("shop"), name: name("test") }).then([space_deleted()]);
}

#[test]
fn members_come_and_go_but_the_owner_stays() {
    given::<Org>(created()).when(Command::AddMember { user: OTHER }).then([OrgEvent::MemberAdded { org: ORG, user: OTHER }]);
    given::<Org>(created()).when(Command::AddMember { user: OWNER }).then([]);
    given::<Org>(created()).when(Command::RemoveMember { user: OTHER }).then([]);
    given::<Org>(created()).when(Command::RemoveMember { user: OWNER }).then_refused(|r| *r == Refusal::OwnerStays);
}

#[test]
fn a_new_owner_is_a_member_and_the_old_one_may_leave() {
    let owner = OrgEvent::OwnerChanged { org: ORG, owner: OTHER };
    given::<Org>(created()).when(Command::ChangeOwner { to: OTHER }).then([OrgEvent::MemberAdded { org: ORG, user: OTHER }, owner.clone()]);
    given::<Org>(created()).when(Command::ChangeOwner { to: OWNER }).then([]);
    let history = created().into_iter().chain([OrgEvent::MemberAdded { org: ORG, user: OTHER }, owner]);
    given::<Org>(history).when(Command::RemoveMember { user: OWNER }).then([OrgEvent::MemberRemoved { org: ORG, user: OWNER }]);
}

#[test]
fn deleting_the_organisation_names_every_part() {
    let gone = OrgEvent::Deleted { org: ORG, name: name("acme") };
    given::<Org>(with_space()).when(Command::Delete).then([space_deleted(), project_deleted(), gone.clone()]);
    let history = with_space().into_iter().chain([gone]);
    given::<Org>(history).when(Command::Rename { display_name: "x".into() }).then_refused(|r| *r == Refusal::Unknown);
    given::<Org>([]).when(Command::Delete).then_refused(|r| *r == Refusal::Unknown);
}

#[test]
fn too_many_projects_are_refused() {
    let history = created().into_iter().chain((0..MAX_PROJECTS).map(|i| OrgEvent::ProjectCreated {
        org: ORG,
        org_name: name("acme"),
        project: ProjectId(Uuid::from_u128(100 + i as u128)),
        name: name(&format!("p{i}")),
        public: false,
    }));
    given::<Org>(history).when(Command::CreateProject { project: PROJECT, name: name("shop"), public: true }).then_refused(|r| *r == Refusal::TooMany);
}

#[test]
fn the_display_name_changes_only_when_it_differs() {
    given::<Org>(created()).when(Command::Rename { display_name: "Acme".into() }).then([]);
    given::<Org>(created()).when(Command::Rename { display_name: "ACME".into() }).then([OrgEvent::Renamed { org: ORG, display_name: "ACME".into() }]);
}
