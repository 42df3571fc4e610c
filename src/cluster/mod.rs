//! The only user of `kube`: connects to a cluster, reads, writes, waits, and cleans up after itself.
//!
//! Objects are JSON here, addressed by `apiVersion` and `kind`, so that kinds which the crate does not know
//! (custom resources, newer API versions) need nothing special.

pub mod access;
pub mod connect;
pub mod forward;
mod kubeconfig;
pub mod lease;
pub mod logs;
pub mod object;
pub mod read;
pub mod record;
pub mod scratch;
mod trouble;
pub mod wait;
pub mod write;

pub use access::{Access, Missing, Place};
pub use connect::{Cluster, Target};
pub use forward::{Answer, Forward};
pub use object::ObjectRef;
pub use read::Query;
pub use record::{Recorder, Recording, Sight};
pub use scratch::Scratch;
