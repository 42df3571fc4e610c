//! Which pools of GPU nodes an autoscaler grows and shrinks, and what already stands against that.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::limits;
use crate::recipe::{Autoscaling, ScaledPool};
use crate::results::{ErrorReason, Outcome};
use crate::snapshot::nodes;
use crate::vendor::Vendor;

/// The label by which Karpenter says which `NodePool` a node is of.
const NODE_POOL: &str = "karpenter.sh/nodepool";

/// What autoscales here, as far as it can be seen without trying.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Karpenter's `NodePool`s; none where its API is not served.
    pub(super) node_pools: Option<Vec<Value>>,
    /// Deployments and Leases of cluster-autoscaler, each with what is wrong with it.
    pub(super) others: Vec<(String, Option<String>)>,
    /// All nodes.
    pub(super) nodes: Vec<Value>,
}

/// One pool of GPU nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    /// Its name.
    pub(super) name: String,
    /// Labels that choose its nodes; empty where any new GPU node will do.
    pub(super) selector: BTreeMap<String, String>,
    /// Tolerations for the taints of its nodes.
    pub(super) tolerations: Vec<Value>,
    /// GPUs that a pod asks for.
    pub(super) gpus: u32,
    /// True if a node must offer just as many.
    pub(super) exact: bool,
    /// Labels that a new node must have.
    pub(super) labels: BTreeMap<String, String>,
    /// Requirements on a new node, as a `NodePool` has them.
    pub(super) requirements: Vec<Value>,
    /// How long a pod may wait for its node to come and to run there.
    pub(super) up: Duration,
    /// How long an empty node may stay.
    pub(super) down: Duration,
    /// True if Karpenter keeps it.
    pub(super) karpenter: bool,
    /// What already stands against growing or shrinking.
    pub(super) problem: Option<Outcome>,
}

/// The pools to try, with what was left out and why.
///
/// # Errors
/// The outcome of the check where there is no pool at all.
pub(super) fn find(
    seen: &Seen,
    declared: Option<&Autoscaling>,
    installed: bool,
    vendor: &Vendor,
) -> Result<(Vec<Pool>, Vec<String>), Box<Outcome>> {
    let said: &[ScaledPool] = declared.map_or(&[], |declared| &declared.pools);
    let mut left_out = Vec::new();
    let mut pools = Vec::new();
    for object in seen.node_pools.iter().flatten() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let said = said.iter().find(|pool| pool.name == name);
        if said.is_none() && !for_gpus(object, &seen.nodes, vendor) {
            left_out.push(format!("{name} (not for {})", vendor.resource));
        } else if !object["spec"]["replicas"].is_null() && said.is_none() {
            left_out.push(format!("{name} (of a fixed size)"));
        } else {
            pools.push(of_node_pool(object, said, vendor));
        }
    }
    let ours = |name: &str| pools.iter().any(|pool| pool.name == name);
    let more: Vec<Pool> = said.iter().filter(|pool| !ours(&pool.name)).map(of_recipe).collect();
    pools.extend(more);
    if !pools.is_empty() {
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        return Ok((pools, left_out));
    }
    if let Some((name, problem)) = seen.others.first() {
        let mut any = of_recipe(&ScaledPool { name: "cluster-autoscaler".to_owned(), ..ScaledPool::default() });
        any.problem = problem.as_ref().map(|problem| {
            Outcome::fail(format!("{name}: {problem}")).fix("kubectl describe that object, and look at the log of cluster-autoscaler")
        });
        return Ok((vec![any], left_out));
    }
    Err(Box::new(match (&seen.node_pools, installed) {
        (Some(_), _) => Outcome::fail(format!("no NodePool of Karpenter is for {}: {}", vendor.resource, listed(&left_out)))
            .fix("make a NodePool with a limit on the GPUs' resource, or name the right one under spec.autoscaling.pools of the recipe"),
        (None, true) => Outcome::fail("the recipe installs an autoscaler, and neither Karpenter's API nor cluster-autoscaler is here")
            .fix("look at the release that installs it"),
        (None, false) => Outcome::skip(
            crate::results::SkipReason::NotDeclared,
            "no autoscaler of nodes was found (no karpenter.sh, no cluster-autoscaler), and the recipe declares no pool",
        ),
    }))
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "there is none".to_owned() } else { names.join(", ") }
}

/// True if a `NodePool` is for GPUs of this vendor: by its limits, taints, labels or requirements, or by a node that it has.
fn for_gpus(object: &Value, all: &[Value], vendor: &Vendor) -> bool {
    let template = &object["spec"]["template"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let wanted = |requirement: &Value| {
        let key = requirement["key"].as_str().unwrap_or_default().to_lowercase();
        let about = key == vendor.labels.present || key == vendor.labels.product || key.contains("gpu") || key.contains("accelerator");
        about && !matches!(requirement["operator"].as_str(), Some("DoesNotExist" | "NotIn" | "Lt"))
    };
    let of_pool = |node: &&Value| node["metadata"]["labels"][NODE_POOL] == object["metadata"]["name"];
    !object["spec"]["limits"][&vendor.resource].is_null()
        || list(&template["spec"]["taints"]).iter().any(|taint| taint["key"] == vendor.resource.as_str())
        || template["metadata"]["labels"].as_object().is_some_and(|labels| labels.contains_key(&vendor.labels.present))
        || list(&template["spec"]["requirements"]).iter().any(wanted)
        || nodes::read(&all.iter().filter(of_pool).cloned().collect::<Vec<_>>(), None).iter().any(|node| node.gpus.any())
}

fn of_recipe(said: &ScaledPool) -> Pool {
    let seconds = |own: Option<u32>, most: Duration| own.map_or(most, |own| Duration::from_secs(own.into()).min(most));
    Pool {
        name: said.name.clone(),
        selector: said.node_selector.clone(),
        tolerations: said.tolerations.clone(),
        gpus: said.gpus_per_node.unwrap_or(1),
        exact: said.gpus_per_node.is_some(),
        labels: said.labels.clone(),
        requirements: Vec::new(),
        up: seconds(said.up_seconds, limits::NODE_ADDED),
        down: seconds(said.down_seconds, limits::NODE_REMOVED),
        karpenter: false,
        problem: None,
    }
}

fn of_node_pool(object: &Value, said: Option<&ScaledPool>, vendor: &Vendor) -> Pool {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let mut pool = of_recipe(&said.cloned().unwrap_or_else(|| ScaledPool { name: name.to_owned(), ..ScaledPool::default() }));
    let template = &object["spec"]["template"];
    pool.karpenter = true;
    pool.selector.insert(NODE_POOL.to_owned(), name.to_owned());
    for taint in template["spec"]["taints"].as_array().into_iter().flatten() {
        pool.tolerations.push(json!({"key": taint["key"], "operator": "Exists", "effect": taint["effect"]}));
    }
    for (key, value) in template["metadata"]["labels"].as_object().into_iter().flatten() {
        pool.labels.entry(key.clone()).or_insert_with(|| value.as_str().unwrap_or_default().to_owned());
    }
    pool.requirements = template["spec"]["requirements"].as_array().cloned().unwrap_or_default();
    pool.problem = not_ready(object).or_else(|| never_removes(object)).or_else(|| limited(object, pool.gpus, vendor));
    match patience(object) {
        // Karpenter waits so long before it begins to look whether an empty node can go.
        Some(wait) if wait + pool.down <= limits::NODE_REMOVED => pool.down += wait,
        Some(wait) if wait >= pool.down => {
            let why = format!("nodepool {name} removes empty nodes after {} s, which is longer than is waited", wait.as_secs());
            pool.problem = pool.problem.or_else(|| {
                Some(
                    Outcome::error(ErrorReason::Timeout, why).fix("lower consolidateAfter, or raise downSeconds of the pool in the recipe"),
                )
            });
        }
        _ => {}
    }
    pool
}

/// What Karpenter says against a pool.
fn not_ready(object: &Value) -> Option<Outcome> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let fix = format!("kubectl describe nodepool {name}; is Karpenter running, and is the node class ready?");
    let Some(ready) = conditions.iter().find(|one| one["type"] == "Ready") else {
        return Some(Outcome::fail(format!("nodepool {name} has no condition Ready: no Karpenter has looked at it")).fix(fix));
    };
    if ready["status"] == "True" {
        return None;
    }
    let words = conditions.iter().filter(|one| one["status"] != "True").map(|one| {
        let text = |field: &str| one[field].as_str().unwrap_or_default();
        let said = if text("message").is_empty() { text("reason") } else { text("message") };
        format!("{} is {}: {said}", text("type"), text("status"))
    });
    Some(Outcome::fail(format!("nodepool {name} is not ready: {}", words.collect::<Vec<_>>().join("; "))).fix(fix))
}

/// A pool that is told never to let an empty node go: a node that is added for a trial would stay.
fn never_removes(object: &Value) -> Option<Outcome> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let disruption = &object["spec"]["disruption"];
    let forbids = |budget: &&Value| {
        let of_empty = budget["reasons"].as_array().is_none_or(|reasons| reasons.iter().any(|reason| reason == "Empty"));
        matches!(budget["nodes"].as_str(), Some("0" | "0%")) && budget["schedule"].is_null() && of_empty
    };
    let why = if disruption["consolidateAfter"] == "Never" {
        "its consolidateAfter is Never"
    } else if disruption["budgets"].as_array().is_some_and(|budgets| budgets.iter().any(|budget| forbids(&budget))) {
        "a disruption budget of 0 nodes holds at all times"
    } else {
        return None;
    };
    let fix = format!("change spec.disruption of nodepool {name}, or take the pool out of the GPU pools");
    Some(Outcome::fail(format!("nodepool {name} never removes an empty node: {why}")).fix(fix))
}

/// A pool whose limit on GPUs leaves no room for what a pod asks for.
fn limited(object: &Value, asked: u32, vendor: &Vendor) -> Option<Outcome> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let limit = number(&object["spec"]["limits"][&vendor.resource])?;
    let used = number(&object["status"]["resources"][&vendor.resource]).unwrap_or(0);
    if used + u64::from(asked) <= limit {
        return None;
    }
    let what = format!("nodepool {name} may have {limit} {} and has {used}, so it cannot grow by {asked}", vendor.resource);
    let fix = format!("raise spec.limits of nodepool {name}");
    Some(if u64::from(asked) > limit {
        Outcome::fail(what).fix(fix)
    } else {
        Outcome::error(ErrorReason::Busy, what).fix(format!("{fix}, or run again when it has fewer nodes"))
    })
}

/// How long Karpenter leaves an empty node before it looks whether it can go.
fn patience(object: &Value) -> Option<Duration> {
    let text = object["spec"]["disruption"]["consolidateAfter"].as_str()?;
    text.parse::<SignedDuration>().ok().and_then(|wait| Duration::try_from(wait).ok())
}

/// What is wrong with a new node of a pool, if anything; pure.
pub(super) fn wrong_type(node: &Value, pool: &Pool, vendor: &Vendor) -> Option<String> {
    let labels = &node["metadata"]["labels"];
    let label = |key: &str| labels[key].as_str();
    let gpus = &node["status"]["allocatable"][&vendor.resource];
    let gpus = gpus.as_u64().or_else(|| gpus.as_str()?.parse().ok()).unwrap_or(0);
    if gpus < u64::from(pool.gpus) || (pool.exact && gpus != u64::from(pool.gpus)) {
        return Some(format!("it offers {gpus} {}, and {} were asked for", vendor.resource, pool.gpus));
    }
    let wanted = pool.selector.iter().chain(&pool.labels);
    for (key, value) in wanted {
        if label(key) != Some(value) {
            return Some(format!("its label {key} is {}, not {value}", label(key).unwrap_or("not there")));
        }
    }
    let broken = pool.requirements.iter().find(|requirement| !fulfils(labels, requirement))?;
    let text = |field: &str| broken[field].as_str().unwrap_or_default();
    let values: Vec<&str> = broken["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (key, operator) = (text("key"), text("operator"));
    Some(format!("its label {key} is {}, and the pool requires {operator} [{}]", label(key).unwrap_or("not there"), values.join(", ")))
}

/// True if labels fulfil a requirement of a `NodePool`.
fn fulfils(labels: &Value, requirement: &Value) -> bool {
    let value = requirement["key"].as_str().and_then(|key| labels[key].as_str());
    let values: Vec<&str> = requirement["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let numbers = || Some((value?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement["operator"].as_str().unwrap_or_default() {
        "In" => value.is_some_and(|value| values.contains(&value)),
        "NotIn" => value.is_none_or(|value| !values.contains(&value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(own, bound)| own > bound),
        "Lt" => numbers().is_some_and(|(own, bound)| own < bound),
        "Gte" => numbers().is_some_and(|(own, bound)| own >= bound),
        "Lte" => numbers().is_some_and(|(own, bound)| own <= bound),
        // An operator that is not known here was fulfilled for all that can be said.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{SkipReason, Verdict};
    use crate::vendor;

    fn nvidia() -> &'static Vendor {
        vendor::named("nvidia").expect("is known")
    }

    fn node_pool(spec: &Value, ready: &str) -> Value {
        json!({"metadata": {"name": "gpu"}, "spec": spec, "status": {"conditions": [{"type": "Ready", "status": ready, "message": "no class"}]}})
    }

    fn gpu_pool(more: &Value) -> Value {
        let mut spec = json!({"limits": {"nvidia.com/gpu": "16"}, "template": {"spec": {
            "taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}],
            "requirements": [{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["p5.48xlarge"]}]}}});
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        node_pool(&spec, "True")
    }

    fn found(pools: Vec<Value>, declared: Option<&Autoscaling>) -> Result<(Vec<Pool>, Vec<String>), Box<Outcome>> {
        find(&Seen { node_pools: Some(pools), ..Seen::default() }, declared, false, nvidia())
    }

    fn problem(object: Value) -> Option<(Verdict, String)> {
        let (pools, _) = found(vec![object], None).expect("is for GPUs");
        pools[0].problem.as_ref().map(|outcome| (outcome.verdict, outcome.message.clone()))
    }

    #[test]
    fn a_node_pool_for_gpus_is_found_by_its_limits_and_another_is_left_out_by_name() {
        let other = json!({"metadata": {"name": "cpu"}, "spec": {"limits": {"cpu": 10}}});
        let (pools, left_out) = found(vec![gpu_pool(&json!({})), other.clone()], None).expect("one is for GPUs");
        assert_eq!((pools.len(), left_out), (1, vec!["cpu (not for nvidia.com/gpu)".to_owned()]));
        assert!(pools[0].problem.is_none() && pools[0].selector[NODE_POOL] == "gpu" && pools[0].tolerations.len() == 1);
        let none = found(vec![other], None).expect_err("none is for GPUs");
        assert!(none.verdict == Verdict::Fail && none.message.contains("cpu (not for nvidia.com/gpu)"), "{}", none.message);
    }

    #[test]
    fn what_a_pool_itself_says_against_growing_or_shrinking_is_a_verdict_before_anything_is_tried() {
        assert_eq!(problem(gpu_pool(&json!({}))), None);
        let fails = |object: Value, says: &str| {
            let (verdict, message) = problem(object).expect("has a problem");
            assert!(verdict == Verdict::Fail && message.contains(says), "{message}");
        };
        fails(node_pool(&json!({"limits": {"nvidia.com/gpu": 8}}), "False"), "nodepool gpu is not ready: Ready is False: no class");
        fails(json!({"metadata": {"name": "gpu"}, "spec": {"limits": {"nvidia.com/gpu": 8}}}), "no Karpenter has looked at it");
        fails(gpu_pool(&json!({"disruption": {"consolidateAfter": "Never"}})), "its consolidateAfter is Never");
        fails(gpu_pool(&json!({"disruption": {"budgets": [{"nodes": "10%"}, {"nodes": "0"}]}})), "budget of 0 nodes");
        assert_eq!(problem(gpu_pool(&json!({"disruption": {"budgets": [{"nodes": "0", "reasons": ["Drifted"]}]}}))), None);
        fails(gpu_pool(&json!({"limits": {"nvidia.com/gpu": "0"}})), "may have 0 nvidia.com/gpu and has 0");
        let mut full = gpu_pool(&json!({}));
        full["status"]["resources"] = json!({"nvidia.com/gpu": "16"});
        assert_eq!(problem(full).map(|(verdict, _)| verdict), Some(Verdict::Error(ErrorReason::Busy)));
        let slow = problem(gpu_pool(&json!({"disruption": {"consolidateAfter": "2h"}})));
        assert_eq!(slow.map(|(verdict, _)| verdict), Some(Verdict::Error(ErrorReason::Timeout)));
    }

    #[test]
    fn no_autoscaler_is_a_skip_unless_the_recipe_installs_one_and_a_dead_one_fails() {
        let verdict = |seen: &Seen, installed| find(seen, None, installed, nvidia()).expect_err("no pool").verdict;
        assert_eq!(verdict(&Seen::default(), false), Verdict::Skip(SkipReason::NotDeclared));
        assert_eq!(verdict(&Seen::default(), true), Verdict::Fail);
        let dead =
            Seen { others: vec![("lease kube-system/cluster-autoscaler".to_owned(), Some("is stale".to_owned()))], ..Seen::default() };
        let (pools, _) = find(&dead, None, false, nvidia()).expect("a pool");
        assert_eq!(pools[0].problem.as_ref().map(|outcome| outcome.verdict), Some(Verdict::Fail));
    }

    #[test]
    fn what_the_recipe_says_of_a_pool_is_what_is_asked_for() {
        let said =
            |name: &str| ScaledPool { name: name.to_owned(), gpus_per_node: Some(8), down_seconds: Some(60), ..ScaledPool::default() };
        let declared = Autoscaling { pools: vec![said("gpu"), said("more")], metric: None };
        let (pools, _) = found(vec![gpu_pool(&json!({"disruption": {"consolidateAfter": "5s"}}))], Some(&declared)).expect("two pools");
        assert_eq!(
            pools.iter().map(|pool| (pool.name.as_str(), pool.gpus, pool.karpenter)).collect::<Vec<_>>(),
            [("gpu", 8, true), ("more", 8, false)]
        );
        assert_eq!(pools[0].down, Duration::from_secs(65), "Karpenter's own patience is added");
    }

    #[test]
    fn a_node_of_another_type_is_told_by_gpus_labels_and_requirements() {
        let (pools, _) = found(vec![gpu_pool(&json!({}))], None).expect("a pool");
        let mut pool = pools[0].clone();
        pool.exact = true;
        pool.gpus = 8;
        let node = |gpus: &str, kind: &str| json!({"metadata": {"labels": {NODE_POOL: "gpu", "node.kubernetes.io/instance-type": kind}}, "status": {"allocatable": {"nvidia.com/gpu": gpus}}});
        let wrong = |node: &Value, pool: &Pool| wrong_type(node, pool, nvidia());
        assert_eq!(wrong(&node("8", "p5.48xlarge"), &pool), None);
        assert_eq!(wrong(&node("1", "p5.48xlarge"), &pool).as_deref(), Some("it offers 1 nvidia.com/gpu, and 8 were asked for"));
        assert!(wrong(&node("16", "p5.48xlarge"), &pool).is_some(), "more than declared is another type");
        let says = wrong(&node("8", "g5.xlarge"), &pool).expect("another type");
        assert_eq!(says, "its label node.kubernetes.io/instance-type is g5.xlarge, and the pool requires In [p5.48xlarge]");
        pool.labels.insert("zone".to_owned(), "a".to_owned());
        assert_eq!(wrong(&node("8", "p5.48xlarge"), &pool).as_deref(), Some("its label zone is not there, not a"));
    }

    #[test]
    fn operators_of_requirements_mean_what_kubernetes_makes_of_them() {
        let labels = json!({"a": "5"});
        let is =
            |operator: &str, key: &str, values: &[&str]| fulfils(&labels, &json!({"key": key, "operator": operator, "values": values}));
        assert!(is("In", "a", &["4", "5"]) && !is("In", "b", &["5"]) && is("NotIn", "b", &["5"]) && !is("NotIn", "a", &["5"]));
        assert!(is("Exists", "a", &[]) && !is("Exists", "b", &[]) && is("DoesNotExist", "b", &[]) && !is("DoesNotExist", "a", &[]));
        assert!(is("Gt", "a", &["4"]) && !is("Gt", "a", &["5"]) && is("Lt", "a", &["6"]) && !is("Lt", "b", &["6"]));
        assert!(is("Gte", "a", &["5"]) && is("Lte", "a", &["5"]) && !is("Gte", "a", &["6"]));
    }
}
