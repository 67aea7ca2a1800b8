//! Images that are fetched before an instance needs them, as the scheduler asks: one after the other, so that they do not take the
//! network from those that are needed now.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_contract::proto::scheduler as wire;
use gantry_cri::{Credential, Cri};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::keeper::{Shared, chain};
use crate::domain::acts::Act;
use crate::domain::restart::delay_ms;

/// Somebody else may have removed one.
const LOOK: Duration = Duration::from_secs(60);
/// Of one that could not be fetched, the first pause is as after so many failures of a start.
const PATIENCE: u32 = 4;

pub struct Prepull {
    pub cri: Cri,
    pub shared: Shared,
}

/// How often one has failed, and when it is tried again.
type Failures = BTreeMap<String, (u32, Instant)>;

impl Prepull {
    /// Until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut asked = self.shared.prepull.subscribe();
        let mut failures = Failures::new();
        loop {
            let images = asked.borrow_and_update().clone();
            failures.retain(|name, _| images.iter().any(|i| i.image == *name));
            let pause = tokio::select! {
                () = cancel.cancelled() => return,
                pause = self.round(&images, &mut failures) => pause,
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = asked.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One look at all of them; gives when the next is due.
    async fn round(&self, images: &[wire::WantedImage], failures: &mut Failures) -> Duration {
        let waiting = |image: &wire::WantedImage| (image.image.clone(), status(&image.image, "waiting", String::new()));
        let before = self.shared.images.borrow().clone();
        let all = images.iter().map(|i| before.get(&i.image).map_or_else(|| waiting(i), |known| (i.image.clone(), known.clone())));
        self.publish(all.collect());
        let mut pause = LOOK;
        for image in images {
            if let Some((_, again)) = failures.get(&image.image)
                && *again > Instant::now()
            {
                pause = pause.min(again.saturating_duration_since(Instant::now()));
                continue;
            }
            match self.fetch(image).await {
                Ok(()) => {
                    failures.remove(&image.image);
                    self.say(status(&image.image, "present", String::new()));
                }
                Err(reason) => {
                    let count = failures.get(&image.image).map_or(1, |(count, _)| count + 1);
                    let wait = Duration::from_millis(u64::try_from(delay_ms(count + PATIENCE)).unwrap_or(0));
                    tracing::warn!(image = image.image, error = reason, again_ms = wait.as_millis(), "an image cannot be fetched ahead");
                    failures.insert(image.image.clone(), (count, Instant::now() + wait));
                    pause = pause.min(wait);
                    self.say(status(&image.image, "failed", reason));
                }
            }
        }
        pause
    }

    async fn fetch(&self, image: &wire::WantedImage) -> Result<(), String> {
        if self.cri.image_exists(&image.image).await.map_err(|e| chain(&e))? {
            return Ok(());
        }
        self.say(status(&image.image, "pulling", String::new()));
        let credential = image.credential.as_ref().map(|c| Credential { username: c.username.clone(), password: c.password.clone() });
        let began = Instant::now();
        let done = self.cri.pull_image(&image.image, credential.as_ref()).await.map_err(|e| chain(&e));
        self.shared.acts.record(Act::of_image("engine.image-pulled", &image.image, done.as_ref().err().cloned()));
        done?;
        tracing::info!(image = image.image, duration_ms = began.elapsed().as_millis(), "an image was fetched ahead");
        Ok(())
    }

    fn say(&self, one: wire::ImageStatus) {
        let mut all = self.shared.images.borrow().clone();
        all.insert(one.image.clone(), one);
        self.publish(all);
    }

    fn publish(&self, all: BTreeMap<String, wire::ImageStatus>) {
        let changed = self.shared.images.send_if_modified(|held| {
            let changed = *held != all;
            *held = all;
            changed
        });
        if changed {
            self.shared.wake.notify_one();
        }
    }
}

fn status(image: &str, state: &str, reason: String) -> wire::ImageStatus {
    wire::ImageStatus { image: image.to_owned(), state: state.to_owned(), reason: reason.chars().take(300).collect() }
}
