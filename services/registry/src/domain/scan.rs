//! What a scan makes of the files found in an image: packages, matches with advisories, report, bill of materials.

pub mod advisory;
pub mod apk;
pub mod cvss;
pub mod deb;
pub mod entry;
pub mod export;
pub mod external;
pub mod feeds;
pub mod inventory;
pub mod modularity;
pub mod pkg;
pub mod records;
pub mod report;
pub mod sbom;
pub mod version;
