//! Generated documents are what the code says. To write them anew: `UPDATE_EXPECT=1 cargo test --test docs`.

use expect_test::expect_file;
use seatrial::exit::Exit;

#[test]
fn the_page_of_exit_codes_is_the_table_in_the_code() {
    let rows: String = Exit::ALL.iter().map(|exit| format!("| {} | {} | {} |\n", exit.code(), exit.name(), exit.meaning())).collect();
    let page = format!(
        "# Exit codes\n\n\
         Generated from `src/exit.rs`; `UPDATE_EXPECT=1 cargo test --test docs` writes it anew.\n\n\
         `verdict`, `reason` and `scope` in the JSON documents are the interface; the exit code is their short form.\n\n\
         | code | name | meaning |\n|---|---|---|\n{rows}\n\
         Once checks have run, 0, 1, 3 and 130 tell: interrupted is 130; else anything that failed is 1; else anything that could not be told, or did not\n\
         run, is 3; else 0. A run that looked at nothing is 3 as well. The other codes are for a command that got nowhere for that one cause.\n"
    );
    expect_file!["../docs/exit-codes.md"].assert_eq(&page);
}

#[test]
fn codes_and_names_are_unique_and_in_order() {
    let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
    assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
    let mut names: Vec<&str> = Exit::ALL.iter().map(|exit| exit.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Exit::ALL.len());
}
