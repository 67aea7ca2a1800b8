//! monitoring (being built).
