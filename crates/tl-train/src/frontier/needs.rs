//! Which activations are kept when: decided before the run from sizes and budgets alone.
//!
//! The decision behind it: a pure function of the plan, played through from its first phase. A run that is resumed in a
//! later phase so keeps exactly what an unbroken one has there, and both compute the same bits.

use std::collections::{BTreeMap, BTreeSet};

use tl_finetune::{Plan, PlannedPhase};

/// One set of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Set {
    Train,
    Val,
}

/// What a pass over the images computes: which images, and which of their augmented views.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pass {
    pub(crate) set: Set,
    /// The number of the view; none for images as they are validated.
    pub(crate) view: Option<u32>,
}

impl Pass {
    /// The validation images.
    pub(crate) const VAL: Self = Self { set: Set::Val, view: None };

    /// What epoch `epoch` of a phase trains on; none where its images are new in every epoch.
    pub(crate) fn of_epoch(phase: &PlannedPhase, epoch: u32) -> Option<Self> {
        match (phase.augment, phase.views) {
            (false, _) => Some(Self { set: Set::Train, view: None }),
            (true, 0) => None,
            (true, views) => Some(Self { set: Set::Train, view: Some(epoch % views) }),
        }
    }
}

/// Activations of one pass at one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Need {
    pub(crate) pass: Pass,
    pub(crate) level: usize,
}

/// Where activations are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Memory,
    Disk,
}

/// The most that may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budgets {
    /// Bytes in memory.
    pub(crate) memory: u64,
    /// Bytes on disk.
    pub(crate) disk: u64,
}

/// For every phase what is kept while it runs. `bytes` says how large each is.
pub(crate) fn kept_by_phase(
    plan: &Plan,
    bytes: impl Fn(Need) -> u64,
    budgets: Budgets,
) -> Vec<BTreeMap<Need, Tier>> {
    let mut held: BTreeMap<Need, Tier> = BTreeMap::new();
    let mut lowest = usize::MAX;
    let mut phases = Vec::new();
    for (i, phase) in plan.phases.iter().enumerate() {
        lowest = lowest.min(phase.frontier);
        let wanted = needed(plan, i);
        held.retain(|need, _| wanted.contains(need) && need.level <= lowest);
        let used = |held: &BTreeMap<Need, Tier>, tier: Tier| -> u64 {
            held.iter().filter(|(_, t)| **t == tier).map(|(need, _)| bytes(*need)).sum()
        };
        for need in wanted {
            let size = bytes(need);
            if held.contains_key(&need) {
                continue;
            }
            if used(&held, Tier::Memory).saturating_add(size) <= budgets.memory {
                held.insert(need, Tier::Memory);
            } else if used(&held, Tier::Disk).saturating_add(size) <= budgets.disk {
                held.insert(need, Tier::Disk);
            }
        }
        phases.push(held.clone());
    }
    phases
}

/// What phase `phase` and those after it need and what holds until then, in the order in which it is needed. Level 0 is
/// the images themselves and never kept.
fn needed(plan: &Plan, phase: usize) -> Vec<Need> {
    let mut lowest = plan.phases[..phase].iter().map(|p| p.frontier).min().unwrap_or(usize::MAX);
    let (mut needs, mut seen) = (Vec::new(), BTreeSet::new());
    for (i, later) in plan.phases.iter().enumerate().skip(phase) {
        let level = later.frontier;
        // What the phase needs itself is computed at its start, whatever trained before.
        if level > 0 && (i == phase || level <= lowest) {
            let views: Vec<Option<u32>> = match later.augment {
                false => vec![None],
                true => (0..later.views.min(later.epochs)).map(Some).collect(),
            };
            let train = views.into_iter().map(|view| Pass { set: Set::Train, view });
            for pass in train.chain([Pass::VAL]) {
                if seen.insert((pass, level)) {
                    needs.push(Need { pass, level });
                }
            }
        }
        lowest = lowest.min(level);
    }
    needs
}

#[cfg(test)]
mod tests {
    use tl_finetune::{LayerInfo, NetInfo, Phase, Preset, PresetOptions, Schedule, StageInfo};

    use super::*;

    fn net() -> NetInfo {
        let stage = |i| StageInfo { name: format!("stage{i}"), blocks: vec![format!("block{i}")] };
        let layer =
            |i| LayerInfo { name: format!("conv{i}"), stage: i, block: 0, params: 10, norm_params: 0 };
        NetInfo { stages: (0..4).map(stage).collect(), layers: (0..4).map(layer).collect(), texts: false }
    }

    /// Phases of gradual unfreezing by their names, in this order.
    fn phases(order: &[&str]) -> Vec<Phase> {
        let Schedule { phases } = Preset::Gradual.schedule(&net(), &PresetOptions::default()).unwrap();
        let pick = |name: &&str| phases.iter().find(|phase| phase.name == **name).unwrap().clone();
        let mut picked: Vec<_> = order.iter().map(pick).collect();
        for (i, phase) in picked.iter_mut().enumerate() {
            (phase.name, phase.augment, phase.views) = (format!("{i}"), false, 0);
        }
        picked
    }

    fn plan(phases: Vec<Phase>) -> Plan {
        Schedule { phases }.plan(&net(), 5).unwrap()
    }

    fn levels(plan: &Plan, phase: usize, set: Set) -> Vec<usize> {
        needed(plan, phase).into_iter().filter(|need| need.pass.set == set).map(|need| need.level).collect()
    }

    #[test]
    fn one_pass_serves_all_phases_of_gradual_unfreezing() {
        let plan = plan(phases(&["head", "last-stage", "all"]));
        assert_eq!(levels(&plan, 0, Set::Train), [4, 3]);
        assert_eq!(levels(&plan, 0, Set::Val), [4, 3]);
        assert_eq!(levels(&plan, 2, Set::Train), [0usize; 0]);
    }

    #[test]
    fn what_a_phase_in_between_changes_is_not_computed_before_it() {
        let plan = plan(phases(&["last-stage", "head", "all", "head"]));
        // Level 4 lies above the stage that the first phase trains: only the level below is good for now.
        assert_eq!(levels(&plan, 0, Set::Train), [3]);
        assert_eq!(levels(&plan, 1, Set::Train), [4]);
        assert_eq!(levels(&plan, 3, Set::Val), [4]);
    }

    #[test]
    fn views_are_needed_as_far_as_there_are_epochs() {
        let mut two = phases(&["head", "last-stage"]);
        (two[0].augment, two[0].views, two[0].epochs) = (true, 3, 9);
        (two[1].augment, two[1].views, two[1].epochs) = (true, 5, 2);
        let plan = plan(two);
        let views: Vec<_> = needed(&plan, 0).into_iter().map(|need| (need.level, need.pass.view)).collect();
        let expected =
            [(4, Some(0)), (4, Some(1)), (4, Some(2)), (4, None), (3, Some(0)), (3, Some(1)), (3, None)];
        assert_eq!(views, expected);
        let passes: Vec<_> =
            (0..4).map(|epoch| Pass::of_epoch(&plan.phases[0], epoch).unwrap().view).collect();
        assert_eq!(passes, [Some(0), Some(1), Some(2), Some(0)]);
    }

    #[test]
    fn what_does_not_fit_memory_goes_to_disk_and_what_fits_neither_is_not_kept() {
        let plan = plan(phases(&["head", "last-stage"]));
        let bytes = |need: Need| match (need.pass.set, need.level) {
            (Set::Train, 4) => 40,
            (Set::Train, _) => 400,
            _ => 5,
        };
        let kept = |memory, disk| kept_by_phase(&plan, bytes, Budgets { memory, disk });
        let tiers = |kept: &BTreeMap<Need, Tier>| {
            kept.iter().map(|(need, tier)| (need.pass.set, need.level, *tier)).collect::<Vec<_>>()
        };
        let (train, val, memory, disk) = (Set::Train, Set::Val, Tier::Memory, Tier::Disk);
        let both = kept(60, 400);
        assert_eq!(
            tiers(&both[0]),
            [(train, 3, disk), (train, 4, memory), (val, 3, memory), (val, 4, memory)]
        );
        // The pooled features have served.
        assert_eq!(tiers(&both[1]), [(train, 3, disk), (val, 3, memory)]);
        assert_eq!(tiers(&kept(0, 0)[0]), []);
    }
}
