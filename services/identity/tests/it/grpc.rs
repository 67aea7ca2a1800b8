//! The API over gRPC, as programs with a person's token use it.

mod agreement;
mod refusals;

use gantry_client::identity as api;
use gantry_client::identity::account_client::AccountClient;
use gantry_client::identity::clients_client::ClientsClient;
use gantry_client::identity::organisations_client::OrganisationsClient;
use gantry_client::identity::projects_client::ProjectsClient;
use gantry_client::identity::rights_client::RightsClient;
use gantry_client::identity::security_policies_client::SecurityPoliciesClient;
use gantry_client::identity::service_accounts_client::ServiceAccountsClient;
use gantry_client::identity::teams_client::TeamsClient;
use gantry_client::identity::upstreams_client::UpstreamsClient;
use gantry_client::identity::users_client::UsersClient;
use gantry_testkit::rpc::gateway;
use reqwest::Method;
use serde_json::json;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::party::{self, PartyKey};
use crate::support::{Pkce, Suite};

/// Puts somebody's token into each call.
#[derive(Clone)]
struct Bearer(tonic::metadata::MetadataValue<tonic::metadata::Ascii>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

fn signed(suite: &Suite, token: &str) -> InterceptedService<Channel, Bearer> {
    InterceptedService::new(gateway(&suite.world, &suite.host), Bearer(format!("Bearer {token}").parse().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_is_run_over_grpc_and_every_answer_is_the_one_rest_gives() {
    gantry_testkit::clause("6.5.1.2.a");
    gantry_testkit::clause("6.5.1.2.c");
    gantry_testkit::clause("6.5.2.2.h");
    let suite = Suite::start().await;
    for name in ["ada", "bob"] {
        suite.register(name).await;
    }
    let (ada, bob) = (suite.access("ada").await, suite.access("bob").await);
    let mut orgs = OrganisationsClient::new(signed(&suite, &ada));
    let made = orgs.create_org(api::CreateOrgRequest { name: "acme".into(), display_name: Some("Acme".into()) }).await.unwrap();
    assert!(made.metadata().get("etag").is_some(), "the version comes along");
    let made = made.into_inner();
    assert_eq!((made.name.as_str(), made.role.as_deref()), ("acme", Some("admin")));
    assert_eq!(suite.get(&ada, "/api/v1/orgs/acme").await.1["id"], made.id);
    assert!(made.created_at.unwrap().seconds > 1_700_000_000);
    orgs.put_member(api::PutMemberRequest { org: "acme".into(), user: "bob".into(), role: None }).await.unwrap();
    let members = orgs.list_members(api::ListMembersRequest { org: "acme".into(), limit: Some(1), cursor: None }).await.unwrap().into_inner();
    let next = members.next.expect("a page of one, and another");
    let rest = orgs.list_members(api::ListMembersRequest { org: "acme".into(), limit: None, cursor: Some(next) }).await.unwrap().into_inner();
    assert_eq!((members.items.len() + rest.items.len(), rest.next), (2, None));

    let mut projects = ProjectsClient::new(signed(&suite, &ada));
    for project in ["shop", "live"] {
        projects.create_project(api::CreateProjectRequest { org: "acme".into(), name: project.into(), public: None }).await.unwrap();
    }
    let mut teams = TeamsClient::new(signed(&suite, &ada));
    teams.create_team(api::CreateTeamRequest { org: "acme".into(), name: "dev".into(), ..Default::default() }).await.unwrap();
    teams.put_team_member(api::PutTeamMemberRequest { org: "acme".into(), team: "dev".into(), subject: "bob".into() }).await.unwrap();
    let mut rights = RightsClient::new(signed(&suite, &ada));
    let bind = |subject: &str, role: &str, project: &str| api::CreateBindingRequest {
        subject: subject.into(),
        role: role.into(),
        org: Some("acme".into()),
        project: Some(project.into()),
        ..Default::default()
    };
    let binding = rights.create_binding(bind("team:dev", "editor", "shop")).await.unwrap().into_inner();
    assert_eq!((binding.name.as_deref(), binding.scope_name.as_str()), (Some("team:dev"), "acme/shop"));

    // May I? Who may? Who may what?
    let mut his = RightsClient::new(signed(&suite, &bob));
    let ask =
        |project: &str| api::CanIRequest { permission: "apps.write".into(), org: Some("acme".into()), project: Some(project.into()), ..Default::default() };
    let answer = his.can_i(ask("shop")).await.unwrap().into_inner();
    assert!(answer.allowed && answer.reasons[0].teams == ["dev"], "{answer:?}");
    let answer = his.can_i(ask("live")).await.unwrap().into_inner();
    assert!(!answer.allowed && answer.explanation.starts_with("denied: no role"), "another project, other rights: {answer:?}");
    let which = api::WhoCanRequest { permission: "apps.write".into(), org: Some("acme".into()), project: Some("shop".into()), ..Default::default() };
    let who = rights.who_can(which.clone()).await.unwrap().into_inner();
    assert!(who.items.iter().any(|h| h.name == "bob") && who.items.iter().any(|h| h.name == "ada"), "{who:?}");
    let anywhere = api::WhoCanRequest { org: None, project: None, ..which };
    assert_eq!(his.who_can(anywhere).await.unwrap_err().code(), Code::PermissionDenied, "whoever may not read bindings may not ask");
    let here = api::GetMatrixRequest { org: Some("acme".into()), project: Some("shop".into()), ..Default::default() };
    let matrix = rights.get_matrix(here).await.unwrap().into_inner();
    let row = matrix.items.iter().find(|r| r.name == "bob").expect("bob");
    assert!(row.permissions.iter().any(|p| p == "apps.write") && !row.permissions.iter().any(|p| p == "apps.admin"), "{row:?}");
    rights.delete_binding(api::DeleteBindingRequest { id: binding.id }).await.unwrap();
    assert!(!his.can_i(ask("shop")).await.unwrap().into_inner().allowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_keeps_its_kind_its_code_its_fields_and_its_trace() {
    let suite = Suite::start().await;
    let [ada, _, eve] = suite.acme().await;
    let mut orgs = OrganisationsClient::new(signed(&suite, &ada));
    let taken = orgs.create_org(api::CreateOrgRequest { name: "acme".into(), display_name: None }).await.unwrap_err();
    assert_eq!(taken.code(), Code::FailedPrecondition, "{taken:?}");
    let bad = orgs.create_org(api::CreateOrgRequest { name: "No Name".into(), display_name: None }).await.unwrap_err();
    assert_eq!((bad.code(), bad.metadata().get("gantry-code").unwrap().to_str().unwrap()), (Code::InvalidArgument, "request.invalid"));
    let details = bad.get_error_details();
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "name", "{bad:?}");
    assert_eq!(details.error_info().unwrap().metadata["trace_id"].len(), 32);
    let mut named = Request::new(api::ChangeOrgRequest { org: "acme".into(), display_name: Some("New".into()), owner: None });
    named.metadata_mut().insert("if-match", "\"99\"".parse().unwrap());
    assert_eq!(orgs.change_org(named).await.unwrap_err().code(), Code::Aborted, "somebody else was faster");
    let hidden = TeamsClient::new(signed(&suite, &eve)).get_team(api::GetTeamRequest { org: "evil".into(), team: "x".into() }).await.unwrap_err();
    assert_eq!(hidden.code(), Code::NotFound);
    let mut hers = ProjectsClient::new(signed(&suite, &eve));
    let denied = hers.create_project(api::CreateProjectRequest { org: "acme".into(), name: "mine".into(), public: None }).await.unwrap_err();
    assert!(denied.code() == Code::PermissionDenied && denied.message().contains("right"), "{denied:?}");
    let nobody = ProjectsClient::new(gateway(&suite.world, &suite.host))
        .list_projects(api::ListProjectsRequest { org: "acme".into(), ..Default::default() })
        .await
        .unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated);
    let empty = orgs.get_org(api::GetOrgRequest { org: String::new() }).await.unwrap_err();
    assert_eq!((empty.code(), empty.message()), (Code::InvalidArgument, "org: must not be empty"));
    let elsewhere = orgs.get_org(api::GetOrgRequest { org: "../users".into() }).await.unwrap_err();
    assert_eq!(elsewhere.code(), Code::NotFound, "a field is one segment of the path, whatever is in it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_with_the_same_idempotency_key_is_one_call() {
    let suite = Suite::start().await;
    let [ada, ..] = suite.acme().await;
    let mut teams = TeamsClient::new(signed(&suite, &ada));
    let request = || {
        let mut request = Request::new(api::CreateTeamRequest { org: "acme".into(), name: "dev".into(), ..Default::default() });
        request.metadata_mut().insert("idempotency-key", "k-1".parse().unwrap());
        request
    };
    let first = teams.create_team(request()).await.unwrap().into_inner();
    let again = teams.create_team(request()).await.unwrap();
    assert_eq!(again.metadata().get("idempotent-replay").unwrap(), "true");
    assert_eq!(again.into_inner().id, first.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_list_comes_first_whole_and_then_again_when_it_changes() {
    let suite = Suite::start().await;
    let [ada, ..] = suite.acme().await;
    let mut teams = TeamsClient::new(signed(&suite, &ada));
    let list = api::ListTeamsRequest { org: "acme".into(), ..Default::default() };
    let mut seen = teams.watch_teams(list.clone()).await.unwrap().into_inner();
    assert_eq!(seen.message().await.unwrap().unwrap().items.len(), 0);
    teams.create_team(api::CreateTeamRequest { org: "acme".into(), name: "dev".into(), ..Default::default() }).await.unwrap();
    let changed = tokio::time::timeout(std::time::Duration::from_secs(90), seen.message()).await.expect("in time").unwrap().unwrap();
    assert_eq!(changed.items[0].name, "dev");
    let refused = teams.watch_teams(api::ListTeamsRequest { org: "nowhere".into(), ..list }).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_managed_imported_and_exported_over_grpc() {
    gantry_testkit::clause("6.5.1.1.b");
    gantry_testkit::clause("6.5.2.2.i");
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let mut users = UsersClient::new(signed(&suite, &admin));
    let line = |name: &str, email: &str| api::ImportUser { username: name.into(), email: email.into(), ..Default::default() };
    let lines = vec![line("kim", "kim@example.org"), line("lee", "not an address")];
    let report = users.import_users(api::ImportUsersRequest { dry_run: true, users: lines.clone() }).await.unwrap().into_inner();
    assert_eq!((report.dry_run, report.created, report.failed), (true, 1, 1), "{report:?}");
    let report = users.import_users(api::ImportUsersRequest { dry_run: false, users: lines }).await.unwrap().into_inner();
    assert!(report.created == 1 && !report.lines[1].errors.is_empty(), "{report:?}");
    let kim = users.get_user(api::GetUserRequest { id: "kim".into() }).await.unwrap().into_inner();
    let change = api::ChangeUserRequest { id: kim.id.clone(), suspended: Some(true), reason: Some("left".into()), ..Default::default() };
    assert_eq!(users.change_user(change).await.unwrap().into_inner().state, "suspended");
    let search = api::ListUsersRequest { state: Some("suspended".into()), ..Default::default() };
    assert_eq!(users.list_users(search).await.unwrap().into_inner().items[0].username, "kim");
    let mut file = users.export_users(api::ExportUsersRequest { format: None }).await.unwrap().into_inner();
    let mut text = Vec::new();
    while let Some(piece) = file.message().await.unwrap() {
        assert_eq!(piece.content_type, "text/csv; charset=utf-8");
        text.extend(piece.data);
    }
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("id,username") && text.contains("kim@example.org"), "{text}");
    users.delete_user(api::DeleteUserRequest { id: kim.id.clone() }).await.unwrap();
    assert_eq!(users.get_user(api::GetUserRequest { id: kim.id }).await.unwrap_err().code(), Code::NotFound);
    let weak = api::RegisterUserRequest { username: "zed".into(), email: "zed@example.org".into(), password: "secret".into(), display_name: None };
    assert_eq!(UsersClient::new(gateway(&suite.world, &suite.host)).register_user(weak).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_policies_upstreams_and_service_accounts_keep_every_setting_on_the_way() {
    gantry_testkit::clause("6.5.2.2.j");
    let suite = Suite::start().await;
    let [ada, ..] = suite.acme().await;
    let settings =
        json!({ "client_name": "Shop", "redirect_uris": ["https://shop.example/cb"], "scopes": ["openid"], "consent_required": true, "refresh_days": 3 });
    let (status, made) = suite.post(&ada, "/api/v1/clients", json!({ "id": "shop", "org": "acme", "settings": settings })).await;
    assert_eq!(status, 201, "{made}");
    let mut clients = ClientsClient::new(signed(&suite, &ada));
    let mut seen = clients.get_client(api::GetClientRequest { client: "shop".into() }).await.unwrap().into_inner().settings.unwrap();
    assert_eq!((seen.refresh_days, seen.consent_required, &seen.scopes.as_ref().unwrap().values), (Some(3), Some(true), &vec!["openid".to_owned()]));
    // Read, changed in one field, written: all others stay as they are.
    let (_, before) = suite.get(&ada, "/api/v1/clients/shop").await;
    seen.client_name = Some("New".into());
    let after = clients.change_client(api::ChangeClientRequest { client: "shop".into(), settings: Some(seen) }).await.unwrap().into_inner();
    assert_eq!(after.settings.unwrap().client_name.as_deref(), Some("New"));
    let (_, now) = suite.get(&ada, "/api/v1/clients/shop").await;
    let mut expected = before["settings"].clone();
    expected["client_name"] = json!("New");
    assert_eq!(now["settings"], expected);

    let mut policies = SecurityPoliciesClient::new(signed(&suite, &ada));
    let policy = api::SecurityPolicy { password_min_length: Some(14), networks: vec!["127.0.0.0/8".into()], ..Default::default() };
    let kept = policies.put_org_policy(api::PutOrgPolicyRequest { org: "acme".into(), policy: Some(policy) }).await.unwrap().into_inner();
    assert_eq!((kept.password_min_length, kept.networks.len()), (Some(14), 1));
    assert_eq!(suite.get(&ada, "/api/v1/orgs/acme/policies/security").await.1["password_min_length"], 14);
    assert_eq!(policies.put_platform_policy(api::PutPlatformPolicyRequest { policy: Some(kept) }).await.unwrap_err().code(), Code::PermissionDenied);

    let mut upstreams = UpstreamsClient::new(signed(&suite, &ada));
    let ldap = api::LdapConnection {
        bind_dn: "cn=reader,dc=example".into(),
        servers: vec!["ldaps://dc.example".into()],
        user_base: "ou=people,dc=example".into(),
        page_size: Some(200),
        ..Default::default()
    };
    let settings = api::UpstreamSettings {
        connection: Some(api::UpstreamConnection { kind: Some(api::upstream_connection::Kind::Ldap(ldap.clone())) }),
        mappings: vec![api::GroupMapping { group: "devs".into(), role: Some("editor".into()), at: Some("acme/shop".into()), team: None }],
        ..Default::default()
    };
    let request = api::CreateUpstreamRequest { name: "corp".into(), settings: Some(settings), org: Some("acme".into()), secret: Some("s3cret".into()) };
    let made = upstreams.create_upstream(request).await.unwrap().into_inner();
    assert!(made.has_secret && made.settings.as_ref().unwrap().enabled == Some(true), "{made:?}");
    let Some(api::upstream_connection::Kind::Ldap(seen)) = made.settings.unwrap().connection.unwrap().kind else { panic!("a directory") };
    assert_eq!((seen.page_size, seen.servers), (Some(200), ldap.servers));

    let mut accounts = ServiceAccountsClient::new(signed(&suite, &ada));
    let grant = api::RepositoryGrant { pattern: "acme/shop/*".into(), actions: vec!["pull".into()] };
    let request = api::CreateServiceAccountRequest { org: "acme".into(), name: "ci".into(), repositories: vec![grant], description: None };
    accounts.create_service_account(request).await.unwrap();
    let describe = api::ChangeServiceAccountRequest { org: "acme".into(), name: "ci".into(), description: Some("builds".into()), ..Default::default() };
    let kept = accounts.change_service_account(describe).await.unwrap().into_inner();
    assert_eq!((kept.description.as_str(), kept.repositories.len()), ("builds", 1), "what is not said stays");
    let none = api::ChangeServiceAccountRequest {
        repositories: Some(api::RepositoryGrantList::default()),
        org: "acme".into(),
        name: "ci".into(),
        ..Default::default()
    };
    assert_eq!(accounts.change_service_account(none).await.unwrap().into_inner().repositories.len(), 0, "an empty list is said");
    let request = api::CreateServiceAccountKeyRequest { org: "acme".into(), account: "ci".into(), expires_in_days: Some(1), name: None };
    let key = accounts.create_service_account_key(request).await.unwrap().into_inner();
    assert!(key.secret.starts_with("gsk_"), "{key:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_and_ends_what_is_theirs_over_grpc() {
    gantry_testkit::clause("6.5.2.2.i");
    let suite = Suite::start().await;
    suite.register("ada").await;
    let ada = suite.access("ada").await;
    let mut account = AccountClient::new(signed(&suite, &ada));
    let me = account.get_me(()).await.unwrap().into_inner();
    assert_eq!((me.username.as_str(), me.platform_admin), ("ada", false));
    let exported = account.export_me(()).await.unwrap().into_inner();
    assert!(exported.fields.len() > 2, "{exported:?}");
    assert_eq!(account.list_sessions(()).await.unwrap().into_inner().items.len(), 1);
    let token =
        account.create_personal_token(api::CreatePersonalTokenRequest { name: "laptop".into(), scopes: vec!["api:read".into()], expires_in_days: Some(1) });
    let token = token.await.unwrap().into_inner();
    assert_eq!(account.list_personal_tokens(()).await.unwrap().into_inner().items[0].id, token.id);
    account.revoke_personal_token(api::RevokePersonalTokenRequest { id: token.id }).await.unwrap();
    assert_eq!(account.delete_me(api::DeleteMeRequest { confirm: Some("bob".into()) }).await.unwrap_err().code(), Code::InvalidArgument);
    account.delete_me(api::DeleteMeRequest { confirm: Some("ada".into()) }).await.unwrap();
    assert_eq!(suite.json(Method::GET, "/api/v1/me", Some(&ada), None).await.0, 401, "the account is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_bound_to_a_key_counts_with_a_proof_of_the_call_that_was_made() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let public = json!({ "token_endpoint_auth_method": "none", "scopes": ["openid", "api"], "dpop_bound_access_tokens": true });
    let (id, _) = suite.client(&admin, public).await;
    let (key, pkce) = (PartyKey::new("d"), Pkce::new("d"));
    let code = suite.signed_in("ada").await.get(&party::ask(&id, &pkce, &[("scope", "openid api")])).await.code();
    let proof = key.proof("POST", "/oauth2/token", json!({}));
    let (_, tokens) = suite.form_with("/oauth2/token", &[("dpop", &proof)], &party::exchange(&id, "", &code, &pkce)).await;
    let token = tokens["access_token"].as_str().unwrap();
    let ath = gantry_auth::dpop::hash(token);
    let ask = async |path: &str| {
        let mut request = Request::new(());
        request.metadata_mut().insert("authorization", format!("DPoP {token}").parse().unwrap());
        request.metadata_mut().insert("dpop", key.proof("POST", path, json!({ "ath": ath })).parse().unwrap());
        AccountClient::new(gateway(&suite.world, &suite.host)).get_me(request).await
    };
    assert_eq!(ask("/gantry.identity.v1.Account/GetMe").await.unwrap().into_inner().username, "ada");
    assert_eq!(ask("/api/v1/me").await.unwrap_err().code(), Code::Unauthenticated, "a proof of another request");
}
