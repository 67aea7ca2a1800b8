//! What an API server, or the way to it, answers when it does not do what was asked.

use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

/// A field that somebody else holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldConflict {
    pub manager: String,
    /// `.spec.replicas`
    pub field: String,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Trouble {
    #[error("{server} cannot be reached: {reason}")]
    Unreachable { server: String, reason: String },
    #[error(
        "the certificate of {server} is not trusted: {reason}; give the cluster's authority (certificate-authority-data), or the name in the certificate (tls-server-name)"
    )]
    Untrusted { server: String, reason: String },
    #[error("the access is not usable: {0}")]
    Access(String),
    #[error("the cluster does not know us (401): the token has expired or was revoked, or the certificate is of another authority{}; `gantry cluster access` gives it another one", said(.0))]
    Unauthenticated(String),
    #[error("a right is missing (403): {0}; `gantry cluster manifest` writes all that are needed")]
    Forbidden(String),
    #[error("there is no such object: {0}")]
    NotFound(String),
    #[error("{}", conflicts(.0))]
    FieldConflict(Vec<FieldConflict>),
    #[error("it was changed by somebody else meanwhile: {0}")]
    Conflict(String),
    /// What was watched from is not kept any more (410).
    #[error("the watch is too old")]
    Expired,
    #[error("the cluster asks to slow down")]
    TooMany(Duration),
    #[error("the cluster answers {status}: {message}")]
    Unavailable { status: u16, message: String },
    #[error("the cluster refuses it ({status}): {message}")]
    Refused { status: u16, message: String },
    /// The object would have to be made anew for it.
    #[error("it cannot be changed so: {0}")]
    Immutable(String),
    #[error("the cluster's answer is not what the API promises: {0}")]
    Malformed(String),
}

impl Trouble {
    /// From an answer that is no success.
    pub fn of(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let message = match answer["message"].as_str() {
            Some(message) => clipped(message),
            None => clipped(&String::from_utf8_lossy(body)),
        };
        match status {
            401 => Self::Unauthenticated(message),
            // Its namespace goes and has to be made again.
            403 if message.contains("because it is being terminated") => Self::NotFound(message),
            // Quotas, levels and policies refuse with it, too, in their own words.
            403 if message.contains(" is forbidden: ") && !is_about_rights(&message) => Self::Refused { status, message },
            403 => Self::Forbidden(message),
            404 => Self::NotFound(message),
            409 => {
                let fields = field_conflicts(&answer);
                if fields.is_empty() { Self::Conflict(message) } else { Self::FieldConflict(fields) }
            }
            410 => Self::Expired,
            422 if is_immutable(&answer) => Self::Immutable(message),
            429 => Self::TooMany(retry_after.unwrap_or(Duration::from_secs(1))),
            // Not the server's fault: a field that it does not know, or two items of a list with the same key.
            500 if message.contains("failed to create typed patch object") => Self::Refused { status, message },
            500.. => Self::Unavailable { status, message },
            _ => Self::Refused { status, message },
        }
    }

    /// May the same be asked again with a hope of another answer?
    pub fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TooMany(_) | Self::Unavailable { .. } | Self::Conflict(_) | Self::Expired | Self::Malformed(_) => true,
            // Tokens are renewed, rights are given.
            Self::Unauthenticated(_) | Self::Forbidden(_) | Self::Access(_) | Self::Untrusted { .. } => true,
            // The namespace is made at the same time.
            Self::NotFound(_) => true,
            Self::FieldConflict(_) | Self::Refused { .. } | Self::Immutable(_) => false,
        }
    }
}

/// As authorisers say it, and the check that nobody gives what he has not (kubernetes.io/docs/reference/access-authn-authz/rbac
/// "privilege escalation prevention").
fn is_about_rights(message: &str) -> bool {
    (message.contains(" is forbidden: User ") && message.contains(" cannot ")) || message.contains("attempting to grant RBAC permissions")
}

/// Is it refused for nothing but that fields of an object that is there cannot be changed? The whole message counts: it repeats
/// the value, which may be long.
fn is_immutable(status: &Value) -> bool {
    // The last three are those of validation that is generated (`+k8s:update`, KEP-5073), which newer servers have more and more of.
    let words = [
        "field is immutable",
        "is immutable after creation",
        "may not change once set",
        "can not be unset",
        "cannot change roleRef",
        "updates to statefulset spec",
        "cannot be set once created",
        "cannot be cleared once set",
        "cannot be modified once set",
    ];
    let says = |text: &Value| text.as_str().is_some_and(|t| words.iter().any(|w| t.contains(w)));
    match status["details"]["causes"].as_array().filter(|causes| !causes.is_empty()) {
        Some(causes) => causes.iter().all(|c| says(&c["message"])),
        None => says(&status["message"]),
    }
}

/// `conflict with "kubectl-edit" using apps/v1` at a field, as server-side apply tells it.
fn field_conflicts(status: &Value) -> Vec<FieldConflict> {
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let of = |cause: &Value| {
        let message = cause["message"].as_str()?;
        let manager = message.split('"').nth(1).unwrap_or(message).to_owned();
        Some(FieldConflict { manager, field: cause["field"].as_str().unwrap_or_default().to_owned() })
    };
    causes.filter(|c| c["reason"] == "FieldManagerConflict").filter_map(of).collect()
}

fn conflicts(fields: &[FieldConflict]) -> String {
    let told: Vec<String> = fields.iter().take(5).map(|f| format!("`{}` holds {}", f.manager, f.field)).collect();
    let more = if fields.len() > 5 { format!(" and {} more fields", fields.len() - 5) } else { String::new() };
    format!("others have set what the application sets: {}{more}; let go of it there, or let the cluster's drift be corrected", told.join(", "))
}

fn said(message: &str) -> String {
    if message.is_empty() || message == "Unauthorized" { String::new() } else { format!(": {message}") }
}

fn clipped(text: &str) -> String {
    let line: String = text.chars().take(600).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_names_who_holds_the_field() {
        let body = br#"{"kind":"Status","status":"Failure","message":"Apply failed with 1 conflict: conflict with \"kubectl-edit\" using apps/v1: .spec.replicas","reason":"Conflict",
            "details":{"causes":[{"reason":"FieldManagerConflict","message":"conflict with \"kubectl-edit\" using apps/v1","field":".spec.replicas"}]},"code":409}"#;
        let trouble = Trouble::of(409, None, body);
        assert_eq!(trouble, Trouble::FieldConflict(vec![FieldConflict { manager: "kubectl-edit".into(), field: ".spec.replicas".into() }]));
        assert!(trouble.to_string().contains("`kubectl-edit` holds .spec.replicas"));
        assert!(!trouble.passes());
    }

    #[test]
    fn only_a_missing_right_is_told_as_one() {
        let told = |message: &str| Trouble::of(403, None, serde_json::json!({ "message": message }).to_string().as_bytes());
        let right = r#"deployments.apps "web" is forbidden: User "system:serviceaccount:a:b" cannot patch resource "deployments" in API group "apps" in the namespace "x""#;
        assert!(matches!(told(right), Trouble::Forbidden(_)));
        assert!(matches!(told(r#"services "web" is forbidden: exceeded quota: gantry-space"#), Trouble::Refused { status: 403, .. }));
        let policy =
            told(r#"deployments.apps "web" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few' denied request: replicas cannot be more than 5"#);
        assert!(matches!(policy, Trouble::Refused { status: 403, .. }), "{policy}");
        let binding = told(
            r#"rolebindings.rbac.authorization.k8s.io "x" is forbidden: user "system:serviceaccount:a:b" is attempting to grant RBAC permissions not currently held:"#,
        );
        assert!(matches!(binding, Trouble::Forbidden(_)), "{binding}");
        let going = told(r#"services "web" is forbidden: unable to create new content in namespace x because it is being terminated"#);
        assert!(matches!(going, Trouble::NotFound(_)) && going.passes());
    }

    #[test]
    fn what_cannot_be_changed_is_told_from_what_is_wrong() {
        let told = |causes: serde_json::Value| {
            let body = serde_json::json!({ "message": format!("Job.batch \"x\" is invalid: {}", "v".repeat(2_000)), "details": { "causes": causes } });
            Trouble::of(422, None, body.to_string().as_bytes())
        };
        let fixed = serde_json::json!({ "message": format!("Invalid value: {}: field is immutable", "v".repeat(2_000)), "field": "spec.template" });
        let wrong = serde_json::json!({ "message": "Required value", "field": "spec.template.spec.containers[0].image" });
        assert!(matches!(told(serde_json::json!([fixed])), Trouble::Immutable(_)));
        assert!(matches!(told(serde_json::json!([fixed, wrong])), Trouble::Refused { status: 422, .. }));
        let generated = serde_json::json!({ "message": "Invalid value: null: field cannot be modified once set", "field": "spec.x" });
        assert!(matches!(told(serde_json::json!([generated, fixed])), Trouble::Immutable(_)));
    }

    #[test]
    fn answers_that_are_no_status_are_told_as_they_are() {
        assert_eq!(Trouble::of(502, None, b"bad gateway"), Trouble::Unavailable { status: 502, message: "bad gateway".into() });
        assert_eq!(Trouble::of(429, Some(Duration::from_secs(7)), b""), Trouble::TooMany(Duration::from_secs(7)));
        assert_eq!(Trouble::of(409, None, b"{}"), Trouble::Conflict("{}".into()));
        let twice = br#"{"message":"failed to create typed patch object (x/web; apps/v1, Kind=Deployment): .spec.template.spec.volumes: duplicate entries for key [name=\"a\"]"}"#;
        assert!(matches!(Trouble::of(500, None, twice), Trouble::Refused { status: 500, .. }), "asking again does not mend it");
    }
}
