//! Sealing under a subject's key, and erasing a person from the log's readable past.

use gantry_es_pg::{Keyring, KeyringError};
use gantry_kernel::Env;

use crate::fixture::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_subject_is_unreadable_everywhere_and_for_ever() {
    let f = Fixture::new().await;
    let keyring = Keyring::new(f.log.db().clone(), Env::system(), &[7; 32]).unwrap();
    let sealed = keyring.seal("user:1", "ada@example.org").await.unwrap();
    let other = keyring.seal("user:2", "bob@example.org").await.unwrap();
    assert!(!sealed.0.contains("ada"));
    assert_eq!(keyring.open("user:1", &sealed).await.unwrap(), "ada@example.org");
    assert!(matches!(keyring.open("user:2", &sealed).await, Err(KeyringError::Damaged)), "a value cannot be moved to another subject");

    keyring.erase("user:1").await.unwrap();
    assert!(matches!(keyring.open("user:1", &sealed).await, Err(KeyringError::Erased)));
    assert!(matches!(keyring.seal("user:1", "again").await, Err(KeyringError::Erased)));
    let restarted = Keyring::new(f.log.db().clone(), Env::system(), &[7; 32]).unwrap();
    assert!(matches!(restarted.open("user:1", &sealed).await, Err(KeyringError::Erased)));
    assert_eq!(restarted.open("user:2", &other).await.unwrap(), "bob@example.org");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_master_key_opens_nothing() {
    let f = Fixture::new().await;
    let sealed = Keyring::new(f.log.db().clone(), Env::system(), &[1; 32]).unwrap().seal("t", "x").await.unwrap();
    let wrong = Keyring::new(f.log.db().clone(), Env::system(), &[2; 32]).unwrap();
    assert!(matches!(wrong.open("t", &sealed).await, Err(KeyringError::Damaged)));
    assert!(matches!(Keyring::new(f.log.db().clone(), Env::system(), &[2; 31]), Err(KeyringError::MasterKey)));
}

/// As a projection of people does, and an export of one person: they open names while they have a transaction open.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_had_while_every_other_connection_is_in_a_transaction() {
    let f = Fixture::new().await;
    let pool = &f.log.db().pool;
    let mut busy = Vec::new();
    for _ in 0..f.settings.max_connections {
        busy.push(pool.begin().await.unwrap());
    }
    let keyring = Keyring::new(f.log.db().clone(), Env::system(), &[7; 32]).unwrap();
    let sealed = keyring.seal("user:1", "ada").await.unwrap();
    let another = Keyring::new(f.log.db().clone(), Env::system(), &[7; 32]).unwrap();
    another.preload(&["user:1".to_owned()]).await.unwrap();
    assert_eq!(another.open("user:1", &sealed).await.unwrap(), "ada");
    keyring.erase("user:1").await.unwrap();
    assert!(matches!(keyring.open("user:1", &sealed).await, Err(KeyringError::Erased)));
    drop(busy);
}
