//! What is left of somebody who was erased: proof for whoever asks that nothing of it can be read, and with which key.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use gantry_es::Sealed;
use gantry_es_pg::{KeyringError, Lease};
use gantry_kernel::{OffsetDateTime, Problem, UserId};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::app::people::subject;
use crate::domain::remains::{purpose, sealed_like};
use crate::error::{fault, unsealed};
use crate::store::remains as rows;

/// Values that are tried with the key; the others were sealed with the same one.
const TRIED: usize = 2_000;

#[derive(Debug, Serialize, ToSchema)]
pub struct Remains {
    pub user: UserId,
    /// `erased`: the key was destroyed; `here`: it was not.
    pub state: &'static str,
    pub key: RemainingKey,
    /// Values in the log and in tables that were sealed for this person.
    pub sealed_values: u64,
    /// Those of them that can be read; 0 once the person is erased.
    pub readable_values: u64,
    /// How many of them were tried: the first 2,000, the others were sealed with the same key.
    pub tried_values: u64,
    /// Records that say from which network address this id acted: the log and the record of security facts keep them.
    pub addressed_records: u64,
    /// Events that name this id, by kind.
    pub log: Vec<RemainingEvents>,
    /// Rows that name this id, by table and column.
    pub tables: Vec<RemainingRows>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RemainingKey {
    #[serde(with = "time::serde::rfc3339")]
    pub made_at: OffsetDateTime,
    /// None: it is still there.
    #[serde(with = "time::serde::rfc3339::option")]
    pub destroyed_at: Option<OffsetDateTime>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RemainingEvents {
    pub kind: String,
    pub events: u64,
    pub sealed_values: u64,
    pub readable_values: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RemainingRows {
    pub table: String,
    pub column: String,
    pub rows: u64,
    /// What they are kept for; empty: nothing says so, and somebody should look.
    pub purpose: &'static str,
}

/// Tries values with the person's key.
struct Reader<'a> {
    app: &'a App,
    subject: String,
    tried: usize,
    /// The key is gone for ever, the keyring has said: it need not be asked for again.
    erased: bool,
}

impl Reader<'_> {
    /// How many of a text's values look sealed, and how many can be read.
    async fn read(&mut self, json: &str) -> Result<(u64, u64), Problem> {
        let value: Value = serde_json::from_str(json).map_err(fault)?;
        let all = sealed_like(&value);
        let mut readable = 0;
        for text in &all {
            if self.tried >= TRIED {
                break;
            }
            self.tried += 1;
            if self.erased {
                continue;
            }
            match self.app.keyring.open(&self.subject, &Sealed((*text).to_owned())).await {
                Ok(_) => readable += 1,
                // Sealed for somebody else, or no sealed value at all.
                Err(KeyringError::Damaged) => {}
                Err(KeyringError::Erased) => self.erased = true,
                Err(error @ (KeyringError::MasterKey | KeyringError::Sql(_))) => return Err(unsealed(error)),
            }
        }
        Ok((all.len() as u64, readable))
    }
}

impl App {
    /// Looks through the log and every table for what names somebody. It takes as long as reading all of it: one at a time.
    ///
    /// # Errors
    /// Conflict while another is at it; not found when there never was such a person; when the database refuses or takes longer than two
    /// minutes.
    pub async fn remains(&self, user: UserId) -> Result<Remains, Problem> {
        let lease = Lease::try_acquire(self.pool(), "remains").await.map_err(fault)?;
        let running = || Problem::conflict("identity.proof_running", "what is left of somebody is being looked for right now: try again in a moment");
        let lease = lease.ok_or_else(running)?;
        let found = self.look_for(user).await;
        lease.release().await;
        found
    }

    async fn look_for(&self, user: UserId) -> Result<Remains, Problem> {
        let own = subject(user);
        let key = rows::key(self.pool(), &own).await.map_err(fault)?;
        let (made_at, destroyed_at, there) = key.ok_or_else(|| Problem::not_found("person with this id, now or before,", user))?;
        let mut reader = Reader { app: self, subject: own.clone(), tried: 0, erased: false };
        let (id, mut by_kind, mut addressed) = (user.0.to_string(), BTreeMap::<String, RemainingEvents>::new(), 0_u64);
        let mut tx = rows::begin(self.pool()).await.map_err(fault)?;
        {
            let mut events = std::pin::pin!(rows::events(&mut tx, &id, &own));
            while let Some(event) = events.try_next().await.map_err(fault)? {
                let (sealed, readable) = reader.read(&event.data).await?;
                addressed += u64::from(event.addressed);
                let kind = event.kind.clone();
                let sum = by_kind.entry(event.kind).or_insert(RemainingEvents { kind, events: 0, sealed_values: 0, readable_values: 0 });
                sum.events += 1;
                sum.sealed_values += sealed;
                sum.readable_values += readable;
            }
        }
        let (mut tables, mut sealed_values, mut readable_values) = (Vec::new(), 0, 0);
        for table in rows::tables(&mut tx).await.map_err(fault)? {
            let counts = rows::count(&mut tx, &table, user.0).await.map_err(fault)?;
            if counts.iter().all(|n| *n == 0) {
                continue;
            }
            for row in rows::rows(&mut tx, &table, user.0).await.map_err(fault)? {
                let (sealed, readable) = reader.read(&row).await?;
                sealed_values += sealed;
                readable_values += readable;
            }
            let found = table.columns.iter().zip(counts).filter(|(_, rows)| *rows > 0);
            tables.extend(found.map(|((column, _), rows)| RemainingRows {
                table: table.name.clone(),
                column: column.clone(),
                rows: rows.unsigned_abs(),
                purpose: purpose(&table.name),
            }));
        }
        addressed += rows::addressed_facts(&mut tx, &own).await.map_err(fault)?.unsigned_abs();
        tx.rollback().await.map_err(fault)?;
        let log: Vec<RemainingEvents> = by_kind.into_values().collect();
        Ok(Remains {
            user,
            state: if there { "here" } else { "erased" },
            key: RemainingKey { made_at, destroyed_at },
            sealed_values: sealed_values + log.iter().map(|e| e.sealed_values).sum::<u64>(),
            readable_values: readable_values + log.iter().map(|e| e.readable_values).sum::<u64>(),
            tried_values: reader.tried as u64,
            addressed_records: addressed,
            log,
            tables,
        })
    }
}
