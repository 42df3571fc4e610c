//! Integration tests: the program against real servers.

mod bad_input;
mod concurrent;
mod crash;
mod output;
mod sim;
#[path = "../support/mod.rs"]
mod support;
