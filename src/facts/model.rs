//! The facts of one machine as a document: deterministic, each reading explicit, nothing in it that changes by itself.
//!
//! No temperatures, loads, counters, process ids or times. Lists are sorted. Texts are as the machine's own tools and files say them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::facts::reading::Reading;

/// What was seen on one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Facts {
    /// What was looked at: the machine itself, or what a container on it sees.
    pub view: View,
    /// `/proc/sys/kernel/osrelease`.
    pub kernel: Reading<String>,
    /// `/etc/os-release`, or `/usr/lib/os-release`: `ID`, `VERSION_ID` and the others.
    pub os_release: Reading<BTreeMap<String, String>>,
    /// Parameters of the kernel's command line, in their order; a parameter that is given twice is there twice.
    pub cmdline: Reading<Vec<String>>,
    /// Kernel settings by their path, `/proc/sys/net/core/somaxconn`. Those that change by themselves are left out.
    pub sysctl: Reading<BTreeMap<String, String>>,
    /// Loaded kernel modules by name, with the version where the module says one, else empty.
    pub modules: Reading<BTreeMap<String, String>>,
    /// systemd units of interest that are installed, with their properties. A unit that is not installed is not in the list.
    pub units: Reading<BTreeMap<String, BTreeMap<String, String>>>,
    /// Container runtimes by name, with the version that the program says.
    pub runtimes: Reading<BTreeMap<String, Reading<String>>>,
    /// GPUs on the PCI bus, by address: there without a driver, too. An empty list means that the bus was looked at.
    pub pci: Reading<Vec<PciGpu>>,
    /// What the vendors' tools say of drivers and GPUs. An empty list means that the machine has no GPUs.
    pub gpus: Reading<Vec<GpuStack>>,
    /// Physical network interfaces, by name.
    pub nics: Reading<Vec<Nic>>,
    /// RDMA devices, by name.
    pub rdma: Reading<Vec<Rdma>>,
}

/// What facts were read through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// The machine's own files and tools.
    Host,
    /// What a container sees that has the GPUs allocated; the root file system is the container's.
    Container,
}

/// A GPU on the PCI bus.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PciGpu {
    /// Address, e.g. `0000:1b:00.0`.
    pub address: String,
    /// Vendor: `nvidia`, `amd`, `intel`, or the id.
    pub vendor: String,
    /// Device id, e.g. `0x2330`.
    pub device: String,
    /// Class, e.g. `0x030200`.
    pub class: String,
    /// The driver bound to it; empty where none is.
    pub driver: String,
    /// NUMA node; empty where the machine says none.
    pub numa_node: String,
}

/// What one vendor's tool says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GpuStack {
    /// Vendor: `nvidia`, `amd`.
    pub vendor: String,
    /// The tool that was asked: `nvidia-smi`, `amd-smi`.
    pub tool: String,
    /// Version of the kernel-mode driver.
    pub driver: Reading<String>,
    /// Version of the compute interface that the user-mode driver offers: CUDA or ROCm.
    pub compute: Reading<String>,
    /// Each GPU that the tool lists, by PCI address.
    pub gpus: Reading<Vec<Gpu>>,
}

/// One GPU as its vendor's tool says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gpu {
    /// UUID.
    pub uuid: Reading<String>,
    /// PCI address as Linux writes it, `0000:1b:00.0`.
    pub pci: Reading<String>,
    /// Product name.
    pub product: Reading<String>,
    /// Architecture, e.g. `Hopper`, `gfx942`.
    pub architecture: Reading<String>,
    /// VBIOS version.
    pub vbios: Reading<String>,
    /// Firmware version of the GPU's own processor.
    pub firmware: Reading<String>,
    /// Memory, e.g. `81559 MiB`.
    pub memory: Reading<String>,
    /// ECC as it is now: `enabled`, `disabled`.
    pub ecc: Reading<String>,
    /// ECC after the next reset.
    pub ecc_pending: Reading<String>,
    /// Partitioning as it is now: MIG `enabled` or `disabled`; AMD's compute partition, `spx`.
    pub partition: Reading<String>,
    /// Partitioning after the next reset; AMD's memory partition, `nps1`.
    pub partition_pending: Reading<String>,
    /// Partitions that exist: MIG profiles, sorted.
    pub partitions: Reading<Vec<String>>,
    /// Persistence mode: `enabled`, `disabled`.
    pub persistence: Reading<String>,
    /// Addressing mode, e.g. `None`, `HMM`, `ATS`.
    pub addressing: Reading<String>,
    /// Whether a display can be, and is, driven: `enabled`, `disabled`.
    pub display: Reading<String>,
    /// Whether a display is driven.
    pub display_active: Reading<String>,
    /// PCIe as it can be at most here, e.g. `gen 5 x16`.
    pub pcie: Reading<String>,
    /// Width of the PCIe link as it is now, e.g. `x16`.
    pub pcie_width: Reading<String>,
    /// Links to other GPUs (NVLink, XGMI), by number.
    pub links: Reading<Vec<Link>>,
    /// State of the fabric that the links go to.
    pub fabric: Reading<BTreeMap<String, String>>,
    /// The highest clocks by domain, e.g. `sm` → `1980 MHz`, and those that applications are set to, `applications.sm`.
    pub clocks: Reading<BTreeMap<String, String>>,
    /// The power cap, e.g. `700.00 W`.
    pub power_cap: Reading<String>,
    /// The highest power cap that may be set.
    pub power_cap_max: Reading<String>,
}

/// One link of a GPU.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Link {
    /// Its number on this GPU.
    pub index: u32,
    /// `active`, `inactive`, or what the tool says.
    pub state: String,
    /// Speed as the tool says it; empty for a link that is not active.
    pub speed: String,
}

/// A network interface with a device behind it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Nic {
    /// Name, e.g. `eth0`.
    pub name: String,
    /// The driver bound to the device.
    pub driver: String,
    /// PCI address; empty where it is on another bus.
    pub pci: String,
    /// `up`, `down`.
    pub state: String,
    /// Speed in Mbit/s; empty where the interface says none.
    pub speed: String,
    /// Maximum transmission unit.
    pub mtu: String,
    /// NUMA node; empty where the machine says none.
    pub numa_node: String,
}

/// An RDMA device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rdma {
    /// Name, e.g. `mlx5_0`.
    pub name: String,
    /// Type of the adapter, e.g. `MT4129`.
    pub adapter: String,
    /// Firmware version.
    pub firmware: String,
    /// Board, e.g. `MT_0000000838`.
    pub board: String,
    /// PCI address; empty where it is on another bus.
    pub pci: String,
    /// Ports, by number.
    pub ports: Vec<RdmaPort>,
}

/// A port of an RDMA device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RdmaPort {
    /// Its number.
    pub number: u32,
    /// `active`, `down`, `init`, `armed`.
    pub state: String,
    /// Physical state, e.g. `linkup`.
    pub physical: String,
    /// `infiniband`, `ethernet`.
    pub link_layer: String,
    /// Rate, e.g. `400 Gb/sec (4X NDR)`.
    pub rate: String,
}

impl Facts {
    /// All GPUs that vendors' tools list, by vendor.
    pub fn gpus(&self) -> impl Iterator<Item = (&GpuStack, &Gpu)> {
        self.gpus.value().into_iter().flatten().flat_map(|stack| stack.gpus.value().into_iter().flatten().map(move |gpu| (stack, gpu)))
    }

    /// True if devices were seen on this machine with UUID and PCI address, and the PCI bus has them too: what tells real hardware.
    #[must_use]
    pub fn shows_devices(&self) -> bool {
        let on_bus: Vec<&str> = self.pci.value().into_iter().flatten().map(|gpu| gpu.address.as_str()).collect();
        let seen = |gpu: &Gpu| gpu.uuid.value().is_some() && gpu.pci.value().is_some_and(|address| on_bus.contains(&address.as_str()));
        self.gpus().next().is_some() && self.gpus().all(|(_, gpu)| seen(gpu))
    }
}
