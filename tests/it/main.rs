//! Integration tests: the program against real servers.

mod access;
mod addons;
mod autoscaling;
mod bad_input;
mod checks;
mod concurrent;
mod connect;
mod crash;
mod metrics;
mod output;
mod pod_autoscaling;
mod defects;
mod faults;
mod forward;
mod from_aicr;
mod gang;
mod health_chainsaw;
mod preflight;
mod service_metrics;
mod settings;
mod node_facts;
mod real_node;
mod redaction;
mod robust;
mod setup;
mod setup_karpenter;
mod sim;
mod smi;
mod sources;
mod snapshot;
#[path = "../support/mod.rs"]
mod support;
mod trial;
mod validate;
