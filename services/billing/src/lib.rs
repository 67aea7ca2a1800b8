//! billing (being built).
