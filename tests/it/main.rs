//! Integration tests: the program against real servers.

mod bad_input;
mod concurrent;
mod crash;
mod output;
mod defects;
mod faults;
mod node_facts;
mod real_node;
mod setup;
mod sim;
#[path = "../support/mod.rs"]
mod support;
mod trial;
mod validate;
