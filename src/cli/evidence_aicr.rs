//! Evidence of NVIDIA AICR on the command line: which stages of verification apply to it, and what they find.

use std::path::Path;

use serde_json::json;

use crate::cli::Format;
use crate::cli::evidence_list::aligned;
use crate::error::{Error, Result};
use crate::evidence::aicr::{self, Stage, Status, Survey};
use crate::exit::Exit;
use crate::trust::Root;
use crate::ui::{Ui, printable};

/// Shows a file or directory of AICR. None if it is none.
///
/// # Errors
/// As [`aicr::survey`].
pub(crate) fn show(input: &Path, format: Format, ui: &Ui) -> Result<Option<Exit>> {
    let Some(survey) = aicr::survey(input, &Root::default())? else { return Ok(None) };
    let text = match format {
        Format::Json => {
            let answer =
                json!({"verified": null, "claimed": {"pointer": survey.pointer, "predicate": survey.predicate}, "stages": survey.stages});
            serde_json::to_string_pretty(&answer).map_err(|error| Error::internal("write what the evidence says").because(error))?
        }
        Format::Text => lines(&survey).join("\n"),
    };
    ui.artefact(&text);
    Ok(Some(if survey.sound() { Exit::Ok } else { contradicted(&survey) }))
}

/// Ends verification of evidence of AICR: it says which stages apply and whose signature it is, and is never a success. None if it is none.
///
/// # Errors
/// As [`aicr::survey`].
pub(crate) fn verify(input: &Path, root: &Root, ui: &Ui) -> Result<Option<Exit>> {
    let Some(survey) = aicr::survey(input, root)? else { return Ok(None) };
    lines(&survey).iter().for_each(|line| ui.line(line));
    Ok(Some(match survey.status("signature") {
        _ if !survey.sound() => contradicted(&survey),
        // Somebody vouches for it, and nothing that was asked for says that it may be they.
        Status::Ok => Exit::Policy,
        _ => Exit::Unsigned,
    }))
}

/// Something that could be looked at was wrong.
fn contradicted(survey: &Survey) -> Exit {
    if survey.status("signature") == Status::Failed { Exit::Signature } else { Exit::Integrity }
}

fn lines(survey: &Survey) -> Vec<String> {
    let mut lines = vec!["evidence of NVIDIA AICR: claimed, and none of it verified as evidence of seatrial".to_owned(), String::new()];
    let mut facts: Vec<[String; 2]> = Vec::new();
    let mut say = |name: &str, text: String| facts.push([format!("  {name}"), printable(&text)]);
    if let Some(pointer) = &survey.pointer {
        let attestation = pointer.attestation();
        say("recipe", pointer.recipe.clone());
        say("predicate", attestation.bundle.predicate_type.clone());
        say("artifact", format!("{} {}", attestation.bundle.oci, attestation.bundle.digest));
        let unsigned = || "none: a pending pointer".to_owned();
        say("signer", attestation.signer.map_or_else(unsigned, |signer| format!("{} ({})", signer.identity, signer.issuer)));
        say("its place", pointer.path().display().to_string());
    }
    if let Some(predicate) = &survey.predicate {
        say("recipe", format!("{} {}", predicate.recipe.name, predicate.recipe.digest));
        say("made by", format!("aicr {} at {}, by its own clock", predicate.aicr_version, predicate.attested_at));
        for (name, phase) in &predicate.phases {
            say("phase", format!("{name}: {} passed, {} failed, {} skipped", phase.passed, phase.failed, phase.skipped));
        }
    }
    lines.extend(aligned(facts.into_iter()).lines().map(str::to_owned));
    lines.push(String::new());
    let word = |status: Status| match status {
        Status::Ok => "ok",
        Status::Failed => "failed",
        Status::NotRun => "not-run",
    };
    let stage = |stage: &Stage| [format!("  {}", stage.name), word(stage.status).to_owned(), printable(&stage.found)];
    lines.extend(aligned(survey.stages.iter().map(stage)).lines().map(str::to_owned));
    lines
}
