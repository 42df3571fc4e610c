//! The operating system: its release, the kernel's command line and modules.

use std::collections::BTreeMap;

use crate::facts::collect::Root;
use crate::facts::reading::Reading;

/// `os-release` of the machine, without the quotes.
pub(super) fn os_release(root: &Root) -> Reading<BTreeMap<String, String>> {
    let text = root.text("/etc/os-release").or_else(|why| root.text("/usr/lib/os-release").map_err(|_| why));
    Reading::from(text).map(|text| text.lines().filter_map(assignment).collect())
}

/// `NAME="a \"b\""` as a shell reads it.
fn assignment(line: &str) -> Option<(String, String)> {
    let (name, value) = line.trim().split_once('=')?;
    if name.starts_with('#') {
        return None;
    }
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    let value = match (quoted('"'), quoted('\'')) {
        (Some(inner), _) => unescaped(inner),
        (None, Some(inner)) => inner.to_owned(),
        _ => value.to_owned(),
    };
    Some((name.to_owned(), value))
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(if letter == '\\' { letters.next().unwrap_or('\\') } else { letter });
    }
    plain
}

/// Parameters of the kernel; quotes keep spaces together.
pub(super) fn cmdline(root: &Root) -> Reading<Vec<String>> {
    Reading::from(root.text("/proc/cmdline")).map(|text| {
        let mut parameters = vec![String::new()];
        let mut quoted = false;
        for letter in text.chars() {
            match letter {
                '"' => quoted = !quoted,
                letter if letter.is_whitespace() && !quoted => parameters.push(String::new()),
                letter => {
                    if let Some(last) = parameters.last_mut() {
                        last.push(letter);
                    }
                }
            }
        }
        parameters.retain(|parameter| !parameter.is_empty());
        parameters
    })
}

/// Loaded modules with the versions that they say.
pub(super) fn modules(root: &Root) -> Reading<BTreeMap<String, String>> {
    Reading::from(root.text("/proc/modules")).map(|text| {
        let names = text.lines().filter_map(|line| line.split_whitespace().next());
        names.map(|name| (name.to_owned(), root.text_or_empty(&format!("/sys/module/{name}/version")))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_of_os_release_are_read_as_a_shell_does() {
        assert_eq!(assignment("VERSION_ID=\"22.04\""), Some(("VERSION_ID".to_owned(), "22.04".to_owned())));
        assert_eq!(assignment("NAME='a b'"), Some(("NAME".to_owned(), "a b".to_owned())));
        assert_eq!(assignment("X=\"a \\\"b\\\"\""), Some(("X".to_owned(), "a \"b\"".to_owned())));
        assert_eq!(assignment("# comment=1"), None);
    }
}
