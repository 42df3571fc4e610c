//! Verification: a fixed row of stages from a reference to a verdict, each listed in the report, run or not.
//!
//! Reads the reference, the bundle, its signature and a public key; never a cluster. A directory is verified without any network.

mod case;
mod coverage;
mod fetch;
mod freshness;
mod identity;
mod locate;
mod manifest;
mod open;
mod replay;
mod report;
mod results;
mod signature;
mod subject;

use std::path::PathBuf;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::error::{Error, Result};
use crate::evidence::{Evidence, PublicKey};
use crate::exit::Exit;
use crate::registry;
use case::{Case, Finding};
pub use open::{Opened, open};
pub use report::{Claimed, StageReport, Status, Time, VerifiedFacts, VerifyReport, Word};

/// What to verify, and against what.
#[derive(Clone, Debug)]
pub struct Request {
    /// A pointer file, `oci://host/repository@sha256:…`, or a bundle's directory.
    pub input: String,
    /// Who must have signed.
    pub expected: Expected,
    /// How a registry is reached.
    pub registry: registry::Options,
}

/// Who must have signed.
#[derive(Clone, Debug)]
pub enum Expected {
    /// The holder of this key.
    Key(PublicKey),
    /// Nobody: only integrity is looked at, and nothing can come out as verified.
    IntegrityOnly,
}

/// Something that verification has accepted; nothing else can make one.
#[derive(Clone, Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// What was verified.
    pub fn get(&self) -> &T {
        &self.0
    }
}

/// What verification came to.
#[derive(Debug)]
pub struct Verification {
    /// The report, with every stage.
    pub report: VerifyReport,
    /// How the command ends.
    pub exit: Exit,
    /// The evidence, if every stage accepted it.
    pub evidence: Option<Verified<Evidence>>,
}

/// One stage.
struct Stage {
    name: &'static str,
    run: fn(&mut Case) -> BoxFuture<'_, Result<Finding>>,
}

/// The stages, in the order in which they run.
const STAGES: &[Stage] = &[
    Stage { name: "locate", run: |case| async { locate::run(case) }.boxed() },
    Stage { name: "fetch", run: |case| fetch::run(case).boxed() },
    Stage { name: "signature", run: |case| async { signature::run(case) }.boxed() },
    Stage { name: "identity", run: |case| async { identity::run(case) }.boxed() },
    Stage { name: "manifest", run: |case| async { manifest::run(case) }.boxed() },
    Stage { name: "subject", run: |case| async { subject::run(case) }.boxed() },
    Stage { name: "results", run: |case| async { results::run(case) }.boxed() },
    Stage { name: "coverage", run: |case| async { coverage::run(case) }.boxed() },
    Stage { name: "replay", run: |case| async { replay::run(case) }.boxed() },
    Stage { name: "freshness", run: |case| async { freshness::run(case) }.boxed() },
];

/// Verifies. What is wrong with the evidence is in the report, not an error.
pub async fn verify(request: Request) -> Verification {
    let mut case = Case::new(request);
    let mut exit = Exit::Ok;
    let mut stages = Vec::new();
    let mut cause: Option<Error> = None;
    for stage in STAGES {
        let finding = match &cause {
            Some(_) => Ok(Finding::NotRun("an earlier stage failed".to_owned())),
            None => (stage.run)(&mut case).await,
        };
        let (reported, code) = report::stage(stage.name, &finding);
        // The first stage that fails decides.
        if exit == Exit::Ok {
            exit = code;
        }
        stages.push(reported);
        if let Err(error) = finding {
            cause = Some(error);
        }
    }
    let authentic = cause.is_none() && case.signer_accepted();
    // No stage lets this pass; if one ever did, it must not end as success.
    if exit == Exit::Ok && !authentic && !case.integrity_only() {
        exit = Exit::Unsigned;
    }
    let report = report::assemble(&case, stages, exit, authentic, cause.as_ref());
    let evidence = (authentic && exit == Exit::Ok).then(|| case.evidence.take().map(Verified)).flatten();
    Verification { report, exit, evidence }
}

/// The kinds of input, told apart by their form.
#[derive(Clone, Debug)]
enum Input {
    Pointer(PathBuf),
    Oci(String),
    Directory(PathBuf),
}
