//! How an organisation's sign-in pages look: texts, colours, and which picture is its logo.

use gantry_es::EventData;
use gantry_kernel::OrgId;
use serde::{Deserialize, Serialize};

/// What is left out is as on the platform's own pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Branding {
    /// Shown above the form, and read out for the logo: 1 to 60 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Colour of buttons and links, `#rrggbb`; readable on white and under white (contrast 4.5 by WCAG 2.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accent: Option<String>,
    /// The same where the browser asks for dark pages; readable on #1b212a and under #0d1420.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accent_dark: Option<String>,
    /// Where people get help: an e-mail address or an https address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support: Option<String>,
    /// Shown above the form on English pages: up to 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice_en: Option<String>,
    /// The same on Chinese pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice_zh: Option<String>,
    /// An https address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy_url: Option<String>,
    /// An https address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms_url: Option<String>,
}

/// A picture that was checked; its bytes are kept outside the log under the digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Logo {
    /// `image/png`, `image/jpeg` or `image/webp`.
    pub media_type: String,
    /// Lower-case hex.
    pub sha256: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    pub size_bytes: u32,
}

/// Stream `branding-<organisation>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum BrandingEvent {
    #[serde(rename = "branding.changed")]
    Changed { org: OrgId, branding: Branding },
    /// None: taken away.
    #[serde(rename = "branding.logo-changed")]
    LogoChanged { org: OrgId, logo: Option<Logo> },
}

impl EventData for BrandingEvent {
    const AGGREGATE: &'static str = "branding";
}
