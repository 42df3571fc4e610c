//! The same health files through chainsaw itself and through seatrial: the verdicts are the same, but where a file says why not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cluster::{LeasedCluster, lease};
use crate::support::{Bin, find};

/// The files of one comparison: a folder in which both are run.
struct Files {
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
}

/// What one of the two said: `true` by test where it passes, and how long the tests took.
struct Said {
    passed: BTreeMap<String, bool>,
    tests: Duration,
    text: String,
}

fn chainsaw() -> Command {
    let found = find(&["chainsaw"]);
    let program = found.get("SEATRIAL_BIN_CHAINSAW").expect("no chainsaw here. To fix: run `make test-matrix`, which builds it once");
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/health").join(name);
    std::fs::read_to_string(path).expect(name)
}

impl Files {
    /// A folder with a file of tests, and with what `$values` is in them.
    fn new(cluster: &LeasedCluster, tests: &str) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(folder.path().join("tests")).expect("is made");
        std::fs::create_dir(folder.path().join("report")).expect("is made");
        let recipe = "apiVersion: seatrial.dev/v1alpha1\nkind: Recipe\nmetadata: {name: compared}\nspec:\n  vendor: nvidia\n  \
                      criteria: {service: sim}\n  health: [{file: tests/chainsaw-test.yaml, valuesFrom: values.yaml}]\n";
        for (name, text) in [("tests/chainsaw-test.yaml", tests), ("values.yaml", &fixture("chainsaw/values.yaml")), ("r.yaml", recipe)] {
            std::fs::write(folder.path().join(name), text).expect("is written");
        }
        Self { folder, kubeconfig: cluster.kubeconfig() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Chainsaw in the way that is fastest for it: in a namespace that there is already, so that none has to be made and removed.
    fn chainsaw(&self) -> Said {
        let mut command = chainsaw();
        command.env("HOME", self.folder.path()).env("KUBECONFIG", &self.kubeconfig).current_dir(self.folder.path());
        command.args(["test", "tests", "--no-color", "--namespace", "default", "--values", "values.yaml"]);
        command.args(["--report-format", "JSON", "--report-path", "report", "--report-name", "said"]);
        let output = command.output().expect("chainsaw starts");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let report = std::fs::read_to_string(self.path("report/said.json")).unwrap_or_else(|error| panic!("no report: {error}\n{text}"));
        let report: Value = serde_json::from_str(&report).expect("the report is JSON");
        let one = |test: &Value| {
            let operations =
                || test["steps"].as_array().into_iter().flatten().flat_map(|step| step["operations"].as_array().into_iter().flatten());
            assert!(operations().next().is_some(), "chainsaw looked at nothing in {test:#}\n{text}");
            (test["name"].as_str().expect("a name").to_owned(), operations().all(|operation| operation["failure"].is_null()))
        };
        let at = |field: &str| report[field].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()).expect("a time");
        let tests = Duration::try_from(at("endTime").duration_since(at("startTime"))).expect("it ends after it began");
        Said { passed: report["tests"].as_array().expect("tests").iter().map(one).collect(), tests, text }
    }

    fn seatrial(&self) -> Said {
        let bin = Bin::within(self.folder.path()).args(["validate", "-r", "./r.yaml", "--phase", "deployment", "--kubeconfig"]);
        let ran = bin.args([&self.kubeconfig]).ends();
        let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", ran.stdout, ran.stderr));
        let tests = report["results"]["tests"].as_array().expect("tests");
        let one = |test: &Value| Some((test["name"].as_str()?.strip_prefix("health/")?.to_owned(), test["status"] == "passed"));
        let passed: BTreeMap<String, bool> = tests.iter().filter_map(one).collect();
        let of = |field: &str| tests.iter().filter(|test| one(test).is_some()).filter_map(|test| test[field].as_u64()).collect::<Vec<_>>();
        let (began, ended) = (of("start").into_iter().min().expect("a test"), of("stop").into_iter().max().expect("a test"));
        Said { passed, tests: Duration::from_millis(ended - began), text: format!("{report:#}\n{}", ran.stderr) }
    }
}

#[test]
#[ignore = "matrix"]
fn functions_answer_as_those_of_chainsaw() {
    let answers: Vec<(String, Value)> = serde_json::from_str(&fixture("functions.json")).expect("pairs");
    assert!(answers.len() > 150, "{}", answers.len());
    let folder = tempfile::tempdir().expect("a directory");
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "list": ["a", "b"], "map": {"k": "v", "l": 2},
        "num": 7, "labels": {"app": "x", "tier": "y"}});
    let mut assertion = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
    for (expression, answer) in &answers {
        // Text that looks like notation is escaped, as in any file.
        assertion[format!("({expression})")] = answer.as_str().map_or_else(|| answer.clone(), |text| json!(format!("\\{text}\\")));
        if answer == "" {
            assertion[format!("({expression})")] = json!("");
        }
    }
    let asserts = |assertion: &Value| {
        std::fs::write(folder.path().join("object.yaml"), object.to_string()).expect("is written");
        std::fs::write(folder.path().join("assert.yaml"), assertion.to_string()).expect("is written");
        let output =
            chainsaw().current_dir(folder.path()).args(["assert", "--no-color", "-r", "object.yaml", "-f", "assert.yaml"]).output();
        let output = output.expect("chainsaw starts");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (holds, text) = asserts(&assertion);
    assert!(holds, "{text}");
    assertion["(add(`1`, `2`))"] = json!(4);
    assert!(!asserts(&assertion).0, "chainsaw takes any answer here, so the comparison shows nothing");
}

// Every part of the language of health tests, on an object that has what they ask for; the verdicts are chainsaw's
// The same with what does not hold; the verdicts are chainsaw's, but where a case says why not
#[tokio::test]
#[ignore = "matrix"]
async fn the_language_means_what_it_means_to_chainsaw() {
    let cluster = lease().await;
    cluster.apply(&fixture("chainsaw/objects.yaml"));
    let tests = fixture("chainsaw/language.yaml");
    let files = Files::new(&cluster, &tests);
    let (theirs, ours) = (files.chainsaw(), files.seatrial());
    let documents: Vec<Value> = seatrial::yaml::all_from_str(&tests, "language.yaml").expect("is YAML");
    assert!(documents.len() > 70, "{}", documents.len());
    let mut wrong = Vec::new();
    for document in &documents {
        let name = document["metadata"]["name"].as_str().expect("a name");
        let note = |key: &str| document["metadata"]["annotations"][format!("seatrial.dev/{key}")].as_str();
        let expected = note("chainsaw").expect("what chainsaw says") == "pass";
        let own = note("seatrial").map_or(expected, |word| word == "pass");
        assert_eq!(note("seatrial").is_some(), note("why").is_some(), "{name}: a difference needs a reason");
        for (who, said, wanted) in [("chainsaw", &theirs, expected), ("seatrial", &ours, own)] {
            if said.passed.get(name) != Some(&wanted) {
                wrong.push(format!("{name}: {who} says {:?}, and not {wanted}", said.passed.get(name)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}\n{}", theirs.text, ours.text);
}

/// The shipped files of the simulated cluster as one file of tests.
fn shipped() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/health/sim");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let texts: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).expect("is read")).collect();
    texts.join("---\n").replace("assert: 60s", "assert: 2s").replace("error: 10s", "error: 2s")
}

// The shipped health files on the simulated cluster; chainsaw and seatrial pass them all
// Then one after the other: a custom resource is not ready, a DaemonSet and a Deployment are gone; chainsaw and seatrial fail the same files.
#[tokio::test]
#[ignore = "matrix"]
async fn shipped_files_have_the_verdicts_of_chainsaw_on_healthy_and_broken_clusters() {
    let cluster = lease().await;
    let files = Files::new(&cluster, &shipped());
    let agree = |broken: &[&str]| {
        let (theirs, ours) = (files.chainsaw(), files.seatrial());
        let failed =
            |said: &Said| -> Vec<String> { said.passed.iter().filter(|(_, passed)| !**passed).map(|(name, _)| name.clone()).collect() };
        assert_eq!(theirs.passed.len(), 10, "{}", theirs.text);
        assert_eq!(failed(&theirs), broken, "{}", theirs.text);
        assert_eq!(failed(&ours), broken, "{}", ours.text);
        assert_eq!(theirs.passed, ours.passed);
    };
    agree(&[]);
    cluster.kubectl(&[
        "patch",
        "clusterpolicy",
        "cluster-policy",
        "--type=merge",
        "--subresource=status",
        "-p",
        r#"{"status":{"state":"notReady"}}"#,
    ]);
    agree(&["cluster-policy"]);
    cluster.kubectl(&["delete", "daemonset", "-n", "gpu-operator", "nvidia-dcgm-exporter", "--wait"]);
    agree(&["cluster-policy", "dcgm-exporter"]);
    cluster.kubectl(&["delete", "deployment", "-n", "gpu-operator", "gpu-operator", "--wait"]);
    cluster.kubectl(&["delete", "pods", "-n", "gpu-operator", "-l", "app=gpu-operator", "--wait", "--grace-period=0", "--force"]);
    agree(&["cluster-policy", "dcgm-exporter", "gpu-operator", "pods"]);
}

/// The middle of five measurements.
fn middle(mut measured: Vec<Duration>) -> Duration {
    measured.sort();
    measured[measured.len() / 2]
}

#[tokio::test]
#[ignore = "matrix"]
async fn the_tests_take_less_time_than_they_take_chainsaw() {
    let cluster = lease().await;
    let files = Files::new(&cluster, &shipped());
    // Of the tests alone, as each reports it. This program is not optimised, so the bound of docs/performance.md is not asked of it. In turns, so that what else the machine does falls on both.
    let pairs: Vec<(Duration, Duration)> = (0..5).map(|_| (files.chainsaw().tests, files.seatrial().tests)).collect();
    let (theirs, ours): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let (theirs, ours) = (middle(theirs), middle(ours));
    assert!(ours < theirs, "seatrial {ours:?}, chainsaw {theirs:?}");
}
