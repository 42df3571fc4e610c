//! Reads YAML as Go's yaml.v3 would, within bounds, with line and column in every error.

use serde::de::DeserializeOwned;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Budget, DuplicateKeyPolicy, Options};

/// A value with its line and column.
pub use serde_saphyr::Spanned;

use crate::error::{Error, Kind, Result, nearest};
use crate::limits;

/// The options under which every YAML document is read: bounded, no duplicate keys, only `true` and `false` are booleans, no tags that
/// mean nothing here.
fn options() -> Options {
    let mut budget = Budget::default();
    budget.max_nodes = limits::YAML_NODES;
    budget.max_depth = limits::YAML_DEPTH;
    budget.max_total_scalar_bytes = limits::YAML_TEXT;
    // One anchor with hundreds of aliases is a usual way to write values; what they expand to is counted.
    budget.enforce_alias_anchor_ratio = false;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.alias_limits.max_total_replayed_events = limits::YAML_NODES;
    options.strict_booleans = true;
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    options.legacy_octal_numbers = true;
    options.reject_unsupported_tags = true;
    options.with_snippet = false;
    // Nobody looks at them, and forty lines of comment in a row would be too many.
    options.emit_comments = false;
    options
}

/// Parses one document. `name` is the file (or other source) as the user knows it.
///
/// # Errors
/// [`Kind::Usage`] with `name:line:column`, the cause, and the nearest known name where a field or variant is misspelt.
pub fn from_str<T: DeserializeOwned>(text: &str, name: &str) -> Result<T> {
    check_size(text, name)?;
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| explain(&error, name))
}

/// Parses one large document, such as a snapshot: as [`from_str`], with a budget that follows from its size, so that only what aliases
/// blow up is refused.
///
/// # Errors
/// As [`from_str`].
pub fn from_large_str<T: DeserializeOwned>(text: &str, name: &str) -> Result<T> {
    let mut options = options();
    if let Some(budget) = &mut options.budget {
        // Each node, and each event, is a byte of the text at least.
        budget.max_nodes = limits::SNAPSHOT_NODES.min(text.len() + 1);
        budget.max_events = 2 * budget.max_nodes + 16;
        budget.max_total_scalar_bytes = text.len() + 1;
        budget.max_documents = 2;
    }
    serde_saphyr::from_str_with_options(text, options).map_err(|error| explain(&error, name))
}

/// Parses all documents of a file; empty ones are left out.
///
/// # Errors
/// As [`from_str`].
pub fn all_from_str<T: DeserializeOwned>(text: &str, name: &str) -> Result<Vec<T>> {
    check_size(text, name)?;
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| explain(&error, name))
}

/// Parses all documents of a file that machines wrote, such as definitions of kinds: as [`all_from_str`], whatever its size, which the
/// caller has bounded by reading no more.
///
/// # Errors
/// As [`from_str`].
pub fn all_from_large_str<T: DeserializeOwned>(text: &str, name: &str) -> Result<Vec<T>> {
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| explain(&error, name))
}

/// Writes a document.
///
/// # Errors
/// [`Kind::Internal`] if the value has no YAML form.
pub fn to_string<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_saphyr::to_string(value).map_err(|error| Error::internal("write YAML").because(error))
}

fn check_size(text: &str, name: &str) -> Result<()> {
    if text.len() as u64 > limits::DOCUMENT_BYTES {
        return Err(Error::usage(format!("{name} has {} bytes; the limit is {}", text.len(), limits::DOCUMENT_BYTES)));
    }
    Ok(())
}

fn explain(error: &serde_saphyr::Error, name: &str) -> Error {
    let place = error.location().map_or_else(|| name.to_owned(), |at| format!("{name}:{}:{}", at.line(), at.column()));
    let mut explained = Error::new(Kind::Usage, format!("{place}: {}", cause(error)));
    if let Some(hint) = did_you_mean(error.without_snippet()) {
        explained = explained.hint(hint);
    }
    explained
}

/// What is wrong, without the position, which stands in front, and without advice for those who program with the library.
fn cause(error: &serde_saphyr::Error) -> String {
    if let serde_saphyr::Error::Budget { breach: BudgetBreach::Depth { .. }, .. } = error.without_snippet() {
        return format!("it nests more than {} levels deep", limits::YAML_DEPTH);
    }
    let text = error.without_snippet().to_string();
    if let Some(wanted) = text.strip_prefix("cannot deserialize null into ").and_then(|rest| rest.split(';').next()) {
        return format!("nothing is written where a {wanted} is wanted");
    }
    if text.starts_with("recursive references require weak recursion types") {
        return "an alias stands for something that it is itself a part of".to_owned();
    }
    if ["budget breached", "alias replay limit exceeded"].iter().any(|start| text.starts_with(start)) {
        return "it says more, aliases expanded, than any real document does".to_owned();
    }
    let end = [" at line ", ", set DuplicateKeyPolicy", ". If you", ". Use "].iter().filter_map(|advice| text.find(advice)).min();
    text[..end.unwrap_or(text.len())].trim_end_matches([',', ':']).to_owned()
}

/// The nearest known name, where the error is about an unknown one.
fn did_you_mean(error: &serde_saphyr::Error) -> Option<String> {
    let (wrong, known) = match error {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => (field, expected),
        serde_saphyr::Error::SerdeUnknownVariant { variant, expected, .. } => (variant, expected),
        _ => return None,
    };
    nearest(wrong, known.iter().copied()).map(|name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(rename = "timeout")]
        _timeout: u32,
    }

    #[test]
    fn words_and_numbers_mean_what_go_makes_of_them() {
        let value: Value = from_str("{a: on, b: no, c: y, d: 010, e: true, f: 1.0, g: 0x10, h: ~, i: 1_000}", "x.yaml").expect("parses");
        assert_eq!(value, json!({"a": "on", "b": "no", "c": "y", "d": 8, "e": true, "f": 1.0, "g": 16, "h": null, "i": 1000}));
    }

    #[test]
    fn a_misspelt_field_names_file_line_column_and_the_nearest_name() {
        let error = from_str::<Sample>("\ntimeuot: 3\n", "x.yaml").expect_err("is refused");
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.chain().starts_with("x.yaml:2:1: unknown field"), "{}", error.chain());
        assert_eq!(error.hints(), ["did you mean `timeout`?"]);
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Three {
        #[serde(rename = "assert")]
        _assert: u32,
        #[serde(rename = "error")]
        _error: u32,
        #[serde(rename = "apply")]
        _apply: u32,
    }

    #[test]
    fn the_nearest_of_several_names_is_found() {
        assert_eq!(from_str::<Three>("asert: 3", "x.yaml").expect_err("is refused").hints(), ["did you mean `assert`?"]);
    }

    #[test]
    fn an_alias_bomb_and_deep_nesting_end_quickly() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", ")));
        }
        assert_eq!(from_str::<Value>(&bomb, "bomb.yaml").expect_err("is refused").kind(), Kind::Usage);
        assert_eq!(from_str::<Value>(&"[".repeat(100_000), "deep.yaml").expect_err("is refused").kind(), Kind::Usage);
    }

    #[test]
    fn what_aliases_expand_to_is_counted_and_not_how_many_there_are() {
        let many = format!("a: &x 1\nb: [{}]\n", vec!["*x"; 500].join(", "));
        assert_eq!(from_str::<Value>(&many, "x.yaml").expect("is read")["b"].as_array().map(Vec::len), Some(500));
        let long = format!("a: &x {}\nb: [{}]\n", "y".repeat(500_000), vec!["*x"; 1000].join(", "));
        for error in [from_str::<Value>(&long, "x.yaml"), from_large_str(&long, "x.yaml")] {
            let error = error.expect_err("is refused");
            assert!(error.chain().ends_with("it says more, aliases expanded, than any real document does"), "{}", error.chain());
        }
    }

    #[test]
    fn errors_say_what_is_wrong_and_not_how_to_program() {
        for (text, says) in [
            ("a: 1\na: 2\n", "x.yaml:2:1: duplicate mapping key: a"),
            ("a: &x [*x]\n", "x.yaml:1:8: an alias stands for something that it is itself a part of"),
            ("a: !vault b\n", "x.yaml:1:11: unsupported tag `!vault`"),
            ("a: !!binary gIGCg4SFhg==\n", "x.yaml:1:13: !!binary scalar is not valid UTF-8 so cannot be stored into string"),
        ] {
            let error = from_str::<Value>(text, "x.yaml").expect_err(text);
            assert_eq!((error.kind(), error.chain().as_str()), (Kind::Usage, says));
        }
        let empty = from_str::<std::collections::BTreeMap<String, String>>("a: ~\n", "x.yaml").expect_err("is refused").chain();
        assert_eq!(empty, "x.yaml:1:4: nothing is written where a string is wanted");
        // Each level a key of the one around it, which takes the most stack.
        let keys = from_str::<serde::de::IgnoredAny>(&"? ".repeat(1000), "x.yaml").expect_err("is refused").chain();
        assert!(keys.ends_with("it nests more than 48 levels deep"), "{keys}");
        let deep = from_str::<Value>(&format!("{}{}", "[".repeat(100), "]".repeat(100)), "x.yaml").expect_err("is refused").chain();
        assert_eq!(deep, "x.yaml:1:49: it nests more than 48 levels deep");
    }
}
