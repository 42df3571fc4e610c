//! Integration tests: the program against real servers.

mod bad_input;
mod concurrent;
mod crash;
mod output;
mod defects;
mod faults;
mod setup;
mod sim;
mod snapshot;
#[path = "../support/mod.rs"]
mod support;
mod trial;
