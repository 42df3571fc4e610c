//! Where our reader differs from Go's on purpose, place by place, each with its reason.

/// A place where we differ.
pub(crate) struct Difference {
    /// The file or case.
    pub(crate) file: &'static str,
    /// The places in the list of its documents, as JSON pointers; an empty one where one of the two refuses the whole text.
    pub(crate) at: &'static [&'static str],
    /// Why.
    pub(crate) why: &'static str,
}

const fn differs(file: &'static str, at: &'static [&'static str], why: &'static str) -> Difference {
    Difference { file, at, why }
}

/// We refuse the text, and Go does not.
const fn refused(file: &'static str, why: &'static str) -> Difference {
    differs(file, &[""], why)
}

/// We read the text, and Go does not.
const fn taken(file: &'static str, why: &'static str) -> Difference {
    differs(file, &[""], why)
}

const TIME: &str = "JSON has no times: the text stays, as Kubernetes' reader leaves it";
const INFINITE: &str = "JSON cannot say it, and an unquoted 123e456 is more often half a digest than a number";
const UNFIT: &str = "a tag that its value does not fit is refused";
const OWN_TAG: &str = "a tag that means nothing here is refused instead of passed over";
const BOM: &str = "a byte order mark within a text is damage";
const COMMENT: &str = "YAML wants a space before a comment";
const JSON: &str = "JSON is YAML, and JSON has it";
const YAML_1_2: &str = "YAML 1.2 permits it, Go knows 1.1";
const BREAKS: &str = "in YAML 1.2 it is no line break";
const LAST_LINE: &str = "a last line without its line break gets one";
const SPELLING: &str = "a key is the text that is written; Go does the same where a map has text as keys";
const UNDERSCORE: &str = "an underscore that is not between two digits makes no number";

/// All places where we differ from gopkg.in/yaml.v3.
pub(crate) const DIFFERENCES: &[Difference] = &[
    refused("anchor across documents", "anchors end with their document, as YAML says"),
    refused("binary that is no text", "what is not UTF-8 would be damaged"),
    taken("block not indented document", YAML_1_2),
    differs("block without last newline, clip", &["/0/a"], LAST_LINE),
    differs("block without last newline, folded clip", &["/0/a"], LAST_LINE),
    differs("block without last newline, folded keep", &["/0/a"], LAST_LINE),
    differs("block without last newline, keep", &["/0/a"], LAST_LINE),
    refused("bom before the second document", BOM),
    refused("bom within", BOM),
    refused("comment after flow", COMMENT),
    refused("comment without space", COMMENT),
    taken("documents, bare after an end", YAML_1_2),
    refused("duplicate key by spelling", "two spellings of a key are one key twice; Go drops the first"),
    differs(
        "duplicate key number and text",
        &[""],
        "a number and a text are two keys in YAML; only where they become JSON the second wins",
    ),
    refused("escape of a quote", "neither YAML nor JSON has it"),
    taken("escape of a slash", JSON),
    taken("escape surrogate pair", JSON),
    refused("float by tag with an underscore", UNDERSCORE),
    differs("flow question mark first", &["/0/0"], YAML_1_2),
    taken("flow question mark in a url", YAML_1_2),
    taken("flow question mark last", YAML_1_2),
    differs("floats", &["/0/24", "/0/25", "/0/26", "/0/27"], UNDERSCORE),
    differs("helm-values.yaml", &["/0/time"], TIME),
    refused("infinity", INFINITE),
    differs("integers", &["/0/32", "/0/34"], UNDERSCORE),
    differs("key infinity", &["/0/+Inf", "/0/.inf"], SPELLING),
    taken("key time", SPELLING),
    differs(
        "keys spelt otherwise",
        &["/0/010", "/0/0x10", "/0/1.5", "/0/1.50", "/0/10", "/0/16", "/0/1_0", "/0/8", "/0/True", "/0/true"],
        SPELLING,
    ),
    refused("less than all", INFINITE),
    taken("line separator", BREAKS),
    taken("merge of nothing", "nothing to merge adds nothing"),
    taken("merge twice", "both are merged, and a key that both have is the first one's, as in a list of merges"),
    refused("nesting of 70", "the limit is 48 levels; Go's is 10,000"),
    taken("next line", BREAKS),
    differs("next line in a block", &["/0/a"], BREAKS),
    differs("next line quoted", &["/0/a"], BREAKS),
    refused("not a number", INFINITE),
    refused("not a number with a sign", INFINITE),
    taken("only an end", "a file without documents has none"),
    taken("paragraph separator in a block", BREAKS),
    refused("ordered map", OWN_TAG),
    refused("set", OWN_TAG),
    differs("snapshot-packed.yaml", &["/0/metadata/timestamp"], TIME),
    taken("tab after the dash", YAML_1_2),
    taken("tab after the dash before a map", YAML_1_2),
    taken("tab before a key", YAML_1_2),
    taken("tab on an empty line", YAML_1_2),
    refused("tag of its own", OWN_TAG),
    refused("tag of its own on a map", OWN_TAG),
    refused("tag of its own on a number", OWN_TAG),
    refused("tag that does not fit: map", UNFIT),
    differs("tags", &["/0/15", "/0/16"], "a `!` alone makes text of it, as YAML says"),
    refused("time by tag", TIME),
    differs("times", &["/0/0", "/0/1", "/0/2", "/0/4", "/0/5"], TIME),
    refused("too large for a float", INFINITE),
    refused("too large for a float by digest", INFINITE),
    taken("unknown directive", "YAML says that it is passed over"),
    taken("version directive 1.2", YAML_1_2),
];

const WORDS: &str =
    "yes, no, on, off are text, as in yaml.v3; Kubernetes' reader makes booleans of them, which then are no text where text is wanted";
const KEYS: &str = "the key is the text that is written; Kubernetes' reader makes `true` of it";

/// All places in the corpus where we differ from sigs.k8s.io/yaml, which reads YAML 1.1.
pub(crate) const KUBERNETES: &[Difference] = &[
    differs(
        "crd.yaml",
        &[
            "/0/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/enum/2",
            "/0/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/enum/3",
            "/0/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/enum/5",
            "/0/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/enum/6",
        ],
        WORDS,
    ),
    differs("helm-values.yaml", &["/0/answer", "/0/country"], WORDS),
    differs("manifests.yaml", &["/1/data/true", "/1/data/yes"], KEYS),
    differs(
        "recipe-result.yaml",
        &[
            "/0/componentRefs/1/overrides/driver/rdma/enabled",
            "/0/componentRefs/1/overrides/driver/rdma/useHostMofed",
            "/0/componentRefs/1/overrides/gdrcopy/enabled",
        ],
        WORDS,
    ),
    differs("workflow.yaml", &["/0/env/DEBUG", "/0/jobs/trial/strategy/fail-fast"], WORDS),
    differs("workflow.yaml", &["/0/on", "/0/true"], KEYS),
];
