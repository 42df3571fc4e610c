//! Evidence from its inputs to a verdict: bundle, signature, directory, registry, pointer, and everything that must be caught on the way.

#[path = "evidence/aicr.rs"]
mod aicr;
#[path = "evidence/bill.rs"]
mod bill;
#[path = "evidence/cached.rs"]
mod cached;
#[path = "evidence/cli.rs"]
mod cli;
#[path = "evidence/documents.rs"]
mod documents;
#[path = "evidence/fields.rs"]
mod fields;
#[path = "evidence/forgeries.rs"]
mod forgeries;
#[path = "evidence/lies.rs"]
mod lies;
#[path = "evidence/login.rs"]
mod login;
#[path = "evidence/look.rs"]
mod look;
#[path = "evidence/mutation.rs"]
mod mutation;
#[expect(dead_code, reason = "other tests use the other faults")]
#[path = "support/fault_proxy.rs"]
mod fault_proxy;
#[path = "support/killed.rs"]
mod killed;
#[expect(dead_code, reason = "other tests look at the time too")]
#[path = "support/measure.rs"]
mod measure;
#[path = "evidence/packed.rs"]
mod packed;
#[path = "evidence/policy.rs"]
mod policy;
#[path = "evidence/published.rs"]
mod published;
#[expect(dead_code, reason = "the registry tests use more of it")]
#[path = "support/registry.rs"]
mod registry_server;
#[path = "evidence/keyless.rs"]
mod keyless;
#[path = "evidence/proofs.rs"]
mod proofs;
#[path = "evidence/python.rs"]
mod python;
#[path = "evidence/redaction.rs"]
mod redaction;
#[path = "evidence/rekor_v1.rs"]
mod rekor_v1;
#[path = "evidence/resumed.rs"]
mod resumed;
#[path = "evidence/round_trip.rs"]
mod round_trip;
#[path = "evidence/sample.rs"]
mod sample;
#[path = "evidence/signers.rs"]
mod signers;
#[path = "support/sigstore.rs"]
mod sigstore_stack;
#[path = "evidence/trust.rs"]
mod trust;
#[path = "support/watched.rs"]
mod watched;
