//! The main job as a new user does it; one file per step, in the order of the story.

mod api;
mod browser;
mod form;
mod image;
mod leftovers;
mod sign_in;
mod steps;
mod story;
mod suite;
mod tools;
mod traffic;

pub use steps::run;
