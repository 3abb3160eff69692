//! Budgets for evictions.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Plan, owned};
use crate::api::{ROLE_LABEL, ROLE_PRIMARY};

/// One pod of all may be away. When an eviction has been held for long enough, none is held back
/// any more: the budget would go on refusing it for as long as no replica is ready. With a floor on the primary this one covers the replicas only:
/// two budgets over one pod make the eviction API answer 500.
pub fn all(plan: &Plan) -> PodDisruptionBudget {
    let mut selector =
        LabelSelector { match_labels: Some(plan.names.selector()), ..LabelSelector::default() };
    let mut spec = PodDisruptionBudgetSpec {
        // A pod that is not in sync serves nobody; evicting it may be what heals it.
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        ..PodDisruptionBudgetSpec::default()
    };
    if plan.let_go {
        spec.max_unavailable = Some(IntOrString::String("100%".to_owned()));
    } else if plan.primary_floor {
        selector.match_expressions = Some(vec![LabelSelectorRequirement {
            key: ROLE_LABEL.to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(vec![ROLE_PRIMARY.to_owned()]),
        }]);
        // `maxUnavailable` would count against the whole set, of which this selects a part.
        spec.min_available = Some(IntOrString::Int((plan.replicas - 2).max(0)));
    } else {
        spec.max_unavailable = Some(IntOrString::Int(1));
    }
    spec.selector = Some(selector);
    PodDisruptionBudget {
        metadata: owned(plan, plan.names.name.clone()),
        spec: Some(spec),
        ..PodDisruptionBudget::default()
    }
}

/// The primary is never evicted; its label moves first.
pub fn floor(plan: &Plan) -> Option<PodDisruptionBudget> {
    if !plan.primary_floor || plan.let_go {
        return None;
    }
    let mut labels = plan.names.selector();
    labels.insert(ROLE_LABEL.to_owned(), ROLE_PRIMARY.to_owned());
    Some(PodDisruptionBudget {
        metadata: owned(plan, plan.names.primary_pdb()),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(labels),
                ..LabelSelector::default()
            }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
