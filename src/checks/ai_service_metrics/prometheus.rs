//! One Prometheus, asked through the API server.

use serde_json::Value;

use crate::cluster::{Cluster, ObjectRef};
use crate::error::{Error, Kind, Result};

/// A Prometheus pod.
pub(super) struct Prometheus<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) pod: ObjectRef,
    pub(super) port: u16,
}

/// What is known of the target that our pod should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Prometheus does not know the pod.
    Absent,
    /// It knows it, and drops it or cannot scrape it: why.
    Down(String),
    /// It scrapes it.
    Up,
}

impl Prometheus<'_> {
    /// The values of an instant query, one for each series.
    ///
    /// # Errors
    /// As [`Cluster::forward_get`]; [`Kind::Integrity`] if the answer is none of Prometheus' API.
    pub(super) async fn query(&self, query: &str) -> Result<Vec<f64>> {
        let answer = self.ask("/api/v1/query", &[("query", query)]).await?;
        let result = answer["data"]["result"].as_array().ok_or_else(|| self.odd("no result"))?;
        let value = |series: &Value| series["value"][1].as_str().and_then(|text| text.parse::<f64>().ok());
        result.iter().map(value).collect::<Option<Vec<f64>>>().ok_or_else(|| self.odd("a value that is no number"))
    }

    /// What it knows of a pod as a target.
    ///
    /// # Errors
    /// As [`Prometheus::query`].
    pub(super) async fn target(&self, pod: &ObjectRef) -> Result<Target> {
        let answer = self.ask("/api/v1/targets", &[("state", "active")]).await?;
        let targets = answer["data"]["activeTargets"].as_array().ok_or_else(|| self.odd("no list of targets"))?;
        Ok(of(targets, pod))
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let path = format!("{path}?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish());
        let answer = self.cluster.forward_get(&self.pod, self.port, &path).await?;
        if answer.status.is_server_error() {
            return Err(Error::new(Kind::Unavailable, format!("{} answers {} for {path}", self.pod, answer.status.as_u16())));
        }
        let parsed: Value = serde_json::from_slice(&answer.body).map_err(|error| self.odd("no JSON").because(error))?;
        if parsed["status"] == "success" { Ok(parsed) } else { Err(self.odd(parsed["error"].as_str().unwrap_or("no success"))) }
    }

    fn odd(&self, what: &str) -> Error {
        Error::new(Kind::Integrity, format!("{} on port {} does not answer as Prometheus' API does: {what}", self.pod, self.port))
    }
}

/// A pod among targets; pure.
fn of(targets: &[Value], pod: &ObjectRef) -> Target {
    let ours = targets.iter().find(|target| {
        let found = &target["discoveredLabels"];
        found["__meta_kubernetes_pod_name"] == pod.name.as_str()
            && found["__meta_kubernetes_namespace"].as_str() == pod.namespace.as_deref()
    });
    match ours {
        None => Target::Absent,
        Some(target) if target["health"] == "up" => Target::Up,
        Some(target) => Target::Down(target["lastError"].as_str().filter(|why| !why.is_empty()).unwrap_or("not scraped yet").to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_found_among_targets_by_name_and_namespace() {
        let target = |namespace: &str, health: &str| {
            json!({"health": health, "lastError": if health == "up" { "" } else { "connection refused" },
                "discoveredLabels": {"__meta_kubernetes_pod_name": "x", "__meta_kubernetes_namespace": namespace}})
        };
        let pod = ObjectRef::new("v1", "Pod", Some("a"), "x");
        assert_eq!(of(&[target("b", "up")], &pod), Target::Absent);
        assert_eq!(of(&[target("b", "up"), target("a", "down")], &pod), Target::Down("connection refused".to_owned()));
        assert_eq!(of(&[target("a", "up")], &pod), Target::Up);
    }
}
