//! The rules of quotas, prices and bills. Pure: no I/O, no clock.

pub mod amounts;
pub mod bill;
pub mod invoice;
pub mod meter;
pub mod money;
pub mod period;
pub mod plan;
pub mod quota;
pub mod sample;
