//! Sea trials for GPU Kubernetes clusters.
//!
//! ```text
//!              recipe ──┐
//!  cluster ─► snapshot ──┼─► plan ─► steps ─► results ─► bundle ─► push ─► sign ─► pointer ─► (commit)
//!                        │                                                            │
//!  workflows/*.yaml ─────┘                        policy ─────────► verify ◄──────────┘
//! ```
//!
//! Left of the bundle: talks to a cluster. Right of it: never does. ARCHITECTURE.md has the module table.

pub mod error;
pub mod exit;
pub mod limits;
pub mod digest;
pub mod files;
pub mod yaml;
pub mod ui;
pub mod cli;
pub mod recipe;
pub mod snapshot;
pub mod cluster;
pub mod checks;
pub mod health;
pub mod steps;
pub mod sim;
pub mod results;
pub mod evidence;
pub mod registry;
pub mod sign;
pub mod publish;
pub mod verify;
