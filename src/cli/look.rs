//! `seatrial` alone: a read-only look at the current cluster, and what to do next.

use std::collections::BTreeMap;

use crate::cli::Cx;
use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::recipe::LoadedRecipe;
use crate::snapshot::{Hardware, Snapshot};
use crate::ui::{Tone, Ui, printable};

pub(crate) async fn exec(cx: Cx) -> Result<Exit> {
    let looked = cx.global.look(&cx.ui).await;
    cx.ui.clear_live();
    match looked {
        Ok((cluster, snapshot)) => {
            let title = format!("{} · a read-only look", cx.ui.paint("seatrial", Tone::Strong));
            cx.ui.line(format!("{title}\n"));
            cx.ui.artefact(&page(cluster.context(), &snapshot, &cx.global.catalog().and_then(|catalog| catalog.fitting(&snapshot))));
            Ok(Exit::Ok)
        }
        Err(error) => {
            without_a_cluster(&cx.ui, &error);
            Ok(error.kind().exit())
        }
    }
}

/// What is seen, which recipe fits, what to type; one fact a line.
fn page(context: &str, snapshot: &Snapshot, recipe: &Result<LoadedRecipe>) -> String {
    let unknown = |why: Option<&str>| format!("not known: {}", printable(why.unwrap_or("not read")));
    let mut lines = vec![("context", printable(context))];
    let version = &snapshot.cluster.version;
    lines.push(("kubernetes", version.value().map_or_else(|| unknown(version.unavailable()), |version| printable(version))));
    lines.push(("nodes", snapshot.nodes.value().map_or_else(|| unknown(snapshot.nodes.unavailable()), |nodes| nodes.len().to_string())));
    if snapshot.nodes.value().is_some() {
        lines.push(("gpus", gpus(snapshot)));
    }
    let hardware = match snapshot.cluster.hardware {
        Hardware::Simulated => "simulated, by the marks on the nodes",
        Hardware::Real => "real",
        Hardware::Unknown => "unknown: nothing has shown yet that the GPUs are real",
    };
    lines.push(("hardware", hardware.to_owned()));
    let name = match recipe {
        Ok(recipe) => {
            let name = recipe.recipe.metadata.name.clone();
            lines.push(("recipe", format!("{name} fits")));
            name
        }
        Err(error) => {
            lines.push(("recipe", printable(&error.chain())));
            "RECIPE.yaml".to_owned()
        }
    };
    let next = [
        format!("seatrial plan conformance --recipe {name}        what a run would do; changes nothing"),
        format!("seatrial preflight conformance --recipe {name}   whether it may; changes nothing"),
        format!("seatrial run conformance --recipe {name}         the run, with evidence at its end"),
    ];
    let facts: Vec<String> = lines.iter().map(|(name, value)| format!("  {name:<11} {value}")).collect();
    let lead = if recipe.is_ok() { "next" } else { "next, with a recipe of yours (`seatrial list recipes` shows those that ship)" };
    format!("{}\n\n  {lead}\n    {}\n", facts.join("\n"), next.join("\n    "))
}

/// GPUs by product, and how they can be had.
fn gpus(snapshot: &Snapshot) -> String {
    let totals = snapshot.gpus();
    let mut products: BTreeMap<String, usize> = BTreeMap::new();
    for node in snapshot.gpu_nodes() {
        let product = node.gpus.product.as_deref().map_or_else(|| "GPUs of unknown product".to_owned(), printable);
        *products.entry(product).or_default() += 1;
    }
    if products.is_empty() {
        return "none seen: no node says that it has any".to_owned();
    }
    let products: Vec<String> = products.into_iter().map(|(product, nodes)| format!("{product} on {nodes} nodes")).collect();
    format!(
        "{}: {} ({} by device plugin, {} by DRA)",
        totals.device_plugin + totals.dra,
        products.join(", "),
        totals.device_plugin,
        totals.dra
    )
}

/// Says that there is no cluster to look at, and what to do about it.
fn without_a_cluster(ui: &Ui, error: &Error) {
    ui.event("no-cluster", serde_json::json!({"message": error.chain(), "hints": error.hints()}));
    let seen = match error.kind() {
        Kind::Usage => "no cluster to look at",
        Kind::Denied => "the cluster does not let us in",
        _ => "the cluster cannot be looked at",
    };
    ui.line(format!("{} {seen}: {}\n", ui.paint("seatrial:", Tone::Strong), printable(&error.chain())));
    for hint in error.hints() {
        ui.line(format!("  {}", printable(hint)));
    }
    ui.line(
        "\n  seatrial --kubeconfig FILE     looks at that cluster\n  seatrial sim up                starts a simulated one on this machine",
    );
    ui.line("  seatrial plan conformance --recipe sim-h100   needs no cluster\n  seatrial --help                all commands");
}
