//! Creating, changing, deleting and trying out upstreams.

use std::collections::BTreeSet;

use gantry_contract::upstream::{Connection, Settings};
use gantry_es::Meta;
use gantry_es_pg::{Claim, Expect, Options};
use gantry_kernel::{FieldFault, Kind, OrgId, Problem, Secret, UpstreamId};

use super::{Upstream, sealed_for};
use crate::adapters::ldap::{Directory, Step, Trial};
use crate::adapters::provider::Http;
use crate::app::App;
use crate::app::orgs::name_of;
use crate::domain::org;
use crate::domain::upstream::{Command, preset, settings};
use crate::error::{refused, unsealed};

/// Secrets longer than this are not secrets.
const LARGEST_SECRET: usize = 4_000;

impl App {
    /// # Errors
    /// Faulty settings, a taken name.
    pub async fn create_upstream(&self, name: &str, org: Option<OrgId>, given: Settings, secret: Option<&Secret>, meta: Meta) -> Result<Upstream, Problem> {
        let name = name_of("name", name)?;
        self.check_upstream(org, &given, secret)?;
        if secret.is_none_or(Secret::is_empty) && needs_secret(&given) {
            return Err(Problem::invalid("secret", "must be given: the password of the searching account, or the client's secret"));
        }
        let upstream = UpstreamId(self.host.env.uuid());
        let secret = self.sealed_secret(upstream, secret).await?;
        let command = Command::Create { upstream, org, name: name.clone(), settings: Box::new(given), secret };
        let meta = Meta { tenant: org, ..meta };
        let options = Options { meta, claims: vec![Claim::take("upstream", name.as_str())], ..Options::default() };
        let executed = self.upstreams.store.execute(upstream, command, options).await.map_err(refused)?;
        self.settled(executed.position).await;
        self.refresh_ways().await?;
        self.upstream(name.as_str()).await?.ok_or_else(|| Problem::not_found("upstream", name))
    }

    /// # Errors
    /// Faulty settings, a stale version.
    pub async fn change_upstream(&self, of: &Upstream, given: Settings, secret: Option<&Secret>, expect: Expect, meta: Meta) -> Result<Upstream, Problem> {
        self.check_upstream(of.org, &given, secret)?;
        let secret = self.sealed_secret(of.id, secret).await?;
        let options = Options { meta: Meta { tenant: of.org, ..meta }, expect, ..Options::default() };
        let command = Command::Change { settings: Box::new(given), secret };
        let executed = self.upstreams.store.execute(of.id, command, options).await.map_err(refused)?;
        self.settled(executed.position).await;
        self.refresh_ways().await?;
        self.upstream(&of.name).await?.ok_or_else(|| Problem::not_found("upstream", &of.name))
    }

    /// The roles it gave and the links to it go soon after, by themselves; the people stay.
    ///
    /// # Errors
    /// A stale version.
    pub async fn delete_upstream(&self, of: &Upstream, expect: Expect, meta: Meta) -> Result<(), Problem> {
        let claims = vec![Claim::release("upstream", of.name.as_str())];
        let options = Options { meta: Meta { tenant: of.org, ..meta }, expect, claims, ..Options::default() };
        let executed = self.upstreams.store.execute(of.id, Command::Delete, options).await.map_err(refused)?;
        self.keyring.erase(&sealed_for(of.id)).await.map_err(unsealed)?;
        self.settled(executed.position).await;
        self.refresh_ways().await?;
        Ok(())
    }

    /// Deletes the upstreams of an organisation that is gone: nobody is left whose word they are. Repeating it does no harm.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remove_upstreams_of(&self, org: OrgId) -> Result<(), Problem> {
        for of in self.all_upstreams().await?.into_iter().filter(|u| u.org == Some(org)) {
            match self.delete_upstream(&of, Expect::Any, Meta::system()).await {
                Err(problem) if problem.kind == Kind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// The same for every organisation that is gone, should the process have died in between.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remove_upstreams_left(&self) -> Result<(), Problem> {
        let owners: BTreeSet<OrgId> = self.all_upstreams().await?.into_iter().filter_map(|u| u.org).collect();
        for org in owners {
            // Our copy of the rights may be behind; what the organisation's own events say is never taken back.
            let known = self.host.auth.read(|rights| rights.org_ref(org).is_some());
            if !known && matches!(self.orgs.load(org).await.map_err(refused)?.state, org::State::Deleted) {
                self.remove_upstreams_of(org).await?;
            }
        }
        Ok(())
    }

    /// Tries the settings out without keeping them: every step, and what is wrong with it.
    ///
    /// # Errors
    /// Faulty settings.
    pub async fn try_upstream(&self, org: Option<OrgId>, given: &Settings, secret: Secret, name: Option<&str>) -> Result<Vec<Trial>, Problem> {
        self.check_upstream(org, given, Some(&secret))?;
        Ok(match &given.connection {
            Connection::Ldap(ldap) => match Directory::new(given, ldap, secret, self.host.env.clone(), self.host.tracker.clone()) {
                Ok(directory) => directory.trial(name).await,
                Err(fault) => vec![Trial { step: fault.step, server: fault.server, ok: false, detail: fault.detail }],
            },
            Connection::Oidc(oidc) => vec![self.try_provider(given, oidc).await],
            Connection::Oauth2(oauth2) => {
                let detail = "the settings are whole; whether the client's id and secret are right shows at the first sign-in".to_owned();
                vec![Trial { step: Step::Attributes, server: preset::resolved(oauth2).endpoints.authorize, ok: true, detail }]
            }
        })
    }

    /// Discovery: is the provider there, and is it who it should be?
    async fn try_provider(&self, given: &Settings, oidc: &gantry_contract::upstream::Oidc) -> Trial {
        let outcome = match Http::new(given) {
            Ok(http) => crate::adapters::oidc::discover(&http, oidc).await,
            Err(error) => Err(error),
        };
        let (ok, detail) = match outcome {
            Ok(_) => (true, "the provider's metadata and keys are there, and its issuer is the one given".to_owned()),
            Err(error) => (false, format!("the provider's metadata cannot be used: {error}")),
        };
        Trial { step: Step::Connect, server: oidc.issuer.clone(), ok, detail }
    }

    async fn sealed_secret(&self, id: UpstreamId, secret: Option<&Secret>) -> Result<Option<gantry_es::Sealed>, Problem> {
        match secret.filter(|s| !s.is_empty()) {
            Some(secret) => self.keyring.seal(&sealed_for(id), secret.expose()).await.map(Some).map_err(unsealed),
            None => Ok(None),
        }
    }

    fn check_upstream(&self, org: Option<OrgId>, given: &Settings, secret: Option<&Secret>) -> Result<(), Problem> {
        let mut faults = settings::faults(given);
        if let Connection::Ldap(ldap) = &given.connection {
            let whole = settings::resolved(ldap);
            for (field, filter) in [("user_filter", &whole.user_filter), ("group_filter", &whole.group_filter)] {
                let filter = crate::domain::upstream::filter::Filter::given(filter);
                if ldap3::parse_filter(filter.to_string()).is_err() {
                    let detail = "is no LDAP filter (RFC 4515): count the brackets".to_owned();
                    faults.push(FieldFault { field: format!("settings.connection.ldap.{field}"), detail });
                }
            }
        }
        if let Some(org) = org {
            let home = self.host.auth.read(|rights| rights.org_ref(org).map(|o| o.name.to_string())).unwrap_or_default();
            let outside = |place: Option<&str>| place.is_some_and(|p| p.split('/').next() != Some(home.as_str()));
            for (i, mapping) in given.mappings.iter().enumerate() {
                if outside(mapping.at.as_deref()) || outside(mapping.team.as_deref()) {
                    let detail = format!("an organisation's upstream gives rights in its own organisation `{home}` only");
                    faults.push(FieldFault { field: format!("settings.mappings[{i}]"), detail });
                }
            }
            if outside(given.rules.default_org.as_deref()) {
                faults.push(FieldFault { field: "settings.rules.default_org".into(), detail: format!("must be `{home}`") });
            }
        }
        if secret.is_some_and(|s| s.expose().len() > LARGEST_SECRET) {
            faults.push(FieldFault { field: "secret".into(), detail: format!("must have {LARGEST_SECRET} bytes at most") });
        }
        if faults.is_empty() { Ok(()) } else { Err(Problem::invalid_fields(faults)) }
    }
}

/// Public clients have none; everybody else does.
fn needs_secret(settings: &Settings) -> bool {
    !matches!(settings.connection, Connection::Oidc(_))
}

/// What only an administrator of the platform may decide about an organisation's upstream: whose word on addresses
/// counts, whether this machine's network may be reached through it, and, where either holds, who it is that is asked.
pub fn reserved(before: Option<&Settings>, after: &Settings) -> bool {
    let far = |s: &Settings| !s.domains.is_empty() || !s.trusted_domains.is_empty() || s.allow_private;
    match before {
        None => far(after),
        Some(before) => {
            let same = before.domains == after.domains && before.trusted_domains == after.trusted_domains && before.allow_private == after.allow_private;
            !same || (far(after) && (before.connection != after.connection || before.ca_pem != after.ca_pem))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::upstream::settings::tests::ldap;

    #[test]
    fn what_reaches_beyond_an_organisation_is_reserved() {
        let with = |change: fn(&mut Settings)| {
            let mut settings = ldap();
            change(&mut settings);
            settings
        };
        assert!(!reserved(None, &ldap()));
        let trusted = with(|s| s.trusted_domains = vec!["example.org".into()]);
        let private = with(|s| s.allow_private = true);
        for far in [&trusted, &private, &with(|s| s.domains = vec!["example.org".into()])] {
            assert!(reserved(None, far) && reserved(Some(&ldap()), far));
            assert!(!reserved(Some(far), &Settings { sync_minutes: 5, ..far.clone() }), "the rest may be changed");
            let Connection::Ldap(mut other) = far.connection.clone() else { panic!("a directory") };
            other.servers = vec!["ldaps://evil.example".into()];
            assert!(reserved(Some(far), &Settings { connection: Connection::Ldap(other), ..far.clone() }), "but not whose word it is");
        }
    }
}
