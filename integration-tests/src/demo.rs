//! The main job as a new user does it; one file per step, in the order of the story.

mod api;
mod browser;
mod form;
mod image;
mod leftovers;
mod shown;
mod sign_in;
mod steps;
mod story;
mod suite;
mod tools;
mod traffic;

pub(crate) use api::Api;
pub(crate) use browser::Browser;
pub(crate) use leftovers::operator;
pub(crate) use sign_in::SignIn;
pub use steps::run;
pub(crate) use story::random;
pub(crate) use suite::Suite;
