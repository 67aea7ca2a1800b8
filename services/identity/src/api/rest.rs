//! The REST API of people, organisations and rights.

pub mod account;
pub mod bindings;
pub mod branding;
pub mod certificates;
pub mod clients;
pub mod config_sets;
pub mod consents;
pub mod invitations;
pub mod issuers;
pub mod keys;
pub mod links;
pub mod mails;
pub mod members;
pub mod nodes;
pub mod orgs;
pub mod policies;
pub mod principals;
pub mod projects;
pub mod remains;
pub mod rights;
pub mod roles;
pub mod scim_tokens;
pub mod security_record;
pub mod service_accounts;
pub mod sessions;
pub mod teams;
pub mod tokens;
pub mod upstreams;
pub mod user_lists;
pub mod users;

use gantry_auth::Caller;
use gantry_kernel::{OrgId, Problem, Role, Scope, UserId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(user_lists::list, users::create))
        .routes(routes!(user_lists::import))
        .routes(routes!(user_lists::export))
        .routes(routes!(user_lists::merge))
        .routes(routes!(user_lists::require_password_reset))
        .routes(routes!(user_lists::deletion))
        .routes(routes!(remains::show))
        .routes(routes!(users::register))
        .routes(routes!(users::me, users::change_me, account::leave))
        .routes(routes!(account::factors, account::add_totp))
        .routes(routes!(account::offer_totp))
        .routes(routes!(account::remove_factor))
        .routes(routes!(certificates::mine, certificates::bind))
        .routes(routes!(certificates::unbind))
        .routes(routes!(certificates::of_user))
        .routes(routes!(certificates::revoke))
        .routes(routes!(certificates::authorities, certificates::trust))
        .routes(routes!(certificates::distrust))
        .routes(routes!(certificates::set_revocation, certificates::remove_revocation))
        .routes(routes!(certificates::fetch_revocation))
        .routes(routes!(account::recovery_codes))
        .routes(routes!(account::applications))
        .routes(routes!(account::disconnect))
        .routes(routes!(account::export))
        .routes(routes!(users::show, users::change, users::delete))
        .routes(routes!(orgs::list, orgs::create))
        .routes(routes!(orgs::show, orgs::change, orgs::delete))
        .routes(routes!(policies::show_platform, policies::put_platform))
        .routes(routes!(policies::show_org, policies::put_org))
        .routes(routes!(branding::show, branding::put, branding::reset))
        .routes(routes!(branding::put_logo, branding::delete_logo))
        .routes(routes!(invitations::list, invitations::create))
        .routes(routes!(invitations::delete))
        .routes(routes!(members::list))
        .routes(routes!(members::put, members::delete))
        .routes(routes!(projects::list, projects::create))
        .routes(routes!(projects::show, projects::delete))
        .routes(routes!(projects::list_spaces, projects::create_space))
        .routes(routes!(projects::delete_space))
        .routes(routes!(bindings::list, bindings::create))
        .routes(routes!(bindings::delete))
        .routes(routes!(principals::resolve))
        .routes(routes!(rights::check))
        .routes(routes!(rights::who_can))
        .routes(routes!(rights::matrix))
        .routes(routes!(roles::permissions))
        .routes(routes!(roles::list, roles::create))
        .routes(routes!(roles::show, roles::change, roles::delete))
        .routes(routes!(teams::list, teams::create))
        .routes(routes!(teams::show, teams::change, teams::delete))
        .routes(routes!(teams::members))
        .routes(routes!(teams::put_member, teams::delete_member))
        .routes(routes!(service_accounts::list, service_accounts::create))
        .routes(routes!(service_accounts::show, service_accounts::change, service_accounts::delete))
        .routes(routes!(service_accounts::keys, service_accounts::create_key))
        .routes(routes!(service_accounts::delete_key))
        .routes(routes!(clients::list, clients::create))
        .routes(routes!(clients::show, clients::change, clients::delete))
        .routes(routes!(clients::add_secret))
        .routes(routes!(clients::remove_secret))
        .routes(routes!(clients::list_tokens, clients::create_token))
        .routes(routes!(clients::delete_token))
        .routes(routes!(mails::state))
        .routes(routes!(security_record::verify))
        .routes(routes!(config_sets::list))
        .routes(routes!(config_sets::show, config_sets::put, config_sets::delete))
        .routes(routes!(issuers::list, issuers::create))
        .routes(routes!(issuers::delete))
        .routes(routes!(keys::list, keys::rotate))
        .routes(routes!(consents::list))
        .routes(routes!(consents::delete))
        .routes(routes!(consents::lend, consents::withdraw))
        .routes(routes!(scim_tokens::list, scim_tokens::create))
        .routes(routes!(scim_tokens::delete))
        .routes(routes!(nodes::tokens, nodes::create_token))
        .routes(routes!(nodes::delete_token))
        .routes(routes!(nodes::certificates, nodes::join))
        .routes(routes!(nodes::renew))
        .routes(routes!(nodes::revoked))
        .routes(routes!(nodes::revoke))
        .routes(routes!(sessions::list, sessions::delete_all))
        .routes(routes!(sessions::delete))
        .routes(routes!(sessions::of_user))
        .routes(routes!(sessions::delete_of_user))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::delete))
        .routes(routes!(upstreams::list, upstreams::create))
        .routes(routes!(upstreams::show, upstreams::change, upstreams::delete))
        .routes(routes!(upstreams::try_new))
        .routes(routes!(upstreams::try_kept))
        .routes(routes!(upstreams::syncs, upstreams::sync))
        .routes(routes!(links::mine, links::make))
        .routes(routes!(links::remove))
        .routes(routes!(links::of_user))
}

/// The person calling; programs with robot accounts have no profile, sessions or organisations of their own.
fn person(caller: &Caller) -> Result<UserId, Problem> {
    caller.user_id().ok_or_else(|| Problem::forbidden("to be a person"))
}

/// The same for what changes something of theirs: no role says that they may, so the token has to.
fn doer(caller: &Caller) -> Result<UserId, Problem> {
    if caller.only_reads() {
        return Err(Problem::forbidden("a token with the scope `api`; this one may only read"));
    }
    person(caller)
}

/// The same for what outlives the token: whoever acts for somebody for a while must not keep it.
fn oneself(caller: &Caller) -> Result<UserId, Problem> {
    if caller.acting.is_some() {
        return Err(Problem::forbidden("to be yourself"));
    }
    doer(caller)
}

impl App {
    fn may(&self, caller: &Caller, role: Role, scope: Scope) -> bool {
        self.host.auth.require(caller, role, scope).is_ok()
    }
}

/// The organisation, if the caller may read in it. What is missing and what is hidden look alike.
fn seen(app: &App, caller: &Caller, name: &str) -> Result<OrgId, Problem> {
    permitted(app, caller, name, "identity.read")
}

/// The organisation, if the caller has `permission` there.
fn permitted(app: &App, caller: &Caller, name: &str, permission: &'static str) -> Result<OrgId, Problem> {
    let org = orgs::known(app, caller, name)?;
    app.host.auth.permit(caller, permission, Scope::Org(org))?;
    Ok(org)
}

/// The organisation named, if the caller administers it; none: the platform, if the caller administers that.
fn owner(app: &App, caller: &Caller, org: Option<&str>) -> Result<Option<OrgId>, Problem> {
    match org {
        Some(name) => orgs::at(app, caller, name, Role::Admin).map(Some),
        None => app.host.auth.require(caller, Role::Admin, Scope::Platform).map(|()| None),
    }
}
