//! Errors as a person wants them: what happened, and what to do about it.

use serde::Deserialize;
use thiserror::Error;

/// The body of RFC 9457, as the platform sends it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Problem {
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub errors: Vec<Fault>,
    #[serde(default)]
    pub trace_id: Option<String>,
    #[serde(skip)]
    pub retry_after: Option<String>,
    /// It was asked with GANTRY_TOKEN, which comes before a sign-in.
    #[serde(skip)]
    pub given_token: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Fault {
    pub field: String,
    pub detail: String,
}

#[derive(Debug, Error)]
pub enum Failure {
    /// The platform said no.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    #[error("cannot reach {url}")]
    Unreachable { url: String, source: reqwest::Error },
    #[error("you are not signed in to {0}")]
    SignedOut(String),
    /// Something only the caller can mend; the text says how.
    #[error("{0}")]
    Usage(String),
    /// What was run elsewhere has ended so, and has said itself why.
    #[error("exit code {0}")]
    Exited(u8),
}

/// The whole message for standard error.
pub fn render(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    match error.downcast_ref::<Failure>() {
        Some(Failure::Refused(problem)) => {
            for fault in &problem.errors {
                text += &format!("\n  {}: {}", fault.field, fault.detail);
            }
            if !problem.code.is_empty() {
                text += &format!("\n  code: {} ({})", problem.code, problem.status);
            }
            if let Some(trace) = &problem.trace_id {
                text += &format!("\n  trace: {trace}");
            }
            if let Some(advice) = advice(problem) {
                text += &format!("\n  what to do: {advice}");
            }
        }
        Some(Failure::Unreachable { source, .. }) => {
            let chain = chain(source);
            text += &format!("\n  {chain}\n  what to do: ");
            text += if chain.contains("UnknownIssuer") || chain.contains("certificate") {
                "the certificate is not trusted; name the platform's CA with --ca or GANTRY_CA (.gantry/ca/ca.pem after `make up`)"
            } else {
                "check --url (GANTRY_URL), and that the platform runs (`make status` on its machine)"
            };
        }
        Some(Failure::SignedOut(_)) => text += "\n  what to do: gantry login",
        Some(Failure::Usage(_) | Failure::Exited(_)) => {}
        None => {
            for cause in error.chain().skip(1) {
                text += &format!("\n  {cause}");
            }
        }
    }
    text
}

fn chain(error: &reqwest::Error) -> String {
    let mut next = std::error::Error::source(error);
    let mut last = error.to_string();
    while let Some(cause) = next {
        last = cause.to_string();
        next = cause.source();
    }
    last
}

fn advice(problem: &Problem) -> Option<String> {
    let fixed = match problem.status {
        400 => "correct the field and try again; `gantry <command> --help` shows what is allowed",
        401 if problem.given_token => {
            "the token in GANTRY_TOKEN does not count (any more): give another (`gantry token create`), or unset it and `gantry login`"
        }
        401 => "gantry login",
        403 => "ask an administrator of the place for the right named above",
        404 => "check the name and --at; the `list` command shows what you may see",
        409 => "look at the present state (`show`, `why`) and bring it into one that allows this",
        412 => "somebody was faster: look at it again, then repeat",
        422 if problem.code == "scheduler.no_address_left" => "`gantry pool list` shows the pools; name another, or ask the operator for more addresses",
        422 if problem.code.starts_with("registry.") => {
            "`gantry registry usage` shows limit and use; delete images (`gantry registry retention simulate`), or ask for more (`gantry registry quota`)"
        }
        422 => "`gantry quota get` shows limit and use; free something, or ask for more (`gantry quota set`)",
        429 | 503 => return Some(format!("try again in {} s", problem.retry_after.as_deref().unwrap_or("a few"))),
        500..=599 => "tell the operator the trace above; nothing is wrong with what you typed",
        _ => return None,
    };
    Some(fixed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_quota_names_the_limit_and_the_way_out() {
        let body = r#"{"status":422,"code":"billing.quota_exceeded","title":"A quota is exceeded","detail":"cpu: limit 2, used 1, asked 2"}"#;
        let problem: Problem = serde_json::from_str(body).expect("a problem");
        let text = render(&Failure::Refused(Box::new(problem)).into());
        assert!(text.contains("limit 2, used 1, asked 2") && text.contains("gantry quota get"), "{text}");
    }

    #[test]
    fn what_to_do_fits_what_is_full_and_who_was_asking() {
        let text = |status, code: &str, given_token| {
            let problem = Problem { status, code: code.to_owned(), detail: "no".to_owned(), given_token, ..Problem::default() };
            render(&Failure::Refused(Box::new(problem)).into())
        };
        assert!(text(422, "registry.quota_exceeded", false).contains("gantry registry usage"));
        assert!(text(422, "scheduler.no_address_left", false).contains("gantry pool list"));
        assert!(text(422, "billing.quota_too_small", false).contains("gantry quota get"));
        // Signing in changes nothing while the variable is set.
        assert!(text(401, "request.unauthenticated", true).contains("GANTRY_TOKEN"));
        assert!(text(401, "request.unauthenticated", false).ends_with("what to do: gantry login"));
    }

    #[test]
    fn a_faulty_field_is_named() {
        let body = r#"{"status":400,"code":"request.invalid","detail":"no","errors":[{"field":"workloads[0].replicas","detail":"must be 0 to 1000"}]}"#;
        let problem: Problem = serde_json::from_str(body).expect("a problem");
        let text = render(&Failure::Refused(Box::new(problem)).into());
        assert!(text.contains("workloads[0].replicas: must be 0 to 1000"), "{text}");
    }
}
