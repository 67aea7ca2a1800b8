//! System for Cross-domain Identity Management: filters (RFC 7644 section 3.4.2.2) and changes (3.5.2) of resources as JSON.
//! What a resource is made of is not known here.

pub mod filter;
pub mod kept;
pub mod patch;
