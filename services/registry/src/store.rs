//! All SQL of the registry: its own tables (what is on the disk, what scans found) and the read models of its events.

pub mod advisories;
pub mod blobs;
pub mod bookings;
pub mod cache;
pub mod content;
pub mod entities;
pub mod fetches;
pub mod history;
pub mod images;
pub mod lineage;
pub mod migrations;
pub mod origin;
pub mod outgoing;
pub mod pulls;
pub mod pushes;
pub mod replications;
pub mod scanner_reports;
pub mod scans;
pub mod search;
pub mod settings;
pub mod small;
pub mod unplaced;
pub mod uploads;
pub mod usage;
pub mod webhooks;
