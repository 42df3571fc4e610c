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
    let nodes_told =
        |snapshot: &Snapshot| snapshot.nodes.value().into_iter().flatten().all(|node| node.hardware == node.derived_hardware());
    if !case.snapshot.as_ref().is_none_or(nodes_told) {
        return wrong("the snapshot has a node whose hardware does not follow from its marks".to_owned());
    }
    if case.snapshot.as_ref().map(Digest::of_json).transpose()? != evidence.snapshot {
        return wrong("the shipped snapshot is not the one that the evidence names".to_owned());
    }
    let hardware = case.snapshot.as_ref().map_or(Hardware::Unknown, Snapshot::derived_hardware);
    let told = case.snapshot.as_ref().map_or(Hardware::Unknown, |snapshot| snapshot.cluster.hardware);
    if hardware != evidence.hardware || hardware != told {
        let words = [evidence.hardware.word(), told.word(), hardware.word()];
        return wrong(format!(
            "the hardware is {} by the evidence, {} by the snapshot, {} by the marks on its nodes",
            words[0], words[1], words[2]
        ));
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
    let (gpus, all) = nodes(case.snapshot.as_ref());
    let recipe = evidence.recipe.digest.short();
    Ok(Finding::Ok(format!(
        "{} hardware by the marks on {gpus} GPU nodes of {all}; recipe {recipe} and snapshot as named",
        hardware.word()
    )))
}

/// GPU nodes of how many.
fn nodes(snapshot: Option<&Snapshot>) -> (usize, usize) {
    let nodes = snapshot.and_then(|snapshot| snapshot.nodes.value()).map_or(0, Vec::len);
    (snapshot.map_or(0, |snapshot| snapshot.gpu_nodes().count()), nodes)
}
