//! systemd units and container runtimes, by asking their own programs.

use std::collections::BTreeMap;

use crate::facts::collect::Root;
use crate::facts::model::View;
use crate::facts::reading::Reading;
use crate::facts::tool;

/// Units that a GPU node may have.
const UNITS: &[&str] = &[
    "chronyd.service",
    "containerd.service",
    "crio.service",
    "docker.service",
    "k3s-agent.service",
    "k3s.service",
    "kubelet.service",
    "nvidia-dcgm.service",
    "nvidia-fabricmanager.service",
    "nvidia-imex.service",
    "nvidia-persistenced.service",
    "openibd.service",
    "rke2-agent.service",
    "rke2-server.service",
    "systemd-timesyncd.service",
];

/// Properties that say how a unit is set up and whether it runs; none of those that count, or name processes and times.
const PROPERTIES: &[&str] = &[
    "ActiveState",
    "CPUAccounting",
    "Delegate",
    "DropInPaths",
    "FragmentPath",
    "Id",
    "KillMode",
    "LimitCORE",
    "LimitMEMLOCK",
    "LimitNOFILE",
    "LimitNPROC",
    "LimitSTACK",
    "LoadState",
    "MemoryAccounting",
    "MemoryMax",
    "OOMScoreAdjust",
    "Restart",
    "Slice",
    "SubState",
    "TasksMax",
    "Type",
    "UnitFileState",
    "User",
];

/// Programs of container runtimes, and of what gives containers their GPUs.
const RUNTIMES: &[&str] = &["containerd", "crio", "dockerd", "nvidia-ctk", "runc", "crun"];

/// Units that are installed. One that is not installed is left out, which is not a failure.
pub(super) async fn units(root: &Root) -> Reading<BTreeMap<String, BTreeMap<String, String>>> {
    let Some(systemctl) = tool::find(root, "systemctl") else {
        let who =
            if root.view == View::Container { "a container has none; units are seen on the host" } else { "this machine has no systemd" };
        return Reading::Unavailable(format!("there is no systemctl: {who}"));
    };
    let properties = format!("--property={}", PROPERTIES.join(","));
    let mut arguments = vec!["show", "--no-pager", properties.as_str()];
    arguments.extend(UNITS);
    match tool::run(root, &systemctl, &arguments).await {
        Ok(said) if said.success => blocks(&said.stdout),
        Ok(said) => Reading::Unavailable(format!("systemctl: {}", said.first_line())),
        Err(why) => Reading::Unavailable(why),
    }
}

/// One block of `Name=value` for each unit, an empty line between them.
fn blocks(text: &str) -> Reading<BTreeMap<String, BTreeMap<String, String>>> {
    let mut units = BTreeMap::new();
    let mut seen = 0;
    for block in text.split("\n\n") {
        let pairs = block.lines().filter_map(|line| line.split_once('='));
        let mut properties: BTreeMap<String, String> = pairs.map(|(name, value)| (name.trim().to_owned(), value.to_owned())).collect();
        let Some(id) = properties.remove("Id") else { continue };
        seen += 1;
        if properties.get("LoadState").is_some_and(|state| state != "not-found") {
            units.insert(id, properties);
        }
    }
    if seen == 0 { Reading::Unavailable("systemctl said nothing of any unit".to_owned()) } else { Reading::Value(units) }
}

/// Container runtimes that are installed.
pub(super) async fn runtimes(root: &Root) -> Reading<BTreeMap<String, Reading<String>>> {
    if root.view == View::Container {
        return Reading::Unavailable("a container does not see the programs of its machine".to_owned());
    }
    let mut found = BTreeMap::new();
    for name in RUNTIMES {
        if let Some(path) = tool::find(root, name) {
            let reading = match tool::run(root, &path, &["--version"]).await {
                Ok(said) if said.success => Reading::of(version(&said.stdout), || format!("{name} says no version")),
                Ok(said) => Reading::Unavailable(format!("{name}: {}", said.first_line())),
                Err(why) => Reading::Unavailable(why),
            };
            found.insert((*name).to_owned(), reading);
        }
    }
    Reading::Value(found)
}

/// The first word that looks like a version: `containerd github.com/containerd/containerd v1.7.24 88bf1…`.
fn version(text: &str) -> Option<String> {
    let words = text.split_whitespace().map(|word| word.trim_end_matches([',', ';']));
    let is_version = |word: &&str| {
        let bare = word.trim_start_matches('v');
        bare.starts_with(|letter: char| letter.is_ascii_digit()) && bare.contains('.')
    };
    words.clone().find(is_version).map(|word| word.trim_start_matches('v').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_is_not_installed_is_no_failure_and_silence_is_no_answer() {
        let text =
            "Id=kubelet.service\nLoadState=loaded\nActiveState=failed\n\nId=docker.service\nLoadState=not-found\nActiveState=inactive\n";
        let units = blocks(text);
        let units = units.value().expect("are read");
        assert_eq!(units.keys().collect::<Vec<_>>(), ["kubelet.service"]);
        assert_eq!(units["kubelet.service"]["ActiveState"], "failed");
        assert!(blocks("").unavailable().is_some());
    }

    #[test]
    fn versions_are_found_in_what_runtimes_say() {
        assert_eq!(version("containerd github.com/containerd/containerd v1.7.24 88bf19b2").as_deref(), Some("1.7.24"));
        assert_eq!(version("Docker version 27.3.1, build 41ca978").as_deref(), Some("27.3.1"));
        assert_eq!(version("garbage"), None);
    }
}
