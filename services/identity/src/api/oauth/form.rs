//! Form bodies of OAuth endpoints: each parameter once (RFC 6749 section 3.2), empty ones count as absent.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use http::header;

use crate::error::OAuthError;

const MOST: usize = 64;

#[derive(Debug)]
pub struct Form(pub Vec<(String, String)>);

impl Form {
    pub fn parse(body: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(body).take(MOST).map(|(n, v)| (n.into_owned(), v.into_owned())).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// # Errors
    /// `invalid_request` naming the parameter.
    pub fn need(&self, name: &'static str) -> Result<&str, OAuthError> {
        self.get(name).ok_or_else(|| OAuthError::invalid_request(format!("{name} is missing")))
    }

    /// # Errors
    /// `invalid_request` when a parameter is there twice.
    pub fn once(self) -> Result<Self, OAuthError> {
        let mut names: Vec<&str> = self.0.iter().map(|(n, _)| n.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(OAuthError::invalid_request(format!("{} is there twice", pair[0].chars().take(40).collect::<String>()))),
            None => Ok(self),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = OAuthError;

    async fn from_request(request: Request, state: &S) -> Result<Self, OAuthError> {
        let content = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if !content.split(';').next().is_some_and(|t| t.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
            return Err(OAuthError::invalid_request("Content-Type must be application/x-www-form-urlencoded"));
        }
        let body = Bytes::from_request(request, state).await.map_err(|_| OAuthError::invalid_request("the body cannot be read"))?;
        if body.len() > 64 * 1024 {
            return Err(OAuthError::invalid_request("the body is too large"));
        }
        Ok(Self::parse(&body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Whatever bytes come: what is let through has every name once, and nothing is made up.
        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            if let Ok(form) = Form::parse(&body).once() {
                let names: std::collections::BTreeSet<_> = form.0.iter().map(|(n, _)| n).collect();
                proptest::prop_assert_eq!(names.len(), form.0.len());
                for (name, value) in &form.0 {
                    proptest::prop_assert!(value.is_empty() || form.get(name) == Some(value.as_str()));
                }
            }
        }

        #[test]
        fn a_name_given_twice_is_found_wherever_it_stands(before in 0usize..20, between in 0usize..20, name in "[a-z_]{1,20}") {
            let other = |from: usize, n: usize| (from..from + n).map(|i| format!("other{i}=x&")).collect::<String>();
            let body = format!("{}{name}=1&{}{name}=2", other(0, before), other(100, between));
            proptest::prop_assert_eq!(Form::parse(body.as_bytes()).once().unwrap_err().error, "invalid_request");
        }
    }

    #[test]
    fn a_parameter_counts_once_and_empty_ones_are_absent() {
        let form = Form::parse(b"a=1&b=&c=x%20y");
        assert_eq!((form.get("a"), form.get("b"), form.get("c")), (Some("1"), None, Some("x y")));
        assert!(form.once().is_ok());
        assert_eq!(Form::parse(b"code=1&code=2").once().unwrap_err().error, "invalid_request");
    }
}
