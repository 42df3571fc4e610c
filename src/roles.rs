//! The exact roles that a run needs, derived from what steps and checks declare.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cluster::{Access, Place};
use crate::error::Result;
use crate::preflight;
use crate::steps::Inputs;
use crate::yaml;

/// Name of the roles.
const NAME: &str = "seatrial";

/// The roles as YAML documents for kubectl. With a namespace, what is created is allowed there only.
///
/// # Errors
/// An internal error if a document has no YAML form, which never happens.
pub fn to_yaml(inputs: &Inputs, namespace: Option<&str>, user: Option<&str>) -> Result<String> {
    let accesses = preflight::accesses(inputs, namespace.is_none())?;
    let of = |places: &[Place]| rules(accesses.iter().filter(|access| places.contains(&access.place)));
    let mut documents = Vec::new();
    let lock_namespace = namespace.unwrap_or("default");
    match namespace {
        Some(namespace) => {
            documents.push(role("ClusterRole", None, &of(&[Place::Cluster])));
            documents.push(role("Role", Some(namespace), &of(&[Place::Scratch, Place::Lock])));
        }
        None => {
            // The run's own namespace has a name that nobody knows beforehand, so what is created there is allowed everywhere.
            documents.push(role("ClusterRole", None, &of(&[Place::Cluster, Place::Scratch])));
            documents.push(role("Role", Some(lock_namespace), &of(&[Place::Lock])));
        }
    }
    if let Some(user) = user {
        documents.push(binding("ClusterRole", None, user));
        documents.push(binding("Role", Some(lock_namespace), user));
    }
    let texts: Vec<String> = documents.iter().map(yaml::to_string).collect::<Result<_>>()?;
    Ok(texts.join("---\n"))
}

/// One rule per API group and set of verbs, sorted; each verb on a resource stands in one rule only.
fn rules<'a>(accesses: impl Iterator<Item = &'a Access>) -> Vec<Value> {
    let mut verbs: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for access in accesses {
        verbs.entry((access.group.as_ref(), access.resource.as_ref())).or_default().extend(access.verbs);
    }
    let mut grouped: BTreeMap<(&str, BTreeSet<&str>), Vec<&str>> = BTreeMap::new();
    for ((group, resource), verbs) in verbs {
        grouped.entry((group, verbs)).or_default().push(resource);
    }
    let rule = |((group, verbs), resources): ((&str, BTreeSet<&str>), Vec<&str>)| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    grouped.into_iter().map(rule).collect()
}

fn role(kind: &str, namespace: Option<&str>, rules: &[Value]) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata(namespace), "rules": rules})
}

fn binding(kind: &str, namespace: Option<&str>, user: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": format!("{kind}Binding"), "metadata": metadata(namespace),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": NAME},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    })
}

fn metadata(namespace: Option<&str>) -> Value {
    match namespace {
        Some(namespace) => json!({"name": NAME, "namespace": namespace}),
        None => json!({"name": NAME}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::load;
    use crate::workflow::Loaded;

    fn inputs(behavioral: bool) -> Inputs {
        let workflow = Loaded::read("conformance").expect("a workflow");
        Inputs { behavioral, ..Inputs::new(workflow, load::read("sim-h100").expect("a recipe")) }
    }

    #[test]
    fn with_a_namespace_nothing_is_created_cluster_wide() {
        let text = to_yaml(&inputs(true), Some("trials"), None).expect("roles");
        let cluster_role = text.split("---").next().expect("a document");
        for verb in ["create", "delete", "patch", "update", "\"*\"", "secrets"] {
            assert!(!cluster_role.contains(verb), "{verb} in\n{cluster_role}");
        }
        assert!(text.contains("namespace: trials"));
    }

    #[test]
    fn without_behavioural_tests_nothing_is_created_at_all() {
        let text = to_yaml(&inputs(false), None, None).expect("roles");
        assert!(!text.contains("create"), "{text}");
    }
}
