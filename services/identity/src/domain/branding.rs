//! How an organisation's sign-in pages look: one aggregate per organisation, and what its texts may be.

pub mod colour;
pub mod picture;

use gantry_contract::branding::{Branding, BrandingEvent, Logo};
use gantry_es::{Ctx, Decider};
use gantry_kernel::{FieldFault, OrgId};
use url::Url;

use self::colour::Colour;
use crate::domain::upstream::person::is_address;

pub struct Brand;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub branding: Branding,
    pub logo: Option<Logo>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Change { org: OrgId, branding: Branding },
    SetLogo { org: OrgId, logo: Option<Logo> },
}

/// Nothing is refused: what is not valid does not get here.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {}

impl Decider for Brand {
    type State = State;
    type Command = Command;
    type Event = BrandingEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<BrandingEvent>, Refusal> {
        Ok(match command {
            Command::Change { branding, .. } if branding == state.branding => vec![],
            Command::Change { org, branding } => vec![BrandingEvent::Changed { org, branding }],
            Command::SetLogo { logo, .. } if logo == state.logo => vec![],
            Command::SetLogo { org, logo } => vec![BrandingEvent::LogoChanged { org, logo }],
        })
    }

    fn evolve(mut state: State, event: &BrandingEvent) -> State {
        match event {
            BrandingEvent::Changed { branding, .. } => state.branding = branding.clone(),
            BrandingEvent::LogoChanged { logo, .. } => state.logo.clone_from(logo),
        }
        state
    }
}

/// The paper and the ink of templates/style.css that a colour must be readable with.
const LIGHT: [&str; 2] = ["#ffffff", "#ffffff"];
const DARK: [&str; 2] = ["#1b212a", "#0d1420"];

/// Every faulty field.
pub fn faults(it: &Branding) -> Vec<FieldFault> {
    let mut faults = Vec::new();
    let mut check = |field: &str, detail: Option<String>| faults.extend(detail.map(|detail| FieldFault { field: field.into(), detail }));
    check("title", it.title.as_deref().and_then(|t| text_fault(t, 60)));
    check("notice_en", it.notice_en.as_deref().and_then(|t| text_fault(t, 500)));
    check("notice_zh", it.notice_zh.as_deref().and_then(|t| text_fault(t, 500)));
    check("accent", it.accent.as_deref().and_then(|c| colour_fault(c, LIGHT)));
    check("accent_dark", it.accent_dark.as_deref().and_then(|c| colour_fault(c, DARK)));
    check("support", it.support.as_deref().filter(|s| support_link(s).is_none()).map(|_| "must be an e-mail address or an https address".to_owned()));
    for (field, url) in [("privacy_url", &it.privacy_url), ("terms_url", &it.terms_url)] {
        check(field, url.as_deref().filter(|u| !is_https(u)).map(|_| "must be an https address without credentials".to_owned()));
    }
    faults
}

fn text_fault(text: &str, most: usize) -> Option<String> {
    // Marks that turn the direction of writing make a text read as another one.
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let fine = !text.trim().is_empty() && text.chars().count() <= most && !text.chars().any(|c| c.is_control() || turns(c));
    (!fine).then(|| format!("must have 1 to {most} characters and no control characters"))
}

fn colour_fault(text: &str, beside: [&str; 2]) -> Option<String> {
    let Some(colour) = Colour::parse(text) else { return Some("must be a colour like #1255cc".to_owned()) };
    let hard = beside.into_iter().filter_map(|other| Some((other, colour.contrast(Colour::parse(other)?)))).find(|(_, contrast)| *contrast < 4.5);
    hard.map(|(other, contrast)| format!("cannot be read with {other}: the contrast is {contrast:.1}, and must be 4.5 (WCAG 2.2, 1.4.3)"))
}

fn is_https(text: &str) -> bool {
    let plain = text.len() <= 500 && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    plain && Url::parse(text).is_ok_and(|u| u.scheme() == "https" && u.username().is_empty() && u.password().is_none() && u.host_str().is_some())
}

/// Where the link to the support leads; none: it is neither an address for mail nor one for a browser.
pub fn support_link(text: &str) -> Option<String> {
    if is_https(text) {
        return Some(text.to_owned());
    }
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'@' | b'.' | b'-' | b'_' | b'+'));
    (plain && is_address(text)).then(|| format!("mailto:{text}"))
}

#[cfg(test)]
mod tests {
    use gantry_es::spec::given;
    use gantry_kernel::Uuid;

    use super::*;

    fn named(title: &str) -> Branding {
        Branding { title: Some(title.into()), ..Branding::default() }
    }

    #[test]
    fn texts_and_logo_change_by_themselves_and_once() {
        let org = OrgId(Uuid::nil());
        let changed = || BrandingEvent::Changed { org, branding: named("Acme") };
        let logo = Some(Logo { media_type: "image/png".into(), sha256: "00".into(), width: 1, height: 1, size_bytes: 9 });
        let pictured = || BrandingEvent::LogoChanged { org, logo: logo.clone() };
        let change = || Command::Change { org, branding: named("Acme") };
        given::<Brand>([]).when(change()).then([changed()]);
        given::<Brand>([changed()]).when(change()).then([]);
        given::<Brand>([changed()]).when(Command::SetLogo { org, logo: logo.clone() }).then([pictured()]);
        given::<Brand>([changed(), pictured()]).when(Command::SetLogo { org, logo: logo.clone() }).then([]);
        given::<Brand>([pictured()]).when(Command::SetLogo { org, logo: None }).then([BrandingEvent::LogoChanged { org, logo: None }]);
    }

    #[test]
    fn every_faulty_field_is_named() {
        let bad = Branding {
            title: Some(" ".into()),
            accent: Some("#fff".into()),
            accent_dark: Some("#000000".into()),
            support: Some("javascript:alert(1)".into()),
            notice_en: Some("x".repeat(501)),
            notice_zh: Some("a\u{202e}b".into()),
            privacy_url: Some("http://acme.example".into()),
            terms_url: Some("https://user:pass@acme.example".into()),
        };
        let fields: Vec<String> = faults(&bad).into_iter().map(|f| f.field).collect();
        assert_eq!(fields, ["title", "notice_en", "notice_zh", "accent", "accent_dark", "support", "privacy_url", "terms_url"]);
        let good = Branding {
            accent: Some("#1255cc".into()),
            accent_dark: Some("#7AA7ff".into()),
            support: Some("help@acme.example".into()),
            privacy_url: Some("https://acme.example/privacy?a=b".into()),
            ..named("Acme 公司")
        };
        assert!(faults(&good).is_empty(), "{:?}", faults(&good));
        assert!(faults(&Branding::default()).is_empty());
    }

    #[test]
    fn a_colour_is_no_style_sheet() {
        for bad in ["red", "#12345", "#1255cc;}body{display:none", "#1255cc/*", "url(https://evil.example)", "var(--x)", "#12\n55cc", "＃1255cc", ""] {
            assert!(colour_fault(bad, LIGHT).is_some(), "{bad}");
        }
        assert!(colour_fault("#ffff00", LIGHT).is_some_and(|f| f.contains("contrast")));
    }

    #[test]
    fn support_is_a_mail_address_or_a_page() {
        assert_eq!(support_link("help@acme.example").as_deref(), Some("mailto:help@acme.example"));
        assert_eq!(support_link("https://acme.example/help").as_deref(), Some("https://acme.example/help"));
        for bad in ["help@acme.example?body=x", "mailto:a@b.example", "data:text/html,x", "//evil.example", "help", "a@b.example\"onclick=x"] {
            assert_eq!(support_link(bad), None, "{bad}");
        }
    }
}
