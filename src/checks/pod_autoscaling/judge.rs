//! Why the number of pods does not follow the load, from what the autoscaler and its objects say; pure.

use serde_json::Value;

use crate::checks::probe;
use crate::cluster::ObjectRef;
use crate::recipe::{MetricSource, ScalingMetric};
use crate::results::{ErrorReason, Outcome};

/// The API group that serves a metric.
pub(super) fn group(source: MetricSource) -> &'static str {
    match source {
        MetricSource::Resource => "metrics.k8s.io",
        MetricSource::Pods => "custom.metrics.k8s.io",
        MetricSource::External => "external.metrics.k8s.io",
    }
}

/// What is wrong with what serves the metric, if anything.
pub(super) fn not_served(services: &[Value], source: MetricSource) -> Option<Outcome> {
    let group = group(source);
    let own: Vec<&Value> = services.iter().filter(|service| service["spec"]["group"] == group).collect();
    if own.is_empty() {
        return Some(Outcome::fail(format!("{group} is not served: there is no APIService for it")).fix(adapter(source)));
    }
    let mut problems = Vec::new();
    for service in own {
        let conditions = service["status"]["conditions"].as_array();
        let available = conditions.into_iter().flatten().find(|one| one["type"] == "Available");
        match available {
            Some(one) if one["status"] == "True" => return None,
            Some(one) => problems.push(format!("{}: {}", ObjectRef::of(service), one["message"].as_str().unwrap_or("not available"))),
            None => problems.push(format!("{}: has no condition Available", ObjectRef::of(service))),
        }
    }
    let fix = format!("kubectl get apiservices | grep {group}; look at the adapter behind it");
    Some(Outcome::fail(format!("{group} is not available: {}", problems.join("; "))).fix(fix))
}

fn adapter(source: MetricSource) -> &'static str {
    match source {
        MetricSource::Resource => "install metrics-server",
        MetricSource::Pods | MetricSource::External => "install an adapter, such as prometheus-adapter or KEDA, with a rule for the metric",
    }
}

/// Which way the number of pods is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// One pod without load, whose metric the autoscaler reads.
    Rest,
    /// Up, as there is load.
    Up,
    /// Down, as there is none any more.
    Down,
}

/// What stands in the cluster when a wait is over.
#[derive(Debug, Default)]
pub(super) struct Now {
    pub(super) autoscaler: Option<Value>,
    pub(super) deployment: Option<Value>,
    pub(super) pods: Vec<Value>,
}

/// Why it did not come to what the load asks for.
pub(super) fn why(now: &Now, metric: &ScalingMetric, way: Way, waited: u64) -> Outcome {
    let (Some(autoscaler), Some(deployment)) = (&now.autoscaler, &now.deployment) else {
        return Outcome::error(ErrorReason::NoSubject, "the autoscaler or its deployment was deleted by someone else");
    };
    let name = ObjectRef::of(autoscaler);
    let status = &autoscaler["status"];
    let Some(conditions) = status["conditions"].as_array() else {
        return Outcome::fail(format!("no controller has looked at {name} for {waited} s"))
            .fix("look at kube-controller-manager's horizontal pod autoscaling");
    };
    for kind in ["AbleToScale", "ScalingActive"] {
        if let Some(broken) = conditions.iter().find(|one| one["type"] == kind && one["status"] == "False") {
            let text = |field: &str| broken[field].as_str().unwrap_or_default();
            let what =
                if kind == "ScalingActive" { format!("metric {} cannot be read", metric.name) } else { format!("{name} cannot scale") };
            return Outcome::fail(format!("{what}: {}: {}", text("reason"), text("message"))).fix(adapter(metric.source));
        }
    }
    let wanted = if way == Way::Up { 2 } else { 1 };
    let (desired, replicas) = (status["desiredReplicas"].as_u64().unwrap_or(0), deployment["spec"]["replicas"].as_u64().unwrap_or(1));
    let reading = reading(status, metric);
    if desired == wanted && replicas == wanted {
        return pods_do_not_follow(now, wanted);
    }
    if desired == wanted {
        return Outcome::fail(format!("{name} wants {wanted} pods, and its deployment has {replicas} after {waited} s"))
            .fix("kubectl describe that autoscaler and its deployment");
    }
    if way == Way::Down && autoscaler["spec"]["behavior"]["scaleDown"]["selectPolicy"] == "Disabled" {
        return Outcome::fail(format!("{name} may not scale down: something in the cluster has set selectPolicy Disabled on it"))
            .fix("look at what changes autoscalers when they are created: kubectl get mutatingwebhookconfigurations");
    }
    let state = match way {
        Way::Rest => "before there is any load",
        Way::Up => "although the pods are under load",
        Way::Down => "although the load was taken away",
    };
    Outcome::fail(format!("{name} wants {desired} pods instead of {wanted} for {waited} s {state}: {reading}"))
        .fix(format!("look at where {} comes from: is it of these pods, and of now?", metric.name))
}

/// What the autoscaler read last, against its target.
pub(super) fn reading(status: &Value, metric: &ScalingMetric) -> String {
    let current = status["currentMetrics"].as_array().and_then(|all| all.first());
    let current =
        current.and_then(|one| ["resource", "pods", "external"].iter().map(|kind| &one[*kind]["current"]).find(|value| !value.is_null()));
    let shown = current.and_then(|current| {
        let value = ["averageUtilization", "averageValue", "value"].iter().map(|field| &current[*field]).find(|value| !value.is_null())?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    });
    format!("{} is {} on average, the target is {}", metric.name, shown.as_deref().unwrap_or("unknown"), metric.target)
}

fn pods_do_not_follow(now: &Now, wanted: u64) -> Outcome {
    for pod in &now.pods {
        if let Some(trouble) = probe::image_trouble(pod) {
            return Outcome::error(ErrorReason::Image, format!("{}: {trouble}", ObjectRef::of(pod)));
        }
        if let Some(reason) = probe::unschedulable(pod) {
            return Outcome::error(ErrorReason::Busy, format!("{} finds no place: {reason}", ObjectRef::of(pod)))
                .fix("run again when two GPUs are free on nodes that take new pods");
        }
    }
    let states: Vec<String> =
        now.pods.iter().map(|pod| format!("{} is {}", ObjectRef::of(pod), pod["status"]["phase"].as_str().unwrap_or("unknown"))).collect();
    Outcome::fail(format!("{wanted} pods are wanted and do not become ready: {}", states.join("; "))).fix("kubectl describe those pods")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::results::Verdict;

    fn metric() -> ScalingMetric {
        serde_json::from_value(json!({"source": "pods", "name": "load", "target": 50})).expect("is a metric")
    }

    fn service(group: &str, available: &str) -> Value {
        json!({"kind": "APIService", "metadata": {"name": format!("v1.{group}")}, "spec": {"group": group},
            "status": {"conditions": [{"type": "Available", "status": available, "message": "no endpoints"}]}})
    }

    fn now(conditions: &Value, desired: u64, replicas: u64) -> Now {
        let current = json!([{"type": "Pods", "pods": {"current": {"averageValue": "3"}}}]);
        Now {
            autoscaler: Some(json!({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "a", "namespace": "n"},
                "status": {"conditions": conditions, "desiredReplicas": desired, "currentMetrics": current}})),
            deployment: Some(json!({"spec": {"replicas": replicas}})),
            pods: vec![],
        }
    }

    fn told(now: &Now, way: Way) -> (Verdict, String) {
        let outcome = why(now, &metric(), way, 60);
        (outcome.verdict, outcome.message)
    }

    #[test]
    fn an_api_that_is_not_served_or_not_available_fails_and_one_version_is_enough() {
        assert!(not_served(&[], MetricSource::Pods).is_some_and(|outcome| outcome.message.contains("custom.metrics.k8s.io is not served")));
        let dead = not_served(&[service("custom.metrics.k8s.io", "False")], MetricSource::Pods).expect("is told");
        assert!(dead.verdict == Verdict::Fail && dead.message.contains("no endpoints"), "{}", dead.message);
        let both = [service("custom.metrics.k8s.io", "False"), service("custom.metrics.k8s.io", "True")];
        assert!(not_served(&both, MetricSource::Pods).is_none());
        assert!(not_served(&both, MetricSource::Resource).is_some(), "another API does not count");
    }

    #[test]
    fn each_cause_is_told_apart() {
        let fine = json!([{"type": "AbleToScale", "status": "True"}, {"type": "ScalingActive", "status": "True"}]);
        let unread = json!([{"type": "ScalingActive", "status": "False", "reason": "FailedGetPodsMetric", "message": "no metrics"}]);
        for (now, way, says) in [
            (now(&Value::Null, 0, 1), Way::Rest, "no controller has looked at horizontalpodautoscaler n/a for 60 s"),
            (now(&unread, 1, 1), Way::Rest, "metric load cannot be read: FailedGetPodsMetric: no metrics"),
            (
                now(&fine, 1, 1),
                Way::Up,
                "wants 1 pods instead of 2 for 60 s although the pods are under load: load is 3 on average, the target is 50",
            ),
            (now(&fine, 2, 1), Way::Up, "wants 2 pods, and its deployment has 1"),
            (now(&fine, 2, 2), Way::Down, "although the load was taken away"),
            (now(&fine, 2, 2), Way::Rest, "before there is any load"),
        ] {
            let (verdict, message) = told(&now, way);
            assert!(verdict == Verdict::Fail && message.contains(says), "{message}");
        }
        let mut forbidden = now(&fine, 2, 2);
        if let Some(autoscaler) = &mut forbidden.autoscaler {
            autoscaler["spec"]["behavior"]["scaleDown"]["selectPolicy"] = json!("Disabled");
        }
        assert!(told(&forbidden, Way::Down).1.contains("may not scale down"));
        assert_eq!(why(&Now::default(), &metric(), Way::Up, 1).verdict, Verdict::Error(ErrorReason::NoSubject));
    }

    #[test]
    fn pods_without_a_place_or_an_image_are_no_verdict_on_the_autoscaler() {
        let fine = json!([{"type": "ScalingActive", "status": "True"}]);
        let mut busy = now(&fine, 2, 2);
        busy.pods = vec![json!({"kind": "Pod", "metadata": {"name": "p"}, "status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "message": "Insufficient nvidia.com/gpu"}]}})];
        assert_eq!(told(&busy, Way::Up).0, Verdict::Error(ErrorReason::Busy));
        busy.pods = vec![
            json!({"kind": "Pod", "metadata": {"name": "p"}, "status": {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]}}),
        ];
        assert_eq!(told(&busy, Way::Up).0, Verdict::Error(ErrorReason::Image));
    }
}
