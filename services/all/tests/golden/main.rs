//! Golden files: what other programs rely on. A difference fails; `make golden` (GANTRY_GOLDEN=write) rewrites.

mod compare;
mod config;
mod events;
mod openapi;
