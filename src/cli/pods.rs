//! What a user says about the pods that we create, as flags.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::pods::PodOptions;
use crate::ui::printable;
use crate::{files, limits, yaml};

/// How our pods look on this cluster.
#[derive(Clone, Debug, Default, Args)]
pub struct PodArgs {
    /// A label that nodes of our pods must have. Repeatable.
    #[arg(long = "node-selector", value_name = "KEY=VALUE", env = "SEATRIAL_NODE_SELECTOR", value_delimiter = ',')]
    node_selector: Vec<String>,
    /// A taint that our pods tolerate, as kubectl writes it; `*` tolerates all. Repeatable.
    #[arg(long = "toleration", value_name = "KEY[=VALUE][:EFFECT]", env = "SEATRIAL_TOLERATION", value_delimiter = ',')]
    tolerations: Vec<String>,
    /// Take images from elsewhere, e.g. registry.k8s.io=mirror.example/k8s. Repeatable; the first that fits.
    #[arg(long = "image-mirror", value_name = "FROM=TO", env = "SEATRIAL_IMAGE_MIRROR", value_delimiter = ',')]
    mirrors: Vec<String>,
    /// An image pull secret in the namespace of our pods. Repeatable.
    #[arg(long = "image-pull-secret", value_name = "NAME", env = "SEATRIAL_IMAGE_PULL_SECRET", value_delimiter = ',')]
    pull_secrets: Vec<String>,
    /// A file with a pod spec that is laid over ours, e.g. `priorityClassName: low`; it cannot change containers.
    #[arg(long, value_name = "FILE", env = "SEATRIAL_POD_TEMPLATE")]
    pod_template: Option<PathBuf>,
}

impl PodArgs {
    /// The options that the flags make.
    ///
    /// # Errors
    /// A usage error that names the flag, or the file with line and column.
    pub fn options(&self) -> Result<PodOptions> {
        let template = self.pod_template.as_ref().map(|path| {
            let name = path.display().to_string();
            let value: Value = yaml::from_str(&files::read_text(path, limits::DOCUMENT_BYTES)?, &name)?;
            match value.as_object() {
                None => Err(Error::usage(format!("{name}: a pod template is an object, such as `priorityClassName: low`"))),
                Some(fields) if fields.contains_key("spec") || fields.contains_key("kind") => {
                    Err(Error::usage(format!("{name}: a pod template is what stands under `spec` of a pod, without `kind` and `spec`")))
                }
                Some(fields) if fields.contains_key("containers") || fields.contains_key("initContainers") => {
                    Err(Error::usage(format!("{name}: a pod template cannot change containers"))
                        .hint("--image-mirror changes where images come from"))
                }
                Some(_) => Ok(value),
            }
        });
        Ok(PodOptions {
            node_selector: self.node_selector.iter().map(|text| pair("--node-selector", text)).collect::<Result<BTreeMap<_, _>>>()?,
            tolerations: self.tolerations.iter().map(|text| toleration(text)).collect::<Result<_>>()?,
            mirrors: self.mirrors.iter().map(|text| pair("--image-mirror", text)).collect::<Result<_>>()?,
            pull_secrets: self.pull_secrets.clone(),
            template: template.transpose()?,
        })
    }
}

fn pair(flag: &str, text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.to_owned(), to.to_owned())),
        _ => Err(Error::usage(format!("{flag} {}: two sides of `=` are wanted", printable(text)))),
    }
}

/// A toleration as kubectl writes taints: `key=value:effect`, `key:effect`, `key`, `*`.
fn toleration(text: &str) -> Result<Value> {
    const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if text == "*" {
        return Ok(json!({"operator": "Exists"}));
    }
    let wrong = |what: &str| Error::usage(format!("--toleration {}: {what}", printable(text)));
    let (taint, effect) = match text.split_once(':') {
        Some((taint, effect)) => (taint, Some(effect)),
        None => (text, None),
    };
    if let Some(effect) = effect.filter(|effect| !EFFECTS.contains(effect)) {
        return Err(wrong("the effect is not known").did_you_mean(
            effect,
            EFFECTS.iter().copied(),
            format!("effects: {}", EFFECTS.join(", ")),
        ));
    }
    let (key, value) = match taint.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (taint, None),
    };
    if key.is_empty() {
        return Err(wrong("the key is missing"));
    }
    let mut toleration = match value {
        Some(value) => json!({"key": key, "operator": "Equal", "value": value}),
        None => json!({"key": key, "operator": "Exists"}),
    };
    if let Some(effect) = effect {
        toleration["effect"] = json!(effect);
    }
    Ok(toleration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: PodArgs) -> Result<PodOptions> {
        args.options()
    }

    #[test]
    fn flags_are_read_as_kubectl_users_write_them() {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let read = options(PodArgs {
            node_selector: own(&["pool=gpu"]),
            tolerations: own(&["*", "dedicated=gpu:NoSchedule", "nvidia.com/gpu", "x:NoExecute"]),
            mirrors: own(&["registry.k8s.io=mirror.example/k8s"]),
            ..PodArgs::default()
        })
        .expect("valid");
        assert_eq!(read.node_selector, BTreeMap::from([("pool".to_owned(), "gpu".to_owned())]));
        let wanted = json!([
            {"operator": "Exists"},
            {"key": "dedicated", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
            {"key": "nvidia.com/gpu", "operator": "Exists"},
            {"key": "x", "operator": "Exists", "effect": "NoExecute"},
        ]);
        assert_eq!(json!(read.tolerations), wanted);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in ["", ":NoSchedule", "key:NoShedule", "=value"] {
            assert!(toleration(text).is_err(), "{text}");
        }
        assert_eq!(toleration("k:NoShedule").expect_err("misspelt").hints(), ["did you mean `NoSchedule`?"]);
        let folder = tempfile::tempdir().expect("a directory");
        for text in ["- a", "spec: {}", "containers: []", "kind: Pod"] {
            let path = folder.path().join("t.yaml");
            std::fs::write(&path, text).expect("written");
            assert!(options(PodArgs { pod_template: Some(path), ..PodArgs::default() }).is_err(), "{text}");
        }
    }
}
