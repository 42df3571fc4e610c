//! Add-ons that a run starts beside a simulated cluster: only those that are missing, and removed with the run.

use std::fs;

use tokio::time::Instant;

use crate::cluster::{Cluster, Query};
use crate::error::{Context, Error, Kind, Result};
use crate::limits;
use crate::sim::addons::{Chosen, Place, Running, Settings, lost, running, start};
use crate::sim::processes;
use crate::ui::Ui;

/// Sees that an add-on runs: one that does is left as it is. True if it was started now, with these settings, for their run.
///
/// # Errors
/// [`Kind::Unavailable`] if it was started and has ended since; as [`Chosen::new`] and [`start`] otherwise, and then nothing of it is left.
pub async fn ensure(place: &Place, name: &str, settings: Settings, exposed: bool, deadline: Instant, ui: &Ui) -> Result<bool> {
    if let Some(there) = running(&place.dir)?.into_iter().find(|there| there.name == name && !there.processes.is_empty()) {
        return match lost(&place.dir).filter(|(process, _)| there.processes.contains_key(process)) {
            None => Ok(false),
            Some((process, log)) => {
                Err(Error::new(Kind::Unavailable, format!("add-on {name} of this simulated cluster has ended: {process}"))
                    .hint(format!("its log: {}", log.display())))
            }
        };
    }
    let run = settings.run.clone().unwrap_or_default();
    let chosen = Chosen { settings, ..Chosen::new(&[name.to_owned()], exposed, "say so in the workflow")? };
    let cluster = connect(place).await?;
    if let Err(error) = start(place, &cluster, &chosen, deadline, ui).await {
        // The first error is the one to report.
        remove_of_run(place, &run).await.unwrap_or(());
        return Err(error);
    }
    Ok(true)
}

/// Runs on whose behalf add-ons were started here.
///
/// # Errors
/// As [`running`].
pub fn runs(place: &Place) -> Result<Vec<String>> {
    Ok(running(&place.dir)?.into_iter().filter_map(|there| there.run).collect())
}

/// Removes the add-ons that were started for a run: what was installed for it, the last first, then the processes.
///
/// What the run itself made of their kinds has to be gone before: afterwards nobody is there to let go of it.
///
/// # Errors
/// [`Kind::Timeout`] if something does not go; errors of the API server.
pub async fn remove_of_run(place: &Place, run: &str) -> Result<()> {
    for there in running(&place.dir)?.into_iter().filter(|there| there.run.as_deref() == Some(run)) {
        remove(place, &there).await.with_context(|| format!("remove add-on {}", there.name))?;
    }
    Ok(())
}

async fn remove(place: &Place, there: &Running) -> Result<()> {
    let cluster = connect(place).await?;
    for object in there.installed.iter().rev() {
        if cluster.delete(object).await? {
            let uid = object.uid.clone().unwrap_or_default();
            let query = Query { namespace: object.namespace.clone(), ..Query::default() }.named(&object.name);
            let gone = |seen: &[&serde_json::Value]| seen.iter().all(|seen| seen["metadata"]["uid"] != uid.as_str()).then_some(());
            let kind = (object.api_version.as_str(), object.kind.as_str());
            cluster.wait_until(kind, &query, &format!("{object} to be gone"), limits::CLEANUP, gone).await?;
        }
    }
    let names: Vec<String> = there.processes.keys().cloned().collect();
    processes::end_named(&place.dir, &names).await?;
    for name in &names {
        for file in [place.dir.join("pids").join(format!("{name}.pid")), place.dir.join("bin").join(name)] {
            fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
        }
    }
    let folder = place.dir.join(&there.name);
    fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))
}

async fn connect(place: &Place) -> Result<Cluster> {
    let target = crate::cluster::Target { kubeconfig: Some(place.kubeconfig.clone()), context: None };
    Cluster::connect(&target).await
}
