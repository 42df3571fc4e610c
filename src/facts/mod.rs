//! Facts of one machine: kernel, settings, units, GPUs, network, read from its files and tools.
//!
//! Everything is read below a [`Root`], so that a stand-in tree or a host mounted into a container reads like a machine.
//! Tools run with a deadline and bounded output, and may be absent. "No GPU" and "could not look" are different readings.

mod amd;
pub mod collect;
pub mod condition;
mod gpus;
pub mod model;
mod network;
mod nvidia;
mod pci;
pub mod reading;
mod sysctl;
mod system;
mod tool;
mod units;

pub use collect::{Root, collect, host_name};
pub use model::{Facts, Gpu, GpuStack, Link, Nic, PciGpu, Rdma, RdmaPort, View};
pub use reading::Reading;
