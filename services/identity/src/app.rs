//! The verbs of identity: each gathers facts, executes, answers.

pub mod account;
pub mod authorize;
pub mod bindings;
pub mod bootstrap;
pub mod clients;
pub mod code;
pub mod context;
pub mod devices;
pub mod factors;
pub mod import;
pub mod issue;
pub mod machines;
pub mod merge;
pub mod orgs;
pub mod passwords;
pub mod people;
pub mod personal;
pub mod refresh;
pub mod register;
pub mod registry_token;
pub mod robots;
pub mod roles;
pub mod secrets;
pub mod signin;
pub mod signing;
pub mod steps;
pub mod teams;
pub mod upstreams;
pub mod users;

pub use context::App;
