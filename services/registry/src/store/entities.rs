//! Rows, as sea-orm sees them. One module per table.

macro_rules! entity {
    ($(#[$doc:meta])* $module:ident, $table:literal, { $($(#[$attr:meta])* $field:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        pub mod $module {
            use sea_orm::entity::prelude::*;
            #[allow(unused_imports)]
            use time::OffsetDateTime;

            #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
            #[sea_orm(table_name = $table)]
            pub struct Model {
                $($(#[$attr])* pub $field: $type,)+
            }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}

entity!(
    /// What is on the disk.
    blobs, "blobs", {
    #[sea_orm(primary_key, auto_increment = false)]
    digest: String,
    size_bytes: i64,
    touched_at: OffsetDateTime,
    /// Perhaps nobody needs it: collection looks at these.
    idle: bool,
    /// A checksum per block; none for content from before there were any.
    sums: Option<Vec<u8>>,
    checked_at: Option<OffsetDateTime>,
    damaged_at: Option<OffsetDateTime>,
});

entity!(
    /// What collection did.
    collections, "collections", {
    #[sea_orm(primary_key)]
    id: i64,
    at: OffsetDateTime,
    by_whom: String,
    dry_run: bool,
    blobs: i64,
    bytes: i64,
    uploads: i64,
    took_ms: i64,
});

entity!(
    /// Every move and end of a tag.
    tag_history, "tag_history", {
    #[sea_orm(primary_key, auto_increment = false)]
    position: i64,
    repository: String,
    tag: String,
    /// `moved` or `deleted`.
    what: String,
    digest: String,
    previous: Option<String>,
    by_whom: String,
    at: OffsetDateTime,
});

entity!(
    /// Uploaded or mounted there, and perhaps not yet referred to by a manifest.
    blob_links, "blob_links", {
    #[sea_orm(primary_key, auto_increment = false)]
    repository: String,
    #[sea_orm(primary_key, auto_increment = false)]
    digest: String,
    at: OffsetDateTime,
});

entity!(repositories, "repositories", {
    #[sea_orm(primary_key, auto_increment = false)]
    name: String,
    org: Uuid,
    project: Uuid,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
});

entity!(manifests, "manifests", {
    #[sea_orm(primary_key, auto_increment = false)]
    repository: String,
    #[sea_orm(primary_key, auto_increment = false)]
    digest: String,
    media_type: String,
    artifact_type: Option<String>,
    subject: Option<String>,
    size_bytes: i64,
    total_bytes: i64,
    platforms: Json,
    annotations: Json,
    pushed_by: String,
    pushed_at: OffsetDateTime,
    scan: Option<Json>,
});

entity!(
    /// Which blobs a manifest needs: what keeps them, and what makes them readable in its repository.
    manifest_blobs, "manifest_blobs", {
    #[sea_orm(primary_key, auto_increment = false)]
    repository: String,
    #[sea_orm(primary_key, auto_increment = false)]
    manifest: String,
    #[sea_orm(primary_key, auto_increment = false)]
    blob: String,
    size_bytes: i64,
    /// False: the repository did not have it when the manifest came (a sparse image); a link may say that it has since.
    present: bool,
});

entity!(tags, "tags", {
    #[sea_orm(primary_key, auto_increment = false)]
    repository: String,
    #[sea_orm(primary_key, auto_increment = false)]
    tag: String,
    digest: String,
    moved_by: String,
    moved_at: OffsetDateTime,
});

entity!(
    /// What one layer's bytes hold, for every image with that layer.
    layer_inventories, "layer_inventories", {
    #[sea_orm(primary_key, auto_increment = false)]
    digest: String,
    version: i32,
    inventory: Json,
    at: OffsetDateTime,
    /// Digest of the archive unpacked; empty if it could not be read whole, none if an older program read it.
    content: Option<String>,
});

entity!(scan_reports, "scan_reports", {
    #[sea_orm(primary_key, auto_increment = false)]
    repository: String,
    #[sea_orm(primary_key, auto_increment = false)]
    digest: String,
    database: String,
    at: OffsetDateTime,
    report: Json,
    inventory: Json,
});

entity!(advisories, "advisories", {
    #[sea_orm(primary_key)]
    id: i64,
    ecosystem: String,
    package: String,
    advisory: Json,
});

entity!(project_settings, "project_settings", {
    #[sea_orm(primary_key, auto_increment = false)]
    project: Uuid,
    org: Uuid,
    settings: Json,
});

entity!(advisory_sources, "advisory_sources", {
    #[sea_orm(primary_key, auto_increment = false)]
    name: String,
    fingerprint: String,
    records: i64,
    at: OffsetDateTime,
});
