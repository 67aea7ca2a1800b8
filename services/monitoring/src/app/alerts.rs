//! Alert rules of a space: setting, showing and deleting them, and what they have found.

use gantry_auth::SpaceRef;
use gantry_contract::monitoring::AlertRule;
use gantry_es::Meta;
use gantry_es_pg::{Claim, ExecuteError, Executed, Expect, Options, Store};
use gantry_host::from_execute;
use gantry_kernel::{Name, OrgId, Problem, Result, SpaceId};

use crate::App;
use crate::domain::alert_rule::{Command, MOST, Refusal, Rule, State};
use crate::store::alerts::{self, Alert, AlertRuleView};

/// Names are unique in a space, and hold no dot.
fn stream(space: SpaceId, name: &Name) -> String {
    format!("{space}.{name}")
}

/// A space has as many places for rules as it may have rules, and each rule holds one by a claim: rules that are made at the same time
/// cannot see each other, but they cannot have the same place.
fn places(space: SpaceId) -> String {
    format!("alert-rule/{space}")
}

impl App {
    /// All of a space, by name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn alert_rules(&self, space: SpaceId) -> Result<Vec<AlertRuleView>> {
        alerts::rules(&self.host.db().pool, space, None).await.map_err(Problem::internal)
    }

    /// # Errors
    /// There is none of that name.
    pub async fn alert_rule(&self, space: SpaceId, name: &str) -> Result<AlertRuleView> {
        let mut found = alerts::rules(&self.host.db().pool, space, Some(name)).await.map_err(Problem::internal)?;
        found.pop().ok_or_else(|| Problem::not_found("alert rule", name))
    }

    /// Makes a rule, or sets it as a whole.
    ///
    /// # Errors
    /// Figures out of range, too many rules, or another version than expected.
    pub async fn set_alert_rule(&self, space: &SpaceRef, name: Name, rule: AlertRule, expect: Expect, meta: Meta) -> Result<AlertRuleView> {
        let (pool, stream, scope) = (&self.host.db().pool, stream(space.id, &name), places(space.id));
        let (org, project) = (space.project.org.id, space.project.id);
        let mut tries = 0;
        let done = loop {
            let place = alerts::place(pool, &scope, Store::<Rule>::stream(&stream).as_str(), MOST).await.map_err(Problem::internal)?;
            let others = match place {
                Some(_) => alerts::others(pool, space.id, name.as_str()).await.map_err(Problem::internal)?,
                None => MOST,
            };
            let command = Command::Set { org, project, space: space.id, name: name.clone(), rule: rule.clone(), others };
            let claims = place.into_iter().map(|place| Claim::take(scope.as_str(), place)).collect();
            let options = Options { meta: meta.clone(), expect, claims, ..Options::default() };
            match self.alert_rules.execute(&stream, command, options).await {
                // Another rule was quicker in that place.
                Err(ExecuteError::NameTaken { .. }) if tries < MOST => tries += 1,
                done => break done.map_err(from_execute)?,
            }
        };
        self.host.settled(done.position).await;
        self.alert_rule(space.id, name.as_str()).await
    }

    /// # Errors
    /// There is none of that name, or it has another version than expected.
    pub async fn delete_alert_rule(&self, space: &SpaceRef, name: Name, expect: Expect, meta: Meta) -> Result<()> {
        let options = Options { meta, expect, ..Options::default() };
        let done = self.drop_alert_rule(space.project.org.id, space.id, name, options).await.map_err(from_execute)?;
        self.host.settled(done.position).await;
        Ok(())
    }

    /// Deletes a rule whose space is gone.
    ///
    /// # Errors
    /// It is gone already, or the log cannot be used.
    pub async fn end_alert_rule(&self, org: OrgId, space: SpaceId, name: Name) -> Result<Executed<State>, ExecuteError<Refusal>> {
        self.drop_alert_rule(org, space, name, Meta::system().tenant(org).into()).await
    }

    async fn drop_alert_rule(&self, org: OrgId, space: SpaceId, name: Name, options: Options) -> Result<Executed<State>, ExecuteError<Refusal>> {
        let (stream, scope) = (stream(space, &name), places(space));
        let held = alerts::held_places(&self.host.db().pool, &scope, Store::<Rule>::stream(&stream).as_str()).await?;
        let claims = held.into_iter().map(|place| Claim::release(scope.as_str(), place)).collect();
        self.alert_rules.execute(stream, Command::Delete { org, space, name }, Options { claims, ..options }).await
    }

    /// What is pending or firing now.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn alerts(&self, space: SpaceId) -> Result<Vec<Alert>> {
        alerts::now(&self.host.db().pool, space).await.map_err(Problem::internal)
    }

    /// Changes of state, the newest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn alert_history(&self, space: SpaceId, before: Option<i64>, limit: i64) -> Result<Vec<Alert>> {
        alerts::history(&self.host.db().pool, space, before, limit).await.map_err(Problem::internal)
    }
}
