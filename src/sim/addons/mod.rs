//! Controllers beside a simulated control plane: which there are, what each needs, and how a set of them is started.
//!
//! Each is a file of its own here with an [`Addon`], and a line in [`ALL`]. Its programs run on this machine with the
//! administrator's kubeconfig and outlive the command; everything of them lies in one folder, from which they are found and ended.

pub mod jobset;
pub mod kai;
pub mod karpenter;
pub mod kueue;
pub mod lws;
pub mod metrics_server;
pub mod trainer;
pub mod volcano;

mod certificates;
mod guest;
mod starting;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::cluster::{Cluster, ObjectRef};
use crate::error::{Context, Error, Result};
use crate::sim::{binaries, processes};
use crate::ui::Ui;
use crate::{files, limits};

pub use guest::{ensure, remove_of_run, runs};
pub(super) use starting::{Process, Starting};

/// A controller that can run beside a simulated control plane.
#[derive(Debug)]
pub struct Addon {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it brings, in a few words.
    pub what: &'static str,
    /// Add-ons that have to be there first; they stand before it in [`ALL`].
    pub needs: &'static [&'static str],
    /// The programs that it runs, by the names that `testenv/get.sh` has for them.
    pub programs: &'static [&'static str],
    /// What of it listens on all interfaces of the machine because it cannot do otherwise; said, and asked for.
    pub exposed: Option<&'static str>,
    /// Installs and starts it, and returns when it was seen to work.
    start: for<'a> fn(&'a Starting<'a>) -> BoxFuture<'a, Result<()>>,
}

/// All add-ons, in the order in which they are started.
pub static ALL: &[&Addon] =
    &[&jobset::ADDON, &lws::ADDON, &trainer::ADDON, &kueue::ADDON, &volcano::ADDON, &kai::ADDON, &karpenter::ADDON, &metrics_server::ADDON];

/// What add-ons are told instead of their defaults.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Karpenter: the kinds of machines.
    pub instance_types: Option<Vec<karpenter::InstanceType>>,
    /// The run on whose behalf they are started: what is installed for it is noted, to be removed with it.
    pub run: Option<String>,
    /// Karpenter: the pools to make; with an empty list, whoever started it makes them.
    pub pools: Option<Vec<karpenter::Pool>>,
}

/// Add-ons that were chosen, with those that they need, and their programs.
#[derive(Debug, Default)]
pub struct Chosen {
    /// What they are told.
    pub settings: Settings,
    addons: Vec<&'static Addon>,
    programs: BTreeMap<&'static str, PathBuf>,
}

impl Chosen {
    /// Looks up add-ons by name, adds those that they need, and finds their programs.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] if there is no such add-on, if a program is missing, or if one listens on all interfaces and `exposed`
    /// does not say that this is wanted; `how` is how to say it.
    pub fn new(names: &[String], exposed: bool, how: &str) -> Result<Self> {
        let addons = with_needs(names)?;
        for addon in &addons {
            if let (Some(what), false) = (addon.exposed, exposed) {
                let message = format!("add-on {} listens on all interfaces of this machine: {what}", addon.name);
                return Err(Error::usage(message).hint(format!("if nobody else can reach this machine, or that is acceptable: {how}")));
            }
        }
        let mut programs = BTreeMap::new();
        for addon in &addons {
            for program in addon.programs {
                programs.insert(*program, find(addon, program)?);
            }
        }
        Ok(Self { settings: Settings::default(), addons, programs })
    }

    /// Their names, in the order in which they are started.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.addons.iter().map(|addon| addon.name).collect()
    }
}

/// The add-ons of these names and those that they need, in the order in which they are started.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if there is no such add-on.
pub fn with_needs(names: &[String]) -> Result<Vec<&'static Addon>> {
    let mut wanted = BTreeSet::new();
    let mut open: Vec<&str> = names.iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        let Some(addon) = ALL.iter().find(|addon| addon.name == name) else {
            let known: Vec<&str> = ALL.iter().map(|addon| addon.name).collect();
            let all = format!("add-ons: {}", known.join(", "));
            return Err(Error::usage(format!("there is no add-on `{}`", crate::ui::printable(name))).did_you_mean(name, known, all));
        };
        if wanted.insert(addon.name) {
            open.extend(addon.needs);
        }
    }
    Ok(ALL.iter().copied().filter(|addon| wanted.contains(addon.name)).collect())
}

fn find(addon: &Addon, program: &str) -> Result<PathBuf> {
    let variable = binaries::variable(program);
    binaries::locate(program)?.ok_or_else(|| {
        Error::usage(format!("find {program}, which add-on {} runs: it is neither in ${variable} nor on the PATH", addon.name))
            .hint(format!("in a checkout of seatrial: export {variable}=$(testenv/get.sh {program} | cut -d= -f2)"))
    })
}

/// Where add-ons run: a folder for everything of them, and the cluster that they work on.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder: `bin`, `logs`, `pids`, and one of each add-on's own.
    pub dir: PathBuf,
    /// The kubeconfig that they are given.
    pub kubeconfig: PathBuf,
}

/// What is known of an add-on that was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// Process → process id.
    pub processes: BTreeMap<String, u32>,
    /// What it listens for → port on 127.0.0.1.
    pub ports: BTreeMap<String, u16>,
    /// Process → its log.
    pub logs: BTreeMap<String, PathBuf>,
    /// The run that started it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What was installed for that run and was not there before, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub installed: Vec<ObjectRef>,
}

/// Starts add-ons one after the other, and waits until each was seen to work.
///
/// # Errors
/// [`crate::error::Kind::Unavailable`] with the end of the log of a process that ended; [`crate::error::Kind::Timeout`] with what was waited for; errors of
/// the API server. What was started until then is still there: [`end`] removes it.
pub async fn start(place: &Place, cluster: &Cluster, chosen: &Chosen, deadline: Instant, ui: &Ui) -> Result<()> {
    for addon in &chosen.addons {
        let mut tries = 1;
        loop {
            let starting = Starting::new(addon, place, cluster, chosen, deadline, ui)?;
            match (addon.start)(&starting).await {
                Ok(()) => break,
                // Ports are chosen free, and another program may still be quicker.
                Err(error) if tries < limits::SIM_TRIES && starting.lost_a_port(&error) => {
                    tries += 1;
                    starting.end().await?;
                }
                Err(error) => return Err(error.context(format!("start add-on {}", addon.name))),
            }
        }
    }
    Ok(())
}

/// The add-ons that were started in a folder, by name.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if what was recorded of one cannot be read.
pub fn running(dir: &Path) -> Result<Vec<Running>> {
    let mut found = Vec::new();
    for addon in ALL {
        let path = record_path(dir, addon.name);
        if path.exists() {
            let record = serde_json::from_str(&files::read_text(&path, limits::DOCUMENT_BYTES)?);
            found.push(record.map_err(|error| Error::usage(format!("read {}", path.display())).because(error))?);
        }
    }
    Ok(found)
}

/// The first process of the folder that has ended since it was started, with its log.
#[must_use]
pub fn lost(dir: &Path) -> Option<(String, PathBuf)> {
    let name = processes::lost(dir).into_iter().next()?;
    let log = log_path(dir, &name);
    Some((name, log))
}

/// Kills all processes of the folder and waits until they are gone; the folder itself stays.
///
/// # Errors
/// [`crate::error::Kind::Timeout`] if one does not end.
pub async fn end(dir: &Path) -> Result<()> {
    processes::end(dir).await
}

fn record_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(name).join("addon.json")
}

fn log_path(dir: &Path, process: &str) -> PathBuf {
    dir.join("logs").join(format!("{process}.log"))
}

fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn each_name_is_there_once_and_what_an_addon_needs_stands_before_it() {
        for (index, addon) in ALL.iter().enumerate() {
            let before: Vec<&str> = ALL[..index].iter().map(|addon| addon.name).collect();
            assert!(!before.contains(&addon.name), "{} is there twice", addon.name);
            assert!(addon.needs.iter().all(|needed| before.contains(needed)), "{} needs what comes later", addon.name);
        }
    }

    #[test]
    fn an_unknown_addon_is_refused_with_the_nearest_name() {
        let error = Chosen::new(&["keueu".to_owned()], false, "").expect_err("there is none");
        assert_eq!((error.kind(), error.hints()[0].as_str()), (Kind::Usage, "did you mean `kueue`?"));
    }
}
