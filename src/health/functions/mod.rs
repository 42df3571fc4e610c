//! JMESPath functions as chainsaw has them: those of the specification, of the community edition, of kyverno and of chainsaw itself.
//!
//! Where two of these have a function of one name, chainsaw's order of registration decides, and here it is the same one.

mod lists;
mod matching;
mod numbers;
mod text;
mod time;

use std::sync::LazyLock;

use jpx_core::functions::{ArgumentType, Function, Signature, custom_error};
use jpx_core::{Context, Runtime, SearchResult};
use serde_json::Value;

use crate::limits;

/// The functions that expressions may call; `<`, `>` and their like compare numbers only, as chainsaw has it.
pub(super) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = Runtime::strict();
    for entry in entries() {
        runtime.register_function(entry.name, Box::new(entry));
    }
    runtime
});

/// Functions that chainsaw has and seatrial does not run, with the reason.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("env", "a health test must not read the environment of the machine that runs it"),
    ("random", "its value is another one each time"),
    ("x509_decode", "certificates are not read here"),
    ("group_by", "it takes an expression, which functions of this library cannot be given"),
    ("path_canonicalize", "objects of a cluster hold no paths to be compared"),
    ("x_k8s_get", "a test reads what its `assert` and `error` name, so that its permissions are known beforehand"),
    ("x_k8s_list", "a test reads what its `assert` and `error` name, so that its permissions are known beforehand"),
    ("x_k8s_exists", "write an `assert` or an `error` on the object"),
    ("x_k8s_resource_exists", "write an `assert` on the CustomResourceDefinition"),
    ("x_k8s_server_version", "write a constraint on K8s.server.version"),
    ("x_metrics_decode", "metrics are looked at by the checks accelerator-metrics and ai-service-metrics"),
];

/// A function with its arguments.
struct Entry {
    name: &'static str,
    arguments: Vec<ArgumentType>,
    /// How many arguments it takes at least; the others may be left out.
    least: usize,
    call: fn(&[Value]) -> Result<Value, String>,
}

impl Entry {
    fn new(name: &'static str, arguments: &[ArgumentType], call: fn(&[Value]) -> Result<Value, String>) -> Self {
        Self { name, arguments: arguments.to_vec(), least: arguments.len(), call }
    }

    /// The last `count` arguments may be left out.
    fn optional(mut self, count: usize) -> Self {
        self.least -= count;
        self
    }
}

impl Function for Entry {
    fn evaluate(&self, args: &[Value], ctx: &mut Context<'_>) -> SearchResult {
        let taken = args.len().clamp(self.least, self.arguments.len());
        Signature::new(self.arguments[..taken].to_vec(), None).validate(args, ctx)?;
        (self.call)(args).map_err(|cause| custom_error(ctx, &format!("{}(): {cause}", self.name)))
    }
}

fn entries() -> impl Iterator<Item = Entry> {
    text::entries().into_iter().chain(matching::entries()).chain(numbers::entries()).chain(lists::entries()).chain(time::entries())
}

/// A text argument; its type was checked against the signature.
fn string(args: &[Value], index: usize) -> &str {
    args.get(index).and_then(Value::as_str).unwrap_or_default()
}

/// An argument that is a whole number.
fn whole(args: &[Value], index: usize) -> Result<i64, String> {
    let number = args.get(index).and_then(Value::as_f64).unwrap_or_default();
    // Beyond 2^53 a number of this form is no longer exact.
    if number.fract() != 0.0 || number.abs() > 9_007_199_254_740_992.0 {
        return Err(format!("argument {} must be a whole number, and is {number}", index + 1));
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
    Ok(number as i64)
}

/// A number, whole ones as integers, so that they are written without a fraction.
fn number(value: f64) -> Result<Value, String> {
    if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
        return Ok(Value::from(value as i64));
    }
    serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| "the result is not a number".to_owned())
}

/// Text as a result, within bounds: a test must not fill the memory.
fn bounded(text: String) -> Result<Value, String> {
    room(text.len(), 1)?;
    Ok(Value::String(text))
}

/// Refuses a result of this many pieces of this many bytes where it would be too large to be made.
fn room(bytes: usize, pieces: usize) -> Result<(), String> {
    if bytes.saturating_mul(pieces) > limits::EXPRESSION_TEXT_BYTES {
        return Err(format!("the result would have more than {} bytes", limits::EXPRESSION_TEXT_BYTES));
    }
    Ok(())
}

#[cfg(test)]
#[path = "../functions_tests.rs"]
mod tests;
