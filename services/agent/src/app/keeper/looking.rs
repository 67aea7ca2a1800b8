//! The part of a round about what there is: the engine is asked, and whatever it does, or does not, requests are led as far as is known.

use std::sync::Arc;
use std::time::Duration;

use gantry_cri::CriError;
use gantry_kernel::InstanceId;

use super::{Keeper, chain};
use crate::adapters::runtime::Runtime;
use crate::domain::actual::Pod;
use crate::domain::plan::{Action, Facts, Plan, plan};
use crate::domain::wanted::Wanted;

/// An engine that does not answer for so long holds up the balancer and the lease no longer; they are looked after this often then.
const PATIENT: Duration = Duration::from_secs(2);

impl Keeper {
    /// Everything of ours that the engine has now.
    ///
    /// # Errors
    /// When it does not answer, after the time limit of its calls.
    pub(super) async fn look(&mut self) -> Result<Vec<Pod>, CriError> {
        let spare = Runtime::new(self.steps.cri.clone(), self.steps.node.clone());
        let mut runtime = std::mem::replace(&mut self.runtime, spare);
        let observed = {
            let observing = runtime.observe();
            tokio::pin!(observing);
            loop {
                tokio::select! {
                    observed = &mut observing => break observed,
                    () = tokio::time::sleep(PATIENT) => {}
                }
                self.balance_as_seen().await;
            }
        };
        self.runtime = runtime;
        self.looked |= observed.is_ok();
        observed
    }

    /// While the engine does not say what there is: by what it said last, and by how the containers are, which can be asked without it.
    pub(super) async fn balance_as_seen(&mut self) {
        let Some(word) = self.shared.wanted.borrow().clone() else { return };
        let within = self.within_lease(&word);
        let wanted = self.without_halted(within);
        // Of an agent before this one, too: another node has them soon.
        self.balancer.give_away_public(&wanted).await;
        if !self.looked {
            return;
        }
        let pods = self.shared.pods.borrow().clone();
        self.facts.now_ms = self.now_ms();
        self.shorten_pauses();
        self.watch_health(&wanted, &pods);
        self.balance(&wanted, &pods).await;
        self.tell_layout();
    }

    pub(super) async fn balance(&mut self, wanted: &Wanted, pods: &[Pod]) {
        let ready = self.ready_addresses(wanted, pods).await;
        let gone = self.gone(wanted, pods);
        self.holder.keep(&self.balancer.held(wanted)).await;
        self.balancer.note_passed_on(self.holder.passed_on());
        let pressed = self.shared.pressed.borrow().clone();
        if let Err(error) = self.balancer.round(wanted, &ready, gone, &pressed, self.facts.now_ms).await {
            tracing::error!(error = %chain(&error), "the balancer could not be brought up to date");
        }
    }

    /// Addresses of pods that are not known yet. One of which the engine does not tell it is asked for again in the next round.
    pub(super) async fn find_addresses(&mut self, pods: &[Pod]) {
        let unknown = pods.iter().filter(|p| p.ready && self.memory.get(&p.instance).is_none_or(|m| m.address.is_empty()));
        let unknown: Vec<String> = unknown.map(|pod| pod.id.clone()).collect();
        let cri = self.steps.cri.clone();
        let call = move |id: String| {
            let cri = cri.clone();
            async move { cri.pod_status(&id).await }
        };
        let answers = self.asking.ask(&unknown, call).await;
        for (id, answer) in answers {
            if let (Ok(status), Some(pod)) = (answer, pods.iter().find(|pod| pod.id == id)) {
                self.memory.entry(pod.instance).or_default().address = status.address;
            }
        }
    }

    /// What is to be done next, but for instances that are held, or of which it is not known how they are.
    pub(super) fn planned(&self, wanted: &Wanted, pods: &[Pod]) -> Plan {
        let held = self.shared.held.borrow().clone();
        if held.is_empty() && self.runtime.unsure.is_empty() {
            return plan(wanted, pods, &self.facts);
        }
        let busy = self.facts.busy.iter().chain(&held).chain(&self.runtime.unsure).copied().collect();
        plan(wanted, pods, &Facts { busy, ..self.facts.clone() })
    }

    /// Instances that are not there yet and depend on nobody need not wait until the balancer has loaded what is new to it.
    pub(super) fn begin_new(&mut self, wanted: &Arc<Wanted>, pods: &[Pod]) {
        let in_order = self.facts.now_ms < self.facts.order_until_ms;
        let is_new = |id: &InstanceId| !self.facts.busy.contains(id) && !pods.iter().any(|p| p.instance == *id);
        if !wanted.instances.iter().any(|(id, instance)| !instance.stopping && is_new(id)) {
            return;
        }
        for action in self.planned(wanted, pods).actions {
            let Action::Create { instance, .. } = &action else { continue };
            if !in_order || wanted.instances.get(instance).is_some_and(|i| i.after.is_empty()) {
                self.begin(action, wanted);
            }
        }
    }
}
