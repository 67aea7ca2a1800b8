//! Prepared charts of nodes and applications, and free queries for administrators of the platform.

use futures::future::try_join_all;
use gantry_kernel::{OffsetDateTime, Problem, Result};
use serde::Serialize;
use time::Duration;

use super::logs::AppPath;
use crate::App;
use crate::adapters::prometheus::Series;
use crate::domain::promql::{self, Prepared};
use crate::store::places;

/// Points of one series at most: what a chart can show.
const MOST_POINTS: i64 = 2_000;

/// A chart's line or lines.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Chart {
    /// `cpu`, `memory`, `disk`, `disk_read`, `disk_write`, `network_receive`, `network_transmit`, ...
    #[schema(value_type = String)]
    pub name: &'static str,
    /// `cores`, `bytes`, `bytes_per_second`.
    #[schema(value_type = String)]
    pub unit: &'static str,
    pub series: Vec<Series>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Charts {
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub to: OffsetDateTime,
    pub step_seconds: u64,
    pub charts: Vec<Chart>,
}

/// A time range in steps.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub from: OffsetDateTime,
    pub to: OffsetDateTime,
    pub step_seconds: u64,
}

impl Range {
    /// # Errors
    /// An empty range, or more points than a chart can show.
    pub fn new(from: OffsetDateTime, to: OffsetDateTime, step: Option<Duration>) -> Result<Self> {
        let span = (to - from).whole_seconds();
        if span <= 0 {
            return Err(Problem::invalid("from", "must be before `to`"));
        }
        // About 240 points if nobody says otherwise, in steps no shorter than the scrapes.
        let step = step.map_or_else(|| (span / 240).max(5), Duration::whole_seconds);
        if step < 1 || span / step > MOST_POINTS {
            return Err(Problem::invalid("step", format!("must be at least 1s and give at most {MOST_POINTS} points")));
        }
        Ok(Self { from, to, step_seconds: step.unsigned_abs() })
    }

    /// What rates look back over: at least four scrapes of 15 s, and the whole step, so that no peak falls between points.
    fn window(&self) -> u64 {
        self.step_seconds.max(60)
    }
}

impl App {
    /// # Errors
    /// The node was never heard of, or the metrics store is away.
    pub async fn node_charts(&self, node: &str, range: Range) -> Result<Charts> {
        let known = places::is_known(&self.host.db().pool, &format!("node:{node}")).await.map_err(Problem::internal)?;
        if !known {
            return Err(Problem::not_found("node", node));
        }
        self.charts(promql::of_node(node, range.window()), range).await
    }

    /// # Errors
    /// The metrics store is away.
    pub async fn app_charts(&self, path: &AppPath, range: Range) -> Result<Charts> {
        self.charts(promql::of_app(&path.org, &path.project, &path.space, &path.app, range.window()), range).await
    }

    async fn charts(&self, prepared: Vec<Prepared>, range: Range) -> Result<Charts> {
        let one = |p: Prepared| async move {
            let series = self.prometheus.range(&p.query, range.from, range.to, range.step_seconds).await?;
            Ok::<_, Problem>(Chart { name: p.name, unit: p.unit, series })
        };
        let charts = try_join_all(prepared.into_iter().map(one)).await?;
        Ok(Charts { from: range.from, to: range.to, step_seconds: range.step_seconds, charts })
    }
}
