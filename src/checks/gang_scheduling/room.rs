//! Room for gangs: one node, and how many pods of which size make a gang of which one fits and two do not.

use std::collections::BTreeMap;

use crate::pods::PodOptions;
use crate::results::{ErrorReason, Outcome, SkipReason};
use crate::snapshot::Node;
use crate::vendor::Vendor;

/// The label by which a pod asks for one node.
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";

/// Where gangs are tried, and their size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// The node.
    pub(super) node: String,
    /// Its value of the label [`HOSTNAME`].
    pub(super) hostname: String,
    /// Free GPUs on it.
    pub(super) free: u64,
    /// Pods of a gang.
    pub(super) pods: u32,
    /// GPUs of each pod.
    pub(super) each: u64,
}

impl Room {
    /// Gangs for so many free GPUs: one fits, two do not. Three pods where that is possible, so that two of them could be placed wrongly.
    fn of(node: &Node, hostname: &str, free: u64) -> Option<Self> {
        [3_u32, 2].into_iter().find_map(|pods| {
            let each = free / (2 * u64::from(pods)) + 1;
            (u64::from(pods) * each <= free).then(|| Self { node: node.name.clone(), hostname: hostname.to_owned(), free, pods, each })
        })
    }

    /// GPUs of a whole gang.
    pub(super) fn gang(&self) -> u64 {
        u64::from(self.pods) * self.each
    }

    /// GPUs that are taken so that all pods of a gang but one would fit: one less than a gang wants stays free.
    pub(super) fn filler(&self) -> u64 {
        self.free - (self.gang() - 1)
    }

    /// The most GPUs that a trial holds at a time: a whole gang, or the filler with all pods but one.
    pub(super) fn most_held(&self) -> u64 {
        self.gang().max(self.filler() + self.gang() - self.each)
    }
}

/// Chooses the node on which a trial holds the fewest GPUs; the outcome where there is none. Pure.
pub(super) fn choose(
    nodes: &[Node],
    free: &BTreeMap<String, u64>,
    vendor: &Vendor,
    options: &PodOptions,
    most: Option<u32>,
) -> Result<Room, Box<Outcome>> {
    let advertised: Vec<&Node> = nodes.iter().filter(|node| node.gpus.allocatable.unwrap_or(0) > 0).collect();
    if advertised.is_empty() {
        let message = format!("no node has {} to place a gang of GPU pods on", vendor.resource);
        let outcome = Outcome::error(ErrorReason::NoSubject, message);
        return Err(Box::new(outcome.fix("look at the device plugin; gangs of pods with ResourceClaims are not tried")));
    }
    let usable = |node: &&&Node| {
        let ready = node.conditions.get("Ready").is_some_and(|status| status == "True");
        let selected = options.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
        !node.unschedulable && ready && selected && node.taints.iter().all(|taint| tolerated(&taint.key, &taint.effect, vendor, options))
    };
    let usable: Vec<&&Node> = advertised.iter().filter(usable).collect();
    let rooms = usable.iter().filter_map(|node| {
        let left = free.get(&node.name).copied().unwrap_or(0);
        Room::of(node, node.labels.get(HOSTNAME)?, left)
    });
    let Some(room) = rooms.min_by_key(|room| (room.most_held(), room.node.clone())) else {
        let names: Vec<&str> = usable.iter().map(|node| node.name.as_str()).collect();
        let message = format!(
            "no node has two free {}: looked at {}",
            vendor.resource,
            if names.is_empty() { "none that pods may use".to_owned() } else { names.join(", ") }
        );
        return Err(Box::new(Outcome::error(ErrorReason::Busy, message).fix("run again when two GPUs of one node are free")));
    };
    if most.is_some_and(|most| room.most_held() > u64::from(most)) {
        let message = format!("wants {} GPUs on node {}, --max-gpus allows {}", room.most_held(), room.node, most.unwrap_or(0));
        return Err(Box::new(Outcome::skip(SkipReason::ByRequest, message)));
    }
    Ok(room)
}

/// True if our pods may be on a node in spite of a taint.
fn tolerated(key: &str, effect: &str, vendor: &Vendor, options: &PodOptions) -> bool {
    effect == "PreferNoSchedule"
        || key == vendor.resource
        || options.tolerations.iter().any(|one| one["key"].is_null() || one["key"] == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Verdict;
    use crate::snapshot::nodes;
    use crate::vendor;
    use serde_json::json;

    fn node(name: &str, gpus: u64) -> Node {
        let object = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "spec": {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]},
            "status": {
                "capacity": {"nvidia.com/gpu": gpus.to_string()}, "allocatable": {"nvidia.com/gpu": gpus.to_string()},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        nodes::read(&[object], None).remove(0)
    }

    fn chosen(nodes: &[Node], free: &[(&str, u64)], most: Option<u32>) -> Result<Room, Box<Outcome>> {
        let free = free.iter().map(|(name, free)| ((*name).to_owned(), *free)).collect();
        choose(nodes, &free, vendor::named("nvidia").expect("known"), &PodOptions::default(), most)
    }

    #[test]
    fn one_gang_fits_two_do_not_and_beside_the_filler_all_pods_but_one_would() {
        for free in 2..=64 {
            let room = chosen(&[node("a", 64)], &[("a", free)], None).expect("there is room");
            assert!(room.gang() <= free && 2 * room.gang() > free, "{room:?}");
            let left = free - room.filler();
            assert!(left < room.gang() && left >= room.gang() - room.each, "{room:?}");
            assert!(room.filler() > 0 && room.most_held() <= free, "{room:?}");
            assert_eq!(room.pods, if free < 3 { 2 } else { 3 }, "{room:?}");
        }
    }

    #[test]
    fn the_least_node_is_taken_and_full_cordoned_tainted_or_unready_ones_are_not() {
        let two = || vec![node("a", 8), node("b", 8)];
        assert_eq!(chosen(&two(), &[("a", 8), ("b", 4)], None).expect("room").node, "b");
        assert_eq!(chosen(&two(), &[("a", 1), ("b", 0)], None).expect_err("none").verdict, Verdict::Error(ErrorReason::Busy));
        let mut unusable = vec![node("a", 8), node("b", 8), node("c", 8)];
        unusable[0].unschedulable = true;
        unusable[1].conditions.insert("Ready".to_owned(), "False".to_owned());
        unusable[2].taints[0].key = "maintenance".to_owned();
        let free = [("a", 8), ("b", 8), ("c", 8)];
        assert_eq!(chosen(&unusable, &free, None).expect_err("none").verdict, Verdict::Error(ErrorReason::Busy));
        assert_eq!(chosen(&[], &[], None).expect_err("none").verdict, Verdict::Error(ErrorReason::NoSubject));
        assert_eq!(chosen(&two(), &[("a", 8)], Some(4)).expect_err("too many").verdict, Verdict::Skip(SkipReason::ByRequest));
        assert_eq!(chosen(&two(), &[("a", 8)], Some(8)).expect("room").most_held(), 7);
    }
}
