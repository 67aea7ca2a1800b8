//! What somebody is called here who comes from an upstream, and whether they may come in.

use gantry_contract::upstream::Settings;
use gantry_kernel::Username;

/// What an upstream says about somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct External {
    /// Never changes; what the link is made to.
    pub subject: String,
    pub username: String,
    pub email: Option<String>,
    /// The upstream says that the address is the person's.
    pub email_verified: bool,
    pub display_name: String,
    /// `None`: it says nothing about groups, so none are taken away.
    pub groups: Option<Vec<String>>,
    /// It says that the account is switched off.
    pub disabled: bool,
}

/// The user name nearest to `text`: lower case, other characters become '-'. `None` if nothing is left.
pub fn username(text: &str) -> Option<Username> {
    let local = text.split('@').next().unwrap_or_default();
    let plain: String =
        local.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' }).take(64).collect();
    Username::parse(plain.trim_start_matches(|c: char| !c.is_ascii_alphanumeric())).ok()
}

/// The one to take when `taken` is somebody else's here.
pub fn second_name(taken: &Username, upstream: &str) -> Option<Username> {
    let room = 63_usize.saturating_sub(upstream.len());
    Username::parse(&format!("{}-{upstream}", &taken.as_str()[..taken.as_str().len().min(room)])).ok()
}

/// Whether a text has the shape of an e-mail address that can be taken over.
pub fn is_address(text: &str) -> bool {
    let plain = text.len() <= 254 && !text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ',' | ';' | '"'));
    let shape = text
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && domain.len() > 1 && !domain.contains('@') && !domain.starts_with('.') && !domain.ends_with('.'));
    plain && shape
}

pub fn domain_of(email: &str) -> Option<String> {
    email.rsplit_once('@').map(|(_, domain)| domain.trim().to_lowercase()).filter(|d| !d.is_empty())
}

pub fn in_domains(email: Option<&str>, domains: &[String]) -> bool {
    email.and_then(domain_of).is_some_and(|domain| domains.iter().any(|d| d.eq_ignore_ascii_case(&domain)))
}

/// Whether an account may be made for somebody new.
pub fn admitted(settings: &Settings, person: &External) -> Result<(), &'static str> {
    if !settings.rules.create {
        return Err("accounts are not made by themselves for this way to sign in");
    }
    let domains = &settings.rules.allowed_domains;
    let belongs = person.email_verified && in_domains(person.email.as_deref(), domains);
    if !domains.is_empty() && !belongs {
        return Err("the address is not in a domain from which people are let in");
    }
    Ok(())
}

/// The account here with the same address is the same person, by the upstream's word.
pub fn trusted(settings: &Settings, person: &External) -> bool {
    person.email_verified && in_domains(person.email.as_deref(), &settings.trusted_domains)
}

/// An address for somebody who has none: nothing is ever sent to this top-level domain (RFC 2606).
pub fn no_address(username: &Username, upstream: &str) -> String {
    format!("{username}@{upstream}.invalid")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::settings::tests::ldap;
    use super::*;

    #[test]
    fn names_are_made_to_fit() {
        let name = |text: &str| username(text).map(|n| n.to_string());
        assert_eq!(name("Ada.Lovelace@corp.example").as_deref(), Some("ada.lovelace"));
        assert_eq!(name("CORP\\ada").as_deref(), Some("corp-ada"));
        assert_eq!(name("_-ada").as_deref(), Some("ada"));
        assert_eq!(name("аda").as_deref(), Some("da"), "a Cyrillic letter is no Latin one");
        assert_eq!(name("王").as_deref(), None);
        assert_eq!(second_name(&Username::parse("ada").unwrap(), "corp").unwrap().as_str(), "ada-corp");
        assert_eq!(second_name(&Username::parse(&"x".repeat(64)).unwrap(), "corp").unwrap().as_str().len(), 64);
    }

    #[test]
    fn only_verified_addresses_of_the_right_domain_count() {
        let mut settings = ldap();
        settings.rules.allowed_domains = vec!["Example.org".into()];
        settings.trusted_domains = vec!["example.org".into()];
        let person = |email: &str, verified| External { email: Some(email.into()), email_verified: verified, ..External::default() };
        assert!(admitted(&settings, &person("a@example.org", true)).is_ok() && trusted(&settings, &person("a@EXAMPLE.org", true)));
        for bad in [person("a@example.org", false), person("a@evil.org", true), person("a@example.org@evil.org", true), person("a@sub.example.org", true)] {
            assert!(admitted(&settings, &bad).is_err() && !trusted(&settings, &bad), "{bad:?}");
        }
        settings.rules.create = false;
        assert!(admitted(&settings, &person("a@example.org", true)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_gives_a_user_name_or_none(text in any::<String>(), upstream in "[a-z][a-z0-9-]{0,61}") {
            if let Some(name) = username(&text) {
                prop_assert!(Username::parse(name.as_str()).is_ok());
                let _ = second_name(&name, &upstream);
            }
        }
    }
}
