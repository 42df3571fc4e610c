//! Kernel settings: all of `/proc/sys`, but for what changes by itself.

use std::collections::BTreeMap;
use std::fs;

use crate::facts::collect::Root;
use crate::facts::reading::Reading;
use crate::limits;

/// Paths that are counters, random, names of this machine, or change without anyone setting them.
const CHANGING: &[&str] = &[
    "/proc/sys/dev/cdrom/",
    "/proc/sys/fs/aio-nr",
    "/proc/sys/fs/binfmt_misc/",
    "/proc/sys/fs/dentry-state",
    "/proc/sys/fs/file-nr",
    "/proc/sys/fs/inode-nr",
    "/proc/sys/fs/inode-state",
    "/proc/sys/fs/quota/",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/kernel/perf_event_max_sample_rate",
    "/proc/sys/kernel/pty/nr",
    "/proc/sys/kernel/random/",
    "/proc/sys/net/ipv4/tcp_fastopen_key",
    "/proc/sys/net/netfilter/nf_conntrack_count",
    "/proc/sys/sunrpc/transports",
    "/proc/sys/vm/stat_refresh",
];

/// Settings of each network interface; kept of physical ones, as those of pods come and go.
const PER_INTERFACE: &[&str] = &[
    "/proc/sys/net/ipv4/conf/",
    "/proc/sys/net/ipv4/neigh/",
    "/proc/sys/net/ipv6/conf/",
    "/proc/sys/net/ipv6/neigh/",
    "/proc/sys/net/mpls/conf/",
];

/// All settings that can be read, by path.
pub(super) fn collect(root: &Root) -> Reading<BTreeMap<String, String>> {
    if let Err(why) = root.names("/proc/sys") {
        return Reading::Unavailable(why);
    }
    let mut settings = BTreeMap::new();
    let mut folders = vec!["/proc/sys".to_owned()];
    while let Some(folder) = folders.pop() {
        for name in root.names(&folder).unwrap_or_default() {
            let path = format!("{folder}/{name}");
            let Ok(about) = fs::symlink_metadata(root.join(&path)) else { continue };
            if about.is_dir() && path.matches('/').count() < limits::SYSCTL_DEPTH {
                if wanted(root, &format!("{path}/")) {
                    folders.push(path);
                }
            } else if about.is_file() && wanted(root, &path) && settings.len() < limits::SYSCTLS {
                // One that may only be written, or that only root may read, is left out.
                if let Ok(value) = root.text(&path) {
                    settings.insert(path, value);
                }
            }
        }
    }
    Reading::Value(settings)
}

fn wanted(root: &Root, path: &str) -> bool {
    if CHANGING.iter().any(|one| if one.ends_with('/') { path.starts_with(one) } else { path == *one }) {
        return false;
    }
    let interface = PER_INTERFACE.iter().find_map(|folder| path.strip_prefix(folder)).and_then(|rest| rest.split('/').next());
    interface.is_none_or(|name| {
        name.is_empty() || matches!(name, "all" | "default") || root.join(&format!("/sys/class/net/{name}/device")).exists()
    })
}
