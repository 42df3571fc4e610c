//! HTTP servers behind simulated pods: what a port-forward to such a pod reaches. Each runs in a thread of its own and ends when it is
//! dropped.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::cluster::LeasedCluster;

/// A request as the server saw it: method, path with query, `Host`, body.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) body: String,
}

/// A server that says what a function makes of a request: status and body.
pub(crate) struct PodServer {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl PodServer {
    pub(crate) fn start(answer: impl Fn(&Seen) -> (u16, Vec<u8>) + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("is bound");
        listener.set_nonblocking(true).expect("is ours");
        let (stop, stopped) = oneshot::channel();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (kept, answer) = (seen.clone(), Arc::new(answer));
        let serve = async move {
            let listener = TcpListener::from_std(listener).expect("is a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, answer) = (kept.clone(), answer.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| reply(request, kept.clone(), answer.clone()));
                    // A client that goes away is no fault of the server.
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! { () = serve => {}, _ = stopped => {} }
            });
        });
        Self { address, seen, stop: Some(stop), thread: Some(thread) }
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts it behind a port of a simulated pod.
    #[track_caller]
    pub(crate) fn behind(&self, cluster: &LeasedCluster, namespace: &str, pod: &str, port: u16) {
        let (address, target) = (self.address.ip(), self.address.port());
        cluster.apply(&format!(
            "apiVersion: kwok.x-k8s.io/v1alpha1\nkind: PortForward\nmetadata: {{name: {pod}, namespace: {namespace}}}\n\
             spec: {{forwards: [{{ports: [{port}], target: {{address: {address}, port: {target}}}}}]}}\n"
        ));
    }
}

impl Drop for PodServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn reply(
    request: Request<Incoming>,
    kept: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<impl Fn(&Seen) -> (u16, Vec<u8>)>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let body = String::from_utf8_lossy(&body).into_owned();
    let seen = Seen { method: parts.method.to_string(), path: parts.uri.to_string(), host, body };
    let (status, body) = answer(&seen);
    kept.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    let response = Response::builder().status(status).body(Full::new(Bytes::from(body)));
    Ok(response.expect("is well-formed"))
}
