//! Watches that something stays as it is for a while.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Cluster, Query};
use crate::error::{Kind, Result};

/// Watches objects for the whole of `dwell`, and returns what `broken` yields as soon as it yields something; `None` if it never did.
///
/// # Errors
/// As [`Cluster::wait_until`]: a watch that could not be kept up, or that showed nothing at all, is not an unbroken while.
pub(super) async fn broken_within<T>(
    cluster: &Cluster,
    kind: (&str, &str),
    query: &Query,
    what: &str,
    dwell: Duration,
    mut broken: impl FnMut(&[&Value]) -> Option<T>,
) -> Result<Option<T>> {
    let mut looked = false;
    let watched = cluster.wait_until(kind, query, what, dwell, |objects| {
        looked = true;
        broken(objects)
    });
    match watched.await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == Kind::Timeout && looked => Ok(None),
        Err(error) => Err(error),
    }
}
