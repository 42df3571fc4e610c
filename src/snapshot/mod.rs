//! What was there: a snapshot of the whole cluster, and what follows from it.

pub mod hardware;
pub mod model;

pub use hardware::Hardware;
pub use model::{Device, GpuAdvert, Node, Pool, Reading, Snapshot, Taint, Workload};
