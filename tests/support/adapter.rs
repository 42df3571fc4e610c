//! A stand-in for an adapter of custom metrics: it serves `custom.metrics.k8s.io/v1beta2`, with values that pods say themselves in an
//! annotation, well or badly. Results that rest on it are of a simulated cluster, and say so.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use seatrial::cluster::{Cluster, Query, Target};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::cluster::LeasedCluster;
use super::tls::TlsRelay;

/// What it says of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// What the pod's annotation says.
    Truth,
    /// Nothing of any pod.
    Nothing,
    /// The same for every pod, whatever its load.
    Always(u32),
    /// The truth, and every other eight seconds nothing but zero.
    FlappingTruth,
    /// The highest value that there ever was.
    Highest,
}

/// An adapter that runs until it is dropped.
pub(crate) struct Adapter {
    relay: Option<TlsRelay>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    cluster: Cluster,
    says: Says,
    begun: Instant,
    highest: std::sync::atomic::AtomicU32,
}

impl Adapter {
    /// Starts one for a cluster, and returns when the API server has found it.
    pub(crate) fn start(cluster: &LeasedCluster, says: Says) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (ready, port) = std::sync::mpsc::channel();
        let kubeconfig = cluster.kubeconfig();
        let thread = std::thread::spawn(move || serve(kubeconfig, says, &ready, stopped));
        let port: u16 = port.recv().expect("the adapter starts");
        let relay = TlsRelay::start(&format!("127.0.0.1:{port}"));
        cluster.apply(&service(relay.port));
        cluster.kubectl(&["wait", "apiservice/v1beta2.custom.metrics.k8s.io", "--for=condition=Available", "--timeout=30s"]);
        Self { relay: Some(relay), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        drop(self.relay.take());
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The API server finds it by a name that stands for this machine.
pub(crate) fn service(port: u16) -> String {
    let reference = json!({"name": "metrics-adapter", "namespace": "kube-system", "port": port});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics-adapter", "namespace": "kube-system"},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1beta2.custom.metrics.k8s.io"},
            "spec": {
                "group": "custom.metrics.k8s.io", "version": "v1beta2", "insecureSkipTLSVerify": true,
                "groupPriorityMinimum": 100, "versionPriority": 200, "service": reference,
            },
        },
    ]})
    .to_string()
}

fn serve(kubeconfig: PathBuf, says: Says, ready: &std::sync::mpsc::Sender<u16>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let cluster = connect(&kubeconfig).await;
        let state = Arc::new(State { cluster, says, begun: Instant::now(), highest: 0.into() });
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        ready.send(listener.local_addr().expect("an address").port()).expect("the test waits");
        let accepting = async {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(Arc::clone(&state), request));
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = stopped => {}
        }
    });
    runtime.shutdown_background();
}

async fn connect(kubeconfig: &Path) -> Cluster {
    let target = Target { kubeconfig: Some(kubeconfig.to_owned()), context: None };
    Cluster::connect(&target).await.expect("connects")
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().trim_matches('/').to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    let (status, body) = match parts.as_slice() {
        ["apis", "custom.metrics.k8s.io", "v1beta2"] => (200, resources()),
        ["apis", "custom.metrics.k8s.io", "v1beta2", "namespaces", namespace, "pods", _, metric] => {
            (200, values(&state, namespace, metric).await)
        }
        _ => (404, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})),
    };
    let response = Response::builder().status(status).header("Content-Type", "application/json");
    Ok(response.body(Full::new(Bytes::from(body.to_string()))).expect("is an answer"))
}

fn resources() -> Value {
    let metric = json!({"name": "pods/load", "singularName": "", "namespaced": true, "kind": "MetricValueList", "verbs": ["get"]});
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "custom.metrics.k8s.io/v1beta2", "resources": [metric]})
}

async fn values(state: &State, namespace: &str, metric: &str) -> Value {
    let pods = state.cluster.list("v1", "Pod", &Query::within(namespace)).await.expect("pods are listed");
    let mut items = Vec::new();
    for pod in pods.iter().filter(|_| state.says != Says::Nothing) {
        let said = pod["metadata"]["annotations"]["sim.seatrial.dev/metric"].as_str().and_then(|text| text.parse().ok());
        let Some(truth): Option<u32> = said else { continue };
        let highest = state.highest.fetch_max(truth, std::sync::atomic::Ordering::Relaxed).max(truth);
        let value = match state.says {
            Says::Always(value) => value,
            Says::Highest => highest,
            Says::FlappingTruth if truth > 50 && state.begun.elapsed().as_secs() / 8 % 2 == 1 => 0,
            _ => truth,
        };
        items.push(json!({
            "describedObject": {"kind": "Pod", "namespace": namespace, "name": pod["metadata"]["name"], "apiVersion": "v1"},
            "metric": {"name": metric}, "timestamp": state.cluster.now().to_string(), "windowSeconds": null, "value": value.to_string(),
        }));
    }
    json!({"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "metadata": {}, "items": items})
}

/// Sets every autoscaler that appears to never scale down, as something in a cluster may; ends when it has done so once.
pub(crate) async fn forbid_scaling_down(kubeconfig: PathBuf) {
    let cluster = connect(&kubeconfig).await;
    let any = |seen: &[&Value]| seen.first().map(|one| (*one).clone());
    let limit = Duration::from_secs(120);
    let found = cluster.wait_until(("autoscaling/v2", "HorizontalPodAutoscaler"), &Query::all(), "an autoscaler", limit, any).await;
    let found = found.expect("one appears");
    let patch = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": found["metadata"]["name"], "namespace": found["metadata"]["namespace"]},
        "spec": {"scaleTargetRef": found["spec"]["scaleTargetRef"], "maxReplicas": 2, "behavior": {"scaleDown": {"selectPolicy": "Disabled"}}},
    });
    cluster.apply(&patch, "somebody-else", true).await.expect("is changed");
}
