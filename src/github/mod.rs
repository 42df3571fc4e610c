//! GitHub: the event that a workflow runs for, reviews, the check run and comment of a gate, commits, and the inputs of our Action.
//!
//! Only this module talks to GitHub's API. What a token may not do is left out with a word about it, and never decides.

pub mod action;
mod api;
pub mod event;
pub mod offer;
pub mod publish;
pub mod remote;
pub mod reviews;

pub use api::Api;
pub use event::{Event, Subject};
