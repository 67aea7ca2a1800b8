//! What a Kubernetes cluster does of a model as it is asked, with consequences that somebody may not have meant. Refuses nothing.

use super::{Lack, Listing};
use crate::domain::model::{Budget, Model, Workload, WorkloadKind};

/// `classless`: Ingresses are made without a class, and the cluster has none for those.
pub fn worth_knowing(model: &Model, classless: bool) -> Vec<Lack> {
    let mut out = Listing(Vec::new());
    for (name, workload) in &model.workloads {
        let Some(budget) = &workload.budget else { continue };
        let instances = least(workload);
        // What a drain leaves where it is (kubectl drain --ignore-daemonsets), and what ends by itself.
        let stays = matches!(workload.kind, WorkloadKind::Global | WorkloadKind::Job | WorkloadKind::CronJob);
        let detail = format!(
            "with {instances} {} this budget lets none be missing, so a node that has one cannot be drained: allow one (`maxUnavailable: 1`), or have one more than must stay",
            if instances == 1 { "instance" } else { "instances" }
        );
        out.when(!stays && instances > 0 && spares_none(budget, instances), format!("workloads.{name}.budget"), &detail);
    }
    for (n, service) in model.services.iter().enumerate().filter(|_| classless) {
        for r in 0..service.routes.len() {
            let detail =
                "the cluster has no default IngressClass, so maybe nobody serves this route: set `ingress_class` or `gateway` in the cluster's settings";
            out.when(true, format!("services[{n}].routes[{r}]"), detail);
        }
    }
    out.0
}

/// So few it may have.
fn least(w: &Workload) -> u32 {
    // A cluster's autoscaler keeps at least one.
    w.scaling.as_ref().map_or(w.replicas, |s| s.min.max(1))
}

/// As the disruption controller counts: percentages are rounded up (kubernetes.io/docs/tasks/run-application/configure-pdb).
fn spares_none(budget: &Budget, instances: u32) -> bool {
    let amount = |text: &str| match text.trim().strip_suffix('%') {
        Some(percent) => percent.parse::<u64>().ok().map(|p| (u64::from(instances) * p).div_ceil(100)),
        None => text.trim().parse().ok(),
    };
    match (&budget.min_available, &budget.max_unavailable) {
        (Some(least), _) => amount(least).is_some_and(|least| least >= u64::from(instances)),
        (None, Some(most)) => amount(most) == Some(0),
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::document::Document;
    use crate::domain::kubernetes::read;

    #[test]
    fn budgets_and_routes_of_a_document_are_told_and_what_a_drain_leaves_is_not() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: nginx}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web}\nspec: {minAvailable: 1, selector: {matchLabels: {app: web}}}\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\nspec: {rules: [{host: a.example.org, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}\n";
        let mut model = read(&Document::alone(text)).model;
        let told = |model: &Model, classless: bool| worth_knowing(model, classless).into_iter().map(|note| note.at).collect::<Vec<_>>();
        assert_eq!(told(&model, true), ["workloads.web.budget", "services[0].routes[0]"]);
        assert_eq!(told(&model, false), ["workloads.web.budget"]);
        let web = model.workloads.values_mut().next().unwrap();
        web.replicas = 2;
        assert_eq!(told(&model, false), Vec::<String>::new());
        let web = model.workloads.values_mut().next().unwrap();
        (web.replicas, web.kind) = (1, WorkloadKind::Global);
        assert_eq!(told(&model, false), Vec::<String>::new());
    }

    #[test]
    fn a_budget_that_lets_nobody_be_missing_is_told() {
        let at_least = |text: &str| Budget { min_available: Some(text.into()), ..Budget::default() };
        let at_most = |text: &str| Budget { max_unavailable: Some(text.into()), ..Budget::default() };
        for (budget, instances) in
            [(at_least("2"), 2), (at_least("1"), 1), (at_least("50%"), 1), (at_least("100%"), 7), (at_least("3"), 2), (at_most("0"), 3), (at_most("0%"), 3)]
        {
            assert!(spares_none(&budget, instances), "{budget:?} of {instances}");
        }
        for (budget, instances) in [
            (at_least("1"), 2),
            (at_least("50%"), 2),
            (at_least("90%"), 11),
            (at_most("1"), 1),
            (at_most("1%"), 3),
            (Budget::default(), 1),
            (at_least("many"), 1),
        ] {
            assert!(!spares_none(&budget, instances), "{budget:?} of {instances}");
        }
    }
}
