//! JMESPath expressions of assertion trees: checked when a file is loaded, so that evaluation can only fail over data.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jpx_core::ast::Ast;
use jpx_core::interpreter::interpret;
use jpx_core::{Context, ErrorReason, JmespathError, RuntimeError};
use serde_json::Value;

use crate::error::nearest;
use crate::health::functions::{REFUSED, RUNTIME};
use crate::limits;

/// Names that chainsaw binds by itself, and seatrial only in part.
const CHAINSAW_BINDINGS: &[&str] = &["client", "cluster", "config", "namespace", "operation", "step", "test", "values"];

/// Functions that iterate over an array.
const ITERATING: &[&str] = &["map", "max_by", "min_by", "sort_by"];

/// Values by the name of their binding, without `$`.
pub(super) type Bindings = BTreeMap<String, Value>;

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    text: String,
    ast: Ast,
    /// Sides of comparisons that are plain paths, for messages.
    operands: Vec<(String, Ast)>,
    /// The bindings that it refers to; only these are handed to it.
    uses: BTreeSet<String>,
}

impl Expression {
    /// Compiles an expression; `known` are the bindings that it may use.
    ///
    /// The error says what is wrong, in a fragment.
    pub(super) fn compile(text: &str, known: &BTreeSet<String>) -> Result<Self, String> {
        let text = text.trim();
        if text.len() > limits::EXPRESSION_BYTES {
            return Err(format!("the expression has {} bytes; the limit is {}", text.len(), limits::EXPRESSION_BYTES));
        }
        if text.contains(r"\\") {
            return Err(format!("`{text}`: a doubled backslash is one or two characters, depending on the dialect of JMESPath"));
        }
        let ast = jpx_core::parse(text).map_err(|error| format!("`{text}` is not a JMESPath expression: {}", reason(&error)))?;
        let (mut operands, mut uses) = (Vec::new(), BTreeSet::new());
        Survey { text, operands: &mut operands, uses: &mut uses }.visit(&ast, known, 0)?;
        if copies(&ast, &mut BTreeMap::new()) > limits::EXPRESSION_COPIES {
            return Err(format!("`{text}` may copy what it is about more than {} times", limits::EXPRESSION_COPIES));
        }
        Ok(Self { text: text.to_owned(), ast, operands, uses })
    }

    /// Evaluates it on a value.
    ///
    /// The error says why it has no value there, in a fragment.
    pub(super) fn evaluate(&self, value: &Value, bindings: &Bindings) -> Result<Value, String> {
        self.run(&self.ast, value, bindings).map_err(|error| reason(&error))
    }

    /// The plain paths that it compares, with their values: the reason for a `false`.
    pub(super) fn operands(&self, value: &Value, bindings: &Bindings) -> Vec<(String, Value)> {
        let evaluated = self.operands.iter().map(|(path, ast)| Some((path.clone(), self.run(ast, value, bindings).ok()?)));
        evaluated.flatten().collect()
    }

    fn run(&self, ast: &Ast, value: &Value, bindings: &Bindings) -> Result<Value, JmespathError> {
        let mut context = Context::new(&self.text, &RUNTIME);
        let used = bindings.iter().filter(|(name, _)| self.uses.contains(*name));
        let scope: HashMap<String, Value> = used.map(|(name, value)| (name.clone(), value.clone())).collect();
        if !scope.is_empty() {
            context.push_scope(scope);
        }
        interpret(value, ast, &mut context)
    }
}

/// The library's reason without the quoted expression and without its category.
fn reason(error: &JmespathError) -> String {
    let text = match &error.reason {
        ErrorReason::Runtime(RuntimeError::InvalidType { expected, actual, position }) => {
            return format!("argument {} must be {expected}, and is {actual}", position + 1);
        }
        other => other.to_string(),
    };
    let text = text.lines().next().unwrap_or_default();
    let text = text.split_once("error: ").map_or(text, |(_, cause)| cause);
    format!("{} (at character {})", lower_first(text), error.column() + 1)
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// A walk over an expression that refuses what could only fail later.
struct Survey<'a> {
    text: &'a str,
    operands: &'a mut Vec<(String, Ast)>,
    uses: &'a mut BTreeSet<String>,
}

impl Survey<'_> {
    fn visit(&mut self, node: &Ast, known: &BTreeSet<String>, iterations: usize) -> Result<(), String> {
        let inner = match node {
            Ast::Projection { .. } => iterations + 1,
            Ast::Function { name, .. } if ITERATING.contains(&name.as_str()) => iterations + 1,
            _ => iterations,
        };
        if inner > limits::EXPRESSION_ITERATIONS {
            return Err(format!("`{}` nests more than {} iterations", self.text, limits::EXPRESSION_ITERATIONS));
        }
        match node {
            Ast::Comparison { lhs, rhs, .. } => {
                if iterations == 0 {
                    let paths = [lhs, rhs].into_iter().filter_map(|side| Some((path(side)?, (**side).clone())));
                    self.operands.extend(paths);
                }
                self.all([&**lhs, &**rhs], known, inner)
            }
            Ast::And { lhs, rhs, .. } | Ast::Or { lhs, rhs, .. } => self.all([&**lhs, &**rhs], known, inner),
            Ast::Subexpr { lhs, rhs, .. } => {
                // The right side is evaluated on another value, so its comparisons are not about paths from here.
                self.visit(lhs, known, inner)?;
                self.elsewhere(rhs, known, inner)
            }
            Ast::Projection { lhs, rhs, .. } => self.all([&**lhs, &**rhs], known, inner),
            Ast::Condition { predicate, then, .. } => self.all([&**predicate, &**then], known, inner),
            Ast::Not { node, .. } | Ast::Flatten { node, .. } | Ast::ObjectValues { node, .. } => self.visit(node, known, inner),
            Ast::Expref { ast, .. } => self.elsewhere(ast, known, inner),
            Ast::MultiList { elements, .. } => self.all(elements, known, inner),
            Ast::MultiHash { elements, .. } => self.all(elements.iter().map(|pair| &pair.value), known, inner),
            Ast::Function { name, args, .. } => {
                callable(name, args)?;
                self.all(args, known, inner)
            }
            Ast::VariableRef { name, .. } => {
                self.uses.insert(name.clone());
                bound(name, known)
            }
            Ast::Let { bindings, expr, .. } => {
                let mut known = known.clone();
                for (name, value) in bindings {
                    self.visit(value, &known, inner)?;
                    known.insert(name.clone());
                }
                self.visit(expr, &known, inner)
            }
            // Chainsaw's dialect slices text too, where the specification has null: an `error` could pass for that reason alone.
            Ast::Slice { .. } => Err(format!("`{}` holds a slice; seatrial does not run `[a:b]`", self.text)),
            Ast::Identity { .. } | Ast::Field { .. } | Ast::Index { .. } | Ast::Literal { .. } => Ok(()),
        }
    }

    fn all<'a>(&mut self, nodes: impl IntoIterator<Item = &'a Ast>, known: &BTreeSet<String>, iterations: usize) -> Result<(), String> {
        nodes.into_iter().try_for_each(|node| self.visit(node, known, iterations))
    }

    fn elsewhere(&mut self, node: &Ast, known: &BTreeSet<String>, iterations: usize) -> Result<(), String> {
        Survey { text: self.text, operands: &mut Vec::new(), uses: self.uses }.visit(node, known, iterations)
    }
}

/// How many times a value may be in what comes of an expression on it, at most: `[@, @] | [@, @]` holds it four times, and so on.
fn copies(node: &Ast, variables: &mut BTreeMap<String, usize>) -> usize {
    let mut product = |nodes: &[&Ast]| nodes.iter().fold(1_usize, |all, node| all.saturating_mul(copies(node, variables)));
    match node {
        Ast::Subexpr { lhs, rhs, .. } | Ast::Projection { lhs, rhs, .. } => product(&[lhs, rhs]),
        Ast::Condition { predicate, then, .. } => product(&[predicate, then]),
        Ast::Comparison { lhs, rhs, .. } | Ast::And { lhs, rhs, .. } | Ast::Or { lhs, rhs, .. } => {
            copies(lhs, variables).max(copies(rhs, variables))
        }
        Ast::Not { node, .. } | Ast::Flatten { node, .. } | Ast::ObjectValues { node, .. } => copies(node, variables),
        Ast::Expref { ast, .. } => copies(ast, variables),
        Ast::MultiList { elements, .. } => elements.iter().fold(0_usize, |all, node| all.saturating_add(copies(node, variables))),
        Ast::MultiHash { elements, .. } => elements.iter().fold(0_usize, |all, pair| all.saturating_add(copies(&pair.value, variables))),
        // An expression that is given is run on each element of the list.
        Ast::Function { args, .. } if args.iter().any(|arg| matches!(arg, Ast::Expref { .. })) => product(&args.iter().collect::<Vec<_>>()),
        Ast::Function { args, .. } => args.iter().fold(0_usize, |all, node| all.saturating_add(copies(node, variables))).max(1),
        Ast::Let { bindings, expr, .. } => {
            let outer = variables.clone();
            for (name, value) in bindings {
                let held = copies(value, variables);
                variables.insert(name.clone(), held);
            }
            let all = copies(expr, variables);
            *variables = outer;
            all
        }
        Ast::VariableRef { name, .. } => variables.get(name).copied().unwrap_or(1),
        Ast::Slice { .. } | Ast::Identity { .. } | Ast::Field { .. } | Ast::Index { .. } | Ast::Literal { .. } => 1,
    }
}

/// The text of a plain path, such as `status.numberReady`.
fn path(node: &Ast) -> Option<String> {
    match node {
        Ast::Field { name, .. } => Some(name.clone()),
        Ast::Subexpr { lhs, rhs, .. } => Some(format!("{}.{}", path(lhs)?, path(rhs)?)),
        Ast::VariableRef { name, .. } => Some(format!("${name}")),
        _ => None,
    }
}

fn bound(name: &str, known: &BTreeSet<String>) -> Result<(), String> {
    if known.contains(name) {
        return Ok(());
    }
    if CHAINSAW_BINDINGS.contains(&name) {
        return Err(format!(
            "`${name}` is bound by chainsaw when it runs a test; seatrial binds `$values`, and `$namespace` where the test names one"
        ));
    }
    let guess = nearest(name, known.iter().map(String::as_str)).map(|near| format!("; did you mean `${near}`?"));
    Err(format!("`${name}` is not bound here{}", guess.unwrap_or_default()))
}

/// Refuses a function that there is not, or a wrong number of arguments, by calling it with nothing.
fn callable(name: &str, args: &[Ast]) -> Result<(), String> {
    if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err(format!("seatrial does not run `{name}()`: {reason}"));
    }
    let Some(function) = RUNTIME.get_function(name) else {
        let guess = nearest(name, RUNTIME.function_names()).map(|near| format!("; did you mean `{near}`?"));
        return Err(format!("`{name}()` is not a function that seatrial runs{}", guess.unwrap_or_default()));
    };
    let probe = function.evaluate(&vec![Value::Null; args.len()], &mut Context::new(name, &RUNTIME));
    match probe.map_err(|error| error.reason) {
        Err(ErrorReason::Runtime(RuntimeError::TooManyArguments { expected, actual })) => {
            Err(format!("`{name}()` takes {expected} arguments, and has {actual}"))
        }
        Err(ErrorReason::Runtime(RuntimeError::NotEnoughArguments { expected, actual })) => {
            Err(format!("`{name}()` takes {expected} arguments, and has {actual}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compile(text: &str) -> Result<Expression, String> {
        Expression::compile(text, &BTreeSet::from(["count".to_owned()]))
    }

    fn value(text: &str, on: &Value) -> Result<Value, String> {
        compile(text)?.evaluate(on, &Bindings::from([("count".to_owned(), json!(2))]))
    }

    #[test]
    fn expressions_mean_what_the_specification_says() {
        let on = json!({"a": {"b": [{"n": 1, "ok": true}, {"n": 2, "ok": false}]}, "big": 9_007_199_254_740_993_i64, "s": "x"});
        for (text, expected) in [
            ("a.b[?ok].n | [0]", json!(1)),
            ("length(a.b) == $count", json!(true)),
            ("a.b[*].n | sum(@) > `2.5`", json!(true)),
            ("big == `9007199254740993`", json!(true)),
            ("big == `9007199254740992`", json!(false)),
            ("missing > `0`", json!(null)),
            ("s > 'a'", json!(null)),
            ("missing == null_too", json!(true)),
            ("let $x = a.b in length($x)", json!(2)),
            ("contains(keys(a), 'b') && starts_with(s, 'x')", json!(true)),
            ("join(',', map(&to_string(n), a.b))", json!("1,2")),
        ] {
            assert_eq!(value(text, &on), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_could_only_fail_later_is_refused_when_it_is_compiled() {
        let long = "a".repeat(limits::EXPRESSION_BYTES + 1);
        for (text, cause) in [
            ("lenght(a)", "`lenght()` is not a function that seatrial runs; did you mean `length`?"),
            ("a[*].foo(@)", "`foo()` is not a function"),
            ("length(a, b)", "`length()` takes 1 arguments, and has 2"),
            ("contains(a)", "`contains()` takes 2 arguments, and has 1"),
            ("$cuont", "`$cuont` is not bound here; did you mean `$count`?"),
            ("$namespace", "`$namespace` is bound by chainsaw"),
            ("a &&", "is not a JMESPath expression"),
            ("'open", "is not a JMESPath expression"),
            ("a[0:1]", "holds a slice"),
            ("a + b", "is not a JMESPath expression"),
            ("$.a", "is not a JMESPath expression"),
            (r"a == 'x\\y'", "a doubled backslash"),
            ("a[*].b[*].c[*].d[*].e[*]", "nests more than 4 iterations"),
            ("env('HOME')", "seatrial does not run `env()`: a health test must not read the environment"),
            ("[@,@]|[@,@]|[@,@]|[@,@]|[@,@]|[@,@]|[@,@]", "may copy what it is about more than 64 times"),
            ("let $x = [@,@,@,@,@,@,@,@,@] in [$x,$x,$x,$x,$x,$x,$x,$x]", "may copy what it is about more than 64 times"),
            (&long, "the limit is"),
        ] {
            let error = compile(text).expect_err(text);
            assert!(error.contains(cause), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(compile(&"(".repeat(2000)).is_err(), "deep nesting ends in an error, not in a crash");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_an_error_and_not_a_null() {
        assert_eq!(value("length(a)", &json!({})), Err("argument 1 must be array|object|string, and is null".to_owned()));
    }

    #[test]
    fn the_compared_paths_are_known_for_messages() {
        let on = json!({"status": {"ready": 3, "desired": 4}});
        let expression = compile("status.ready == status.desired && status.desired > `0`").expect("compiles");
        let operands = expression.operands(&on, &Bindings::new());
        assert_eq!(operands[..2], [("status.ready".to_owned(), json!(3)), ("status.desired".to_owned(), json!(4))]);
    }
}
