//! Integration tests: the program against real servers.

mod defects;
#[expect(dead_code, reason = "other tests use the other faults")]
#[path = "../support/fault_proxy.rs"]
mod fault_proxy;
mod faults;
mod setup;
mod sim;
#[path = "../support/mod.rs"]
mod support;
mod trial;
