//! Admission reviews of evictions, as bytes in and out.
//!
//! Takes the API server's JSON, returns what it asks and the JSON of the answer. Pure.

use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

/// A body that is no review of version v1.
#[derive(Debug, Error)]
#[error("not an AdmissionReview of admission.k8s.io/v1: {0}")]
pub struct ReviewError(String);

/// What somebody wants to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    uid: String,
    /// The pod to be evicted; `None` when the review is about something else.
    pub eviction: Option<Eviction>,
}

/// One eviction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Eviction {
    pub namespace: String,
    pub pod: String,
    /// The pod's UID, when the caller means only that one.
    pub uid: Option<String>,
    /// Nothing may come of it.
    pub dry_run: bool,
}

/// How it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// With a warning that the caller sees.
    AllowWith(String),
    /// 429: come back later.
    Hold(String),
}

/// After how many seconds a caller that is held should come back.
const RETRY_SECONDS: u32 = 5;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    api_version: String,
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    #[serde(default)]
    resource: Resource,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    object: Value,
}

#[derive(Default, Deserialize)]
struct Resource {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resource: String,
}

impl Review {
    /// Reads a review. Evictions of `policy/v1` and `policy/v1beta1` are alike.
    pub fn parse(body: &[u8]) -> Result<Self, ReviewError> {
        let body: Body =
            serde_json::from_slice(body).map_err(|error| ReviewError(error.to_string()))?;
        if body.api_version != "admission.k8s.io/v1" {
            return Err(ReviewError(format!("its version is {}", body.api_version)));
        }
        Ok(Self { uid: body.request.uid.clone(), eviction: body.request.eviction() })
    }

    /// The review that answers.
    pub fn answer(&self, verdict: &Verdict) -> String {
        let mut response =
            json!({"uid": self.uid, "allowed": !matches!(verdict, Verdict::Hold(_))});
        match verdict {
            Verdict::Allow => {}
            Verdict::AllowWith(warning) => response["warnings"] = json!([warning]),
            // Without a code the API server would answer 400, which drains take for a failure.
            Verdict::Hold(why) => {
                response["status"] = json!({
                    "status": "Failure",
                    "code": 429,
                    "reason": "TooManyRequests",
                    "message": why,
                    "details": {"retryAfterSeconds": RETRY_SECONDS},
                });
            }
        }
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": response,
        });
        review.to_string()
    }
}

impl Request {
    fn eviction(self) -> Option<Eviction> {
        let pods = self.resource.group.is_empty() && self.resource.resource == "pods";
        if !pods || self.sub_resource != "eviction" || self.operation != "CREATE" {
            return None;
        }
        let text = |path: &str| {
            let value = self.object.pointer(path).and_then(Value::as_str);
            value.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let asks_nothing = |path: &str| {
            let value = self.object.pointer(path).and_then(Value::as_array);
            value.is_some_and(|all| all.iter().any(|one| one == "All"))
        };
        let uid = text("/deleteOptions/preconditions/uid");
        let dry_run = self.dry_run || asks_nothing("/deleteOptions/dryRun");
        let pod = if self.name.is_empty() { text("/metadata/name")? } else { self.name };
        Some(Eviction { namespace: self.namespace, pod, uid, dry_run })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(change: impl Fn(&mut Value)) -> Value {
        let mut review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "r-1",
                "kind": {"group": "policy", "version": "v1", "kind": "Eviction"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "subResource": "eviction",
                "name": "cache-0",
                "namespace": "shop",
                "operation": "CREATE",
                "dryRun": false,
                "object": {
                    "apiVersion": "policy/v1", "kind": "Eviction",
                    "metadata": {"name": "cache-0", "namespace": "shop"},
                },
            },
        });
        change(&mut review["request"]);
        review
    }

    fn check(change: impl Fn(&mut Value), expect: Option<&Eviction>) {
        let body = review(change).to_string();
        assert_eq!(Review::parse(body.as_bytes()).unwrap().eviction.as_ref(), expect);
    }

    fn cache_0() -> Eviction {
        Eviction { namespace: "shop".into(), pod: "cache-0".into(), ..Eviction::default() }
    }

    #[test]
    fn both_versions_of_an_eviction_are_read() {
        check(|_| {}, Some(&cache_0()));
        check(|r| r["kind"]["version"] = json!("v1beta1"), Some(&cache_0()));
        check(|r| r["name"] = json!(""), Some(&cache_0()));
    }

    #[test]
    fn preconditions_and_dry_runs_are_read_wherever_they_stand() {
        let uid = json!({"preconditions": {"uid": "u-7"}});
        check(
            |r| r["object"]["deleteOptions"] = uid.clone(),
            Some(&Eviction { uid: Some("u-7".into()), ..cache_0() }),
        );
        let dry = Eviction { dry_run: true, ..cache_0() };
        check(|r| r["dryRun"] = json!(true), Some(&dry));
        check(|r| r["object"]["deleteOptions"] = json!({"dryRun": ["All"]}), Some(&dry));
    }

    #[test]
    fn anything_else_is_no_eviction() {
        check(|r| r["subResource"] = json!("binding"), None);
        check(|r| r["resource"]["resource"] = json!("nodes"), None);
        check(|r| r["operation"] = json!("DELETE"), None);
    }

    #[test]
    fn a_body_that_is_no_review_is_refused() {
        for body in
            ["", "{}", "[]", r#"{"apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"x"}}"#]
        {
            assert!(Review::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    /// A denial without a code becomes 400, at which `kubectl drain` gives the pod up, and 500
    /// breaks other drainers.
    #[test]
    fn who_is_held_is_told_to_come_back() {
        let review = Review::parse(review(|_| {}).to_string().as_bytes()).unwrap();
        let answer: Value =
            serde_json::from_str(&review.answer(&Verdict::Hold("wait".into()))).unwrap();
        assert_eq!(answer["response"]["uid"], "r-1");
        assert_eq!(answer["response"]["allowed"], false);
        assert_eq!(answer["response"]["status"]["code"], 429);
        assert_eq!(answer["response"]["status"]["reason"], "TooManyRequests");
        let answer: Value = serde_json::from_str(&review.answer(&Verdict::Allow)).unwrap();
        assert_eq!(answer["response"], json!({"uid": "r-1", "allowed": true}));
    }
}
