//! Where our reader differs from Go's on purpose, value by value, each with its reason.

/// One place where we differ from gopkg.in/yaml.v3.
pub(crate) struct Difference {
    /// The file or case.
    pub(crate) file: &'static str,
    /// The place in the list of its documents, as a JSON pointer; empty where one of the two refuses the whole text.
    pub(crate) at: &'static str,
    /// Why.
    pub(crate) why: &'static str,
}

const fn differs(file: &'static str, at: &'static str, why: &'static str) -> Difference {
    Difference { file, at, why }
}

/// All of them, in the order of the golden file.
pub(crate) const DIFFERENCES: &[Difference] = &[differs("", "", "")];
