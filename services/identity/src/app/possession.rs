//! The key that tokens are bound to, proved by the request that asks for them (RFC 9449 section 5, RFC 8705 section 3).

use gantry_auth::{certificate_thumbprint, dpop};
use gantry_kernel::UserId;
use serde_json::{Value, json};

use crate::app::App;
use crate::app::clients::Client;
use crate::app::issue::Issued;
use crate::error::OAuthError;

/// Proofs are remembered for longer than they count.
const REMEMBERED_SECS: u64 = 2 * dpop::PROOF_LIFE_SECS.unsigned_abs() + 10;

/// What of a request can prove possession.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// The `DPoP` headers.
    pub proofs: &'a [&'a str],
    /// DER, from the gateway.
    pub certificate: Option<&'a [u8]>,
    pub method: &'a str,
    pub path: &'a str,
}

impl App {
    /// The `cnf` of the tokens that this request gets.
    ///
    /// # Errors
    /// `invalid_dpop_proof`, or `invalid_request` when the client must bind its tokens and does not.
    pub async fn binding(&self, client: &Client, shown: Shown<'_>) -> Result<Option<Value>, OAuthError> {
        if let Some(jkt) = self.proved(shown, None).await? {
            return Ok(Some(json!({ "jkt": jkt })));
        }
        if client.settings.dpop_bound_access_tokens {
            return Err(OAuthError::new("invalid_dpop_proof", "this client's tokens must be bound to a key: send a DPoP header"));
        }
        match (client.settings.tls_client_certificate_bound_access_tokens, shown.certificate) {
            (true, Some(certificate)) => Ok(Some(json!({ "x5t#S256": certificate_thumbprint(certificate) }))),
            (true, None) => Err(OAuthError::invalid_request("this client's tokens must be bound to its certificate: connect with it")),
            (false, _) => Ok(None),
        }
    }

    /// The thumbprint of the key that signed the request's proof, if it has one.
    ///
    /// # Errors
    /// `invalid_dpop_proof`.
    pub async fn proved(&self, shown: Shown<'_>, access_token: Option<&str>) -> Result<Option<String>, OAuthError> {
        let refuse = |why: String| OAuthError::new("invalid_dpop_proof", why);
        let proof = match shown.proofs {
            [] => return Ok(None),
            [one] => one,
            _ => return Err(refuse("there are two DPoP headers".into())),
        };
        let at = |base: &str| dpop::check(proof, shown.method, &format!("{}{}", base.trim_end_matches('/'), shown.path), access_token, self.now());
        let checked = match (at(&self.issuer), &self.config.certificates_url) {
            // The same endpoints stand at the door for certificates (RFC 8705 section 5).
            (Err(_), Some(door)) => at(door),
            (checked, _) => checked,
        };
        let proof = checked.map_err(|error| refuse(error.to_string()))?;
        if !self.replay.first_time(&format!("dpop {}", proof.jkt), &proof.jti, REMEMBERED_SECS).await? {
            return Err(refuse("the proof was used before".into()));
        }
        Ok(Some(proof.jkt))
    }

    /// Whether the request that shows an access token holds the key the token is bound to.
    ///
    /// # Errors
    /// `invalid_dpop_proof` for a proof that is none; 503 when replay cannot be ruled out.
    pub async fn possesses(&self, claims: &Issued, token: &str, dpop_scheme: bool, shown: Shown<'_>) -> Result<bool, OAuthError> {
        let Some(cnf) = &claims.cnf else { return Ok(!dpop_scheme) };
        if let Some(jkt) = cnf.get("jkt").and_then(Value::as_str) {
            return match self.proved(shown, Some(token)).await? {
                Some(proved) if dpop_scheme && proved != jkt => Err(OAuthError::new("invalid_dpop_proof", "the proof is of another key")),
                proved => Ok(dpop_scheme && proved.is_some()),
            };
        }
        let bound = cnf.get("x5t#S256").and_then(Value::as_str);
        Ok(bound.is_some() && shown.certificate.map(certificate_thumbprint).as_deref() == bound)
    }

    /// The person a token speaks for.
    pub fn person_of(claims: &Issued) -> Option<UserId> {
        claims.sub.strip_prefix("user:").and_then(|id| id.parse().ok())
    }
}
