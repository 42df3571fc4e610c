//! Patterns over names of signers: the whole text, case-sensitive, and no character that matches more than its writer sees.

use std::fmt;

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::error::{Error, Result};

/// The longest pattern; the longest real identity has some 200 characters.
const LENGTH: usize = 1024;
/// What no real name is; a pattern that matches all of them matches everything.
const NOBODY: &[&str] = &["~", "nobody at all", "https://nowhere.invalid/~/~", "x@nowhere.invalid"];

/// A pattern that covers a whole text, never a part of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "PatternForm")]
pub struct Pattern {
    form: PatternForm,
    whole: Regex,
    /// The same without anchors, without case, with dots for any character: what it lets through beyond `whole` looks alike.
    relaxed: Regex,
}

/// How a pattern is written: as a text, which is taken as it stands, or with the kind of pattern beside it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PatternForm {
    /// This text and no other.
    Exact(String),
    /// `*` stands for any characters but `/`, `**` for any characters.
    Glob(GlobForm),
    /// A regular expression for the whole text.
    Regex(RegexForm),
}

/// A glob.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GlobForm {
    /// `*` stands for any characters but `/`, `**` for any characters; all else stands for itself.
    pub glob: String,
}

/// A regular expression.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegexForm {
    /// It must match the whole text. A dot alone is refused: write `\.` for a dot, `.*` or `.+` for anything.
    pub regex: String,
}

impl JsonSchema for Pattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        PatternForm::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        PatternForm::json_schema(generator)
    }
}

impl TryFrom<PatternForm> for Pattern {
    type Error = String;

    fn try_from(form: PatternForm) -> Result<Self, String> {
        // What reads documents knows no hints.
        Self::new(form).map_err(|error| [&[error.chain()], error.hints()].concat().join("; "))
    }
}

impl Pattern {
    fn new(form: PatternForm) -> Result<Self> {
        let expression = match &form {
            PatternForm::Exact(text) => regex::escape(text),
            PatternForm::Glob(GlobForm { glob }) => of_glob(glob),
            PatternForm::Regex(RegexForm { regex }) => {
                check(regex)?;
                regex.clone()
            }
        };
        let text = form.text();
        if text.is_empty() || text.len() > LENGTH {
            return Err(Error::usage(format!("a pattern has 1 to {LENGTH} characters")));
        }
        let compile = |expression: &str| {
            Regex::new(expression).map_err(|error| Error::usage(format!("`{}` is not a pattern", text.escape_debug())).because(error))
        };
        // Alone first: a parenthesis that closes ours would open the anchors.
        compile(&expression)?;
        let whole = compile(&format!(r"\A(?:{expression})\z"))?;
        let relaxed = compile(&format!("(?i){}", expression.replace(r"\.", ".")))?;
        Ok(Self { form, whole, relaxed })
    }
}

impl PatternForm {
    fn text(&self) -> &str {
        match self {
            Self::Exact(text) => text,
            Self::Glob(form) => &form.glob,
            Self::Regex(form) => &form.regex,
        }
    }
}

impl Pattern {
    /// This text and no other.
    ///
    /// # Errors
    /// A usage error if it is empty or too long.
    pub fn exact(text: &str) -> Result<Self> {
        Self::new(PatternForm::Exact(text.to_owned()))
    }

    /// A glob.
    ///
    /// # Errors
    /// A usage error if it is empty or too long.
    pub fn glob(text: &str) -> Result<Self> {
        Self::new(PatternForm::Glob(GlobForm { glob: text.to_owned() }))
    }

    /// A regular expression for the whole text.
    ///
    /// # Errors
    /// A usage error that names what is wrong, and a dot that would match any character.
    pub fn regex(text: &str) -> Result<Self> {
        Self::new(PatternForm::Regex(RegexForm { regex: text.to_owned() }))
    }

    /// True if the whole text is meant.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.whole.is_match(text)
    }

    /// True if a text is not meant and could be taken for one that is: more before or after it, another case, another character for a dot
    /// or for any two letters.
    #[must_use]
    pub fn resembles(&self, text: &str) -> bool {
        if self.matches(text) || text.is_empty() {
            return false;
        }
        let near = |own: &str| strsim::damerau_levenshtein(own, text) <= 2 && own.len() > 8;
        self.relaxed.is_match(text) || matches!(&self.form, PatternForm::Exact(own) if near(own))
    }

    /// True if it does not tell anybody from anybody.
    #[must_use]
    pub fn matches_everything(&self) -> bool {
        NOBODY.iter().all(|nobody| self.matches(nobody) || self.matches(&nobody.replace('/', "")))
    }

    /// The text as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        self.form.text()
    }

    /// True if it is one text and no other.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        matches!(self.form, PatternForm::Exact(_))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.form == other.form
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            PatternForm::Exact(text) => f.write_str(text),
            PatternForm::Glob(form) => write!(f, "glob {}", form.glob),
            PatternForm::Regex(form) => write!(f, "regex {}", form.regex),
        }
    }
}

fn of_glob(glob: &str) -> String {
    let part = |part: &str| part.split('*').map(regex::escape).collect::<Vec<_>>().join("[^/]*");
    glob.split("**").map(part).collect::<Vec<_>>().join(".*")
}

/// Refuses what matches more than its writer sees: a dot for any character, and flags that switch case off or hide anchors.
fn check(regex: &str) -> Result<()> {
    let shown = regex.escape_debug();
    let letters: Vec<char> = regex.chars().collect();
    let (mut index, mut in_class) = (0, false);
    while let Some(&letter) = letters.get(index) {
        let next = letters.get(index + 1).copied();
        match letter {
            '\\' => index += 1,
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class && next == Some('?') && letters.get(index + 2) != Some(&':') => {
                return Err(Error::usage(format!("the regular expression `{shown}` sets flags or names a group"))
                    .hint("patterns are case-sensitive and cover the whole text; leave out (?…) other than (?:…)"));
            }
            '.' if !in_class && !matches!(next, Some('*' | '+' | '{')) => {
                return Err(Error::usage(format!("in the regular expression `{shown}` a dot alone matches any character"))
                    .hint(format!("write \\. for a dot: {}", escaped(&letters))));
            }
            _ => {}
        }
        index += 1;
    }
    Ok(())
}

/// The expression with its single dots escaped.
fn escaped(letters: &[char]) -> String {
    let mut text = String::new();
    for (index, &letter) in letters.iter().enumerate() {
        let is_escaped = index > 0 && letters[index - 1] == '\\';
        let repeats = matches!(letters.get(index + 1), Some('*' | '+' | '{'));
        if letter == '.' && !is_escaped && !repeats {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const WORKFLOW: &str = "https://github.com/acme/lab/.github/workflows/run.yaml@refs/heads/main";

    #[test]
    fn a_pattern_covers_the_whole_text_and_looks_at_case() {
        let patterns = [
            Pattern::exact(WORKFLOW).expect("a pattern"),
            Pattern::glob("https://github.com/acme/lab/.github/workflows/*@refs/heads/main").expect("a pattern"),
            Pattern::regex(r"https://github\.com/acme/lab/\.github/workflows/[a-z]+\.yaml@refs/heads/main").expect("a pattern"),
            Pattern::regex(r"nothing|https://github\.com/acme/lab/\.github/workflows/run\.yaml@refs/heads/main").expect("a pattern"),
        ];
        let alike = [
            format!("{WORKFLOW}-evil"),
            format!("{WORKFLOW}\n"),
            format!("https://evil.example/{WORKFLOW}"),
            WORKFLOW.replace("acme", "Acme"),
            WORKFLOW.replace("github.com", "githubxcom"),
        ];
        for pattern in &patterns {
            assert!(pattern.matches(WORKFLOW) && !pattern.resembles(WORKFLOW), "{pattern}");
            for other in &alike {
                assert!(!pattern.matches(other) && pattern.resembles(other), "{pattern} {other}");
            }
            assert!(!pattern.matches_everything() && !pattern.resembles("alice@example.com"), "{pattern}");
        }
        assert!(patterns[0].resembles(&WORKFLOW.replace("acme", "acne")), "one letter");
    }

    #[test]
    fn a_star_stays_in_its_part_of_the_path_and_two_do_not() {
        let one = Pattern::glob("refs/heads/release/*").expect("a pattern");
        assert!(one.matches("refs/heads/release/1") && !one.matches("refs/heads/release/1/2") && !one.matches("refs/heads/main"));
        let two = Pattern::glob("refs/**").expect("a pattern");
        assert!(two.matches("refs/heads/release/1/2") && !two.matches("xrefs/heads"));
    }

    #[test]
    fn what_matches_more_than_it_shows_is_refused_with_what_to_write() {
        for (wrong, hint) in [
            ("https://github.com/acme", r"https://github\.com/acme"),
            ("(?i)acme", "case-sensitive"),
            ("(?P<x>acme)", "case-sensitive"),
            (r"a)|(b", ""),
            ("[", ""),
        ] {
            let error = Pattern::regex(wrong).expect_err(wrong);
            assert_eq!(error.kind(), Kind::Usage, "{wrong}");
            assert!(hint.is_empty() || error.hints()[0].contains(hint), "{wrong}: {:?}", error.hints());
        }
        assert!(Pattern::regex(r"[.]a\.b.+c.{2}").is_ok());
        assert!(Pattern::exact("").is_err() && Pattern::glob(&"x".repeat(2000)).is_err());
        for everything in
            [Pattern::regex(".*"), Pattern::regex(".+"), Pattern::glob("**"), Pattern::glob("*"), Pattern::regex("(?:.*x)?.*")]
        {
            let everything = everything.expect("a pattern");
            assert!(everything.matches_everything(), "{everything}");
        }
    }
}
