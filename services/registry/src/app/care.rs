//! Care of the content as a whole: collection of what nobody needs, checks of what is kept, and what damage hurts.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use futures::StreamExt;
use gantry_es_pg::Lease;
use sea_orm::{ActiveValue::Set, EntityTrait, QueryOrder, QuerySelect};
use sqlx::PgConnection;

use super::App;
use crate::domain::digest::{Digest, Hasher};
use crate::domain::littering::{self, Open};
use crate::domain::name::RepositoryName;
use crate::domain::sums::{Summing, Sums};
use crate::error::is_away;
use crate::store::bookings;
use crate::store::content::{self, Hurt};
use crate::store::entities::collections;
use crate::store::fetches;
use crate::store::unplaced;

/// Blobs of one transaction.
const BATCH: i64 = 500;
/// Content without a row that is given one by one statement.
const STRAYS: usize = 1_000;
/// As many may be a tenth of what there is, or more.
const MOST_STRAYS: usize = 100;
/// How long a transfer's row stays that nobody let go of.
const OLD_FETCH: Duration = Duration::from_secs(24 * 3600);
/// How long the read model may take.
const CATCH_UP: Duration = Duration::from_secs(10);

/// How often a lock is looked at while something is done under it, and how long the database may take to say that it is held.
const LOOK: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(5);

/// What one collection removed, or would remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    pub blobs: u64,
    pub bytes: u64,
    pub uploads: u64,
    pub links: u64,
}

/// Does `work` for as long as the transaction lives, and no longer: with its connection its locks go, and whoever waited for them may write
/// what is being removed. Looking also keeps a database from ending a transaction in which nothing is asked for minutes.
///
/// # Errors
/// Those of `work`, or a transaction that is gone.
pub async fn held<T>(tx: &mut PgConnection, work: impl Future<Output = io::Result<T>>) -> anyhow::Result<T> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done?),
            () = tokio::time::sleep(LOOK) => {
                tokio::time::timeout(ANSWER, sqlx::query("select 1").execute(&mut *tx)).await??;
            }
        }
    }
}

impl App {
    /// Removes what no manifest needs, no upload linked, and nobody relied on for `older_than`. `dry_run` only counts. `None`
    /// when another replica is at it, or when the read model does not show every manifest yet.
    ///
    /// # Errors
    /// Database or store.
    pub async fn collect(&self, older_than: Duration, dry_run: bool, by: &str) -> anyhow::Result<Option<Freed>> {
        let started = Instant::now();
        let db = self.host.db();
        let Some(lease) = Lease::try_acquire(&db.pool, "registry-gc").await? else { return Ok(None) };
        let done = self.collect_alone(older_than, dry_run).await;
        lease.release().await;
        let Some(freed) = done? else { return Ok(None) };
        // A round that found nothing, by the timer, is no news.
        if freed != Freed::default() || by != TIMER {
            let row = collections::ActiveModel {
                at: Set(self.host.env.now()),
                by_whom: Set(by.to_owned()),
                dry_run: Set(dry_run),
                blobs: Set(signed(freed.blobs)),
                bytes: Set(signed(freed.bytes)),
                uploads: Set(signed(freed.uploads)),
                took_ms: Set(i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX)),
                ..Default::default()
            };
            collections::Entity::insert(row).exec_without_returning(&db.orm).await?;
        }
        Ok(Some(freed))
    }

    async fn collect_alone(&self, older_than: Duration, dry_run: bool) -> anyhow::Result<Option<Freed>> {
        let db = self.host.db();
        let before = self.host.env.now() - older_than;
        if !self.sees_every_manifest().await {
            return Ok(None);
        }
        if dry_run {
            let (blobs, bytes) = content::removable(&db.pool, before).await?;
            return Ok(Some(Freed { blobs: blobs.unsigned_abs(), bytes: bytes.unsigned_abs(), ..Freed::default() }));
        }
        let mut freed = Freed { uploads: self.remove_stale_uploads().await?, links: content::remove_old_links(&db.pool, before).await?, ..Freed::default() };
        match self.end_littering_uploads().await {
            Ok(ended) => freed.uploads += ended,
            // No reason to keep what nobody needs either.
            Err(error) => tracing::warn!(error = format!("{error:#}"), "uploads that were left could not be looked through and will be"),
        }
        fetches::forget_old(&db.pool, self.host.env.now() - OLD_FETCH).await?;
        bookings::forget_over(&db.pool, self.host.env.now()).await?;
        unplaced::forget_old(&db.pool, before).await?;
        while !self.host.cancel.is_cancelled() && self.sees_every_manifest().await {
            let mut tx = db.pool.begin().await?;
            let (gone, looked) = content::forget(&mut tx, before, BATCH).await?;
            let digests = gone.iter().map(|(digest, _)| Digest::parse(digest)).collect::<Result<Vec<_>, _>>()?;
            // The rows' locks are held until the content is gone: a push of the same waits, then writes it anew.
            held(&mut tx, self.blobs.remove(&digests)).await?;
            tx.commit().await?;
            freed.blobs += gone.len() as u64;
            freed.bytes += gone.iter().map(|(_, size)| size.unsigned_abs()).sum::<u64>();
            if looked < usize::try_from(BATCH).unwrap_or(usize::MAX) {
                break;
            }
        }
        Ok(Some(freed))
    }

    /// Gives content of the store that no row names a row, so that the next collection removes it; `part` is what its digests begin with.
    /// How much there was.
    ///
    /// # Errors
    /// Database or store.
    pub async fn take_in_strays(&self, part: u8) -> anyhow::Result<u64> {
        let before = self.host.env.now() - Duration::from_secs(self.config.gc_grace_seconds);
        let found = self.blobs.stored(part, before.into()).await?;
        let pool = &self.host.db().pool;
        let mut strays = Vec::new();
        for some in found.chunks(STRAYS) {
            strays.extend(content::unknown(pool, some).await?);
        }
        // A process is killed now and then; so much is missing where the database is empty, old, or another installation's.
        if strays.len() > MOST_STRAYS && strays.len() * 10 > found.len() {
            let (unknown, all) = (strays.len(), found.len());
            tracing::warn!(unknown, all, "the store has much content that the database does not know: nothing of it is removed. Is this database the store's?");
            return Ok(0);
        }
        let mut taken = 0;
        for some in strays.chunks(STRAYS) {
            taken += content::take_in(pool, some, before).await?;
        }
        if taken > 0 {
            tracing::info!(blobs = taken, "content that nothing named was found; collection removes it");
        }
        Ok(taken)
    }

    /// Uploads that cannot be looked through are no reason to keep what nobody needs; a store that is away is.
    async fn remove_stale_uploads(&self) -> io::Result<u64> {
        match self.blobs.remove_stale_uploads(Duration::from_secs(self.config.upload_ttl_seconds)).await {
            Err(error) if !is_away(&error) => {
                tracing::warn!(error = %error, "uploads that nobody goes on with could not all be removed and will be");
                Ok(0)
            }
            other => other,
        }
    }

    /// Ends uploads that were begun and left, where more of them lie in a project with a quota than the quota allows images. How many.
    ///
    /// # Errors
    /// The store, or the database.
    pub async fn end_littering_uploads(&self) -> anyhow::Result<u64> {
        let mut of_projects: BTreeMap<(String, String), Vec<Open>> = BTreeMap::new();
        for (repository, open) in self.blobs.open_uploads().await? {
            if let Ok(name) = RepositoryName::parse(&repository) {
                of_projects.entry((name.org().as_str().to_owned(), name.project().as_str().to_owned())).or_default().push(open);
            }
        }
        let mut ended = 0;
        for ((org, project), open) in of_projects {
            let Ok(found) = self.host.auth.project(&org, &project) else { continue };
            let Some(limit) = self.settings(found.id).await?.quota_bytes else { continue };
            for id in littering::to_end(open, limit) {
                match self.blobs.end_upload(id).await {
                    Ok(()) => ended += 1,
                    Err(error) => tracing::warn!(upload.id = %id, error = %error, "an upload that was left could not be ended and will be"),
                }
            }
        }
        Ok(ended)
    }

    /// Waits until the read model shows every manifest there is at this moment: blobs of one that it has not taken in would
    /// look unneeded. What comes later has marked its blobs already.
    async fn sees_every_manifest(&self) -> bool {
        self.sees_manifests_until(self.host.log().head()).await
    }

    /// Waits until the read model of images has taken in what stands at `position` of the log.
    pub(crate) async fn sees_manifests_until(&self, position: i64) -> bool {
        let Some(mut seen) = self.host.progress.watch("images") else { return false };
        matches!(tokio::time::timeout(CATCH_UP, seen.wait_for(|at| *at >= position)).await, Ok(Ok(_)))
    }

    /// The last collections, newest first.
    ///
    /// # Errors
    /// Database.
    pub async fn collections(&self, limit: u64) -> Result<Vec<collections::Model>, sea_orm::DbErr> {
        collections::Entity::find().order_by_desc(collections::Column::Id).limit(limit).all(&self.host.db().orm).await
    }

    /// Checks one blob as it is on the disk, and notes the outcome. `false`: it is damaged.
    ///
    /// # Errors
    /// Database, or a disk that cannot be read for another reason.
    pub async fn check(&self, digest: &Digest, size: u64) -> anyhow::Result<bool> {
        let opened = match self.blobs.open(digest, 0..size).await {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            other => other?,
        };
        let found = match opened {
            Some(blob) if blob.size == size => {
                let (mut hasher, mut summing, mut blocks) = (Hasher::new(digest.algorithm()), Summing::default(), blob.blocks);
                loop {
                    match blocks.next().await {
                        Some(Ok(block)) => {
                            (hasher, summing) = tokio::task::spawn_blocking(move || {
                                hasher.update(&block);
                                summing.update(&block);
                                (hasher, summing)
                            })
                            .await?;
                        }
                        None => break (hasher.finish() == *digest).then(|| summing.finish()),
                        // The store is away: that says nothing about the content.
                        Some(Err(error)) if is_away(&error) => return Err(error.into()),
                        // A sector that cannot be read is damage like any other.
                        Some(Err(_)) => break None,
                    }
                }
            }
            _ => None,
        };
        self.note_check(digest, found.as_ref()).await?;
        Ok(found.is_some())
    }

    async fn note_check(&self, digest: &Digest, sums: Option<&Sums>) -> anyhow::Result<()> {
        content::checked(&self.host.db().pool, digest.as_str(), sums.is_some(), sums, self.host.env.now()).await?;
        if sums.is_none() {
            self.manifests.clear();
            tracing::error!(blob = %digest, "the content is damaged on the disk and is not served; `gantry image damage` lists the images it hurts");
        }
        Ok(())
    }

    /// A reader met damage. The whole blob is looked at before anybody is told.
    pub fn report_damage(&self, digest: Digest) {
        let app = self.clone();
        self.host.tracker.spawn(async move {
            let size = crate::store::blobs::size(&app.host.db().orm, &digest).await;
            let outcome = match size {
                Ok(Some(size)) => app.check(&digest, size).await.map(|_| ()),
                Ok(None) => Ok(()),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = outcome {
                tracing::warn!(blob = %digest, error = format!("{error:#}"), "a damaged blob could not be looked at");
            }
        });
    }

    /// Damaged content with the images it hurts, and how many blobs wait for their check.
    ///
    /// # Errors
    /// Database.
    pub async fn damage(&self) -> anyhow::Result<(Vec<Hurt>, i64)> {
        let pool = &self.host.db().pool;
        Ok((content::damage(pool).await?, content::waiting_for_check(pool, self.check_before()).await?))
    }

    /// Everything is to be checked now, not only what has not been for long.
    ///
    /// # Errors
    /// Database.
    pub async fn check_all(&self) -> anyhow::Result<i64> {
        let count = content::check_all(&self.host.db().pool).await?;
        self.scrub.notify_one();
        Ok(count)
    }

    /// What was checked before this is due again.
    pub fn check_before(&self) -> time::OffsetDateTime {
        self.host.env.now() - Duration::from_secs(self.config.scrub_every_seconds)
    }
}

/// Who starts the regular rounds.
pub const TIMER: &str = "service:registry";

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
