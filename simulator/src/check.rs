//! The promises, watched from outside both machines. What is here never steers the world.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use server::handover::{Config, Effect, Epoch, Outcome, Reply, Role};
use switchover::Label;

use crate::log::Rec;
use crate::mark::Mark;
use crate::node::{Cause, Life};
use crate::world::{MS, NAMES, SEC, World};

/// After which a giver has the target's answer or abdicates (see `Timing::takeover_us`).
const LIMBO_MAX: u64 = 10 * SEC;

/// A timer may be this late.
const LATE: u64 = 5 * MS;

#[derive(Default)]
pub struct Checks {
    pub violations: Vec<String>,
    pub marks: BTreeSet<Mark>,
    /// Who has ever been primary of an epoch.
    owners: BTreeMap<Epoch, String>,
    /// What a target has ever said to the handover of an epoch.
    pub decided: BTreeMap<Epoch, bool>,
    /// Everything that clients asked for and that was executed anywhere.
    pub executed: BTreeSet<u64>,
    /// Acknowledged writes and the epoch under which they were.
    pub acknowledged: Vec<(u64, Epoch)>,
    /// When each write came into being, by the hash of the log behind it.
    pub written: HashMap<u64, u64>,
    /// What clients were shown.
    pub shown: crate::answer::Shown,
    pub data_lost: bool,
    /// What each id has told: up to where it is durable, and the greatest term that it promised.
    pub told: BTreeMap<String, (u64, u64)>,
    pub faults: u64,
    pub limbo: [Option<InLimbo>; 3],
    pause: [Option<InPause>; 3],
    /// The giver's log at each handover: offset T and hash; and its stream's level.
    handed: BTreeMap<Epoch, (u64, u64, u32)>,
    /// The last epoch that was given away, and what its giver's wall clock showed then.
    given: (Epoch, i64),
    led: bool,
    /// Whom each operator has labelled as primary last, and under which tag.
    led_to: BTreeMap<u64, (usize, u64)>,
    pub switchovers: u64,
    pub aborted: u64,
    pub elections: u64,
    pub crashes: u64,
}

/// A member that has handed over.
#[derive(Clone, Debug)]
pub struct InLimbo {
    since: u64,
    pub pause_until: u64,
}

/// A member that holds its stream for a switch.
#[derive(Clone, Debug)]
struct InPause {
    id: String,
    until: u64,
}

/// A member as it was before an event.
pub struct Before {
    pub role: Role,
    promised: Epoch,
    pub pause_id: String,
    /// The numbers of the configs that it obeyed.
    configs: (u64, u64),
}

impl Before {
    pub fn of(life: &Life, now: u64) -> Self {
        Self {
            role: life.member.role().clone(),
            promised: life.member.promised(),
            pause_id: life.member.status(life.env(now)).pause_id,
            configs: numbers(life),
        }
    }
}

fn numbers(life: &Life) -> (u64, u64) {
    let number = |config: Option<&Config>| config.map_or(0, |config| config.v);
    let configs = life.member.configs();
    (number(configs.first()), number(configs.last()))
}

impl Checks {
    /// A process is gone, and with it what it was bound to.
    pub fn forget(&mut self, node: usize) {
        self.limbo[node] = None;
        self.pause[node] = None;
    }
}

impl World {
    /// The status and every member's data were lost together (seed 190 of the plan of cold starts):
    /// nobody is left who could know of an earlier epoch, and the first one comes again.
    pub fn begins_anew(&mut self) {
        let holds = |node: &crate::node::Node| match &node.life {
            Some(life) => !life.log.is_empty(),
            None => true,
        };
        if !self.nodes.iter().any(holds) {
            if !self.checks.owners.is_empty() {
                self.mark(Mark::BegunAnew);
            }
            self.checks.owners.clear();
            self.checks.decided.clear();
            self.checks.handed.clear();
            self.checks.acknowledged.clear();
            self.checks.shown.forget();
            self.checks.given = (Epoch::ZERO, 0);
        }
    }

    /// The status is filled anew from what members know. Epochs of which none of them knows died with
    /// their owners (seed 3158: two statuses and most disks were lost), and may come again.
    pub fn filled_anew(&mut self, term: u64) {
        let knows = |node: &crate::node::Node| {
            let member = node.life.as_ref().map(|life| &life.member);
            member.is_none_or(|one| one.promised().term >= term || one.data_epoch().term >= term)
        };
        let last = self.checks.owners.keys().next_back().copied().unwrap_or_default();
        let old = |node: &crate::node::Node| {
            let role = node.life.as_ref().map(|life| life.member.role());
            matches!(role, Some(Role::Primary { epoch }) if *epoch < last)
        };
        if self.nodes.iter().any(old) {
            self.mark(Mark::FilledBesideOldPrimary);
        }
        if !self.nodes.iter().any(knows) {
            if last >= Epoch::of_term(term) {
                self.mark(Mark::EpochsAgain);
            }
            let first = Epoch::of_term(term);
            drop(self.checks.owners.split_off(&first));
            drop(self.checks.decided.split_off(&first));
            drop(self.checks.handed.split_off(&first));
            self.checks.shown.forget_epochs(first);
            self.checks.given = (Epoch::ZERO, 0);
        }
    }

    /// Compares the member with what it was, before its effects are performed.
    pub fn watch(&mut self, node: usize, before: &Before, cause: &Cause) {
        let Some(life) = &self.nodes[node].life else { return };
        let role = life.member.role().clone();
        let promised = life.member.promised();
        let pause_id = life.member.status(life.env(self.now)).pause_id;
        let left = life.member.status(life.env(self.now)).pause_left_ms;
        if promised < before.promised {
            self.violated(&format!("{} forgets its promise {}", NAMES[node], before.promised));
        }
        self.watch_pause(node, before, (&pause_id, left), &role, cause);
        if self.nodes[node].life.as_ref().is_some_and(|life| numbers(life) != before.configs) {
            self.check_config();
        }
        if role == before.role {
            return;
        }
        self.note(|| format!("{}: {:?} -> {:?}", NAMES[node], before.role.name(), role));
        self.watch_limbo(node, before, &role, promised);
        if let Role::Primary { epoch } = role {
            self.watch_office(node, epoch);
        }
    }

    /// An answer leaves the member. `asked`: what it replies to is the giver's record.
    pub fn note_decision(&mut self, node: usize, effect: &Effect, asked: bool) {
        let (epoch, accepted) = match effect {
            Effect::Answer { epoch, accepted } => (*epoch, *accepted),
            Effect::Reply { reply: Reply::Outcome { outcome, epoch }, .. } if asked => {
                (*epoch, *outcome == Outcome::Accepted)
            }
            _ => return,
        };
        let earlier = *self.checks.decided.entry(epoch).or_insert(accepted);
        if earlier != accepted {
            let name = NAMES[node];
            self.violated(&format!("{name} answers the handover of {epoch} in both ways"));
        }
    }

    fn watch_pause(
        &mut self,
        node: usize,
        before: &Before,
        (id, left): (&str, u64),
        role: &Role,
        cause: &Cause,
    ) {
        if id == before.pause_id {
            return;
        }
        if let Some(pause) = self.checks.pause[node].clone() {
            let still_primary = matches!(role, Role::Primary { .. }) && *role == before.role;
            let entitled = !still_primary
                || pause.until <= self.now + MS
                || *cause == Cause::Unpause(pause.id.clone());
            if entitled {
                self.checks.pause[node] = None;
            }
            // Otherwise the watch stays: a write that comes now breaks the promise.
        }
        if id.is_empty() || self.checks.pause[node].is_some() {
            return;
        }
        let rate = self.nodes[node].rate;
        let until = self.now + (left + 1) * MS * 1_000 / rate;
        self.checks.pause[node] = Some(InPause { id: id.to_owned(), until });
    }

    fn watch_limbo(&mut self, node: usize, before: &Before, role: &Role, promised: Epoch) {
        if let Role::Limbo(limbo) = role {
            if matches!(before.role, Role::Limbo(_)) {
                return;
            }
            let until = self.checks.pause[node].as_ref().map_or(self.now, |pause| pause.until);
            self.checks.limbo[node] = Some(InLimbo { since: self.now, pause_until: until });
            let record = &limbo.record;
            let hash = self.nodes[node].life.as_ref().map(|life| life.log.hash());
            let time = self.nodes[node].life.as_ref().map_or(0, |life| life.time(self.now));
            self.checks.given = self.checks.given.max((record.epoch, time));
            let level = self.levels[node];
            self.checks.handed.insert(record.epoch, (record.offset, hash.unwrap_or(0), level));
            return;
        }
        let Role::Limbo(limbo) = &before.role else { return };
        self.checks.limbo[node] = None;
        self.checks.pause[node] = None;
        let epoch = limbo.record.epoch;
        let decided = self.checks.decided.get(&epoch).copied();
        let fine = match role {
            Role::Primary { epoch: own } => decided == Some(false) && *own == epoch.next_hop(),
            Role::Follower { .. } => decided == Some(true) || promised > epoch,
            // Abdication at the bound, which `Tick` brings, or an election.
            Role::Fenced => promised > epoch || self.limbo_over(limbo.record.offset, epoch),
            Role::Unmanaged | Role::Limbo(_) => false,
        };
        if matches!(role, Role::Primary { .. }) {
            self.mark(Mark::TakenBack);
        }
        if !fine {
            let name = NAMES[node];
            self.violated(&format!("{name} leaves limbo {epoch} as {role:?}, answer {decided:?}"));
        }
    }

    /// The bound has no mark of its own outside the member; that it is not passed early is the
    /// member's own test. Here: the record was indeed handed over.
    fn limbo_over(&self, offset: u64, epoch: Epoch) -> bool {
        self.checks.handed.get(&epoch).is_some_and(|(t, _, _)| *t == offset)
    }

    /// A member has become primary: it is the epoch's one owner, with exactly the giver's log.
    fn watch_office(&mut self, node: usize, epoch: Epoch) {
        let Some(life) = &self.nodes[node].life else { return };
        let id = life.id();
        let owner = self.checks.owners.entry(epoch).or_insert_with(|| id.clone()).clone();
        if owner != id {
            self.violated(&format!("epoch {epoch} belongs to {owner}, and {id} takes it"));
        }
        let Some(life) = &self.nodes[node].life else { return };
        if life.log.ends_in_half() {
            self.violated(&format!("{id} takes {epoch} in the middle of a transaction"));
        }
        let Some(life) = &self.nodes[node].life else { return };
        if let Some((t, hash, level)) = self.checks.handed.get(&epoch).copied() {
            let own = life.log.offset();
            if life.log.hash_at(t) != Some(hash) {
                self.violated(&format!(
                    "{id} takes {epoch} with a log of {own}, not the giver's {t}"
                ));
            }
            if level > self.levels[node] {
                self.violated(&format!("{id} takes a stream of level {level}, which it cannot"));
            }
        }
        let Some(life) = &self.nodes[node].life else { return };
        let others = self.nodes.iter().filter_map(|node| node.life.as_ref());
        let lost = life.log.is_empty() && others.into_iter().any(|other| !other.log.is_empty());
        // Under seed 5424 the first primary lost what nobody had been shown.
        let shown = self.checks.shown.end() > 0 || !self.checks.acknowledged.is_empty();
        if lost && shown && self.checks.owners.len() > 1 {
            self.violated(&format!(
                "{id} becomes primary of {epoch} empty, over members with data"
            ));
        }
    }

    /// A member answers: what had expired when the epoch was given away is not there again.
    pub fn check_time(&mut self, node: usize, epoch: Epoch) {
        let Some(life) = &self.nodes[node].life else { return };
        let (given, showed) = self.checks.given;
        if epoch.term == given.term && epoch >= given && life.time(self.now) < showed {
            let id = life.id();
            self.violated(&format!("{id} answers in {epoch} by an earlier time than its giver's"));
        }
    }

    pub fn check_append(&mut self, node: usize, rec: &Rec) {
        let record = matches!(rec, Rec::Note(_));
        let Some(pause) = &self.checks.pause[node] else { return };
        if !record {
            let id = pause.id.clone();
            self.violated(&format!("{} writes {rec:?} into its stream in pause {id}", NAMES[node]));
        }
    }

    pub fn check_acknowledged(&mut self, node: usize, id: u64) {
        let Some(life) = &self.nodes[node].life else { return };
        let epoch = match life.member.role() {
            Role::Primary { epoch } => *epoch,
            // A mutant serves under the epoch that it gave away.
            Role::Limbo(limbo) => {
                let epoch = limbo.record.epoch;
                Epoch { term: epoch.term, hop: epoch.hop - 1 }
            }
            _ => return,
        };
        self.checks.acknowledged.push((id, epoch));
        let later = self.checks.owners.range(epoch..).map(|(later, _)| *later);
        let later = later.into_iter().find(|later| *later > epoch && later.term == epoch.term);
        if let Some(later) = later {
            let name = NAMES[node];
            self.violated(&format!("{name} acknowledges in {epoch} while {later} is open"));
        }
    }

    /// Whoever takes the last primary label away must have given it to another one before.
    /// (Two operators can undo each other's labels until the next look; that is no wrong order. Nor is a
    /// write that was under way for so long that the operator had gone on: under seed 508 it came late.)
    pub fn check_labels(&mut self, brain: u64, tag: u64, place: usize, label: Label) {
        let given = self.checks.led_to.get(&brain).copied();
        if label == Label::Primary {
            self.checks.led_to.insert(brain, (place, tag));
            self.checks.led = true;
        } else if self.checks.led
            && !self.labels.contains(&Label::Primary)
            && given.is_none_or(|(given, since)| given == place && tag > since)
        {
            self.violated("the old primary is unlabelled before the new one is labelled");
        }
    }

    /// No pause outlives its timer, no limbo its bound; looked at now and then by the run.
    pub fn check_pauses(&mut self) {
        for (node, name) in NAMES.iter().enumerate() {
            let place = &self.nodes[node];
            if place.stopped.is_some() || place.woken_at + 100 * MS > self.now {
                continue;
            }
            let limbo = self.checks.limbo[node].as_ref();
            if limbo.is_some_and(|limbo| limbo.since + LIMBO_MAX * 21 / 20 + LATE < self.now) {
                self.violated(&format!("{name} is in limbo beyond the bound"));
            }
            let Some(life) = &self.nodes[node].life else { continue };
            let paused = !life.member.status(life.env(self.now)).pause_id.is_empty();
            let primary = matches!(life.member.role(), Role::Primary { .. });
            let Some(pause) = &self.checks.pause[node] else { continue };
            if paused && primary && pause.until + LATE < self.now {
                let line = format!("pause {} of {} outlives its timer", pause.id, name);
                self.violated(&line);
            }
        }
    }

    /// After calm: one primary, everybody in step, nothing lost that an election did not lose.
    pub fn check_rest(&mut self) {
        let lives: Vec<&Life> = self.nodes.iter().filter_map(|node| node.life.as_ref()).collect();
        let primary = lives.iter().find(|life| matches!(life.member.role(), Role::Primary { .. }));
        let (Some(primary), 3) = (primary, lives.len()) else {
            return self.restless("no primary");
        };
        let Role::Primary { epoch } = *primary.member.role() else { return };
        let written: Vec<u64> = primary.log.writes().collect();
        let kept: BTreeSet<u64> = written.iter().copied().collect();
        if kept.len() != written.len() {
            return self.violated("a write was executed twice");
        }
        let acknowledged = self.checks.acknowledged.iter();
        let replicated = self.rule.0 != switchover::Durability::Async;
        let kept_for_ever = replicated && !self.checks.data_lost;
        let bound = |at: &Epoch| kept_for_ever || !replicated && at.term == epoch.term;
        let lost = acknowledged.filter(|(id, at)| bound(at) && !kept.contains(id));
        let lost: Vec<u64> = lost.map(|(id, _)| *id).collect();
        if !lost.is_empty() {
            let line = format!("{} acknowledged writes are lost, with no election", lost.len());
            return self.violated(&line);
        }
        let place = lives.iter().position(|life| life.boot == primary.boot).unwrap_or(0);
        let led = self.labels[place] == Label::Primary
            && self.labels.iter().filter(|label| **label == Label::Primary).count() == 1;
        let published = self.arbiter.primary.as_ref().map(|one| one.member.clone());
        let followed = lives.iter().all(|life| {
            life.boot == primary.boot || life.follow.as_ref().is_some_and(|follow| follow.up)
        });
        let fits = published == Some(primary.id())
            && self.arbiter.switchover.is_none()
            && self.arbiter.election.is_none();
        if !(led && followed && fits) {
            self.restless("a primary that is not led to, followed or published");
        }
    }

    fn restless(&mut self, what: &str) {
        let roles: Vec<String> = self
            .nodes
            .iter()
            .map(|node| match &node.life {
                Some(life) => format!(
                    "{} {:?} promised {} data {}",
                    life.id(),
                    life.member.role(),
                    life.member.promised(),
                    life.member.data_epoch()
                ),
                None => "down".into(),
            })
            .collect();
        let line = format!(
            "{what} after calm: {}; arbiter {}; labels {:?}; operators {}",
            roles.join(" | "),
            self.arbiter,
            self.labels,
            self.brains_now()
        );
        self.violated(&line);
    }
}
