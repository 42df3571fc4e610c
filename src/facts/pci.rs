//! GPUs on the PCI bus: there without a driver and without any tool.

use crate::facts::collect::Root;
use crate::facts::model::PciGpu;
use crate::facts::reading::Reading;

/// Vendors of GPUs by PCI id; the screen of a board's management controller is none.
const VENDORS: &[(&str, &str)] = &[("0x10de", "nvidia"), ("0x1002", "amd"), ("0x8086", "intel")];

/// Classes: display controllers, and processing accelerators, which newer AMD GPUs say they are.
const CLASSES: &[&str] = &["0x03", "0x12"];

/// Every GPU on the bus.
pub(super) fn collect(root: &Root) -> Reading<Vec<PciGpu>> {
    let folder = "/sys/bus/pci/devices";
    Reading::from(root.names(folder)).map(|names| {
        let gpu = |address: String| {
            let text = |file: &str| root.text_or_empty(&format!("{folder}/{address}/{file}"));
            let class = text("class");
            if !CLASSES.iter().any(|prefix| class.starts_with(prefix)) {
                return None;
            }
            let vendor = text("vendor");
            let (_, vendor) = VENDORS.iter().find(|(id, _)| *id == vendor)?;
            let driver = root.link(&format!("{folder}/{address}/driver")).unwrap_or_default();
            let (device, numa_node) = (text("device"), numa(&text("numa_node")));
            Some(PciGpu { address: address.to_lowercase(), vendor: (*vendor).to_owned(), device, class, driver, numa_node })
        };
        names.into_iter().filter_map(gpu).collect()
    })
}

/// A NUMA node; the kernel says -1 where the machine has none.
pub(super) fn numa(text: &str) -> String {
    if text == "-1" { String::new() } else { text.to_owned() }
}
