//! The stream from a primary to its replicas, as bytes, which the server's own reader cuts into what
//! is applied at once. It may come in pieces that are cut anywhere.
//!
//! Watched here: a replica applies what its primary has, command by command, at the same offsets.

use std::collections::VecDeque;

use server::handover::{Event, Record};
use server::replication::{Stream, Unit};
use server::resp::{Args, Limits, Parsed, Parser};

use crate::link::Wire;
use crate::log::Rec;
use crate::mutant::Mutant;
use crate::node::{Cause, record_of};
use crate::world::{NAMES, World};

/// What came on a connection and is not applied.
#[derive(Debug, Default)]
pub struct Coming {
    stream: Stream,
    /// How many bytes of it there are.
    behind: u64,
    /// Of a mutant: what was received and not even cut.
    received: Vec<u8>,
    /// Of the checkers: the primary's offset and hash behind each command that it sent.
    sent: VecDeque<(u64, u64)>,
}

impl Coming {
    pub fn has_any(&self) -> bool {
        self.behind > 0
    }
}

impl World {
    /// Sends to every replica what it has not been sent.
    pub fn feed(&mut self, node: usize) {
        let Some(life) = &mut self.nodes[node].life else { return };
        let mut batches = Vec::new();
        for (conn, served) in &mut life.served {
            let entries = life.log.since(served.sent).to_vec();
            served.sent = life.log.count();
            if !entries.is_empty() {
                batches.push((*conn, entries));
            }
        }
        for (conn, entries) in batches {
            let (mut bytes, mut inside) = (Vec::with_capacity(64 * entries.len()), None);
            for entry in &entries {
                if entry.rec == Rec::Begin {
                    inside = Some(bytes.len() as u64);
                }
                entry.rec.encode(&mut bytes);
            }
            let sent = entries.iter().map(|entry| (entry.end, entry.hash)).collect();
            // What belongs together may come in two pieces, cut at any byte.
            let cut = match inside {
                Some(from) if self.nodes[node].halving > 0 || self.rng.chance(5_000) => from,
                None if self.rng.chance(300) => 0,
                _ => bytes.len() as u64 - 1,
            };
            let cut = self.rng.between(cut, bytes.len() as u64 - 1) + 1;
            let rest = bytes.split_off(cut as usize);
            self.send(conn, true, Wire::Stream(bytes, sent));
            if !rest.is_empty() {
                let halves = inside.is_some();
                let wait = &mut self.nodes[node].halving;
                let wait = if halves { std::mem::take(wait) } else { 0 };
                self.send_later(conn, true, Wire::Stream(rest, Vec::new()), wait);
            }
        }
    }

    pub fn stream_came(
        &mut self,
        node: usize,
        conn: u64,
        mut bytes: Vec<u8>,
        sent: Vec<(u64, u64)>,
    ) {
        if !self.current(node, conn) {
            return;
        }
        let now = self.now;
        let Some(life) = &mut self.nodes[node].life else { return };
        let Some(follow) = &mut life.follow else { return };
        follow.heard = now;
        let coming = &mut follow.coming;
        coming.sent.extend(sent);
        coming.behind += bytes.len() as u64;
        match self.mutant {
            Some(Mutant::ReceiveAsApply) => {
                // Only records are applied at once, so that a switch goes on at all.
                let records = bytes.windows(8).any(|word| word == b"redisha:");
                coming.received.append(&mut bytes);
                if !records {
                    let end = life.log.offset() + coming.behind;
                    return self.send(conn, false, Wire::Ack(end, 0));
                }
                coming.stream.feed(&std::mem::take(&mut coming.received));
            }
            Some(Mutant::HalfCounts) => coming.received.append(&mut bytes),
            _ => coming.stream.feed(&bytes),
        }
        while self.current(node, conn) {
            let Some(unit) = self.next_unit(node) else { break };
            for rec in unit {
                if !self.apply(node, rec) {
                    return;
                }
            }
        }
        if self.current(node, conn) {
            self.sync_soon(node);
            self.acknowledge(node, conn);
        }
    }

    /// What is applied next, at once, as the server's own reader cuts the stream.
    fn next_unit(&mut self, node: usize) -> Option<Vec<Rec>> {
        let alone = self.mutant == Some(Mutant::HalfCounts);
        let coming = &mut self.nodes[node].life.as_mut()?.follow.as_mut()?.coming;
        let (mut unit, mut length) = (Vec::new(), 0);
        let more = if alone {
            length = next_command(&mut coming.received, &mut unit);
            Ok(length > 0)
        } else {
            coming.stream.next(|next, raw| {
                length = raw.len();
                match next {
                    Unit::One(args) => unit.extend(Rec::of(args)),
                    Unit::Transaction(all) => {
                        unit.push(Rec::Begin);
                        unit.extend(all.iter().filter_map(|one| Rec::of(one.args())));
                        unit.push(Rec::End);
                    }
                }
            })
        };
        coming.behind -= length as u64;
        match more {
            Ok(true) => Some(unit),
            Ok(false) => None,
            Err(error) => {
                self.violated(&format!("{}: {error}", NAMES[node]));
                None
            }
        }
    }

    /// Applies one command of the stream. False if it is not what was sent.
    fn apply(&mut self, node: usize, rec: Rec) -> bool {
        self.raise_floor(node, &rec);
        let Some(life) = &mut self.nodes[node].life else { return false };
        let record = record_of(&rec);
        let start = life.log.offset();
        let hash = life.log.append(rec).hash;
        let end = life.log.offset();
        let sent = life.follow.as_mut().and_then(|follow| follow.coming.sent.pop_front());
        if sent != Some((end, hash)) {
            let name = NAMES[node];
            self.violated(&format!("{name} applies at {end} what belongs to {sent:?}"));
            return false;
        }
        let Some(mut record) = record else { return true };
        if self.mutant == Some(Mutant::TwoOwners)
            && let Record::Handover(handover) = &mut record
            && let Some(life) = &self.nodes[node].life
        {
            handover.to = life.member.identity().here.clone();
        }
        self.event(node, Event::Applied { record, start }, &Cause::Other);
        true
    }

    pub fn acknowledge(&mut self, node: usize, conn: u64) {
        if self.current(node, conn)
            && let Some(life) = &mut self.nodes[node].life
        {
            let (offset, durable) = (life.log.offset(), self.told_durable(node));
            let Some(life) = &mut self.nodes[node].life else { return };
            let at = life.local(self.now);
            life.member.granted(at);
            life.granted_at = self.now;
            self.send(conn, false, Wire::Ack(offset, durable));
        }
    }
}

/// Of a mutant: one command, whatever belongs to it. Returns how many bytes it has.
fn next_command(received: &mut Vec<u8>, unit: &mut Vec<Rec>) -> usize {
    let mut parser = Parser::default();
    let parsed = parser.parse(received, &Limits::authenticated(1 << 20));
    let Ok(Parsed::Command { len }) = parsed else { return 0 };
    unit.extend(Rec::of(Args::new(&received[..len], &parser.spans)));
    received.drain(..len);
    len
}
