//! Clients at any member: what they ask is done where the primary is, once, and answered in order.
//!
//! A client that is served where it is needs no account of it. One whose command is led elsewhere has
//! an account, from then until its connection ends: what it asked and was not answered, its relay
//! ([`crate::relay`]), and what waits behind a command that is held or waits itself.
//!
//! Watched here: nothing is executed twice, every answer is to the oldest command that has none, and
//! what a relay brings back is all that was not answered, and was never executed.

use std::collections::VecDeque;

use server::handover::{Gate, Role};
use server::relay::session::Argv;

use crate::log::Rec;
use crate::mutant::Mutant;
use crate::relay::Relayed;
use crate::world::{NAMES, World};

/// How many clients with an account are connected to one member.
const CLIENTS: usize = 4;

/// A command of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A write, by its number.
    Write(u64),
    /// Waits for something to be written, and takes it: that is a write, too.
    Pop(u64),
    /// What is there; and what had been shown to anybody when this was asked.
    Read(u64),
}

impl Ask {
    pub fn argv(self) -> Argv {
        let (name, number) = match self {
            Self::Write(id) => ("SET", id),
            Self::Pop(id) => ("BLPOP", id),
            Self::Read(asked_at) => ("GET", asked_at),
        };
        vec![name.into(), number.to_string().into_bytes()]
    }

    /// The command that these arguments are.
    pub fn of(argv: &[Vec<u8>]) -> Option<Self> {
        let [name, number] = argv else { return None };
        let number = std::str::from_utf8(number).ok()?.parse().ok()?;
        match &name[..] {
            b"SET" => Some(Self::Write(number)),
            b"BLPOP" => Some(Self::Pop(number)),
            b"GET" => Some(Self::Read(number)),
            _ => None,
        }
    }

    pub fn number(self) -> u64 {
        match self {
            Self::Write(number) | Self::Pop(number) | Self::Read(number) => number,
        }
    }
}

/// Whose command something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A client's of this member, by its number; it may have no account.
    Client(u64),
    /// Of a client of another member, by the connection that carries its session.
    Session(u64),
}

/// Commands of one connection, in order.
#[derive(Debug, Default)]
pub struct Queue {
    /// What has come and is not dispatched.
    pub input: VecDeque<Ask>,
    /// One before them is held, waits for something, or for another attempt to relay it.
    pub busy: bool,
}

/// A client's connection, since a command of it was led elsewhere.
#[derive(Debug, Default)]
pub struct Client {
    pub queue: Queue,
    /// What it has not been answered, in order.
    pub asked: VecDeque<Ask>,
    pub relay: Option<Relayed>,
    /// Since when its session cannot be opened; and whether another attempt is due.
    pub waits_since: Option<u64>,
    pub retries: bool,
}

/// What became of a command.
enum Ran {
    /// Executed, or refused: its answer is given or owed.
    Done,
    /// It is held, or waits.
    Busy,
    /// It belongs to another member.
    Elsewhere,
}

impl World {
    /// A client asks something of a member: one that has asked before, or another one.
    pub fn ask_came(&mut self, node: usize, ask: Ask) {
        let Some(life) = &self.nodes[node].life else { return };
        let known: Vec<u64> = life.clients.keys().copied().collect();
        if known.len() > CLIENTS {
            let number = known[self.rng.below(known.len() as u64) as usize];
            return self.client_gone(node, number);
        }
        // Most that only read are content with what the member itself says, and are not relayed.
        let odds = if matches!(ask, Ask::Read(_)) { 300 } else { 5_000 };
        let joins = self.rng.chance(odds);
        if joins && !known.is_empty() {
            let number = known[self.rng.below(known.len() as u64) as usize];
            let Some(client) = self.client(node, number) else { return };
            client.asked.push_back(ask);
            client.queue.input.push_back(ask);
            return self.dispatch(node, Whose::Client(number));
        }
        let number = self.number();
        let elsewhere = matches!(self.step(node, Whose::Client(number), ask), Ran::Elsewhere);
        if elsewhere && (joins || !matches!(ask, Ask::Read(_))) {
            self.lead_away(node, number, ask);
        }
    }

    pub fn client(&mut self, node: usize, number: u64) -> Option<&mut Client> {
        self.nodes[node].life.as_mut()?.clients.get_mut(&number)
    }

    fn queue(&mut self, node: usize, whose: Whose) -> Option<&mut Queue> {
        let life = self.nodes[node].life.as_mut()?;
        match whose {
            Whose::Client(number) => life.clients.get_mut(&number).map(|one| &mut one.queue),
            Whose::Session(conn) => life.sessions.get_mut(&conn).map(|one| &mut one.queue),
        }
    }

    /// A client without an account gets one, and its command goes elsewhere.
    fn lead_away(&mut self, node: usize, number: u64, ask: Ask) {
        let Some(life) = &mut self.nodes[node].life else { return };
        let mut client = Client::default();
        client.asked.push_back(ask);
        client.queue.input.push_back(ask);
        life.clients.insert(number, client);
        self.dispatch(node, Whose::Client(number));
    }

    /// Does what has come on a connection, as far as that is possible now.
    pub fn dispatch(&mut self, node: usize, whose: Whose) {
        loop {
            let Some(queue) = self.queue(node, whose).filter(|queue| !queue.busy) else { return };
            let Some(ask) = queue.input.pop_front() else { return };
            if let Whose::Client(number) = whose
                && self.forwarded(node, number, ask)
            {
                continue;
            }
            match self.step(node, whose, ask) {
                Ran::Done => {}
                Ran::Busy => {
                    if let Some(queue) = self.queue(node, whose) {
                        queue.busy = true;
                    }
                }
                Ran::Elsewhere => {
                    if let Some(queue) = self.queue(node, whose) {
                        queue.input.push_front(ask);
                    }
                    // A session goes back as soon as its member leads its own clients away.
                    let Whose::Client(number) = whose else { return };
                    let Some(to) = self.belongs(node) else { return };
                    self.open_relay(node, number, to, None);
                }
            }
        }
    }

    /// A command at the member's gate.
    fn step(&mut self, node: usize, whose: Whose, ask: Ask) -> Ran {
        if self.reads_here(node, ask) {
            self.answered(node, whose, Some(ask.number()));
            return Ran::Done;
        }
        let (reads, waits) = (matches!(ask, Ask::Read(_)), matches!(ask, Ask::Pop(_)));
        let overridden = match ask {
            Ask::Write(_) => self.serves_in_limbo(node),
            Ask::Read(_) => self.reads_in_limbo(node),
            Ask::Pop(_) => false,
        };
        let led = waits && self.belongs(node).is_some();
        let now = self.now;
        let Some(life) = &mut self.nodes[node].life else { return Ran::Done };
        let gate = match life.member.gate(life.local(now), !reads, true) {
            _ if overridden => Gate::Open,
            _ if led => Gate::Elsewhere,
            gate => gate,
        };
        match (gate, ask) {
            // It changes nothing before there is something to take.
            (Gate::Open | Gate::Hold, Ask::Pop(_)) => life.parked.push_back((whose, ask)),
            (Gate::Open, Ask::Write(id)) => {
                self.execute(node, whose, id, overridden);
                return Ran::Done;
            }
            (Gate::Open, Ask::Read(asked_at)) => {
                self.read(node, whose, asked_at);
                return Ran::Done;
            }
            (Gate::Hold, _) => {
                life.member.note_held();
                life.held.push_back((whose, ask));
            }
            (Gate::Refuse, _) => {
                self.answered(node, whose, None);
                return Ran::Done;
            }
            (Gate::Elsewhere, _) => return Ran::Elsewhere,
        }
        Ran::Busy
    }

    fn serves_in_limbo(&self, node: usize) -> bool {
        let limbo = self.checks.limbo[node].as_ref();
        self.mutant == Some(Mutant::ResumeByTimer)
            && limbo.is_some_and(|limbo| limbo.pause_until <= self.now)
    }

    fn execute(&mut self, node: usize, whose: Whose, id: u64, overridden: bool) {
        let waits = self.nodes[node]
            .life
            .as_ref()
            .is_some_and(|life| !overridden && life.member.waits_for_commit());
        if !waits {
            self.check_acknowledged(node, id);
        }
        self.check_executed(node, id);
        if self.rng.chance(1_500) {
            self.append_unit(node, [Rec::Begin, Rec::Part(id), Rec::Write(id), Rec::End]);
        } else {
            self.append_unit(node, [Rec::Write(id)]);
        }
        if waits {
            self.owe_write(node, whose, id);
        } else {
            self.answered(node, whose, Some(id));
        }
        self.serve_parked(node);
    }

    fn check_executed(&mut self, node: usize, id: u64) {
        if !self.checks.executed.insert(id) {
            self.violated(&format!("{} executes {id} for the second time", NAMES[node]));
        }
    }

    /// Something was written: the first of those who wait for it is served.
    fn serve_parked(&mut self, node: usize) {
        let now = self.now;
        let Some(life) = &mut self.nodes[node].life else { return };
        if !life.member.waits_for_commit()
            || life.member.gate(life.local(now), true, true) != Gate::Open
        {
            return;
        }
        let Some((whose, ask)) = life.parked.pop_front() else { return };
        let id = ask.number();
        self.check_executed(node, id);
        self.append_unit(node, [Rec::Write(id)]);
        self.owe_write(node, whose, id);
        self.goes_on(node, whose);
    }

    /// What a connection's next commands waited for is over.
    pub fn goes_on(&mut self, node: usize, whose: Whose) {
        if let Some(queue) = self.queue(node, whose) {
            queue.busy = false;
            self.dispatch(node, whose);
        }
    }

    /// What the gate has held is decided now, in the order in which it came.
    pub fn held_go_on(&mut self, node: usize) {
        let Some(life) = &mut self.nodes[node].life else { return };
        for (whose, ask) in std::mem::take(&mut life.held) {
            if let Some(queue) = self.queue(node, whose) {
                queue.input.push_front(ask);
                self.goes_on(node, whose);
            } else if let Whose::Client(number) = whose
                && matches!(self.step(node, whose, ask), Ran::Elsewhere)
            {
                self.lead_away(node, number, ask);
            }
        }
    }

    /// An answer leaves the member: to the command of that number, or a refusal.
    pub fn answered(&mut self, node: usize, whose: Whose, id: Option<u64>) {
        match whose {
            Whose::Client(number) => self.client_hears(node, number, id),
            Whose::Session(conn) => self.session_answers(conn, id),
        }
    }

    /// A client is answered.
    pub fn client_hears(&mut self, node: usize, number: u64, id: Option<u64>) {
        let Some(client) = self.client(node, number) else { return };
        let oldest = client.asked.pop_front();
        if oldest.is_none_or(|ask| id.is_some_and(|id| id != ask.number())) {
            let name = NAMES[node];
            self.violated(&format!("{name} answers {id:?} to a client that asked {oldest:?}"));
        }
    }

    /// Where those who wait at this member belong; of a mutant already before it knows that they do.
    pub fn belongs(&self, node: usize) -> Option<server::handover::Target> {
        let early = self.mutant == Some(Mutant::PopServedTwice);
        match self.nodes[node].life.as_ref()?.member.role() {
            Role::Follower { primary, .. } => Some(primary.clone()),
            Role::Limbo(limbo) if early => Some(limbo.record.to.clone()),
            _ => None,
        }
    }

    /// A client's connection ends; by the member's hand, if it cannot say what became of a command.
    pub fn client_gone(&mut self, node: usize, number: u64) {
        let Some(life) = &mut self.nodes[node].life else { return };
        let Some(client) = life.clients.remove(&number) else { return };
        life.forget(Whose::Client(number));
        if let Some(relay) = client.relay {
            self.close(relay.conn, false);
        }
    }
}

impl crate::node::Life {
    /// A connection is gone: nothing of it waits here any more. Returns what did.
    pub fn forget(&mut self, whose: Whose) -> Option<Ask> {
        self.held.retain(|(of, _)| *of != whose);
        let at = self.parked.iter().position(|(of, _)| *of == whose)?;
        self.parked.remove(at).map(|(_, ask)| ask)
    }
}
