//! All SQL of identity: the directory (read model of the events), and the tables that are no read models because their
//! contents are no events: keys, sessions, codes, tokens, and the record of security facts.

/// Reads the named columns into the fields of the same names.
macro_rules! row {
    ($name:ident { $($field:ident),+ }) => {
        impl<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> for $name {
            fn from_row(row: &'r sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
                Ok(Self { $($field: sqlx::Row::try_get(row, stringify!($field))?),+ })
            }
        }
    };
}
use row;

pub mod account;
pub mod branding;
pub mod clients;
pub mod codes;
pub mod config_sets;
pub mod consents;
pub mod devices;
pub mod directory;
pub mod entities;
pub mod factors;
pub mod facts;
pub mod groups;
pub mod impersonations;
pub mod issuers;
pub mod keys;
pub mod links;
pub mod mails;
pub mod migrations;
pub mod nodes;
pub mod people_tables;
pub mod person_certificates;
pub mod personal;
pub mod policies;
pub mod pushed;
pub mod refresh;
pub mod registration_tokens;
pub mod registrations;
pub mod remains;
pub mod revocation_lists;
pub mod revoked;
pub mod robot_keys;
pub mod scim;
pub mod session_certificates;
pub mod sessions;
pub mod upstream_tokens;
pub mod upstreams;
pub mod user_search;
