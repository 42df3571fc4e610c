//! Facts of stand-in machines: trees of files and scripts for tools, healthy and sick.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seatrial::constraints::Over;
use seatrial::facts::{self, Facts, Reading, Root, View};
use seatrial::snapshot::{Address, Hardware, Host, Snapshot, groups, show};
use tempfile::TempDir;

use crate::fixture;

/// A machine that is a directory.
struct Machine {
    folder: TempDir,
}

impl Machine {
    /// A machine with a kernel, a system, a network card, an RDMA device, and no GPUs.
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().expect("a directory") };
        let files = [
            ("/proc/sys/kernel/osrelease", "6.8.0-1024-aws\n"),
            ("/proc/sys/kernel/hostname", "gpu-node-1\n"),
            ("/proc/sys/kernel/random/uuid", "changes\n"),
            ("/proc/sys/net/core/somaxconn", "4096\n"),
            ("/proc/sys/net/ipv4/conf/all/rp_filter", "0\n"),
            ("/proc/sys/net/ipv4/conf/eth0/rp_filter", "1\n"),
            ("/proc/sys/net/ipv4/conf/veth12ab/rp_filter", "1\n"),
            ("/proc/sys/net/netfilter/nf_conntrack_count", "77\n"),
            ("/proc/cmdline", "BOOT_IMAGE=/vmlinuz console=tty0 console=ttyS0 iommu=pt module=\"a b\"\n"),
            ("/proc/modules", "nvidia 56807424 10 - Live 0x0\nmlx5_core 1 0 - Live 0x0\n"),
            ("/sys/module/mlx5_core/version", "24.10\n"),
            ("/etc/os-release", "ID=ubuntu\nVERSION_ID=\"24.04\"\nPRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\n"),
            ("/sys/class/net/eth0/device/numa_node", "0\n"),
            ("/sys/class/net/eth0/operstate", "up\n"),
            ("/sys/class/net/eth0/speed", "100000\n"),
            ("/sys/class/net/eth0/mtu", "9001\n"),
            ("/sys/class/net/lo/operstate", "unknown\n"),
            ("/sys/class/infiniband/mlx5_0/hca_type", "MT4129\n"),
            ("/sys/class/infiniband/mlx5_0/fw_ver", "28.39.1002\n"),
            ("/sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE\n"),
            ("/sys/class/infiniband/mlx5_0/ports/1/phys_state", "5: LinkUp\n"),
            ("/sys/class/infiniband/mlx5_0/ports/1/link_layer", "InfiniBand\n"),
            ("/sys/class/infiniband/mlx5_0/ports/1/rate", "400 Gb/sec (4X NDR)\n"),
        ];
        for (path, text) in files {
            machine.file(path, text);
        }
        fs::create_dir_all(machine.path("/sys/bus/pci/devices")).expect("a bus");
        fs::create_dir_all(machine.path("/tools")).expect("a directory");
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("is written");
        self
    }

    /// Puts a device on the bus.
    fn device(&self, address: &str, vendor: &str, class: &str, driver: Option<&str>) -> &Self {
        let folder = format!("/sys/bus/pci/devices/{address}");
        self.file(&format!("{folder}/vendor"), vendor).file(&format!("{folder}/class"), class);
        self.file(&format!("{folder}/device"), "0x2330").file(&format!("{folder}/numa_node"), "-1\n");
        if let Some(driver) = driver {
            let target = self.path(&format!("/sys/bus/pci/drivers/{driver}"));
            fs::create_dir_all(&target).expect("a directory");
            symlink(target, self.path(&format!("{folder}/driver"))).expect("a link");
        }
        self
    }

    /// Two NVIDIA GPUs, and the screen of the board's management controller, which is none.
    fn two_gpus(&self) -> &Self {
        self.device("0000:1b:00.0", "0x10de\n", "0x030200\n", Some("nvidia")).device(
            "0000:43:00.0",
            "0x10de\n",
            "0x030200\n",
            Some("nvidia"),
        );
        self.device("0000:02:00.0", "0x1a03\n", "0x030000\n", None)
    }

    /// A tool that is a script.
    fn tool(&self, name: &str, script: &str) -> &Self {
        let path = self.path(&format!("/tools/{name}"));
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("can run");
        self
    }

    /// An nvidia-smi that prints a file.
    fn nvidia(&self, log: &str) -> &Self {
        let (log, links) = (fixture(&format!("facts/nvidia/{log}")), fixture("facts/nvidia/nvlink.txt"));
        let script = format!(
            "case \"$*\" in\n'-q -x') cat '{}';;\n'nvlink --status') cat '{}';;\n*) exit 2;;\nesac",
            log.display(),
            links.display()
        );
        self.tool("nvidia-smi", &script)
    }

    fn root(&self) -> Root {
        Root { patience: Duration::from_secs(20), ..Root::at(self.folder.path(), vec![self.path("/tools")], View::Host) }
    }

    async fn facts(&self) -> Facts {
        facts::collect(&self.root()).await
    }
}

fn snapshot(facts: Facts) -> Snapshot {
    let mut snapshot = Snapshot::without_cluster("no cluster was asked");
    snapshot.host = Some(Host { name: "gpu-node-1".to_owned(), facts });
    snapshot.settle_hardware();
    snapshot
}

fn read(snapshot: &Snapshot, address: &str) -> Vec<String> {
    let found = snapshot.readings(&Address::parse(address).expect(address), None);
    found
        .into_iter()
        .map(|at| at.reading.value().cloned().unwrap_or_else(|| format!("!{}", at.reading.unavailable().unwrap_or_default())))
        .collect()
}

#[tokio::test]
async fn a_healthy_machine_is_read_whole_and_reads_the_same_twice() {
    let machine = Machine::new();
    machine.two_gpus().nvidia("healthy.xml").tool("containerd", "echo containerd github.com/containerd/containerd v1.7.24 abc");
    machine.tool(
        "systemctl",
        "printf 'Id=kubelet.service\\nLoadState=loaded\\nActiveState=active\\n\\nId=docker.service\\nLoadState=not-found\\n'",
    );
    let facts = machine.facts().await;
    assert_eq!(facts, machine.facts().await, "nothing in it changes by itself");
    let snapshot = snapshot(facts.clone());
    let expected = [
        ("OS.release.VERSION_ID", "24.04"),
        ("OS.sysctl./proc/sys/kernel/osrelease", "6.8.0-1024-aws"),
        ("OS.sysctl./proc/sys/net/core/somaxconn", "4096"),
        ("OS.kmod.nvidia", "true"),
        ("OS.kmod.amdgpu", "false"),
        ("OS.grub.console", "tty0 ttyS0"),
        ("OS.grub.module", "a b"),
        ("SystemD.kubelet.service.ActiveState", "active"),
        ("GPU.smi.driver", "570.86.15"),
        ("GPU.smi.cuda-version", "12.8"),
        ("GPU.smi.gpu-count", "2"),
        ("GPU.smi.gpu.model", "NVIDIA H100 80GB HBM3"),
        ("GPU.smi.gpu.persistence-mode", "Enabled"),
        ("GPU.smi.gpu.display-active", "Disabled"),
        ("GPU.hardware.gpu-count", "2"),
        ("GPU.hardware.driver-loaded", "true"),
        ("Deployment.gpu-driver.version", "570.86.15"),
    ];
    for (address, value) in expected {
        assert_eq!(read(&snapshot, address), [value], "{address}");
    }
    for (address, values) in [
        ("GPU.vbios", ["96.00.89.00.01", "96.00.89.00.01"]),
        ("GPU.ecc", ["enabled", "enabled"]),
        ("GPU.mig-mode", ["disabled", "disabled"]),
        ("GPU.memory", ["81559 MiB", "81559 MiB"]),
        ("GPU.power-cap", ["700.00 W", "700.00 W"]),
        ("GPU.pcie", ["gen 5 x16", "gen 5 x16"]),
        ("GPU.links-active", ["18", "17"]),
        ("GPU.links-inactive", ["0", "1"]),
        ("GPU.fabric-state", ["Completed", "Completed"]),
        ("GPU.driver", ["570.86.15", "570.86.15"]),
    ] {
        assert_eq!(read(&snapshot, address), values, "{address}");
    }
    let whole = snapshot.readings(&Address::parse("GPU.vbios").expect("an address"), Some(Over::Nodes));
    assert_eq!((whole.len(), whole[0].reading.value().map(String::as_str)), (1, Some("96.00.89.00.01")));
    assert!(read(&snapshot, "SystemD.docker.service.ActiveState")[0].starts_with("!docker.service is not installed"));
    assert_eq!(snapshot.cluster.hardware, Hardware::Real, "a probe saw devices with UUID and PCI address");
    let sysctl = facts.sysctl.value().expect("are read");
    assert!(
        sysctl.contains_key("/proc/sys/net/ipv4/conf/eth0/rp_filter")
            && !sysctl.keys().any(|key| key.contains("veth") || key.contains("uuid"))
    );
    let nics = facts.nics.value().expect("are read");
    assert_eq!((nics.len(), nics[0].speed.as_str(), nics[0].mtu.as_str()), (1, "100000", "9001"));
    let rdma = facts.rdma.value().expect("are read");
    assert_eq!(
        (rdma[0].firmware.as_str(), rdma[0].ports[0].state.as_str(), rdma[0].ports[0].rate.as_str()),
        ("28.39.1002", "active", "400 Gb/sec (4X NDR)")
    );
    assert_eq!(facts.runtimes.value().expect("are read")["containerd"], Reading::Value("1.7.24".to_owned()));
    let clocks = facts.gpus().next().and_then(|(_, gpu)| gpu.clocks.value().cloned()).expect("are read");
    assert_eq!((clocks["sm"].as_str(), clocks["applications.mem"].as_str()), ("1980 MHz", "2619 MHz"));
    let document = serde_json::to_string(&facts).expect("JSON");
    for changing in ["345 MHz", "71.21", "31 C", "81005", "450 KB", "2026"] {
        assert!(!document.contains(changing), "{changing} changes by itself");
    }
}

#[tokio::test]
async fn what_is_sick_is_seen_and_no_value_is_taken_for_one() {
    let machine = Machine::new();
    let snapshot = snapshot(machine.two_gpus().nvidia("sick.xml").facts().await);
    assert_eq!(read(&snapshot, "GPU.ecc"), ["disabled", "!nvidia-smi says `ERR!`"]);
    assert_eq!(read(&snapshot, "GPU.uuid")[1], "!nvidia-smi says `[GPU is lost]`");
    assert_eq!(read(&snapshot, "GPU.pcie-width")[0], "x8");
    assert_eq!(read(&snapshot, "GPU.fabric-state")[0], "In Progress");
    assert_eq!(read(&snapshot, "GPU.smi.gpu-count"), ["1"], "a lost GPU does not count");
    assert_eq!(read(&snapshot, "GPU.hardware.gpu-count"), ["2"]);
    assert_ne!(snapshot.cluster.hardware, Hardware::Real);
    let groups = groups::groups(&snapshot);
    assert_eq!(groups[0].fingerprint["vbios"], "96.00.89.00.01 ×1, not known ×1");
}

#[tokio::test]
async fn a_gpu_that_the_bus_has_and_the_tool_has_not_is_named() {
    let machine = Machine::new();
    let snapshot = snapshot(machine.two_gpus().nvidia("one-of-two.xml").facts().await);
    let uuids = read(&snapshot, "GPU.uuid");
    assert_eq!(uuids[1], "!nvidia-smi does not list the GPU at 0000:43:00.0, which is on the PCI bus with driver nvidia");
    assert!(show::lines(&snapshot).iter().any(|line| line.contains("does not list the GPU at 0000:43:00.0")));
    let inside = Root { view: View::Container, ..machine.root() };
    let inside = facts::collect(&inside).await;
    assert_eq!(inside.gpus().count(), 1, "a container has the GPUs that it was given");
}

#[tokio::test]
async fn mig_and_newer_spellings_are_read() {
    let machine = Machine::new();
    let facts = machine.device("0000:1b:00.0", "0x10de", "0x030200", Some("nvidia")).nvidia("mig.xml").facts().await;
    let (_, gpu) = facts.gpus().next().expect("one GPU");
    assert_eq!(gpu.partition, Reading::Value("enabled".to_owned()));
    assert_eq!(
        gpu.partitions.value().map(Vec::as_slice),
        Some(["gi 7 ci 0 9728 MiB".to_owned(), "gi 8 ci 0 9728 MiB".to_owned()].as_slice())
    );
    let snapshot = snapshot(machine.nvidia("umd.xml").facts().await);
    assert_eq!(
        (read(&snapshot, "GPU.smi.driver"), read(&snapshot, "GPU.smi.cuda-version")),
        (vec!["590.44.01".to_owned()], vec!["13.1".to_owned()])
    );
}

#[tokio::test]
async fn no_gpu_and_could_not_look_are_different() {
    let machine = Machine::new();
    let none = machine.facts().await;
    assert_eq!((none.pci.value().map(Vec::len), none.gpus.value().map(Vec::len)), (Some(0), Some(0)), "looked, and there are none");
    assert!(read(&snapshot(none), "GPU.smi.driver")[0].contains("the machine has no GPUs"));

    fs::remove_dir_all(machine.path("/sys")).expect("is removed");
    let blind = machine.facts().await;
    assert!(
        blind.gpus.unavailable().is_some_and(|why| why.starts_with("could not look for GPUs: there is no /sys/bus/pci/devices")),
        "{:?}",
        blind.gpus
    );
    let rest = [blind.nics.unavailable(), blind.pci.unavailable(), blind.units.unavailable(), blind.rdma.unavailable()];
    assert!(rest.iter().all(Option::is_some), "{rest:?}");

    let machine = Machine::new();
    let no_tool = machine.two_gpus().facts().await;
    let stacks = no_tool.gpus.value().expect("was looked");
    assert!(
        stacks[0].gpus.unavailable().is_some_and(|why| why.starts_with("2 on the PCI bus, and there is no nvidia-smi to ask")),
        "{stacks:?}"
    );
}

#[tokio::test]
async fn tools_that_fail_hang_flood_or_write_garbage_are_reasons_and_never_values() {
    let not_loaded = fixture("facts/nvidia/not-loaded.txt");
    let sick = [
        (format!("cat '{}'; exit 9", not_loaded.display()), "nvidia-smi: NVIDIA-SMI has failed because it couldn't communicate"),
        ("echo garbage".to_owned(), "nvidia-smi did not write the XML it was asked for"),
        ("echo '<nvidia_smi_log><gpu id=\"x\">'".to_owned(), "nvidia-smi did not write the XML it was asked for"),
        ("sleep 100 & sleep 100".to_owned(), "nvidia-smi did not end within 0.5 s"),
        ("head -c 20000000 /dev/zero".to_owned(), "nvidia-smi said more than 8388608 bytes"),
        ("kill -9 $$".to_owned(), "nvidia-smi: nothing"),
    ];
    for (script, reason) in sick {
        let machine = Machine::new();
        machine.two_gpus().tool("nvidia-smi", &script);
        let patience = if script.starts_with("sleep") { Duration::from_millis(500) } else { Duration::from_secs(20) };
        let began = Instant::now();
        let facts = facts::collect(&Root { patience, ..machine.root() }).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{script}");
        let stack = &facts.gpus.value().expect("was looked")[0];
        let why = stack.gpus.unavailable().expect("no value");
        assert!(why.starts_with(reason), "{script}: {why}");
        assert_ne!(snapshot(facts.clone()).cluster.hardware, Hardware::Real);
    }
}

#[tokio::test]
async fn amd_gpus_are_read_in_both_shapes() {
    for shape in ["static.json", "static-wrapped.json"] {
        let machine = Machine::new();
        machine.device("0000:05:00.0", "0x1002\n", "0x120000\n", Some("amdgpu")).device(
            "0000:26:00.0",
            "0x1002\n",
            "0x120000\n",
            Some("amdgpu"),
        );
        let folder = fixture("facts/amd");
        machine.tool("amd-smi", &format!("if [ \"$1\" = static ]; then cat '{0}/{shape}'; else cat '{0}/'$1.json; fi", folder.display()));
        let snapshot = snapshot(machine.facts().await);
        let expected = [
            ("GPU.smi.driver", "6.10.5"),
            ("GPU.smi.cuda-version", "6.3.0"),
            ("GPU.smi.gpu-count", "2"),
            ("GPU.vbios", "022.040.003.043"),
            ("GPU.model", "AMD Instinct MI300X"),
            ("GPU.architecture", "gfx942"),
            ("GPU.ecc", "enabled"),
            ("GPU.mig-mode", "spx"),
            ("GPU.memory", "196592 MB"),
            ("GPU.power-cap", "750 W"),
            ("GPU.links-active", "1"),
            ("GPU.pcie-width", "x16"),
        ];
        for (address, value) in expected {
            assert_eq!(read(&snapshot, address)[0], value, "{shape} {address}");
        }
        assert_eq!(snapshot.cluster.hardware, Hardware::Real);
    }
}

#[tokio::test]
async fn this_machine_itself_can_be_read() {
    let facts = facts::collect(&Root::here(View::Host)).await;
    assert!(facts.kernel.value().is_some_and(|kernel| !kernel.is_empty()));
    assert!(facts.sysctl.value().is_some_and(|settings| settings.keys().any(|key| key.starts_with("/proc/sys/net/"))));
    assert!(Path::new("/proc/cmdline").exists() == facts.cmdline.value().is_some());
}
