//! Functions over text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jpx_core::functions::ArgumentType::{Any, Array, Number, Object, String as Text, TypedArray, Union};
use serde_json::{Value, json};

use super::{Entry, bounded, room, string, whole};

pub(super) fn entries() -> Vec<Entry> {
    vec![
        Entry::new("compare", &[Text, Text], |args| Ok(json!(string(args, 0).cmp(string(args, 1)) as i8))),
        Entry::new("equal_fold", &[Text, Text], |args| Ok(json!(string(args, 0).to_lowercase() == string(args, 1).to_lowercase()))),
        Entry::new("lower", &[Text], |args| bounded(string(args, 0).to_lowercase())),
        Entry::new("upper", &[Text], |args| bounded(string(args, 0).to_uppercase())),
        Entry::new("to_lower", &[Text], |args| bounded(string(args, 0).to_lowercase())),
        Entry::new("to_upper", &[Text], |args| bounded(string(args, 0).to_uppercase())),
        Entry::new("trim", &[Text, Text], |args| bounded(string(args, 0).trim_matches(within(string(args, 1))).to_owned())),
        Entry::new("trim_left", &[Text, Text], |args| {
            let text = string(args, 0);
            bounded(
                if string(args, 1).is_empty() { text.trim_start() } else { text.trim_start_matches(within(string(args, 1))) }.to_owned(),
            )
        })
        .optional(1),
        Entry::new("trim_right", &[Text, Text], |args| {
            let text = string(args, 0);
            bounded(if string(args, 1).is_empty() { text.trim_end() } else { text.trim_end_matches(within(string(args, 1))) }.to_owned())
        })
        .optional(1),
        Entry::new("trim_prefix", &[Text, Text], |args| {
            let text = string(args, 0);
            bounded(text.strip_prefix(string(args, 1)).unwrap_or(text).to_owned())
        }),
        Entry::new("trim_space", &[Text], |args| bounded(string(args, 0).trim().to_owned())),
        Entry::new("as_string", &[Any], |args| Ok(if args[0].is_string() { args[0].clone() } else { Value::Null })),
        Entry::new("concat", &[Text, Text], |args| {
            room(string(args, 0).len() + string(args, 1).len(), 1)?;
            bounded(format!("{}{}", string(args, 0), string(args, 1)))
        }),
        Entry::new("join", &[Text, TypedArray(Box::new(Text))], |args| {
            let parts: Vec<&str> = args[1].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            room(parts.iter().map(|part| part.len() + string(args, 0).len()).sum(), 1)?;
            bounded(parts.join(string(args, 0)))
        }),
        Entry::new("split", &[Text, Text], |args| Ok(split(string(args, 0), string(args, 1)))),
        Entry::new("replace", &[Text, Text, Text, Number], |args| {
            // As Go has it, a negative count means all.
            let count = usize::try_from(whole(args, 3)?).unwrap_or(usize::MAX);
            replace(string(args, 0), string(args, 1), string(args, 2), count)
        }),
        Entry::new("replace_all", &[Text, Text, Text], |args| replace(string(args, 0), string(args, 1), string(args, 2), usize::MAX)),
        Entry::new("truncate", &[Text, Number], |args| {
            let length = usize::try_from(whole(args, 1)?).unwrap_or_default();
            bounded(string(args, 0).chars().take(length).collect())
        }),
        Entry::new("pad_left", &[Text, Number, Text], |args| pad(args).map(|(padding, text)| Value::String(padding + text))).optional(1),
        Entry::new("pad_right", &[Text, Number, Text], |args| pad(args).map(|(padding, text)| Value::String(text.to_owned() + &padding)))
            .optional(1),
        Entry::new("find_first", &[Text, Text], |args| Ok(place(args, |text, wanted| text.find(wanted)))),
        Entry::new("find_last", &[Text, Text], |args| Ok(place(args, |text, wanted| text.rfind(wanted)))),
        Entry::new("base64_encode", &[Text], |args| {
            room(string(args, 0).len(), 2)?;
            bounded(STANDARD.encode(string(args, 0)))
        }),
        Entry::new("base64_decode", &[Text], |args| {
            let bytes = STANDARD.decode(string(args, 0)).map_err(|error| format!("the text is not base64: {error}"))?;
            bounded(String::from_utf8(bytes).map_err(|_| "what it decodes to is not text".to_owned())?)
        }),
        Entry::new("to_boolean", &[Text], |args| match string(args, 0).to_lowercase().as_str() {
            "true" => Ok(json!(true)),
            "false" => Ok(json!(false)),
            _ => Err(format!("`{}` is neither true nor false", string(args, 0))),
        }),
        Entry::new("parse_json", &[Text], |args| parse_json(string(args, 0))),
        Entry::new("json_parse", &[Text], |args| parse_json(string(args, 0))),
        Entry::new("parse_yaml", &[Text], |args| {
            room(string(args, 0).len(), 1)?;
            crate::yaml::from_str(string(args, 0), "text").map_err(|error| error.to_string())
        }),
        Entry::new("lookup", &[Union(vec![Object, Array]), Union(vec![Text, Number])], lookup),
    ]
}

/// Matches letters that occur in a set, as Go's `Trim` does.
fn within(set: &str) -> impl Fn(char) -> bool + Copy + '_ {
    move |letter| set.contains(letter)
}

/// Go splits by an empty separator into letters, and an empty text into one empty piece.
fn split(text: &str, separator: &str) -> Value {
    if separator.is_empty() {
        return text.chars().map(|letter| json!(letter)).collect();
    }
    text.split(separator).map(Value::from).collect()
}

fn replace(text: &str, old: &str, new: &str, count: usize) -> Result<Value, String> {
    let found = text.matches(old).take(count).count();
    room(text.len() + found.saturating_mul(new.len()), 1)?;
    bounded(text.replacen(old, new, found))
}

fn pad(args: &[Value]) -> Result<(String, &str), String> {
    let text = string(args, 0);
    let width = usize::try_from(whole(args, 1)?).map_err(|_| "argument 2 must not be negative".to_owned())?;
    let with = args.get(2).map_or(" ", |_| string(args, 2));
    if with.len() != 1 {
        return Err("argument 3 must be one letter".to_owned());
    }
    room(width, 1)?;
    Ok((with.repeat(width.saturating_sub(text.len())), text))
}

fn place(args: &[Value], find: fn(&str, &str) -> Option<usize>) -> Value {
    let (text, wanted) = (string(args, 0), string(args, 1));
    if text.is_empty() || wanted.is_empty() { Value::Null } else { json!(find(text, wanted)) }
}

fn parse_json(text: &str) -> Result<Value, String> {
    room(text.len(), 1)?;
    serde_json::from_str(text).map_err(|error| format!("the text is not JSON: {error}"))
}

fn lookup(args: &[Value]) -> Result<Value, String> {
    match (&args[0], &args[1]) {
        (Value::Object(fields), Value::String(key)) => Ok(fields.get(key).cloned().unwrap_or_default()),
        (Value::Array(items), Value::Number(_)) => {
            let index = usize::try_from(whole(args, 1)?).ok();
            Ok(index.and_then(|index| items.get(index)).cloned().unwrap_or_default())
        }
        _ => Err("a map is looked up by text, a list by a number".to_owned()),
    }
}
