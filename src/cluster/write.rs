//! Writes objects: creates, applies, deletes with UID preconditions. Nothing here is repeated blindly.

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use serde_json::Value;

use crate::cluster::read::{complete, parse};
use crate::cluster::{Cluster, ObjectRef};
use crate::error::{Kind, Result};

impl Cluster {
    /// Creates an object and returns it as the server has it.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if there is one of that name; [`Kind::Denied`], [`Kind::Schema`] (refused as invalid), …
    pub async fn create(&self, object: &Value) -> Result<Value> {
        self.create_with(object, false).await
    }

    /// Asks the server whether it would create an object; nothing is stored.
    ///
    /// # Errors
    /// As [`Cluster::create`].
    pub async fn dry_run_create(&self, object: &Value) -> Result<Value> {
        self.create_with(object, true).await
    }

    async fn create_with(&self, object: &Value, dry_run: bool) -> Result<Value> {
        let named = ObjectRef::of(object);
        let api = self.api(&named.api_version, &named.kind, named.namespace.as_deref()).await?;
        let typed: DynamicObject = parse(object.clone(), &named.kind)?;
        let params = PostParams { dry_run, ..PostParams::default() };
        let doing = format!("create {named}");
        let created = self.bounded(&doing, api.create(&params, &typed)).await?;
        complete(created, &named.api_version, &named.kind)
    }

    /// Replaces an object whose `resourceVersion` is still the one in `object`.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if someone else changed it first; as [`Cluster::create`] otherwise.
    pub async fn replace(&self, object: &Value) -> Result<Value> {
        let named = ObjectRef::of(object);
        let api = self.api(&named.api_version, &named.kind, named.namespace.as_deref()).await?;
        let typed: DynamicObject = parse(object.clone(), &named.kind)?;
        let doing = format!("replace {named}");
        let replaced = self.bounded(&doing, api.replace(&named.name, &PostParams::default(), &typed)).await?;
        complete(replaced, &named.api_version, &named.kind)
    }

    /// Applies an object by server-side apply. `force` takes over fields that others manage.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if others manage a field and `force` is off; as [`Cluster::create`] otherwise.
    pub async fn apply(&self, object: &Value, manager: &str, force: bool) -> Result<Value> {
        self.apply_with(object, PatchParams { force, ..PatchParams::apply(manager) }).await
    }

    /// Asks the API server whether it would let an object be applied, without taking over fields of others; nothing is changed.
    ///
    /// # Errors
    /// As [`Cluster::apply`].
    pub async fn dry_run_apply(&self, object: &Value, manager: &str) -> Result<()> {
        self.apply_with(object, PatchParams { dry_run: true, ..PatchParams::apply(manager) }).await.map(|_| ())
    }

    async fn apply_with(&self, object: &Value, params: PatchParams) -> Result<Value> {
        let named = ObjectRef::of(object);
        let api = self.api(&named.api_version, &named.kind, named.namespace.as_deref()).await?;
        let doing = format!("apply {named}");
        let applied = self.bounded(&doing, api.patch(&named.name, &params, &Patch::Apply(object))).await?;
        complete(applied, &named.api_version, &named.kind)
    }

    /// Applies the `status` of an object by server-side apply.
    ///
    /// # Errors
    /// As [`Cluster::apply`].
    pub async fn apply_status(&self, object: &Value, manager: &str) -> Result<Value> {
        let named = ObjectRef::of(object);
        let api = self.api(&named.api_version, &named.kind, named.namespace.as_deref()).await?;
        let params = PatchParams { force: true, ..PatchParams::apply(manager) };
        let doing = format!("apply the status of {named}");
        let applied = self.bounded(&doing, api.patch_status(&named.name, &params, &Patch::Apply(object))).await?;
        complete(applied, &named.api_version, &named.kind)
    }

    /// Deletes this very object (by UID where it is known), dependants in the background. True if it was there.
    ///
    /// # Errors
    /// [`Kind::Denied`], [`Kind::Unavailable`], …; an object that is gone, or is another of the same name, is no error.
    pub async fn delete(&self, object: &ObjectRef) -> Result<bool> {
        let api = self.api(&object.api_version, &object.kind, object.namespace.as_deref()).await?;
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: object.uid.clone(), resource_version: object.unchanged_since.clone() }),
            ..DeleteParams::default()
        };
        let doing = format!("delete {object}");
        // Deleting one UID twice is the same as once, so a cut connection may be tried again.
        let deleted = self.retried(&doing, || self.bounded(&doing, api.delete(&object.name, &params))).await;
        match deleted {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
