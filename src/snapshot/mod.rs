//! What was there: a snapshot of the whole cluster, and what follows from it.

pub mod collect;
pub mod hardware;
pub mod identity;
pub mod nodes;
pub mod pools;
pub mod workloads;
pub mod model;

pub use collect::collect;
pub use hardware::Hardware;
pub use identity::same_cluster;
pub use model::{Device, GpuAdvert, Node, Pool, Reading, Snapshot, Taint, Workload};
