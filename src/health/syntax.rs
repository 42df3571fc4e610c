//! The notation of assertion trees in keys and text values: `~name.`, `->binding`, `\…\`, `(expression)`.

/// What stands in a key or in a text value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Notation {
    /// `~.` or `~name.`: the assertion below is made for each element; the name is bound to its index or key.
    pub(super) each: Option<Option<String>>,
    /// `->name`: the value is bound to the name.
    pub(super) bind: Option<String>,
    /// The rest: an expression, or plain text.
    pub(super) body: Body,
}

/// An expression or plain text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// The inside of `(…)`.
    Expression(String),
    /// Everything else, and the inside of `\…\`.
    Plain(String),
}

/// Reads the notation; the error is a fragment.
pub(super) fn read(text: &str) -> Result<Notation, String> {
    let (each, rest) = split_each(text);
    let (rest, bind) = split_bind(rest);
    // Chainsaw takes these for plain text, which then never matches: a silent green in `error`.
    let takes_for_text = |what: &str| Err(format!("`{}` {what}; chainsaw would take it for plain text", text.replace('\n', " ")));
    let body = if let Some(escaped) = enclosed(rest, '\\', '\\') {
        Body::Plain(escaped.to_owned())
    } else if let Some(inside) = enclosed(rest, '(', ')') {
        if inside.contains('\n') {
            return takes_for_text("goes over several lines");
        }
        match inside.split_once(';').filter(|(engine, rest)| is_word(engine) && !rest.is_empty()) {
            None => Body::Expression(inside.to_owned()),
            Some(("jp", rest)) => Body::Expression(rest.to_owned()),
            Some((engine, _)) => return Err(format!("seatrial runs JMESPath expressions only, and `{text}` asks for `{engine}`")),
        }
    } else if rest == "()" {
        return takes_for_text("is an empty expression");
    } else if enclosed(rest.trim(), '(', ')').is_some() {
        return takes_for_text("has spaces beside an expression");
    } else {
        Body::Plain(rest.to_owned())
    };
    Ok(Notation { each, bind, body })
}

/// Splits `~name.rest`.
fn split_each(text: &str) -> (Option<Option<String>>, &str) {
    match text.strip_prefix('~').and_then(|rest| rest.split_once('.')) {
        Some(("", rest)) => (Some(None), rest),
        Some((name, rest)) if is_word(name) => (Some(Some(name.to_owned())), rest),
        _ => (None, text),
    }
}

/// Splits `rest->name`.
fn split_bind(text: &str) -> (&str, Option<String>) {
    match text.rsplit_once("->") {
        Some((rest, name)) if is_word(name.trim_start()) => (rest, Some(name.trim_start().to_owned())),
        _ => (text, None),
    }
}

/// What stands between two characters, if anything does.
fn enclosed(text: &str, open: char, close: char) -> Option<&str> {
    text.strip_prefix(open)?.strip_suffix(close).filter(|inside| !inside.is_empty())
}

pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notation_is_read_from_outside_in() {
        let expression = |text: &str| Body::Expression(text.to_owned());
        let plain = |text: &str| Body::Plain(text.to_owned());
        let name = |text: &str| Some(text.to_owned());
        for (text, each, bind, body) in [
            ("foo", None, None, plain("foo")),
            ("(a.b)", None, None, expression("a.b")),
            ("(jp;a)", None, None, expression("a")),
            ("~.(a)", Some(None), None, expression("a")),
            ("~i.(a)->b", Some(name("i")), name("b"), expression("a")),
            ("~.foo", Some(None), None, plain("foo")),
            ("(a)-> b", None, name("b"), expression("a")),
            ("(a) -> b", None, None, plain("refused")),
            ("foo->b", None, name("b"), plain("foo")),
            (r"\(a)\", None, None, plain("(a)")),
            (r"~.\(a)\->b", Some(None), name("b"), plain("(a)")),
            ("()", None, None, plain("refused")),
            ("(a\n+ b)", None, None, plain("refused")),
            ("(cel;object.a)", None, None, plain("refused")),
        ] {
            let read = read(text);
            if body == plain("refused") {
                assert!(read.is_err(), "{text}");
            } else {
                assert_eq!(read, Ok(Notation { each, bind, body }), "{text}");
            }
        }
    }
}
