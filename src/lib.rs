//! Sea trials for GPU Kubernetes clusters.
//!
//! ```text
//!              recipe ──┐
//!  cluster ─► snapshot ──┼─► plan ─► steps ─► results ─► bundle ─► push ─► sign ─► pointer ─► (commit)
//!                        │                                                            │
//!  workflows/*.yaml ─────┘                        policy ─────────► verify ◄──────────┘ ─► gate
//! ```
//!
//! Left of the bundle: talks to a cluster. Right of it: never does. ARCHITECTURE.md has the module table.

pub mod error;
pub mod exit;
pub mod reason;
pub mod limits;
mod retry;
pub mod digest;
pub mod files;
pub mod yaml;
pub mod data;
pub mod ui;
pub mod config;
pub mod cli;
pub mod vendor;
pub mod recipe;
pub mod facts;
pub mod snapshot;
pub mod constraints;
pub mod cluster;
pub mod source;
pub mod pods;
pub mod node_facts;
pub mod sim;
pub mod workflow;
pub mod plan;
pub mod preflight;
pub mod roles;
pub mod engine;
pub mod journal;
pub mod progress;
pub mod steps;
pub mod checks;
pub mod health;
pub mod results;
pub mod cncf;
pub mod trust;
pub mod evidence;
pub mod sign;
pub mod registry;
pub mod pull;
pub mod publish;
pub mod policy;
pub mod verify;
pub mod git;
pub mod gate;
pub mod github;
