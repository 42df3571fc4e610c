//! Stage 9: what follows from the shipped snapshot and recipe, derived again: the hardware label and the digests.

use crate::constraints;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::reason::Reason;
use crate::results::Verdict;
use crate::snapshot::{Hardware, Snapshot};
use crate::verify::case::{Case, Finding};

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    let evidence = case.evidence()?;
    let wrong = |what: String| Err(Error::new(Kind::Integrity, what));
    let recipe = case.recipe()?;
    if recipe.digest()? != evidence.recipe.digest || recipe.metadata.name != evidence.recipe.name {
        return wrong(format!("the shipped recipe is not {} ({})", evidence.recipe.name.escape_debug(), evidence.recipe.digest.short()));
    }
    let nodes_told =
        |snapshot: &Snapshot| snapshot.nodes.value().into_iter().flatten().all(|node| node.hardware == node.derived_hardware());
    if !case.snapshot.as_ref().is_none_or(nodes_told) {
        let message = "the snapshot has a node whose hardware does not follow from its marks";
        return Ok(Finding::refused(Reason::HardwareDisagrees, message));
    }
    if case.snapshot.as_ref().map(Digest::of_json).transpose()? != evidence.snapshot {
        return wrong("the shipped snapshot is not the one that the evidence names".to_owned());
    }
    let hardware = case.snapshot.as_ref().map_or(Hardware::Unknown, Snapshot::derived_hardware);
    let told = case.snapshot.as_ref().map_or(Hardware::Unknown, |snapshot| snapshot.cluster.hardware);
    if hardware != evidence.hardware || hardware != told {
        let words = [evidence.hardware.word(), told.word(), hardware.word()];
        let message =
            format!("the hardware is {} by the evidence, {} by the snapshot, {} by the marks on its nodes", words[0], words[1], words[2]);
        return Ok(Finding::refused(Reason::HardwareDisagrees, message));
    }
    let constraints = constraints(case)?;
    if let Some(pointer) = &case.pointer {
        if pointer.recipe != evidence.recipe {
            return wrong(format!(
                "the pointer names recipe {}, the evidence {}",
                pointer.recipe.name,
                evidence.recipe.name.escape_debug()
            ));
        }
        if pointer.hardware != hardware {
            return wrong(format!("the pointer says {} hardware, the snapshot {}", pointer.hardware.word(), hardware.word()));
        }
    }
    let (gpus, all) = nodes(case.snapshot.as_ref());
    let recipe = evidence.recipe.digest.short();
    Ok(Finding::Ok(format!(
        "{} hardware by the marks on {gpus} GPU nodes of {all}; recipe {recipe} and snapshot as named{constraints}",
        hardware.word()
    )))
}

/// Judges every constraint of the shipped recipe by the shipped snapshot again: it must come to what the results say.
fn constraints(case: &Case) -> Result<String> {
    let (recipe, report) = (case.recipe()?, case.report()?);
    let Some(snapshot) = &case.snapshot else { return Ok(String::new()) };
    let judged = constraints::judge_all(&recipe.spec.constraints, snapshot, "snapshot")?;
    for replayed in &judged {
        let told = report.tests.iter().find(|test| test.id == replayed.id).map(|test| test.outcome.verdict);
        // One that did not run is missing, which is said of its coverage.
        if let Some(told) = told.filter(|told| !matches!(told, Verdict::NotRun(_) | Verdict::Error(_)))
            && told != replayed.outcome.verdict
        {
            let words = [told.word(), replayed.outcome.verdict.word()];
            let message = format!("{} is {} by the results, and {} by the shipped snapshot", replayed.id, words[0], words[1]);
            return Err(Error::new(Kind::Integrity, message));
        }
    }
    Ok(if judged.is_empty() { String::new() } else { format!("; {} constraints judged again", judged.len()) })
}

/// GPU nodes of how many.
fn nodes(snapshot: Option<&Snapshot>) -> (usize, usize) {
    let nodes = snapshot.and_then(|snapshot| snapshot.nodes.value()).map_or(0, Vec::len);
    (snapshot.map_or(0, |snapshot| snapshot.gpu_nodes().count()), nodes)
}
