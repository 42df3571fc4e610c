//! Connects to a cluster by kubeconfig.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{self, Scope};
use rustls::crypto::aws_lc_rs;

use crate::cluster::kubeconfig::{self, Configured};
use crate::cluster::trouble;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::results::Retry;

/// Which cluster to connect to.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// The kubeconfig file; `KUBECONFIG`, `~/.kube/config` or the pod's service account otherwise.
    pub kubeconfig: Option<PathBuf>,
    /// The context; the file's current context otherwise.
    pub context: Option<String>,
}

/// How a kind is served: its resource, and whether its objects live in namespaces.
type Served = (ApiResource, Scope);

/// A connection to a cluster. Clones share it; [`Cluster::for_check`] gives one with a retry log of its own.
#[derive(Clone)]
pub struct Cluster {
    pub(super) client: Client,
    context: String,
    kinds: Arc<Mutex<HashMap<(String, String), Served>>>,
    retries: Arc<Mutex<Vec<Retry>>>,
    skew: jiff::SignedDuration,
}

impl Cluster {
    /// Reads the kubeconfig, connects, and asks for the server's version and time.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the kubeconfig is missing or points to nothing; [`Kind::Denied`] if its credentials are
    /// not accepted; [`Kind::Unavailable`] or [`Kind::Timeout`] if the server cannot be reached.
    pub async fn connect(target: &Target) -> Result<Self> {
        // The process-wide TLS provider; a second connection finds it installed, which is fine.
        aws_lc_rs::default_provider().install_default().unwrap_or(());
        let Configured { mut config, context, proxy, program } = kubeconfig::configure(target).await?;
        config.connect_timeout = Some(limits::CONNECT);
        // Retries are ours: only of reads, and recorded.
        config.default_retry = false;
        let server = config.cluster_url.to_string();
        let through = proxy.map(|proxy| format!(" through proxy {proxy}")).unwrap_or_default();
        let doing = format!("connect to {server}{through} (context {context})");
        let client = Client::try_from(config).map_err(|error| kubeconfig::unusable(error, &doing, program.as_deref()))?;
        let mut cluster = Self { client, context, kinds: Arc::default(), retries: Arc::default(), skew: jiff::SignedDuration::ZERO };
        let asked = cluster.retried(&doing, || cluster.measure_skew(&doing));
        cluster.skew = match tokio::time::timeout(limits::CONNECT, asked).await {
            Ok(answer) => answer?,
            // One that takes connections and says nothing would otherwise be asked again and again.
            Err(_) => return Err(trouble::too_slow(&doing, limits::CONNECT)),
        };
        Ok(cluster)
    }

    /// The kubeconfig context.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The time by the API server's clock, to a second: Leases are judged by one clock, not by each machine's own.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::now() + self.skew
    }

    /// The same connection with a retry log of its own.
    #[must_use]
    pub fn for_check(&self) -> Self {
        Self { retries: Arc::default(), ..self.clone() }
    }

    /// Reads that ended in a transient error and were repeated, since the log was last taken.
    pub fn take_retries(&self) -> Vec<Retry> {
        std::mem::take(&mut *self.retries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How the API server serves a kind: found by discovery, once per connection.
    pub(super) async fn kind(&self, api_version: &str, kind: &str) -> Result<Served> {
        let key = (api_version.to_owned(), kind.to_owned());
        if let Some(known) = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let doing = format!("look up kind {kind} of {api_version}");
        let found = self.retried(&doing, || self.bounded(&doing, discovery::pinned_kind(&self.client, &gvk))).await;
        let (resource, capabilities) = found.map_err(|error| match error.kind() {
            Kind::NotFound => Error::new(Kind::NotFound, format!("the API server serves no kind {kind} in {api_version}")),
            _ => error,
        })?;
        let entry = (resource, capabilities.scope);
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).insert(key, entry.clone());
        Ok(entry)
    }

    /// True if objects of the kind live in namespaces.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the kind is not served; as any read otherwise.
    pub async fn is_namespaced(&self, api_version: &str, kind: &str) -> Result<bool> {
        Ok(self.kind(api_version, kind).await?.1 == Scope::Namespaced)
    }

    /// Waits until a kind is served, as after its definition was created.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it still is not after a few looks.
    pub async fn wait_served(&self, api_version: &str, kind: &str) -> Result<()> {
        use backon::Retryable;
        // Discovery cannot be watched, so it is asked again, at growing distances.
        let backoff = backon::ExponentialBuilder::default().with_min_delay(limits::BACKOFF_MIN).with_max_times(6).with_jitter();
        (|| self.kind(api_version, kind)).retry(backoff).when(|error| error.kind() == Kind::NotFound).await.map(|_| ())
    }

    /// Bounds one request in time and explains its error.
    pub(super) async fn bounded<T>(&self, doing: &str, request: impl Future<Output = kube::Result<T>>) -> Result<T> {
        match tokio::time::timeout(limits::API_REQUEST, request).await {
            Ok(answer) => answer.map_err(|error| trouble::explain(error, doing)),
            Err(_) => Err(trouble::too_slow(doing, limits::API_REQUEST)),
        }
    }

    /// Repeats a read that failed in a transient way, and records each such try.
    pub(super) async fn retried<T, F: Future<Output = Result<T>>>(&self, doing: &str, mut read: impl FnMut() -> F) -> Result<T> {
        use backon::Retryable;
        let backoff = backon::ExponentialBuilder::default()
            .with_min_delay(limits::BACKOFF_MIN)
            .with_max_delay(limits::BACKOFF_MAX)
            .with_max_times(limits::API_TRIES - 1)
            .with_jitter();
        let began = Mutex::new(Instant::now());
        let record = |error: &Error, wait: Duration| {
            tracing::debug!(doing, error = error.chain(), ?wait, "trying again");
            let duration_ms = u64::try_from(began.lock().unwrap_or_else(PoisonError::into_inner).elapsed().as_millis()).unwrap_or(u64::MAX);
            let retry = Retry { message: error.chain(), duration_ms };
            self.retries.lock().unwrap_or_else(PoisonError::into_inner).push(retry);
        };
        let timed = || {
            *began.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            read()
        };
        timed.retry(backoff).when(trouble::is_transient).notify(record).await
    }

    /// Server time minus local time, by the `Date` header of the version endpoint.
    async fn measure_skew(&self, doing: &str) -> Result<jiff::SignedDuration> {
        let request = http::Request::get("/version").body(kube::client::Body::empty());
        let request = request.map_err(|error| Error::internal(doing).because(error))?;
        let answer = self.bounded(doing, self.client.send(request)).await?;
        let status = answer.status().as_u16();
        if status == 401 || status == 403 {
            return Err(Error::new(Kind::Denied, format!("{doing}: the API server answers {status}"))
                .hint("the credentials of this kubeconfig context are not accepted: renew them"));
        }
        if !answer.status().is_success() {
            return Err(Error::new(trouble::kind_of_code(status), format!("{doing}: the API server answers {status}")));
        }
        let date = answer.headers().get("date").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let server = jiff::fmt::rfc2822::parse(date).map(|zoned| zoned.timestamp());
        // The header has whole seconds: a difference below that is no difference.
        Ok(server.map_or(jiff::SignedDuration::ZERO, |server| {
            let skew = server.duration_since(Timestamp::now());
            if skew.abs() < jiff::SignedDuration::from_secs(2) { jiff::SignedDuration::ZERO } else { skew }
        }))
    }
}
