//! Keys and signatures made in the test, in the formats that cosign, in-toto and Notation publish.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use gantry_registry::domain::signature::cose::to_be_signed;
use gantry_registry::domain::signature::statement::pae;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair as CertKey};
use serde_json::{Value, json};

use crate::image::descriptor;
use crate::stage::Stage;

pub struct Signer {
    pair: EcdsaKeyPair,
}

impl Signer {
    pub fn new() -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
        Self { pair: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref()).unwrap() }
    }

    pub fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.pair.public_key().as_der().unwrap();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref()))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    /// cosign, SIGNATURE_SPEC.md: payload and signature.
    pub fn simple(&self, digest: &str) -> (Vec<u8>, String) {
        let payload = json!({
            "critical": { "identity": { "docker-reference": "registry/acme/shop/web" }, "image": { "docker-manifest-digest": digest }, "type": "cosign container image signature" },
            "optional": null,
        });
        let payload = payload.to_string().into_bytes();
        let signature = STANDARD.encode(self.sign(&payload));
        (payload, signature)
    }

    /// A DSSE envelope around an in-toto statement about `digest`.
    pub fn envelope(&self, digest: &str, kind: &str, predicate: &Value) -> Value {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1", "predicateType": kind, "predicate": predicate,
            "subject": [{ "name": "web", "digest": { "sha256": digest.trim_start_matches("sha256:") } }],
        });
        let payload = statement.to_string().into_bytes();
        let kind = "application/vnd.in-toto+json";
        json!({ "payloadType": kind, "payload": STANDARD.encode(&payload), "signatures": [{ "sig": STANDARD.encode(self.sign(&pae(kind, &payload))) }] })
    }
}

/// A certificate authority and a signer below it.
pub struct Notary {
    pub root: String,
    leaf: Vec<u8>,
    root_der: Vec<u8>,
    pair: EcdsaKeyPair,
}

impl Notary {
    pub fn new(common_name: &str) -> Self {
        let root_key = CertKey::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test root");
        let root = params.self_signed(&root_key).unwrap();
        let key = CertKey::generate().unwrap();
        let mut leaf = CertificateParams::new(Vec::new()).unwrap();
        leaf.distinguished_name.push(DnType::CommonName, common_name);
        leaf.distinguished_name.push(DnType::OrganizationName, "acme");
        let leaf = leaf.signed_by(&key, &Issuer::from_params(&params, &root_key)).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der()).unwrap();
        Self { root: root.pem(), root_der: root.der().to_vec(), leaf: leaf.der().to_vec(), pair }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    fn payload(digest: &str) -> Vec<u8> {
        json!({ "targetArtifact": { "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1 } }).to_string().into_bytes()
    }

    /// notaryproject, signature-envelope-jws.md.
    pub fn jws(&self, digest: &str, expiry: Option<&str>) -> Vec<u8> {
        let mut protected = json!({
            "alg": "ES256", "cty": "application/vnd.cncf.notary.payload.v1+json", "crit": ["io.cncf.notary.signingScheme"],
            "io.cncf.notary.signingScheme": "notary.x509", "io.cncf.notary.signingTime": "2026-01-01T00:00:00Z",
        });
        if let Some(expiry) = expiry {
            protected["io.cncf.notary.expiry"] = expiry.into();
            protected["crit"] = json!(["io.cncf.notary.signingScheme", "io.cncf.notary.expiry"]);
        }
        let protected = URL_SAFE_NO_PAD.encode(protected.to_string());
        let payload = URL_SAFE_NO_PAD.encode(Self::payload(digest));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(format!("{protected}.{payload}").as_bytes()));
        let chain = [STANDARD.encode(&self.leaf), STANDARD.encode(&self.root_der)];
        let header = json!({ "x5c": chain, "io.cncf.notary.signingAgent": "test" });
        json!({ "payload": payload, "protected": protected, "header": header, "signature": signature }).to_string().into_bytes()
    }

    /// notaryproject, signature-envelope-cose.md.
    pub fn cose(&self, digest: &str) -> Vec<u8> {
        let text = |t: &str| [head(3, t.len()), t.as_bytes().to_vec()].concat();
        let bytes = |b: &[u8]| [head(2, b.len()), b.to_vec()].concat();
        let protected = [
            head(5, 5),
            vec![0x01, 0x26],
            [vec![0x02, 0x81], text("io.cncf.notary.signingScheme")].concat(),
            [vec![0x03], text("application/vnd.cncf.notary.payload.v1+json")].concat(),
            [text("io.cncf.notary.signingScheme"), text("notary.x509")].concat(),
            [text("io.cncf.notary.signingTime"), vec![0xc1, 0x1a, 0x69, 0x55, 0xb9, 0x00]].concat(),
        ]
        .concat();
        let payload = Self::payload(digest);
        let signature = self.sign(&to_be_signed(&protected, &payload));
        let unprotected = [head(5, 1), vec![0x18, 33, 0x82], bytes(&self.leaf), bytes(&self.root_der)].concat();
        [vec![0xd2, 0x84], bytes(&protected), unprotected, bytes(&payload), bytes(&signature)].concat()
    }
}

fn head(major: u8, n: usize) -> Vec<u8> {
    match n {
        0..=23 => vec![major << 5 | n as u8],
        24..=255 => vec![major << 5 | 24, n as u8],
        _ => [vec![major << 5 | 25], (n as u16).to_be_bytes().to_vec()].concat(),
    }
}

/// What one artifact about an image looks like.
pub struct Artifact<'a> {
    pub artifact_type: Option<&'a str>,
    pub layer_type: &'a str,
    pub content: &'a [u8],
    pub annotations: Value,
    /// Descriptor of the image; none for cosign's tag form.
    pub subject: Option<Value>,
}

/// Pushes it; under its digest, or as `tag`.
pub async fn attach(stage: &Stage, repository: &str, token: &str, tag: Option<&str>, artifact: Artifact<'_>) -> String {
    use gantry_registry::domain::digest::{Algorithm, Digest};
    stage.upload(repository, token, artifact.content).await;
    // cosign's own manifests carry an image config.
    let config =
        if artifact.artifact_type.is_some() { b"{}".to_vec() } else { br#"{"architecture":"","os":"","rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec() };
    stage.upload(repository, token, &config).await;
    let config_type = if artifact.artifact_type.is_some() { "application/vnd.oci.empty.v1+json" } else { crate::image::CONFIG };
    let mut layer = descriptor(artifact.layer_type, artifact.content);
    layer["annotations"] = artifact.annotations;
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": descriptor(config_type, &config), "layers": [layer],
    });
    if let Some(kind) = artifact.artifact_type {
        manifest["artifactType"] = kind.into();
    }
    if let Some(subject) = artifact.subject {
        manifest["subject"] = subject;
    }
    let digest = Digest::of(Algorithm::Sha256, manifest.to_string().as_bytes()).to_string();
    let response = stage.push(repository, tag.unwrap_or(&digest), token, &manifest).await;
    assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
    digest
}
