//! What runs in GitHub: the API behind Prism, the Action, the workflows under act, and what linters say of them.

#[path = "github/act.rs"]
mod act;
#[path = "github/agree.rs"]
mod agree;
#[path = "github/api.rs"]
mod api;
#[expect(dead_code, reason = "the gate's tests use more of it")]
#[path = "gate/cases.rs"]
mod cases;
#[path = "github/comment.rs"]
mod comment;
#[path = "github/docs.rs"]
mod docs;
#[expect(dead_code, reason = "the gate's tests use more of it")]
#[path = "gate/evidence.rs"]
mod evidence;
#[path = "github/fake.rs"]
mod fake;
#[path = "github/forms.rs"]
mod forms;
#[path = "github/init.rs"]
mod init;
#[path = "github/inputs.rs"]
mod inputs;
#[path = "github/install.rs"]
mod install;
#[path = "github/lint.rs"]
mod lint;
#[path = "github/reports.rs"]
mod reports;
#[expect(dead_code, reason = "the registry tests use more of it")]
#[path = "support/registry.rs"]
mod registry_server;
#[expect(dead_code, reason = "the gate's tests use more of it")]
#[path = "gate/repository.rs"]
mod repository;
#[expect(dead_code, reason = "the evidence tests use more of it")]
#[path = "evidence/sample.rs"]
mod sample;
#[expect(dead_code, reason = "the evidence tests use more of it")]
#[path = "support/sigstore.rs"]
mod sigstore_stack;
#[path = "github/whole.rs"]
mod whole;

use std::path::Path;

/// The root of this repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A YAML document of this repository.
#[track_caller]
fn yaml(path: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(root().join(path)).expect(path);
    seatrial::yaml::from_str(&text, path).expect(path)
}
