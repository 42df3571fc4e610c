//! Functions that match text: regular expressions, wildcards, versions.

use jpx_core::functions::ArgumentType::{Number, String as Text, Union};
use regex::{Regex, RegexBuilder};
use semver::Version;
use serde_json::{Value, json};

use super::{Entry, bounded, room, string};
use crate::limits;

pub(super) fn entries() -> Vec<Entry> {
    let scalar = || Union(vec![Text, Number]);
    vec![
        Entry::new("regex_match", &[Text, scalar()], |args| Ok(json!(compiled(string(args, 0))?.is_match(&scalar_text(&args[1]))))),
        Entry::new("regex_replace_all", &[Text, scalar(), scalar()], |args| replaced(args, false)),
        Entry::new("regex_replace_all_literal", &[Text, scalar(), scalar()], |args| replaced(args, true)),
        Entry::new("pattern_match", &[Text, scalar()], |args| wildcard(string(args, 0), &scalar_text(&args[1]))),
        Entry::new("wildcard", &[Text, Text], |args| wildcard(string(args, 0), string(args, 1))),
        Entry::new("semver_compare", &[Text, Text], |args| in_range(string(args, 0), string(args, 1)).map(Value::Bool)),
    ]
}

fn scalar_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern).size_limit(limits::EXPRESSION_REGEX_BYTES).build();
    built.map_err(|error| error.to_string().lines().last().unwrap_or("not a regular expression").trim().to_owned())
}

fn replaced(args: &[Value], literal: bool) -> Result<Value, String> {
    let (pattern, text, new) = (compiled(string(args, 0))?, scalar_text(&args[1]), scalar_text(&args[2]));
    // A group that is named in the replacement is no longer than the text.
    let piece = if literal { new.len() } else { new.len() + new.matches('$').count().saturating_mul(text.len()) };
    room(piece, pattern.find_iter(&text).count())?;
    bounded(match literal {
        true => pattern.replace_all(&text, regex::NoExpand(&new)).into_owned(),
        false => pattern.replace_all(&text, new.as_str()).into_owned(),
    })
}

/// `*` stands for any number of letters, `?` for one.
fn wildcard(pattern: &str, text: &str) -> Result<Value, String> {
    let expression: String = pattern
        .chars()
        .map(|letter| match letter {
            '*' => ".*".to_owned(),
            '?' => ".".to_owned(),
            other => regex::escape(&other.to_string()),
        })
        .collect();
    Ok(json!(compiled(&format!("(?s)^{expression}$"))?.is_match(text)))
}

/// True if a version is in a range such as `>=1.2.0 <2.0.0 || 3.0.0`.
fn in_range(version: &str, range: &str) -> Result<bool, String> {
    let version = Version::parse(version).map_err(|error| format!("`{version}` is not a version: {error}"))?;
    // Every part is read, also behind one that decides, so that a wrong range is always told.
    let mut found = false;
    for alternative in range.split("||") {
        let mut all = true;
        for part in alternative.split_whitespace() {
            all &= compared(&version, part)?;
        }
        if alternative.trim().is_empty() {
            return Err(format!("`{range}` is not a range of versions"));
        }
        found |= all;
    }
    Ok(found)
}

fn compared(version: &Version, part: &str) -> Result<bool, String> {
    let digits = part.find(|letter: char| letter.is_ascii_digit()).unwrap_or(part.len());
    let (operator, bound) = part.split_at(digits);
    let bound = Version::parse(bound).map_err(|_| format!("`{part}` is not a comparison with a whole version such as >=1.2.3"))?;
    let order = version.cmp_precedence(&bound);
    match operator {
        "" | "=" | "==" => Ok(order.is_eq()),
        "!" | "!=" => Ok(order.is_ne()),
        ">" => Ok(order.is_gt()),
        ">=" => Ok(order.is_ge()),
        "<" => Ok(order.is_lt()),
        "<=" => Ok(order.is_le()),
        other => Err(format!("`{other}` in `{part}` is not an operator")),
    }
}
