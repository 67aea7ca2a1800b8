//! Checks of an upstream's settings, and what the empty ones mean.

use gantry_contract::upstream::{Attributes, Connection, Flavour, Ldap, Nested, Oauth2, Oidc, Settings};
use gantry_kernel::FieldFault;
use url::Url;

use super::filter::is_attribute;
use super::preset;

const LARGEST_PEM: usize = 100_000;
const MOST: usize = 500;

/// Every fault of `settings`, with the field it is in.
pub fn faults(settings: &Settings) -> Vec<FieldFault> {
    let mut faults = Faults(Vec::new());
    faults.text("display_name", &settings.display_name, 100, true);
    for (field, domains) in
        [("domains", &settings.domains), ("trusted_domains", &settings.trusted_domains), ("rules.allowed_domains", &settings.rules.allowed_domains)]
    {
        faults.check(field, domains.len() <= MOST && domains.iter().all(|d| is_domain(d)), "must be domain names such as example.org, 500 at most");
    }
    faults.check(
        "ca_pem",
        settings.ca_pem.as_ref().is_none_or(|pem| pem.len() <= LARGEST_PEM && pem.contains("BEGIN CERTIFICATE")),
        "must be certificates in PEM",
    );
    faults.check("sync_minutes", settings.sync_minutes == 0 || (1..=10_080).contains(&settings.sync_minutes), "must be 0 (off) to 10080");
    faults.check("mappings", settings.mappings.len() <= MOST, "must be 500 at most");
    for (i, mapping) in settings.mappings.iter().enumerate() {
        let field = format!("mappings[{i}]");
        faults.text(&format!("{field}.group"), &mapping.group, 500, false);
        let whole = (mapping.role.is_some() && mapping.at.is_some()) || mapping.team.is_some();
        faults.check(&field, whole && mapping.role.is_some() == mapping.at.is_some(), "must have `role` with `at`, or `team`, or both");
        faults.check(&format!("{field}.at"), mapping.at.as_deref().is_none_or(is_place), "must be platform, org, org/project or org/project/space");
        faults.check(&format!("{field}.team"), mapping.team.as_deref().is_none_or(|t| t.split('/').count() == 2 && is_place(t)), "must be org/team");
    }
    match &settings.connection {
        Connection::Ldap(ldap) => ldap_faults(&mut faults, ldap),
        Connection::Oidc(oidc) => oidc_faults(&mut faults, oidc, settings.allow_private),
        Connection::Oauth2(oauth2) => oauth2_faults(&mut faults, oauth2, settings.allow_private),
    }
    faults.0
}

struct Faults(Vec<FieldFault>);

impl Faults {
    fn check(&mut self, field: &str, fine: bool, detail: &str) {
        if !fine {
            self.0.push(FieldFault { field: format!("settings.{field}"), detail: detail.into() });
        }
    }

    fn text(&mut self, field: &str, text: &str, most: usize, may_be_empty: bool) {
        let fine = text.chars().count() <= most && !text.chars().any(char::is_control) && (may_be_empty || !text.trim().is_empty());
        self.check(field, fine, &format!("must have {} to {most} characters, none of them control characters", usize::from(!may_be_empty)));
    }
}

fn is_domain(text: &str) -> bool {
    let label =
        |l: &str| !l.is_empty() && l.len() <= 63 && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !l.starts_with('-') && !l.ends_with('-');
    text.len() <= 253 && text.contains('.') && text.split('.').all(label)
}

fn is_place(text: &str) -> bool {
    (1..=3).contains(&text.split('/').count()) && text.split('/').all(|n| gantry_kernel::Name::parse(n).is_ok())
}

fn ldap_faults(faults: &mut Faults, ldap: &Ldap) {
    faults.check("connection.ldap.servers", (1..=10).contains(&ldap.servers.len()), "must be 1 to 10");
    for (i, server) in ldap.servers.iter().enumerate() {
        let url = Url::parse(server).ok().filter(|u| u.host_str().is_some_and(|h| !h.is_empty()));
        let shape = url.as_ref().is_some_and(|u| {
            matches!(u.scheme(), "ldap" | "ldaps") && matches!(u.path(), "" | "/") && u.query().is_none() && u.username().is_empty() && u.password().is_none()
        });
        let field = format!("connection.ldap.servers[{i}]");
        faults.check(&field, shape, "must be ldaps://host or ldap://host, with a port if it is not 636 or 389");
        let secret = url.is_none_or(|u| u.scheme() == "ldaps" || ldap.starttls || ldap.plaintext);
        faults.check(&field, secret, "would send passwords that anybody on the network can read: use ldaps://, or starttls, or say plaintext: true");
    }
    faults.text("connection.ldap.bind_dn", &ldap.bind_dn, 1_000, false);
    faults.text("connection.ldap.user_base", &ldap.user_base, 1_000, false);
    faults.text("connection.ldap.user_filter", &ldap.user_filter, 4_000, true);
    faults.text("connection.ldap.group_base", &ldap.group_base, 1_000, true);
    faults.text("connection.ldap.group_filter", &ldap.group_filter, 4_000, true);
    faults.check("connection.ldap.login_attributes", ldap.login_attributes.len() <= 10, "must be 10 at most");
    faults.check("connection.ldap.page_size", (1..=1_000).contains(&ldap.page_size), "must be 1 to 1000: directories give no larger pages");
    faults.check("connection.ldap.timeout_seconds", (1..=60).contains(&ldap.timeout_seconds), "must be 1 to 60");
    let names = resolved(ldap);
    let attributes = [&names.attributes.id, &names.attributes.username, &names.attributes.email, &names.attributes.display_name, &names.attributes.group_name];
    for name in attributes.into_iter().chain([&names.member_attribute]).chain(&names.login_attributes) {
        faults.check("connection.ldap.attributes", is_attribute(name), &format!("`{name}` cannot be the name of an attribute"));
    }
}

fn oidc_faults(faults: &mut Faults, oidc: &Oidc, private: bool) {
    let url = Url::parse(&oidc.issuer).ok();
    faults.check("connection.oidc.issuer", url.as_ref().is_some_and(|u| u.query().is_none() && u.fragment().is_none() && is_endpoint(u, private)), HTTPS);
    faults.text("connection.oidc.client_id", &oidc.client_id, 500, false);
    faults.check("connection.oidc.scopes", oidc.scopes.len() <= 50 && oidc.scopes.iter().all(|s| is_scope(s)), "must be scope names");
}

fn oauth2_faults(faults: &mut Faults, oauth2: &Oauth2, private: bool) {
    faults.text("connection.oauth2.client_id", &oauth2.client_id, 500, false);
    faults.check("connection.oauth2.scopes", oauth2.scopes.len() <= 50 && oauth2.scopes.iter().all(|s| is_scope(s)), "must be scope names");
    let whole = preset::resolved(oauth2);
    for (field, url, needed) in [
        ("authorize", &whole.endpoints.authorize, true),
        ("token", &whole.endpoints.token, true),
        ("person", &whole.endpoints.person, true),
        ("details", &whole.endpoints.details, false),
    ] {
        let fine = if url.is_empty() { !needed } else { Url::parse(url).is_ok_and(|u| is_endpoint(&u, private)) };
        faults.check(&format!("connection.oauth2.endpoints.{field}"), fine, HTTPS);
    }
    let fields =
        [&whole.fields.id, &whole.fields.username, &whole.fields.email, &whole.fields.email_verified, &whole.fields.display_name, &whole.fields.groups];
    let pointers = fields.iter().all(|p| p.is_empty() || p.starts_with('/')) && !whole.fields.id.is_empty();
    faults.check("connection.oauth2.fields", pointers, "must be JSON pointers such as /login, and `id` must be there");
}

const HTTPS: &str = "must be an https address (http only on a loopback address, with allow_private)";

fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.len() <= 200 && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

/// Whether credentials may be sent there.
fn is_endpoint(url: &Url, private: bool) -> bool {
    let loopback = || match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none() && url.host().is_some();
    plain && (url.scheme() == "https" || (url.scheme() == "http" && private && loopback()))
}

/// The settings with what is empty filled in by the flavour.
pub fn resolved(ldap: &Ldap) -> Ldap {
    let ad = ldap.flavour == Flavour::ActiveDirectory;
    let usual = |text: &str, open: &str, active: &str| match (text.trim(), ad) {
        ("", true) => active.to_owned(),
        ("", false) => open.to_owned(),
        (text, _) => text.to_owned(),
    };
    let logins = if ad { ["sAMAccountName", "userPrincipalName", "mail"].as_slice() } else { &["uid", "mail"] };
    Ldap {
        user_filter: usual(&ldap.user_filter, "(objectClass=inetOrgPerson)", "(&(objectCategory=person)(objectClass=user))"),
        login_attributes: if ldap.login_attributes.is_empty() { logins.iter().map(|l| (*l).to_owned()).collect() } else { ldap.login_attributes.clone() },
        attributes: Attributes {
            id: usual(&ldap.attributes.id, "entryUUID", "objectGUID"),
            username: usual(&ldap.attributes.username, "uid", "sAMAccountName"),
            email: usual(&ldap.attributes.email, "mail", "mail"),
            display_name: usual(&ldap.attributes.display_name, "cn", "displayName"),
            group_name: usual(&ldap.attributes.group_name, "cn", "cn"),
        },
        group_filter: usual(&ldap.group_filter, "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))", "(objectClass=group)"),
        member_attribute: usual(&ldap.member_attribute, "member", "member"),
        nested: match ldap.nested {
            Nested::Usual if ad => Nested::InChain,
            Nested::Usual => Nested::Recursive,
            other => other,
        },
        ..ldap.clone()
    }
}

#[cfg(test)]
pub mod tests {
    use gantry_contract::upstream::{Mapping, MemberIs, Preset, Rules};

    use super::*;

    pub fn ldap() -> Settings {
        Settings {
            display_name: String::new(),
            enabled: true,
            priority: 100,
            domains: vec![],
            trusted_domains: vec![],
            allow_private: false,
            ca_pem: None,
            rules: Rules::default(),
            mappings: vec![],
            sync_minutes: 60,
            connection: Connection::Ldap(Ldap {
                flavour: Flavour::OpenLdap,
                servers: vec!["ldaps://ldap.example.org".into()],
                starttls: true,
                plaintext: false,
                bind_dn: "cn=gantry,dc=example,dc=org".into(),
                user_base: "ou=people,dc=example,dc=org".into(),
                user_filter: String::new(),
                login_attributes: vec![],
                attributes: Attributes::default(),
                group_base: String::new(),
                group_filter: String::new(),
                member_attribute: String::new(),
                member_is: MemberIs::Dn,
                nested: Nested::Usual,
                page_size: 500,
                timeout_seconds: 10,
            }),
        }
    }

    fn fields(settings: &Settings) -> Vec<String> {
        faults(settings).into_iter().map(|f| f.field).collect()
    }

    fn with(change: impl FnOnce(&mut Ldap)) -> Settings {
        let mut settings = ldap();
        if let Connection::Ldap(ldap) = &mut settings.connection {
            change(ldap);
        }
        settings
    }

    #[test]
    fn good_settings_have_no_fault() {
        assert_eq!(fields(&ldap()), Vec::<String>::new());
        assert_eq!(fields(&with(|l| l.servers = vec!["ldap://a:1389".into(), "ldaps://[::1]:636".into()])), Vec::<String>::new());
    }

    #[test]
    fn passwords_are_not_sent_in_the_clear_by_mistake() {
        let server = "settings.connection.ldap.servers[0]".to_owned();
        let bare = |plaintext| with(|l| (l.servers, l.starttls, l.plaintext) = (vec!["ldap://a".into()], false, plaintext));
        assert_eq!(fields(&bare(false)), std::slice::from_ref(&server));
        assert_eq!(fields(&bare(true)), Vec::<String>::new());
        for bad in ["http://a", "ldap://", "ldaps://u:p@a", "ldapi:///var/run/x", "ldaps://a/dc=x??sub", "a"] {
            assert_eq!(fields(&with(|l| l.servers = vec![bad.into()])), std::slice::from_ref(&server), "{bad}");
        }
    }

    #[test]
    fn every_faulty_field_is_named() {
        let mut bad = with(|l| {
            l.attributes.email = "mail)(x=*".into();
            l.page_size = 0;
            l.user_base = " ".into();
        });
        bad.domains = vec!["no domain".into()];
        bad.ca_pem = Some("x".into());
        bad.mappings = vec![Mapping { group: "g".into(), role: None, at: Some("acme".into()), team: None }];
        let all = fields(&bad);
        for field in ["domains", "ca_pem", "mappings[0]", "connection.ldap.user_base", "connection.ldap.page_size", "connection.ldap.attributes"] {
            assert!(all.contains(&format!("settings.{field}")), "{field}: {all:?}");
        }
    }

    #[test]
    fn an_issuer_is_reached_by_https() {
        let oidc = |issuer: &str, private| {
            let connection =
                Connection::Oidc(Oidc { issuer: issuer.into(), client_id: "gantry".into(), scopes: vec![], claims: Default::default(), secret_in_body: false });
            fields(&Settings { connection, allow_private: private, ..ldap() })
        };
        assert_eq!(oidc("https://id.example.org/realm", false), Vec::<String>::new());
        assert_eq!(oidc("http://127.0.0.1:8080", true), Vec::<String>::new());
        for bad in [
            "http://id.example.org",
            "http://127.0.0.1",
            "https://u:p@id.example.org",
            "https://id.example.org?x=1",
            "https://id.example.org#x",
            "id",
            "file:///etc",
        ] {
            assert_eq!(oidc(bad, false), ["settings.connection.oidc.issuer"], "{bad}");
        }
    }

    #[test]
    fn presets_are_whole_and_custom_must_be_made_so() {
        let oauth2 = |preset| {
            let connection = Connection::Oauth2(Oauth2 {
                preset,
                client_id: "x".into(),
                agent_id: "1".into(),
                scopes: vec![],
                endpoints: Default::default(),
                fields: Default::default(),
            });
            fields(&Settings { connection, ..ldap() })
        };
        for whole in [Preset::Github, Preset::Gitlab, Preset::Google, Preset::Wecom, Preset::Dingtalk, Preset::Feishu] {
            assert_eq!(oauth2(whole), Vec::<String>::new(), "{whole:?}");
        }
        assert_eq!(oauth2(Preset::Custom).len(), 4);
    }

    #[test]
    fn the_flavour_fills_in_what_is_empty() {
        let usual = resolved(&match with(|l| l.flavour = Flavour::ActiveDirectory).connection {
            Connection::Ldap(l) => l,
            _ => unreachable!(),
        });
        assert_eq!((usual.attributes.id.as_str(), usual.nested), ("objectGUID", Nested::InChain));
        assert_eq!(usual.login_attributes, ["sAMAccountName", "userPrincipalName", "mail"]);
    }
}
