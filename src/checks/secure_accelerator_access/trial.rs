//! The pods of one trial: what they ask for, and what their containers saw.

use serde_json::{Value, json};

use super::judge::{HostPath, Paths, Seen};
use crate::checks::errand::{self, Gpus, Silence, Voice};
use crate::checks::{Cx, probe};
use crate::cluster::{ObjectRef, Scratch};
use crate::error::{Error, Kind, Result};
use crate::results::Outcome;
use crate::snapshot::Node;

/// How GPUs are had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// As an extended resource.
    Resource,
    /// By a ResourceClaim, in this `apiVersion`.
    Claim(String),
}

/// Pods on one node that ask for GPUs in one way.
pub(super) struct Trial<'a> {
    pub(super) cx: &'a Cx<'a>,
    pub(super) scratch: &'a Scratch,
    pub(super) node: &'a Node,
    pub(super) mode: Mode,
    /// Containers that are given a GPU at the same time.
    pub(super) tenants: u64,
}

const TENANTS: [&str; 2] = ["one", "two"];

/// Objects of a trial, in the order in which they were made.
#[derive(Default)]
struct Made {
    pods: Vec<ObjectRef>,
    claims: Vec<ObjectRef>,
}

impl Trial<'_> {
    /// What all containers saw; or the outcome, where something kept a pod from running that was not what is asked about.
    pub(super) async fn run(&self) -> Result<std::result::Result<Seen, Box<Outcome>>> {
        let mut made = Made::default();
        let seen = self.observe(&mut made).await;
        let well = seen.as_ref().is_ok_and(std::result::Result::is_ok);
        // Pods first: a claim that is in use does not go.
        for object in made.pods.iter().chain(&made.claims) {
            self.scratch.dispose(object, well).await?;
        }
        seen
    }

    async fn observe(&self, made: &mut Made) -> Result<std::result::Result<Seen, Box<Outcome>>> {
        let look = self.look();
        let mut tenants = Vec::new();
        let mut others = Vec::new();
        let mut pods = Vec::new();
        for (at, tenant) in (0..self.tenants).zip(TENANTS) {
            let gpus = self.gpus(tenant, made).await?;
            let mut voices = vec![voice(tenant, &look, gpus)];
            if at == 0 {
                voices.push(voice("sibling", &look, Gpus::None));
            }
            match self.start(&format!("access-{tenant}"), &voices, made, |_| {}).await {
                Ok(pod) => pods.push((pod, tenant)),
                Err(silence) => return Ok(Err(stopped(silence))),
            }
        }
        let mut asking = voice("asking", &look, Gpus::None);
        asking.env = vec![("NVIDIA_VISIBLE_DEVICES", "all"), ("AMD_VISIBLE_DEVICES", "all")];
        let bare = match self.start("access-bare", &[voice("bare", &look, Gpus::None), asking], made, |_| {}).await {
            Ok(pod) => pod,
            Err(silence) => return Ok(Err(stopped(silence))),
        };
        // All of them run by now.
        for (pod, tenant) in &pods {
            tenants.push(((*tenant).to_owned(), self.devices(pod, tenant).await?));
        }
        others.push(("sibling".to_owned(), self.devices(&pods[0].0, "sibling").await?));
        for name in ["bare", "asking"] {
            others.push((name.to_owned(), self.devices(&bare, name).await?));
        }
        let host = match self.host_path(made).await? {
            Ok(host) => host,
            Err(stopped) => return Ok(Err(stopped)),
        };
        let way = if self.mode == Mode::Resource { self.cx.vendor.resource.as_str() } else { "ResourceClaim" };
        Ok(Ok(Seen {
            place: format!("node {}, {way}", self.node.name),
            tenants,
            others,
            host,
            allocated: self.allocated(made).await?,
            admin_taken: self.admin_access().await?,
            shared: self.node.gpus.replicas.unwrap_or(1) > 1,
        }))
    }

    /// The script that lists the vendor's device nodes.
    fn look(&self) -> String {
        let devices = &self.cx.vendor.devices;
        let patterns: Vec<&str> = std::iter::once(devices.whole.as_str()).chain(devices.parts.as_deref()).collect();
        format!("for path in {}; do [ -e \"$path\" ] && echo \"device $path\"; done", patterns.join(" "))
    }

    async fn gpus(&self, tenant: &'static str, made: &mut Made) -> Result<Gpus> {
        let Mode::Claim(version) = &self.mode else { return Ok(Gpus::Resource(1)) };
        let request = probe::gpu_request(version, "gpu", &self.cx.vendor.device_class, 1);
        let name = format!("access-{tenant}");
        let claim = json!({
            "apiVersion": version, "kind": "ResourceClaim", "metadata": {"name": name}, "spec": {"devices": {"requests": [request]}},
        });
        made.claims.push(self.scratch.create(claim).await?);
        Ok(Gpus::Claim(name))
    }

    async fn start(
        &self,
        name: &str,
        voices: &[Voice],
        made: &mut Made,
        change: impl FnOnce(&mut Value),
    ) -> std::result::Result<ObjectRef, Silence> {
        let mut pod = errand::pod(self.cx, name, &self.node.name, voices);
        change(&mut pod);
        let pod = errand::create(self.scratch, pod).await?;
        made.pods.push(pod.clone());
        errand::running(self.cx, &pod).await?;
        Ok(pod)
    }

    async fn devices(&self, pod: &ObjectRef, container: &str) -> Result<Paths> {
        let words = errand::words(self.cx, pod, container).await?;
        Ok(told(&words, "device "))
    }

    /// A pod that mounts the host's devices, which is to be refused, or to be of no use.
    async fn host_path(&self, made: &mut Made) -> Result<std::result::Result<HostPath, Box<Outcome>>> {
        let whole = &self.cx.vendor.devices.whole;
        let pattern = whole.replacen("/dev/", "/host-dev/", 1);
        let script = format!(
            "for path in {pattern}; do [ -e \"$path\" ] && echo \"device $path\" && (: < \"$path\") 2>/dev/null && echo \"opened $path\"; done"
        );
        let voice = voice("host", &script, Gpus::None);
        let mount = |pod: &mut Value| {
            pod["spec"]["volumes"] = json!([{"name": "dev", "hostPath": {"path": "/dev"}}]);
            pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "dev", "mountPath": "/host-dev", "readOnly": true}]);
        };
        let pod = match self.start("access-host", &[voice], made, mount).await {
            Ok(pod) => pod,
            // Pods of ours that mount nothing were taken, so it is for the mount.
            Err(Silence::Refused(error)) if is_policy(&error) => return Ok(Ok(HostPath::Refused)),
            Err(silence) => return Ok(Err(stopped(silence))),
        };
        let words = errand::words(self.cx, &pod, "host").await?;
        Ok(Ok(HostPath::Ran { there: told(&words, "device "), opened: told(&words, "opened ") }))
    }

    /// The devices that each tenant's claim holds.
    async fn allocated(&self, made: &Made) -> Result<Vec<(String, Vec<String>)>> {
        let mut all = Vec::new();
        for claim in &made.claims {
            let now =
                self.cx.cluster.get(&claim.api_version, &claim.kind, claim.namespace.as_deref(), &claim.name).await?.unwrap_or_default();
            let results = now["status"]["allocation"]["devices"]["results"].as_array().cloned().unwrap_or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let devices = results.iter().map(|one| format!("{}/{}", text(&one["pool"]), text(&one["device"])));
            all.push((claim.name.clone(), devices.collect()));
        }
        Ok(all)
    }

    /// Whether the API server takes a claim with admin access in our namespace, which does not have the label; nothing is stored.
    async fn admin_access(&self) -> Result<Option<bool>> {
        let Mode::Claim(version) = &self.mode else { return Ok(None) };
        let namespace = self.scratch.namespace();
        let own = self.cx.cluster.get("v1", "Namespace", None, &namespace).await;
        // Who may not look at namespaces cannot know what its own allows.
        let Ok(Some(own)) = own else { return Ok(None) };
        if own["metadata"]["labels"]["resource.kubernetes.io/admin-access"] == "true" {
            return Ok(None);
        }
        let mut request = probe::gpu_request(version, "gpu", &self.cx.vendor.device_class, 1);
        let exact = if request["exactly"].is_object() { "/exactly" } else { "" };
        if let Some(fields) = request.pointer_mut(exact).and_then(Value::as_object_mut) {
            fields.insert("adminAccess".to_owned(), json!(true));
        }
        let claim = json!({
            "apiVersion": version, "kind": "ResourceClaim", "metadata": {"name": "access-admin"}, "spec": {"devices": {"requests": [request]}},
        });
        match self.cx.cluster.dry_run_create(&self.scratch.own(claim, true)).await {
            // An API server that does not know the field drops it.
            Ok(taken) => {
                let kept =
                    taken["spec"]["devices"]["requests"][0].pointer(&format!("{exact}/adminAccess")).is_some_and(|kept| kept == true);
                Ok(kept.then_some(true))
            }
            Err(error) if matches!(error.kind(), Kind::Denied | Kind::Schema) => Ok(Some(false)),
            Err(error) => Err(error),
        }
    }
}

fn voice(name: &'static str, script: &str, gpus: Gpus) -> Voice {
    Voice { name, script: script.to_owned(), gpus, env: Vec::new() }
}

/// Why a trial cannot go on: a pod that any user may create is refused, or does not run.
fn stopped(silence: Silence) -> Box<Outcome> {
    match silence {
        Silence::Refused(error) => Box::new(Outcome::from(error)),
        Silence::Kept(outcome) => outcome,
    }
}

/// True if admission refused a pod for what it asks for: by the pod security standards, or by a webhook.
fn is_policy(error: &Error) -> bool {
    let said = error.chain();
    !said.contains("exceeded quota") && (error.kind() == Kind::Denied || said.contains("denied the request"))
}

/// What follows a word at the beginning of lines.
fn told(words: &[String], begins: &str) -> Paths {
    words.iter().filter_map(|line| line.strip_prefix(begins)).map(str::to_owned).collect()
}
