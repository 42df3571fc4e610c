//! Verification: a fixed row of stages from a reference to a verdict, each listed in the report, run or not.
//!
//! Reads the reference, the bundle, its signature and a public key; never a cluster. A directory is verified without any network.

mod case;
mod coverage;
mod drift;
mod fetch;
mod freshness;
mod identity;
mod locate;
mod manifest;
pub mod many;
pub mod markdown;
mod open;
mod replay;
mod report;
mod results;
mod signature;
mod subject;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::error::Result;
use crate::evidence::{Evidence, Layout, PublicKey};
use crate::exit::Exit;
use crate::policy::Policy;
use crate::pull;
use crate::reason::Reason;
use crate::recipe::Recipe;
use crate::registry;
use crate::trust;
use case::{Case, Finding};
pub use drift::{Change, Drift, between, documents};
pub use many::VerifyReportList;
pub use open::{Opened, open};
pub use report::{Claimed, SignatureReport, StageReport, Status, Time, VerifiedFacts, VerifyReport, Word};

/// What to verify, and against what.
#[derive(Clone, Debug)]
pub struct Request {
    /// A pointer file, `oci://host/repository@sha256:…`, a bundle's directory, or an OCI layout as directory or tar file.
    pub input: String,
    /// The pointer itself, where it does not lie in a file; `input` is then the path that it is known by.
    pub pointer: Option<Arc<[u8]>>,
    /// Who must have signed.
    pub expected: Expected,
    /// How a registry is reached.
    pub registry: registry::Options,
    /// Whose certificates, logs and timestamps are believed.
    pub root: trust::Root,
    /// What was fetched before.
    pub cache: pull::Cache,
    /// The recipe of today, if the evidence must still be about it.
    pub recipe: Option<Arc<Recipe>>,
    /// The checks of today with their versions, if the evidence must still be about these.
    pub checks: Option<Arc<BTreeMap<String, u32>>>,
    /// The time of the verification.
    pub now: Timestamp,
    /// Whether each stage says what it covers.
    pub explain: bool,
}

impl Request {
    /// What to verify, against whom, now.
    #[must_use]
    pub fn new(input: impl Into<String>, expected: Expected, registry: registry::Options) -> Self {
        Self {
            input: input.into(),
            pointer: None,
            expected,
            registry,
            root: trust::Root::default(),
            cache: pull::Cache::default(),
            recipe: None,
            checks: None,
            now: Timestamp::now(),
            explain: false,
        }
    }
}

/// Who must have signed.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Whom a policy names; a key or an identity alone is a small policy.
    Policy(Arc<Policy>),
    /// Nobody: only integrity is looked at, and nothing can come out as verified.
    IntegrityOnly,
}

impl Expected {
    /// The holder of this key.
    #[must_use]
    pub fn key(key: PublicKey) -> Self {
        Self::Policy(Arc::new(Policy::of_key(key)))
    }

    /// The policy, if there is one.
    #[must_use]
    pub fn policy(&self) -> Option<&Policy> {
        match self {
            Self::Policy(policy) => Some(policy),
            Self::IntegrityOnly => None,
        }
    }

    /// The keys of those who may sign.
    #[must_use]
    pub fn keys(&self) -> Vec<&PublicKey> {
        self.policy().map(Policy::keys).unwrap_or_default()
    }

    /// True if some of those who may sign have certificates.
    #[must_use]
    pub fn accepts_certificates(&self) -> bool {
        self.policy().is_some_and(Policy::accepts_certificates)
    }
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
    /// What it looks at, and what follows from it.
    covers: &'static str,
    run: fn(&mut Case) -> BoxFuture<'_, Result<Finding>>,
}

/// The stages, in the order in which they run.
const STAGES: &[Stage] = &[
    Stage {
        name: "locate",
        covers: "the pointer's form and name, and whether the policy lists the registry; nothing of it is trusted",
        run: |case| async { locate::run(case).and_then(|found| listed(case, found)) }.boxed(),
    },
    Stage {
        name: "fetch",
        covers: "each file and signature, by the digest and the size under which it was asked for",
        run: |case| fetch::run(case).boxed(),
    },
    Stage {
        name: "signature",
        covers: "the signed bytes of each statement, with the keys of the policy or certificates of the trusted root",
        run: |case| async { signature::run(case) }.boxed(),
    },
    Stage {
        name: "identity",
        covers: "who signed, for whom and when, held against the policy; only signatures that count are used from here on",
        run: |case| async { identity::run(case) }.boxed(),
    },
    Stage {
        name: "manifest",
        covers: "manifest.json as it was signed, and every file by it: none missing, none extra, none changed",
        run: |case| async { manifest::run(case) }.boxed(),
    },
    Stage {
        name: "subject",
        covers: "that artifact, content and pointer are the ones that the statement is about",
        run: |case| async { subject::run(case) }.boxed(),
    },
    Stage {
        name: "results",
        covers: "all totals and verdicts, counted again from the CTRF documents and held against results, evidence and statement",
        run: |case| async { results::run(case) }.boxed(),
    },
    Stage {
        name: "coverage",
        covers: "each check that the shipped recipe declares, held against what ran, and whether the hardware counts",
        run: |case| async { coverage::run(case) }.boxed(),
    },
    Stage {
        name: "replay",
        covers: "hardware label, recipe, snapshot and constraints, judged again from the shipped documents",
        run: |case| async { replay::run(case) }.boxed(),
    },
    Stage {
        name: "freshness",
        covers: "times and age by what others vouch for, and the recipe of today where one was given",
        run: |case| async { freshness::run(case) }.boxed(),
    },
];

/// Refuses a registry that the policy does not list, before it is asked for anything.
fn listed(case: &Case, found: Finding) -> Result<Finding> {
    if let (Some(case::Place::Registry(repository, _)), Some(policy)) = (&case.place, case.policy())
        && !policy.lists(&repository.to_string())
    {
        return Ok(Finding::refused(
            Reason::RegistryNotListed,
            format!("{repository} is not on the list of {}; it was not asked", policy.name),
        ));
    }
    Ok(found)
}

/// Verifies. What is wrong with the evidence is in the report, not an error.
pub async fn verify(request: Request) -> Verification {
    let mut case = Case::new(request);
    let mut stages = Vec::new();
    let mut hints = Vec::new();
    let mut stopped = false;
    for stage in STAGES {
        let finding = if stopped { Ok(Finding::NotRun("an earlier stage failed".to_owned())) } else { (stage.run)(&mut case).await };
        stages.push(report::stage(stage, &finding, &case));
        stopped |= matches!(finding, Err(_) | Ok(Finding::Refused(_)));
        if let Err(error) = finding {
            hints = error.hints().to_vec();
        }
    }
    let authentic = !stopped && case.signer_accepted();
    // The first reason of all decides.
    let reason = stages.iter().flat_map(|stage| &stage.reasons).next().map(|said| said.reason);
    let exit = match reason {
        Some(reason) => reason.exit(),
        // No stage lets this pass; if one ever did, it must not end as success.
        None if !authentic && !case.integrity_only() => Exit::Unsigned,
        None => Exit::Ok,
    };
    let report = report::assemble(&case, stages, &report::Ended { exit, authentic, hints });
    let evidence = (authentic && exit == Exit::Ok).then(|| case.evidence.take().map(Verified)).flatten();
    Verification { report, exit, evidence }
}

/// The kinds of input, told apart by their form.
enum Input {
    Pointer(PathBuf, Vec<u8>),
    Oci(String),
    Directory(PathBuf),
    Layout(PathBuf, Box<Layout>),
}
