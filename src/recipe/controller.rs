//! What a recipe says about operators: which ones are tried, and how one that seatrial does not know is tried.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Operators that seatrial knows by name.
pub const KNOWN: [&str; 7] = ["dynamo", "jobset", "kserve", "kuberay", "kueue", "lws", "trainer"];

/// An operator that the cluster has; each one that is named is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Controller {
    /// `dynamo`, `jobset`, `kserve`, `kuberay`, `kueue`, `lws`, `trainer`, or any name for one that `described` describes.
    pub name: String,
    /// How to try an operator that seatrial does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub described: Option<ControllerKind>,
}

/// How an operator is tried, by objects of one namespaced kind of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControllerKind {
    /// `apiVersion` of its kind.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// The `spec` of an object that the schema allows and the operator's webhook must refuse.
    pub invalid: Value,
    /// The `spec` of a small object that the operator takes, and that asks for nothing: no GPU, at best no pod.
    pub valid: Value,
    /// Namespaced objects, with kind and name, that the valid one needs; made before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Value>,
    /// By what it is seen that the operator has taken the valid object up.
    pub reconciled: Sign,
    /// Names of the operator's Deployment, in whatever namespace.
    pub deployments: Vec<String>,
}

/// By what it is seen that an operator has taken an object up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Sign {
    /// Its status has a condition of this type, whatever that says.
    Condition(String),
    /// An object of this kind in its namespace has it as an owner.
    Owns {
        /// `apiVersion`.
        #[serde(rename = "apiVersion")]
        api_version: String,
        /// `kind`.
        kind: String,
    },
}

impl Controller {
    /// What is wrong with it, if anything.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let name = crate::ui::printable(&self.name);
        match (&self.described, KNOWN.contains(&self.name.as_str())) {
            (None, false) => Some(format!("`{name}` is none of {}, and `described` does not say how to try it", KNOWN.join(", "))),
            (Some(_), true) => Some(format!("{name} is known: `described` is for others, give it another name")),
            (Some(kind), false) if kind.deployments.is_empty() => Some(format!("{name}: `described` names no Deployment")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_operator_says_how_it_is_tried() {
        let read = |text: &str| crate::yaml::from_str::<Controller>(text, "x").expect("is valid").problem();
        assert_eq!(read("{name: jobset}"), None);
        assert!(read("{name: jobsets}").is_some_and(|text| text.contains("none of dynamo, jobset")));
        let described = |name: &str, deployments: &str| {
            format!(
                "{{name: {name}, described: {{apiVersion: a/v1, kind: K, invalid: {{}}, valid: {{}}, reconciled: {{condition: Ready}}, deployments: {deployments}}}}}"
            )
        };
        assert_eq!(read(&described("x", "[d]")), None);
        assert!(read(&described("x", "[]")).is_some_and(|text| text.contains("no Deployment")));
        assert!(read(&described("kueue", "[d]")).is_some());
    }
}
