//! Many events at once leave in the read models what they leave one after the other.

use std::collections::BTreeMap;

use gantry_contract::registry::{BlobRef, RepositoryEvent as Event};
use gantry_es::{EventData, Meta, Recorded, StreamId};
use gantry_es_pg::Projection;
use gantry_kernel::{OffsetDateTime, OrgId, ProjectId, Uuid};
use gantry_registry::app::cache::ManifestCache;
use gantry_registry::flows::projections::{Catalogue, Images, ScanQueue, Usage};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, TransactionTrait};

use crate::stage::Stage;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn pushed(place: (u128, &str), digest: &str, blobs: &[(&str, u64)]) -> Event {
    Event::ManifestPushed {
        org: OrgId(Uuid::from_u128(1)),
        project: ProjectId(Uuid::from_u128(place.0)),
        repository: place.1.into(),
        digest: digest.into(),
        media_type: IMAGE.into(),
        artifact_type: Some("application/vnd.oci.image.config.v1+json".into()),
        subject: None,
        size_bytes: 400,
        blobs: blobs.iter().map(|(digest, size_bytes)| BlobRef { digest: (*digest).into(), size_bytes: *size_bytes }).collect(),
        missing: blobs.iter().filter(|(digest, _)| digest.ends_with('?')).map(|(digest, _)| (*digest).into()).collect(),
        manifests: vec![],
        platforms: vec!["linux/amd64".into()],
        annotations: BTreeMap::from([("who".to_owned(), "it's \"me\"".to_owned())]),
    }
}

fn moved(place: (u128, &str), tag: &str, digest: &str, from: Option<&str>) -> Event {
    let (org, project) = (OrgId(Uuid::from_u128(1)), ProjectId(Uuid::from_u128(place.0)));
    Event::TagMoved { org, project, repository: place.1.into(), tag: tag.into(), digest: digest.into(), from: from.map(Into::into) }
}

/// Pushes that share content, also over repositories, tags that move again and again, signatures, an index of what came before it, a project made
/// anew, and deletions in between.
fn history() -> Vec<Event> {
    let (web, api, anew) = ((2, "acme/shop/web"), (2, "acme/shop/api"), (3, "acme/shop/web"));
    let (org, project) = (OrgId(Uuid::from_u128(1)), ProjectId(Uuid::from_u128(2)));
    let mut signature = pushed(web, "d3", &[("empty", 2)]);
    if let Event::ManifestPushed { subject, artifact_type, .. } = &mut signature {
        (*subject, *artifact_type) = (Some("d1".into()), None);
    }
    let mut index = pushed(web, "d4", &[]);
    if let Event::ManifestPushed { media_type, manifests, .. } = &mut index {
        (*media_type, *manifests) = (INDEX.into(), vec!["d1".into(), "d2".into()]);
    }
    vec![
        pushed(web, "d1", &[("base", 1_000), ("c1", 10)]),
        moved(web, "v1", "d1", None),
        pushed(web, "d2", &[("base", 1_000), ("c2", 20), ("late?", 7)]),
        moved(web, "v2", "d2", None),
        moved(web, "v1", "d2", Some("d1")),
        moved(web, "v1", "d1", Some("d2")),
        signature,
        // The same content under another size: who brought it first was believed.
        pushed(api, "d1", &[("base", 1_000), ("late?", 9)]),
        moved(api, "v1", "d1", None),
        index,
        moved(web, "all", "d4", None),
        Event::TagDeleted { org, project, repository: web.1.into(), tag: "v2".into(), digest: "d2".into() },
        Event::ManifestDeleted { org, project, repository: web.1.into(), digest: "d2".into() },
        pushed(web, "d2", &[("base", 1_000), ("c2", 20)]),
        moved(web, "v2", "d2", None),
        pushed(anew, "d5", &[("base", 1_000)]),
        moved(anew, "v5", "d5", None),
    ]
}

fn recorded() -> Vec<Recorded> {
    let one = |(nth, event): (usize, Event)| {
        let new = event.encode();
        let position = i64::try_from(nth).unwrap() + 1;
        Recorded {
            position,
            stream: StreamId::of::<Event>("any"),
            version: position,
            id: Uuid::from_u128(position.unsigned_abs().into()),
            kind: new.kind,
            kind_version: new.kind_version,
            data: new.data,
            meta: Meta::system(),
            at: OffsetDateTime::from_unix_timestamp_nanos(1_790_000_000_123_456_789 + i128::from(position) * 1_000_000_000).unwrap(),
            origin: "registry".into(),
        }
    };
    history().into_iter().enumerate().map(one).collect()
}

/// Every row of these tables, in one order.
async fn rows(tx: &DatabaseTransaction, tables: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for table in tables {
        let sql = format!("select to_jsonb(t)::text as row from {table} t order by 1");
        for row in tx.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap() {
            all.push(format!("{table} {}", row.try_get::<String>("", "row").unwrap()));
        }
    }
    all
}

/// What is left when the events come in batches of `size`.
async fn left(stage: &Stage, projection: &dyn Projection, more: &[&str], size: usize) -> Vec<String> {
    let db = stage.host.db();
    let tx = db.admin_orm().begin().await.unwrap();
    let beside = format!("create schema {0}_batches; set local search_path to {0}_batches, {0}", db.schema);
    tx.execute_unprepared(&beside).await.unwrap();
    tx.execute_unprepared(projection.ddl()).await.unwrap();
    let events = recorded();
    let events: Vec<&Recorded> = events.iter().collect();
    for batch in events.chunks(size) {
        if let [event] = batch {
            projection.apply(&tx, event).await.unwrap();
        } else {
            projection.apply_batch(&tx, batch).await.unwrap();
        }
    }
    let rows = rows(&tx, &[projection.tables(), more].concat()).await;
    tx.rollback().await.unwrap();
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_in_batches_leave_what_they_leave_one_by_one() {
    let stage = Stage::new().await;
    let images = || Images(ManifestCache::default());
    let all: [(&dyn Projection, &[&str]); 4] = [
        (&images(), &[]),
        (&Usage, &[]),
        (&Catalogue, &["image_terms"]),
        (&ScanQueue, &["(select name, key, payload, trace, attempts from todos where name = 'scan')"]),
    ];
    for (projection, more) in all {
        let one_by_one = left(&stage, projection, more, 1).await;
        assert!(!one_by_one.is_empty(), "{} takes in something", projection.name());
        for size in [2, 5, 100] {
            assert_eq!(left(&stage, projection, more, size).await, one_by_one, "{} in batches of {size}", projection.name());
        }
    }
}
