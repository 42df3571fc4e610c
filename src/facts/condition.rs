//! The condition of GPUs, as far as their vendor's tool tells: which ones there are, and what is wrong with each.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::facts::nvidia;

/// One GPU, as its tool lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its id: UUID, else the PCI address.
    pub id: String,
    /// What it is; empty where the tool does not say.
    pub product: String,
    /// Parts of it that can be seen, where it is cut up; else 1.
    pub units: usize,
    /// What is wrong with it, in words.
    pub troubles: Vec<String>,
}

/// Counters of errors that memory could not repair, since the driver was loaded; by generation of the tool.
const UNCORRECTED: &[&str] = &[
    "ecc_errors/volatile/dram_uncorrectable",
    "ecc_errors/volatile/sram_uncorrectable",
    "ecc_errors/volatile/sram_uncorrectable_parity",
    "ecc_errors/volatile/sram_uncorrectable_secded",
    "ecc_errors/volatile/double_bit/total",
];

/// Fields that say `Yes` when a GPU has to be reset, or exchanged.
const PENDING: &[(&str, &str)] = &[
    ("remapped_rows/remapped_row_pending", "memory rows wait to be remapped: the GPU has to be reset"),
    ("remapped_rows/remapped_row_failure", "memory rows could not be remapped: the GPU has to be exchanged"),
    ("retired_pages/pending_retirement", "memory pages wait to be retired: the GPU has to be reset"),
    ("retired_pages/pending_blacklist", "memory pages wait to be retired: the GPU has to be reset"),
];

/// Reads what `nvidia-smi -q -x` wrote.
///
/// # Errors
/// What is wrong with the text, if it is not the tool's XML.
pub fn of_nvidia(xml: &str) -> Result<Vec<Condition>, String> {
    Ok(nvidia::read(xml)?.gpus.iter().map(one_of_nvidia).collect())
}

fn one_of_nvidia(gpu: &BTreeMap<String, String>) -> Condition {
    let said = |key: &str| gpu.get(key).map(|text| text.trim()).filter(|text| !text.is_empty());
    // `[N/A]`, `[GPU is lost]`, `[Unknown Error]`.
    let known = |key: &str| said(key).filter(|text| !text.starts_with('[') && !["N/A", "Unknown Error", "ERR!"].contains(text));
    let mut troubles = Vec::new();
    for key in ["product_name", "uuid"] {
        if known(key).is_none() {
            troubles.push(format!("its {} cannot be read ({})", key.replace('_', " "), said(key).unwrap_or("nothing")));
        }
    }
    for key in UNCORRECTED {
        if let Some(count) = known(key).and_then(|text| text.parse::<u64>().ok()).filter(|count| *count > 0) {
            troubles.push(format!("{count} memory errors since the driver was loaded that could not be corrected ({key})"));
        }
    }
    for (key, means) in PENDING {
        if known(key).is_some_and(|text| text == "Yes") {
            troubles.push((*means).to_owned());
        }
    }
    if let Some(action) = known("gpu_recovery_action").filter(|action| *action != "None") {
        troubles.push(format!("the driver asks for a recovery: {action}"));
    }
    let cut = known("mig_mode/current_mig") == Some("Enabled");
    let parts = gpu.get("mig_devices/mig_device/index").map_or(0, |all| all.lines().count());
    let id = known("uuid").or_else(|| known("id")).unwrap_or_default().to_owned();
    Condition { id, product: known("product_name").unwrap_or_default().to_owned(), units: if cut { parts } else { 1 }, troubles }
}

/// Reads what `amd-smi static --json` and `amd-smi metric --json` wrote.
///
/// # Errors
/// What is wrong with a text, if it is not the tool's JSON.
pub fn of_amd(listed: &str, measured: &str) -> Result<Vec<Condition>, String> {
    let gpus = entries(listed, "static")?;
    let metrics = entries(measured, "metric")?;
    let condition = |gpu: &Value| {
        let metric = metrics.iter().find(|one| one["gpu"] == gpu["gpu"]);
        let mut troubles = Vec::new();
        match metric {
            None => troubles.push("amd-smi lists it and has no metrics of it".to_owned()),
            Some(metric) => {
                let count = metric["ecc"]["total_uncorrectable_count"].as_u64().filter(|count| *count > 0);
                troubles.extend(count.map(|count| format!("{count} memory errors that could not be corrected")));
            }
        }
        let text = |value: &Value| value.as_str().filter(|text| *text != "N/A").unwrap_or_default().to_owned();
        Condition { id: text(&gpu["bus"]["bdf"]), product: text(&gpu["asic"]["market_name"]), units: 1, troubles }
    };
    Ok(gpus.iter().map(condition).collect())
}

/// A list of GPUs: bare, or below `gpu_data`.
fn entries(text: &str, what: &str) -> Result<Vec<Value>, String> {
    let answer: Value = serde_json::from_str(text).map_err(|error| format!("amd-smi {what} did not write JSON: {error}"))?;
    let list = if answer.is_array() { &answer } else { &answer["gpu_data"] };
    list.as_array().cloned().ok_or_else(|| format!("amd-smi {what} wrote another JSON than expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTHY: &str = include_str!("../../tests/fixtures/facts/nvidia/healthy.xml");

    #[test]
    fn healthy_gpus_have_no_troubles_and_one_that_fell_off_the_bus_has() {
        let healthy = of_nvidia(HEALTHY).expect("is read");
        assert!(healthy.len() == 2 && healthy.iter().all(|gpu| gpu.troubles.is_empty() && gpu.units == 1), "{healthy:?}");
        let sick = of_nvidia(include_str!("../../tests/fixtures/facts/nvidia/sick.xml")).expect("is read");
        assert!(sick.iter().any(|gpu| !gpu.troubles.is_empty()), "{sick:?}");
        assert!(of_nvidia("No devices were found").is_err());
    }

    #[test]
    fn errors_pending_repairs_and_a_recovery_that_is_asked_for_are_troubles() {
        let with = |element: &str| {
            let xml = HEALTHY.replacen("<ecc_mode>", &format!("{element}<ecc_mode>"), 1);
            of_nvidia(&xml).expect("is read")[0].troubles.join("; ")
        };
        assert!(
            with("<ecc_errors><volatile><dram_uncorrectable>3</dram_uncorrectable></volatile></ecc_errors>").starts_with("3 memory errors")
        );
        assert_eq!(with("<ecc_errors><volatile><dram_uncorrectable>0</dram_uncorrectable></volatile></ecc_errors>"), "");
        assert!(with("<remapped_rows><remapped_row_pending>Yes</remapped_row_pending></remapped_rows>").contains("has to be reset"));
        assert!(with("<gpu_recovery_action>Reset</gpu_recovery_action>").contains("recovery: Reset"));
        assert_eq!(with("<gpu_recovery_action>None</gpu_recovery_action>"), "");
    }

    #[test]
    fn amds_gpus_are_joined_with_their_metrics() {
        let listed = include_str!("../../tests/fixtures/facts/amd/static.json");
        let measured = include_str!("../../tests/fixtures/facts/amd/metric.json");
        let healthy = of_amd(listed, measured).expect("is read");
        assert!(
            healthy.len() == 2 && healthy[0].product == "AMD Instinct MI300X" && healthy.iter().all(|gpu| gpu.troubles.is_empty()),
            "{healthy:?}"
        );
        assert_eq!(of_amd(listed, "[]").expect("is read")[0].troubles, ["amd-smi lists it and has no metrics of it"]);
        let broken = r#"[{"gpu": 0, "ecc": {"total_uncorrectable_count": 2}}, {"gpu": 1}]"#;
        assert!(of_amd(listed, broken).expect("is read")[0].troubles[0].starts_with("2 memory errors"));
        assert!(of_amd("no", measured).is_err());
    }
}
