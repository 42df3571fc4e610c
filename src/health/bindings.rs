//! Bindings: names for values, computed when a file is read, so that whatever could be wrong with them is told then.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::health::expression::{Bindings, Expression};
use crate::health::schema::Binding;
use crate::health::syntax::{self, Body};
use crate::limits;

/// The names that are known at one place of a file.
#[derive(Clone)]
pub(super) struct Names(pub(super) Arc<Bindings>);

impl Names {
    /// What a test begins with: `$values`, and `$namespace` where the test names one.
    pub(super) fn new(file: &str, values: &Map<String, Value>, namespace: Option<&str>) -> Result<Self> {
        let mut names = Bindings::from([("values".to_owned(), Value::Object(values.clone()))]);
        names.extend(namespace.map(|namespace| ("namespace".to_owned(), Value::from(namespace))));
        fit(&names).map_err(|cause| Error::usage(format!("{file}: $values: {cause}")))?;
        Ok(Self(Arc::new(names)))
    }

    /// These names and further ones, each of which may use those before it.
    pub(super) fn with(&self, file: &str, bindings: &[Binding]) -> Result<Self> {
        if bindings.is_empty() {
            return Ok(self.clone());
        }
        let mut names = Bindings::clone(&self.0);
        for binding in bindings {
            let at = |cause: String| {
                let (line, name) = (binding.name.referenced.line(), &binding.name.value);
                Error::usage(format!("{file}:{line}: binding `{name}`: {cause}"))
            };
            if binding.compiler.is_some() {
                return Err(at("`compiler` is not supported: expressions are JMESPath".to_owned()));
            }
            if !syntax::is_word(&binding.name.value) {
                return Err(at("a name is of letters, digits and `_`".to_owned()));
            }
            let value = compute(&binding.value, &names).map_err(at)?;
            names.insert(binding.name.value.clone(), value);
            fit(&names).map_err(at)?;
        }
        Ok(Self(Arc::new(names)))
    }

    /// A text that may be an expression over the names; none if there is nothing in it.
    pub(super) fn text(&self, field: &str, text: &str) -> Result<Option<String>, String> {
        match compute(&Value::from(text), &self.0).map_err(|cause| format!("{field}: {cause}"))? {
            Value::String(text) if text.is_empty() => Ok(None),
            Value::String(text) => Ok(Some(text)),
            other => Err(format!("{field} must be text, and `{text}` is {other}")),
        }
    }
}

/// Refuses values that are too large together: operations keep them, and expressions copy them.
fn fit(names: &Bindings) -> Result<(), String> {
    let bytes: usize = names.values().map(|value| value.to_string().len()).sum();
    if bytes > limits::HEALTH_BINDING_BYTES {
        return Err(format!("the bindings here have {bytes} bytes together; the limit is {}", limits::HEALTH_BINDING_BYTES));
    }
    Ok(())
}

/// The value with its expressions computed; keys are taken as they are.
fn compute(value: &Value, names: &Bindings) -> Result<Value, String> {
    Ok(match value {
        Value::Array(items) => items.iter().map(|item| compute(item, names)).collect::<Result<_, _>>()?,
        Value::Object(fields) => {
            let pairs = fields.iter().map(|(key, item)| Ok((key.clone(), compute(item, names)?)));
            Value::Object(pairs.collect::<Result<_, String>>()?)
        }
        Value::String(text) => match syntax::read(text)? {
            syntax::Notation { each: None, bind: None, body: Body::Plain(plain) } => Value::String(plain),
            syntax::Notation { each: None, bind: None, body: Body::Expression(expression) } => {
                let known = names.keys().cloned().collect();
                Expression::compile(&expression, &known)?.evaluate(&Value::Null, names)?
            }
            _ => return Err(format!("`{text}`: `~.` and `->` have no meaning here")),
        },
        plain => plain.clone(),
    })
}
