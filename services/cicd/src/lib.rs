//! cicd (being built).
