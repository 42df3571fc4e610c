//! Reads objects: page by page, repeated when the trouble is transient.

use std::collections::BTreeMap;

use kube::api::{Api, DynamicObject, ListParams};
use kube::core::Request;
use kube::discovery::Scope;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::Cluster;
use crate::error::{Error, Kind, Result};
use crate::limits;

/// What to list or watch.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Only in this namespace; everywhere otherwise.
    pub namespace: Option<String>,
    /// A label selector.
    pub labels: Option<String>,
    /// A field selector.
    pub fields: Option<String>,
}

impl Query {
    /// Everything of the kind, in all namespaces.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Only in this namespace.
    #[must_use]
    pub fn within(namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..Self::default() }
    }

    /// Only with this label selector.
    #[must_use]
    pub fn labelled(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Only the object of this name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.fields = Some(format!("metadata.name={name}"));
        self
    }
}

/// What the API server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVersion {
    /// e.g. `v1.35.4`.
    pub git_version: String,
    /// e.g. `linux/amd64`.
    pub platform: String,
    /// e.g. `go1.26.1`.
    pub go_version: String,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(default)]
    metadata: PageMetadata,
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    continue_token: Option<String>,
}

impl Cluster {
    /// Lists objects of a kind, complete with `apiVersion` and `kind`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the kind is not served; [`Kind::Denied`], [`Kind::Unavailable`], [`Kind::Timeout`].
    pub async fn list(&self, api_version: &str, kind: &str, query: &Query) -> Result<Vec<Value>> {
        let api = self.api(api_version, kind, query.namespace.as_deref()).await?;
        let place = query.namespace.as_deref().map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
        let doing = format!("list {kind} of {api_version}{place}");
        self.retried(&doing, || self.list_pages(&api, api_version, kind, query, &doing)).await
    }

    /// Goes through the objects of a kind page by page, each read as a type that says what is wanted of it: what is not asked for is
    /// never kept, so that a large cluster takes no more memory than what comes of it. A page that fails starts again from `start`.
    ///
    /// It is a task of its own: large lists are then read side by side, each by the worker that its connection woke.
    ///
    /// # Errors
    /// As [`Cluster::list`]; [`Kind::Internal`] if an object does not have the form.
    pub async fn fold<T: DeserializeOwned, A: Send + 'static>(
        &self,
        api_version: &str,
        kind: &str,
        start: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&mut A, T) + Send + Sync + 'static,
    ) -> Result<A> {
        let api = self.api(api_version, kind, None).await?;
        let doing = format!("list {kind} of {api_version}");
        let request = Request::new(api.resource_url());
        let cluster = self.clone();
        let task = tokio::spawn(async move { cluster.retried(&doing, || cluster.fold_pages(&request, &doing, &start, &add)).await });
        AbortOnDropHandle::new(task).await.unwrap_or_else(|error| Err(Error::internal("read a list").because(error)))
    }

    async fn fold_pages<T: DeserializeOwned, A>(
        &self,
        request: &Request,
        doing: &str,
        start: &impl Fn() -> A,
        add: &impl Fn(&mut A, T),
    ) -> Result<A> {
        let mut found = start();
        let mut params = ListParams { limit: Some(limits::API_PAGE), ..ListParams::default() };
        loop {
            let page = request.list(&params).map_err(|error| Error::internal(doing).because(error))?;
            let page: Page<T> = self.bounded(doing, self.client.request(page)).await?;
            page.items.into_iter().for_each(|object| add(&mut found, object));
            params.continue_token = page.metadata.continue_token.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(found);
            }
        }
    }

    /// Lists objects of a kind as a type, whose JSON form they must have.
    ///
    /// # Errors
    /// As [`Cluster::list`]; [`Kind::Schema`] if an object does not have the form.
    pub async fn list_as<T: DeserializeOwned>(&self, api_version: &str, kind: &str, query: &Query) -> Result<Vec<T>> {
        let objects = self.list(api_version, kind, query).await?;
        objects.into_iter().map(|object| parse(object, kind)).collect()
    }

    /// Gets one object; `None` if there is none of that name.
    ///
    /// # Errors
    /// As [`Cluster::list`].
    pub async fn get(&self, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Result<Option<Value>> {
        let api = self.api(api_version, kind, namespace).await?;
        let doing = format!("get {} {}", kind.to_lowercase(), namespace.map_or_else(|| name.to_owned(), |place| format!("{place}/{name}")));
        let found = self.retried(&doing, || self.bounded(&doing, api.get_opt(name))).await?;
        found.map(|object| complete(object, api_version, kind)).transpose()
    }

    /// Served API groups with their versions, the preferred one first; the core group is `""`.
    ///
    /// # Errors
    /// As [`Cluster::list`].
    pub async fn api_groups(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let doing = "list API groups";
        let groups = self.retried(doing, || self.bounded(doing, self.client.list_api_groups())).await?;
        let mut served = BTreeMap::from([(String::new(), vec!["v1".to_owned()])]);
        for group in groups.groups {
            let mut versions: Vec<String> = group.versions.into_iter().map(|version| version.version).collect();
            if let Some(preferred) = group.preferred_version {
                versions.sort_by_key(|version| *version != preferred.version);
            }
            served.insert(group.name, versions);
        }
        Ok(served)
    }

    /// The version of the API server.
    ///
    /// # Errors
    /// As [`Cluster::list`].
    pub async fn server_version(&self) -> Result<ServerVersion> {
        let doing = "ask the API server for its version";
        let info = self.retried(doing, || self.bounded(doing, self.client.apiserver_version())).await?;
        Ok(ServerVersion { git_version: info.git_version, platform: info.platform, go_version: info.go_version })
    }

    /// The client for a kind; cluster-scoped kinds take no namespace.
    pub(super) async fn api(&self, api_version: &str, kind: &str, namespace: Option<&str>) -> Result<Api<DynamicObject>> {
        let (resource, scope) = self.kind(api_version, kind).await?;
        Ok(match (scope, namespace) {
            (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            _ => Api::all_with(self.client.clone(), &resource),
        })
    }

    async fn list_pages(&self, api: &Api<DynamicObject>, api_version: &str, kind: &str, query: &Query, doing: &str) -> Result<Vec<Value>> {
        let mut params = ListParams { label_selector: query.labels.clone(), field_selector: query.fields.clone(), ..ListParams::default() };
        params.limit = Some(limits::API_PAGE);
        let mut objects = Vec::new();
        loop {
            let page = self.bounded(doing, api.list(&params)).await?;
            for object in page.items {
                objects.push(complete(object, api_version, kind)?);
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(objects);
            }
        }
    }
}

/// An object's JSON with `apiVersion` and `kind`, which items of a list lack.
pub(super) fn complete(object: DynamicObject, api_version: &str, kind: &str) -> Result<Value> {
    let mut value = serde_json::to_value(object).map_err(|error| Error::internal("read an object's JSON").because(error))?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("apiVersion".to_owned(), json!(api_version));
        fields.insert("kind".to_owned(), json!(kind));
    }
    Ok(value)
}

/// Reads an object as a type.
///
/// # Errors
/// [`Kind::Schema`] if it does not have the form.
pub fn parse<T: DeserializeOwned>(object: Value, kind: &str) -> Result<T> {
    serde_json::from_value(object)
        .map_err(|error| Error::new(Kind::Schema, format!("read a {kind} that the API server sent")).because(error))
}
