//! Puts a control plane back to how it was: by its store, below all controllers, finalizers and grace periods.
//!
//! The API server sees the changes as it sees those of another API server, by watching the store.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Keys that change by themselves and that no test looks back at.
const RESTLESS: [&str; 3] = ["/registry/events/", "/registry/leases/", "/registry/masterleases/"];

/// What to write first, so that an owner is there before what it owns; the rest comes after.
const OWNERS: [&str; 7] = [
    "/registry/namespaces/",
    "/registry/apiextensions.k8s.io/",
    "/registry/minions/",
    "/registry/serviceaccounts/",
    "/registry/deployments/",
    "/registry/daemonsets/",
    "/registry/replicasets/",
];

/// The contents of a control plane's store: key → value.
pub(crate) type Contents = BTreeMap<String, String>;

/// A control plane's store.
pub(crate) struct Store {
    url: String,
    client: reqwest::Client,
}

impl Store {
    /// The store that listens on a port.
    pub(crate) fn new(port: u64) -> Self {
        Self { url: format!("http://127.0.0.1:{port}/v3/kv"), client: reqwest::Client::new() }
    }

    /// The contents, once they no longer change.
    pub(crate) async fn settled(&self) -> Contents {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut before = self.contents().await;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = self.contents().await;
            if now == before {
                return now;
            }
            assert!(Instant::now() < deadline, "the control plane does not settle: {:?}", changes(&before, &now));
            before = now;
        }
    }

    /// Makes the contents what they were, and sees that they stay so: controllers may still act on what was there.
    pub(crate) async fn restore(&self, wanted: &Contents) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut quiet = 0;
        while quiet < 2 {
            let now = self.contents().await;
            let changes = changes(&now, wanted);
            quiet = if changes.is_empty() { quiet + 1 } else { 0 };
            assert!(Instant::now() < deadline, "the control plane does not go back to how it was: {changes:?}");
            for key in &changes {
                match wanted.get(key) {
                    Some(value) => self.post("put", json!({"key": STANDARD.encode(key), "value": value})).await,
                    None => self.post("deleterange", json!({"key": STANDARD.encode(key)})).await,
                };
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn contents(&self) -> Contents {
        // The end of a range of a prefix is the prefix with its last byte raised: `/` becomes `0`.
        let range = json!({"key": STANDARD.encode("/registry/"), "range_end": STANDARD.encode("/registry0")});
        let answer = self.post("range", range).await;
        let pairs = answer["kvs"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = |pair: &Value| String::from_utf8(STANDARD.decode(text(&pair["key"])).expect("is base64")).expect("keys are UTF-8");
        let all = pairs.iter().map(|pair| (key(pair), text(&pair["value"])));
        all.filter(|(key, _)| !RESTLESS.iter().any(|prefix| key.starts_with(prefix))).collect()
    }

    async fn post(&self, call: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}/{call}", self.url)).json(&body);
        let answer = request.send().await.and_then(reqwest::Response::error_for_status).expect("etcd answers");
        answer.json().await.expect("etcd answers JSON")
    }
}

/// Keys that differ, in the order in which to write them.
fn changes(now: &Contents, wanted: &Contents) -> Vec<String> {
    let mut keys: Vec<String> = now.keys().chain(wanted.keys()).filter(|key| now.get(*key) != wanted.get(*key)).cloned().collect();
    keys.sort();
    keys.dedup();
    keys.sort_by_key(|key| OWNERS.iter().position(|prefix| key.starts_with(prefix)).unwrap_or(OWNERS.len()));
    keys
}
