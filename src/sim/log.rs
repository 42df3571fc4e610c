//! The last words of a process, from its log.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::limits;

/// The last lines of a log.
pub(super) fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return format!("{} is empty", path.display());
    }
    let last = &lines[lines.len().saturating_sub(limits::SIM_LOG_LINES)..];
    let cut = |line: &&str| message(line).chars().take(limits::SIM_LOG_COLUMNS).collect::<String>();
    last.iter().map(|line| format!("\n    {}", cut(line))).collect()
}

/// What a log line of kwokctl or kwok says, which is JSON; other lines as they are.
fn message(line: &str) -> String {
    let entry: Value = serde_json::from_str(line).unwrap_or_default();
    match (entry["msg"].as_str(), entry["err"].as_str()) {
        (Some(message), Some(cause)) => format!("{message}: {cause}"),
        (Some(message), None) => message.to_owned(),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_log_is_short() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("x.log");
        fs::write(&path, format!("{}\n", "x".repeat(1000)).repeat(100)).expect("is written");
        assert_eq!(tail(&path).lines().count(), limits::SIM_LOG_LINES + 1);
        assert!(tail(&path).len() < 3000);
        assert!(tail(&folder.path().join("none")).contains("is empty"));
        assert_eq!(message(r#"{"level":"ERROR","msg":"no download","err":"404"}"#), "no download: 404");
        assert_eq!(message("E1122 x"), "E1122 x");
    }
}
