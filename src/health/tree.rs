//! Assertion trees: what an object must look like, compared field by field.
//!
//! Maps are compared by the keys that the tree has, lists by length and index, numbers by value. Keys and text values may hold
//! expressions; see `syntax.rs`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::health::expression::{Bindings, Expression};
use crate::health::syntax::{self, Body};
use crate::limits;

/// A compiled assertion tree, with the bindings that it was compiled with.
#[derive(Clone, Debug)]
pub struct Tree(Node, Arc<Bindings>);

#[derive(Clone, Debug)]
enum Node {
    List(Vec<Self>),
    Map(Vec<Entry>),
    Plain(Value),
    Expression(Expression),
}

/// One key of a map with what is asserted below it.
#[derive(Clone, Debug)]
struct Entry {
    key: String,
    project: Project,
    each: Option<Option<String>>,
    bind: Option<String>,
    node: Node,
}

#[derive(Clone, Debug)]
enum Project {
    Field(String),
    Expression(Expression),
}

/// Why a place does not satisfy a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is there and different, or missing.
    Different,
    /// It could not be compared: types differ, or an expression has no value there.
    Incomparable,
    /// An iteration over nothing, which shows nothing.
    Empty,
    /// Not looked at, because too much had been compared before.
    Unseen,
}

/// One place where an object does not satisfy a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The place, e.g. `status.conditions[0].status`.
    pub path: String,
    /// The sort of deviation.
    pub why: Why,
    /// What is wrong, e.g. `expected 1, got 0`.
    pub message: String,
    /// What it must be, where that is a value.
    pub expected: Option<Value>,
    /// What it is, where there is something.
    pub actual: Option<Value>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.path.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{}", self.path, self.message)
    }
}

/// What came of comparing one value with a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Comparisons that held.
    pub passed: usize,
    /// Comparisons made.
    pub total: usize,
    /// Those that did not hold, in the order of the tree; about [`limits::VIOLATIONS`] of them, and the first of each sort.
    pub violations: Vec<Violation>,
}

impl Findings {
    /// True if every comparison held.
    #[must_use]
    pub fn satisfied(&self) -> bool {
        self.passed == self.total
    }

    /// True if something did not hold for this reason.
    #[must_use]
    pub fn has(&self, why: Why) -> bool {
        self.violations.iter().any(|violation| violation.why == why)
    }

    fn hold(&mut self) {
        self.total += 1;
        self.passed += 1;
    }

    fn miss(&mut self, path: &str, why: Why, message: impl Into<String>) {
        self.total += 1;
        if self.violations.len() < limits::VIOLATIONS || !self.has(why) {
            self.violations.push(Violation { path: path.to_owned(), why, message: message.into(), expected: None, actual: None });
        }
    }

    fn differ(&mut self, path: &str, why: Why, message: impl Into<String>, expected: &Value, actual: &Value) {
        let before = self.violations.len();
        self.miss(path, why, message);
        if let Some(violation) = self.violations.get_mut(before) {
            (violation.expected, violation.actual) = (Some(expected.clone()), Some(actual.clone()));
        }
    }
}

impl Tree {
    /// Compiles a tree; the error names the place and the cause.
    ///
    /// # Errors
    /// A fragment such as `status.(lenght(@)): …`: an expression that is not one, an unknown function or binding, unsupported notation.
    pub fn compile(tree: &Value) -> Result<Self, String> {
        Self::compile_with(tree, Arc::default())
    }

    /// Compiles a tree whose expressions may use these bindings.
    ///
    /// # Errors
    /// As [`Tree::compile`].
    pub(super) fn compile_with(tree: &Value, bindings: Arc<Bindings>) -> Result<Self, String> {
        let known = bindings.keys().cloned().collect();
        Ok(Self(compile(tree, "", &known)?, bindings))
    }

    /// True if the tree asserts nothing but that there is an object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Node::Map(entries) if entries.is_empty())
    }

    /// Compares a value with the tree.
    #[must_use]
    pub fn check(&self, value: &Value) -> Findings {
        let mut findings = Findings::default();
        check(&self.0, value, "", &self.1, &mut findings);
        findings
    }
}

fn compile(tree: &Value, path: &str, known: &BTreeSet<String>) -> Result<Node, String> {
    let at = |cause: String| if path.is_empty() { cause } else { format!("{path}: {cause}") };
    match tree {
        Value::Array(items) => {
            let nodes = items.iter().enumerate().map(|(index, item)| compile(item, &format!("{path}[{index}]"), known));
            Ok(Node::List(nodes.collect::<Result<_, _>>()?))
        }
        Value::Object(fields) => {
            let entries = fields.iter().map(|(key, value)| compile_entry(key, value, &child(path, key), known));
            Ok(Node::Map(entries.collect::<Result<_, _>>()?))
        }
        Value::String(text) => {
            let notation = syntax::read(text).map_err(at)?;
            if notation.each.is_some() || notation.bind.is_some() {
                return Err(at(format!("`~.` and `->` belong into keys; write `\\{text}\\` if the text itself is meant")));
            }
            match notation.body {
                Body::Plain(text) => Ok(Node::Plain(Value::String(text))),
                Body::Expression(text) => Expression::compile(&text, known).map(Node::Expression).map_err(at),
            }
        }
        plain => Ok(Node::Plain(plain.clone())),
    }
}

fn compile_entry(key: &str, value: &Value, path: &str, known: &BTreeSet<String>) -> Result<Entry, String> {
    let at = |cause: String| format!("{path}: {cause}");
    let notation = syntax::read(key).map_err(at)?;
    let project = match notation.body {
        Body::Plain(field) => Project::Field(field),
        Body::Expression(text) => Project::Expression(Expression::compile(&text, known).map_err(at)?),
    };
    let mut below = known.clone();
    below.extend(notation.bind.clone());
    below.extend(notation.each.clone().flatten());
    let node = compile(value, path, &below)?;
    Ok(Entry { key: key.to_owned(), project, each: notation.each, bind: notation.bind, node })
}

fn child(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn check(node: &Node, value: &Value, path: &str, bindings: &Bindings, findings: &mut Findings) {
    if findings.total >= limits::ASSERTION_STEPS {
        if findings.total == limits::ASSERTION_STEPS {
            findings.miss(path, Why::Unseen, format!("more than {} comparisons for one object", limits::ASSERTION_STEPS));
        }
        return;
    }
    match node {
        Node::Map(entries) if entries.is_empty() => {
            if value.is_null() {
                findings.miss(path, Why::Different, "expected a value, got null");
            } else {
                findings.hold();
            }
        }
        Node::Map(entries) => entries.iter().for_each(|entry| check_entry(entry, value, path, bindings, findings)),
        Node::List(nodes) => check_list(nodes, value, path, bindings, findings),
        Node::Plain(expected) => compare(expected, value, path, findings),
        Node::Expression(expression) => match expression.evaluate(value, bindings) {
            Ok(expected) => compare(&expected, value, path, findings),
            Err(cause) => findings.miss(path, Why::Incomparable, cause),
        },
    }
}

fn check_list(nodes: &[Node], value: &Value, path: &str, bindings: &Bindings, findings: &mut Findings) {
    match value {
        Value::Array(items) if items.len() == nodes.len() => {
            if nodes.is_empty() {
                findings.hold();
            }
            for (index, (node, item)) in nodes.iter().zip(items).enumerate() {
                check(node, item, &format!("{path}[{index}]"), bindings, findings);
            }
        }
        Value::Array(items) => findings.miss(path, Why::Different, format!("expected {} elements, got {}", nodes.len(), items.len())),
        Value::Null => findings.miss(path, Why::Different, format!("expected {} elements, got null", nodes.len())),
        other => findings.miss(path, Why::Incomparable, format!("expected a list, got {}", quote(other))),
    }
}

fn check_entry(entry: &Entry, value: &Value, path: &str, bindings: &Bindings, findings: &mut Findings) {
    let path = child(path, &entry.key);
    let projected = match (&entry.project, value) {
        (Project::Field(field), Value::Object(fields)) => match fields.get(field) {
            Some(found) => Cow::Borrowed(found),
            None => return findings.miss(&path, Why::Different, format!("expected {}, but there is no such field", expected(&entry.node))),
        },
        (Project::Field(_), Value::Null) => {
            return findings.miss(&path, Why::Different, format!("expected {}, but there is no such field", expected(&entry.node)));
        }
        (Project::Field(_), other) => {
            return findings.miss(&path, Why::Incomparable, format!("expected a map with this field, got {}", quote(other)));
        }
        (Project::Expression(expression), value) => match expression.evaluate(value, bindings) {
            Ok(projected) => Cow::Owned(projected),
            Err(cause) => return findings.miss(&path, Why::Incomparable, cause),
        },
    };
    let mut bindings = Cow::Borrowed(bindings);
    if let Some(name) = &entry.bind {
        bindings.to_mut().insert(name.clone(), projected.clone().into_owned());
    }
    let Some(each) = &entry.each else {
        let before = findings.violations.len();
        check(&entry.node, &projected, &path, &bindings, findings);
        if let Project::Expression(expression) = &entry.project {
            explain(expression, value, &bindings, &mut findings.violations[before..]);
        }
        return;
    };
    let elements: Vec<(Value, String, &Value)> = match projected.as_ref() {
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| (Value::from(index), format!("{path}[{index}]"), item)).collect()
        }
        Value::Object(fields) => fields.iter().map(|(key, item)| (Value::from(key.as_str()), format!("{path}[{key}]"), item)).collect(),
        other => return findings.miss(&path, Why::Incomparable, format!("expected a list or a map to iterate over, got {}", quote(other))),
    };
    if elements.is_empty() {
        return findings.miss(&path, Why::Empty, "iterates over nothing, so it shows nothing");
    }
    for (name, path, element) in elements {
        if let Some(each) = each {
            bindings.to_mut().insert(each.clone(), name);
        }
        check(&entry.node, element, &path, &bindings, findings);
    }
}

/// Says which values a comparison in an expression was about.
fn explain(expression: &Expression, value: &Value, bindings: &Bindings, violations: &mut [Violation]) {
    if violations.is_empty() {
        return;
    }
    let operands = expression.operands(value, bindings);
    if operands.is_empty() {
        return;
    }
    let facts: Vec<String> = operands.iter().map(|(path, value)| format!("{path} is {}", quote(value))).collect();
    for violation in violations {
        violation.message = format!("{} ({})", violation.message, facts.join(", "));
    }
}

/// What a node wants, in a few words.
fn expected(node: &Node) -> String {
    match node {
        Node::Plain(value) => quote(value),
        Node::List(nodes) => format!("a list of {}", nodes.len()),
        Node::Map(_) => "a map".to_owned(),
        Node::Expression(_) => "a value".to_owned(),
    }
}

fn compare(expected: &Value, actual: &Value, path: &str, findings: &mut Findings) {
    match matches(expected, actual) {
        Some(true) => findings.hold(),
        Some(false) => {
            let message = format!("expected {}, got {}", quote(expected), quote(actual));
            findings.differ(path, Why::Different, message, expected, actual);
        }
        None => {
            let message = format!("expected {}, which cannot be compared with {}", typed(expected), typed(actual));
            findings.differ(path, Why::Incomparable, message, expected, actual);
        }
    }
}

/// True if the actual value holds what the expected one holds; none where their types cannot be compared.
fn matches(expected: &Value, actual: &Value) -> Option<bool> {
    match (expected, actual) {
        (Value::Array(expected), Value::Array(actual)) => {
            if expected.len() != actual.len() {
                return Some(false);
            }
            all(expected.iter().zip(actual).map(|(expected, actual)| matches(expected, actual)))
        }
        (Value::Object(expected), Value::Object(actual)) => {
            let pair = |(key, expected): (&String, &Value)| actual.get(key).map_or(Some(false), |actual| matches(expected, actual));
            all(expected.iter().map(pair))
        }
        (Value::Number(expected), Value::Number(actual)) => Some(same_number(expected, actual)),
        (Value::Null, actual) => Some(actual.is_null()),
        (Value::Array(_) | Value::Object(_), _) => None,
        (_, Value::Null) => Some(false),
        (Value::Bool(expected), Value::Bool(actual)) => Some(expected == actual),
        (Value::String(expected), Value::String(actual)) => Some(expected == actual),
        _ => None,
    }
}

fn all(mut pairs: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    pairs.try_fold(true, |held, pair| pair.map(|pair| held && pair))
}

/// Compares by value: `1` and `1.0` are the same, large integers are compared exactly.
fn same_number(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    let whole = |number: &serde_json::Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a.as_f64() == b.as_f64(),
    }
}

/// A value as it is quoted in messages.
pub(super) fn quote(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= limits::QUOTED_CHARS {
        return text;
    }
    format!("{}…", text.chars().take(limits::QUOTED_CHARS).collect::<String>())
}

fn typed(value: &Value) -> String {
    let kind = match value {
        Value::Null => return "null".to_owned(),
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    };
    format!("the {kind} {}", quote(value))
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
