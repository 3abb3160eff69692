//! Clients at any member: what they write is executed where the primary is, once, and a member that
//! is not the primary passes it on and answers nothing by itself.
//!
//! Watched here: nothing is executed twice, and what is relayed never comes back to a member that
//! has relayed it.

use server::handover::{Gate, Role};

use crate::log::Rec;
use crate::mark::Mark;
use crate::mutant::Mutant;
use crate::node::Life;
use crate::world::{MS, NAMES, Thing, World};

/// The members that relayed a command on its way, a bit for each.
pub type Way = u8;

impl World {
    /// A client's write comes to a member; by a relay if it has a way behind it.
    pub fn write_came(&mut self, node: usize, id: u64, way: Way) {
        if way & (1 << node) != 0 {
            let name = NAMES[node];
            self.violated(&format!("what {name} relayed is led back to it"));
        }
        let overridden = self.serves_in_limbo(node);
        let now = self.now;
        let Some(life) = &mut self.nodes[node].life else { return };
        let gate =
            if overridden { Gate::Open } else { life.member.gate(life.local(now), true, true) };
        match gate {
            Gate::Open => self.execute(node, id, overridden),
            Gate::Hold => {
                life.member.note_held();
                life.held.push(id);
            }
            Gate::Refuse => {}
            Gate::Elsewhere => self.relay(node, id, way),
        }
    }

    fn serves_in_limbo(&self, node: usize) -> bool {
        let limbo = self.checks.limbo[node].as_ref();
        self.mutant == Some(Mutant::ResumeByTimer)
            && limbo.is_some_and(|limbo| limbo.pause_until <= self.now)
    }

    fn execute(&mut self, node: usize, id: u64, overridden: bool) {
        let waits = self.nodes[node]
            .life
            .as_ref()
            .is_some_and(|life| !overridden && life.member.waits_for_commit());
        if !waits {
            self.check_acknowledged(node, id);
        }
        self.check_executed(node, id);
        let half = self.rng.chance(1_500).then_some(Rec::Part(id));
        self.append_unit(node, half.into_iter().chain([Rec::Write(id)]));
        if waits {
            self.owe_write(node, id);
        }
        self.serve_parked(node);
    }

    fn check_executed(&mut self, node: usize, id: u64) {
        if !self.checks.executed.insert(id) {
            self.violated(&format!("{} executes {id} for the second time", NAMES[node]));
        }
    }

    /// Passes a client's write on to the primary. Whoever it comes to and is not the primary either
    /// gives it back, and it is dispatched again.
    fn relay(&mut self, node: usize, id: u64, way: Way) {
        let Some(place) = self.nodes[node].life.as_ref().and_then(Life::leads_to) else { return };
        if way != 0 {
            self.mark(Mark::RelayGivenBack);
        }
        if way != 0 && self.mutant != Some(Mutant::RelayCircle) {
            let origin = way.trailing_zeros() as usize;
            if self.rng.chance(5_000)
                && let Some(delay) = self.way(node, origin)
            {
                let wait = delay + self.rng.between(10 * MS, 50 * MS);
                self.after(wait, Thing::Write { node: origin, id, way: 0 });
            }
            return;
        }
        let Some(delay) = self.way(node, place) else { return };
        let way = way | 1 << node;
        self.after(delay, Thing::Write { node: place, id, way });
        // The link is lost behind it: it may have run, so its client's connection ends.
        let lost = self.rng.chance(500);
        if lost && self.mutant == Some(Mutant::RelayResends) {
            let wait = delay + self.rng.between(MS, 20 * MS);
            self.after(wait, Thing::Write { node: place, id, way });
        }
    }

    /// A client waits at a member for something to be written, which it then takes: that is a write.
    pub fn pop_came(&mut self, node: usize, id: u64, relayed: bool) {
        let Some(life) = &mut self.nodes[node].life else { return };
        match (life.member.role(), life.leads_to()) {
            (Role::Primary { .. } | Role::Limbo(_), _) => life.parked.push(id),
            (_, Some(place)) if !relayed => self.lead_pop(node, place, id),
            _ => {}
        }
    }

    fn lead_pop(&mut self, node: usize, place: usize, id: u64) {
        if let Some(delay) = self.way(node, place) {
            self.after(delay, Thing::Pop { node: place, id, relayed: true });
        }
    }

    /// Something was written: one of those who wait for it is served.
    fn serve_parked(&mut self, node: usize) {
        let now = self.now;
        let Some(life) = &mut self.nodes[node].life else { return };
        if !life.member.waits_for_commit()
            || life.member.gate(life.local(now), true, true) != Gate::Open
        {
            return;
        }
        let Some(id) = life.parked.pop() else { return };
        self.check_executed(node, id);
        self.append_unit(node, [Rec::Write(id)]);
        self.owe_write(node, id);
    }

    /// Begins to give its epoch away: who waits here is told nothing before the outcome is known.
    pub fn parked_at_limbo(&mut self, node: usize, target: usize) {
        if self.mutant != Some(Mutant::PopServedTwice) {
            return;
        }
        let parked = self.nodes[node].life.as_ref().map(|life| life.parked.clone());
        for id in parked.unwrap_or_default() {
            self.lead_pop(node, target, id);
        }
    }

    /// The member follows another one now, where those who wait here are led to, or serves nobody.
    pub fn lead_parked(&mut self, node: usize, place: Option<usize>) {
        let Some(life) = &mut self.nodes[node].life else { return };
        let parked = std::mem::take(&mut life.parked);
        let Some(place) = place else { return };
        for id in parked {
            self.mark(Mark::PopLed);
            self.lead_pop(node, place, id);
        }
    }
}
