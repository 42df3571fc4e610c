//! The tables that every file is held against: which module may use which, which crate has which home, who may sleep.

/// Which modules each module may use: the picture in `src/lib.rs` as a table. `cli` and `main` put everything together.
pub(crate) const LAYERS: &[(&str, &str)] = &[
    ("error", "exit"),
    ("exit", ""),
    ("reason", "exit"),
    ("limits", ""),
    ("retry", "error limits"),
    ("digest", "error"),
    ("files", "error"),
    ("yaml", "error limits"),
    ("data", "error files limits"),
    ("ui", "error"),
    ("config", "error files limits ui yaml"),
    ("vendor", "data error yaml"),
    ("constraints", "error results snapshot ui"),
    ("pods", ""),
    ("recipe", "checks constraints data digest error files health limits snapshot ui vendor yaml"),
    ("facts", "error limits"),
    ("snapshot", "cluster constraints digest error facts files limits recipe ui vendor yaml"),
    ("cluster", "error limits results"),
    ("node_facts", "checks cluster digest error facts limits pods snapshot ui vendor"),
    ("source", "cluster error files limits registry ui"),
    ("sim", "cluster data digest error files limits ui yaml"),
    ("workflow", "data digest error files limits recipe sim steps ui yaml"),
    ("plan", "checks cluster digest error limits recipe snapshot steps vendor workflow"),
    ("preflight", "checks cluster error limits exit recipe registry sign snapshot steps ui workflow"),
    ("roles", "cluster error yaml"),
    ("journal", "digest error files limits results steps"),
    ("progress", "error exit limits results snapshot ui"),
    ("engine", "cluster digest error journal limits progress results steps ui workflow"),
    (
        "steps",
        "checks cluster constraints digest error evidence files health limits node_facts pods progress publish recipe registry results sign sim snapshot ui vendor workflow",
    ),
    ("checks", "cluster constraints error facts limits pods recipe results snapshot ui vendor yaml"),
    ("health", "cluster error limits results yaml"),
    ("results", "digest error exit limits snapshot"),
    ("cncf", "error results ui"),
    ("trust", "digest error files limits"),
    ("evidence", "constraints digest error exit facts files limits recipe results snapshot trust yaml"),
    ("sign", "digest error evidence files limits trust ui"),
    ("registry", "digest error files limits retry"),
    ("pull", "digest error evidence limits registry"),
    ("publish", "digest error evidence files limits pull recipe registry sign"),
    ("policy", "digest error evidence files limits reason recipe snapshot yaml"),
    ("verify", "constraints digest error evidence exit files limits policy pull reason recipe registry results snapshot trust ui yaml"),
    ("git", "error limits"),
    (
        "gate",
        "data digest error evidence exit files git limits policy pull reason recipe registry results snapshot trust vendor verify yaml",
    ),
    ("github", "error files gate git limits reason retry ui"),
];

/// What must never be added to a line of [`LAYERS`], whatever else changes.
pub(crate) const NEVER: &[(&str, &[&str])] = &[
    ("verify", &["cluster", "checks", "steps", "sign"]),
    ("gate", &["cluster", "checks", "steps", "sign", "publish", "source"]),
    ("policy", &["cluster", "checks", "steps", "sign", "registry"]),
    ("evidence", &["cluster", "registry", "sign"]),
];

/// Crates (of one kind, between spaces) that only one place may use, and why.
pub(crate) const CRATES: &[(&str, &[&str], &str)] = &[
    ("kube", &["src/cluster/"], "everything else talks to a cluster through `cluster`, which bounds, repeats and explains"),
    ("sigstore_bundle sigstore_crypto", &["src/evidence/sigstore/"], "the library changes often; few places know it"),
    ("sigstore_trust_root sigstore_tuf", &["src/trust/", "src/sign/services.rs"], "the library changes often; few places know it"),
    ("sigstore_types", &["src/evidence/sigstore/", "src/sign/", "src/trust/"], "the library changes often; few places know it"),
    ("sigstore_verify", &["src/evidence/sigstore/", "src/trust/"], "the library changes often; few places know it"),
    ("sigstore_oidc sigstore_rekor sigstore_sign sigstore_tsa", &["src/sign/"], "only signing talks to Sigstore's services"),
    ("octocrab", &["src/github/"], "GitHub is asked in one place, which repeats, waits and explains"),
    ("gix", &["src/git.rs"], "objects of a repository that nobody vouches for are read in one place, within limits"),
    (
        "hyper",
        &["src/cluster/forward.rs", "src/sign/login/", "src/source/web_tests.rs"],
        "the one port that we listen on is a browser's way back",
    ),
    (
        "prometheus_scraper",
        &["src/checks/exposition.rs", "src/checks/accelerator_metrics/judge_tests.rs"],
        "one reader of what exporters say",
    ),
    ("oauth2 webbrowser", &["src/sign/login/"], "people log in in one place, where what comes back is judged"),
    (
        "reqwest",
        &["src/github/api.rs", "src/registry/", "src/sign/", "src/sim/addons/starting.rs", "src/source/", "src/trust/update.rs"],
        "all sockets but `cluster`'s",
    ),
    (
        "rcgen",
        &["src/sim/addons/certificates.rs", "src/source/web_tests.rs"],
        "certificates are made in one place, with keys for their owner only",
    ),
    ("jpx_core", &["src/health/expression.rs", "src/health/functions/"], "expressions are checked when they are compiled, in one place"),
    ("minijinja", &["src/results/markdown.rs"], "its formatter escapes every value"),
    ("quick_xml", &["src/facts/nvidia.rs"], "one reader of XML"),
    ("tar", &["src/evidence/layout/"], "raw entries only; nothing is ever extracted to the names in a tar file"),
    ("quick_junit", &["src/results/junit.rs"], "one writer of JUnit"),
];

/// The places that may sleep for a fixed time, and why nothing can be awaited there.
pub(crate) const SLEEPS: &[(&str, &str)] = &[
    ("src/sim/processes.rs", "the end of a process that is not our child gives no signal to wait for"),
    ("src/sim/plane.rs", "a server that starts gives no signal before its port answers"),
    ("src/checks/convergence.rs", "that nothing changes for a while is what is asked"),
    ("src/engine.rs", "the time that the user gave for everything, raced against the work"),
    ("src/sign/login/device.rs", "the issuer says how often it may be asked whether somebody has typed the code in (RFC 8628)"),
    ("tests/support/", "as above, for the servers that tests start; every loop there has a deadline"),
];
