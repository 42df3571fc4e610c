//! The webhooks that look at an operator's kind, and who refused an object. Pure.

use serde_json::Value;

use crate::error::{Error, Kind};

/// A validating webhook that looks at objects of one kind when they are created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    /// Its name, by which the API server says who refused.
    pub(super) name: String,
    /// The configuration that it is in.
    pub(super) configuration: String,
    /// True if objects get in when it does not answer.
    pub(super) fails_open: bool,
}

/// Webhooks that look at a resource of a group by name; those that look at everything are a policy engine's, not the operator's.
pub(super) fn of(configurations: &[Value], group: &str, plural: &str) -> Vec<Hook> {
    let strings =
        |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<String>>();
    let looks = |rule: &Value| {
        let (operations, resources) = (strings(&rule["operations"]), strings(&rule["resources"]));
        strings(&rule["apiGroups"]).iter().any(|one| one == group)
            && resources.iter().any(|one| one == plural || one == "*" || one == "*/*")
            && operations.iter().any(|one| one == "CREATE" || one == "*")
    };
    let mut hooks = Vec::new();
    for configuration in configurations {
        for hook in configuration["webhooks"].as_array().into_iter().flatten() {
            if hook["rules"].as_array().is_some_and(|rules| rules.iter().any(looks)) {
                hooks.push(Hook {
                    name: hook["name"].as_str().unwrap_or_default().to_owned(),
                    configuration: configuration["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
                    fails_open: hook["failurePolicy"] == "Ignore",
                });
            }
        }
    }
    hooks
}

/// Who refused an object, as the API server tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A webhook of the operator.
    ByOwn(String),
    /// A webhook of somebody else, or a policy.
    ByOther(String),
    /// A webhook that could not be asked.
    ByNobody,
    /// The schema of its kind.
    BySchema,
    /// We may not create it.
    ByRoles,
    /// Something else went wrong.
    Unclear,
}

/// Reads who refused. The API server itself writes who it was before what a webhook says, so that nobody else's text is taken for it.
pub(super) fn refused(error: &Error, hooks: &[Hook]) -> Refused {
    let text = error.chain();
    if let Some(name) = quoted_after(&text, "admission webhook \"").filter(|_| text.contains("denied the request")) {
        return if hooks.iter().any(|hook| hook.name == name) { Refused::ByOwn(name) } else { Refused::ByOther(format!("webhook {name}")) };
    }
    if text.contains("failed calling webhook") || text.contains("conversion webhook") {
        return Refused::ByNobody;
    }
    if let Some(name) = quoted_after(&text, "ValidatingAdmissionPolicy '").or_else(|| quoted_after(&text, "ValidatingAdmissionPolicy \"")) {
        return Refused::ByOther(format!("policy {name}"));
    }
    match error.kind() {
        Kind::Schema => Refused::BySchema,
        Kind::Denied => Refused::ByRoles,
        _ => Refused::Unclear,
    }
}

fn quoted_after(text: &str, begin: &str) -> Option<String> {
    let rest = &text[text.find(begin)? + begin.len()..];
    rest.find(['"', '\'']).map(|end| rest[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn configuration(rule: &Value, policy: &str) -> Value {
        json!({"metadata": {"name": "c"}, "webhooks": [{"name": "vjobset.kb.io", "failurePolicy": policy, "rules": [rule]}]})
    }

    fn rule(group: &str, resource: &str, operation: &str) -> Value {
        json!({"apiGroups": [group], "apiVersions": ["v1alpha2"], "resources": [resource], "operations": [operation]})
    }

    #[test]
    fn a_webhook_looks_at_the_kind_by_name_on_creation() {
        let found = |rule: &Value, policy: &str| of(&[configuration(rule, policy)], "jobset.x-k8s.io", "jobsets");
        let own = found(&rule("jobset.x-k8s.io", "jobsets", "CREATE"), "Fail");
        assert_eq!(own, [Hook { name: "vjobset.kb.io".to_owned(), configuration: "c".to_owned(), fails_open: false }]);
        assert!(found(&rule("jobset.x-k8s.io", "jobsets", "CREATE"), "Ignore")[0].fails_open);
        for other in
            [rule("*", "*", "CREATE"), rule("jobset.x-k8s.io", "jobsets", "DELETE"), rule("jobset.x-k8s.io", "jobsets/status", "CREATE")]
        {
            assert_eq!(found(&other, "Fail"), []);
        }
    }

    #[test]
    fn only_the_operators_own_webhook_counts_as_having_refused() {
        let hooks = of(&[configuration(&rule("jobset.x-k8s.io", "jobsets", "CREATE"), "Fail")], "jobset.x-k8s.io", "jobsets");
        let who = |kind: Kind, text: &str| refused(&Error::new(kind, format!("create jobset x: the API server answers {text}")), &hooks);
        let denied = "403 Forbidden: admission webhook \"vjobset.kb.io\" denied the request: no such job";
        assert_eq!(who(Kind::Denied, denied), Refused::ByOwn("vjobset.kb.io".to_owned()));
        let other = "403 Forbidden: admission webhook \"validate.kyverno.svc-fail\" denied the request: x";
        assert_eq!(who(Kind::Denied, other), Refused::ByOther("webhook validate.kyverno.svc-fail".to_owned()));
        let policy = "422 Invalid: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: x";
        assert_eq!(who(Kind::Schema, policy), Refused::ByOther("policy p".to_owned()));
        let roles = "403 Forbidden: jobsets.jobset.x-k8s.io is forbidden: User \"u\" cannot create resource";
        assert_eq!(who(Kind::Denied, roles), Refused::ByRoles);
        assert_eq!(who(Kind::Schema, "422 Invalid: spec.replicas: Invalid value: \"string\""), Refused::BySchema);
        let dead = "500 InternalError: Internal error occurred: failed calling webhook \"vjobset.kb.io\": connection refused";
        assert_eq!(who(Kind::Unavailable, dead), Refused::ByNobody);
        assert_eq!(who(Kind::Unavailable, "503"), Refused::Unclear);
    }
}
