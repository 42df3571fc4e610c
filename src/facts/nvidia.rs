//! What nvidia-smi says: its XML, its list of links, and versions however its generations spell them.

use std::collections::BTreeMap;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::facts::collect::Root;
use crate::facts::gpus::{address, said, silent, unknown};
use crate::facts::model::{Gpu, GpuStack, Link};
use crate::facts::reading::Reading;
use crate::facts::tool;
use crate::limits;

const TOOL: &str = "nvidia-smi";

/// Names of the kernel-mode driver's version, in XML and in text.
const DRIVER: &[&str] = &["driver_version", "kmd_version", "kernel_driver_version"];
/// Names of the CUDA version that the user-mode driver offers.
const CUDA: &[&str] = &["cuda_version", "cuda_umd_version", "umd_version"];

/// Asks nvidia-smi.
pub(super) async fn ask(root: &Root, path: &Path) -> GpuStack {
    let told = match tool::run(root, path, &["-q", "-x"]).await {
        Ok(told) => told,
        Err(why) => return silent("nvidia", TOOL, &why),
    };
    let mut log = match read(&told.stdout) {
        Ok(log) => log,
        // Without GPUs it says so in a sentence.
        Err(_) if told.stdout.trim().starts_with("No devices were found") => Log::default(),
        Err(_) if !told.success => return silent("nvidia", TOOL, &format!("{TOOL}: {}", told.first_line())),
        Err(why) => return silent("nvidia", TOOL, &format!("{TOOL} did not write the XML it was asked for: {why}")),
    };
    if (version(&log.top, DRIVER).is_none() || version(&log.top, CUDA).is_none())
        && let Ok(banner) = tool::run(root, path, &["--version"]).await
    {
        for (name, value) in banner_versions(&banner.stdout) {
            log.top.entry(name).or_insert(value);
        }
    }
    let mut gpus: Vec<Gpu> = log.gpus.iter().map(gpu).collect();
    match tool::run(root, path, &["nvlink", "--status"]).await {
        Ok(told) if told.success => set_links(&mut gpus, &told.stdout),
        Ok(told) => all_links(&mut gpus, &format!("{TOOL} nvlink: {}", told.first_line())),
        Err(why) => all_links(&mut gpus, &why),
    }
    GpuStack {
        vendor: "nvidia".to_owned(),
        tool: TOOL.to_owned(),
        driver: said(TOOL, version(&log.top, DRIVER)),
        compute: said(TOOL, version(&log.top, CUDA)),
        gpus: Reading::Value(gpus),
    }
}

/// Its XML, flat: `gpu` elements by path → text.
#[derive(Debug, Default)]
pub(super) struct Log {
    top: BTreeMap<String, String>,
    pub(super) gpus: Vec<BTreeMap<String, String>>,
}

/// Reads the XML. Its DTD is not followed and entities of its own are refused, as the reader knows none.
pub(super) fn read(text: &str) -> Result<Log, String> {
    let mut reader = Reader::from_str(text);
    let mut log = Log::default();
    let mut path: Vec<String> = Vec::new();
    let mut rooted = false;
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                let name = String::from_utf8_lossy(start.name().as_ref()).into_owned();
                if path.is_empty() {
                    if name != "nvidia_smi_log" || rooted {
                        return Err(format!("its root is `{}`", name.escape_debug()));
                    }
                    rooted = true;
                }
                if path.len() == 1 && name == "gpu" {
                    let id = start.try_get_attribute("id").ok().flatten();
                    let id = id.map(|id| String::from_utf8_lossy(&id.value).into_owned()).unwrap_or_default();
                    log.gpus.push(BTreeMap::from([("id".to_owned(), id)]));
                }
                path.push(name);
                if path.len() > limits::XML_DEPTH {
                    return Err("it nests too deep".to_owned());
                }
            }
            Event::End(_) => {
                path.pop();
            }
            Event::Text(text) => {
                let text = text.decode().map_err(|error| error.to_string())?;
                keep(&mut log, &path, text.trim());
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if rooted && path.is_empty() { Ok(log) } else { Err("it ends before its end".to_owned()) }
}

fn keep(log: &mut Log, path: &[String], text: &str) {
    if text.is_empty() {
        return;
    }
    match path {
        [_, rest @ ..] if rest.first().is_some_and(|name| name == "gpu") => {
            if let Some(gpu) = log.gpus.last_mut() {
                let key = rest[1..].join("/");
                // Elements that repeat are kept one by one, `mig_devices/mig_device/…`.
                match gpu.get_mut(&key) {
                    Some(value) => {
                        value.push('\n');
                        value.push_str(text);
                    }
                    None => {
                        gpu.insert(key, text.to_owned());
                    }
                }
            }
        }
        [_, name] => {
            log.top.insert(name.clone(), text.to_owned());
        }
        _ => {}
    }
}

fn version<'a>(top: &'a BTreeMap<String, String>, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| top.get(*name)).map(String::as_str)
}

/// Versions of a banner or of `--version`: `Driver Version: 570.86`, `KMD Version : 590.44`, `CUDA UMD Version: 13.1`.
fn banner_versions(text: &str) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    for field in text.lines().flat_map(|line| line.split(['|'])).flat_map(fields) {
        if let Some((name, value)) = field.split_once(':') {
            let name = name.trim().to_lowercase().replace([' ', '-'], "_");
            let value = value.split_whitespace().next().unwrap_or_default();
            // The first field of a banner comes after the tool's own name.
            let names = if name.contains("cuda") { CUDA } else { DRIVER };
            let known = names.iter().find(|known| name == **known || name.ends_with(&format!("_{known}")));
            if let Some(known) = known.filter(|_| !value.is_empty()) {
                versions.entry((*known).to_owned()).or_insert_with(|| value.to_owned());
            }
        }
    }
    versions
}

/// A banner has several fields on one line, apart by spaces: each `<name> Version: <value>`.
fn fields(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut fields: Vec<String> = Vec::new();
    let mut name: Vec<&str> = Vec::new();
    let mut value_next = false;
    for word in words {
        if value_next && word != ":" {
            fields.push(format!("{}:{word}", name.join(" ")));
            name.clear();
            value_next = false;
        } else if let Some(last) = word.strip_suffix(':') {
            name.push(last);
            value_next = true;
        } else if word == ":" {
            value_next = true;
        } else {
            name.push(word);
        }
    }
    fields.into_iter().map(|field| field.trim_start_matches(' ').to_owned()).collect()
}

fn gpu(log: &BTreeMap<String, String>) -> Gpu {
    let text = |key: &str| said(TOOL, log.get(key).map(String::as_str));
    let any = |keys: &[&str]| said(TOOL, keys.iter().find_map(|key| log.get(*key)).map(String::as_str));
    let word = |key: &str| text(key).map(|text| text.to_lowercase());
    let pci = said(TOOL, log.get("pci/pci_bus_id").or_else(|| log.get("id")).map(String::as_str)).map(|text| address(&text));
    let generation = any(&["pci/pci_gpu_link_info/pcie_gen/max_link_gen", "pci/pci_gpu_link_info/pcie_gen/max_device_link_gen"]);
    let lanes =
        |key: &str| text(&format!("pci/pci_gpu_link_info/link_widths/{key}")).map(|text| format!("x{}", text.trim_end_matches('x')));
    let width = lanes("max_link_width");
    let pcie = generation.then(|generation| width.then(|width| Reading::Value(format!("gen {generation} {width}"))));
    Gpu {
        uuid: text("uuid"),
        pci,
        product: text("product_name"),
        architecture: text("product_architecture"),
        vbios: text("vbios_version"),
        firmware: text("gsp_firmware_version"),
        memory: text("fb_memory_usage/total"),
        ecc: any(&["ecc_mode/current_ecc"]).map(|text| text.to_lowercase()),
        ecc_pending: word("ecc_mode/pending_ecc"),
        partition: word("mig_mode/current_mig"),
        partition_pending: word("mig_mode/pending_mig"),
        partitions: partitions(log),
        persistence: word("persistence_mode"),
        addressing: text("addressing_mode"),
        display: word("display_mode"),
        display_active: word("display_active"),
        pcie,
        pcie_width: lanes("current_link_width"),
        fabric: below(log, "fabric", |_| true),
        clocks: clocks(log),
        power_cap: any(&[
            "gpu_power_readings/current_power_limit",
            "gpu_power_readings/power_limit",
            "power_readings/enforced_power_limit",
            "power_readings/power_limit",
        ]),
        power_cap_max: any(&["gpu_power_readings/max_power_limit", "power_readings/max_power_limit"]),
        ..unknown(&format!("{TOOL} does not say"))
    }
}

/// Partitions that exist, by their memory and how many engines they have; `None` in the XML is none.
fn partitions(log: &BTreeMap<String, String>) -> Reading<Vec<String>> {
    let devices = "mig_devices/mig_device";
    let field = |name: &str| log.get(&format!("{devices}/{name}")).map(|text| text.lines().collect::<Vec<_>>()).unwrap_or_default();
    let (indices, memory) = (field("index"), field("fb_memory_usage/total"));
    let (gi, ci) = (field("gpu_instance_id"), field("compute_instance_id"));
    if indices.is_empty() {
        let none = log.get("mig_devices").is_some_and(|text| text.trim() == "None");
        return if none || !log.keys().any(|key| key.starts_with("mig_")) {
            Reading::Value(Vec::new())
        } else {
            Reading::Unavailable(format!("{TOOL} lists no partitions"))
        };
    }
    let at = |list: &[&str], index: usize| list.get(index).copied().unwrap_or("?").to_owned();
    let mut all: Vec<String> =
        (0..indices.len()).map(|index| format!("gi {} ci {} {}", at(&gi, index), at(&ci, index), at(&memory, index))).collect();
    all.sort();
    Reading::Value(all)
}

/// Values below an element, by name.
fn below(log: &BTreeMap<String, String>, element: &str, wanted: impl Fn(&str) -> bool) -> Reading<BTreeMap<String, String>> {
    let prefix = format!("{element}/");
    let values = log.iter().filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?, value)));
    let told: BTreeMap<String, String> = values
        .filter(|(key, _)| wanted(key))
        .filter_map(|(key, value)| Some((key.replace('/', "."), said(TOOL, Some(value)).value()?.clone())))
        .collect();
    Reading::of((!told.is_empty()).then_some(told), || format!("{TOOL} says nothing of {element}"))
}

/// The highest clocks, and those that applications are set to; the clocks of this moment are left out.
fn clocks(log: &BTreeMap<String, String>) -> Reading<BTreeMap<String, String>> {
    let name = |key: &str| key.trim_end_matches("_clock").to_owned();
    let mut all = BTreeMap::new();
    for (element, prefix) in [("max_clocks", ""), ("applications_clocks", "applications.")] {
        if let Reading::Value(clocks) = below(log, element, |_| true) {
            all.extend(clocks.into_iter().map(|(key, value)| (format!("{prefix}{}", name(&key)), value)));
        }
    }
    Reading::of((!all.is_empty()).then_some(all), || format!("{TOOL} says no clocks"))
}

fn all_links(gpus: &mut [Gpu], why: &str) {
    for gpu in gpus {
        gpu.links = Reading::Unavailable(why.to_owned());
    }
}

/// Links as `nvidia-smi nvlink --status` lists them under each GPU. A GPU that it lists without links has none.
fn set_links(gpus: &mut [Gpu], text: &str) {
    all_links(gpus, &format!("{TOOL} nvlink does not list this GPU"));
    let mut current: Option<usize> = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with("GPU ") {
            let uuid = line.split("UUID: ").nth(1).map(|rest| rest.trim_end_matches(')'));
            current = gpus.iter().position(|gpu| gpu.uuid.value().map(String::as_str) == uuid && uuid.is_some());
            if let Some(gpu) = current.and_then(|index| gpus.get_mut(index)) {
                gpu.links = Reading::Value(Vec::new());
            }
        } else if let Some((index, state)) = line.strip_prefix("Link ").and_then(|rest| rest.split_once(':')) {
            let gpu = current.and_then(|index| gpus.get_mut(index));
            if let (Ok(index), Some(Gpu { links: Reading::Value(links), .. })) = (index.trim().parse(), gpu) {
                links.push(link(index, state.trim()));
                links.sort();
            }
        }
    }
}

fn link(index: u32, state: &str) -> Link {
    if state.contains("B/s") {
        return Link { index, state: "active".to_owned(), speed: state.to_owned() };
    }
    let state = state.trim_matches(['<', '>']).to_lowercase();
    Link { index, state, speed: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_however_a_generation_spells_them() {
        let old = "| NVIDIA-SMI 570.86.15              Driver Version: 570.86.15      CUDA Version: 12.8     |";
        let found = banner_versions(old);
        assert_eq!((version(&found, DRIVER), version(&found, CUDA)), (Some("570.86.15"), Some("12.8")), "{found:?}");
        let renamed = "| NVIDIA-SMI 590.44.01              KMD Version: 590.44.01     CUDA UMD Version: 13.1     |";
        let found = banner_versions(renamed);
        assert_eq!((version(&found, DRIVER), version(&found, CUDA)), (Some("590.44.01"), Some("13.1")), "{found:?}");
        let new = "NVIDIA-SMI version : 590.44.01\nNVML version : 590.44\nKMD Version : 590.44.01\nCUDA UMD Version : 13.1\n";
        let found = banner_versions(new);
        assert_eq!((version(&found, DRIVER), version(&found, CUDA)), (Some("590.44.01"), Some("13.1")));
        let listed = banner_versions("DRIVER version : 550.90.12\nCUDA Version : 12.4\n");
        assert_eq!((version(&listed, DRIVER), version(&listed, CUDA)), (Some("550.90.12"), Some("12.4")));
    }

    #[test]
    fn what_is_not_its_xml_is_refused() {
        let entities = "<!DOCTYPE x [<!ENTITY a \"b\">]><nvidia_smi_log><driver_version>&a;</driver_version></nvidia_smi_log>";
        assert!(read(entities).is_ok_and(|log| version(&log.top, DRIVER).is_none()), "an entity is not followed");
        for wrong in ["", "garbage", "<html></html>", "<nvidia_smi_log><gpu>", "<nvidia_smi_log></gpu></nvidia_smi_log>"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read(&"<nvidia_smi_log>".repeat(2)).is_err());
    }

    #[test]
    fn links_are_set_by_uuid_and_an_inactive_one_is_seen() {
        let mut gpus = vec![Gpu { uuid: Reading::Value("GPU-1".to_owned()), ..unknown("x") }, unknown("lost")];
        set_links(&mut gpus, "GPU 0: NVIDIA H100 (UUID: GPU-1)\n\t Link 1: <inactive>\n\t Link 0: 26.562 GB/s\n");
        let links = gpus[0].links.value().expect("are read");
        assert_eq!((links[0].state.as_str(), links[0].speed.as_str(), links[1].state.as_str()), ("active", "26.562 GB/s", "inactive"));
        assert!(gpus[1].links.unavailable().is_some());
    }
}
