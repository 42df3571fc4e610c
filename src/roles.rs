//! The exact roles that a run needs, derived from what steps and checks declare.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cluster::{Access, Place};
use crate::error::Result;
use crate::yaml;

/// Name of the roles.
const NAME: &str = "seatrial";

/// Who is given the roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A user, as Kubernetes knows it.
    User(String),
    /// A service account.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl Subject {
    fn entry(&self) -> Value {
        match self {
            Self::User(name) => json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}),
            Self::ServiceAccount { namespace, name } => json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}),
        }
    }
}

/// The roles as YAML documents for kubectl. With a namespace, what is created is allowed there only; a role without rules is left out.
///
/// # Errors
/// An internal error if a document has no YAML form, which never happens.
pub fn to_yaml(accesses: &[Access], namespace: Option<&str>, subject: Option<&Subject>) -> Result<String> {
    let of = |places: &[Place]| rules(accesses.iter().filter(|access| places.contains(&access.place)));
    let roles = match namespace {
        Some(namespace) => [("ClusterRole", None, of(&[Place::Cluster])), ("Role", Some(namespace), of(&[Place::Scratch, Place::Lock]))],
        // The run's own namespace has a name that nobody knows beforehand, so what is created there is allowed everywhere.
        None => [("ClusterRole", None, of(&[Place::Cluster, Place::Scratch])), ("Role", Some("default"), of(&[Place::Lock]))],
    };
    let roles: Vec<_> = roles.into_iter().filter(|(_, _, rules)| !rules.is_empty()).collect();
    let mut documents: Vec<Value> = roles.iter().map(|(kind, namespace, rules)| role(kind, *namespace, rules)).collect();
    if let Some(subject) = subject {
        documents.extend(roles.iter().map(|(kind, namespace, _)| binding(kind, *namespace, subject)));
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

fn binding(kind: &str, namespace: Option<&str>, subject: &Subject) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": format!("{kind}Binding"), "metadata": metadata(namespace),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": NAME},
        "subjects": [subject.entry()],
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

    const ACCESSES: &[Access] = &[
        Access::read("", "nodes"),
        Access::scratch("", "pods"),
        Access::new("coordination.k8s.io", "leases", &["create", "update"], Place::Lock),
    ];

    fn documents(accesses: &[Access], namespace: Option<&str>, subject: Option<&Subject>) -> Vec<Value> {
        yaml::all_from_str(&to_yaml(accesses, namespace, subject).expect("roles"), "roles").expect("is YAML")
    }

    #[test]
    fn with_a_namespace_nothing_is_created_cluster_wide() {
        let documents = documents(ACCESSES, Some("trials"), None);
        let [cluster, inside] = documents.as_slice() else { panic!("{documents:?}") };
        assert_eq!(cluster["rules"], json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}]));
        assert_eq!((inside["kind"].as_str(), inside["metadata"]["namespace"].as_str()), (Some("Role"), Some("trials")));
        assert_eq!(inside["rules"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn each_role_is_bound_to_the_subject_and_a_role_without_rules_is_not_printed() {
        let account = Subject::ServiceAccount { namespace: "ci".to_owned(), name: "trial".to_owned() };
        let bound = documents(ACCESSES, Some("trials"), Some(&account));
        let kinds: Vec<&str> = bound.iter().filter_map(|document| document["kind"].as_str()).collect();
        assert_eq!(kinds, ["ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding"]);
        assert_eq!(bound[3]["subjects"], json!([{"kind": "ServiceAccount", "name": "trial", "namespace": "ci"}]));
        assert_eq!(bound[3]["metadata"]["namespace"], "trials");
        let only = documents(&ACCESSES[..1], None, Some(&Subject::User("jo".to_owned())));
        assert_eq!(only.len(), 2, "{only:?}");
        assert_eq!(only[1]["subjects"][0]["kind"], "User");
    }
}
