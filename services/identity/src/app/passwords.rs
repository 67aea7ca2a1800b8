//! Password hashes: argon2id with OWASP's parameters, on threads of their own and only so many at once, so that a
//! flood of sign-ins neither eats the memory nor starves other requests; the excess is told to come back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use gantry_kernel::{Kind, Problem, Secret};
use tokio::sync::Semaphore;

use crate::domain::password_hash::Known;

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// How many may wait for each one that runs.
const WAITING_EACH: usize = 16;

type Memory = Arc<Mutex<Vec<Vec<Block>>>>;

/// Cheap to clone.
#[derive(Clone)]
pub struct Hasher {
    running: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    most_waiting: usize,
    /// Memory of hashes done, while others wait for theirs: clearing 19 MiB anew would cost each of them a tenth more.
    memory: Memory,
    /// Of a password nobody has: verified when there is no such user, so that the time tells nothing.
    dummy: Arc<str>,
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are in range");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Whether a hash was made otherwise than we make them now: it is made anew at the next sign-in.
pub fn is_outdated(phc: &str) -> bool {
    !phc.starts_with(&format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$"))
}

impl Hasher {
    /// `at_once`: hashes computed at the same time, each taking 19 MiB and one core.
    ///
    /// # Errors
    /// When a first hash cannot be made.
    pub fn new(at_once: usize) -> anyhow::Result<Self> {
        let dummy = argon2().hash_password(b"nobody has this password").map_err(|e| anyhow::anyhow!("argon2: {e}"))?.to_string();
        Ok(Self {
            running: Arc::new(Semaphore::new(at_once.max(1))),
            waiting: Arc::default(),
            most_waiting: at_once.max(1) * WAITING_EACH,
            memory: Arc::default(),
            dummy: dummy.into(),
        })
    }

    /// A PHC string.
    ///
    /// # Errors
    /// 429 when too many wait.
    pub async fn hash(&self, password: &Secret) -> Result<String, Problem> {
        let password = password.clone();
        self.run(self.enter()?, move |_| argon2().hash_password(password.expose().as_bytes()).map(|h| h.to_string()))
            .await?
            .map_err(|e| Problem::internal(std::io::Error::other(e.to_string())))
    }

    /// A place among those who wait, for who has other things to ask before the hash: who gets none is sent away before it costs anything.
    ///
    /// # Errors
    /// 429 when too many wait.
    pub fn enter(&self) -> Result<Place, Problem> {
        let place = Place { waiting: self.waiting.clone(), memory: self.memory.clone() };
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= self.most_waiting {
            return Err(Problem::new(Kind::TooMany, "identity.busy", "too many sign-ins at once; try again in a moment").retry_after(Duration::from_secs(1)));
        }
        Ok(place)
    }

    /// Whether `password` has the hash `phc`. Takes as long when there is none.
    ///
    /// # Errors
    /// 429 when too many wait.
    pub async fn verify(&self, password: &Secret, phc: Option<&str>) -> Result<bool, Problem> {
        self.verify_at(self.enter()?, password, phc).await
    }

    /// The same for who has a place.
    ///
    /// # Errors
    /// When the thread is lost.
    pub async fn verify_at(&self, place: Place, password: &Secret, phc: Option<&str>) -> Result<bool, Problem> {
        let known = phc.is_some();
        let phc = phc.map_or_else(|| self.dummy.to_string(), str::to_owned);
        let password = password.clone();
        let fits = self.run(place, move |memory| Known::parse(&phc).is_ok_and(|known| known.fits(password.expose().as_bytes(), memory))).await?;
        Ok(fits && known)
    }

    /// `_place` is given back when the work is done.
    async fn run<T: Send + 'static>(&self, _place: Place, work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static) -> Result<T, Problem> {
        let permit = self.running.clone().acquire_owned().await.map_err(Problem::internal)?;
        // The permit goes along: a caller that gives up does not let another hash start before this one ends.
        let (waiting, kept) = (self.waiting.clone(), self.memory.clone());
        let done = tokio::task::spawn_blocking(move || {
            let mut memory = kept.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            let result = work(&mut memory);
            // An imported hash may have taken much more; and when nobody waits, the system gets all of it back.
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.load(Ordering::Acquire) <= 1 {
                kept.clear();
            } else if memory.len() <= MEMORY_KIB as usize {
                kept.push(memory);
            }
            drop(kept);
            drop(permit);
            result
        });
        done.await.map_err(Problem::internal)
    }
}

/// A place in the queue, given back on drop.
pub struct Place {
    waiting: Arc<AtomicUsize>,
    memory: Memory,
}

impl Drop for Place {
    fn drop(&mut self) {
        // The last one to go may not have been the last to hash.
        if self.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.memory.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let hasher = Hasher::new(1).unwrap();
        let phc = hasher.hash(&Secret::new("correct horse")).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(hasher.verify(&Secret::new("correct horse"), Some(&phc)).await.unwrap());
        assert!(!hasher.verify(&Secret::new("wrong horse"), Some(&phc)).await.unwrap());
        assert!(!hasher.verify(&Secret::new("nobody has this password"), None).await.unwrap(), "no hash, no entry");
        assert!(!hasher.verify(&Secret::new("x"), Some("not a hash")).await.unwrap());
    }

    /// Time must not tell who is there.
    #[tokio::test]
    async fn who_is_not_there_costs_as_much_as_who_is() {
        let hasher = Hasher::new(1).unwrap();
        let phc = hasher.hash(&Secret::new("x")).await.unwrap();
        let cost = |phc: &str| phc.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(cost(&hasher.dummy), cost(&phc));
        assert!(!is_outdated(&hasher.dummy));
    }

    #[tokio::test]
    async fn memory_is_kept_while_others_wait_and_given_back_when_nobody_does() {
        let hasher = Hasher::new(1).unwrap();
        let phc = hasher.hash(&Secret::new("x")).await.unwrap();
        let right = Secret::new("x");
        let all = futures::future::join_all((0..3).map(|_| hasher.verify(&right, Some(&phc)))).await;
        assert!(all.into_iter().all(|fits| fits.unwrap()));
        assert!(hasher.verify(&right, Some(&phc)).await.unwrap());
        assert!(hasher.memory.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_has_a_place_is_served_and_who_gets_none_takes_nobodys() {
        let hasher = Hasher::new(1).unwrap();
        let phc = hasher.hash(&Secret::new("x")).await.unwrap();
        let mut places: Vec<Place> = (0..WAITING_EACH).map(|_| hasher.enter().unwrap()).collect();
        for _ in 0..3 {
            assert_eq!(hasher.enter().err().unwrap().kind, Kind::TooMany);
            assert_eq!(hasher.verify(&Secret::new("x"), Some(&phc)).await.unwrap_err().kind, Kind::TooMany);
        }
        assert!(hasher.verify_at(places.pop().unwrap(), &Secret::new("x"), Some(&phc)).await.unwrap());
        // Given back by the hash, and by who went away without one.
        drop(hasher.enter().unwrap());
        assert!(!hasher.memory.lock().unwrap().is_empty(), "others wait");
        places.clear();
        assert!(hasher.memory.lock().unwrap().is_empty(), "nobody waits, and nobody hashed since");
        assert!(hasher.verify(&Secret::new("x"), Some(&phc)).await.unwrap());
        assert_eq!(hasher.waiting.load(Ordering::Acquire), 0);
    }

    #[tokio::test]
    async fn a_flood_is_told_to_come_back() {
        let hasher = Hasher::new(1).unwrap();
        let _held = hasher.running.clone().acquire_owned().await.unwrap();
        let waiting: Vec<_> = (0..WAITING_EACH)
            .map(|_| {
                let hasher = hasher.clone();
                Box::pin(async move { hasher.verify(&Secret::new("x"), None).await })
            })
            .collect();
        let mut all = futures::future::join_all(waiting);
        assert!(futures::poll!(&mut all).is_pending());
        let refused = hasher.verify(&Secret::new("x"), None).await.unwrap_err();
        assert_eq!(refused.kind, Kind::TooMany);
        assert!(refused.retry_after.is_some());
        assert!(hasher.enter().is_err());
    }

    #[tokio::test]
    async fn a_place_taken_before_is_the_only_one_that_a_sign_in_needs() {
        let hasher = Hasher::new(1).unwrap();
        let mut places: Vec<_> = std::iter::from_fn(|| hasher.enter().ok()).collect();
        assert_eq!(places.len(), WAITING_EACH);
        assert!(!hasher.verify_at(places.pop().unwrap(), &Secret::new("x"), None).await.unwrap());
        assert!(hasher.enter().is_ok(), "and it is given back");
    }
}
