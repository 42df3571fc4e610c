//! Judges which devices containers saw; pure.

use std::collections::BTreeSet;

use crate::results::Outcome;
use crate::vendor::Devices;

/// Device nodes, by path.
pub(super) type Paths = BTreeSet<String>;

/// What came of a pod that mounts the host's `/dev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostPath {
    /// The cluster does not let such a pod be.
    Refused,
    /// It ran: device nodes that were there, and those of them that it could open.
    Ran { there: Paths, opened: Paths },
}

/// What all containers of one trial saw.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Where, and how GPUs were asked for, in words.
    pub(super) place: String,
    /// Each container that was given one GPU, while the others ran.
    pub(super) tenants: Vec<(String, Paths)>,
    /// Each container that was given none.
    pub(super) others: Vec<(String, Paths)>,
    /// The pod that mounts the host's devices.
    pub(super) host: HostPath,
    /// Devices that the tenants' claims name, `pool/device`; none where GPUs are had by a resource.
    pub(super) allocated: Vec<(String, Vec<String>)>,
    /// True if the API server took a claim with admin access in a namespace without the label; none if it knows no such thing.
    pub(super) admin_taken: Option<bool>,
    /// True if the cluster says that one GPU is lent to several.
    pub(super) shared: bool,
}

/// Judges trials, of which there is one for each way in which GPUs are had.
pub(super) fn judge(trials: &[Seen], devices: &Devices) -> Outcome {
    let mut statements: Vec<(bool, String, &'static str)> = Vec::new();
    let mut containers = Vec::new();
    for seen in trials {
        let place = &seen.place;
        containers.extend(seen.tenants.iter().chain(&seen.others).map(|(name, _)| format!("{name} ({place})")));
        // Before what tenants see: a device that everybody sees is one too many for them, too.
        for (name, paths) in &seen.others {
            let message = format!("{place}: container {name} was given no GPU and sees {}", listed(paths));
            statements.push((paths.is_empty(), message, NONE));
        }
        for (name, paths) in &seen.tenants {
            let whole = devices.whole(paths);
            let message = format!("{place}: container {name} was given 1 GPU and sees {}: {}", whole.len(), listed(&whole));
            statements.push((whole.len() == 1, message, COUNT));
        }
        for (at, (one, paths)) in seen.tenants.iter().enumerate() {
            for (other, others) in seen.tenants.iter().skip(at + 1).filter(|_| !seen.shared) {
                let both: Paths = devices.identity(paths).intersection(&devices.identity(others)).cloned().collect();
                statements.push((both.is_empty(), format!("{place}: containers {one} and {other} both see {}", listed(&both)), APART));
            }
        }
        if let HostPath::Ran { there, opened } = &seen.host {
            let message =
                format!("{place}: a pod that mounts the host's /dev can open {}, of {} that it sees", listed(opened), there.len());
            statements.push((opened.is_empty(), message, HOST));
        }
        for (claim, named) in &seen.allocated {
            let message = format!("{place}: claim {claim} asks for 1 device and holds {}: {}", named.len(), named.join(", "));
            statements.push((named.len() == 1, message, COUNT));
        }
        if let Some(taken) = seen.admin_taken {
            let message = format!("{place}: a claim with admin access is taken in a namespace without the label for it");
            statements.push((!taken, message, ADMIN));
        }
    }
    let held = statements.iter().filter(|(holds, ..)| *holds).count();
    let wrong: Vec<&(bool, String, &str)> = statements.iter().filter(|(holds, ..)| !holds).collect();
    let outcome = match wrong.first() {
        Some((_, message, fix)) => {
            let more = if wrong.len() > 1 { format!(" (and {} more)", wrong.len() - 1) } else { String::new() };
            Outcome::fail(format!("{message}{more}")).fix(*fix)
        }
        None => Outcome::pass(trials.iter().map(summary).collect::<Vec<_>>().join("; ")),
    };
    let count = containers.len();
    outcome.seen("containers", containers, count).asserted(held, statements.len())
}

const COUNT: &str = "look at the device plugin or DRA driver on that node: what it hands out for one device";
const NONE: &str = "take `accept-nvidia-visible-devices-envvar-when-unprivileged` from the container toolkit, and device nodes from the runtime's default specification";
const APART: &str = "look at the device plugin or DRA driver on that node: it hands out one device twice without saying so";
const HOST: &str =
    "enforce the baseline pod security standard where users create pods; look at why the container's device cgroup lets it open them";
const ADMIN: &str = "Kubernetes 1.34 or newer with the DRAAdminAccess feature refuses that; look at the feature gates of the API server";

fn summary(seen: &Seen) -> String {
    let tenants = seen.tenants.len();
    let apart = match (tenants, seen.shared) {
        (_, true) => "GPUs are shared by declaration, so not compared",
        (2.., false) => "no device in common",
        _ => "only one GPU to be had, so tenants were not compared",
    };
    let host = match &seen.host {
        HostPath::Refused => "hostPath to devices refused",
        HostPath::Ran { there, .. } if there.is_empty() => "the host shows no device nodes",
        HostPath::Ran { .. } => "device nodes of the host cannot be opened",
    };
    format!("{}: {tenants} containers see their one GPU, {apart}; {} without see none; {host}", seen.place, seen.others.len())
}

fn listed(paths: &Paths) -> String {
    if paths.is_empty() { "none".to_owned() } else { paths.iter().map(String::as_str).collect::<Vec<_>>().join(", ") }
}

impl Devices {
    /// The device nodes of whole GPUs.
    fn whole(&self, paths: &Paths) -> Paths {
        paths.iter().filter(|path| !self.is_part(path)).cloned().collect()
    }

    /// What tells one tenant's share from another's: parts, where GPUs are cut up.
    fn identity(&self, paths: &Paths) -> Paths {
        let parts: Paths = paths.iter().filter(|path| self.is_part(path)).cloned().collect();
        if parts.is_empty() { paths.clone() } else { parts }
    }

    fn is_part(&self, path: &str) -> bool {
        self.parts.as_deref().is_some_and(|pattern| path.starts_with(pattern.split('[').next().unwrap_or(pattern)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Verdict;
    use crate::vendor;

    fn paths(all: &[&str]) -> Paths {
        all.iter().map(|path| (*path).to_owned()).collect()
    }

    fn well() -> Seen {
        Seen {
            place: "node a, nvidia.com/gpu".to_owned(),
            tenants: vec![("one".to_owned(), paths(&["/dev/nvidia0"])), ("two".to_owned(), paths(&["/dev/nvidia3"]))],
            others: vec![("sibling".to_owned(), paths(&[])), ("bare".to_owned(), paths(&[])), ("asking".to_owned(), paths(&[]))],
            host: HostPath::Ran { there: paths(&["/host/nvidia0"]), opened: paths(&[]) },
            allocated: vec![("one".to_owned(), vec!["a/gpu-0".to_owned()])],
            admin_taken: Some(false),
            shared: false,
        }
    }

    fn judged(seen: &Seen) -> Outcome {
        judge(std::slice::from_ref(seen), &vendor::named("nvidia").expect("is known").devices).guarded()
    }

    #[track_caller]
    fn fails(change: impl FnOnce(&mut Seen), words: &str) {
        let mut seen = well();
        change(&mut seen);
        let outcome = judged(&seen);
        assert_eq!(outcome.verdict, Verdict::Fail, "{}", outcome.message);
        assert!(outcome.message.contains(words), "{}", outcome.message);
    }

    #[test]
    fn containers_that_see_what_they_were_given_pass() {
        let outcome = judged(&well());
        assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.message);
        assert_eq!((outcome.subjects.seen.len(), outcome.assertions.total), (5, 9));
        assert!(outcome.message.contains("2 containers see their one GPU, no device in common; 3 without see none"), "{}", outcome.message);
        let refused = judged(&Seen { host: HostPath::Refused, ..well() });
        assert!(refused.message.ends_with("hostPath to devices refused"), "{}", refused.message);
    }

    #[test]
    fn every_way_to_see_too_much_or_too_little_fails() {
        fails(
            |seen| seen.tenants[0].1 = paths(&["/dev/nvidia0", "/dev/nvidia1"]),
            "container one was given 1 GPU and sees 2: /dev/nvidia0, /dev/nvidia1",
        );
        fails(|seen| seen.tenants[0].1 = paths(&[]), "container one was given 1 GPU and sees 0: none");
        fails(|seen| seen.tenants[1].1 = paths(&["/dev/nvidia0"]), "containers one and two both see /dev/nvidia0");
        for (at, name) in [(0, "sibling"), (1, "bare"), (2, "asking")] {
            fails(|seen| seen.others[at].1 = paths(&["/dev/nvidia7"]), &format!("container {name} was given no GPU and sees /dev/nvidia7"));
        }
        fails(
            |seen| seen.host = HostPath::Ran { there: paths(&["/host/nvidia0"]), opened: paths(&["/host/nvidia0"]) },
            "can open /host/nvidia0",
        );
        fails(|seen| seen.allocated[0].1.push("a/gpu-1".to_owned()), "claim one asks for 1 device and holds 2: a/gpu-0, a/gpu-1");
        fails(|seen| seen.admin_taken = Some(true), "admin access is taken");
    }

    #[test]
    fn parts_of_one_gpu_are_apart_and_declared_sharing_is_no_leak() {
        let part = |number: u32| paths(&["/dev/nvidia0", &format!("/dev/nvidia-caps/nvidia-cap{number}")]);
        let mut cut = well();
        (cut.tenants[0].1, cut.tenants[1].1) = (part(3), part(12));
        assert_eq!(judged(&cut).verdict, Verdict::Pass, "{}", judged(&cut).message);
        cut.tenants[1].1 = part(3);
        assert!(judged(&cut).message.contains("both see /dev/nvidia-caps/nvidia-cap3"), "{}", judged(&cut).message);
        let mut lent = well();
        lent.tenants[1].1 = paths(&["/dev/nvidia0"]);
        lent.shared = true;
        let outcome = judged(&lent);
        assert!(outcome.verdict == Verdict::Pass && outcome.message.contains("shared by declaration"), "{}", outcome.message);
    }
}
