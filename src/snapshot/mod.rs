//! What was there: a snapshot of the whole cluster, and what follows from it.

pub mod address;
pub mod collect;
pub mod diff;
pub mod export;
pub mod foreign;
pub mod groups;
pub mod hardware;
pub mod identity;
pub mod imported;
pub mod model;
pub mod nodes;
mod policies;
pub mod pools;
pub mod read;
pub mod readings;
mod readings_gpu;
mod readings_imported;
mod readings_node;
#[cfg(test)]
mod readings_tests;
pub mod redact;
pub mod show;
pub mod workloads;

pub use address::Address;
pub use collect::collect;
pub use hardware::Hardware;
pub use identity::same_cluster;
pub use model::{Device, GpuAdvert, Host, Node, Policy, Pool, Reading, Snapshot, Taint, Workload};
pub use read::{load, parse, read_text};
pub use readings::At;
