//! What the vendors' tools say of GPUs, set beside what the PCI bus has: no GPU, a GPU that is lost, and no answer are three things.

use crate::facts::collect::Root;
use crate::facts::model::{Facts, Gpu, GpuStack, View};
use crate::facts::reading::Reading;
use crate::facts::{amd, nvidia, tool};

/// Asks the tool of each vendor that has GPUs here.
pub(super) async fn collect(root: &Root, facts: &Facts) -> Reading<Vec<GpuStack>> {
    let mut stacks = Vec::new();
    let mut asked = Vec::new();
    for (vendor, name) in [("amd", "amd-smi"), ("nvidia", "nvidia-smi")] {
        let on_bus = facts.pci.value().map(|gpus| gpus.iter().filter(|gpu| gpu.vendor == vendor).count());
        let stack = match (tool::find(root, name), on_bus) {
            (Some(path), _) => {
                let stack = if vendor == "nvidia" { nvidia::ask(root, &path).await } else { amd::ask(root, &path).await };
                if stack.gpus.value().is_none_or(Vec::is_empty) && on_bus == Some(0) {
                    // The tool of a vendor whose GPUs are not here has nothing to say.
                    continue;
                }
                asked.push(name);
                stack
            }
            (None, Some(0) | None) => continue,
            (None, Some(count)) => {
                silent(vendor, name, &format!("{count} on the PCI bus, and there is no {name} to ask: install it, or put it on PATH"))
            }
        };
        stacks.push(complete(stack, facts));
    }
    if stacks.is_empty() && facts.pci.value().is_none() {
        let why = facts.pci.unavailable().unwrap_or("the PCI bus was not read");
        return Reading::Unavailable(format!("could not look for GPUs: {why}, and no vendor's tool answered"));
    }
    Reading::Value(stacks)
}

/// A stack of which nothing could be had.
pub(super) fn silent(vendor: &str, tool: &str, why: &str) -> GpuStack {
    let none = || Reading::Unavailable(why.to_owned());
    GpuStack {
        vendor: vendor.to_owned(),
        tool: tool.to_owned(),
        driver: none(),
        compute: none(),
        gpus: Reading::Unavailable(why.to_owned()),
    }
}

/// Sorts GPUs by address, names those that the bus has and the tool has not, and takes the driver's version from the kernel if need be.
fn complete(mut stack: GpuStack, facts: &Facts) -> GpuStack {
    let module = if stack.vendor == "nvidia" { "nvidia" } else { "amdgpu" };
    let loaded = facts.modules.value().and_then(|modules| modules.get(module)).filter(|version| !version.is_empty());
    if let (Reading::Unavailable(_), Some(version)) = (&stack.driver, loaded) {
        stack.driver = Reading::Value(version.clone());
    }
    let on_bus = facts.pci.value().into_iter().flatten().filter(|gpu| gpu.vendor == stack.vendor);
    if let Reading::Value(gpus) = &mut stack.gpus {
        // A container sees the whole bus, and only the GPUs that it was given.
        for device in on_bus.filter(|_| facts.view == View::Host) {
            if !gpus.iter().any(|gpu| gpu.pci.value() == Some(&device.address)) {
                let driver = if device.driver.is_empty() { "no driver".to_owned() } else { format!("driver {}", device.driver) };
                let why = format!("{} does not list the GPU at {}, which is on the PCI bus with {driver}", stack.tool, device.address);
                gpus.push(Gpu { pci: Reading::Value(device.address.clone()), ..unknown(&why) });
            }
        }
        gpus.sort_by(|a, b| (a.pci.value(), a.uuid.value()).cmp(&(b.pci.value(), b.uuid.value())));
    }
    stack
}

/// A GPU of which nothing is known.
pub(super) fn unknown(why: &str) -> Gpu {
    fn none<T>(why: &str) -> Reading<T> {
        Reading::Unavailable(why.to_owned())
    }
    Gpu {
        uuid: none(why),
        pci: none(why),
        product: none(why),
        architecture: none(why),
        vbios: none(why),
        firmware: none(why),
        memory: none(why),
        ecc: none(why),
        ecc_pending: none(why),
        partition: none(why),
        partition_pending: none(why),
        partitions: none(why),
        persistence: none(why),
        addressing: none(why),
        display: none(why),
        display_active: none(why),
        pcie: none(why),
        pcie_width: none(why),
        links: none(why),
        fabric: none(why),
        clocks: none(why),
        power_cap: none(why),
        power_cap_max: none(why),
    }
}

/// What tools write where they have no value.
const NO_VALUE: &[&str] = &[
    "",
    "n/a",
    "not supported",
    "not available",
    "unknown error",
    "unknown",
    "gpu is lost",
    "gpu requires reset",
    "err!",
    "insufficient permissions",
    "requested functionality has been deprecated",
    "not found",
    "not active",
];

/// What a tool said, unless it only said that it has no value.
pub(super) fn said(tool: &str, text: Option<&str>) -> Reading<String> {
    let Some(text) = text.map(str::trim) else { return Reading::Unavailable(format!("{tool} does not say")) };
    let bare = text.trim_start_matches('[').trim_end_matches(']').to_lowercase();
    if NO_VALUE.contains(&bare.as_str()) {
        return Reading::Unavailable(if bare.is_empty() { format!("{tool} says nothing") } else { format!("{tool} says `{text}`") });
    }
    Reading::Value(text.to_owned())
}

/// A PCI address as Linux writes it: `00000000:1B:00.0` is `0000:1b:00.0`.
pub(super) fn address(text: &str) -> String {
    let lower = text.trim().to_lowercase();
    match lower.split_once(':') {
        Some((domain, rest)) if domain.len() > 4 && domain.is_ascii() => format!("{}:{rest}", &domain[domain.len() - 4..]),
        _ => lower,
    }
}
