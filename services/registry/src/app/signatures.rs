//! The signatures and attestations of an image: found under cosign's tags and among the referrers, each checked with the
//! project's trusted keys.

use gantry_contract::registry::settings::TrustedKey;
use serde::Serialize;

use super::App;
use crate::domain::digest::Digest;
use crate::domain::manifest::{Descriptor, MAX_BYTES, Manifest};
use crate::domain::name::{Reference, RepositoryName, Tag};
use crate::domain::policy::Provenance;
use crate::domain::settings::Settings;
use crate::domain::signature::key::{self, Material};
use crate::domain::signature::notation::{self, Trusted};
use crate::domain::signature::statement::{self, COSIGN_SIGN, Envelope, Named, Statement};
use crate::domain::signature::{Fault, Form, bundle, cose};
use crate::error::Result;
use crate::store::{blobs, images};

/// Signatures of one image that are looked at; a hostile pusher could attach any number.
const MOST: usize = 100;
/// Bytes of one signature or attestation.
const LARGEST: u64 = 16 << 20;

/// One signature or attestation, and what it is worth.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Found {
    /// Digest of the artifact it is in.
    pub artifact: String,
    pub form: Form,
    pub valid: bool,
    /// The trusted key that made it.
    pub key: Option<String>,
    /// Subject of the signer's certificate (Notation).
    pub signer: Option<String>,
    /// Attestations: the kind of statement.
    pub predicate_type: Option<String>,
    /// SLSA provenance: who built it.
    pub builder: Option<String>,
    /// SLSA provenance: from what.
    pub materials: Vec<String>,
    /// Why it does not count.
    pub fault: Option<String>,
    #[serde(skip)]
    pub signs_image: bool,
}

impl Found {
    fn new(artifact: &str, form: Form) -> Self {
        Self {
            artifact: artifact.into(),
            form,
            valid: false,
            key: None,
            signer: None,
            predicate_type: None,
            builder: None,
            materials: Vec::new(),
            fault: None,
            signs_image: false,
        }
    }

    fn signed(mut self, by: Result<String, Fault>) -> Self {
        match by {
            Ok(key) => (self.valid, self.key, self.signs_image) = (true, Some(key), true),
            Err(fault) => self.fault = Some(fault.to_string()),
        }
        self
    }

    fn attested(mut self, statement: &Statement, key: Option<String>) -> Self {
        self.predicate_type = Some(statement.predicate_type.chars().take(200).collect());
        self.builder = statement::builder(statement);
        self.materials = statement::materials(statement);
        self.valid = key.is_some();
        self.signs_image = key.is_some() && statement.predicate_type == COSIGN_SIGN;
        self.fault = key.is_none().then(|| Fault::Untrusted.to_string());
        self.key = key;
        self
    }

    pub fn provenance(&self) -> Option<Provenance> {
        Some(Provenance { builder: self.builder.clone()?, key: self.key.clone() })
    }
}

/// The project's keys by what they can check.
fn material(keys: &std::collections::BTreeMap<String, TrustedKey>) -> (Vec<Named>, Vec<Trusted>) {
    let (mut named, mut trusted) = (Vec::new(), Vec::new());
    for key in keys.values() {
        match key::parse(&key.pem) {
            Ok(Material::Key(public)) => named.push((key.name.clone(), public)),
            Ok(Material::Certificate(der)) => trusted.push((key.name.clone(), der, key.subject.clone())),
            Err(_) => {}
        }
    }
    (named, trusted)
}

impl App {
    /// Everything that signs or attests `digest` here. `manifest` are the bytes of what is signed.
    ///
    /// # Errors
    /// The store; a broken signature is no error but one that does not count.
    pub async fn signatures(&self, name: &RepositoryName, digest: &str, manifest: &[u8], settings: &Settings) -> Result<Vec<Found>> {
        let (named, trusted) = material(&settings.keys);
        let db = &self.host.db().orm;
        let Ok(subject) = Digest::parse(digest) else { return Ok(Vec::new()) };
        let mut artifacts: Vec<String> = images::referrers(db, name, &subject, None, None, 1000).await?.into_iter().map(|r| r.digest).collect();
        for suffix in ["sig", "att"] {
            if let Ok(tag) = Tag::parse(&format!("{}.{suffix}", digest.replace(':', "-")))
                && let Some(row) = images::manifest(db, name, &Reference::Tag(tag)).await?
            {
                artifacts.push(row.digest);
            }
        }
        artifacts.sort();
        artifacts.dedup();
        let mut found = Vec::new();
        for artifact in artifacts {
            let Ok(at) = Digest::parse(&artifact) else { continue };
            let Some(bytes) = self.blobs.read_small(&at, MAX_BYTES as u64).await? else { continue };
            let Ok(read) = Manifest::parse(None, &bytes) else { continue };
            let layers: Vec<(&Descriptor, Form)> = read.layers().iter().filter_map(|layer| Some((layer, form_of(&read, layer)?))).collect();
            // A manifest may name content of others by its digest: what is in it is not for the readers of this repository.
            let wanted: Vec<String> = layers.iter().map(|(layer, _)| layer.digest.to_string()).collect();
            let visible = blobs::visible(db, name, &wanted).await?;
            for (layer, form) in layers {
                if found.len() >= MOST {
                    return Ok(found);
                }
                let is_ours = visible.iter().any(|digest| digest == layer.digest.as_str());
                let bytes = if is_ours { self.blobs.read_small(&layer.digest, LARGEST).await.ok().flatten() } else { None };
                let one = Found::new(&artifact, form);
                found.push(match bytes {
                    Some(bytes) => self.judged(one, layer, &bytes, digest, manifest, (&named, &trusted)),
                    None => one.signed(Err(Fault::form("its content is not here or too large"))),
                });
            }
        }
        Ok(found)
    }

    fn judged(&self, found: Found, layer: &Descriptor, bytes: &[u8], digest: &str, manifest: &[u8], (named, trusted): (&[Named], &[Trusted])) -> Found {
        match found.form {
            Form::Cosign => {
                let signature = layer.annotations.get(statement::SIGNATURE_ANNOTATION).map(String::as_str).unwrap_or_default();
                found.signed(statement::simple(bytes, signature, digest, named))
            }
            Form::Attestation => {
                let read = serde_json::from_slice::<Envelope>(bytes).map_err(Fault::form);
                match read.and_then(|envelope| statement::attested(&envelope, digest, named)) {
                    Ok((statement, key)) => found.attested(&statement, key),
                    Err(fault) => found.signed(Err(fault)),
                }
            }
            Form::SigstoreBundle => match bundle::read(bytes, digest, manifest, named) {
                Ok(bundle::Says::Signed(key)) => found.signed(Ok(key)),
                Ok(bundle::Says::Attested(statement, key)) => found.attested(&statement, key),
                Err(fault) => found.signed(Err(fault)),
            },
            Form::Notation => {
                let parts = if layer.media_type == notation::JWS { notation::jws(bytes) } else { cose::envelope(bytes) };
                match parts.and_then(|parts| notation::verify(&parts, digest, trusted, self.host.env.now())) {
                    Ok(signed) => Found { signer: Some(signed.subject), ..found.signed(Ok(signed.key)) },
                    Err(fault) => found.signed(Err(fault)),
                }
            }
        }
    }
}

/// How a layer of an artifact signs or attests, if it does.
fn form_of(holder: &Manifest, layer: &Descriptor) -> Option<Form> {
    let is_notation = holder.artifact_type.as_deref() == Some(notation::ARTIFACT);
    match layer.media_type.as_str() {
        statement::SIMPLE_SIGNING => Some(Form::Cosign),
        statement::DSSE => Some(Form::Attestation),
        kind if kind.starts_with(bundle::BUNDLE_PREFIX) => Some(Form::SigstoreBundle),
        notation::JWS | notation::COSE if is_notation => Some(Form::Notation),
        _ => None,
    }
}
