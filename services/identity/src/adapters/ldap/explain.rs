//! What went wrong with a directory, in words that say what to change.

use std::error::Error;
use std::fmt;

use ldap3::{LdapError, LdapResult};
use rustls::CertificateError;

/// The steps of using a directory, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Name,
    Connect,
    Tls,
    Bind,
    Base,
    Filter,
    Attributes,
    Groups,
}

impl Step {
    pub const ALL: [Self; 8] = [Self::Name, Self::Connect, Self::Tls, Self::Bind, Self::Base, Self::Filter, Self::Attributes, Self::Groups];

    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Bind => "bind",
            Self::Base => "base",
            Self::Filter => "filter",
            Self::Attributes => "attributes",
            Self::Groups => "groups",
        }
    }
}

/// A step that failed, at a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub step: Step,
    pub server: String,
    pub detail: String,
}

impl Fault {
    pub fn new(step: Step, server: &str, detail: impl Into<String>) -> Self {
        Self { step, server: server.to_owned(), detail: detail.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.server, self.step.name(), self.detail)
    }
}

impl Error for Fault {}

pub fn of(step: Step, server: &str, error: &LdapError) -> Fault {
    let detail = match error {
        LdapError::LdapResult { result } => answer(step, result),
        LdapError::FilterParsing => "the filter is no LDAP filter (RFC 4515): count the brackets".to_owned(),
        LdapError::Timeout { .. } => "the server did not answer in time".to_owned(),
        LdapError::EndOfStream | LdapError::ResultRecv { .. } | LdapError::OpSend { .. } => "the server closed the connection".to_owned(),
        other => match certificate(other) {
            Some(text) => text,
            None if step == Step::Tls => {
                format!("the encrypted connection could not be made ({other}): ldaps:// is for port 636; for port 389 use ldap:// with starttls")
            }
            None => other.to_string(),
        },
    };
    Fault::new(step, server, detail)
}

/// What is wrong with a certificate, wherever in the chain of causes it is said.
fn certificate(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref).and_then(|e| e.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(why)) = inner.or_else(|| error.downcast_ref()) {
            return Some(match why {
                CertificateError::UnknownIssuer => {
                    "the server's certificate is signed by an authority that is not trusted here: give that authority's certificate as ca_pem".into()
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "the server's certificate is for another name: use the name that stands in the certificate".into()
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the server's certificate has expired: renew it there".into(),
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "the server's certificate is not valid yet: check the clocks of both machines".into()
                }
                other => format!("the server's certificate is not acceptable: {other:?}"),
            });
        }
        next = error.source();
    }
    None
}

fn answer(step: Step, result: &LdapResult) -> String {
    let said = if result.text.is_empty() { String::new() } else { format!(" (it says: {})", result.text.trim_end_matches('\u{0}').trim()) };
    let text = match (step, result.rc) {
        (Step::Bind, 49) => return bind_refused(&result.text),
        (Step::Bind, 32) => "there is no entry with the name in bind_dn".into(),
        (_, 34) => "a distinguished name is misspelt: it looks like cn=gantry,dc=example,dc=org".into(),
        (_, 8 | 13) => "the server wants an encrypted connection: use ldaps:// or starttls".into(),
        (_, 32) => match result.matched.as_str() {
            "" => "the base does not exist in this directory".into(),
            near => format!("the base does not exist in this directory; the nearest that does is `{near}`"),
        },
        (_, 50) => "the searching account may not read this: give it the right to, in the directory".into(),
        (_, 3 | 4 | 11) => "the server gives no more than so many entries: raise its limit for the searching account, or use a smaller base".into(),
        (_, 51 | 52) => "the server is busy or shutting down".into(),
        (_, 53) => "the server is not willing to do this".into(),
        (_, 12) => "the server does not know a control that is needed (paged results, RFC 2696)".into(),
        (Step::Tls, 2 | 1) => "the server does not take StartTLS: use ldaps://, or set it up there".into(),
        (_, 10) => "the server says to ask another one: name that one instead".into(),
        (_, 1) => "the server wants a bind first, or cannot do this".into(),
        (_, rc) => format!("the server answers with LDAP result {rc}"),
    };
    text + &said
}

/// Active Directory says why in hexadecimal (`data 52e`).
fn bind_refused(text: &str) -> String {
    let code = text.split("data ").nth(1).and_then(|rest| rest.split([',', ' ']).next()).unwrap_or_default();
    match code {
        "525" => "there is no account with the name in bind_dn",
        "530" | "531" => "the searching account may not sign in now, or not from here",
        "532" | "773" => "the password of the searching account has expired",
        "533" => "the searching account is switched off in the directory",
        "701" => "the searching account has expired",
        "775" => "the searching account is locked in the directory",
        _ => "bind_dn or the password is wrong",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(rc: u32, text: &str, matched: &str) -> LdapError {
        LdapError::from(LdapResult { rc, matched: matched.into(), text: text.into(), refs: vec![], ctrls: vec![] })
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        let said = |step, rc, text: &str, matched: &str| of(step, "ldaps://a", &result(rc, text, matched)).detail;
        assert_eq!(said(Step::Bind, 49, "", ""), "bind_dn or the password is wrong");
        assert!(
            said(Step::Bind, 49, "80090308: LdapErr: DSID-0C09041C, comment: AcceptSecurityContext error, data 533, v4563\u{0}", "").contains("switched off")
        );
        assert!(said(Step::Base, 32, "", "dc=example").contains("`dc=example`"));
        assert!(said(Step::Base, 50, "no read", "").contains("may not read") && said(Step::Base, 50, "no read", "").contains("no read"));
        assert!(said(Step::Bind, 13, "", "").contains("encrypted"));
        assert!(of(Step::Filter, "x", &LdapError::FilterParsing).detail.contains("brackets"));
    }

    #[test]
    fn a_certificate_fault_is_found_inside_its_wrapping() {
        let inner = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = LdapError::from(std::io::Error::new(std::io::ErrorKind::InvalidData, inner));
        assert!(of(Step::Tls, "x", &error).detail.contains("ca_pem"));
        let other = LdapError::from(std::io::Error::other("unexpected message"));
        assert!(of(Step::Tls, "x", &other).detail.contains("port 636"));
    }
}
