//! An HTTP proxy in front of a real server, for faults that the server itself cannot be made to have.
//!
//! Everything is passed on as it comes, streams included, except the requests that an injected rule matches. It runs in a thread of its
//! own, so tests without a runtime can use it, and ends when it is dropped.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing goes wrong; for letting some requests pass before a later rule's fault.
    None,
    /// It never reaches the server; this status is answered.
    Status(u16),
    /// The same with headers and a body.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// The connection is cut before the server sees anything.
    Cut,
    /// The server answers; the connection is cut after the headers.
    CutAfterHeaders,
    /// The server answers, for so long; then the connection is cut.
    CutAfter(Duration),
    /// The server answers; one bit of the body is flipped.
    FlipBit,
    /// The server answers; the body is longer than it should be, and so says its length.
    Longer,
    /// An answer that never ends.
    Endless,
    /// The same, one byte after another, so far apart.
    Drip(Duration),
    /// Nothing is ever answered.
    Silence,
    /// The server answers; a header is left out.
    WithoutHeader(&'static str),
}

/// Which requests have which fault, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    fault: Fault,
    method: Option<&'static str>,
    path: Vec<String>,
    times: usize,
    without_header: Option<(&'static str, String)>,
}

impl Rule {
    /// A fault of every request.
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, method: None, path: Vec::new(), times: usize::MAX, without_header: None }
    }

    /// Only of requests with this method and with this in path and query.
    #[must_use]
    pub(crate) fn on(mut self, method: &'static str, path: impl Into<String>) -> Self {
        (self.method, self.path) = (Some(method), vec![path.into()]);
        self
    }

    /// Only of requests with this too in path and query.
    #[must_use]
    pub(crate) fn with(mut self, part: impl Into<String>) -> Self {
        self.path.push(part.into());
        self
    }

    /// Only the first so many times.
    #[must_use]
    pub(crate) fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Only of requests that do not have this header with this value.
    #[must_use]
    pub(crate) fn unless_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.without_header = Some((name, value.into()));
        self
    }

    fn matches(&self, request: &Request<Incoming>, path: &str) -> bool {
        let has = |(name, value): &(&str, String)| request.headers().get(*name).is_some_and(|have| have.as_bytes() == value.as_bytes());
        self.times > 0
            && self.method.is_none_or(|method| request.method() == method)
            && self.path.iter().all(|part| path.contains(part))
            && !self.without_header.as_ref().is_some_and(has)
    }
}

/// A request that came: method, path with query, and the Authorization header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
}

/// A proxy that runs until it is dropped.
pub(crate) struct FaultProxy {
    /// Host and port.
    pub(crate) address: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Starts a proxy in front of a plain HTTP server, given as host and port.
    pub(crate) fn start(upstream: &str) -> Self {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().expect("a client");
        Self::with_client(&format!("http://{upstream}"), client)
    }

    /// Starts a proxy in front of any server, reached through a client that may have certificates of its own.
    pub(crate) fn with_client(upstream: &str, client: reqwest::Client) -> Self {
        let shared = Arc::new(Shared {
            upstream: upstream.trim_end_matches('/').to_owned(),
            client,
            rules: Mutex::default(),
            seen: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let (ready, address) = std::sync::mpsc::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
                ready.send(listener.local_addr().expect("an address")).expect("the test waits");
                tokio::select! {
                    () = serve(listener, serving) => {}
                    _ = stopped => {}
                }
            });
            // Requests that were to be kept waiting for ever end with the runtime.
            runtime.shutdown_background();
        });
        let address = address.recv().expect("the proxy starts").to_string();
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Adds a fault; of several that match, the first one added is had.
    pub(crate) fn inject(&self, rule: Rule) -> &Self {
        lock(&self.shared.rules).push(rule);
        self
    }

    /// The requests since the last time this was asked.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *lock(&self.shared.seen))
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the proxy has been printed; a second one here would hide the test's own.
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(Arc::clone(&shared), request));
            // An error here is a connection that was cut, by a fault or by the client.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let authorization = request.headers().get("authorization").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    lock(&shared.seen).push(Seen { method: request.method().to_string(), path: path.clone(), authorization });
    let fault = lock(&shared.rules).iter_mut().find(|rule| rule.matches(&request, &path)).map(|rule| {
        rule.times -= usize::from(rule.times < usize::MAX);
        rule.fault.clone()
    });
    match fault {
        Some(Fault::Status(status)) => Ok(Response::builder().status(status).body(full(""))?),
        Some(Fault::Answer { status, headers, body }) => {
            // The client may still be sending: it reads the answer once its request was taken.
            request.into_body().collect().await?;
            let response =
                headers.into_iter().fold(Response::builder().status(status), |response, (name, value)| response.header(name, value));
            Ok(response.body(full(body))?)
        }
        Some(Fault::Endless) => {
            let pieces = futures::stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b' '; 4096]))));
            Ok(Response::new(StreamBody::new(pieces).boxed_unsync()))
        }
        Some(Fault::Drip(apart)) => {
            let pieces = futures::stream::unfold((), move |()| async move {
                tokio::time::sleep(apart).await;
                Some((Ok::<_, BoxError>(Frame::data(Bytes::from_static(b" "))), ()))
            });
            Ok(Response::new(StreamBody::new(pieces).boxed_unsync()))
        }
        Some(Fault::Cut) => Err("cut".into()),
        Some(Fault::Silence) => std::future::pending().await,
        fault => spoil(pass_on(&shared, request, &path).await?, fault).await,
    }
}

async fn pass_on(shared: &Shared, request: Request<Incoming>, path: &str) -> Result<Response<reqwest::Body>, BoxError> {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    // Host is kept, so that the server makes its addresses with ours.
    headers.remove("connection");
    let body = reqwest::Body::wrap_stream(body.into_data_stream());
    let bodiless = headers.get("content-length").is_none() && headers.get("transfer-encoding").is_none();
    headers.remove("transfer-encoding");
    let mut upstream = shared.client.request(parts.method, format!("{}{path}", shared.upstream)).headers(headers);
    if !bodiless {
        upstream = upstream.body(body);
    }
    Ok(upstream.send().await?.into())
}

/// Has a fault with a server's answer.
async fn spoil(response: Response<reqwest::Body>, fault: Option<Fault>) -> Result<Response<Body>, BoxError> {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove("connection");
    parts.headers.remove("transfer-encoding");
    let body = match fault {
        Some(Fault::CutAfterHeaders) => {
            let error = Err::<Frame<Bytes>, BoxError>("cut".into());
            StreamBody::new(futures::stream::once(async { error })).boxed_unsync()
        }
        Some(Fault::CutAfter(limit)) => {
            let frames = body.into_data_stream().map(|frame| frame.map(Frame::data).map_err(Into::into));
            let end = async move {
                tokio::time::sleep(limit).await;
                Err::<Frame<Bytes>, BoxError>("cut".into())
            };
            StreamBody::new(futures::stream::select(frames, futures::stream::once(end))).boxed_unsync()
        }
        Some(Fault::FlipBit) => {
            let mut bytes = body.collect().await?.to_bytes().to_vec();
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1;
            }
            full(bytes)
        }
        Some(Fault::Longer) => {
            let mut bytes = body.collect().await?.to_bytes().to_vec();
            bytes.push(0);
            parts.headers.insert("content-length", bytes.len().into());
            full(bytes)
        }
        Some(Fault::WithoutHeader(name)) => {
            parts.headers.remove(name);
            body.map_err(Into::into).boxed_unsync()
        }
        _ => body.map_err(Into::into).boxed_unsync(),
    };
    Ok(Response::from_parts(parts, body))
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}
