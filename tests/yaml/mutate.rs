//! Makes wrong documents out of right ones, the same ones each time.

/// Pieces that mean something to some reader.
const PIECES: &[&str] = &[
    "*a",
    "&a ",
    "<<: *a",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    ": ",
    "- ",
    "? ",
    "---\n",
    "...\n",
    "|",
    ">-",
    "|2",
    "!!binary ",
    "!!str ",
    "!x ",
    "\"",
    "'",
    "\\",
    "\\ud83d",
    "\\u0000",
    "#",
    "\n",
    "\r\n",
    "\t",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "\u{0}",
    "\u{1b}[31m",
    "ä",
    "😀",
    "null",
    "~",
    "true",
    "on",
    "010",
    "0x",
    "1e999",
    ".inf",
    "-0",
    "18446744073709551616",
    "-9223372036854775809",
    "1_000",
    "99999999999999999999999999",
    "{\"a\":",
    "[[[[[[[[",
    "\u{7f}",
    "%YAML 1.1\n",
    "(",
    ")",
    "`",
    "@",
    "|| ",
    "$a",
    "..",
    ">=",
    "in [",
    "*",
    "/",
    "~1",
    "%2e",
    "=",
    "sha256:",
];

/// A source of changes; the same number gives the same ones.
pub(crate) struct Mutator(u64);

impl Mutator {
    /// The source of a number.
    pub(crate) fn new(number: u64) -> Self {
        Self(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`, by xorshift.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(0) % end.max(1)
    }

    /// A place between two characters.
    fn place(&mut self, text: &str) -> usize {
        let mut at = self.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    fn range(&mut self, text: &str, most: usize) -> (usize, usize) {
        let start = self.place(text);
        let mut end = (start + self.below(most) + 1).min(text.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        (start, end)
    }

    /// One of the documents, with some changes.
    pub(crate) fn text(&mut self, documents: &[String]) -> String {
        let mut text = documents[self.below(documents.len())].clone();
        for _ in 0..=self.below(6) {
            match self.below(8) {
                0 => {
                    let (start, end) = self.range(&text, 60);
                    text.replace_range(start..end, "");
                }
                1 => {
                    let (start, end) = self.range(&text, 200);
                    let piece = text[start..end].repeat(1 + self.below(20));
                    let at = self.place(&text);
                    text.insert_str(at, &piece);
                }
                2 | 3 => {
                    let at = self.place(&text);
                    let piece = PIECES[self.below(PIECES.len())];
                    text.insert_str(at, &piece.repeat(1 + self.below(3)));
                }
                4 => {
                    let (start, end) = self.range(&text, 4);
                    text.replace_range(start..end, PIECES[self.below(PIECES.len())]);
                }
                5 => {
                    let at = self.place(&text);
                    text.truncate(at);
                }
                6 => {
                    let other = &documents[self.below(documents.len())];
                    let (start, end) = self.range(other, 500);
                    let at = self.place(&text);
                    text.insert_str(at, &other[start..end]);
                }
                _ => {
                    let (at, depth) = (self.place(&text), 1 + self.below(300));
                    let piece = ["[", "{\"a\":", "- ", "? ", "{", "("][self.below(6)];
                    text.insert_str(at, &piece.repeat(depth));
                }
            }
        }
        text
    }
}
