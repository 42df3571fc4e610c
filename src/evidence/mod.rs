//! Evidence: a closed directory of files, its OCI form, the statement that is signed, and the pointer that is committed.
//!
//! Everything here is a pure function from bytes to bytes, except reading and writing a bundle's directory.

pub mod aicr;
pub mod bom;
pub mod bundle;
pub mod contents;
pub mod directory;
pub mod layout;
pub mod manifest;
pub mod model;
pub mod oci;
pub mod parcel;
pub mod pointer;
pub mod redaction;
pub mod secrets;
pub mod signer;
pub mod sigstore;
pub mod statement;

pub use bundle::{Bundle, Files, Inputs};
pub use contents::Contents;
pub use layout::Layout;
pub use manifest::Manifest;
pub use model::{Evidence, Tool, WorkflowRef};
pub use parcel::Parcel;
pub use pointer::Pointer;
pub use redaction::Redaction;
pub use sigstore::PublicKey;

/// The resolved recipe.
pub const RECIPE: &str = "recipe.yaml";
/// The snapshot, in canonical form: its file digest is the snapshot digest.
pub const SNAPSHOT: &str = "snapshot.json";
/// The plan.
pub const PLAN: &str = "plan.json";
/// The results document.
pub const RESULTS: &str = "results.json";
/// The bill of materials.
pub const BOM: &str = "bom.cdx.json";
/// The summary that a verifier reads first.
pub const EVIDENCE: &str = "evidence.json";
/// The inventory; its SHA-256 is the content digest.
pub const MANIFEST: &str = "manifest.json";
/// The local copy of the signature; never part of the bundle.
pub const SIGNATURE: &str = "signature.sigstore.json";

/// The path of a step's CTRF document.
#[must_use]
pub fn ctrf_path(step: &str) -> String {
    format!("ctrf/{}.json", bundle::safe_name(step))
}
