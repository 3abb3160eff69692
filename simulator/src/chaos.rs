//! What comes from outside: writes, keep-alives, requests, people, partitions, crashes, shutdowns.

use server::handover::{Event, PauseKind, Role};
use switchover::{Label, Reason, Request};

use crate::check::Before;
use crate::client::Ask;
use crate::log::Rec;
use crate::mutant::Mutant;
use crate::node::{Cause, place_of};
use crate::world::{MS, NAMES, SEC, Thing, World};

impl World {
    /// Writes come to where the address leads, and now and then to any member.
    pub fn next_write(&mut self) {
        // Now and then nobody writes: only then can a read be stale rather than wait for a commit.
        let wait = if self.rng.chance(200) {
            self.rng.between(100 * MS, 2 * SEC)
        } else {
            self.rng.between(4 * MS, 40 * MS)
        };
        self.after(wait, Thing::NextWrite);
        let labelled = self.labels.iter().position(|label| *label == Label::Primary);
        let anywhere = self.rng.below(NAMES.len() as u64) as usize;
        let node = match labelled {
            Some(node) if !self.rng.chance(1_000) => node,
            _ => anywhere,
        };
        if self.only_read(node) {
            return;
        }
        let id = self.number();
        let delay = self.delay();
        let ask = if self.rng.chance(500) { Ask::Pop(id) } else { Ask::Write(id) };
        self.after(delay, Thing::Ask { node, ask });
    }

    pub fn next_ping(&mut self) {
        // Acknowledgements are leases: the server sends a sign of life that often.
        self.after(150 * MS, Thing::NextPing);
        for node in 0..NAMES.len() {
            let careless = self.mutant == Some(Mutant::PingAfterPause);
            if self.nodes[node].stopped.is_some() {
                continue;
            }
            let Some(life) = &self.nodes[node].life else { continue };
            let primary = matches!(life.member.role(), Role::Primary { .. });
            if primary && (careless || life.member.stream_open(life.local(self.now))) {
                self.append_unit(node, [Rec::Ping]);
            }
        }
    }

    pub fn next_request(&mut self) {
        let wait = self.rng.between(500 * MS, 4 * SEC);
        self.after(wait, Thing::NextRequest);
        if !self.chaos {
            return;
        }
        self.requests += 1;
        let to = match self.rng.below(2) {
            0 => None,
            _ => Some(NAMES[self.rng.below(3) as usize].to_owned()),
        };
        let reason = if to.is_some() { Reason::Request } else { Reason::Drain };
        self.request = Some(Request { id: format!("r{}", self.requests), reason, to });
    }

    /// Something goes wrong.
    pub fn next_chaos(&mut self) {
        let wait = self.rng.between(200 * MS, 3 * SEC);
        self.after(wait, Thing::NextChaos);
        if !self.chaos {
            return;
        }
        self.checks.faults += 1;
        if self.rng.chance(5_000) {
            return self.more_chaos();
        }
        let node = self.rng.below(3) as usize;
        match self.rng.below(13) {
            0 => self.crash_somehow(node),
            1..4 => {
                let (a, b) = (self.rng.below(5) as usize, self.rng.below(5) as usize);
                self.part(a.min(b), a.max(b));
            }
            4 => {
                if let Some(brain) = self.brains.iter().find(|brain| brain.alive) {
                    let number = brain.number;
                    self.kill_brain(number);
                }
            }
            // A leader that does not know yet that it is none any more.
            5 => self.new_brain(),
            // Two that believe so from the same moment on, and so keep step.
            10 => {
                self.new_brain();
                self.new_brain();
            }
            6 => self.drain(node),
            7 => self.user_pause(node),
            8 | 9 => {
                let links: Vec<(usize, usize)> = vec![(0, 1), (1, 2), (0, 2)];
                let (a, b) = links[self.rng.below(3) as usize];
                self.cut_between(a, b);
            }
            _ => {}
        }
        self.brains.retain(|brain| brain.alive);
        while self.brains.len() > 2 {
            self.brains.remove(0);
        }
    }

    fn kill_brain_for_good(&mut self, number: u64) {
        if let Some(brain) = self.brains.iter_mut().find(|brain| brain.number == number) {
            brain.alive = false;
        }
    }

    /// Harm likes the narrow places: the beginning of a pause and of a limbo.
    pub fn tempt(&mut self, node: usize, before: &Before) {
        let Some(life) = self.nodes[node].life.as_ref().filter(|_| self.chaos) else { return };
        let boot = life.boot;
        let paused = !life.member.status(life.env(self.now)).pause_id.is_empty();
        let limbo = matches!(life.member.role(), Role::Limbo(_));
        let target = match life.member.role() {
            Role::Limbo(limbo) => place_of(&limbo.record.to.host),
            _ => node,
        };
        if paused && before.pause_id.is_empty() && self.rng.chance(2_000) {
            let wait = self.rng.between(0, 3 * MS);
            self.after(wait, Thing::UserUnpause { node, boot });
        }
        let begins = limbo && !matches!(before.role, Role::Limbo(_));
        if begins {
            self.theme_at_limbo(node, target);
            self.parked_at_limbo(node);
        }
        if begins && self.theme.is_none() && self.rng.chance(2_000) {
            let wait = self.rng.between(0, 4 * MS);
            match self.rng.below(3) {
                0 => self.after(wait, Thing::Part { a: node.min(target), b: node.max(target) }),
                1 => self.after(wait, Thing::Crash { node: target }),
                _ => self.after(wait, Thing::Crash { node }),
            }
        }
    }

    pub fn part(&mut self, a: usize, b: usize) {
        let lasts = self.rng.between(50 * MS, 8 * SEC);
        self.part_for(a, b, lasts);
    }

    pub fn part_for(&mut self, a: usize, b: usize, lasts: u64) {
        if a == b || !self.chaos {
            return;
        }
        self.note(|| format!("places {a} and {b} are parted for {} ms", lasts / MS));
        self.parted.insert((a, b), self.now + lasts);
        self.after(lasts, Thing::Heal { a, b });
        self.cut_between(a, b);
    }

    pub fn drain(&mut self, node: usize) {
        if self.nodes[node].stopped.is_some() {
            return;
        }
        let Some(life) = &self.nodes[node].life else { return };
        let (boot, alone_at_us) = (life.boot, life.local(self.now) + 3 * SEC);
        self.note(|| format!("{} is told to stop", NAMES[node]));
        self.event(node, Event::Drain { alone_at_us }, &Cause::Other);
        self.after(15 * SEC, Thing::Exit { node, boot });
    }

    fn user_pause(&mut self, node: usize) {
        let lasts = self.rng.between(MS, SEC);
        let stopped = self.nodes[node].stopped.is_some();
        if let Some(life) = self.nodes[node].life.as_mut().filter(|_| !stopped) {
            let now = life.local(self.now);
            let until = now + lasts;
            life.member.user_pause(PauseKind::Write, now, until);
        }
        self.plan_tick(node);
    }

    /// No more harm: everything heals, and one operator remains.
    pub fn calm(&mut self) {
        self.note(|| "calm".into());
        self.chaos = false;
        self.request = None;
        self.parted.clear();
        self.deaf.clear();
        self.late_reads = 0;
        for node in &mut self.nodes {
            (node.failing, node.refusing) = (false, false);
            (node.full_until, node.stalled_until) = (0, 0);
        }
        for node in 0..NAMES.len() {
            self.go_on(node);
        }
        let alive: Vec<u64> =
            self.brains.iter().filter(|brain| brain.alive).map(|brain| brain.number).collect();
        for number in alive.iter().rev().skip(1) {
            self.kill_brain_for_good(*number);
        }
    }
}
