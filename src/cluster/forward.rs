//! Talks HTTP to a port of a pod, through the API server's port-forward: nothing listens on this machine, and no network policy between
//! us and the pod matters.

use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::Portforwarder;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::{Cluster, ObjectRef, trouble};
use crate::error::{Error, Kind, Result};
use crate::limits;

/// What a pod answered; any status is an answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most [`limits::FORWARD_BYTES`].
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text; bytes that are no text are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A way to one port of one pod. A connection is opened for the first request and kept for the next ones; one that has ended is opened anew.
pub struct Forward {
    cluster: Cluster,
    pod: ObjectRef,
    port: u16,
    open: Option<Open>,
}

/// One connection.
struct Open {
    sender: SendRequest<Full<Bytes>>,
    forwarder: Portforwarder,
    /// Ends the connection when it is dropped.
    _task: AbortOnDropHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.forwarder.abort();
    }
}

impl Cluster {
    /// A way to a port of a pod; nothing is opened yet.
    #[must_use]
    pub fn forward(&self, pod: &ObjectRef, port: u16) -> Forward {
        Forward { cluster: self.clone(), pod: pod.clone(), port, open: None }
    }

    /// Asks a port of a pod for a path, on a connection of its own, and again where the way there is in trouble.
    ///
    /// # Errors
    /// As [`Forward::send`].
    pub async fn forward_get(&self, pod: &ObjectRef, port: u16, path: &str) -> Result<Answer> {
        let doing = format!("GET {path} from port {port} of {pod}");
        self.retried(&doing, || async move { self.forward(pod, port).get(path).await }).await
    }
}

impl Forward {
    /// Asks for a path, once.
    ///
    /// # Errors
    /// As [`Forward::send`].
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        let request = Request::get(path).body(Vec::new());
        self.send(request.map_err(|error| Error::internal(format!("make a request for {path}")).because(error))?).await
    }

    /// Sends one request, once: whoever counts requests must know of each. Its URI is the path; `Host` is `localhost` where it has none.
    ///
    /// # Errors
    /// [`Kind::Denied`] without `create` (and `get`) on `pods/portforward`; [`Kind::NotFound`] if the pod is gone; [`Kind::Unavailable`]
    /// if nobody listens on the port or the answer is cut off; [`Kind::Timeout`] after [`limits::FORWARD_REQUEST`]; [`Kind::Integrity`]
    /// if the answer is longer than [`limits::FORWARD_BYTES`].
    pub async fn send(&mut self, request: Request<Vec<u8>>) -> Result<Answer> {
        let doing = format!("{} {} from port {} of {}", request.method(), request.uri(), self.port, self.pod);
        let limit = limits::FORWARD_REQUEST;
        match tokio::time::timeout(limit, self.exchange(request, &doing)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                // What is left of an exchange that went wrong would be read as the next answer.
                self.open = None;
                Err(error)
            }
            Err(_) => {
                self.open = None;
                Err(trouble::too_slow(&doing, limit))
            }
        }
    }

    async fn exchange(&mut self, request: Request<Vec<u8>>, doing: &str) -> Result<Answer> {
        let mut kept = self.open.take();
        let usable = match &mut kept {
            Some(open) => open.sender.ready().await.is_ok(),
            None => false,
        };
        let mut open = match kept {
            Some(open) if usable => open,
            _ => self.connect(doing).await?,
        };
        let (mut parts, body) = request.into_parts();
        let host = http::HeaderValue::from_static("localhost");
        parts.headers.entry(http::header::HOST).or_insert(host);
        let request = Request::from_parts(parts, Full::new(Bytes::from(body)));
        let answer = match open.sender.send_request(request).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.ended(&mut open, error, doing).await),
        };
        let (parts, body) = answer.into_parts();
        let body = read(body, doing).await?;
        self.open = Some(open);
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    async fn connect(&self, doing: &str) -> Result<Open> {
        let namespace = self.pod.namespace.as_deref().unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), namespace);
        let forwarder = pods.portforward(&self.pod.name, &[self.port]).await;
        let mut forwarder = forwarder.map_err(|error| trouble::explain(error, doing))?;
        let stream = forwarder.take_stream(self.port).ok_or_else(|| Error::internal(format!("{doing}: no stream for the port")))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| cut(doing, error))?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                // Whoever waits for an answer hears of it.
                tracing::debug!(%error, "a forwarded connection ended");
            }
        });
        Ok(Open { sender, forwarder, _task: AbortOnDropHandle::new(task) })
    }

    /// Why a connection ended without an answer: kubelet's own words, where it has some.
    async fn ended(&self, open: &mut Open, error: hyper::Error, doing: &str) -> Error {
        let words = match open.forwarder.take_error(self.port) {
            Some(words) => tokio::time::timeout_at(Instant::now() + limits::FORWARD_WORDS, words).await.ok().flatten(),
            None => None,
        };
        let hint = format!("does the container listen on port {}? kubectl describe pod {}", self.port, self.pod.name);
        match words {
            Some(words) => Error::new(Kind::Unavailable, format!("{doing}: {}", words.trim())).hint(hint),
            None => cut(doing, error).hint(hint),
        }
    }
}

async fn read(body: Incoming, doing: &str) -> Result<Vec<u8>> {
    match Limited::new(body, limits::FORWARD_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes().to_vec()),
        Err(error) if error.is::<LengthLimitError>() => {
            let limit = limits::FORWARD_BYTES >> 20;
            Err(Error::new(Kind::Integrity, format!("{doing}: the answer is longer than {limit} MiB")))
        }
        Err(error) => Err(Error::new(Kind::Unavailable, format!("{doing}: the answer was cut off: {error}"))),
    }
}

fn cut(doing: &str, error: hyper::Error) -> Error {
    Error::new(Kind::Unavailable, format!("{doing}: the connection ended without an answer")).because(error)
}
