//! WAIT and WAITAOF: clients that wait until replicas have, or disks hold, what was written.

use crate::client::ClientId;
use crate::resp::{CommandError, errors};

use super::super::Engine;

pub(super) const GET_ACK: &[u8] = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// So many replicas have applied it.
    Applied(usize),
    /// This node's disk holds it, if `local`, and those of so many replicas.
    Durable { local: bool, replicas: usize },
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    pub local: bool,
    pub replicas: usize,
}

impl Need {
    fn is_met(self, reached: Reached) -> bool {
        match self {
            Self::Applied(count) => reached.replicas >= count,
            Self::Durable { local, replicas } => {
                reached.replicas >= replicas && (reached.local || !local)
            }
        }
    }
}

/// A client that waits.
#[derive(Debug)]
pub(super) struct Wait {
    pub client: ClientId,
    offset: u64,
    need: Need,
    deadline_ms: Option<u64>,
}

impl Engine {
    /// How much of the need is met for the stream as it stands now, if that is enough; else the
    /// client is answered later. A deadline of 0 is none.
    pub fn wait_for_copies(
        &mut self,
        client: ClientId,
        need: Need,
        timeout_ms: u64,
    ) -> Option<Reached> {
        let paused = self.stream_is_paused();
        let now_ms = self.now.mono_ms();
        let offset = self.rooms.replication.state.offset();
        let reached = self.reached(need, offset);
        let room = &mut self.rooms.replication;
        if need.is_met(reached) {
            return Some(reached);
        }
        let deadline_ms = (timeout_ms > 0).then(|| now_ms + timeout_ms);
        room.waits.push(Wait { client, offset, need, deadline_ms });
        if !paused && room.state.replicas.online().next().is_some() {
            room.state.append(GET_ACK);
        }
        self.flush_replicas();
        None
    }

    /// How many clients wait in WAIT or WAITAOF.
    pub fn waiting_for_copies(&self) -> usize {
        self.rooms.replication.waits.len()
    }

    /// What is met now, for who does not wait.
    pub fn copies_now(&self, need: Need) -> Reached {
        self.reached(need, self.rooms.replication.state.offset())
    }

    fn reached(&self, need: Need, offset: u64) -> Reached {
        let replicas = &self.rooms.replication.state.replicas;
        Reached {
            local: self.aof_durable_offset().is_some_and(|durable| durable >= offset),
            replicas: match need {
                Need::Applied(_) => replicas.holding(offset),
                Need::Durable { .. } => replicas.keeping(offset),
            },
        }
    }

    pub(in super::super) fn answer_waits(&mut self) {
        self.settle_waits(|wait, reached, _| wait.need.is_met(reached));
    }

    pub(super) fn expire_waits(&mut self) {
        self.settle_waits(|wait, _, now_ms| wait.deadline_ms.is_some_and(|at| at <= now_ms));
    }

    /// Replicas will not acknowledge here again: answers all who wait with what has been reached. A
    /// server that was made a replica by hand says so instead, as Valkey does. A member's clients are
    /// not to notice that their primary moved.
    pub fn end_waits(&mut self) {
        if self.is_managed() || !self.replication().is_replica() {
            return self.settle_waits(|_, _, _| true);
        }
        for wait in std::mem::take(&mut self.rooms.replication.waits) {
            self.refuse_wait(wait.client, &errors::UNBLOCKED.into());
        }
    }

    /// `appendonly` was turned off: who waits for this node's disk would wait for ever.
    pub(in super::super) fn refuse_local_waits(&mut self) {
        let local = |wait: &mut Wait| matches!(wait.need, Need::Durable { local: true, .. });
        let refused: Vec<Wait> = self.rooms.replication.waits.extract_if(.., local).collect();
        for wait in refused {
            self.refuse_wait(wait.client, &errors::NO_LOCAL_FILES.into());
        }
    }

    /// Ends a client's wait as if its time were over, or with an error; false if it does not wait.
    pub(in super::super) fn unblock_wait(
        &mut self,
        id: ClientId,
        why: Option<&CommandError>,
    ) -> bool {
        let waits = &mut self.rooms.replication.waits;
        let Some(at) = waits.iter().position(|wait| wait.client == id) else { return false };
        match why {
            Some(why) => {
                waits.remove(at);
                self.refuse_wait(id, why);
            }
            None => self.settle_waits(|wait, _, _| wait.client == id),
        }
        true
    }

    fn refuse_wait(&mut self, client: ClientId, why: &CommandError) {
        self.note_error(&why.0, None);
        self.answer(client, |client| client.reply().error(why));
    }

    fn settle_waits(&mut self, over: impl Fn(&Wait, Reached, u64) -> bool) {
        if self.rooms.replication.waits.is_empty() {
            return;
        }
        let now_ms = self.now.mono_ms();
        let mut answers = Vec::new();
        let mut waits = std::mem::take(&mut self.rooms.replication.waits);
        waits.retain(|wait| {
            let reached = self.reached(wait.need, wait.offset);
            let over = over(wait, reached, now_ms);
            if over {
                answers.push((wait.client, wait.need, reached));
            }
            !over
        });
        self.rooms.replication.waits = waits;
        for (id, need, reached) in answers {
            self.answer(id, |client| write_reached(client.reply(), need, reached));
        }
    }
}

/// The answer of WAIT or WAITAOF.
pub fn write_reached(mut reply: crate::resp::Reply<'_>, need: Need, reached: Reached) {
    if let Need::Durable { .. } = need {
        reply.array(2);
        reply.int(i64::from(reached.local));
    }
    reply.int(reached.replicas as i64);
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Bench;

    /// A server that had never had a replica answered at once, so that who wrote while the first one was
    /// on its way was told that nobody holds it. And CLIENT UNBLOCK did not find who waits.
    #[test]
    fn replicas_that_have_yet_to_come_are_waited_for_until_somebody_ends_it() {
        let mut bench = Bench::new(&[]);
        let (client, other) = (bench.client(), bench.client());
        assert_eq!(bench.ask(client, "WAIT 0 0"), ":0");
        let unblock = format!("CLIENT UNBLOCK {}", bench.id(client).serial);
        for (how, answer) in [("", ":0"), (" TIMEOUT", ":0"), (" ERROR", "-UNBLOCKED")] {
            assert_eq!(bench.ask(client, "WAIT 1 0"), "");
            assert_eq!(bench.ask(other, &format!("{unblock}{how}")), ":1");
            let told = bench.out(client);
            assert!(told.starts_with(answer), "{how}: {told}");
            assert_eq!(bench.ask(other, &format!("{unblock}{how}")), ":0");
        }
        assert_eq!(bench.ask(client, "PING"), "+PONG");
    }
}
