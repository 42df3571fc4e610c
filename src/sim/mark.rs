//! The mark by which a cluster is known as one that `seatrial sim up` started on this machine.

use std::path::Path;

use serde_json::json;

use crate::cluster::{Cluster, Target};
use crate::error::{Error, Result};
use crate::sim::home::Home;
use crate::sim::{MANAGER, SIMULATED};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "seatrial-sim";

/// Marks the cluster as the one in `home`.
pub(super) async fn write(cluster: &Cluster, home: &Home) -> Result<()> {
    let mark = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {SIMULATED: "true"}},
        "data": {"name": home.name(), "dir": home.dir()},
    });
    cluster.apply(&mark, MANAGER, true).await.map(drop)
}

/// The directory of the simulated cluster that we are connected to.
///
/// # Errors
/// [`crate::error::Kind::Usage`] if it is no such cluster, or one of another machine.
pub async fn home_of(cluster: &Cluster) -> Result<Home> {
    let no = |why: String| {
        Error::usage(format!("controllers are only started beside clusters of `seatrial sim up`, and context {} {why}", cluster.context()))
            .hint("start one: seatrial sim up; or install the controllers yourself, or name their manifests in the workflow")
    };
    let Some(mark) = cluster.get("v1", "ConfigMap", Some(NAMESPACE), NAME).await? else {
        return Err(no("is none".to_owned()));
    };
    let (Some(name), Some(dir)) = (mark["data"]["name"].as_str(), mark["data"]["dir"].as_str()) else {
        return Err(no(format!("has a mark that says nothing: configmap {NAMESPACE}/{NAME}")));
    };
    let home = Home::new(name, Some(Path::new(dir)))?;
    let elsewhere = || no(format!("says that it is in {dir}, where another or none is: it was started on another machine"));
    if home.record()?.is_none() {
        return Err(elsewhere());
    }
    // A mark can be copied; that of the cluster in the directory has an identity of its own.
    let there = Cluster::connect(&Target { kubeconfig: Some(home.kubeconfig()), context: None }).await?;
    let theirs = there.get("v1", "ConfigMap", Some(NAMESPACE), NAME).await?;
    if theirs.is_none_or(|theirs| theirs["metadata"]["uid"] != mark["metadata"]["uid"]) {
        return Err(elsewhere());
    }
    Ok(home)
}
