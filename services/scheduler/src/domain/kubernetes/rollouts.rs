//! Rollouts as Argo Rollouts (argoproj.io/v1alpha1) has them: a Deployment with another strategy.

use gantry_kernel::Name;

use super::Known;
use super::workloads::{minutes, replicas, template};
use crate::domain::document::duration_ms;
use crate::domain::fields::{At, Fields};
use crate::domain::model::{CanaryStep, Model, Release, ReleaseStrategy, Workload};

/// As in Argo Rollouts.
const KEPT: u32 = 30;
const LONGEST: u32 = 7 * 86_400;

pub fn read(spec: &Fields<'_>, name: &Name, w: &mut Workload, model: &mut Model, known: &mut Known) {
    replicas(spec, w);
    (w.update.surge, w.update.max_unavailable) = (w.replicas.div_ceil(4).max(1), 0);
    w.update.progress_deadline_seconds = spec.number("progressDeadlineSeconds", 1 << 20).unwrap_or(600);
    spec.note(&["progressDeadlineAbort"], "a release without progress always goes back");
    if let Some(strategy) = spec.below("strategy") {
        let release = match (strategy.below("blueGreen"), strategy.below("canary")) {
            (Some(f), _) => blue_green(&f),
            (None, Some(f)) => canary(&f),
            (None, None) => Release::default(),
        };
        spec.remarks.place("release", &strategy.path, strategy.line);
        if model.release.strategy != ReleaseStrategy::Rolling && model.release != release {
            spec.remarks.wrong(&strategy.path, strategy.line, "the release of an application is one: its Rollouts must have the same strategy");
        }
        model.release = release;
    }
    template(spec, name, w, model, known);
    minutes(spec, name, w);
}

fn blue_green(f: &Fields<'_>) -> Release {
    let by_itself = f.take("autoPromotionEnabled").is_none_or(|at| at.flag());
    let after = f.number("autoPromotionSeconds", LONGEST);
    f.note(&["activeService", "previewService"], "every service of the workload switches, and is seen before at its preview");
    Release {
        strategy: ReleaseStrategy::BlueGreen,
        promote_after_seconds: after.or(by_itself.then_some(0)),
        keep_seconds: f.number("scaleDownDelaySeconds", LONGEST).unwrap_or(KEPT),
        ..Release::default()
    }
}

fn canary(f: &Fields<'_>) -> Release {
    let mut steps: Vec<CanaryStep> = Vec::new();
    for at in f.list("steps") {
        let step = at.fields();
        if let Some(weight) = step.number("setWeight", 100) {
            steps.push(CanaryStep { weight: Some(weight), ..CanaryStep::default() });
        }
        if let Some(pause) = step.below("pause") {
            let seconds = pause.take("duration").map(|at| duration(&at));
            if steps.last().is_none_or(|s| s.until_promoted || s.pause_seconds > 0) {
                steps.push(CanaryStep { weight: steps.is_empty().then_some(0), ..CanaryStep::default() });
            }
            if let Some(last) = steps.last_mut() {
                (last.pause_seconds, last.until_promoted) = (seconds.unwrap_or(0), seconds.is_none());
            }
        }
    }
    f.note(
        &["stableService", "canaryService", "maxSurge", "maxUnavailable"],
        "the new set stands beside the old one, and services share requests by themselves",
    );
    // Without steps it is a rolling update.
    let strategy = if steps.is_empty() { ReleaseStrategy::Rolling } else { ReleaseStrategy::Canary };
    Release { strategy, steps, ..Release::default() }
}

/// Seconds, or a time with its unit.
fn duration(at: &At<'_>) -> u32 {
    let read = |text: &str| text.parse().ok().or_else(|| duration_ms(text).map(|ms| ms / 1000));
    at.parsed(read, "a time such as 30s, 10m or 1h").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use crate::domain::document::{Document, Level};
    use crate::domain::kubernetes::read;
    use crate::domain::model::{CanaryStep, Model, ReleaseStrategy};

    fn model(strategy: &str) -> (Model, Vec<String>) {
        let text = format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {{name: web}}\nspec:\n  replicas: 3\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec: {{containers: [{{name: web, image: a/b/c:1}}]}}\n  strategy: {strategy}\n"
        );
        let reading = read(&Document::alone(&text));
        let model = reading.model.clone();
        let bad = reading.remarks.into_list().into_iter().filter(|r| r.level != Level::Note).map(|r| format!("{}: {}", r.path, r.detail)).collect();
        (model, bad)
    }

    #[test]
    fn steps_of_a_canary_become_ours() {
        let (model, bad) = model("{canary: {steps: [{setWeight: 20}, {pause: {duration: 10m}}, {setWeight: 60}, {pause: {}}]}}");
        assert!(bad.is_empty(), "{bad:?}");
        let step = |weight, pause_seconds, until_promoted| CanaryStep { weight: Some(weight), pause_seconds, until_promoted, header: None };
        assert_eq!((model.release.strategy, model.release.steps), (ReleaseStrategy::Canary, vec![step(20, 600, false), step(60, 0, true)]));
        assert_eq!(model.workloads.values().next().map(|w| w.replicas), Some(3));
    }

    #[test]
    fn blue_green_promotes_itself_unless_it_is_told_not_to() {
        let (held, bad) = model("{blueGreen: {activeService: web, previewService: seen, autoPromotionEnabled: false, scaleDownDelaySeconds: 60}}");
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!((held.release.strategy, held.release.promote_after_seconds, held.release.keep_seconds), (ReleaseStrategy::BlueGreen, None, 60));
        assert_eq!(model("{blueGreen: {activeService: web}}").0.release.promote_after_seconds, Some(0));
    }

    #[test]
    fn what_is_not_done_of_it_is_listed() {
        let (_, bad) = model("{canary: {steps: [{setWeight: 20}, {analysis: {templates: []}}], trafficRouting: {nginx: {}}}}");
        assert!(bad.iter().any(|b| b.contains("analysis")) && bad.iter().any(|b| b.contains("trafficRouting")), "{bad:?}");
    }
}
