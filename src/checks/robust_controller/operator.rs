//! The operators that are tried: those that a recipe names, or the known ones that the cluster has.

use std::sync::LazyLock;

use serde_json::Value;

use crate::checks::Cx;
use crate::cluster::{Access, Place, Query};
use crate::error::{Error, Kind, Result};
use crate::recipe::Recipe;
use crate::recipe::controller::{Controller, ControllerKind, Sign};
use crate::yaml;

static TABLE: LazyLock<Result<Vec<Controller>>> = LazyLock::new(|| yaml::from_str(include_str!("known.yaml"), "known.yaml"));

/// The operators that are known.
pub(super) fn known() -> Result<&'static [Controller]> {
    TABLE.as_deref().map_err(|error| Error::internal(format!("read the known operators: {}", error.chain())))
}

/// How an operator is tried that a recipe names.
fn kind_of(controller: &Controller) -> Option<&ControllerKind> {
    controller.described.as_ref().or_else(|| known().ok()?.iter().find(|one| one.name == controller.name)?.described.as_ref())
}

/// The operators that a recipe means, and whether it names them.
pub(super) fn meant(recipe: &Recipe) -> Vec<(String, &ControllerKind)> {
    let named: &[Controller] = &recipe.spec.controllers;
    let all = if named.is_empty() { known().unwrap_or_default() } else { named };
    all.iter().filter_map(|controller| Some((controller.name.clone(), kind_of(controller)?))).collect()
}

/// What is read and made for one.
pub(super) fn accesses(kind: &ControllerKind) -> Vec<Access> {
    const MAKES: &[&str] = &["create", "delete", "get", "list", "watch"];
    const READS: &[&str] = &["get", "list", "watch"];
    let scratch = |api_version: &str, kind: &str, verbs: &'static [&'static str]| Access {
        place: Place::Scratch,
        ..Access::of_kind(api_version, kind, verbs)
    };
    let mut accesses = vec![scratch(&kind.api_version, &kind.kind, MAKES)];
    let text = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    accesses.extend(kind.before.iter().map(|object| scratch(&text(object, "apiVersion"), &text(object, "kind"), MAKES)));
    if let Sign::Owns { api_version, kind } = &kind.reconciled {
        accesses.push(scratch(api_version, kind, READS));
    }
    accesses
}

/// An operator that the cluster has.
pub(super) struct Operator {
    pub(super) name: String,
    pub(super) kind: ControllerKind,
    /// The group of its kind.
    pub(super) group: String,
    /// What the API server calls objects of its kind, in the plural.
    pub(super) plural: String,
    /// Its Deployment, where it runs as one.
    pub(super) deployment: Option<Value>,
}

impl Operator {
    /// Looks it up; none if the API server does not serve its kind.
    pub(super) async fn find(cx: &Cx<'_>, name: &str, kind: &ControllerKind) -> Result<Option<Self>> {
        match cx.cluster.is_namespaced(&kind.api_version, &kind.kind).await {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let served = cx.cluster.as_served(vec![Access::of_kind(&kind.api_version, &kind.kind, &["get"])]).await?;
        let Some(access) = served.into_iter().next() else { return Ok(None) };
        let deployments = cx.cluster.list("apps/v1", "Deployment", &Query::all()).await?;
        let own = |object: &&Value| object["metadata"]["name"].as_str().is_some_and(|name| kind.deployments.iter().any(|one| one == name));
        Ok(Some(Self {
            name: name.to_owned(),
            kind: kind.clone(),
            group: access.group.into_owned(),
            plural: access.resource.into_owned(),
            deployment: deployments.iter().find(own).cloned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::controller::KNOWN;

    #[test]
    fn the_table_holds_every_known_operator_and_the_valid_object_is_not_the_invalid_one() {
        let table = known().expect("is valid");
        let names: Vec<&str> = table.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, KNOWN, "To fix: name in src/recipe/controller.rs what known.yaml holds, in its order");
        for one in table {
            let kind = one.described.as_ref().expect("is described");
            assert_ne!(kind.invalid, kind.valid, "{}", one.name);
            assert!(!kind.deployments.is_empty() && !accesses(kind).is_empty(), "{}", one.name);
        }
    }
}
