//! The cases of checks that tests show: lines `// case: CHECK | healthy, wrong or fault | what the cluster is like and what comes of it`
//! directly above a test's attributes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

const MARK: &str = "// case: ";
const KINDS: [&str; 3] = ["healthy", "wrong", "fault"];

/// What one test shows of one check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Case {
    /// `healthy`, `wrong` (the cluster), or `fault` (something on the way to it).
    pub(crate) kind: &'static str,
    /// What the cluster is like and what comes of it.
    pub(crate) what: String,
    /// `tests/it/x.rs`, then the name of the test.
    pub(crate) test: (String, String),
    /// True if `make test-matrix` runs it, false for `make test`.
    pub(crate) matrix: bool,
}

/// All cases by check.
pub(crate) fn all(root: &Path) -> BTreeMap<String, Vec<Case>> {
    let mut cases: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    let mut folders = vec![root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of tests") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("docs/cases.rs") {
                let source = std::fs::read_to_string(&path).expect("a source");
                let name = path.strip_prefix(root).expect("is below the root").display().to_string();
                of_source(&name, &source).into_iter().for_each(|(check, case)| cases.entry(check).or_default().push(case));
            }
        }
    }
    let place = |case: &Case| KINDS.iter().position(|kind| *kind == case.kind);
    cases.values_mut().for_each(|cases| cases.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.cmp(b))));
    cases
}

/// The cases in one source. A mark that stands above no test, or says what it may not, is refused.
fn of_source(file: &str, source: &str) -> Vec<(String, Case)> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (index, marked) in lines.iter().enumerate().filter_map(|(index, line)| Some((index, line.strip_prefix(MARK)?))) {
        let place = format!("{file}:{}", index + 1);
        let parts: Vec<&str> = marked.splitn(3, '|').map(str::trim).collect();
        let [check, kind, what] = parts[..] else { panic!("To fix: {place}: write `{MARK}CHECK | KIND | WHAT`") };
        let kind = KINDS.into_iter().find(|known| *known == kind).unwrap_or_else(|| panic!("To fix: {place}: {kind} is none of {KINDS:?}"));
        let below = || lines[index + 1..].iter().skip_while(|line| line.starts_with("//")).copied();
        let attributes: Vec<&str> = below().take_while(|line| line.starts_with('#')).collect();
        let is_test = attributes.iter().any(|line| line.contains("test]") || line.contains("test("));
        let head = below().find(|line| !line.starts_with('#')).unwrap_or_default();
        let test = head.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).map(|(name, _)| name.to_owned());
        let test = test.filter(|_| is_test).unwrap_or_else(|| panic!("To fix: {place}: the case stands above no test"));
        let matrix = attributes.iter().any(|line| line.starts_with("#[ignore"));
        found.push((check.to_owned(), Case { kind, what: what.to_owned(), test: (file.to_owned(), test), matrix }));
    }
    found
}

/// The table below a check.
pub(crate) fn table(cases: &[Case]) -> String {
    let mut table = "### What it was tried on\n\n| cluster | | test |\n|---|---|---|\n".to_owned();
    for case in cases {
        let (file, test) = &case.test;
        let when = if case.matrix { " (`make test-matrix`)" } else { "" };
        writeln!(table, "| {} | {} | `{file}`: `{test}`{when} |", case.kind, case.what.replace('|', "\\|")).expect("text takes text");
    }
    table
}

#[test]
fn a_case_is_of_the_test_below_it() {
    let source =
        "// case: x | wrong | one; it fails\n// case: y | healthy | two\n#[tokio::test]\n#[ignore = \"matrix\"]\nasync fn works() {}\n";
    let cases = of_source("tests/a.rs", source);
    let case = |kind, what: &str| Case { kind, what: what.to_owned(), test: ("tests/a.rs".to_owned(), "works".to_owned()), matrix: true };
    assert_eq!(cases, [("x".to_owned(), case("wrong", "one; it fails")), ("y".to_owned(), case("healthy", "two"))]);
}

#[test]
#[should_panic(expected = "the case stands above no test")]
fn a_case_above_something_else_is_refused() {
    of_source("tests/a.rs", "// case: x | wrong | one\nfn helps() {}\n");
}
