//! Judges what the vendor's tool said on all nodes; pure.

use std::collections::BTreeSet;

use crate::facts::condition::Condition;
use crate::results::{ErrorReason, Outcome};

/// What came of one node.
#[derive(Debug)]
pub(super) enum Told {
    /// It could not be asked.
    Kept(ErrorReason, String),
    /// The tool ended with a code; its last words where that is not 0.
    Ended(i64, String),
    /// The tool wrote something else than its list.
    Unreadable(String),
    /// Its list.
    Listed(Vec<Condition>),
}

/// One node.
#[derive(Debug)]
pub(super) struct NodeTold {
    pub(super) name: String,
    /// GPUs that the pod was given.
    pub(super) given: u64,
    /// GPUs that others hold, which the pod could not be given.
    pub(super) held: u64,
    /// The product by the node's label.
    pub(super) product: Option<String>,
    pub(super) told: Told,
}

/// Judges all nodes together; `left_out` says which are no subjects, and why.
pub(super) fn judge(nodes: &[NodeTold], tool: &str, left_out: &str) -> Outcome {
    let mut statements: Vec<(bool, String, &'static str)> = Vec::new();
    let mut unknown = Vec::new();
    let mut seen = Vec::new();
    let mut count = 0;
    for node in nodes {
        let name = &node.name;
        match &node.told {
            Told::Kept(reason, why) => {
                unknown.push((*reason, format!("node {name}: {why}")));
                continue;
            }
            Told::Ended(code, words) => statements.push((false, format!("node {name}: {tool} ended with {code}: {words}"), TOOL)),
            Told::Unreadable(why) => statements.push((false, format!("node {name}: {tool}: {why}"), TOOL)),
            Told::Listed(gpus) => {
                count += gpus.len();
                statements.extend(of_node(node, gpus, tool));
            }
        }
        if node.held > 0 {
            let all = node.given + node.held;
            unknown.push((ErrorReason::Busy, format!("node {name}: {} of {all} GPUs are held, so they were not looked at", node.held)));
        } else {
            seen.push(name.clone());
        }
    }
    let wrong: Vec<&(bool, String, &str)> = statements.iter().filter(|(holds, ..)| !holds).collect();
    let more = |all: usize| if all > 1 { format!(" (and {} more)", all - 1) } else { String::new() };
    let outcome = match (wrong.first(), unknown.first()) {
        (Some((_, message, fix)), _) => Outcome::fail(format!("{message}{}", more(wrong.len()))).fix(*fix),
        (None, Some((reason, message))) => {
            let fix =
                if *reason == ErrorReason::Busy { "run again when these GPUs are free" } else { "look at that node and at its GPU driver" };
            Outcome::error(*reason, format!("{message}{}", more(unknown.len()))).fix(fix)
        }
        (None, None) => Outcome::pass(format!(
            "{tool} lists {count} GPUs on {} nodes, as many and of the kind that the nodes say{left_out}",
            nodes.len()
        )),
    };
    let held = statements.iter().filter(|(holds, ..)| *holds).count();
    outcome.seen("nodes", seen, nodes.len()).asserted(held, statements.len()).measured("gpus", count as f64, "1")
}

const TOOL: &str = "look at the driver on that node, and at the runtime that gives containers the tool";
const COUNT: &str = "a GPU may have fallen off the bus: look for Xid messages in the kernel's log of that node";
const MODEL: &str = "look at the label's maker (GPU feature discovery, node labeller) on that node";
const TROUBLE: &str = "drain the node; reset the GPU, and have it exchanged if that does not help";

fn of_node(node: &NodeTold, gpus: &[Condition], tool: &str) -> Vec<(bool, String, &'static str)> {
    let name = &node.name;
    let mut statements = Vec::new();
    let units: usize = gpus.iter().map(|gpu| gpu.units).sum();
    let message = format!("node {name}: {tool} lists {units} GPUs in a pod that was given {}", node.given);
    statements.push((u64::try_from(units).is_ok_and(|units| units == node.given), message, COUNT));
    let ids: BTreeSet<&str> = gpus.iter().map(|gpu| gpu.id.as_str()).collect();
    statements.push((ids.len() == gpus.len(), format!("node {name}: {tool} lists a GPU twice"), COUNT));
    for gpu in gpus {
        if let Some(label) = &node.product {
            let message = format!("node {name}: GPU {} is a {}, the node's label says {label}", gpu.id, gpu.product);
            statements.push((agrees(label, &gpu.product), message, MODEL));
        }
        statements.push((gpu.troubles.is_empty(), format!("node {name}: GPU {}: {}", gpu.id, gpu.troubles.join("; ")), TROUBLE));
    }
    statements
}

/// True if a label is about this product: labels have other signs between words, and say in the end how a GPU is shared.
fn agrees(label: &str, product: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().replace(|sign: char| !sign.is_ascii_alphanumeric(), " ");
    let (label, product) = (plain(label), plain(product));
    !product.is_empty() && (label == product || label.starts_with(&format!("{product} ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Verdict;

    fn gpu(id: &str, troubles: &[&str]) -> Condition {
        let troubles = troubles.iter().map(|trouble| (*trouble).to_owned()).collect();
        Condition { id: id.to_owned(), product: "NVIDIA H100 80GB HBM3".to_owned(), units: 1, troubles }
    }

    fn node(name: &str, told: Told) -> NodeTold {
        NodeTold { name: name.to_owned(), given: 2, held: 0, product: Some("NVIDIA-H100-80GB-HBM3".to_owned()), told }
    }

    fn well() -> NodeTold {
        node("a", Told::Listed(vec![gpu("GPU-1", &[]), gpu("GPU-2", &[])]))
    }

    fn judged(nodes: &[NodeTold]) -> Outcome {
        judge(nodes, "nvidia-smi", "").guarded()
    }

    #[test]
    fn as_many_gpus_of_the_right_kind_pass() {
        let outcome = judged(&[well()]);
        assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.message);
        assert_eq!((outcome.assertions.total, outcome.measurements[0].value), (6, 2.0));
    }

    #[test]
    fn every_disagreement_and_every_trouble_fails_with_node_and_gpu() {
        let listed = |gpus: Vec<Condition>| node("b", Told::Listed(gpus));
        let cases = [
            (listed(vec![gpu("GPU-1", &[])]), "node b: nvidia-smi lists 1 GPUs in a pod that was given 2"),
            (listed(vec![gpu("GPU-1", &[]), gpu("GPU-1", &[])]), "lists a GPU twice"),
            (listed(vec![gpu("GPU-1", &[]), gpu("GPU-2", &["the driver asks for a recovery: Reset"])]), "GPU GPU-2: the driver asks"),
            (
                NodeTold { product: Some("NVIDIA-H200".to_owned()), ..listed(vec![gpu("GPU-1", &[]), gpu("GPU-2", &[])]) },
                "label says NVIDIA-H200",
            ),
            (node("b", Told::Ended(127, "nvidia-smi: not found".to_owned())), "ended with 127: nvidia-smi: not found"),
            (node("b", Told::Unreadable("its root is `html`".to_owned())), "its root is `html`"),
        ];
        for (wrong, words) in cases {
            let outcome = judged(&[well(), wrong]);
            assert!(outcome.verdict == Verdict::Fail && outcome.message.contains(words) && outcome.fix.is_some(), "{}", outcome.message);
        }
    }

    #[test]
    fn a_node_that_is_busy_or_silent_is_an_error_and_names_itself() {
        let busy = judged(&[well(), NodeTold { name: "b".to_owned(), held: 6, ..well() }]);
        assert_eq!(busy.verdict, Verdict::Error(ErrorReason::Busy));
        assert!(busy.message.contains("node b: 6 of 8 GPUs are held") && busy.subjects.seen == ["a"], "{}", busy.message);
        let silent = judged(&[well(), node("b", Told::Kept(ErrorReason::Image, "no image".to_owned()))]);
        assert_eq!(silent.verdict, Verdict::Error(ErrorReason::Image));
        // What is seen to be wrong is not hidden by what could not be seen.
        let both = judged(&[node("a", Told::Listed(vec![])), node("b", Told::Kept(ErrorReason::Image, "no image".to_owned()))]);
        assert_eq!(both.verdict, Verdict::Fail);
    }

    #[test]
    fn labels_are_compared_whatever_stands_between_their_words() {
        assert!(agrees("NVIDIA-H100-80GB-HBM3", "NVIDIA H100 80GB HBM3") && agrees("AMD_Instinct_MI300X_OAM", "AMD Instinct MI300X"));
        assert!(agrees("NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", "NVIDIA A100-SXM4-80GB") && agrees("Tesla-T4-SHARED", "Tesla T4"));
        assert!(!agrees("NVIDIA-H100-80GB-HBM3", "NVIDIA H10") && !agrees("NVIDIA-H100", "") && !agrees("NVIDIA-H200", "NVIDIA H100"));
    }
}
