//! The form of chainsaw Test files: what is read, and what is refused by name.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::limits;

/// A part of chainsaw's language that seatrial does not run; its place is kept for the message.
pub(super) type Elsewhere = Option<Spanned<IgnoredAny>>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Document {
    pub(super) api_version: Spanned<String>,
    pub(super) kind: Spanned<String>,
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata {
    pub(super) name: Spanned<String>,
    #[serde(default, rename = "labels")]
    _labels: BTreeMap<String, String>,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Spec {
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) timeouts: Timeouts,
    pub(super) namespace: Option<String>,
    pub(super) steps: Vec<Step>,
    // These order tests or concern what a test creates; here nothing is created.
    #[serde(default, rename = "concurrent")]
    _concurrent: Option<bool>,
    #[serde(default, rename = "failFast")]
    _fail_fast: Option<bool>,
    #[serde(default, rename = "skipDelete")]
    _skip_delete: Option<bool>,
    #[serde(default)]
    pub(super) bindings: Vec<Binding>,
    #[serde(default)]
    pub(super) catch: Vec<Spanned<Collector>>,
    pub(super) cluster: Elsewhere,
    pub(super) clusters: Elsewhere,
    pub(super) compiler: Elsewhere,
    pub(super) delay_before_cleanup: Elsewhere,
    pub(super) deletion_propagation_policy: Elsewhere,
    pub(super) force_termination_grace_period: Elsewhere,
    pub(super) namespace_template: Elsewhere,
    pub(super) namespace_template_compiler: Elsewhere,
    pub(super) scenarios: Elsewhere,
    pub(super) skip: Elsewhere,
    pub(super) template: Option<Spanned<bool>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    pub(super) assert: Option<Wait>,
    pub(super) error: Option<Wait>,
    // Of operations that are refused; read so that a wrong one is named.
    #[serde(rename = "apply")]
    _apply: Option<Wait>,
    #[serde(rename = "cleanup")]
    _cleanup: Option<Wait>,
    #[serde(rename = "delete")]
    _delete: Option<Wait>,
    #[serde(rename = "exec")]
    _exec: Option<Wait>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Step {
    #[serde(default, rename = "name")]
    _name: String,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default)]
    pub(super) timeouts: Timeouts,
    #[serde(default)]
    pub(super) r#try: Vec<Spanned<Action>>,
    #[serde(default, rename = "skipDelete")]
    _skip_delete: Option<bool>,
    #[serde(default)]
    pub(super) bindings: Vec<Binding>,
    #[serde(default)]
    pub(super) catch: Vec<Spanned<Collector>>,
    #[serde(default)]
    pub(super) cleanup: Vec<Spanned<Collector>>,
    pub(super) cluster: Elsewhere,
    pub(super) clusters: Elsewhere,
    pub(super) compiler: Elsewhere,
    pub(super) deletion_propagation_policy: Elsewhere,
    #[serde(default)]
    pub(super) finally: Vec<Spanned<Collector>>,
    pub(super) template: Option<Spanned<bool>>,
    pub(super) r#use: Elsewhere,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Action {
    #[serde(default, rename = "description")]
    _description: String,
    pub(super) assert: Option<Look>,
    pub(super) error: Option<Look>,
    pub(super) apply: Elsewhere,
    pub(super) command: Elsewhere,
    pub(super) compiler: Elsewhere,
    // A failed operation fails the test in any case, and the later ones always complete the picture.
    #[serde(default, rename = "continueOnError")]
    _continue_on_error: Option<bool>,
    pub(super) create: Elsewhere,
    pub(super) delete: Elsewhere,
    pub(super) describe: Elsewhere,
    pub(super) events: Elsewhere,
    pub(super) get: Elsewhere,
    pub(super) outputs: Elsewhere,
    pub(super) patch: Elsewhere,
    pub(super) pod_logs: Elsewhere,
    pub(super) proxy: Elsewhere,
    pub(super) script: Elsewhere,
    pub(super) sleep: Elsewhere,
    pub(super) update: Elsewhere,
    pub(super) wait: Elsewhere,
}

/// `assert` or `error`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    pub(super) resource: Option<Spanned<Value>>,
    pub(super) file: Option<Spanned<String>>,
    pub(super) timeout: Option<Wait>,
    #[serde(default)]
    pub(super) bindings: Vec<Binding>,
    pub(super) cluster: Elsewhere,
    pub(super) clusters: Elsewhere,
    pub(super) template: Option<Spanned<bool>>,
}

/// A name for a value, which may be computed from the names before it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Binding {
    pub(super) name: Spanned<String>,
    pub(super) value: Value,
    pub(super) compiler: Elsewhere,
}

/// A diagnostic of `catch`, `finally` or `cleanup`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Collector {
    #[serde(default, rename = "description")]
    _description: String,
    pub(super) describe: Option<Target>,
    pub(super) events: Option<Target>,
    pub(super) get: Option<Target>,
    pub(super) pod_logs: Option<Target>,
    pub(super) command: Elsewhere,
    pub(super) compiler: Elsewhere,
    pub(super) delete: Elsewhere,
    pub(super) script: Elsewhere,
    pub(super) sleep: Elsewhere,
    pub(super) wait: Elsewhere,
}

/// What a diagnostic is about.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Target {
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) selector: Option<String>,
    pub(super) container: Option<String>,
    pub(super) tail: Option<usize>,
    pub(super) show_events: Option<bool>,
    // Artifacts are JSON, and a diagnostic has a limit of its own.
    #[serde(default, rename = "format")]
    _format: Option<String>,
    #[serde(default, rename = "timeout")]
    _timeout: Option<Wait>,
    pub(super) cluster: Elsewhere,
    pub(super) clusters: Elsewhere,
}

/// A duration as Go writes it.
#[derive(Clone, Copy)]
pub(super) struct Wait(pub(super) Duration);

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |cause: &str| serde::de::Error::custom(format!("`{text}` is not a duration such as 90s or 5m: {cause}"));
        // The library reads ISO 8601 and words too; Go does not.
        if !text.chars().all(|letter| letter.is_ascii_digit() || "hmsuµn.".contains(letter)) {
            return Err(wrong("it has other letters"));
        }
        let span: SignedDuration = text.parse().map_err(|error: jiff::Error| wrong(&error.to_string()))?;
        let duration = Duration::try_from(span).map_err(|_| wrong("it is negative"))?;
        if duration.is_zero() || duration > limits::HEALTH_OPERATION_MAX {
            return Err(wrong(&format!("it must be more than 0 and at most {} s", limits::HEALTH_OPERATION_MAX.as_secs())));
        }
        Ok(Self(duration))
    }
}
