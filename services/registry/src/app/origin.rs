//! What an image was built on: as it says itself, and as its layers show; who signed that base, and whether it has moved since.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gantry_auth::Caller;
use gantry_kernel::{Role, Uuid};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::App;
use super::manifests::{Found, strings};
use super::signatures::Found as Signature;
use crate::domain::config::Config;
use crate::domain::digest::Digest;
use crate::domain::manifest::{Descriptor, MAX_BYTES, Manifest};
use crate::domain::name::{Reference, RepositoryName, parse_image};
use crate::domain::origin::{self, Claim, Content};
use crate::error::{Error, Result};
use crate::store::origin::{self as chains, Stack};
use crate::store::{images, lineage};

/// Images of one index that are looked at.
const MOST_IMAGES: usize = 100;
/// Candidates that are shown beside the base.
const MOST_OTHERS: usize = 20;
/// Candidates of one height, and all in all.
const MOST_FOUND: (i64, i64) = (100, 1_000);

/// The origin of an image, or of each image of an index.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ImageOrigins)]
pub struct Origins {
    pub name: String,
    pub reference: String,
    pub digest: String,
    pub images: Vec<Origin>,
}

/// Where one image comes from.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ImageOrigin)]
pub struct Origin {
    pub digest: String,
    pub platform: Option<String>,
    /// As its annotations or labels say (`org.opencontainers.image.base.name` and `.digest`).
    pub claim: Option<Claim>,
    /// The image of this registry that it is built on; null if none is known that the caller may see.
    pub base: Option<Base>,
    /// Whether the layers are those of the base that it claims; null when it claims none that is known here.
    pub claim_holds: Option<bool>,
    /// The base's tag points at another image now: built again, this image would have another base.
    pub rebuild_needed: bool,
    /// Why, or why nothing can be said.
    pub reason: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ImageBase)]
pub struct Base {
    /// `<org>/<project>/<repository>`.
    pub name: String,
    pub digest: String,
    /// Those that lead to it now.
    pub tags: Vec<String>,
    pub by: By,
    /// How many of this image's layers are the base's.
    pub layers: u32,
    /// Signed with a key that this image's project trusts.
    pub signed: bool,
    /// Names of those keys.
    pub signed_by: Vec<String>,
    /// Tags that pointed at it, and where they point now.
    pub tag_moves: Vec<TagMove>,
    /// Other images with the same layers, such as copies.
    pub others: Vec<Other>,
}

/// By what a base is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BaseKnownBy)]
pub enum By {
    /// The image names it, and its layers are the beginning of the image's.
    Both,
    /// Its layers are the beginning of the image's.
    Layers,
    /// The image names it; its layers say nothing, or something else.
    Annotation,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BaseTagMove)]
pub struct TagMove {
    pub tag: String,
    /// Null: it was deleted.
    pub now: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub at: Option<OffsetDateTime>,
    /// Whether it still leads to the base.
    pub same: bool,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BaseCopy)]
pub struct Other {
    pub name: String,
    pub digest: String,
    pub tags: Vec<String>,
}

/// An image that is built on another.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DerivedImage)]
pub struct Derived {
    pub name: String,
    pub digest: String,
    pub tags: Vec<String>,
    /// All its layers; the first of them are the base's.
    pub layers: u32,
}

/// One image, and what is needed to know where it comes from.
struct Piece {
    digest: Digest,
    manifest: Manifest,
    platform: Option<String>,
}

/// What is the same for every image that is asked about at once.
struct Asking<'a> {
    caller: &'a Caller,
    /// Whose images the caller may see.
    projects: Vec<Uuid>,
    name: &'a RepositoryName,
    /// The index's annotations, if they are those of an index.
    index: Option<&'a BTreeMap<String, String>>,
    configs: HashMap<String, Config>,
    contents: HashMap<String, Content>,
    /// The images of an index mostly claim the same base.
    claimed: Vec<(Claim, Option<Claimed>)>,
}

impl App {
    /// # Errors
    /// No such image, or the store.
    pub async fn origins(&self, caller: &Caller, name: &RepositoryName, reference: &Reference) -> Result<Origins> {
        let Found { row, bytes } = self.manifest(name, reference).await?;
        let whole = Manifest::parse(Some(&row.media_type), &bytes)?;
        let index = (!whole.children().is_empty()).then(|| whole.annotations.clone());
        let pieces = if index.is_some() {
            self.listed(name, &whole).await?
        } else {
            let digest = Digest::parse(&row.digest).map_err(|e| Error::Internal(e.into()))?;
            vec![Piece { digest, manifest: whole, platform: strings(&row.platforms).into_iter().next() }]
        };
        let images: Vec<&Manifest> = pieces.iter().map(|p| &p.manifest).filter(|m| m.image_config().is_some()).collect();
        let mut asking = Asking {
            caller,
            projects: self.projects_of(caller),
            name,
            index: index.as_ref(),
            configs: self.image_configs(&images).await?,
            contents: self.contents(&images).await?,
            claimed: Vec::new(),
        };
        let mut all = Vec::new();
        for piece in pieces.into_iter().filter(|p| p.manifest.image_config().is_some()) {
            all.push(self.image_origin(&mut asking, piece).await?);
        }
        Ok(Origins { name: name.to_string(), reference: reference.to_string(), digest: row.digest.clone(), images: all })
    }

    /// The images of an index that are in its repository.
    async fn listed(&self, name: &RepositoryName, whole: &Manifest) -> Result<Vec<Piece>> {
        let children = whole.children().iter().take(MOST_IMAGES);
        let digests: Vec<String> = children.clone().map(|c| c.digest.to_string()).collect();
        let known = images::known_manifests(&self.host.db().orm, name, &digests).await?;
        let here: Vec<_> = children.filter(|c| known.iter().any(|k| k.digest == c.digest.as_str())).collect();
        let bytes = self.blobs.read_smalls(&here.iter().map(|c| &c.digest).collect::<Vec<_>>(), MAX_BYTES as u64).await?;
        let piece = |child: &&Descriptor| {
            let manifest = Manifest::parse(None, bytes.get(child.digest.as_str())?).ok()?;
            Some(Piece { digest: child.digest.clone(), manifest, platform: child.platform.as_ref().and_then(crate::domain::manifest::Platform::text) })
        };
        Ok(here.iter().filter_map(piece).collect())
    }

    /// The bytes of a manifest that is in this repository.
    async fn kept_manifest(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Vec<u8>>> {
        if images::known_manifests(&self.host.db().orm, name, &[digest.to_string()]).await?.is_empty() {
            return Ok(None);
        }
        Ok(self.blobs.read_small(digest, MAX_BYTES as u64).await?)
    }

    async fn image_origin(&self, asking: &mut Asking<'_>, piece: Piece) -> Result<Origin> {
        let Piece { digest, manifest, platform } = &piece;
        let nothing = Config::default();
        let config = manifest.image_config().and_then(|c| asking.configs.get(c.digest.as_str())).unwrap_or(&nothing);
        let name = asking.name;
        let claim = origin::claim([&manifest.annotations].into_iter().chain(asking.index).chain([&config.labels]));
        let chains = origin::chains(manifest, config, &asking.contents);
        // The whole stack is the image itself, or another with the same layers: no base, unless the image says so.
        let parts = &chains[..chains.len().saturating_sub(1)];
        let found = if parts.is_empty() {
            Vec::new()
        } else {
            chains::below(&self.host.db().pool, &asking.projects, parts, (name.as_str(), digest.as_str()), MOST_FOUND).await.map_err(internal)?
        };
        let claimed = match &claim {
            Some(claim) => match asking.claimed.iter().find(|(known, _)| known == claim) {
                Some((_, known)) => known.clone(),
                None => {
                    let claimed = self.claimed(asking.caller, claim).await?;
                    asking.claimed.push((claim.clone(), claimed.clone()));
                    claimed
                }
            },
            None => None,
        };
        let mut origin = Origin {
            digest: digest.to_string(),
            platform: platform.clone(),
            claim,
            base: None,
            claim_holds: None,
            rebuild_needed: false,
            reason: "no image is known here whose layers are the beginning of this one's".into(),
        };
        let mut shown = None;
        if let Some(claimed) = &claimed {
            (origin.claim_holds, shown) = self.holds(claimed, manifest, &chains).await?;
        }
        if let (Some(claimed), Some((digest, depth))) = (&claimed, shown) {
            let others = others(found, depth, (claimed.name.as_str(), &digest));
            origin.base = Some(self.base(name, claimed.name.as_str(), digest, By::Both, depth, others).await?);
        } else if let Some(best) = found.first().cloned() {
            let others = others(found, best.depth, (&best.repository, &best.digest));
            origin.base = Some(self.base(name, &best.repository, best.digest, By::Layers, best.depth, others).await?);
        } else if let Some(claimed) = &claimed
            && let Some(digest) = claimed.digests.first()
        {
            origin.base = Some(self.base(name, claimed.name.as_str(), digest.clone(), By::Annotation, 0, Vec::new()).await?);
        }
        judge(&mut origin, claimed.as_ref());
        Ok(origin)
    }

    /// The image that is claimed as base, if it is one of this registry that the caller may see.
    async fn claimed(&self, caller: &Caller, claim: &Claim) -> Result<Option<Claimed>> {
        let Some(image) = claim.name.as_deref().and_then(|text| parse_image(text).ok()) else { return Ok(None) };
        if image.host.is_some_and(|host| host != self.host.platform.public_host()) {
            return Ok(None);
        }
        let Ok(project) = self.host.auth.project(image.name.org().as_str(), image.name.project().as_str()) else { return Ok(None) };
        if !project.public && self.host.auth.require(caller, Role::Viewer, project.scope()).is_err() {
            return Ok(None);
        }
        let db = &self.host.db().orm;
        let now = images::manifest(db, &image.name, &image.reference).await?.map(|row| row.digest);
        let tag = match &image.reference {
            Reference::Tag(tag) => Some(tag.to_string()),
            Reference::Digest(_) => None,
        };
        // What was meant then: the digest it names, or what the tag is now.
        let meant = claim.digest.clone().or_else(|| now.clone());
        let mut digests: Vec<String> = Vec::new();
        if let Some(meant) = meant.as_deref().and_then(|d| Digest::parse(d).ok())
            && !images::known_manifests(db, &image.name, &[meant.to_string()]).await?.is_empty()
        {
            digests.push(meant.to_string());
            digests.extend(lineage::children(db, &image.name, &meant).await?);
        }
        Ok(Some(Claimed { name: image.name, tag, digests }))
    }

    /// Whether the claimed base's layers are the beginning of this image's, and if so which image it is and how high. None when nothing
    /// of the claimed base is here to compare with.
    async fn holds(&self, claimed: &Claimed, image: &Manifest, chains: &[String]) -> Result<(Option<bool>, Option<(String, i32)>)> {
        let mut compared = false;
        for digest in claimed.digests.iter().take(MOST_IMAGES) {
            let Ok(at) = Digest::parse(digest) else { continue };
            let Some(bytes) = self.kept_manifest(&claimed.name, &at).await? else { continue };
            let Ok(manifest) = Manifest::parse(None, &bytes) else { continue };
            let config = self.image_config(&manifest).await?;
            let Some(top) = self.chains(&manifest, &config).await?.pop() else { continue };
            compared = true;
            let layers = |m: &Manifest| m.layers().iter().map(|l| l.digest.clone()).collect::<Vec<_>>();
            let (lower, all) = (layers(&manifest), layers(image));
            // The same layers as they are packed: so much is certain before anybody has read them.
            if all.starts_with(&lower) {
                return Ok((Some(true), Some((digest.clone(), i32::try_from(lower.len()).unwrap_or(i32::MAX)))));
            }
            if let Some(at) = chains.iter().position(|c| *c == top) {
                return Ok((Some(true), Some((digest.clone(), i32::try_from(at + 1).unwrap_or(i32::MAX)))));
            }
        }
        Ok((compared.then_some(false), None))
    }

    async fn base(&self, of: &RepositoryName, name: &str, digest: String, by: By, layers: i32, others: Vec<Other>) -> Result<Base> {
        let name = RepositoryName::parse(name).map_err(|e| Error::Internal(e.into()))?;
        let at = Digest::parse(&digest).map_err(|e| Error::Internal(e.into()))?;
        let db = &self.host.db().orm;
        let parents = lineage::parents(db, &name, &at).await?;
        // Whoever builds on it trusts by the keys of its own project.
        let settings = self.settings(self.place(of).await?.project).await?;
        let mut signed_by = BTreeSet::new();
        for subject in parents.iter().map(String::as_str).chain([digest.as_str()]) {
            let Ok(at) = Digest::parse(subject) else { continue };
            let bytes = self.blobs.read_small(&at, MAX_BYTES as u64).await?.unwrap_or_default();
            signed_by.extend(self.signatures(&name, subject, &bytes, &settings).await?.into_iter().filter(|s| s.signs_image).filter_map(key));
        }
        let same: Vec<String> = parents.into_iter().chain(lineage::children(db, &name, &at).await?).chain([digest.clone()]).collect();
        let moves = chains::tags_that_were(&self.host.db().pool, name.as_str(), &same).await.map_err(internal)?;
        let mut tag_moves = Vec::new();
        for moved in moves {
            // A new index may list the same image for this platform.
            let leads = match &moved.now {
                None => false,
                Some(now) if same.contains(now) => true,
                Some(now) => match Digest::parse(now) {
                    Ok(now) => lineage::children(db, &name, &now).await?.contains(&digest),
                    Err(_) => false,
                },
            };
            tag_moves.push(TagMove { tag: moved.tag, now: moved.now, at: moved.at, same: leads });
        }
        Ok(Base {
            name: name.to_string(),
            digest,
            tags: tag_moves.iter().filter(|m| m.same).map(|m| m.tag.clone()).collect(),
            by,
            layers: u32::try_from(layers).unwrap_or(0),
            signed: !signed_by.is_empty(),
            signed_by: signed_by.into_iter().collect(),
            tag_moves,
            others,
        })
    }

    /// Images built on this one that the caller may see, newest first, older than `before`; each with its number.
    ///
    /// # Errors
    /// No such image, or the store.
    pub async fn derived(&self, caller: &Caller, name: &RepositoryName, digest: &Digest, before: Option<i64>, limit: u64) -> Result<Vec<(i64, Derived)>> {
        let Found { row, bytes } = self.manifest(name, &Reference::Digest(digest.clone())).await?;
        let manifest = Manifest::parse(Some(&row.media_type), &bytes)?;
        let config = self.image_config(&manifest).await?;
        let Some(chain) = self.chains(&manifest, &config).await?.pop() else { return Ok(Vec::new()) };
        let projects = self.projects_of(caller);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = chains::above(&self.host.db().pool, &projects, &chain, before, limit).await.map_err(internal)?;
        let derived = |s: Stack| (s.image, Derived { name: s.repository, digest: s.digest, tags: s.tags, layers: u32::try_from(s.depth).unwrap_or(0) });
        Ok(found.into_iter().map(derived).collect())
    }
}

/// Images of the same height beside the chosen one.
fn others(found: Vec<Stack>, depth: i32, chosen: (&str, &str)) -> Vec<Other> {
    let beside = found.into_iter().filter(|s| s.depth == depth && (s.repository.as_str(), s.digest.as_str()) != chosen);
    beside.take(MOST_OTHERS).map(|s| Other { name: s.repository, digest: s.digest, tags: s.tags }).collect()
}

/// The claimed base, as far as it is known.
#[derive(Clone)]
struct Claimed {
    name: RepositoryName,
    tag: Option<String>,
    /// What was meant, and the images it lists; empty if that is not here.
    digests: Vec<String>,
}

fn key(signature: Signature) -> Option<String> {
    signature.key
}

fn internal(error: sqlx::Error) -> Error {
    Error::Internal(error.into())
}

/// Whether the base has moved: by the tag that the image names, else by any tag that pointed at the base.
fn judge(origin: &mut Origin, claimed: Option<&Claimed>) {
    let Some(base) = &origin.base else { return };
    let named = claimed.filter(|c| c.name.as_str() == base.name).and_then(|c| c.tag.as_deref());
    let moved: Vec<&TagMove> = base.tag_moves.iter().filter(|m| !m.same && m.now.is_some() && named.is_none_or(|tag| tag == m.tag)).collect();
    origin.rebuild_needed = !moved.is_empty();
    origin.reason = match moved.first() {
        Some(m) => format!("{}:{} pointed at the base and points at {} now", base.name, m.tag, m.now.as_deref().unwrap_or_default()),
        None if origin.claim_holds == Some(false) => "the image claims another base than its layers show".into(),
        None if base.tag_moves.is_empty() => "no tag ever pointed at the base".into(),
        None => "the tags of the base point at it still, or are gone".into(),
    };
}
