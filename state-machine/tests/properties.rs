//! Whatever happens, in whatever order, at whatever time, sense or nonsense: what must hold after every step.

#[cfg(test)]
#[path = "properties/moves.rs"]
mod moves;
#[cfg(test)]
#[path = "support/mod.rs"]
mod support;

#[cfg(test)]
mod tests {
    use crate::moves::{Move, event_of, life, policies, restarted};
    use crate::support::{app, is_allowed, manifest};
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::FileFailurePersistence;
    use state_machine::effect::{Effect, Outcome};
    use state_machine::event::{Event, Observation, StoreCondition};
    use state_machine::firmware::compare;
    use state_machine::ids::{ComponentName, DeploymentId, Digest, EffectId};
    use state_machine::policy::{FirstBoot, Policy};
    use state_machine::state::{Durable, State};
    use state_machine::step::Step;
    use state_machine::time::Now;
    use state_machine::transition::Why;
    use state_machine::workload::Phase;
    use std::cmp::Ordering;
    use std::collections::{BTreeMap, BTreeSet};

    /// What is known about the machine without asking it.
    #[derive(Default)]
    struct Outside {
        under_way: BTreeMap<EffectId, Effect>,
        /// The deployments of the desired state that was accepted last.
        listed: BTreeSet<DeploymentId>,
        last_id: u64,
    }

    fn check(outside: &mut Outside, before: &State, event: &Event, now: &Now, step: &Step) {
        for transition in &step.transitions {
            assert!(is_allowed(transition), "not in EDGES: {transition}");
        }
        assert_eq!(step.persist, step.next.durable != before.durable);
        assert!(step.wake_at_ms.is_none_or(|at| at > now.monotonic_ms), "{:?}", step.wake_at_ms);
        note_accepted(outside, event, step);
        check_versions(before, event, step);
        for id in &step.cancels {
            assert!(outside.under_way.remove(id).is_some(), "cancelled {id}, not under way");
        }
        for (id, effect) in &step.effects {
            assert!(id.0 > outside.last_id, "an id was given out twice");
            outside.last_id = id.0;
            check_removal(outside, &step.next.durable, effect);
            outside.under_way.insert(*id, effect.clone());
        }
    }

    fn note_accepted(outside: &mut Outside, event: &Event, step: &Step) {
        let is_taken = |why: Why| step.transitions.iter().any(|t| t.why == why);
        let desired = match event {
            Event::EffectFinished { outcome: Outcome::DeploymentsFetched { desired }, .. } => {
                Some(desired).filter(|_| is_taken(Why::Accepted))
            }
            Event::Started { observation } => {
                observation.preload.as_ref().filter(|_| is_taken(Why::Preloaded))
            }
            _ => None,
        };
        if let Some(desired) = desired {
            outside.listed = desired.deployments.iter().map(|d| d.id.clone()).collect();
        }
    }

    /// I3: for one identity the accepted version never decreases.
    fn check_versions(before: &State, event: &Event, step: &Step) {
        let identity = |durable: &Durable| durable.onboarding.identity.clone();
        let version = |durable: &Durable| durable.sync.accepted.as_ref().map(|a| a.version);
        let is_same = identity(&before.durable) == identity(&step.next.durable);
        if is_same && !matches!(event, Event::Started { .. }) {
            assert!(version(&step.next.durable) >= version(&before.durable), "I3");
        }
        let fetched = step.next.durable.sync.accepted != before.durable.sync.accepted;
        if fetched && is_same && version(&before.durable).is_some() {
            assert!(version(&step.next.durable) > version(&before.durable), "I3");
        }
    }

    /// I5: nothing that an accepted manifest lists is removed, but for components that it does not list.
    fn check_removal(outside: &Outside, durable: &Durable, effect: &Effect) {
        match effect {
            Effect::RemoveDeployment { deployment } => {
                assert!(!outside.listed.contains(deployment), "I5: removes {deployment}");
            }
            Effect::PruneDeployment { deployment, keep } => {
                let workload = &durable.workloads[deployment];
                let names = |d: &state_machine::desired::Deployment| -> BTreeSet<ComponentName> {
                    d.components.iter().map(|c| c.name.clone()).collect()
                };
                let kept: BTreeSet<ComponentName> = keep.iter().cloned().collect();
                let wanted = match workload.phase {
                    Phase::Restoring { .. } => workload.good.as_deref().map(names),
                    _ => Some(names(&workload.desired)),
                };
                assert_eq!(kept, wanted.unwrap_or_default(), "I5: prunes {deployment}");
            }
            _ => {}
        }
    }

    /// I11, and what survives a power cut.
    fn check_durable(durable: &Durable, policy: &Policy) {
        let text = serde_json::to_string(durable).unwrap();
        assert_eq!(*durable, serde_json::from_str::<Durable>(&text).unwrap(), "{text}");
        for (id, queue) in &durable.outbox.deployments {
            let limit = policy.reports_per_deployment_max.max(2);
            assert!(queue.waiting.len() <= limit, "{id}: {} reports", queue.waiting.len());
            assert!(queue.waiting.iter().all(|report| report.version.0 > 0), "{id}: version 0");
        }
    }

    /// Every change seen on the way.
    fn live_through(policy: &Policy, life: &[Move]) -> BTreeSet<(&'static str, &'static str)> {
        let mut seen = BTreeSet::new();
        let mut state = State::default();
        let mut outside = Outside::default();
        let mut now = Now::monotonic(0);
        for happening in life {
            if let Move::Time(monotonic_ms, wall_unix_ms) = happening {
                now = Now { monotonic_ms: *monotonic_ms, wall_unix_ms: *wall_unix_ms };
            }
            if let Move::Restart { lost, .. } = happening {
                state = restarted(&state, *lost);
                outside.under_way.clear();
                outside.last_id = 0;
            }
            let event = event_of(happening, &outside.under_way);
            if let Event::EffectFinished { id, .. } = &event {
                outside.under_way.remove(id);
            }
            let step = state_machine::step(&state, &event, &now, policy);
            check(&mut outside, &state, &event, &now, &step);
            if step.persist {
                check_durable(&step.next.durable, policy);
            }
            seen.extend(step.transitions.iter().map(|t| (t.prev, t.next)));
            state = step.next;
        }
        seen
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 600,
            failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
            ..ProptestConfig::default()
        })]

        #[test]
        fn whatever_happens((policy, life) in (policies(), life())) {
            live_through(&policy, &life);
        }
    }

    fn version() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}(-(rc|beta|[0-9])(\.[0-9]{1,2})?)?(\+[a-z0-9]{1,3})?",
            1 => r"[0-9a-z.+-]{0,8}",
            1 => any::<String>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 4_000,
            failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
            ..ProptestConfig::default()
        })]

        /// Any three texts can be put in order, and it is one order.
        #[test]
        fn versions_have_one_order(a in version(), b in version(), c in version()) {
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le(), "{} {} {}", a, b, c);
                if compare(&a, &c).is_eq() {
                    prop_assert!(compare(&a, &b).is_eq() && compare(&b, &c).is_eq());
                }
            }
            // A pre-release comes before what it leads to.
            if !a.contains(['-', '+']) {
                let candidate = format!("{a}-rc.1");
                prop_assert!(compare(&candidate, &a).is_lt());
            }
        }
    }

    #[test]
    fn the_same_revision_read_differently_disturbs_nothing() {
        // Found by the property above, one life in thousands: it was applying a component it no longer had.
        let preload = |components: &[&str]| Observation {
            store: StoreCondition::Intact,
            capabilities: Digest::from("c1"),
            preload: Some(manifest(0, "", vec![app("a", 1, components)])),
            boot: None,
        };
        let begin = Move::Restart { lost: false, observation: preload(&["web"]) };
        let nothing = manifest(1, "v1", Vec::new());
        let succeed = || Move::Succeed(1, nothing.clone(), Vec::new());
        let again = Move::Restart { lost: false, observation: preload(&[]) };
        // The engine answers, garbage is collected, it is prepared and begun; then the power fails twice.
        let life = [begin, succeed(), succeed(), succeed(), again.clone(), again];
        let policy = Policy { first_boot: FirstBoot::Preload, ..Policy::default() };
        let seen = live_through(&policy, &life);
        assert!(seen.contains(&("prepared", "applying")), "{seen:?}");
    }

    #[test]
    fn lives_get_as_far_as_removing_and_restoring() {
        // A generator that never gets anywhere would prove nothing.
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
        for _ in 0..150 {
            let policy = policies().new_tree(&mut runner).unwrap().current();
            let life = life().new_tree(&mut runner).unwrap().current();
            seen.extend(live_through(&policy, &life));
        }
        for change in [("removing", "absent"), ("applying", "restoring"), ("leaving", "removing")] {
            assert!(seen.contains(&change), "never seen: {change:?}");
        }
    }
}
