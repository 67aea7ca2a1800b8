//! Images on the node.

use crate::client::{PULL, SHORT, bounded};
use crate::pod::absent_is_fine;
use crate::{Cri, CriError, wire};

/// How to sign in at the registry for one pull.
#[derive(Clone, Default)]
pub struct Credential {
    pub username: String,
    pub password: String,
}

/// Whom the processes of an image run as if nothing else is said. Neither: nobody said it, so as root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageUser {
    pub uid: Option<i64>,
    /// Where the image names its user by a name.
    pub name: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({}, ***)", self.username)
    }
}

impl Cri {
    /// Fetches an image (`registry/repo:tag` or `registry/repo@sha256:...`) and gives the runtime's reference to it (its
    /// image id, `sha256:...`), by which a container can be created.
    ///
    /// # Errors
    /// [`CriError::Failed`] with the registry's words.
    pub async fn pull_image(&self, image: &str, credential: Option<&Credential>) -> Result<String, CriError> {
        let auth = credential.filter(|c| !c.username.is_empty() || !c.password.is_empty()).map(|c| wire::AuthConfig {
            username: c.username.clone(),
            password: c.password.clone(),
            ..Default::default()
        });
        let request = wire::PullImageRequest { image: Some(named(image)), auth, sandbox_config: None };
        Ok(bounded("pull image", PULL, self.images.clone().pull_image(request)).await?.image_ref)
    }

    /// The node's copy of an image: its id (`sha256:...`) and the digests it is known by; `None` = not on this node.
    ///
    /// # Errors
    /// As every call.
    pub async fn image(&self, image: &str) -> Result<Option<(String, Vec<String>)>, CriError> {
        let request = wire::ImageStatusRequest { image: Some(named(image)), verbose: false };
        match bounded("image status", SHORT, self.images.clone().image_status(request)).await {
            Ok(answer) => Ok(answer.image.map(|i| (i.id, i.repo_digests))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The user of an image that the node has; of another one nothing is known.
    ///
    /// # Errors
    /// As every call.
    pub async fn image_user(&self, image: &str) -> Result<ImageUser, CriError> {
        let request = wire::ImageStatusRequest { image: Some(named(image)), verbose: false };
        let found = bounded("image status", SHORT, self.images.clone().image_status(request)).await?.image.unwrap_or_default();
        Ok(ImageUser { uid: found.uid.map(|u| u.value), name: found.username })
    }

    /// Whether the node has the image.
    ///
    /// # Errors
    /// As every call.
    pub async fn image_exists(&self, image: &str) -> Result<bool, CriError> {
        Ok(self.image(image).await?.is_some())
    }

    /// Names (tags) of every image on the node; images without a tag are listed by digest.
    ///
    /// # Errors
    /// As every call.
    pub async fn list_images(&self) -> Result<Vec<String>, CriError> {
        let answer = bounded("list images", SHORT, self.images.clone().list_images(wire::ListImagesRequest { filter: None })).await?;
        Ok(answer.images.into_iter().flat_map(|i| if i.repo_tags.is_empty() { i.repo_digests } else { i.repo_tags }).collect())
    }

    /// Forgets an image. One that is gone is fine.
    ///
    /// # Errors
    /// As every call.
    pub async fn remove_image(&self, image: &str) -> Result<(), CriError> {
        let request = wire::RemoveImageRequest { image: Some(named(image)) };
        absent_is_fine(bounded("remove image", SHORT, self.images.clone().remove_image(request)).await.map(drop))
    }
}

fn named(image: &str) -> wire::ImageSpec {
    wire::ImageSpec { image: image.into(), ..Default::default() }
}
