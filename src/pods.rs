//! How our pods look on this cluster: selectors, tolerations, images and mirrors that its users give.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

/// What a user says about all pods that we create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodOptions {
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations, as in a pod.
    pub tolerations: Vec<Value>,
    /// Prefixes of image names and what takes their place, first match: `registry.k8s.io` → `mirror.example/k8s`.
    pub mirrors: Vec<(String, String)>,
    /// Names of image pull secrets in the run's namespace.
    pub pull_secrets: Vec<String>,
    /// Fields of a pod spec that are laid over ours: objects are merged, anything else is replaced.
    pub template: Option<Value>,
}

impl PodOptions {
    /// Changes a pod spec.
    pub fn apply(&self, spec: &mut Value) {
        for (key, value) in &self.node_selector {
            spec["nodeSelector"][key] = json!(value);
        }
        let tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
        let more: Vec<Value> = self.tolerations.iter().filter(|one| !tolerations.contains(one)).cloned().collect();
        if !more.is_empty() {
            spec["tolerations"] = tolerations.into_iter().chain(more).collect();
        }
        for name in &self.pull_secrets {
            match spec["imagePullSecrets"].as_array_mut() {
                Some(list) => list.push(json!({"name": name})),
                None => spec["imagePullSecrets"] = json!([{"name": name}]),
            }
        }
        if let Some(template) = &self.template {
            merge(spec, template);
        }
        for group in ["initContainers", "containers"] {
            for container in spec[group].as_array_mut().into_iter().flatten() {
                if let Some(image) = container["image"].as_str() {
                    container["image"] = json!(self.image(image));
                }
            }
        }
    }

    /// The image name after mirrors.
    #[must_use]
    pub fn image(&self, name: &str) -> String {
        let mirrored = self.mirrors.iter().find_map(|(from, to)| {
            let rest = name.strip_prefix(from.as_str())?;
            (rest.is_empty() || rest.starts_with(['/', ':', '@']) || from.ends_with('/')).then(|| format!("{to}{rest}"))
        });
        mirrored.unwrap_or_else(|| name.to_owned())
    }
}

/// Lays one value over another: objects are merged, anything else is replaced.
fn merge(onto: &mut Value, over: &Value) {
    match (onto, over) {
        (Value::Object(onto), Value::Object(over)) => {
            for (key, value) in over {
                merge(onto.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (onto, over) => *onto = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_says_is_laid_over_a_pod_and_images_come_from_mirrors() {
        let mut spec = json!({
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "securityContext": {"runAsUser": 1},
            "containers": [{"name": "x", "image": "registry.k8s.io/pause:3.10"}, {"name": "y", "image": "registry.k8s.iox/pause"}],
        });
        let options = PodOptions {
            node_selector: BTreeMap::from([("pool".to_owned(), "gpu".to_owned())]),
            tolerations: vec![json!({"key": "a", "operator": "Exists"}), json!({"key": "b", "operator": "Exists"})],
            mirrors: vec![("registry.k8s.io".to_owned(), "mirror.example/k8s".to_owned())],
            pull_secrets: vec!["s".to_owned()],
            template: Some(json!({"securityContext": {"runAsGroup": 2}, "priorityClassName": "low"})),
        };
        options.apply(&mut spec);
        assert_eq!(spec["nodeSelector"], json!({"pool": "gpu"}));
        assert_eq!(spec["tolerations"].as_array().map(Vec::len), Some(2), "{spec}");
        assert_eq!(spec["securityContext"], json!({"runAsUser": 1, "runAsGroup": 2}));
        assert_eq!(spec["priorityClassName"], "low");
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "s"}]));
        assert_eq!(spec["containers"][0]["image"], "mirror.example/k8s/pause:3.10");
        assert_eq!(spec["containers"][1]["image"], "registry.k8s.iox/pause", "another registry");
    }
}
