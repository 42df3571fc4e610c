//! A real Prometheus that finds pods of a control plane by their annotations.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::cluster::LeasedCluster;
use super::{eventually, find, left_out, variable};

/// What is changed of a usual configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    /// Nothing.
    No,
    /// No pod is kept as a target.
    Blind,
    /// Labels of pods are dropped.
    Labels,
}

/// A Prometheus behind a simulated pod `monitoring/prometheus-0`; it ends when this is dropped.
pub(crate) struct Prometheus {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts it; every pod that it finds is scraped at `target`, where it really is. None if this machine has no Prometheus.
    #[track_caller]
    pub(crate) fn behind(cluster: &LeasedCluster, target: &str, odd: Odd) -> Option<Self> {
        let Some(program) = find(&["prometheus"]).remove(&variable("prometheus")) else {
            left_out("no prometheus here: `make test` gets it");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let keep = if odd == Odd::Blind { "never" } else { "true" };
        let labels = if odd == Odd::Labels { "" } else { "  - {action: labelmap, regex: __meta_kubernetes_pod_label_(.+)}\n" };
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n\
             - job_name: self\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n\
             - job_name: pods\n  kubernetes_sd_configs: [{{role: pod, kubeconfig_file: '{}', namespaces: {{names: [default]}}}}]\n  relabel_configs:\n  \
             - {{action: keep, source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: '{keep}'}}\n{labels}  \
             - {{target_label: __address__, replacement: '{target}'}}\n",
            cluster.kubeconfig().display()
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).expect("is written");
        let log = std::fs::File::create(folder.path().join("log")).expect("is written");
        // It ends with this thread, whatever ends that.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).arg(flag("--config.file", &file));
        command.arg(flag("--storage.tsdb.path", &folder.path().join("data"))).arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir(folder.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("setpriv starts");
        let started = Self { child, _folder: folder };
        eventually("Prometheus to listen", Duration::from_secs(30), || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        cluster.apply(&format!(
            "apiVersion: v1\nkind: List\nitems:\n\
             - {{apiVersion: v1, kind: Namespace, metadata: {{name: monitoring}}}}\n\
             - {{apiVersion: v1, kind: Pod, metadata: {{name: prometheus-0, namespace: monitoring, labels: {{app.kubernetes.io/name: prometheus}}}},\n   \
             spec: {{nodeName: sim-node-1, tolerations: [{{operator: Exists}}], containers: [{{name: prometheus, image: 'quay.io/prometheus/prometheus:v2.53.3'}}]}}}}\n\
             - {{apiVersion: kwok.x-k8s.io/v1alpha1, kind: PortForward, metadata: {{name: prometheus-0, namespace: monitoring}},\n   \
             spec: {{forwards: [{{ports: [9090], target: {{address: 127.0.0.1, port: {port}}}}}]}}}}\n"
        ));
        cluster.kubectl(&["wait", "pod", "prometheus-0", "-n", "monitoring", "--for=condition=Ready", "--timeout=30s"]);
        Some(started)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("is bound").port()
}
