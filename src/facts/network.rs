//! Network interfaces and RDMA devices, by sysfs.

use crate::facts::collect::Root;
use crate::facts::model::{Nic, Rdma, RdmaPort};
use crate::facts::pci::numa;
use crate::facts::reading::Reading;

/// Interfaces with a device behind them. Virtual functions are left out: they move into pods and back.
pub(super) fn nics(root: &Root) -> Reading<Vec<Nic>> {
    let folder = "/sys/class/net";
    Reading::from(root.names(folder)).map(|names| {
        let nic = |name: String| {
            let path = |file: &str| format!("{folder}/{name}/{file}");
            if !root.join(&path("device")).exists() || root.join(&path("device/physfn")).exists() {
                return None;
            }
            let text = |file: &str| root.text_or_empty(&path(file));
            // An interface that is down says -1, or that it has no speed.
            let speed = Some(text("speed")).filter(|speed| !speed.starts_with('-')).unwrap_or_default();
            Some(Nic {
                driver: root.link(&path("device/driver")).unwrap_or_default(),
                pci: address(root, &path("device")),
                state: text("operstate"),
                speed,
                mtu: text("mtu"),
                numa_node: numa(&text("device/numa_node")),
                name,
            })
        };
        names.into_iter().filter_map(nic).collect()
    })
}

/// RDMA devices with their ports; none where the machine has no such class.
pub(super) fn rdma(root: &Root) -> Reading<Vec<Rdma>> {
    let folder = "/sys/class/infiniband";
    if root.join("/sys/class").is_dir() && !root.join(folder).exists() {
        return Reading::Value(Vec::new());
    }
    Reading::from(root.names(folder)).map(|names| {
        let device = |name: String| {
            let path = |file: &str| format!("{folder}/{name}/{file}");
            let text = |file: &str| root.text_or_empty(&path(file));
            let numbers = root.names(&path("ports")).unwrap_or_default();
            let mut ports: Vec<RdmaPort> = numbers.iter().filter_map(|number| port(root, &path("ports"), number)).collect();
            ports.sort();
            Rdma {
                adapter: text("hca_type"),
                firmware: text("fw_ver"),
                board: text("board_id"),
                pci: address(root, &path("device")),
                ports,
                name,
            }
        };
        names.into_iter().map(device).collect()
    })
}

fn port(root: &Root, folder: &str, number: &str) -> Option<RdmaPort> {
    let text = |file: &str| root.text_or_empty(&format!("{folder}/{number}/{file}"));
    // `4: ACTIVE`
    let word = |file: &str| text(file).rsplit(": ").next().unwrap_or_default().to_lowercase();
    Some(RdmaPort {
        number: number.parse().ok()?,
        state: word("state"),
        physical: word("phys_state"),
        link_layer: text("link_layer").to_lowercase(),
        rate: text("rate"),
    })
}

/// The PCI address that a link to a device ends in.
fn address(root: &Root, path: &str) -> String {
    let is_address = |name: &String| name.len() == 12 && name.matches(':').count() == 2 && name.contains('.');
    root.link(path).filter(is_address).unwrap_or_default()
}
