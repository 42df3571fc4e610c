//! What amd-smi says, as JSON: `version`, `static` and `metric`, in both shapes that its generations write.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::facts::collect::Root;
use crate::facts::gpus::{address, said, silent, unknown};
use crate::facts::model::{Gpu, GpuStack, Link};
use crate::facts::reading::Reading;
use crate::facts::tool;

const TOOL: &str = "amd-smi";

/// Asks amd-smi.
pub(super) async fn ask(root: &Root, path: &Path) -> GpuStack {
    let list = match asked(root, path, &["static", "--json"]).await {
        Ok(list) => list,
        Err(why) => return silent("amd", TOOL, &why),
    };
    let (names, metrics, links) = tokio::join!(
        asked(root, path, &["list", "--json"]),
        asked(root, path, &["metric", "--json"]),
        asked(root, path, &["xgmi", "--json"])
    );
    let rocm = asked(root, path, &["version", "--json"]).await;
    let rocm = rocm.map(|answer| answer.first().and_then(|one| text(one, "rocm_version")));
    let gpus: Vec<Gpu> = list.iter().map(|one| gpu(one, of(&names, one), of(&metrics, one), of(&links, one))).collect();
    let driver = list.first().and_then(|one| text(&one["driver"], "version").or_else(|| text(&one["driver"], "driver_version")));
    GpuStack {
        vendor: "amd".to_owned(),
        tool: TOOL.to_owned(),
        driver: said(TOOL, driver.as_deref()),
        compute: match rocm {
            Ok(version) => said(TOOL, version.as_deref()),
            Err(why) => Reading::Unavailable(why),
        },
        gpus: Reading::Value(gpus),
    }
}

/// Asks for a list of GPUs: bare, or below `gpu_data`.
async fn asked(root: &Root, path: &Path, arguments: &[&str]) -> Result<Vec<Value>, String> {
    let told = tool::run(root, path, arguments).await?;
    let called = format!("{TOOL} {}", arguments.join(" "));
    if !told.success {
        return Err(format!("{called}: {}", told.first_line()));
    }
    let answer: Value = serde_json::from_str(&told.stdout).map_err(|error| format!("{called} did not write JSON: {error}"))?;
    match answer {
        Value::Array(list) => Ok(list),
        Value::Object(mut fields) => {
            let inner = ["gpu_data", "xgmi_metric"].iter().find_map(|name| fields.remove(*name));
            match inner {
                Some(Value::Array(list)) => Ok(list),
                _ => Err(format!("{called} wrote another JSON than expected")),
            }
        }
        _ => Err(format!("{called} wrote another JSON than expected")),
    }
}

/// The entry of the same GPU in another answer.
fn of<'a>(answer: &'a Result<Vec<Value>, String>, gpu: &Value) -> Result<&'a Value, &'a str> {
    let list = answer.as_ref().map_err(String::as_str)?;
    list.iter()
        .find(|one| one["gpu"] == gpu["gpu"] && !gpu["gpu"].is_null())
        .ok_or("amd-smi lists the GPU in one answer and not in the other")
}

/// A field as text: `{"value": 192, "unit": "GB"}` is `192 GB`.
fn text(value: &Value, key: &str) -> Option<String> {
    match value.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => {
            let amount = fields.get("value")?;
            let amount = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
            let unit = fields.get("unit").and_then(Value::as_str).unwrap_or_default();
            Some(format!("{amount} {unit}").trim().to_owned())
        }
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

fn gpu(one: &Value, named: Result<&Value, &str>, metric: Result<&Value, &str>, links: Result<&Value, &str>) -> Gpu {
    let first = |ways: &[(&str, &str)]| {
        let found = ways.iter().find_map(|(section, key)| text(&one[*section], key));
        said(TOOL, found.as_deref())
    };
    let lower = |reading: Reading<String>| reading.map(|text| text.to_lowercase());
    let speed = first(&[("bus", "max_pcie_speed")]);
    let width = first(&[("bus", "max_pcie_width")]);
    let limit = |key: &str| {
        let limits = &one["limit"];
        text(&limits["ppt0"], key).or_else(|| text(limits, key))
    };
    let measured = |of: &dyn Fn(&Value) -> Option<String>| match metric {
        Ok(metric) => said(TOOL, of(metric).as_deref()),
        Err(why) => Reading::Unavailable(why.to_owned()),
    };
    Gpu {
        uuid: match named {
            Ok(named) => said(TOOL, text(named, "uuid").as_deref()),
            Err(why) => Reading::Unavailable(why.to_owned()),
        },
        pci: first(&[("bus", "bdf")]).map(|text| address(&text)),
        product: first(&[("asic", "market_name"), ("board", "product_name")]),
        architecture: first(&[("asic", "target_graphics_version")]),
        vbios: first(&[("vbios", "version"), ("ifwi", "version"), ("vbios", "part_number"), ("ifwi", "part_number")]),
        memory: first(&[("vram", "size")]),
        ecc: ecc(&one["ras"]),
        partition: lower(first(&[("partition", "accelerator_partition"), ("partition", "compute_partition")])),
        partition_pending: lower(first(&[("partition", "memory_partition")])),
        partitions: Reading::Value(Vec::new()),
        pcie: speed.then(|speed| width.then(|width| Reading::Value(format!("{speed} x{width}")))),
        pcie_width: measured(&|metric| text(&metric["pcie"], "width")).map(|width| format!("x{width}")),
        links: match links {
            Ok(links) => xgmi(links),
            Err(why) => Reading::Unavailable(why.to_owned()),
        },
        clocks: clocks(metric),
        power_cap: said(TOOL, limit("socket_power_limit").or_else(|| limit("socket_power")).as_deref()),
        power_cap_max: said(TOOL, limit("max_power_limit").or_else(|| limit("max_power")).as_deref()),
        ..unknown(&format!("{TOOL} does not say"))
    }
}

/// ECC is on where it is on for memory.
fn ecc(ras: &Value) -> Reading<String> {
    let blocks = &ras["ecc_block_state"];
    let state = match blocks {
        Value::Array(list) => list.iter().find(|block| block["block"] == "UMC").and_then(|block| text(block, "status")),
        other => text(other, "UMC").or_else(|| text(ras, "ecc_block_state")),
    };
    said(TOOL, state.as_deref()).map(|state| state.to_lowercase())
}

/// The highest clock of each domain.
fn clocks(metric: Result<&Value, &str>) -> Reading<BTreeMap<String, String>> {
    let metric = match metric {
        Ok(metric) => metric,
        Err(why) => return Reading::Unavailable(why.to_owned()),
    };
    let domains = metric["clock"].as_object().into_iter().flatten();
    let highest = |(name, clock): (&String, &Value)| {
        let domain = name.rsplit_once('_').filter(|(_, number)| number.parse::<u32>().is_ok()).map_or(name.as_str(), |(domain, _)| domain);
        Some((domain.to_owned(), said(TOOL, text(clock, "max_clk").as_deref()).value()?.clone()))
    };
    let clocks: BTreeMap<String, String> = domains.filter_map(highest).collect();
    Reading::of((!clocks.is_empty()).then_some(clocks), || format!("{TOOL} says no clocks"))
}

fn xgmi(one: &Value) -> Reading<Vec<Link>> {
    let links = one["link_metrics"]["links"].as_array();
    let link = |(index, link): (usize, &Value)| {
        let speed = text(link, "bit_rate").filter(|speed| speed != "N/A").unwrap_or_default();
        let kind = text(link, "link_type").unwrap_or_default();
        let state = if speed.is_empty() { "inactive" } else { "active" };
        (kind == "XGMI").then(|| Link { index: u32::try_from(index).unwrap_or(u32::MAX), state: state.to_owned(), speed })
    };
    Reading::of(links.map(|links| links.iter().enumerate().filter_map(link).collect()), || format!("{TOOL} xgmi lists no links"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_with_units_are_text_and_no_value_is_none() {
        let one = json!({"size": {"value": 196_592, "unit": "MB"}, "name": "x", "gone": "N/A"});
        assert_eq!(text(&one, "size").as_deref(), Some("196592 MB"));
        assert_eq!(said(TOOL, text(&one, "gone").as_deref()).unavailable(), Some("amd-smi says `N/A`"));
        assert_eq!(said(TOOL, text(&one, "absent").as_deref()).unavailable(), Some("amd-smi does not say"));
    }
}
