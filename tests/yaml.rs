//! YAML means what Go makes of it, and no document makes a parser panic, hang or take more memory than stated.

#[path = "yaml/differences.rs"]
mod differences;
#[path = "yaml/meaning.rs"]
mod meaning;
