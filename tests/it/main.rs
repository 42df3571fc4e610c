//! Integration tests: the program against real servers.

mod roles;
mod sim;
#[path = "../support/mod.rs"]
mod support;
