//! Lines on their way from the agents into log blocks.

use std::collections::BTreeSet;

use async_nats::jetstream::Message;
use async_trait::async_trait;
use gantry_bus::streams;
use gantry_contract::logs::LogBatch;
use gantry_es_pg::Db;

use super::consumer::Taker;
use super::facts::refuse;
use super::wake::Bell;
use crate::domain::lines;
use crate::store::logs;

pub struct Logs {
    pub db: Db,
    pub bell: Bell,
}

#[async_trait]
impl Taker for Logs {
    fn stream(&self) -> &'static str {
        streams::LOGS
    }

    fn batch(&self) -> usize {
        200
    }

    async fn take(&self, batch: &[Message]) -> anyhow::Result<()> {
        let (mut good, mut days) = (Vec::new(), BTreeSet::new());
        for message in batch {
            match serde_json::from_slice::<LogBatch>(&message.payload) {
                Ok(parsed) => {
                    let Some(day) = logs::day_of(&parsed) else { continue };
                    days.insert(day);
                    let block = lines::pack(&parsed.lines)?;
                    good.push((parsed, block));
                }
                Err(error) => refuse(&self.db, streams::LOGS, &error.to_string(), &message.payload).await?,
            }
        }
        for day in days {
            logs::ensure_day(&self.db.admin, day).await?;
        }
        logs::add(&self.db.pool, &good).await?;
        self.bell.ring();
        Ok(())
    }
}
