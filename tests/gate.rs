//! The gate: changes between two trees, made by git and judged with real registries and signatures.

#[path = "gate/cases.rs"]
mod cases;
#[path = "gate/corpus.rs"]
mod corpus;
#[path = "gate/drift.rs"]
mod drift;
#[path = "gate/evidence.rs"]
mod evidence;
#[expect(dead_code, reason = "other tests use the other faults")]
#[path = "support/fault_proxy.rs"]
mod fault_proxy;
#[path = "gate/hostile.rs"]
mod hostile;
#[path = "support/measure.rs"]
mod measure;
#[path = "gate/output.rs"]
mod output;
#[path = "gate/recipes.rs"]
mod recipes;
#[expect(dead_code, reason = "the registry tests use more of it")]
#[path = "support/registry.rs"]
mod registry_server;
#[path = "gate/repository.rs"]
mod repository;
#[expect(dead_code, reason = "the evidence tests use more of it")]
#[path = "evidence/sample.rs"]
mod sample;
#[path = "gate/trees.rs"]
mod trees;
