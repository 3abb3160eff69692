//! Operators' processes around `switchover::step`, the arbiter's store and the labels.

use std::collections::BTreeMap;

use switchover::{
    Arbiter, Effect, Event, Label, Notice, Observation, Publication, Pulse, Seen, Settings, State,
    Status, Tag, step,
};

use crate::mutant::Mutant;
use crate::node::place_of;
use crate::run::Victim;
use crate::world::{BRAIN, MS, NAMES, SEC, STORE, Thing, World};

/// One operator's process. A dead one never acts again; its messages may still be under way.
pub struct Brain {
    pub number: u64,
    pub alive: bool,
    state: State,
    gather: Option<Gather>,
    /// Of a mutant: one seal less is enough.
    fewer: bool,
}

/// An observation being made.
struct Gather {
    tag: Tag,
    arbiter: Option<Arbiter>,
    answers: BTreeMap<usize, Status>,
}

impl World {
    pub fn new_brain(&mut self) {
        let number = self.number();
        self.note(|| format!("operator {number} starts"));
        self.brains.retain(|brain| brain.alive);
        self.brains.push(Brain {
            number,
            alive: true,
            state: State::new(),
            gather: None,
            fewer: false,
        });
        self.tell(number, Event::Nudge);
    }

    fn brain(&mut self, number: u64) -> Option<&mut Brain> {
        self.brains.iter_mut().find(|brain| brain.number == number && brain.alive)
    }

    pub fn tell(&mut self, number: u64, event: Event) {
        let Some(brain) = self.brain(number) else { return };
        let held = matches!(
            brain.state.phase.name(),
            "Pausing" | "Levelling" | "HandingOver" | "Labelling" | "Releasing"
        );
        let (state, effects) = step(&brain.state, event);
        brain.state = state;
        if held && effects.iter().any(|effect| matches!(effect, Effect::Publish { .. })) {
            self.violated("the arbiter is written between PAUSE and RELEASE");
        }
        for effect in effects {
            if self.struck(Victim::Operator, 30) {
                return self.kill_brain(number);
            }
            self.act(number, effect);
            if self.struck(Victim::Operator, 30) {
                return self.kill_brain(number);
            }
        }
    }

    /// Something has changed outside.
    pub fn wake_brains(&mut self) {
        let alive: Vec<u64> =
            self.brains.iter().filter(|brain| brain.alive).map(|brain| brain.number).collect();
        for number in alive {
            self.tell(number, Event::Nudge);
        }
    }

    pub fn kill_brain(&mut self, number: u64) {
        self.note(|| format!("operator {number} is killed"));
        if let Some(brain) = self.brain(number) {
            brain.alive = false;
            let wait = self.rng.between(10 * MS, 5 * SEC);
            self.after(wait, Thing::NewBrain);
        }
    }

    fn act(&mut self, brain: u64, effect: Effect) {
        if !matches!(effect, Effect::Observe { .. } | Effect::SetTimer { .. }) {
            self.note(|| format!("operator {brain}: {effect}"));
        }
        match effect {
            Effect::Observe { tag } => self.gather(brain, tag),
            Effect::Publish { tag, mut arbiter } => {
                let fewer = self.brain(brain).is_some_and(|brain| brain.fewer);
                self.miswritten(&mut arbiter, fewer);
                match self.way(BRAIN, STORE) {
                    Some(delay) => self.after(delay, Thing::WriteStore { brain, tag, arbiter }),
                    None => self.unknown(brain, tag),
                }
            }
            Effect::Command { tag, to, command } => {
                let node = place_of(&to.name);
                self.theme_at_command(brain, tag, &to, &command);
                match self.way(BRAIN, node) {
                    Some(delay) => {
                        if self.chaos && self.rng.chance(100) {
                            let late = self.rng.between(0, 4 * SEC);
                            let (to, command) = (to.clone(), command.clone());
                            self.after(late, Thing::Command { brain, tag, to, command });
                        }
                        self.after(delay, Thing::Command { brain, tag, to, command });
                    }
                    None => self.lost(brain, tag, node),
                }
            }
            Effect::Label { tag, name, label } => {
                let first = self.mutant == Some(Mutant::UnlabelFirst) && label == Label::Primary;
                for other in NAMES.iter().filter(|other| first && **other != name) {
                    let (name, label) = ((*other).to_owned(), Label::Replica);
                    self.after(0, Thing::WriteLabel { brain, tag, name, label });
                }
                match self.way(BRAIN, STORE) {
                    Some(delay) => self.after(delay, Thing::WriteLabel { brain, tag, name, label }),
                    None => self.labelled(brain, tag, name, false),
                }
            }
            Effect::SetTimer { tag, after_ms } => {
                self.after(after_ms * MS, Thing::Told { brain, event: Event::Expired { tag } });
            }
            Effect::Notify(notice) => self.noticed(&notice),
        }
    }

    fn noticed(&mut self, notice: &Notice) {
        match notice {
            Notice::SwitchoverCompleted { .. } => self.checks.switchovers += 1,
            Notice::SwitchoverAborted { .. } => self.checks.aborted += 1,
            Notice::FailoverCompleted { .. } => self.checks.elections += 1,
            _ => {}
        }
    }

    fn gather(&mut self, number: u64, tag: Tag) {
        if let Some(brain) = self.brain(number) {
            brain.gather = Some(Gather { tag, arbiter: None, answers: BTreeMap::new() });
        }
        if let Some(delay) = self.way(BRAIN, STORE) {
            self.after(delay, Thing::ReadStore { brain: number, tag });
        }
        for node in 0..NAMES.len() {
            if let Some(delay) = self.way(BRAIN, node) {
                self.after(delay, Thing::AskStatus { brain: number, tag, node });
            }
        }
        // A silent member holds nobody up for longer than its operator's patience.
        let wait = if self.patience_ms < 3_000 { self.rng.between(10, 200) } else { 500 };
        self.after(wait * MS, Thing::GatherEnds { brain: number, tag });
    }

    pub fn ask_status(&mut self, brain: u64, tag: Tag, node: usize) {
        let Some(status) = self.status_of(node) else { return };
        if let Some(delay) = self.way(node, BRAIN) {
            let status = Box::new(status);
            self.after(delay, Thing::GotStatus { brain, tag, node, status });
        }
    }

    pub fn read_store(&mut self, brain: u64, tag: Tag) {
        let arbiter = Box::new(self.status_read());
        if let Some(delay) = self.way(STORE, BRAIN) {
            self.after(delay, Thing::GotStore { brain, tag, arbiter });
        }
    }

    fn gathering(&mut self, number: u64, tag: Tag) -> Option<&mut Gather> {
        self.brain(number)?.gather.as_mut().filter(|gather| gather.tag == tag)
    }

    pub fn got_status(&mut self, brain: u64, tag: Tag, node: usize, status: Status) {
        let Some(gather) = self.gathering(brain, tag) else { return };
        gather.answers.insert(node, status);
        self.maybe_observed(brain, tag);
    }

    pub fn got_store(&mut self, brain: u64, tag: Tag, arbiter: Arbiter) {
        let Some(gather) = self.gathering(brain, tag) else { return };
        gather.arbiter = Some(arbiter);
        self.maybe_observed(brain, tag);
    }

    fn maybe_observed(&mut self, brain: u64, tag: Tag) {
        let full = self
            .gathering(brain, tag)
            .is_some_and(|gather| gather.arbiter.is_some() && gather.answers.len() == NAMES.len());
        if full {
            self.gather_ends(brain, tag);
        }
    }

    pub fn gather_ends(&mut self, number: u64, tag: Tag) {
        let Some(brain) = self.brain(number) else { return };
        let Some(gather) = brain.gather.take_if(|gather| gather.tag == tag) else { return };
        let Some(mut arbiter) = gather.arbiter else { return };
        let mut answers = gather.answers;
        // What a probe says may be wrong: no promise rests on it.
        let pulses: Vec<Pulse> = NAMES.iter().map(|_| self.pulse()).collect();
        let members = NAMES.iter().enumerate().map(|(place, name)| Seen {
            name: (*name).into(),
            host: (*name).into(),
            port: 1,
            hostname: String::new(),
            eligible: true,
            label: self.labels[place],
            status: answers.remove(&place),
            pulse: pulses[place],
            ..Seen::default()
        });
        let mut members = members.collect();
        let fewer = self.misseen(&mut arbiter, &mut members);
        if let Some(brain) = self.brain(number) {
            brain.fewer = fewer;
        }
        let last = arbiter.last_switchover.as_ref();
        let open = |request: &&switchover::Request| last.is_none_or(|one| one.id != request.id);
        let request = self.request.as_ref().filter(open).cloned();
        let observation = Observation {
            arbiter: arbiter.clone(),
            settings: Settings {
                durability: self.rule.0,
                degrade: self.rule.1,
                // No promise rests on patience.
                failover_after_ms: self.patience_ms,
                agreed_after_ms: 20,
                heard_within_ms: 200,
                poll_ms: if self.patience_ms < 1_000 { 100 } else { 1_000 },
                ..Settings::default()
            },
            members,
            request,
        };
        let observation = Box::new(observation);
        self.tell(number, Event::Observed { tag, observation });
    }

    fn pulse(&mut self) -> Pulse {
        match self.rng.below(8) {
            0 => Pulse::Gone,
            1 => Pulse::Beats,
            _ => Pulse::Unknown,
        }
    }

    pub fn write_store(&mut self, brain: u64, tag: Tag, arbiter: Arbiter) {
        let mut arbiter = arbiter;
        if self.mutant == Some(Mutant::ConflictRetried) {
            arbiter.version = self.arbiter.version + 1;
        }
        let fits = arbiter.version == self.arbiter.version + 1;
        let result = if fits {
            self.note(|| format!("store: {arbiter}"));
            self.check_loss(&arbiter);
            if arbiter.initialised && !self.arbiter.initialised {
                self.begins_anew();
            }
            if crate::answer::filled_anew(&arbiter) {
                self.filled_anew(arbiter.term);
            }
            self.former = std::mem::replace(&mut self.arbiter, arbiter);
            let sealed = self.former.election.is_some() && self.arbiter.election.is_none();
            if sealed && self.arbiter.term == self.former.term {
                self.copies.extend(self.claimed.take());
            }
            if self.arbiter.term > self.former.term && self.former.initialised {
                self.claimed = Some((self.now, self.former.clone()));
            }
            self.check_config();
            Publication::Done
        } else {
            Publication::Conflict
        };
        match self.way(STORE, BRAIN) {
            Some(delay) => {
                let event = Event::Published { tag, result };
                self.after(delay, Thing::Told { brain, event });
            }
            None => self.unknown(brain, tag),
        }
    }

    fn unknown(&mut self, brain: u64, tag: Tag) {
        let delay = self.rng.between(MS, SEC);
        let event = Event::Published { tag, result: Publication::Unknown };
        self.after(delay, Thing::Told { brain, event });
    }

    pub fn write_label(&mut self, brain: u64, tag: Tag, name: String, label: Label) {
        self.labels[place_of(&name)] = label;
        self.check_labels(brain, tag.0, place_of(&name), label);
        match self.way(STORE, BRAIN) {
            Some(_) => self.labelled(brain, tag, name, true),
            None => self.labelled(brain, tag, name, false),
        }
    }

    fn labelled(&mut self, brain: u64, tag: Tag, name: String, done: bool) {
        let delay = self.delay();
        self.after(delay, Thing::Told { brain, event: Event::Labelled { tag, name, done } });
    }

    /// What the operators are doing, for the last look at a world that did not come to rest.
    pub fn brains_now(&self) -> String {
        let told = self
            .brains
            .iter()
            .filter(|brain| brain.alive)
            .map(|brain| format!("{} ({:?})", brain.state.phase.name(), brain.state.told));
        told.collect::<Vec<_>>().join(", ")
    }
}
