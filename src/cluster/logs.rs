//! Reads what a container has written: bounded in bytes and time, repeated when the trouble is transient.

use futures::AsyncReadExt;
use kube::api::LogParams;
use kube::core::Request;

use crate::cluster::{Cluster, ObjectRef, trouble};
use crate::error::{Error, Kind, Result};
use crate::limits;

impl Cluster {
    /// What a container of a pod has written so far, up to `limit` bytes; stdout and stderr as kubelet keeps them.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if kubelet cannot be asked or the answer is cut off each time, [`Kind::Timeout`], [`Kind::Denied`],
    /// [`Kind::NotFound`].
    pub async fn logs(&self, pod: &ObjectRef, container: &str, limit: u64) -> Result<String> {
        let doing = format!("read the log of container {container} of {pod}");
        let bytes = self.retried(&doing, || self.logs_once(pod, container, limit, &doing)).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn logs_once(&self, pod: &ObjectRef, container: &str, limit: u64, doing: &str) -> Result<Vec<u8>> {
        let namespace = pod.namespace.as_deref().unwrap_or_default();
        let params = LogParams { container: Some(container.to_owned()), ..LogParams::default() };
        let request = Request::new(format!("/api/v1/namespaces/{namespace}/pods")).logs(&pod.name, &params);
        let request = request.map_err(|error| Error::internal(doing).because(error))?;
        let read = async {
            let stream = self.client.request_stream(request).await.map_err(|error| trouble::explain(error, doing))?;
            let mut bytes = Vec::new();
            let read = stream.take(limit).read_to_end(&mut bytes).await;
            // A log that is cut off is no log: what is missing may be the end.
            read.map_err(|error| Error::new(Kind::Unavailable, format!("{doing}: the answer was cut off")).because(error))?;
            Ok(bytes)
        };
        match tokio::time::timeout(limits::LOG_READ, read).await {
            Ok(read) => read,
            Err(_) => Err(trouble::too_slow(doing, limits::LOG_READ)),
        }
    }
}
