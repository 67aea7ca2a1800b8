//! Links between accounts at upstreams and people here: which there are, made with proof, removed.

use gantry_es::{Meta, Sealed};
use gantry_es_pg::Options;
use gantry_kernel::{LinkId, OffsetDateTime, Problem, UpstreamId, UserId};

use super::Upstream;
use super::come_in::link_releases;
use crate::app::App;
use crate::app::context::Fact;
use crate::app::people::subject;
use crate::domain::upstream::link::Command;
use crate::domain::upstream::person::External;
use crate::error::{fault, refused, unsealed};
use crate::store::upstreams::{self as rows, LinkRow};
use crate::store::{directory, upstream_tokens};

/// A link as its person may see it.
#[derive(Clone, Debug)]
pub struct Linked {
    pub id: LinkId,
    /// `None`: the upstream was deleted, and the link will be.
    pub upstream: Option<Upstream>,
    /// What the upstream calls the account.
    pub subject: String,
    pub provisioned: bool,
    pub created_at: OffsetDateTime,
}

impl App {
    /// # Errors
    /// When the database refuses.
    pub async fn links_of(&self, user: UserId) -> Result<Vec<Linked>, Problem> {
        let all = self.all_upstreams().await?;
        let mut out = Vec::new();
        for row in rows::links_of(self.pool(), user.0).await.map_err(fault)? {
            let name = self.keyring.open(&subject(user), &Sealed(row.subject)).await.map_err(unsealed)?;
            let upstream = all.iter().find(|u| u.id.0 == row.upstream).cloned();
            out.push(Linked { id: LinkId(row.id), upstream, subject: name, provisioned: row.provisioned, created_at: row.created_at });
        }
        Ok(out)
    }

    /// Links an account that was just proven to a person who is signed in.
    ///
    /// # Errors
    /// Conflict when it is linked to somebody else, or the person has another one there.
    pub async fn link_proven(&self, by: &Upstream, user: UserId, external: &External, from: &str) -> Result<(), Problem> {
        let actor = subject(user);
        let known = rows::link(self.pool(), by.id.0, &self.link_key(by, &external.subject)).await.map_err(fault)?;
        if known.is_some_and(|l| l.user_id == user.0) {
            return Ok(());
        }
        let meta = Meta { actor: actor.clone(), tenant: by.org, from: Some(from.to_owned()), ..Meta::default() };
        let position = self.link(by, user, &external.subject, false, &meta).await?;
        self.settled(position).await;
        let wanted = self.meaning(by).await.wanted(external.groups.as_deref().unwrap_or_default());
        self.give(by, user, external, &wanted, &[], &by.meta(Some(from))).await?;
        self.give_teams(by, user, external, &wanted, &by.meta(Some(from))).await?;
        let object = format!("upstream:{}", by.id);
        self.record(Fact { actor: &actor, action: "link.made", object: &object, result: "ok", reason: "proven", from }).await;
        Ok(())
    }

    /// Removes a link of `user`, with the roles that came by it.
    ///
    /// # Errors
    /// Conflict when the person could not sign in any more.
    pub async fn unlink(&self, user: UserId, link: LinkId, meta: Meta) -> Result<(), Problem> {
        let all = rows::links_of(self.pool(), user.0).await.map_err(fault)?;
        let row = all.iter().find(|l| l.id == link.0).ok_or_else(|| Problem::not_found("link", link))?;
        let account = directory::user(self.orm(), user.0).await.map_err(fault)?;
        if all.len() == 1 && account.is_some_and(|a| a.password_hash.is_none()) {
            return Err(Problem::conflict("identity.last_way_in", "this is the only way to sign in to this account: set a password first"));
        }
        self.remove_link(row, "unlinked", meta).await
    }

    /// Before a person is erased: whoever the upstream vouched for may come again as somebody new.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_links(&self, user: UserId, meta: &Meta) -> Result<(), Problem> {
        for row in rows::links_of(self.pool(), user.0).await.map_err(fault)? {
            self.remove_link(&row, "the person was deleted", Meta { command_id: None, ..meta.clone() }).await?;
        }
        Ok(())
    }

    /// When two accounts become one, what was linked to the one that goes is linked to the other; where both were, the one
    /// that stays keeps its own.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn move_links(&self, from: UserId, into: UserId, meta: &Meta) -> Result<(), Problem> {
        let meta = Meta { command_id: None, ..meta.clone() };
        let all = self.all_upstreams().await?;
        for row in rows::links_of(self.pool(), from.0).await.map_err(fault)? {
            let name = self.keyring.open(&subject(from), &Sealed(row.subject.clone())).await.map_err(unsealed)?;
            self.remove_link(&row, "merged", meta.clone()).await?;
            let Some(by) = all.iter().find(|u| u.id.0 == row.upstream) else { continue };
            match self.link(by, into, &name, row.provisioned, &meta).await {
                Ok(position) => self.settled(position).await,
                Err(problem) if problem.code == "identity.link_exists" => {}
                Err(problem) => return Err(problem),
            }
        }
        Ok(())
    }

    async fn remove_link(&self, row: &LinkRow, reason: &str, meta: Meta) -> Result<(), Problem> {
        let (user, upstream) = (UserId(row.user_id), UpstreamId(row.upstream));
        for grant in rows::grants(self.pool(), row.upstream, Some(row.user_id)).await.map_err(fault)? {
            self.take_back(&grant, &meta).await?;
        }
        for held in rows::memberships(self.pool(), row.upstream, Some(row.user_id)).await.map_err(fault)? {
            self.put_in_team(held.org.into(), held.team.into(), &subject(user), false, meta.clone()).await?;
        }
        let options = Options { meta, claims: link_releases(upstream, &row.key, user), ..Options::default() };
        let executed = self.upstreams.links.execute(row.id, Command::Remove { reason: reason.to_owned() }, options).await.map_err(refused)?;
        self.settled(executed.position).await;
        upstream_tokens::forget(self.pool(), row.id).await.map_err(fault)
    }

    /// Links and roles of upstreams that were deleted.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remove_orphans(&self) -> Result<(), Problem> {
        for row in rows::orphan_links(self.pool(), 500).await.map_err(fault)? {
            let meta = Meta { actor: format!("upstream:{}", row.upstream), ..Meta::default() };
            self.remove_link(&row, "the upstream was deleted", meta).await?;
        }
        Ok(())
    }
}
