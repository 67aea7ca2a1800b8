//! Minting tokens: access (RFC 9068), ID (OpenID Connect Core 2) and the refresh token that goes with them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_kernel::{OffsetDateTime, OrgId, Problem, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha512};

use crate::app::App;
use crate::app::clients::Client;
use crate::app::people::{Person, subject};
use crate::app::standing::Begun;
use crate::domain::claims::{ClaimsRequest, acr_for, acr_of};
use crate::domain::signing::Algorithm;
use crate::error::fault;
use crate::store::{directory, groups as groups_store};

/// Before the id of a key in a token's id, so that it is not taken for a family.
const KEY: &str = "key-";
/// Before the id of the trust in an outside issuer.
const TRUST: &str = "trust-";

pub const ACCESS_TYPE: &str = "at+jwt";

/// Where tokens come from: a sign-in at a client, or the client itself.
#[derive(Clone, Debug)]
pub struct Source {
    pub scope: String,
    pub session: Option<Uuid>,
    pub family: Option<Uuid>,
    /// The personal token or the key of a service account that was shown for it.
    pub key: Option<Uuid>,
    /// The trust in the outside issuer on whose word it is given.
    pub trust: Option<Uuid>,
    pub auth_time: OffsetDateTime,
    pub amr: String,
    pub claims: ClaimsRequest,
    /// The key the access token is bound to (`cnf`).
    pub cnf: Option<Value>,
    /// Who really acts (`act`).
    pub act: Option<Value>,
    /// It ends sooner than the client's tokens usually do.
    pub seconds: Option<u32>,
}

impl Source {
    /// Nobody signed in: the client acts for itself or on a token.
    pub fn machine(scope: &str, now: OffsetDateTime) -> Self {
        Self {
            scope: scope.to_owned(),
            session: None,
            family: None,
            key: None,
            trust: None,
            auth_time: now,
            amr: String::new(),
            claims: ClaimsRequest::default(),
            cnf: None,
            act: None,
            seconds: None,
        }
    }
}

/// The claims of an access token of ours, for whatever audience.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Issued {
    pub iss: String,
    pub sub: String,
    #[serde(with = "one_or_many")]
    pub aud: Vec<String>,
    pub exp: i64,
    pub iat: i64,
    /// The family is in it, so that introspection knows whether it has ended; or the key or the trust it was given for.
    pub jti: String,
    #[serde(default)]
    pub client_id: String,
    #[serde(default)]
    pub scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Value>,
}

/// The body of a successful token answer (RFC 6749 section 5.1).
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Tokens {
    pub access_token: String,
    pub token_type: String,
    pub expires_in: u32,
    pub scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<String>,
}

impl App {
    /// An access token of a person, and an ID token if `openid` is in the scope.
    ///
    /// # Errors
    /// When there is no signing key or the directory cannot be read.
    pub async fn issue(
        &self,
        client: &Client,
        person: &Person,
        source: &Source,
        nonce: Option<&str>,
        refresh_token: Option<String>,
    ) -> Result<Tokens, Problem> {
        let mut claims = self.access_for(client, &subject(person.id), source);
        claims.preferred_username = Some(person.username.clone());
        // Services of others may decide by them; ours have their own copy of the rights.
        if has(&source.scope, "groups") {
            claims.groups = Some(self.member_groups(person, client.org).await?);
        }
        if has(&source.scope, "roles") {
            claims.roles = Some(self.roles_in(person, client.org).await?);
        }
        let mut tokens = self.signed(&claims)?;
        if has(&source.scope, "openid") {
            tokens.id_token = Some(self.id_token(client, person, source, nonce, &tokens.access_token).await?);
        }
        tokens.refresh_token = refresh_token;
        Ok(tokens)
    }

    /// The claims of an access token of `sub` at `client`.
    pub fn access_for(&self, client: &Client, sub: &str, source: &Source) -> Issued {
        let now = self.now().unix_timestamp();
        let from = match (source.key, source.trust) {
            (Some(key), _) => format!("{KEY}{}", key.simple()),
            (None, Some(trust)) => format!("{TRUST}{}", trust.simple()),
            (None, None) => source.family.unwrap_or_default().simple().to_string(),
        };
        Issued {
            iss: self.issuer.clone(),
            sub: sub.to_owned(),
            aud: self.audience(client, &source.scope),
            exp: now + i64::from(source.seconds.unwrap_or_else(|| self.token_seconds(client))),
            iat: now,
            jti: format!("{from}.{}", self.host.env.uuid().simple()),
            client_id: client.id.clone(),
            scope: source.scope.clone(),
            auth_time: source.session.map(|_| source.auth_time.unix_timestamp()),
            acr: source.session.map(|_| acr_of(&source.amr).to_owned()),
            amr: source.amr.split_whitespace().map(str::to_owned).collect(),
            preferred_username: None,
            sid: source.session.map(|s| s.to_string()),
            groups: None,
            roles: None,
            cnf: source.cnf.clone(),
            act: source.act.clone(),
        }
    }

    /// # Errors
    /// When there is no signing key.
    pub fn signed(&self, claims: &Issued) -> Result<Tokens, Problem> {
        let bound = claims.cnf.as_ref().is_some_and(|c| c.get("jkt").is_some());
        Ok(Tokens {
            access_token: self.keys.sign(ACCESS_TYPE, claims)?,
            token_type: if bound { "DPoP" } else { "Bearer" }.into(),
            expires_in: u32::try_from(claims.exp - claims.iat).unwrap_or_default(),
            scope: claims.scope.clone(),
            refresh_token: None,
            id_token: None,
            issued_token_type: None,
        })
    }

    pub fn token_seconds(&self, client: &Client) -> u32 {
        client.settings.access_token_seconds.unwrap_or(self.config.access_token_seconds)
    }

    /// Whom an access token is for: our API only with scope `api`, so that no application of somebody else can act here
    /// with a token that people gave it for something else.
    pub(crate) fn audience(&self, client: &Client, scope: &str) -> Vec<String> {
        let mut audience: Vec<String> = client.settings.audience.clone().into_iter().collect();
        if client.built_in || has(scope, "api") || has(scope, gantry_auth::READ_ONLY) {
            audience.push(self.issuer.clone());
        } else if audience.is_empty() || has(scope, "openid") {
            audience.push(self.userinfo_audience());
        }
        // Our services take tokens for themselves alone.
        if audience.len() > 1 && audience.contains(&self.issuer) {
            audience.retain(|a| *a == self.issuer);
        }
        audience
    }

    pub fn userinfo_audience(&self) -> String {
        format!("{}/oauth2/userinfo", self.issuer)
    }

    async fn id_token(&self, client: &Client, person: &Person, source: &Source, nonce: Option<&str>, access_token: &str) -> Result<String, Problem> {
        let now = self.now().unix_timestamp();
        let algorithm = Algorithm::parse(&client.settings.id_token_signed_response_alg).unwrap_or(Algorithm::Rs256);
        let mut claims = self.profile_claims(person, &source.scope, source.claims.id_token.iter().map(String::as_str), client.org).await?;
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iss", json!(self.issuer));
        put("aud", json!(client.id));
        put("azp", json!(client.id));
        put("exp", json!(now + i64::from(self.token_seconds(client))));
        put("iat", json!(now));
        put("auth_time", json!(source.auth_time.unix_timestamp()));
        put("amr", json!(source.amr.split_whitespace().collect::<Vec<_>>()));
        put("acr", json!(acr_for(&source.amr, &source.claims.named_acr)));
        put("at_hash", json!(at_hash(algorithm, access_token)));
        if let Some(nonce) = nonce {
            put("nonce", json!(nonce));
        }
        if let Some(session) = source.session {
            put("sid", json!(session));
        }
        self.keys.sign_with(algorithm, "JWT", &claims)
    }

    /// `sub`, what the scopes give (OpenID Connect Core 5.4), and single claims besides. `org`: whose client asks.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn profile_claims<'a>(
        &self,
        person: &Person,
        scope: &str,
        besides: impl Iterator<Item = &'a str>,
        org: Option<OrgId>,
    ) -> Result<Map<String, Value>, Problem> {
        let mut wanted: Vec<&str> = besides.collect();
        for scope in scope.split(' ') {
            wanted.extend_from_slice(match scope {
                "profile" => &["preferred_username", "name"],
                "email" => &["email", "email_verified"],
                "groups" => &["groups"],
                "roles" => &["roles"],
                _ => &[],
            });
        }
        let mut claims = Map::new();
        claims.insert("sub".into(), json!(subject(person.id)));
        for claim in wanted {
            let value = match claim {
                "preferred_username" => json!(person.username),
                "name" => json!(person.display_name),
                "email" => json!(person.email),
                // Only a confirmed address gets in when a mail server is configured.
                "email_verified" => json!(self.mailer.is_some()),
                "groups" => json!(self.member_groups(person, org).await?),
                "roles" => json!(self.roles_in(person, org).await?),
                _ => continue,
            };
            claims.insert(claim.into(), value);
        }
        Ok(claims)
    }

    /// What a person belongs to, as other programs know groups: organisations (`acme`), teams (`acme/team`), and roles as
    /// `acme/shop:editor`.
    async fn member_groups(&self, person: &Person, org: Option<OrgId>) -> Result<Vec<String>, Problem> {
        let mut groups = directory::org_names_of(self.pool(), person.id).await.map_err(fault)?;
        for (org, team) in groups_store::memberships_of(self.pool(), &subject(person.id)).await.map_err(fault)? {
            let org = OrgId(org);
            let name = self.host.auth.read(|rights| rights.org_ref(org).map(|o| o.name.to_string()));
            let team = groups_store::team_by_id(self.pool(), org, team.into()).await.map_err(fault)?;
            groups.extend(name.zip(team).map(|(org, team)| format!("{org}/{}", team.name)));
        }
        groups.extend(self.groups(person.id).await?);
        Ok(self.only_of(org, groups))
    }

    async fn roles_in(&self, person: &Person, org: Option<OrgId>) -> Result<Vec<String>, Problem> {
        Ok(self.only_of(org, self.groups(person.id).await?))
    }

    /// An organisation's client learns nothing of what people are elsewhere.
    fn only_of(&self, org: Option<OrgId>, groups: Vec<String>) -> Vec<String> {
        let Some(org) = org else { return groups };
        let name = self.host.auth.read(|rights| rights.org_ref(org).map(|o| o.name.to_string())).unwrap_or_default();
        groups.into_iter().filter(|g| g.split(['/', ':']).next() == Some(name.as_str())).collect()
    }

    /// The claims of an access token of ours for our API, of which nothing that it came from was taken back.
    ///
    /// # Errors
    /// Unauthenticated.
    pub async fn access_claims(&self, token: &str) -> Result<Issued, Problem> {
        let invalid = || Problem::unauthenticated("the access token is not valid");
        // One that is bound to a key is no password.
        let claims = self.issued_claims(token).filter(|c| c.cnf.is_none() && c.aud == [self.issuer.as_str()]).ok_or_else(invalid)?;
        let session = claims.sid.as_deref().and_then(|s| s.parse().ok());
        let begun = Begun { token_id: &claims.jti, session, subject: &claims.sub, client: &claims.client_id };
        if self.stands(&begun).await? { Ok(claims) } else { Err(invalid()) }
    }

    /// The claims of an access token of ours for anybody.
    pub fn issued_claims(&self, token: &str) -> Option<Issued> {
        self.keys.verify_any::<Issued>(token, ACCESS_TYPE, &self.issuer)
    }
}

fn has(scope: &str, name: &str) -> bool {
    scope.split(' ').any(|s| s == name)
}

/// The left half of the hash of the access token (OpenID Connect Core 3.1.3.6), by the hash of the signature's algorithm.
fn at_hash(algorithm: Algorithm, access_token: &str) -> String {
    match algorithm {
        Algorithm::Es256 | Algorithm::Rs256 => URL_SAFE_NO_PAD.encode(&Sha256::digest(access_token.as_bytes())[..16]),
        Algorithm::EdDsa => URL_SAFE_NO_PAD.encode(&Sha512::digest(access_token.as_bytes())[..32]),
    }
}

/// The family of a token's id.
pub fn family_of(jti: &str) -> Option<Uuid> {
    let family = Uuid::parse_str(jti.split_once('.')?.0).ok()?;
    (!family.is_nil()).then_some(family)
}

/// The personal token or key of a service account for which a token was given.
pub fn key_of(jti: &str) -> Option<Uuid> {
    Uuid::parse_str(jti.strip_prefix(KEY)?.split_once('.')?.0).ok()
}

/// The trust in an outside issuer on whose word a token was given.
pub fn trust_of(jti: &str) -> Option<Uuid> {
    Uuid::parse_str(jti.strip_prefix(TRUST)?.split_once('.')?.0).ok()
}

/// A single audience is written as text (RFC 7519 section 4.1.3).
mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(all: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        match all {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            One(String),
            Many(Vec<String>),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::One(one) => vec![one],
            Either::Many(many) => many,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_is_read_back_from_the_token_id() {
        let family = Uuid::from_u128(7);
        assert_eq!(family_of(&format!("{}.abc", family.simple())), Some(family));
        assert_eq!(family_of(&format!("{}.abc", Uuid::nil().simple())), None);
        assert_eq!(family_of("abc"), None);
        let of_a_key = format!("{KEY}{}.abc", family.simple());
        assert_eq!((key_of(&of_a_key), family_of(&of_a_key)), (Some(family), None));
        assert_eq!((key_of(&format!("{}.abc", family.simple())), key_of("key-x.y"), key_of("key-")), (None, None, None));
        let outside = format!("{TRUST}{}.abc", family.simple());
        assert_eq!((trust_of(&outside), key_of(&outside), family_of(&outside), trust_of(&of_a_key)), (Some(family), None, None, None));
    }
}
