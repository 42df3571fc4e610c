//! What may be in the output of a gate, whatever is in the change: nothing of the change is raw in it.

use seatrial::gate::{GateReport, markdown, text};

/// The three forms of a report.
pub(crate) fn forms(report: &GateReport) -> [(&'static str, String); 3] {
    let lines: String = text::lines(report).into_iter().map(|(_, line)| line + "\n").collect();
    let json = serde_json::to_string_pretty(report).expect("JSON");
    [("text", lines), ("JSON", json), ("Markdown", markdown::write(report, 65_000).expect("is written"))]
}

/// Fails if anything in it could steer a terminal, a CI system, or a page.
#[track_caller]
pub(crate) fn assert_harmless(name: &str, report: &GateReport) {
    for (form, text) in forms(report) {
        // The one thing without width that is written on purpose: it keeps names from being mentioned.
        let seen = if form == "Markdown" { text.replace("@\u{200b}", "").replace("#\u{200b}", "") } else { text.clone() };
        let hidden = seen.chars().find(|letter| {
            (letter.is_control() && *letter != '\n')
                || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
        });
        assert_eq!(hidden, None, "{name}, {form}: {text}");
        assert!(!seen.lines().any(|line| line.trim_start().starts_with("::")), "{name}, {form}: a workflow command: {text}");
        assert!(!seen.contains("##["), "{name}, {form}: a workflow command: {text}");
        assert!(text.len() < 200_000, "{name}, {form}: {} bytes", text.len());
        assert!(text.lines().all(|line| line.len() < 20_000), "{name}, {form}: a line without an end");
        if form == "Markdown" {
            assert_harmless_markdown(name, &seen);
        }
    }
}

#[track_caller]
fn assert_harmless_markdown(name: &str, text: &str) {
    let foreign = OURS.iter().fold(text.to_owned(), |text, tag| text.replace(tag, ""));
    assert!(!foreign.contains('<'), "{name}: a tag: {text}");
    assert!(!foreign.replace("\\](", "").contains("]("), "{name}: a link: {text}");
    assert!(!foreign.replace("\\://", "").contains("://"), "{name}: an address: {text}");
    let mention = foreign.match_indices('@').find(|(at, _)| !foreign[..*at].ends_with('\\'));
    assert_eq!(mention, None, "{name}: a mention: {text}");
    // The first line is ours, of words of ours.
    let heading = foreign.lines().skip(1).find(|line| line.starts_with('#'));
    assert_eq!(heading, None, "{name}: {text}");
    for table in foreign.split("\n\n") {
        let columns: Vec<usize> = table.lines().filter(|line| line.starts_with('|')).map(columns).collect();
        assert!(columns.windows(2).all(|pair| pair[0] == pair[1]), "{name}: a broken table: {table}");
    }
}

/// The tags that are written on purpose.
const OURS: &[&str] = &[
    "<details open><summary>Reasons, signers and sources, one by one</summary>",
    "<details><summary>Reasons, signers and sources, one by one</summary>",
    "<details><summary>The policy changes with this; it was judged by the one that is in force</summary>",
    "<details><summary>What this does not show</summary>",
    "</details>",
    "<code>",
    "</code>",
    "<sub>",
    "</sub>",
];

/// Cells of a table's row: bars that are not escaped.
fn columns(line: &str) -> usize {
    let mut count = 0;
    let mut escaped = false;
    for letter in line.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '|' => count += 1,
            _ => {}
        }
    }
    count
}
