use futures::{StreamExt, stream};
use proptest::prelude::*;

use super::*;

const ID: Uuid = Uuid::from_u128(7);

fn name() -> RepositoryName {
    RepositoryName::parse("acme/shop/web").unwrap()
}

fn chunk(start: Option<u64>) -> Chunk {
    Chunk { start, length: None, max: 1 << 30, patience: Duration::from_secs(5) }
}

fn body(pieces: &[&'static [u8]]) -> impl Stream<Item = Result<Bytes, io::Error>> + use<> {
    stream::iter(pieces.iter().map(|p| Ok(Bytes::from_static(p))).collect::<Vec<_>>())
}

async fn begun() -> (tempfile::TempDir, BlobFs) {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobFs::open(folder.path()).unwrap();
    store.start_upload(ID, &name(), Algorithm::Sha256).await.unwrap();
    (folder, store)
}

#[tokio::test]
async fn an_upload_in_pieces_becomes_a_blob() {
    let (_folder, store) = begun().await;
    assert_eq!(store.append(ID, &name(), chunk(Some(0)), body(&[b"hel", b"lo "])).await.unwrap(), 6);
    assert_eq!(store.append(ID, &name(), chunk(Some(6)), body(&[b"world"])).await.unwrap(), 11);
    for algorithm in [Algorithm::Sha512, Algorithm::Sha256] {
        let digest = Digest::of(algorithm, b"hello world");
        let staged = store.finish(ID, &name(), &digest, 0).await.unwrap();
        assert_eq!(staged.size, 11);
        if algorithm == Algorithm::Sha256 {
            store.publish([&staged]).await.unwrap();
            store.end_upload(ID).await.unwrap();
            assert_eq!(store.size(&digest).await.unwrap(), Some(11));
        }
    }
    assert!(matches!(store.upload_offset(ID, &name()).await, Err(UploadError::Unknown)));
}

#[tokio::test]
async fn small_content_that_comes_whole_is_checked_without_a_file() {
    let (_folder, store) = begun().await;
    let (content, digest) = (Bytes::from_static(b"hello"), Digest::of(Algorithm::Sha512, b"hello"));
    let other = RepositoryName::parse("acme/shop/other").unwrap();
    assert!(matches!(store.finish_whole(ID, &other, &digest, &content).await, Err(UploadError::Unknown)));
    let staged = store.finish_whole(ID, &name(), &digest, &content).await.unwrap().expect("nothing came before");
    assert_eq!((staged.inline(), staged.size, &staged.digest), (Some(&content), 5, &digest));
    assert_eq!(store.upload_offset(ID, &name()).await.unwrap(), 0, "tried again, it goes the same way");
    // Behind other bytes it is a part like any.
    store.append(ID, &name(), chunk(None), body(&[b"oh, "])).await.unwrap();
    assert!(store.finish_whole(ID, &name(), &digest, &content).await.unwrap().is_none());
    store.end_upload(ID).await.unwrap();
    assert!(matches!(store.finish_whole(ID, &name(), &digest, &content).await, Err(UploadError::Unknown)));
    store.start_upload(ID, &name(), Algorithm::Sha256).await.unwrap();
    let wrong = Digest::of(Algorithm::Sha256, b"other");
    assert!(matches!(store.finish_whole(ID, &name(), &wrong, &content).await, Err(UploadError::Digest { .. })));
    assert!(matches!(store.upload_offset(ID, &name()).await, Err(UploadError::Unknown)));
}

#[tokio::test]
async fn an_upload_has_files_when_it_needs_them_or_a_moment_after_it_was_begun() {
    let (folder, store) = begun().await;
    let dir = folder.path().join("uploads").join(ID.to_string());
    assert!(!dir.exists(), "what comes whole needs none");
    let content = Bytes::from_static(b"hello");
    store.finish_whole(ID, &name(), &Digest::of(Algorithm::Sha256, &content), &content).await.unwrap().expect("nothing came before");
    store.end_upload(ID).await.unwrap();
    assert!(!dir.exists());
    assert!(matches!(store.upload_offset(ID, &name()).await, Err(UploadError::Unknown)));

    store.start_upload(ID, &name(), Algorithm::Sha256).await.unwrap();
    // Another replica on the same folder.
    let beside = BlobFs::open(folder.path()).unwrap();
    let seen = async {
        while beside.upload_offset(ID, &name()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen).await.expect("it goes on at another replica");
    beside.append(ID, &name(), chunk(Some(0)), body(&[b"hello"])).await.unwrap();
    assert!(store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, b"hello"), 0).await.is_ok());
}

#[tokio::test]
async fn an_upload_that_another_replica_has_just_begun_is_waited_for() {
    let (folder, store) = begun().await;
    let beside = BlobFs::open(folder.path()).unwrap();
    #[allow(clippy::disallowed_methods, reason = "as young as a replica's that begins it now")]
    let id = Uuid::now_v7();
    store.start_upload(id, &name(), Algorithm::Sha256).await.unwrap();
    assert_eq!(beside.upload_offset(id, &name()).await.unwrap(), 0);
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let (folder, store) = begun().await;
    store.append(ID, &name(), chunk(None), body(&[b"hello "])).await.unwrap();
    drop(store);
    let store = BlobFs::open(folder.path()).unwrap();
    assert_eq!(store.upload_offset(ID, &name()).await.unwrap(), 6);
    store.append(ID, &name(), chunk(Some(6)), body(&[b"world"])).await.unwrap();
    assert!(store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, b"hello world"), 0).await.is_ok());
}

#[tokio::test]
async fn what_came_before_the_connection_broke_stays() {
    let (_folder, store) = begun().await;
    let broken = stream::iter([Ok(Bytes::from_static(b"hello ")), Err(io::Error::other("reset"))]);
    assert!(matches!(store.append(ID, &name(), chunk(None), broken).await, Err(UploadError::Broken(_))));
    assert_eq!(store.upload_offset(ID, &name()).await.unwrap(), 6);
    store.append(ID, &name(), chunk(Some(6)), body(&[b"world"])).await.unwrap();
    assert!(store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, b"hello world"), 0).await.is_ok());
}

#[tokio::test]
async fn a_request_that_is_dropped_leaves_a_usable_upload() {
    let (_folder, store) = begun().await;
    let endless = body(&[b"hello "]).chain(stream::pending());
    let name = name();
    let request = store.append(ID, &name, chunk(None), endless);
    assert!(tokio::time::timeout(Duration::from_millis(50), request).await.is_err());
    assert_eq!(store.append(ID, &name, chunk(Some(6)), body(&[b"world"])).await.unwrap(), 11);
    assert!(store.finish(ID, &name, &Digest::of(Algorithm::Sha256, b"hello world"), 0).await.is_ok());
}

#[tokio::test]
async fn chunks_out_of_order_or_with_a_wrong_length_change_nothing() {
    let (_folder, store) = begun().await;
    store.append(ID, &name(), chunk(None), body(&[b"hello"])).await.unwrap();
    let gap = store.append(ID, &name(), chunk(Some(9)), body(&[b"x"])).await;
    assert!(matches!(gap, Err(UploadError::OutOfOrder { at: 5, start: 9 })));
    for said in [1, 9] {
        let lied = store.append(ID, &name(), Chunk { length: Some(said), ..chunk(None) }, body(&[b"xyz"])).await;
        assert!(matches!(lied, Err(UploadError::Length { .. })));
    }
    let large = store.append(ID, &name(), Chunk { max: 6, ..chunk(None) }, body(&[b"xyz"])).await;
    assert!(matches!(large, Err(UploadError::TooLarge(6))));
    assert_eq!(store.upload_offset(ID, &name()).await.unwrap(), 5);
    assert!(store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, b"hello"), 0).await.is_ok());
}

#[tokio::test]
async fn a_wrong_digest_ends_the_upload() {
    let (_folder, store) = begun().await;
    store.append(ID, &name(), chunk(None), body(&[b"hello"])).await.unwrap();
    let wrong = Digest::of(Algorithm::Sha256, b"other");
    assert!(matches!(store.finish(ID, &name(), &wrong, 0).await, Err(UploadError::Digest { .. })));
    assert!(matches!(store.upload_offset(ID, &name()).await, Err(UploadError::Unknown)));
    assert_eq!(store.size(&wrong).await.unwrap(), None);
}

#[tokio::test]
async fn an_upload_of_another_repository_is_unknown() {
    let (_folder, store) = begun().await;
    let other = RepositoryName::parse("acme/shop/other").unwrap();
    assert!(matches!(store.append(ID, &other, chunk(None), body(&[b"x"])).await, Err(UploadError::Unknown)));
    assert!(matches!(store.cancel_upload(ID, &other).await, Err(UploadError::Unknown)));
    store.cancel_upload(ID, &name()).await.unwrap();
    assert!(matches!(store.upload_offset(ID, &name()).await, Err(UploadError::Unknown)));
}

#[tokio::test]
async fn only_uploads_left_alone_are_removed() {
    let (_folder, store) = begun().await;
    assert_eq!(store.upload_offset(ID, &name()).await.unwrap(), 0);
    assert_eq!(store.remove_stale_uploads(Duration::from_secs(60)).await.unwrap(), 0);
    assert_eq!(store.remove_stale_uploads(Duration::ZERO).await.unwrap(), 1);
    assert!(matches!(store.upload_offset(ID, &name()).await, Err(UploadError::Unknown)));
}

#[tokio::test]
async fn uploads_under_way_are_told_with_their_bytes_and_since_when_nobody_was_at_them() {
    let (folder, store) = begun().await;
    store.append(ID, &name(), chunk(None), body(&[b"hello"])).await.unwrap();
    let staged = store.stage(Uuid::from_u128(8), Digest::of(Algorithm::Sha256, b"x"), Bytes::from_static(b"x")).await.unwrap();
    assert!(staged.file().is_some_and(|file| file.exists()), "beside what is no upload");
    let data = OpenOptions::new().append(true).open(folder.path().join("uploads").join(ID.to_string()).join("data")).unwrap();
    data.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let open = store.open_uploads().await.unwrap();
    assert_eq!((open.len(), open[0].0.as_str(), open[0].1.id, open[0].1.bytes), (1, "acme/shop/web", ID, 5));
    assert!(open[0].1.idle > Duration::from_secs(3600));
    data.lock().unwrap();
    assert_eq!(store.open_uploads().await.unwrap()[0].1.idle, Duration::ZERO, "somebody is at it");
}

#[tokio::test]
async fn an_upload_that_is_being_written_is_not_stale_however_the_clock_jumps() {
    let (folder, store) = begun().await;
    store.append(ID, &name(), chunk(None), body(&[b"hello"])).await.unwrap();
    // As a request, here or at another replica, has it.
    let data = OpenOptions::new().append(true).open(folder.path().join("uploads").join(ID.to_string()).join("data")).unwrap();
    data.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    data.lock().unwrap();
    assert_eq!(store.remove_stale_uploads(Duration::from_secs(60)).await.unwrap(), 0);
    drop(data);
    assert_eq!(store.remove_stale_uploads(Duration::from_secs(60)).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_of_which_the_disk_lost_something_is_over_and_comes_anew() {
    let (_folder, store) = begun().await;
    let refuse = |n| store.disk.told.refusals.store(n, std::sync::atomic::Ordering::SeqCst);
    let digest = Digest::of(Algorithm::Sha256, b"hello");
    store.append(ID, &name(), chunk(None), body(&[b"hello"])).await.unwrap();
    refuse(1);
    assert!(matches!(store.finish(ID, &name(), &digest, 0).await, Err(UploadError::Io(_))));
    // Tried again, the disk would say that all is well.
    assert!(matches!(store.finish(ID, &name(), &digest, 0).await, Err(UploadError::Unknown)));

    // The same while bytes come, of which so many are there that the disk is told to write.
    store.start_upload(ID, &name(), Algorithm::Sha256).await.unwrap();
    let piece = Bytes::from(vec![7u8; 1 << 20]);
    let pieces = || stream::iter((0..33).map(|_| Ok::<_, io::Error>(piece.clone())).collect::<Vec<_>>());
    refuse(1);
    assert!(matches!(store.append(ID, &name(), chunk(None), pieces()).await, Err(UploadError::Io(_))));
    assert!(matches!(store.upload_offset(ID, &name()).await, Err(UploadError::Unknown)));

    store.start_upload(ID, &name(), Algorithm::Sha256).await.unwrap();
    assert_eq!(store.append(ID, &name(), chunk(None), body(&[b"hello"])).await.unwrap(), 5);
    let staged = store.finish(ID, &name(), &digest, 0).await.unwrap();
    store.publish([&staged]).await.unwrap();
    assert_eq!(store.size(&digest).await.unwrap(), Some(5));
}

#[tokio::test]
async fn a_sender_that_falls_silent_is_cut_off() {
    let (_folder, store) = begun().await;
    let slow = store.append(ID, &name(), Chunk { patience: Duration::from_millis(20), ..chunk(None) }, stream::pending::<Result<Bytes, io::Error>>()).await;
    assert!(matches!(slow, Err(UploadError::Slow(_))));
}

#[tokio::test]
async fn an_upload_that_was_cancelled_elsewhere_before_it_became_a_blob_is_unknown() {
    let (folder, store) = begun().await;
    store.append(ID, &name(), chunk(None), body(&[b"hello"])).await.unwrap();
    let staged = store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, b"hello"), 0).await.unwrap();
    BlobFs::open(folder.path()).unwrap().cancel_upload(ID, &name()).await.unwrap();
    let error = UploadError::from(store.publish([&staged]).await.unwrap_err());
    assert!(matches!(error.or_over(), UploadError::Unknown));
    assert!(matches!(UploadError::from(io::Error::from(io::ErrorKind::StorageFull)).or_over(), UploadError::Io(_)), "a fault stays one");
}

#[tokio::test]
async fn a_file_that_keeps_a_name_because_it_is_open_somewhere_does_not_keep_the_upload() {
    let (folder, store) = begun().await;
    store.append(ID, &name(), chunk(None), body(&[b"hello"])).await.unwrap();
    // As NFS does with what is removed while a machine has it open.
    let left = folder.path().join("uploads").join(ID.to_string()).join(".nfs0001");
    fs::write(&left, "hello").unwrap();
    store.cancel_upload(ID, &name()).await.unwrap();
    assert!(matches!(store.upload_offset(ID, &name()).await, Err(UploadError::Unknown)));
    assert!(left.exists(), "nobody but its owner can take it away");
    assert_eq!(store.remove_stale_uploads(Duration::ZERO).await.unwrap(), 1);
    assert!(!left.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_may_be_finished_as_soon_as_its_last_bytes_are_taken() {
    let (_folder, store) = begun().await;
    // So many that the disk is told to write while they come.
    let piece = Bytes::from(vec![7u8; 1 << 20]);
    let digest = Digest::of(Algorithm::Sha256, &piece.repeat(33));
    let pieces = stream::iter((0..33).map(|_| Ok::<_, io::Error>(piece.clone())).collect::<Vec<_>>());
    assert_eq!(store.append(ID, &name(), chunk(None), pieces).await.unwrap(), 33 << 20);
    store.finish(ID, &name(), &digest, 0).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// However the content is cut, and wherever the process restarts, the digest is the content's.
    #[test]
    fn any_cut_gives_the_same_digest(cuts in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), any::<bool>()), 0..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (folder, mut store) = begun().await;
            let mut whole = Vec::new();
            for (piece, restart) in cuts {
                let start = whole.len() as u64;
                whole.extend_from_slice(&piece);
                let one = stream::iter([Ok::<_, io::Error>(Bytes::from(piece))]);
                store.append(ID, &name(), chunk(Some(start)), one).await.unwrap();
                if restart {
                    store = BlobFs::open(folder.path()).unwrap();
                }
            }
            store.finish(ID, &name(), &Digest::of(Algorithm::Sha256, &whole), 0).await.unwrap();
        });
    }
}
