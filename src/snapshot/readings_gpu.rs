//! Readings of GPUs: what the vendor's tool says, else what labels and devices of DRA pools say.

use crate::facts::{Facts, Gpu, Reading};
use crate::snapshot::model::{Device, Node};
use crate::snapshot::readings::{At, Found, Machine, first};

/// Labels that GPU feature discovery sets: the whole version of the driver, and its parts.
const DRIVER_LABELS: [&str; 4] =
    ["nvidia.com/cuda.driver-version.full", "nvidia.com/cuda.driver.major", "nvidia.com/cuda.driver.minor", "nvidia.com/cuda.driver.rev"];
const CUDA_LABELS: [&str; 3] = ["nvidia.com/cuda.runtime-version.full", "nvidia.com/cuda.runtime.major", "nvidia.com/cuda.runtime.minor"];

/// A reading of a node's GPUs: `GPU.smi.<key>`, `GPU.hardware.<key>`.
pub(super) fn node(machine: &Machine<'_>, subtype: &str, key: &str) -> Found {
    match (subtype, key) {
        ("smi", "driver") => driver(machine),
        ("smi", "cuda-version") => {
            let told = machine.stack(|stack| stack.compute.clone());
            first([(told, machine.tool()), labels(machine, &CUDA_LABELS), attribute(machine, "cudaDriverVersion")])
        }
        ("smi", "gpu-count") => {
            // A GPU that is on the bus and that the tool cannot name does not count.
            let answers = |gpus: &Vec<Gpu>| gpus.iter().filter(|gpu| gpu.uuid.value().is_some()).count();
            let told = machine.stack(|stack| stack.gpus.then(|gpus| Reading::Value(answers(gpus).to_string())));
            first([(told, machine.tool()), advertised(machine)])
        }
        ("smi", "gpu.model") => first_gpu(machine, "model"),
        ("smi", "gpu.product-architecture") => first_gpu(machine, "architecture"),
        ("smi", "gpu.vbios-version") => first_gpu(machine, "vbios"),
        ("smi", "gpu.gsp-firmware-version") => first_gpu(machine, "firmware"),
        ("smi", "gpu.persistence-mode") => capital(first_gpu(machine, "persistence")),
        ("smi", "gpu.addressing-mode") => first_gpu(machine, "addressing"),
        ("smi", "gpu.display-mode") => capital(first_of(machine, |gpu| gpu.display.clone())),
        ("smi", _) => capital(first_of(machine, |gpu| gpu.display_active.clone())),
        _ => hardware(machine, key),
    }
}

/// The kernel-mode driver: by the vendor's tool, by label, by a device of a DRA pool.
pub(super) fn driver(machine: &Machine<'_>) -> Found {
    let told = machine.stack(|stack| stack.driver.clone());
    first([(told, machine.tool()), labels(machine, &DRIVER_LABELS), attribute(machine, "driverVersion")])
}

/// What is on the PCI bus, drivers or not.
fn hardware(machine: &Machine<'_>, key: &str) -> Found {
    let bus = "PCI bus".to_owned();
    let on_bus = |of: fn(&Facts, usize) -> Reading<String>| machine.fact(|facts| facts.pci.then(|gpus| of(facts, gpus.len())));
    match key {
        "gpu-present" => first([(on_bus(|_, count| Reading::Value((count > 0).to_string())), bus), present(machine)]),
        "gpu-count" => first([(on_bus(|_, count| Reading::Value(count.to_string())), bus), advertised(machine)]),
        "driver-loaded" => (on_bus(|facts, _| Reading::Value(driver_bound(facts).to_string())), bus),
        "detection-source" => (on_bus(|_, _| Reading::Value("sysfs".to_owned())), bus),
        _ => first_gpu(machine, "model"),
    }
}

/// True if every GPU on the bus has a driver.
fn driver_bound(facts: &Facts) -> bool {
    facts.pci.value().is_some_and(|gpus| !gpus.is_empty() && gpus.iter().all(|gpu| !gpu.driver.is_empty()))
}

fn present(machine: &Machine<'_>) -> Found {
    (machine.api(|node| Reading::Value(node.has_gpus().to_string())), "labels and resources".to_owned())
}

/// How many GPUs the node advertises.
fn advertised(machine: &Machine<'_>) -> Found {
    let count = |node: &Node| {
        let count = node.gpus.label_count.or_else(|| node.gpus.any().then(|| node.gpus.usable()));
        Reading::of(count.map(|count| count.to_string()), || format!("node {} advertises no GPUs", node.name))
    };
    let labelled = machine.node.is_some_and(|node| node.gpus.label_count.is_some());
    (machine.api(count), if labelled { "label of the GPU count" } else { "resources of the node" }.to_owned())
}

/// The label with a whole version, else the labels of its parts joined by dots.
fn labels(machine: &Machine<'_>, names: &[&str]) -> Found {
    let [whole, parts @ ..] = names else { return (Reading::Unavailable("no label".to_owned()), "labels".to_owned()) };
    let reading = machine.api(|node| {
        let joined = || parts.iter().map(|name| node.labels.get(*name).map(String::as_str)).collect::<Option<Vec<_>>>();
        let value = node.labels.get(*whole).cloned().or_else(|| Some(joined()?.join(".")));
        Reading::of(value, || format!("node {} has no label {whole}", node.name))
    });
    (reading, format!("label {whole}"))
}

/// An attribute of the node's first GPU in a DRA pool.
fn attribute(machine: &Machine<'_>, name: &str) -> Found {
    let value = devices(machine).next().and_then(|device| attribute_of(device, name));
    let reading = Reading::of(value, || format!("no device of node {} has an attribute {name}", machine.name));
    (reading, format!("device attribute {name}"))
}

fn attribute_of(device: &Device, name: &str) -> Option<String> {
    let of_name = |(key, _): &(&String, &String)| key.rsplit_once('/').map_or(key.as_str(), |(_, key)| key) == name;
    device.attributes.iter().find(of_name).map(|(_, value)| value.clone())
}

/// Whole GPUs in the node's DRA pools.
fn devices<'a>(machine: &'a Machine<'_>) -> impl Iterator<Item = &'a Device> {
    let vendors = crate::vendor::all().unwrap_or(&[]);
    let pools = machine.pools.iter().filter_map(|pool| Some((pool, vendors.iter().find(|vendor| vendor.driver == pool.driver)?)));
    pools.flat_map(|(pool, vendor)| {
        let whole = |device: &&Device| attribute_of(device, "type").is_none_or(|kind| vendor.device_types.contains(&kind));
        pool.devices.iter().filter(whole)
    })
}

/// A reading of the node's first GPU, with what stands in for facts.
fn first_gpu(machine: &Machine<'_>, key: &str) -> Found {
    let told = first_of(machine, |gpu| of_gpu(gpu, key));
    let label = match key {
        "model" => {
            (machine.api(|node| Reading::of(node.gpus.product.clone(), || no_facts_but("product"))), "label of the product".to_owned())
        }
        _ => (Reading::Unavailable(no_facts_but(key)), "labels".to_owned()),
    };
    let name = dra_name(key);
    first([Some(told), name.map(|name| attribute(machine, name)), Some(label)].into_iter().flatten())
}

fn no_facts_but(what: &str) -> String {
    format!("no label says the {what}")
}

fn first_of(machine: &Machine<'_>, of: impl Fn(&Gpu) -> Reading<String>) -> Found {
    let reading = machine.stack(|stack| {
        stack.gpus.then(|gpus| gpus.first().map_or_else(|| Reading::Unavailable(format!("{} lists no GPU", stack.tool)), &of))
    });
    (reading, machine.tool())
}

/// `enabled` as nvidia-smi writes it.
fn capital((reading, source): Found) -> Found {
    let capital = |text: String| {
        let mut letters = text.chars();
        letters.next().map_or_else(String::new, |letter| letter.to_uppercase().chain(letters).collect())
    };
    (reading.map(capital), source)
}

/// What a DRA driver calls what we call so.
fn dra_name(key: &str) -> Option<&'static str> {
    Some(match key {
        "uuid" => "uuid",
        "model" => "productName",
        "architecture" => "architecture",
        "driver" => "driverVersion",
        _ => return None,
    })
}

/// One reading for each GPU of a machine: by its tool, else by its DRA pools.
pub(super) fn read(machine: &Machine<'_>, key: &str) -> Vec<At> {
    let told = machine.fact(|facts| match &facts.gpus {
        Reading::Unavailable(why) => Reading::Unavailable(why.clone()),
        Reading::Value(stacks) => {
            // A tool that could not tell of its GPUs is a reading of its own.
            let silent =
                stacks.iter().filter_map(|stack| Some(at(machine, None, Reading::Unavailable(stack.gpus.unavailable()?.to_owned()))));
            let gpus = facts.gpus().enumerate().map(|(index, (stack, gpu))| {
                let name = gpu.pci.value().or(gpu.uuid.value()).cloned().unwrap_or_else(|| index.to_string());
                let reading = if key == "driver" { stack.driver.clone() } else { of_gpu(gpu, key) };
                At { source: stack.tool.clone(), ..at(machine, Some(&name), reading) }
            });
            Reading::Value(gpus.chain(silent).collect::<Vec<_>>())
        }
    });
    match told {
        Reading::Value(found) if !found.is_empty() => found,
        Reading::Value(_) => vec![at(machine, None, Reading::Unavailable("the machine has no GPUs".to_owned()))],
        Reading::Unavailable(why) => {
            let of_pool = |device: &Device| {
                let value = match key {
                    "memory" => device.capacity.get("memory").cloned(),
                    _ => dra_name(key).and_then(|name| attribute_of(device, name)),
                };
                let reading = Reading::of(value, || why.clone());
                At { source: "DRA pool".to_owned(), ..at(machine, Some(&device.name), reading) }
            };
            let found: Vec<At> = devices(machine).map(of_pool).collect();
            if found.is_empty() { vec![at(machine, None, Reading::Unavailable(why.clone()))] } else { found }
        }
    }
}

fn at(machine: &Machine<'_>, gpu: Option<&str>, reading: Reading<String>) -> At {
    let subject = gpu.map_or_else(|| machine.subject(), |gpu| format!("{} GPU {gpu}", machine.subject()));
    At { subject, reading, source: machine.tool() }
}

/// A GPU's reading by its key in an address.
pub(super) fn of_gpu(gpu: &Gpu, key: &str) -> Reading<String> {
    let links = |state: fn(&str) -> bool| {
        gpu.links.then(|links| Reading::Value(links.iter().filter(|link| state(&link.state)).count().to_string()))
    };
    match key {
        "addressing" => gpu.addressing.clone(),
        "architecture" => gpu.architecture.clone(),
        "ecc" => gpu.ecc.clone(),
        "ecc-pending" => gpu.ecc_pending.clone(),
        "fabric-state" => gpu.fabric.then(|fabric| Reading::of(fabric.get("state").cloned(), || "the fabric has no state".to_owned())),
        "firmware" => gpu.firmware.clone(),
        "links-active" => links(|state| state == "active"),
        "links-inactive" => links(|state| state != "active"),
        "memory" => gpu.memory.clone(),
        "mig-mode" => gpu.partition.clone(),
        "mig-mode-pending" => gpu.partition_pending.clone(),
        "model" => gpu.product.clone(),
        "pcie" => gpu.pcie.clone(),
        "pcie-width" => gpu.pcie_width.clone(),
        "persistence" => gpu.persistence.clone(),
        "power-cap" => gpu.power_cap.clone(),
        "power-cap-max" => gpu.power_cap_max.clone(),
        "uuid" => gpu.uuid.clone(),
        "vbios" => gpu.vbios.clone(),
        _ => Reading::Unavailable(format!("a GPU has no {key}")),
    }
}
