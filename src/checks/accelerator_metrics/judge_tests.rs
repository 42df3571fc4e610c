//! What every kind of exporter comes to: healthy ones, and each of the wrong ones.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use prometheus_scraper::TextFormat;

use super::judge::{Asked, Looks, NodeLook, judge, still};
use crate::checks::exposition::Exposition;
use crate::results::{ErrorReason, Outcome, Verdict};
use crate::vendor::{self, Exporter};

fn exporter(vendor: &str) -> &'static Exporter {
    &vendor::named(vendor).expect("is known").exporter
}

/// What is said of a GPU by its index.
type Reading<'a> = &'a dyn Fn(usize) -> String;

/// What a DCGM exporter says of some GPUs, in the form of release 4.4.
fn dcgm(host: &str, uuids: &[&str], tick: u64) -> String {
    let mut text = String::new();
    let metrics: [(&str, &str, Reading<'_>); 5] = [
        ("DCGM_FI_DEV_GPU_TEMP", "gauge", &|gpu| format!("{}", 30 + gpu)),
        ("DCGM_FI_DEV_POWER_USAGE", "gauge", &|gpu| format!("{}.{:03}000", 70 + gpu, tick % 1000)),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", &|_| format!("{}", 15_152_422_938 + tick * 70)),
        ("DCGM_FI_DEV_GPU_UTIL", "gauge", &|_| "0".to_owned()),
        ("DCGM_FI_DEV_FB_USED", "gauge", &|_| "4".to_owned()),
    ];
    for (name, kind, value) in metrics {
        text += &format!("# HELP {name} As DCGM has it (in units).\n# TYPE {name} {kind}\n");
        for (gpu, uuid) in uuids.iter().enumerate() {
            text += &format!(
                "{name}{{gpu=\"{gpu}\",UUID=\"{uuid}\",pci_bus_id=\"00000000:{gpu}7:00.0\",device=\"nvidia{gpu}\",\
                 modelName=\"NVIDIA H100 80GB HBM3\",Hostname=\"{host}\",DCGM_FI_DRIVER_VERSION=\"570.148.08\"}} {}\n",
                value(gpu)
            );
        }
    }
    text
}

fn read(text: &str) -> Exposition {
    Exposition::read(text.as_bytes(), TextFormat::Prometheus)
}

fn looks(first: &str, last: &str, vendor: &str) -> Asked {
    let first = read(first);
    let still = still(&first, &read(last), exporter(vendor));
    Asked::Said(Looks { first, still, seconds: 45.0 })
}

fn node(name: &str, gpus: u64, ids: &[&str], asked: Asked) -> NodeLook {
    NodeLook { name: name.to_owned(), gpus: Some(gpus), ids: ids.iter().map(|id| (*id).to_owned()).collect(), asked }
}

fn judged(nodes: &[NodeLook]) -> Outcome {
    let names: BTreeSet<String> = ["a", "b"].map(str::to_owned).into();
    judge(nodes, &names, exporter("nvidia"), Timestamp::now()).guarded()
}

/// One node `a` with two GPUs, of which the exporter says this.
fn alone(first: &str, last: &str) -> Outcome {
    judged(&[node("a", 2, &[], looks(first, last, "nvidia"))])
}

#[track_caller]
fn fails(outcome: &Outcome, words: &str) {
    assert_eq!(outcome.verdict, Verdict::Fail, "{}", outcome.message);
    assert!(outcome.message.contains(words), "{}", outcome.message);
    assert!(outcome.fix.is_some());
}

#[test]
fn exporters_that_tell_of_every_gpu_and_move_pass_with_ids_or_with_counts() {
    let (one, two) = (["GPU-1", "GPU-2"], ["GPU-3", "GPU-4"]);
    let outcome = judged(&[
        node("a", 2, &one, looks(&dcgm("a", &one, 1), &dcgm("a", &one, 2), "nvidia")),
        // An exporter without NODE_NAME says the name of its pod.
        node("b", 2, &[], looks(&dcgm("nvidia-dcgm-exporter-x7k2p", &two, 1), &dcgm("nvidia-dcgm-exporter-x7k2p", &two, 2), "nvidia")),
    ]);
    assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.message);
    assert_eq!((outcome.subjects.seen.as_slice(), outcome.measurements[0].value), (&["a".to_owned(), "b".to_owned()][..], 4.0));
    assert!(outcome.assertions.total > 40 && outcome.assertions.passed == outcome.assertions.total);
}

#[test]
fn amds_exporter_is_read_by_its_own_names() {
    let say = |tick: u64| {
        let mut text = String::new();
        for (name, value) in [("gpu_gfx_activity", 0), ("gpu_used_vram", 285), ("gpu_junction_temperature", 41), ("gpu_package_power", 140)]
        {
            text += &format!("# HELP {name} x\n# TYPE {name} gauge\n");
            for gpu in 0..2 {
                text += &format!(
                    "{name}{{card_model=\"102-G30211-0C\",card_series=\"AMD Instinct MI300X OAM\",gpu_compute_partition_type=\"spx\",\
                     gpu_id=\"{gpu}\",gpu_partition_id=\"0\",hostname=\"a\",serial_number=\"69240900540{gpu}\"}} {}\n",
                    if name == "gpu_package_power" { value + tick } else { value }
                );
            }
        }
        text
    };
    let names: BTreeSet<String> = ["a".to_owned()].into();
    let verdict =
        |last: &str| judge(&[node("a", 2, &[], looks(&say(1), last, "amd"))], &names, exporter("amd"), Timestamp::now()).guarded();
    assert_eq!(verdict(&say(2)).verdict, Verdict::Pass, "{}", verdict(&say(2)).message);
    fails(&verdict(&say(1)), "the values of all 2 GPUs have not moved for 45 s");
}

#[test]
fn a_gpu_that_is_missing_or_foreign_is_named_by_id_or_by_count() {
    let short = (dcgm("a", &["GPU-1"], 1), dcgm("a", &["GPU-1"], 2));
    fails(&alone(&short.0, &short.1), "has series of 1 GPUs, the node says 2");
    let by_id = judged(&[node("a", 2, &["GPU-1", "GPU-2"], looks(&short.0, &short.1, "nvidia"))]);
    fails(&by_id, "has no series of GPU GPU-2");
    let other = ["GPU-1", "GPU-9"];
    let by_id = judged(&[node("a", 2, &["GPU-1", "GPU-2"], looks(&dcgm("a", &other, 1), &dcgm("a", &other, 2), "nvidia"))]);
    fails(&by_id, "has no series of GPU GPU-2");
    assert!(by_id.artifacts[0].data.to_string().contains("GPU-9, which the node does not have"), "{:?}", by_id.artifacts);
    let unknown = NodeLook { gpus: None, ..node("a", 0, &[], looks(&short.0, &short.1, "nvidia")) };
    fails(&judged(&[unknown]), "nothing on the node says how many");
}

#[test]
fn another_nodes_gpus_or_name_are_not_this_nodes() {
    let ids = ["GPU-1", "GPU-2"];
    let both = |host: &str| looks(&dcgm(host, &ids, 1), &dcgm(host, &ids, 2), "nvidia");
    fails(&judged(&[node("a", 2, &[], both("a")), node("b", 2, &[], both("b"))]), "GPU GPU-1 is said to be in node a and in node b");
    fails(&judged(&[node("a", 2, &[], both("b"))]), "Hostname=b, which is another node");
}

#[test]
fn descriptions_alone_a_missing_quantity_and_what_is_no_exposition_fail() {
    let text = dcgm("a", &["GPU-1", "GPU-2"], 1);
    let described: String = text.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    fails(&alone(&described, &described), "has no series of a GPU, only descriptions of metrics");
    let without: String = text.lines().filter(|line| !line.contains("FB_USED")).map(|line| format!("{line}\n")).collect();
    fails(&alone(&without, &without), "GPU GPU-1 has no memory (DCGM_FI_DEV_FB_USED)");
    fails(&alone("<html><body>It works</body></html>\n", ""), "cannot be read");
    fails(&alone("", ""), "has no series of a GPU");
}

#[test]
fn values_that_no_gpu_can_have_fail() {
    let text = dcgm("a", &["GPU-1", "GPU-2"], 1);
    let later = dcgm("a", &["GPU-1", "GPU-2"], 2);
    for (from, to) in [("} 31\n", "} 9223372036854775794\n"), ("} 31\n", "} NaN\n"), ("} 31\n", "} -4\n")] {
        fails(&alone(&text.replace(from, to), &later.replace(from, to)), "GPU GPU-2 has DCGM_FI_DEV_GPU_TEMP");
    }
}

#[test]
fn an_exporter_that_stands_still_or_a_gpu_that_does_fails() {
    let text = dcgm("a", &["GPU-1", "GPU-2"], 1);
    fails(&alone(&text, &text), "the values of all 2 GPUs have not moved for 45 s");
    // One of them: its lines are those of before.
    let mixed: String = dcgm("a", &["GPU-1", "GPU-2"], 2)
        .lines()
        .zip(text.lines())
        .map(|(new, old)| format!("{}\n", if new.contains("GPU-2") { old } else { new }))
        .collect();
    fails(&alone(&text, &mixed), "the values of GPU GPU-2 have not moved");
    // Noise on one gauge does not hide an energy counter that stands still.
    let noisy = text.replace("} 31\n", "} 32\n").replace("} 30\n", "} 31\n");
    fails(&alone(&text, &noisy), "have not moved");
}

#[test]
fn values_with_old_time_stamps_fail_and_fresh_ones_do_not() {
    let stamped = |text: &str, age: i64| {
        let at = (Timestamp::now() - SignedDuration::from_secs(age)).as_millisecond();
        text.lines().map(|line| if line.starts_with('#') { format!("{line}\n") } else { format!("{line} {at}\n") }).collect::<String>()
    };
    let ids = ["GPU-1", "GPU-2"];
    let (first, last) = (dcgm("a", &ids, 1), dcgm("a", &ids, 2));
    fails(&alone(&stamped(&first, 900), &stamped(&last, 900)), "values are 900 s old");
    assert_eq!(alone(&stamped(&first, 20), &stamped(&last, 0)).verdict, Verdict::Pass);
}

#[test]
fn a_node_that_could_not_be_asked_is_an_error_unless_something_is_wrong_elsewhere() {
    let ids = ["GPU-1", "GPU-2"];
    let well = || node("a", 2, &[], looks(&dcgm("a", &ids, 1), &dcgm("a", &ids, 2), "nvidia"));
    let silent = || node("b", 2, &[], Asked::Unknown(ErrorReason::Unavailable, "nobody listens".to_owned()));
    let outcome = judged(&[well(), silent()]);
    assert_eq!(outcome.verdict, Verdict::Error(ErrorReason::Unavailable));
    assert!(outcome.message.contains("node b: nobody listens") && outcome.subjects.seen == ["a"] && outcome.subjects.exist == 2);
    fails(
        &judged(&[node("a", 2, &[], Asked::Wrong("pod x is not ready".to_owned(), "look")), silent()]),
        "node a: pod x is not ready; 1 nodes",
    );
}

#[test]
fn gpus_that_are_cut_up_are_counted_whole_or_in_parts() {
    // As DCGM tells of instances: the id of the whole GPU, and the instance beside it.
    let say = |tick: u64| {
        let mut text = String::new();
        for (name, value) in [
            ("DCGM_FI_DEV_GPU_TEMP", "30".to_owned()),
            ("DCGM_FI_DEV_POWER_USAGE", format!("70.{tick}")),
            ("DCGM_FI_DEV_FB_USED", "4".to_owned()),
            ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "0.000000".to_owned()),
        ] {
            for instance in 1..=3 {
                text += &format!(
                    "{name}{{gpu=\"0\",UUID=\"GPU-1\",GPU_I_PROFILE=\"2g.20gb\",GPU_I_ID=\"{instance}\",Hostname=\"a\"}} {value}\n"
                );
            }
        }
        text
    };
    for count in [1, 3] {
        let outcome = judged(&[node("a", count, &[], looks(&say(1), &say(2), "nvidia"))]);
        assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.message);
    }
    fails(&judged(&[node("a", 2, &[], looks(&say(1), &say(2), "nvidia"))]), "has series of 1 GPUs, the node says 2");
}
