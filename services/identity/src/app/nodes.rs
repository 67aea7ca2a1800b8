//! Who nodes are: a one-time token lets a new node in, its certificate is short and renewed by itself, and a node that is
//! no longer trusted loses it.

use gantry_host::{NodeCertificate, Revoked};
use gantry_kernel::{Kind, Name, Problem, Uuid};
use time::Duration;

use crate::app::App;
use crate::app::context::Fact;
use crate::app::orgs::name_of;
use crate::app::secrets::{fresh, kept};
use crate::app::signin::Origin;
use crate::error::fault;
use crate::store::nodes::{self, Certificate, JoinToken, Removal};

const TOKEN_PREFIX: &str = "gnode_";
const MOST_MINUTES: u32 = 7 * 24 * 60;
/// Renewed at half of it.
const LIFE: Duration = Duration::hours(24);
/// Why certificates of nodes are revoked that were taken out of the platform.
const REMOVED: &str = "removed";
/// Why those are that a node has from before it joined anew.
const REJOINED: &str = "rejoined";

/// A certificate just signed.
pub struct Signed {
    pub certificate: Certificate,
    pub pem: String,
}

impl App {
    /// The token's row and its text, which is never seen again.
    ///
    /// # Errors
    /// A name or life that is out of range.
    pub async fn make_join_token(&self, node: Option<&str>, minutes: Option<u32>, actor: &str, origin: &Origin) -> Result<(JoinToken, String), Problem> {
        let node = node.map(|n| name_of("node", n)).transpose()?;
        if minutes.is_some_and(|m| m == 0 || m > MOST_MINUTES) {
            return Err(Problem::invalid("expires_in_minutes", format!("must be 1 to {MOST_MINUTES}")));
        }
        let text = fresh(&self.host.env, TOKEN_PREFIX);
        let now = self.now();
        let token = JoinToken {
            id: self.host.env.uuid(),
            node: node.map(|n| n.to_string()),
            hint: text.chars().take(TOKEN_PREFIX.len() + 4).collect(),
            created_by: actor.to_owned(),
            created_at: now,
            expires_at: now + Duration::minutes(minutes.unwrap_or(60).into()),
            used_at: None,
            used_by: None,
        };
        nodes::insert_token(self.pool(), &token, &kept(&text)).await.map_err(fault)?;
        let object = format!("node-token:{}", token.id);
        let reason = token.node.clone().unwrap_or_default();
        self.record(Fact { actor, action: "node-token.created", object: &object, result: "ok", reason: &reason, from: &origin.address }).await;
        Ok((token, text))
    }

    /// # Errors
    /// When there is no such token that is still good.
    pub async fn revoke_join_token(&self, id: Uuid, actor: &str, origin: &Origin) -> Result<(), Problem> {
        if !nodes::revoke_token(self.pool(), id, self.now()).await.map_err(fault)? {
            return Err(Problem::not_found("unused join token", id));
        }
        let object = format!("node-token:{id}");
        self.record(Fact { actor, action: "node-token.revoked", object: &object, result: "ok", reason: "", from: &origin.address }).await;
        Ok(())
    }

    /// The first certificate of a node, for a join token. A request that cannot be signed does not use the token up.
    ///
    /// # Errors
    /// Unauthenticated for a token that is unknown, used, too old, or another node's.
    pub async fn join_node(&self, token: &str, node: &str, request: &str, origin: &Origin) -> Result<Signed, Problem> {
        let node = name_of("node", node)?;
        let signed = self.sign_node(&node, request)?;
        let joined = nodes::join(self.pool(), &kept(token), &signed.certificate, REJOINED, self.now()).await.map_err(fault)?;
        let Some(before) = joined else {
            self.record_node("anonymous", "node.joined", &node, "denied", "the join token is not good", origin).await;
            return Err(Problem::unauthenticated(
                "the join token is unknown, used up, too old, for another node, or for new nodes while this one has a certificate: `gantry node join-token --node <name>` makes one",
            ));
        };
        let actor = format!("node:{node}");
        if before > 0 {
            self.record_node(&actor, "node.revoked", &node, "ok", REJOINED, origin).await;
        }
        self.record_node(&actor, "node.joined", &node, "ok", &signed.certificate.serial, origin).await;
        Ok(signed)
    }

    /// The next certificate of a node that shows its present one, which has the serial `shown`.
    ///
    /// # Errors
    /// Forbidden when that was revoked, or the node has joined anew since.
    pub async fn renew_node(&self, node: &str, shown: &str, request: &str, origin: &Origin) -> Result<Signed, Problem> {
        let node = name_of("node", node)?;
        let signed = self.sign_node(&node, request)?;
        if !nodes::renew(self.pool(), shown, &signed.certificate, self.now()).await.map_err(fault)? {
            self.record_node(&format!("node:{node}"), "node.renewed", &node, "denied", "revoked", origin).await;
            return Err(Problem::new(Kind::Forbidden, "identity.node_revoked", "the node's certificate was revoked: join it again with a new token"));
        }
        self.record_node(&format!("node:{node}"), "node.renewed", &node, "ok", &signed.certificate.serial, origin).await;
        Ok(signed)
    }

    /// Whether the certificate of this serial may still speak for the node.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn node_stands(&self, node: &str, serial: &str) -> Result<bool, Problem> {
        nodes::stands(self.pool(), node, serial).await.map_err(fault)
    }

    fn sign_node(&self, node: &Name, request: &str) -> Result<Signed, Problem> {
        if request.len() > 16_384 {
            return Err(Problem::invalid("request", "must have at most 16384 bytes"));
        }
        let (now, mut serial) = (self.now(), self.host.env.random::<16>());
        // A serial is a positive number of full length.
        serial[0] = (serial[0] & 0x7f) | 0x40;
        let wanted = NodeCertificate { node: node.as_str(), request, serial, now, life: LIFE };
        let pem = self.host.pki.sign_node(&wanted).map_err(|error| Problem::invalid("request", error.to_string()))?;
        let serial = serial.iter().map(|b| format!("{b:02x}")).collect();
        let certificate = Certificate { serial, node: node.to_string(), issued_at: now, expires_at: now + LIFE, revoked_at: None, reason: None };
        Ok(Signed { certificate, pem })
    }

    /// All that a node has; it cannot renew them.
    ///
    /// # Errors
    /// When it has none.
    pub async fn revoke_node(&self, node: &str, reason: &str, actor: &str, origin: &Origin) -> Result<u64, Problem> {
        let node = name_of("node", node)?;
        let revoked = nodes::revoke(self.pool(), node.as_str(), reason, self.now()).await.map_err(fault)?;
        if revoked == 0 {
            return Err(Problem::not_found("node with a living certificate", &node));
        }
        self.record_node(actor, "node.revoked", &node, "ok", reason, origin).await;
        Ok(revoked)
    }

    /// What a node has when its removal from the platform is followed; done again it does nothing. One that never joined by a token has none.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn revoke_removed_node(&self, node: &str, removed: &Removal) -> Result<u64, Problem> {
        let revoked = nodes::revoke_removed(self.pool(), node, removed.at, REMOVED, self.now()).await.map_err(fault)?;
        if revoked > 0 {
            let object = format!("node:{node}");
            self.record(Fact { actor: &removed.actor, action: "node.revoked", object: &object, result: "ok", reason: REMOVED, from: "" }).await;
        }
        Ok(revoked)
    }

    /// # Errors
    /// When the authority's key is not here.
    pub async fn node_revocations(&self) -> Result<String, Problem> {
        let (rows, number) = nodes::revoked(self.pool(), self.now()).await.map_err(fault)?;
        let bytes = |hex: &str| (0..hex.len() / 2).filter_map(|i| u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()).collect();
        let revoked: Vec<_> = rows.into_iter().filter_map(|r| Some(Revoked { serial: bytes(&r.serial), at: r.revoked_at? })).collect();
        self.host.pki.revocation_list(&revoked, number.cast_unsigned() + 1, self.now()).map_err(Problem::internal)
    }

    async fn record_node(&self, actor: &str, action: &str, node: &Name, result: &str, reason: &str, origin: &Origin) {
        let object = format!("node:{node}");
        self.record(Fact { actor, action, object: &object, result, reason, from: &origin.address }).await;
    }
}
