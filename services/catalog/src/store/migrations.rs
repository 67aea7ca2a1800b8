//! Tables that are no read models.

/// Forward only; never edit a merged entry.
pub const ALL: &[(&str, &str)] = &[(
    "catalog-0001-secrets",
    "-- Passwords of instances, sealed under the organisation's key: not in events, so that deleting the row deletes them.
     create table secrets (instance uuid primary key, sealed text not null);",
)];
