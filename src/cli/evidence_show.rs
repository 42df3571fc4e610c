//! `seatrial evidence show`: what a bundle or pointer says of itself.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::evidence_list::{aligned, signer};
use crate::cli::registry::RegistryArgs;
use crate::cli::{Format, evidence_aicr};
use crate::error::{Context, Error, Result};
use crate::evidence::{Evidence, Pointer};
use crate::exit::Exit;
use crate::results::{Measurement, Verdict};
use crate::ui::{Ui, printable};
use crate::verify::{self, Opened};
use crate::{files, limits};

/// Show what a bundle or a pointer says. Nothing of it is verified: these are claims.
///
/// A bundle's files are held against its manifest, and its signature is not looked at; `seatrial evidence verify` is for that.
/// Of evidence of NVIDIA AICR it says which stages of verification apply.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A bundle's directory, a pointer file, oci://host/repository@sha256:…, or an OCI layout as directory or tar file.
    #[arg(value_name = "DIR|POINTER|oci://REF|TAR")]
    input: String,
    /// Show what the pointer says, and fetch nothing.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    /// The form of the answer.
    #[arg(short = 't', long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) async fn exec(args: Args, ui: &Ui) -> Result<Exit> {
    if let Some(exit) = evidence_aicr::show(Path::new(&args.input), args.format, ui)? {
        return Ok(exit);
    }
    let shown = if args.offline && !Path::new(&args.input).is_dir() {
        Shown { pointer: Some(pointer(&args.input)?), bundle: None }
    } else {
        let registry = args.registry.options();
        let opened = verify::open(&args.input, &registry).await?;
        let evidence = opened.contents.evidence()?;
        Shown { pointer: opened.pointer.clone(), bundle: Some((opened, evidence)) }
    };
    let text = match args.format {
        Format::Json => {
            serde_json::to_string_pretty(&shown.json()).map_err(|error| Error::internal("write what the evidence says").because(error))?
        }
        Format::Text => shown.lines().join("\n"),
    };
    ui.artefact(&text);
    Ok(Exit::Ok)
}

fn pointer(input: &str) -> Result<Pointer> {
    if input.starts_with("oci://") {
        return Err(Error::usage("a reference says nothing without its bundle").hint("leave out --offline, or name a pointer file"));
    }
    let text = files::read_text(&PathBuf::from(input), limits::DOCUMENT_BYTES).context("read the pointer")?;
    Pointer::parse(&text, input)
}

struct Shown {
    pointer: Option<Pointer>,
    bundle: Option<(Opened, Evidence)>,
}

impl Shown {
    fn json(&self) -> Value {
        let mut claimed = json!({});
        if let Some(pointer) = &self.pointer {
            claimed["pointer"] = json!(pointer);
        }
        if let Some((opened, evidence)) = &self.bundle {
            claimed["evidence"] = json!(evidence);
            claimed["digest"] = json!(opened.artifact);
            claimed["contentDigest"] = json!(opened.contents.content_digest().ok());
            claimed["files"] = json!(opened.contents.sums().iter().map(|(path, (size, _))| (path, size)).collect::<Vec<_>>());
        }
        json!({"verified": null, "claimed": claimed})
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec!["claimed, nothing is verified: `seatrial evidence verify` tells what holds".to_owned(), String::new()];
        let mut facts: Vec<[String; 2]> = Vec::new();
        let mut say = |name: &str, text: String| facts.push([format!("  {name}"), printable(&text)]);
        if let Some((opened, evidence)) = &self.bundle {
            said(evidence, &mut say);
            opened.contents.content_digest().iter().for_each(|content| say("content", content.to_string()));
            say("artifact", opened.artifact.to_string());
        }
        if let Some(pointer) = &self.pointer {
            if self.bundle.is_none() {
                say("recipe", format!("{} {}", pointer.recipe.name, pointer.recipe.digest));
                say("hardware", pointer.hardware.word().to_owned());
                say("content", pointer.bundle.content_digest.to_string());
                say("artifact", pointer.bundle.digest.to_string());
            }
            say("repository", pointer.bundle.repository.clone());
            say("recorded", pointer.recorded_at.to_string());
            pointer.signatures.iter().for_each(|one| say("signer", signer(one)));
        }
        lines.extend(aligned(facts.into_iter()).lines().map(str::to_owned));
        if let Some((_, evidence)) = &self.bundle {
            lines.push(String::new());
            lines.extend(checks(evidence));
        }
        lines
    }
}

fn said(evidence: &Evidence, say: &mut impl FnMut(&str, String)) {
    say("recipe", format!("{} {}", evidence.recipe.name, evidence.recipe.digest));
    say("workflow", format!("{} {}", evidence.workflow.name, evidence.workflow.digest));
    let counts = &evidence.counts;
    let rest = [(counts.fail, "failed"), (counts.error, "could not tell"), (counts.not_run, "did not run"), (counts.skip, "skipped")];
    let rest: String = rest.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!(", {count} {word}")).collect();
    say("result", format!("{}: {} of {} passed{rest}", evidence.exit().name(), counts.pass, counts.selected));
    say("scope", format!("{} on {} hardware", evidence.scope.word(), evidence.hardware.word()));
    let unsaid = || "not said".to_owned();
    let cluster = &evidence.cluster;
    say("cluster", format!("{} {}", cluster.id.clone().unwrap_or_else(unsaid), cluster.version.clone().unwrap_or_else(unsaid)));
    say("run", format!("{} from {} to {}, by its own clock", evidence.run, evidence.started_at, evidence.finished_at));
    say("tool", format!("{} {}", evidence.tool.name, evidence.tool.version));
    let removed: usize = evidence.redaction.removed.iter().map(|one| one.count).sum();
    say("redaction", format!("policy {}, {removed} things taken out or replaced", evidence.redaction.policy));
}

/// A line for each check: its verdict, its version, its numbers.
fn checks(evidence: &Evidence) -> Vec<String> {
    let head = ["  CHECK", "VERSION", "VERDICT", "MEASURED"].map(str::to_owned);
    let row = |check: &crate::evidence::model::CheckRecord| {
        let measured: Vec<String> = check.measurements.iter().map(number).collect();
        [format!("  {}", printable(&check.id)), check.version.to_string(), word(check.verdict), printable(&measured.join(", "))]
    };
    aligned(std::iter::once(head).chain(evidence.checks.iter().map(row))).lines().map(str::to_owned).collect()
}

/// A verdict with its reason: `skip (needs-node)`.
pub(crate) fn word(verdict: Verdict) -> String {
    verdict.reason().map_or_else(|| verdict.word().to_owned(), |reason| format!("{} ({reason})", verdict.word()))
}

/// `gpus 16 (against 12), 2 samples`; the unit of a count is left out.
pub(crate) fn number(measurement: &Measurement) -> String {
    let unit = if measurement.unit == "1" { String::new() } else { format!(" {}", measurement.unit) };
    let against = measurement.threshold.map(|threshold| format!(" (against {threshold}{unit})")).unwrap_or_default();
    let samples = if measurement.samples.is_empty() { String::new() } else { format!(", {} samples", measurement.samples.len()) };
    format!("{} {}{unit}{against}{samples}", measurement.metric, measurement.value)
}
