//! Stage 9: what follows from the shipped snapshot and recipe, derived again: the hardware label and the digests.

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::snapshot::{Hardware, Snapshot};
use crate::verify::case::{Case, Finding};

pub(super) fn run(case: &mut Case) -> Result<Finding> {
    let evidence = case.evidence()?;
    let wrong = |what: String| Err(Error::new(Kind::Integrity, what));
    let recipe = case.recipe()?;
    if recipe.digest()? != evidence.recipe.digest || recipe.metadata.name != evidence.recipe.name {
        return wrong(format!("the shipped recipe is not {} ({})", evidence.recipe.name.escape_debug(), evidence.recipe.digest.short()));
    }
    if case.snapshot.as_ref().map(Digest::of_json).transpose()? != evidence.snapshot {
        return wrong("the shipped snapshot is not the one that the evidence names".to_owned());
    }
    let hardware = hardware(case.snapshot.as_ref());
    let told = case.snapshot.as_ref().map_or(Hardware::Unknown, |snapshot| snapshot.cluster.hardware);
    if hardware != evidence.hardware || hardware != told {
        let words = [evidence.hardware.word(), told.word(), hardware.word()];
        return wrong(format!("the hardware is {} by the evidence, {} by the snapshot, {} by its nodes", words[0], words[1], words[2]));
    }
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
    let word = hardware.word();
    let (of, count) = nodes(case.snapshot.as_ref());
    Ok(Finding::Ok(format!("{word} hardware by {count} GPU nodes of {of}; recipe {}", evidence.recipe.digest.short())))
}

/// The label of the cluster, from its GPU nodes.
fn hardware(snapshot: Option<&Snapshot>) -> Hardware {
    let nodes = snapshot.and_then(|snapshot| snapshot.nodes.value()).into_iter().flatten();
    Hardware::of_cluster(nodes.filter(|node| node.gpus.any()).map(|node| node.hardware))
}

fn nodes(snapshot: Option<&Snapshot>) -> (usize, usize) {
    let nodes = snapshot.and_then(|snapshot| snapshot.nodes.value());
    nodes.map_or((0, 0), |nodes| (nodes.len(), nodes.iter().filter(|node| node.gpus.any()).count()))
}
