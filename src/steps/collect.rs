//! collect: packages what was seen, signs it, pushes it, and writes the pointer.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::error::{Context, Error, Result};
use crate::evidence::redaction::Policy;
use crate::evidence::{Bundle, Inputs as BundleInputs, Redaction, directory};
use crate::progress::transfer::Transfer;
use crate::publish::{self, Target};
use crate::recipe::API_VERSION;
use crate::registry::{self, Meter, Reference};
use crate::results::{Counts, Outcome, RecipeRef, Report, Scope};
use crate::sign::Signer;
use crate::snapshot::Hardware;
use crate::steps::{Fact, Inputs, Publishing, RunFacts, State, Step, StepCx, no_gpus, no_tests};
use crate::ui::Ui;
use crate::{files, limits};

/// The key of a run's pseudonyms, in its directory.
const PSEUDONYM_KEY: &str = "redaction.key";

pub(super) static STEP: Step = Step {
    id: "collect",
    title: "package what was seen, sign it, push it, write the pointer",
    why: "last: it is about everything before it, and no longer talks to the cluster",
    needs: &[Fact::Results],
    provides: None,
    cluster: false,
    access: |_, _| Vec::new(),
    gpus: no_gpus,
    tests: no_tests,
    timeout: |_| Duration::from_secs(300),
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &StepCx<'_>) -> Result<Outcome> {
    let bundle = bundle(cx)?;
    let folder = cx.inputs.publishing.bundle.clone().unwrap_or_else(|| cx.run.out.join("bundle"));
    // A run that went on after a crash may find the same bundle, perhaps signed already, which is kept; anything else is what the crash left.
    let same = directory::read(&folder).is_ok_and(|found| found.files == *bundle.files());
    if folder.exists() && !same {
        if cx.inputs.publishing.bundle.is_some() {
            empty_or_absent(&folder)?;
        }
        std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    directory::write(&bundle, &folder)?;
    let mut words = vec![format!("bundle {}", folder.display()), format!("sha256:{}…", bundle.content_digest().short())];
    cx.sink.output("bundle", folder.display().to_string());
    let published_outputs = |published: &publish::Published| {
        cx.sink.output("pointer", published.pointer.display().to_string());
        cx.sink.output("digest", published.digest.to_string());
    };
    let publishing = &cx.inputs.publishing;
    match (&publishing.signing, &publishing.push) {
        (Some(signing), Some(reference)) => {
            cx.ui.waiting(&format!("{reference} to take the bundle and its signature"));
            let signer = Signer::new(signing)?.asking(cx.ui);
            let published = publish::publish(&folder, &signer, &target(cx.ui, publishing, reference)?).await?;
            published_outputs(&published);
            words.extend(["pushed".to_owned(), "signed".to_owned(), format!("pointer {}", published.pointer.display())]);
        }
        (None, Some(reference)) => {
            cx.ui.waiting(&format!("{reference} to take the bundle"));
            let published = publish::publish_unsigned(&folder, &target(cx.ui, publishing, reference)?).await?;
            published_outputs(&published);
            words.extend(["pushed".to_owned(), "not signed yet".to_owned(), format!("pointer {}", published.pointer.display())]);
        }
        (Some(signing), None) => {
            publish::sign(&folder, &Signer::new(signing)?.asking(cx.ui)).await?;
            words.push("signed".to_owned());
        }
        (None, None) => words.push("unsigned (no --key)".to_owned()),
    }
    let files: Vec<String> = bundle.files().keys().cloned().collect();
    let count = files.len();
    Ok(Outcome::pass(words.join(" · ")).seen("files", files, count).asserted(count, count))
}

fn target(ui: &Ui, publishing: &Publishing, reference: &str) -> Result<Target> {
    let reference: Reference = reference.parse()?;
    let transfer = Transfer::new(ui, format!("{} to take the evidence", reference.repository));
    let meter = Meter::new(move |moved| transfer.moved(moved.done, moved.total));
    let registry = registry::Options { meter, ..publishing.registry.clone() };
    let target = Target::new(reference, registry, publishing.pointers.clone());
    Ok(Target { move_tag: publishing.move_tag, ..target })
}

/// A directory that the user named is never emptied by us.
///
/// # Errors
/// A usage error if something is in it, or it is no directory.
pub fn empty_or_absent(folder: &Path) -> Result<()> {
    match std::fs::read_dir(folder).map(Iterator::count) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Error::usage(format!("{} is not empty", folder.display())).hint("name a directory that does not exist yet")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::usage(format!("{} cannot take the bundle", folder.display())).because(error)),
    }
}

fn bundle(cx: &StepCx<'_>) -> Result<Bundle> {
    let mut report = report(cx.inputs, cx.state, cx.run)?;
    for test in &mut report.tests {
        test.outcome.artifacts = cx.state.artifacts.get(&test.id).cloned().unwrap_or_default();
    }
    for step in &mut report.steps {
        step.outcome.artifacts = cx.state.artifacts.get(&step.id).cloned().unwrap_or_default();
    }
    let plan: Value = serde_json::from_slice(&cx.run.plan).map_err(|error| Error::internal("read the plan back").because(error))?;
    let policy = cx.inputs.publishing.redaction.clone().map_or_else(Policy::minimal, Ok)?;
    let redaction = Redaction { policy, key: pseudonym_key(&cx.run.out)? };
    Bundle::build(&BundleInputs {
        report: &report,
        recipe: &cx.inputs.recipe.recipe,
        snapshot: cx.state.snapshot.as_ref(),
        plan: &plan,
        workflow: cx.inputs.workflow.digest()?,
        tool: publish::this_tool(),
        redaction: &redaction,
    })
}

/// What pseudonyms are made by: random bytes in the run directory, which are never part of a bundle. A run that goes on finds them again,
/// and so does whoever wants to know later which node was meant.
fn pseudonym_key(out: &Path) -> Result<Vec<u8>> {
    let path = out.join(PSEUDONYM_KEY);
    if path.exists() {
        let hex = files::read_text(&path, limits::DOCUMENT_BYTES)?;
        if hex.trim().len() < limits::REDACT_KEY_BYTES {
            return Err(Error::usage(format!("{} is too short to make pseudonyms by", path.display())).hint("remove it to get a new one"));
        }
        return Ok(hex.trim().as_bytes().to_vec());
    }
    let mut random = [0_u8; 32];
    let drawn = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    drawn.ok().filter(|drawn| *drawn == random.len()).ok_or_else(|| Error::internal("draw random bytes for pseudonyms"))?;
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    files::write_secret(&path, format!("{hex}\n").as_bytes())?;
    Ok(hex.into_bytes())
}

/// The results document of a run, as far as it has come.
///
/// # Errors
/// Never in practice; the models always have a JSON form.
pub fn report(inputs: &Inputs, state: &State, run: &RunFacts) -> Result<Report> {
    let verdicts = || state.tests.iter().map(|test| test.outcome.verdict);
    let recipe = &inputs.recipe.recipe;
    Ok(Report {
        api_version: API_VERSION.to_owned(),
        kind: "Results".to_owned(),
        run: run.id.clone(),
        workflow: inputs.workflow.workflow.metadata.name.clone(),
        recipe: RecipeRef { name: recipe.metadata.name.clone(), digest: recipe.digest()? },
        snapshot: state.snapshot_digest()?,
        scope: Scope::of(verdicts()),
        hardware: state.snapshot.as_ref().map_or(Hardware::Unknown, |snapshot| snapshot.cluster.hardware),
        counts: Counts::of(verdicts()),
        steps: state.steps.clone(),
        tests: state.tests.clone(),
        started_at: run.started_at,
        finished_at: run.finished_at,
    })
}
