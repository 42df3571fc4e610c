//! On every GPU node the vendor's own tool lists the GPUs that the node says it has, and nothing is wrong with them.

mod judge;

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;

use crate::checks::errand::{self, Gpus, Silence, Voice};
use crate::checks::{Check, Cx, Fidelity, Phase, no_more, probe};
use crate::cluster::{Access, ObjectRef, Place, Query, Scratch};
use crate::error::Result;
use crate::facts::condition;
use crate::limits;
use crate::results::{ErrorReason, Outcome, Verdict};
use crate::snapshot::{Node, Pool, nodes};
use crate::vendor::{Tool, Vendor};

use judge::{NodeTold, Told};

pub(super) static CHECK: Check = Check {
    id: "check-nvidia-smi",
    version: 1,
    title: "The vendor's own tool lists the GPUs that each node says it has, and nothing is wrong with them",
    requirement: None,
    phase: Phase::Deployment,
    gpus: 8,
    access: &[
        Access::read("", "nodes"),
        Access::read("", "pods"),
        Access::read("", "events"),
        Access::read("resource.k8s.io", "resourceslices"),
        Access::read("resource.k8s.io", "resourceclaims"),
        Access::scratch("", "pods"),
        Access::new("", "pods/log", &["get"], Place::Scratch),
        Access::scratch("resource.k8s.io", "resourceclaims"),
    ],
    reads: no_more,
    timeout: Duration::from_secs(1800),
    fidelity: Fidelity::Gpu,
    behavioural: true,
    docs: "\
# What it checks
On every GPU node that is schedulable, ten at a time, a pod that holds all free GPUs of the node runs the vendor's tool (NVIDIA: nvidia-smi, AMD: amd-smi). It ends
well, lists as many GPUs as the pod was given, each once, of the product that the node's label says, and says of none: memory errors that could not be corrected
since the driver was loaded, rows or pages of memory that wait for a reset, a recovery that the driver asks for, an id or name that cannot be read. Where GPUs
are shared by time, the pod holds one. A node that is not ready, or of which somebody holds a GPU, makes it an error; a cordoned one is named. Xid messages are
in the kernel's log, which a pod does not see.

# Why it matters
It is the shortest way through driver, runtime and device plugin to the GPU itself. A tool that runs on one GPU of one node says nothing of the others.

# How to fix it
The tool is missing: the container toolkit or the runtime class. Fewer GPUs than given: look for Xid messages on the node. The image is large: --image-mirror
takes it from a registry nearby.",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Cx<'_>) -> Result<Outcome> {
    let pools = probe::dra_pools(&cx.cluster).await?;
    let everything = Query::all();
    let objects = cx.cluster.list("v1", "Node", &everything).await?;
    let all = nodes::read(&objects, Some(&pools));
    let own: Vec<&Node> = all.iter().filter(|node| node.gpus.any() && node.gpus.vendor.as_ref() == Some(&cx.vendor.name)).collect();
    let selected = |node: &&&Node| cx.pods.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    let subjects: Vec<&Node> = own.iter().filter(|node| !node.unschedulable && node.runs_containers()).filter(selected).copied().collect();
    if subjects.is_empty() {
        let message = format!("of {} nodes with GPUs of {}, none is schedulable and runs containers", own.len(), cx.vendor.name);
        return Ok(Outcome::error(ErrorReason::NoSubject, message).fix("look at the device plugin and the DRA driver; uncordon a node"));
    }
    let Some(scratch) = cx.scratch else {
        let (names, exist) = (subjects.iter().map(|node| node.name.clone()).collect(), subjects.len());
        return Ok(Outcome::pass(format!("{exist} nodes can be looked at")).seen("nodes", names, exist).asserted(exist, exist));
    };
    let dra = probe::dra_api_version(&cx.cluster).await?;
    let pods = cx.cluster.list("v1", "Pod", &everything).await?;
    let claims = match &dra {
        Some(version) => cx.cluster.list(version, "ResourceClaim", &everything).await?,
        None => Vec::new(),
    };
    let owned: Vec<Node> = subjects.iter().map(|node| (*node).clone()).collect();
    let by_resource = probe::free_gpus(&owned, &pods, cx.vendor);
    let visits = subjects.iter().enumerate().map(|(at, node)| {
        let local: Vec<Pool> = pools.iter().filter(|pool| pool.node.as_ref() == Some(&node.name)).cloned().collect();
        let devices = probe::free_devices(&local, &claims, cx.vendor).len() as u64;
        let free = Free { resource: by_resource.get(&node.name).copied().unwrap_or(0), devices, version: dra.clone() };
        visit(cx, scratch, node, at, free)
    });
    // Collected, as a stream of a borrowing closure is not known to be Send.
    let visits: Vec<_> = visits.collect();
    let told: Vec<NodeTold> = futures::stream::iter(visits).buffered(limits::NODE_FACTS_PARALLEL).collect().await;
    let cordoned: Vec<&str> = own.iter().filter(|node| node.unschedulable).map(|node| node.name.as_str()).collect();
    let played = own.iter().filter(|node| !node.runs_containers()).count();
    let left_out = match (cordoned.is_empty(), played) {
        (true, 0) => String::new(),
        (true, _) => format!(" (not looked at: {played} nodes that run no containers)"),
        (false, _) => format!(" (not looked at: cordoned {}, {played} nodes that run no containers)", cordoned.join(", ")),
    };
    let outcome = judge::judge(&told, &cx.vendor.tool.name, &left_out);
    if outcome.verdict == Verdict::Pass {
        return Ok(outcome);
    }
    let events = probe::events(&cx.cluster, &scratch.namespace()).await;
    Ok(outcome.artifact("events", Some("kubectl get events"), events))
}

/// GPUs of a node that nobody holds.
struct Free {
    resource: u64,
    devices: u64,
    version: Option<String>,
}

async fn visit(cx: &Cx<'_>, scratch: &Scratch, node: &Node, at: usize, free: Free) -> NodeTold {
    let gpus = &node.gpus;
    let shared = gpus.replicas.unwrap_or(1) > 1;
    let (offered, left) = if gpus.allocatable.is_some_and(|count| count > 0) {
        (gpus.allocatable.unwrap_or(0), free.resource)
    } else {
        (gpus.dra_devices.unwrap_or(0), free.devices)
    };
    // A share of a GPU shows the whole of it.
    let given = if shared { left.min(1) } else { left };
    let held = if shared { 0 } else { offered - left.min(offered) };
    let product = gpus.product.clone();
    let told = |told: Told| NodeTold { name: node.name.clone(), given, held, product: product.clone(), told };
    if node.conditions.get("Ready").is_none_or(|status| status != "True") {
        return told(Told::Kept(ErrorReason::NoSubject, "it is not Ready".to_owned()));
    }
    if offered == 0 {
        return told(Told::Kept(ErrorReason::NoSubject, "it offers no GPU, by device plugin or by DRA".to_owned()));
    }
    if given == 0 {
        return told(Told::Kept(ErrorReason::Busy, format!("all {offered} GPUs are held")));
    }
    let count = u32::try_from(given).unwrap_or(u32::MAX);
    let errand = Errand {
        cx,
        scratch,
        node,
        name: format!("smi-{at}"),
        count,
        version: if gpus.allocatable.is_some_and(|all| all > 0) { None } else { free.version },
    };
    told(errand.run().await)
}

/// One pod with GPUs on one node.
struct Errand<'a> {
    cx: &'a Cx<'a>,
    scratch: &'a Scratch,
    node: &'a Node,
    name: String,
    count: u32,
    /// The served version of DRA, where GPUs are had by a claim.
    version: Option<String>,
}

impl Errand<'_> {
    async fn run(&self) -> Told {
        let claim = match &self.version {
            None => None,
            Some(version) => {
                let request = probe::gpu_request(version, "gpu", &self.cx.vendor.device_class, self.count);
                let claim = json!({
                    "apiVersion": version, "kind": "ResourceClaim", "metadata": {"name": self.name}, "spec": {"devices": {"requests": [request]}},
                });
                match self.scratch.create(claim).await {
                    Ok(claim) => Some(claim),
                    Err(error) => return Told::Kept(ErrorReason::from(&error), error.chain()),
                }
            }
        };
        let mut pod = None;
        let told = self.ask(claim.is_some(), &mut pod).await;
        let well = matches!(told, Told::Listed(_));
        // The pod first: a claim that is in use does not go.
        for object in pod.iter().chain(&claim) {
            if let Err(error) = self.scratch.dispose(object, well).await {
                return Told::Kept(ErrorReason::from(&error), error.chain());
            }
        }
        told
    }

    async fn ask(&self, claimed: bool, made: &mut Option<ObjectRef>) -> Told {
        let vendor = self.cx.vendor;
        let gpus = if claimed { Gpus::Claim(self.name.clone()) } else { Gpus::Resource(self.count) };
        let voice = Voice { name: "tool", script: script(&vendor.tool), gpus, env: Vec::new() };
        let mut pod = errand::pod(self.cx, &self.name, &self.node.name, &[voice]);
        pod["spec"]["containers"][0]["image"] = json!(self.cx.pods.image(&vendor.tool.image));
        pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = json!("512Mi");
        let pod = match errand::create(self.scratch, pod).await {
            Ok(pod) => made.insert(pod).clone(),
            Err(silence) => return kept(silence),
        };
        if let Err(silence) = errand::running(self.cx, &pod).await {
            return kept(silence);
        }
        match errand::words(self.cx, &pod, "tool").await {
            Ok(words) => told(&words, vendor),
            Err(error) => Told::Kept(ErrorReason::from(&error), error.chain()),
        }
    }
}

fn kept(silence: Silence) -> Told {
    match silence {
        Silence::Refused(error) => Told::Kept(ErrorReason::from(&error), error.chain()),
        Silence::Kept(outcome) => match outcome.verdict {
            Verdict::Error(reason) => Told::Kept(reason, outcome.message),
            _ => Told::Kept(ErrorReason::Harness, outcome.message),
        },
    }
}

/// What stands before the code with which a command ended.
const ENDED: &str = "seatrial: ended with ";

/// Runs each command of the tool, and says after each how it ended.
fn script(tool: &Tool) -> String {
    // What it wrote may not end with a line.
    tool.commands.iter().map(|command| format!("{command} 2>&1\ncode=$?\necho\necho \"{ENDED}$code\"\n")).collect()
}

/// Reads what the commands of the tool wrote; pure.
fn told(words: &[String], vendor: &Vendor) -> Told {
    let mut texts = Vec::new();
    let mut text: Vec<&str> = Vec::new();
    for line in words {
        let Some(code) = line.strip_prefix(ENDED) else {
            text.push(line);
            continue;
        };
        match code.parse::<i64>() {
            Ok(0) => texts.push(std::mem::take(&mut text).join("\n")),
            Ok(code) => {
                let last = text.iter().rev().map(|line| line.trim()).find(|line| !line.is_empty()).unwrap_or("it says nothing");
                return Told::Ended(code, last.chars().take(limits::QUOTED_CHARS).collect());
            }
            Err(_) => return Told::Unreadable(format!("it ended with `{}`", code.chars().take(limits::QUOTED_CHARS).collect::<String>())),
        }
    }
    let read = match (vendor.name.as_str(), texts.as_slice()) {
        ("nvidia", [xml]) => condition::of_nvidia(xml),
        ("amd", [listed, measured]) => condition::of_amd(listed, measured),
        _ => Err(format!("{} answers of {} commands", texts.len(), vendor.tool.commands.len())),
    };
    read.map_or_else(Told::Unreadable, Told::Listed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_command_ends_with_its_code_and_its_words_are_read() {
        let (nvidia, amd) = (vendor::named("nvidia").expect("is known"), vendor::named("amd").expect("is known"));
        assert_eq!(script(&nvidia.tool), "nvidia-smi -q -x 2>&1\ncode=$?\necho\necho \"seatrial: ended with $code\"\n");
        let healthy = include_str!("../../../tests/fixtures/facts/nvidia/healthy.xml");
        let words = lines(&format!("{healthy}\n\nseatrial: ended with 0"));
        assert!(matches!(told(&words, nvidia), Told::Listed(gpus) if gpus.len() == 2));
        let failed = lines("Failed to initialize NVML: Driver/library version mismatch\n\nseatrial: ended with 18");
        assert!(matches!(told(&failed, nvidia), Told::Ended(18, words) if words.contains("mismatch")));
        assert!(matches!(told(&lines("No devices were found\nseatrial: ended with 0"), nvidia), Told::Unreadable(_)));
        assert!(matches!(told(&[], nvidia), Told::Unreadable(_)));
        let (listed, measured) =
            (include_str!("../../../tests/fixtures/facts/amd/static.json"), include_str!("../../../tests/fixtures/facts/amd/metric.json"));
        let both = lines(&format!("{listed}\n\nseatrial: ended with 0\n{measured}\n\nseatrial: ended with 0"));
        assert!(matches!(told(&both, amd), Told::Listed(gpus) if gpus.len() == 2));
    }
}
