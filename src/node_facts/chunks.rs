//! How the facts of a node come back through a container's log: in numbered lines, with a digest of the whole.
//!
//! A log is no safe place: kubelet rotates it, runtimes split long lines, other programs write into it, a connection is cut. So each
//! line says which piece of how many it is and of what; what is put together is what was written, or an error.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::digest::Digest;
use crate::limits;

/// How each line begins: a name and a version.
const MARK: &str = "seatrial-facts v1";

/// Writes a document as lines: `seatrial-facts v1 <number>/<of how many> sha256:<digest of the whole> <base64>`.
#[must_use]
pub fn write(document: &[u8]) -> String {
    let digest = Digest::of(document);
    let pieces: Vec<&[u8]> = document.chunks(limits::FACTS_PIECE).collect();
    let of = pieces.len();
    pieces.iter().enumerate().map(|(at, piece)| format!("{MARK} {}/{of} {digest} {}\n", at + 1, STANDARD.encode(piece))).collect()
}

/// Puts a document together from a log; other lines are passed over.
///
/// # Errors
/// What is wrong with it, for people: no such line, pieces that are missing, damaged or of two documents.
pub fn read(log: &str) -> Result<Vec<u8>, String> {
    let mut whole: Option<(usize, &str)> = None;
    let mut pieces: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for line in log.lines() {
        let Some(rest) = line.strip_prefix(MARK) else { continue };
        let piece = Piece::of(rest).ok_or_else(|| format!("the log has a damaged line after piece {} of the facts", pieces.len()))?;
        if whole.get_or_insert((piece.of, piece.digest)) != &(piece.of, piece.digest) {
            return Err("the log holds pieces of two documents".to_owned());
        }
        if pieces.insert(piece.number, piece.bytes).is_some() {
            return Err(format!("the log holds piece {} of the facts twice", piece.number));
        }
    }
    let Some((of, digest)) = whole else { return Err(nothing_in(log)) };
    let missing: Vec<usize> = (1..=of).filter(|number| !pieces.contains_key(number)).collect();
    if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
        let which = if first == last { format!("piece {first}") } else { format!("pieces {first} to {last}") };
        return Err(format!("the log was cut: {which} of {of} of the facts is missing ({} of {of} are there)", pieces.len()));
    }
    let document: Vec<u8> = pieces.into_values().flatten().collect();
    if Digest::of(&document).to_string() != digest {
        return Err(format!("the facts in the log are not those that were written: their digest is not {digest}"));
    }
    Ok(document)
}

fn nothing_in(log: &str) -> String {
    match log.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(line) => format!("the log holds no facts; it ends with: {}", line.chars().take(limits::QUOTED_CHARS).collect::<String>()),
        None => "the log is empty".to_owned(),
    }
}

struct Piece<'a> {
    number: usize,
    of: usize,
    digest: &'a str,
    bytes: Vec<u8>,
}

impl<'a> Piece<'a> {
    fn of(rest: &'a str) -> Option<Self> {
        let mut words = rest.strip_prefix(' ')?.split(' ');
        let (position, digest, text) = (words.next()?, words.next()?, words.next()?);
        let (number, of) = position.split_once('/')?;
        let (number, of): (usize, usize) = (number.parse().ok()?, of.parse().ok()?);
        let plausible = words.next().is_none() && (1..=of).contains(&number) && of <= limits::FACTS_PIECES;
        plausible.then_some(Self { number, of, digest, bytes: STANDARD.decode(text).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| u8::try_from(at * at % 251).expect("is below 251")).collect()
    }

    fn lines(document: &[u8]) -> Vec<String> {
        write(document).lines().map(str::to_owned).collect()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_whatever_else_is_in_the_log(document in proptest::collection::vec(any::<u8>(), 1..40_000), noise in "[ -~\n]{0,200}") {
            let log = write(&document).lines().fold(format!("{noise}\n"), |log, line| format!("{log}{line}\n{noise}\n"));
            prop_assert_eq!(read(&log), Ok(document));
        }

        #[test]
        fn no_log_with_a_changed_byte_is_read_as_another_document(at in 0_usize..30_000, with in any::<u8>()) {
            let document = sample(15_000);
            let mut log = write(&document).into_bytes();
            let at = at % log.len();
            log[at] = with;
            prop_assert!(read(&String::from_utf8_lossy(&log)).map_or(true, |seen| seen == document));
        }
    }

    #[test]
    fn pieces_may_come_in_any_order_but_none_may_be_missing_or_twice() {
        let document = sample(3 * limits::FACTS_PIECE + 1);
        let mut all = lines(&document);
        assert_eq!(all.len(), 4);
        assert!(all.iter().all(|line| line.len() < 16_384), "container runtimes split lines of 16 KiB");
        all.reverse();
        assert_eq!(read(&all.join("\n")), Ok(document.clone()));
        let one = all.remove(1);
        assert_eq!(read(&all.join("\n")), Err("the log was cut: piece 3 of 4 of the facts is missing (3 of 4 are there)".to_owned()));
        all.extend([one.clone(), one]);
        assert_eq!(read(&all.join("\n")), Err("the log holds piece 3 of the facts twice".to_owned()));
        // Cut within a line, as by a full disk.
        let text = write(&document);
        assert!(read(&text[..text.len() / 2]).is_err_and(|why| why.contains("damaged") || why.contains("cut")));
        let other = [&lines(&document)[..2], &lines(&sample(3 * limits::FACTS_PIECE + 2))[2..]].concat();
        assert_eq!(read(&other.join("\n")), Err("the log holds pieces of two documents".to_owned()));
    }

    #[test]
    fn a_log_without_facts_says_what_is_in_it_instead() {
        assert_eq!(read(""), Err("the log is empty".to_owned()));
        let log = "starting\nexec /usr/bin/seatrial: no such file\n\n";
        assert_eq!(read(log), Err("the log holds no facts; it ends with: exec /usr/bin/seatrial: no such file".to_owned()));
        let digest = "0".repeat(64);
        for lie in [format!("1/0 sha256:{digest} AA=="), format!("2/1 sha256:{digest} AA=="), format!("1/99999999 sha256:{digest} AA==")] {
            assert!(read(&format!("{MARK} {lie}\n")).is_err_and(|why| why.contains("damaged")), "{lie}");
        }
        assert!(read(&format!("{MARK} 1/1 sha256:{digest} AAAA\n")).is_err_and(|why| why.contains("not those that were written")));
    }
}
