//! Integration tests: the program against real servers.

mod sim;
#[path = "../support/mod.rs"]
mod support;
