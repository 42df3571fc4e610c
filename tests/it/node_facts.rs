//! `snapshot --node-facts` on real nodes: what a container sees, what the host has, and every way in which a node does not answer.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::faults::proxied;
use crate::output::{less, user};
use crate::support::cluster::{LeasedCluster, lease};
use crate::support::fault_proxy::{Fault, Rule};
use crate::support::node::{IMAGE, NodePlan, RealNode, STAND_IN};
use crate::support::runs::Workplace;
use crate::support::{Bin, eventually};

/// As nvidia-smi 570 writes it, with what facts are made of.
const XML: &str = "<?xml version=\"1.0\" ?>
<!DOCTYPE nvidia_smi_log SYSTEM \"nvsmi_device_v12.dtd\">
<nvidia_smi_log>
  <driver_version>570.86.15</driver_version><cuda_version>12.8</cuda_version><attached_gpus>1</attached_gpus>
  <gpu id=\"00000000:1B:00.0\">
    <product_name>NVIDIA H100 80GB HBM3</product_name><product_architecture>Hopper</product_architecture>
    <uuid>GPU-6f1c0f3e-0000-4000-8000-000000000000</uuid><vbios_version>96.00.89.00.01</vbios_version>
    <pci><pci_bus_id>00000000:1B:00.0</pci_bus_id></pci>
    <fb_memory_usage><total>81559 MiB</total></fb_memory_usage>
    <ecc_mode><current_ecc>ECC</current_ecc><pending_ecc>Enabled</pending_ecc></ecc_mode>
  </gpu>
</nvidia_smi_log>";

const LINKS: &str = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-6f1c0f3e-0000-4000-8000-000000000000)\n\t Link 0: 26.562 GB/s\n";

/// nvidia-smi of a machine whose GPU has ECC as given.
fn nvidia_smi(ecc: &str) -> String {
    let xml = XML.replace(">ECC<", &format!(">{ecc}<"));
    format!("case \"$1\" in -q) cat <<'END'\n{xml}\nEND\n;; nvlink) cat <<'END'\n{LINKS}END\n;; *) exit 2 ;; esac\n")
}

/// A node with two GPUs of which one is on the bus of this PCI address, too.
fn plan<'a>(cluster: &'a LeasedCluster, name: &str) -> Option<NodePlan<'a>> {
    let bus = "/sys/bus/pci/devices";
    let gpu = |plan: NodePlan<'a>, address: &str| {
        let file = |name: &str| format!("{bus}/{address}/{name}");
        plan.file(&file("vendor"), "0x10de\n")
            .file(&file("device"), "0x2330\n")
            .file(&file("class"), "0x030200\n")
            .file(&file("numa_node"), "0\n")
    };
    let plan = gpu(gpu(NodePlan::new(cluster, name)?, "0000:1b:00.0"), "0000:1c:00.0").laid_over(bus);
    let plan = plan.file("/etc/os-release", "ID=stand-in\nVERSION_ID=\"7\"\n").laid_over("/etc/os-release");
    Some(plan.tool("nvidia-smi", &nvidia_smi("Enabled")))
}

/// What came of asking.
struct Asked {
    /// Facts by node, as in the document.
    facts: BTreeMap<String, Value>,
    /// What their hardware is said to be.
    hardware: BTreeMap<String, Value>,
    stderr: String,
}

impl Asked {
    #[track_caller]
    fn of(bin: Bin, code: i32) -> Self {
        let ran = bin.exits(code);
        let snapshot: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
        let nodes = snapshot["nodes"]["value"].as_array().expect("a list");
        let name = |node: &Value| node["name"].as_str().expect("has a name").to_owned();
        let field = |field: &str| nodes.iter().map(|node| (name(node), node[field].clone())).collect();
        Self { facts: field("facts"), hardware: field("hardware"), stderr: ran.stderr }
    }

    #[track_caller]
    fn value(&self, node: &str) -> &Value {
        let facts = &self.facts[node]["value"];
        assert!(facts.is_object(), "{node}: {:#}\n{}", self.facts[node], self.stderr);
        facts
    }

    /// The one GPU that the node's tool shows.
    #[track_caller]
    fn gpu(&self, node: &str) -> &Value {
        &self.value(node)["gpus"]["value"][0]["gpus"]["value"][0]
    }

    /// Fails unless there are no facts of the node for this reason, in the document and on stderr.
    #[track_caller]
    fn refused(&self, node: &str, why: &str) -> &Self {
        let reason = self.facts[node]["unavailable"].as_str().unwrap_or_else(|| panic!("{node}: {:#}\n{}", self.facts[node], self.stderr));
        assert!(reason.contains(why), "{node}: {reason}");
        assert!(self.stderr.contains(&format!("node {node}: ")), "{}", self.stderr);
        self
    }
}

fn ask(kubeconfig: &Path, node: &str, image: &str, flags: &[&str]) -> Bin {
    let selector = format!("kubernetes.io/hostname={node}");
    let bin = Bin::seatrial().args(["snapshot", "--image", image, "--node-selector", &selector]).args(flags);
    let bin = if flags.iter().any(|flag| flag.starts_with("--node-facts")) { bin } else { bin.args(["--node-facts"]) };
    // A namespace that is there need not be removed, which takes seconds.
    let bin = if flags.contains(&"--namespace") { bin } else { bin.args(["--namespace", "default"]) };
    bin.args([Path::new("--kubeconfig"), kubeconfig])
}

#[track_caller]
fn asked(cluster: &LeasedCluster, node: &RealNode<'_>, flags: &[&str]) -> Asked {
    Asked::of(ask(&cluster.kubeconfig(), node.name(), IMAGE, flags), 0)
}

const RESTRICTED: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: facts, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: small, namespace: facts}
spec: {hard: {pods: '1', limits.memory: 1Gi, limits.cpu: '1', requests.nvidia.com/gpu: '1'}}
";

#[tokio::test(flavor = "multi_thread")]
async fn containers_with_a_gpu_say_what_they_see_restricted_and_within_a_quota() {
    let cluster = lease().await;
    let (Some(first), Some(second)) = (plan(&cluster, "real-1"), plan(&cluster, "real-2")) else { return };
    let (_first, _second) = (first.start(2), second.tool("nvidia-smi", &nvidia_smi("Disabled")).start(1));
    cluster.apply(RESTRICTED);
    cluster.kubectl(&["label", "node", "real-1", "real-2", "pool=real"]);
    let bin = Bin::seatrial().args(["snapshot", "--node-facts", "--image", IMAGE, "--namespace", "facts", "--node-selector", "pool=real"]);
    let asked = Asked::of(bin.args([Path::new("--kubeconfig"), &cluster.kubeconfig()]), 0);

    assert_eq!(asked.value("real-1")["view"], "container");
    assert_eq!(asked.value("real-1")["gpus"]["value"][0]["driver"]["value"], "570.86.15");
    let gpu = asked.gpu("real-1");
    assert_eq!(gpu["uuid"]["value"], "GPU-6f1c0f3e-0000-4000-8000-000000000000");
    assert_eq!((&gpu["pci"]["value"], &gpu["memory"]["value"]), (&"0000:1b:00.0".into(), &"81559 MiB".into()));
    assert_eq!(gpu["links"]["value"][0]["state"], "active");
    // One that is set up otherwise is seen to be.
    assert_eq!((&gpu["ecc"]["value"], &asked.gpu("real-2")["ecc"]["value"]), (&"enabled".into(), &"disabled".into()));
    assert_eq!(asked.value("real-1")["pci"]["value"].as_array().map(Vec::len), Some(2), "the whole bus is seen");
    assert_eq!(asked.hardware["real-1"], "simulated", "devices were seen, and so was the mark");
    for node in ["sim-node-1", "sim-node-4"] {
        asked.refused(node, "not asked for: --node-selector wants pool=real");
    }
    assert_eq!(cluster.left(), "");
    cluster.get(&["namespace", "facts"]);

    // The host's files are another matter there.
    let refused = Asked::of(ask(&cluster.kubeconfig(), "real-1", IMAGE, &["--node-facts=host", "--namespace", "facts"]), 3);
    refused.refused("real-1", "violates PodSecurity");
    assert!(refused.stderr.contains("no node answered"), "{}", refused.stderr);
    assert_eq!(cluster.left(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn sick_tools_and_gpus_are_seen_as_such_and_the_hosts_own_files_are_read_on_request() {
    let cluster = lease().await;
    let Some(plan) = plan(&cluster, "real-1") else { return };
    let node = plan.start(1);
    let gpus = |tool: Option<&str>| {
        match tool {
            Some(script) => node.tool("nvidia-smi", script),
            None => node.without_tool("nvidia-smi"),
        }
        asked(&cluster, &node, &["--node-timeout", "20"]).value("real-1")["gpus"]["value"][0].clone()
    };
    let why = |stack: &Value| stack["gpus"]["unavailable"].as_str().unwrap_or_else(|| panic!("{stack:#}")).to_owned();
    let lost = "echo 'Unable to determine the device handle for GPU0000:1C:00.0: GPU is lost.  Reboot the system to recover this GPU' >&2; exit 15";
    assert!(why(&gpus(Some(lost))).contains("GPU is lost"));
    assert!(why(&gpus(Some("echo garbage"))).contains("did not write the XML"));
    assert!(why(&gpus(Some("sleep 1000"))).contains("did not end within 4.0 s"));
    let driver = "echo \"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\"; exit 9";
    assert!(why(&gpus(Some(driver))).contains("couldn't communicate with the NVIDIA driver"));
    assert!(why(&gpus(None)).contains("2 on the PCI bus, and there is no nvidia-smi to ask"));

    // No facts is not a word about the node: this one holds its only GPU, and is looked at all the same.
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: holder, namespace: default}}\nspec:\n  nodeName: real-1\n  terminationGracePeriodSeconds: 0\n  \
         containers: [{{name: c, image: '{IMAGE}', command: [sleep, '1000'], resources: {{limits: {{nvidia.com/gpu: 1}}}}}}]\n"
    ));
    let busy = Asked::of(ask(&cluster.kubeconfig(), "real-1", IMAGE, &[]), 3);
    busy.refused("real-1", "busy: all 1 GPUs of the node are held");
    let host = asked(&cluster, &node, &["--node-facts=host"]);
    let facts = host.value("real-1");
    assert_eq!(facts["view"], "host");
    assert_eq!(facts["osRelease"]["value"]["ID"], "stand-in", "the node's own, not the image's");
    let addresses: Vec<&str> = facts["pci"]["value"].as_array().expect("a list").iter().filter_map(|gpu| gpu["address"].as_str()).collect();
    assert_eq!(addresses, ["0000:1b:00.0", "0000:1c:00.0"]);
    let names: Vec<&str> = facts["nics"]["value"].as_array().expect("a list").iter().filter_map(|nic| nic["name"].as_str()).collect();
    assert!(!names.contains(&"pods"), "a bridge has no device behind it: {names:?}");
    assert!(facts["kernel"]["value"].is_string() && facts["cmdline"]["value"].is_array(), "{facts:#}");
    assert_eq!(cluster.left(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_answer_is_named_with_the_reason() {
    let cluster = lease().await;
    let Some(plan) = plan(&cluster, "real-1") else { return };
    let node = plan.start(1);
    let kubeconfig = cluster.kubeconfig();
    let fails = |image: &str, flags: &[&str], why: &str| {
        let patience: &[&str] = if flags.contains(&"--node-timeout") { &[] } else { &["--node-timeout", "40"] };
        let flags = [patience, flags].concat();
        Asked::of(ask(&kubeconfig, "real-1", image, &flags), 3).refused("real-1", why);
        assert_eq!(cluster.left(), "");
    };
    fails("registry.invalid/seatrial:1", &[], "the image cannot be had: ErrImagePull");
    fails("registry.k8s.io/pause:3.10", &[], "its pod failed: StartError");
    node.tool("stand-in", "echo starting >&2; echo out of disk >&2; exit 7");
    fails(STAND_IN, &[], "its pod failed: Error, exit code 7; its log ends with: out of disk");
    node.tool("stand-in", "echo I am another program");
    fails(STAND_IN, &[], "the log holds no facts; it ends with: I am another program");
    node.tool("stand-in", "echo still at it; sleep 1000");
    fails(STAND_IN, &["--node-timeout", "8"], "has not ended within 8 s; its log ends with: still at it");
    let without_third = "real \"$@\" | { n=0; while read -r line; do n=$((n+1)); [ $n = 3 ] || echo \"$line\"; done; }";
    node.tool("stand-in", without_third);
    fails(STAND_IN, &[], "the log was cut: piece 3 of");
    node.tool("stand-in", "real \"$@\"; real \"$@\"");
    fails(STAND_IN, &[], "the log holds piece 1 of the facts twice");

    // kwok says of its pods that they run; nobody ever hears of them.
    let flags = ["--node-facts", "--image", IMAGE, "--node-timeout", "15", "--namespace", "default"];
    let silent = Bin::seatrial().args(["snapshot"]).args(flags);
    let silent = Asked::of(silent.args([Path::new("--kubeconfig"), &kubeconfig]), 0);
    silent.value("real-1");
    for node in ["sim-node-1", "sim-node-2", "sim-node-3", "sim-node-4"] {
        let why = "its pod is said to run and has not ended within 15 s; read the log of container facts of pod default/node-facts-<run>-";
        silent.refused(node, why);
    }
    assert_eq!(cluster.left(), "");

    cluster.kubectl(&["taint", "node", "real-1", "dedicated=ml:NoSchedule"]);
    fails(IMAGE, &["--node-timeout", "8"], "its pod does not run after 8 s: the scheduler does not place it");
    Asked::of(ask(&kubeconfig, "real-1", IMAGE, &["--toleration", "dedicated=ml"]), 0).value("real-1");
    cluster.kubectl(&["cordon", "real-1"]);
    fails(IMAGE, &["--toleration", "dedicated=ml"], "the node is cordoned");
    let denied = cluster.kubeconfig_without("create", "pods");
    let ran = ask(&denied, "real-1", IMAGE, &[]).exits(4);
    assert!(ran.stderr.contains("permissions for --node-facts are missing: create pods in namespace default"), "{}", ran.stderr);
    assert_eq!(cluster.left(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_nodes_are_asked_at_a_time_than_is_wanted() {
    let cluster = lease().await;
    // kwok says of its pods that they run; each of the four takes its whole time.
    let flags = ["--node-facts", "--image", IMAGE, "--node-timeout", "3", "--parallel", "2", "--namespace", "default"];
    Bin::seatrial().args(["snapshot"]).args(flags).args([Path::new("--kubeconfig"), &cluster.kubeconfig()]).exits(3);
    let events = cluster.get(&["events", "--namespace", "default", "--field-selector", "reason=Scheduled"]);
    let of_ours = |event: &&Value| event["involvedObject"]["name"].as_str().is_some_and(|name| name.starts_with("node-facts-"));
    let placed = events["items"].as_array().expect("a list").iter().filter(of_ours);
    let mut placed: Vec<jiff::Timestamp> =
        placed.map(|event| event["eventTime"].as_str().and_then(|time| time.parse().ok()).expect("a time")).collect();
    placed.sort();
    let later: Vec<f64> = placed.iter().map(|time| time.duration_since(placed[0]).as_secs_f64()).collect();
    assert!(later.len() == 4 && later[1] < 2.9 && later[2] >= 2.9, "{later:?}");
    assert_eq!(cluster.left(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_of_more_than_a_mebibyte_come_whole_through_the_log_or_not_at_all() {
    let cluster = lease().await;
    let (Some(first), Some(second)) = (plan(&cluster, "real-1"), plan(&cluster, "real-2")) else { return };
    let node = first.start(1);
    // This kubelet cuts logs of containers that run as often as it may.
    let tidy = second.kubelet("containerLogMaxSize: 10Ki\ncontainerLogMaxFiles: 2\ncontainerLogMonitorInterval: 3s\n").start(1);
    let product = "H100 ".repeat(300_000);
    node.data("big.xml", &XML.replace("NVIDIA H100 80GB HBM3", &product));
    node.tool("nvidia-smi", "[ \"$1\" = -q ] && exec cat /opt/gpu/big.xml");
    let (proxy, _folder, kubeconfig) = proxied(&cluster);
    let log = || Rule::new(Fault::CutAfterHeaders).on("GET", "/log?");
    proxy.inject(log().times(1));
    let asked = Asked::of(ask(&kubeconfig, "real-1", IMAGE, &[]), 0);
    assert_eq!(asked.gpu("real-1")["product"]["value"], product.trim());
    let reads = proxy.seen().iter().filter(|request| request.path.contains("/log?")).count();
    assert_eq!(reads, 2, "the read that was cut off is repeated");

    tidy.tool("stand-in", "real \"$@\"; sleep 12");
    Asked::of(ask(&kubeconfig, "real-2", STAND_IN, &["--node-timeout", "40"]), 3).refused("real-2", "the log ");
    proxy.inject(log());
    Asked::of(ask(&kubeconfig, "real-1", IMAGE, &[]), 3).refused("real-1", "read the log of container facts of pod");
    assert_eq!(cluster.left(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_an_asker_that_was_interrupted_or_killed() {
    let cluster = lease().await;
    let Some(plan) = plan(&cluster, "real-1") else { return };
    let _node = plan.tool("stand-in", "sleep 1000").start(1);
    let Some(place) = Workplace::new(&cluster) else { return };
    let flags =
        ["snapshot", "--node-facts", "--image", STAND_IN, "--node-selector", "kubernetes.io/hostname=real-1", "--lease-seconds", "4"];
    let running = || {
        let pods = cluster.get(&["pods", "-A", "-l", "app.kubernetes.io/managed-by=seatrial"]);
        (pods["items"][0]["status"]["phase"] == "Running").then_some(())
    };
    let mut run = place.start(&flags);
    run.until("the pod on the node to run", running);
    run.signal(Signal::INT);
    let stderr = run.exits(130);
    assert!(stderr.contains("interrupted while nodes were asked"), "{stderr}");
    assert_eq!(cluster.left(), "");

    let mut run = place.start(&flags);
    run.until("the pod on the node to run", running);
    run.kill();
    assert!(cluster.left().contains("pod/node-facts-"), "{}", cluster.left());
    eventually("cleanup to find it dead", Duration::from_secs(30), || {
        place.bin(&["cleanup"]).exits(0);
        cluster.left().is_empty().then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_judges_constraints_by_facts_that_it_asks_nodes_for() {
    let cluster = lease().await;
    let Some(plan) = plan(&cluster, "real-1") else { return };
    let _node = plan.start(1);
    let verdict = |path: &str, value: &str, flags: &[&str], code: i32| {
        let bin = Bin::seatrial();
        let constraint = format!("{{name: {path}, value: \"{value}\", quantifier: any}}");
        let recipe = format!(
            "apiVersion: seatrial.dev/v1alpha1\nkind: Recipe\nmetadata: {{name: driver}}\nspec:\n  criteria: {{accelerator: h100}}\n  \
             vendor: nvidia\n  constraints: [{constraint}]\n"
        );
        std::fs::write(bin.folder().join("r.yaml"), recipe).expect("is written");
        let common = ["validate", "-r", "./r.yaml", "--namespace", "default", "--node-selector", "kubernetes.io/hostname=real-1"];
        let ran = bin.args(common).args(flags).args([Path::new("--kubeconfig"), &cluster.kubeconfig()]).exits(code);
        let report: Value = serde_json::from_str(&ran.stdout).expect("is JSON");
        report["results"]["tests"][0]["message"].as_str().expect("text").to_owned()
    };
    let asking = ["--node-facts", "--image", IMAGE];
    assert!(verdict("GPU.smi.driver", ">= 570", &asking, 0).contains("570.86.15"));
    assert!(verdict("GPU.smi.driver", ">= 580", &asking, 1).contains("570.86.15"));
    // No label says it.
    assert!(verdict("GPU.vbios", "96.00.89.00.01", &[], 1).contains("--node-facts"), "nobody asked");
    assert_eq!(cluster.left(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn amd_nodes_are_asked_with_exactly_the_printed_roles() {
    let cluster = lease().await;
    let Some(plan) = NodePlan::new(&cluster, "real-1") else { return };
    let Some(place) = Workplace::new(&cluster) else { return };
    let plan = plan.tool("amd-smi", "exec cat /opt/gpu/$1.json");
    let node = plan.start_with("feature.node.kubernetes.io/amd-gpu=true", "amd.com/gpu=2");
    for (name, text) in [
        ("static", include_str!("../fixtures/facts/amd/static.json")),
        ("list", include_str!("../fixtures/facts/amd/list.json")),
        ("metric", include_str!("../fixtures/facts/amd/metric.json")),
        ("xgmi", include_str!("../fixtures/facts/amd/xgmi.json")),
        ("version", include_str!("../fixtures/facts/amd/version.json")),
    ] {
        node.data(&format!("{name}.json"), text);
    }
    cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: facts}\n");
    let rbac = ["rbac", "conformance", "--recipe", "sim-h100", "--behavioral-tests", "false", "--namespace", "facts", "--node-facts"];
    let roles = Bin::seatrial().args(rbac).args(["--service-account", "default:asker"]).exits(0).stdout;
    let asker = user(&cluster, &place, "asker", &roles);
    eventually("the roles to be seen", Duration::from_secs(20), || {
        cluster.try_kubectl(&asker, &["auth", "can-i", "create", "pods", "-n", "facts", "--quiet"], "").0.then_some(())
    });
    let flags = ["--namespace", "facts"];
    let asked = Asked::of(ask(&asker, "real-1", IMAGE, &flags), 0);
    let stack = &asked.value("real-1")["gpus"]["value"][0];
    assert_eq!((&stack["vendor"], &stack["driver"]["value"]), (&"amd".into(), &"6.10.5".into()));
    assert_eq!(asked.gpu("real-1")["architecture"]["value"], "gfx942");
    for (verb, resource) in [("get", "pods/log"), ("create", "pods")] {
        cluster.apply(&less(&roles, verb, resource));
        eventually("the smaller role to be seen", Duration::from_secs(20), || {
            let ran = ask(&asker, "real-1", IMAGE, &flags).ends();
            ran.stderr.contains(&format!("missing: {verb} {resource} in namespace facts")).then(|| assert_eq!(ran.code, 4))
        });
    }
    assert_eq!(cluster.left(), "");
}
