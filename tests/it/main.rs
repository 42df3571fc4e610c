//! Integration tests: the program against real servers.

mod addons;
mod bad_input;
mod checks;
mod concurrent;
mod connect;
mod crash;
mod output;
mod defects;
mod faults;
mod from_aicr;
mod preflight;
mod settings;
mod node_facts;
mod real_node;
mod redaction;
mod setup;
mod setup_karpenter;
mod sim;
mod sources;
mod snapshot;
#[path = "../support/mod.rs"]
mod support;
mod trial;
mod validate;
