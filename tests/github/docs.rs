//! docs/github-action.md shows what `seatrial init` writes and what action.yml says. `UPDATE_EXPECT=1` writes it.

use expect_test::expect_file;

use crate::{root, yaml};

const PAGE: &str = "docs/github-action.md";

fn table(kind: &str) -> String {
    let action = yaml("action.yml");
    let text = std::fs::read_to_string(root().join("action.yml")).expect("reads");
    let entries = action[kind].as_object().expect("entries");
    // In the order of the file.
    let mut names: Vec<&String> = entries.keys().collect();
    let place =
        |name: &str| [format!("\n  {name}:\n"), format!("\n  \"{name}\":\n")].iter().find_map(|line| text.find(line)).unwrap_or(usize::MAX);
    names.sort_by_key(|name| place(name));
    let rows = names
        .iter()
        .map(|name| format!("| `{name}` | {} |\n", entries[*name]["description"].as_str().unwrap_or_default().replace('|', "\\|")));
    format!("| {} | |\n|---|---|\n{}", kind.trim_end_matches('s'), rows.collect::<String>())
}

#[test]
fn the_page_shows_every_input_and_output() {
    let page = std::fs::read_to_string(root().join(PAGE)).expect("reads");
    let (before, rest) = page.split_once("<!-- action").expect("the mark");
    let (mark, rest) = rest.split_once('\n').expect("a line");
    let (_, after) = rest.split_once("<!-- end -->").expect("the other mark");
    let wanted = format!("{before}<!-- action{mark}\n{}\n{}<!-- end -->{after}", table("inputs"), table("outputs"));
    expect_file![root().join(PAGE)].assert_eq(&wanted);
}
