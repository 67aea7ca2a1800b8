//! How an organisation's sign-in pages look: read, changed, and found by what a page knows about who is coming.

use gantry_contract::branding::{Branding, Logo};
use gantry_es::Meta;
use gantry_es_pg::{Expect, Options};
use gantry_kernel::{Name, OrgId, Problem};
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::domain::branding::{self, Command, State, picture};
use crate::error::{fault, refused};
use crate::store::branding::{self as rows, BrandRow};

/// What a page shows of an organisation.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The organisation's name.
    pub org: String,
    pub branding: Branding,
    pub logo: Option<Logo>,
    pub version: i64,
}

/// Who a sign-in page may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For<'a> {
    /// An organisation by name, as the address of the page says.
    Named(&'a str),
    Org(OrgId),
}

fn opened(row: BrandRow) -> Result<Shown, Problem> {
    let logo = row.logo.as_deref().map(serde_json::from_str).transpose().map_err(fault)?;
    Ok(Shown { org: row.name, branding: serde_json::from_str(&row.branding).map_err(fault)?, logo, version: row.version })
}

impl App {
    /// What an organisation's pages look like, and its version.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn branding(&self, org: OrgId) -> Result<(State, i64), Problem> {
        let Some(row) = rows::of(self.pool(), org.0).await.map_err(fault)? else { return Ok((State::default(), 0)) };
        let Shown { branding, logo, version, .. } = opened(row)?;
        Ok((State { branding, logo }, version))
    }

    /// What a page for somebody of there looks like; `None`: as the platform's.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn brand_for(&self, whom: For<'_>) -> Result<Option<Shown>, Problem> {
        let row = match whom {
            // What is no name is nobody's.
            For::Named(name) if Name::parse(name).is_err() => return Ok(None),
            For::Named(name) => rows::by_name(self.pool(), name).await,
            For::Org(org) => rows::of(self.pool(), org.0).await,
        };
        row.map_err(fault)?.map(opened).transpose()
    }

    /// Replaces texts and colours; the logo stays.
    ///
    /// # Errors
    /// Every faulty field, or a stale version.
    pub async fn change_branding(&self, org: OrgId, branding: Branding, expect: Expect, meta: Meta) -> Result<(State, i64), Problem> {
        let wrong = branding::faults(&branding);
        if !wrong.is_empty() {
            return Err(Problem::invalid_fields(wrong));
        }
        self.brand(org, Command::Change { org, branding }, expect, meta).await
    }

    /// Takes a picture as the logo, if it is one.
    ///
    /// # Errors
    /// When it is too large, damaged or no picture that a browser shows without danger; a stale version.
    pub async fn put_logo(&self, org: OrgId, bytes: &[u8], expect: Expect, meta: Meta) -> Result<(State, i64), Problem> {
        let picture = picture::read(bytes).map_err(|fault| Problem::invalid("content", fault.to_string()))?;
        let sha256: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        rows::keep_logo(self.pool(), org.0, &sha256, bytes, self.now()).await.map_err(fault)?;
        let size_bytes = u32::try_from(bytes.len()).map_err(fault)?;
        let logo = Logo { media_type: picture.media_type.to_owned(), sha256, width: picture.width, height: picture.height, size_bytes };
        self.brand(org, Command::SetLogo { org, logo: Some(logo) }, expect, meta).await
    }

    /// # Errors
    /// A stale version.
    pub async fn remove_logo(&self, org: OrgId, expect: Expect, meta: Meta) -> Result<(State, i64), Problem> {
        self.brand(org, Command::SetLogo { org, logo: None }, expect, meta).await
    }

    async fn brand(&self, org: OrgId, command: Command, expect: Expect, meta: Meta) -> Result<(State, i64), Problem> {
        let options = Options { meta: meta.tenant(org), expect, ..Options::default() };
        let executed = self.brands.execute(org, command, options).await.map_err(refused)?;
        self.settled(executed.position).await;
        Ok((executed.state, executed.version))
    }

    /// The logo that an organisation has now, by its digest: type and bytes.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn logo_of(&self, org: &str, sha256: &str) -> Result<Option<(String, Vec<u8>)>, Problem> {
        if Name::parse(org).is_err() || sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let Some((logo, bytes)) = rows::logo(self.pool(), org, sha256).await.map_err(fault)? else { return Ok(None) };
        let logo: Logo = serde_json::from_str(&logo).map_err(fault)?;
        Ok(Some((logo.media_type, bytes)))
    }
}
