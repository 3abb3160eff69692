//! FAILOVER on a server that no operator manages: writes are held until a replica is level, then
//! this server follows that replica by a `PSYNC … FAILOVER`, at which it becomes the primary. Stock
//! servers know the same exchange, so either side may be one.
//!
//! The answer to that PSYNC may be lost, and the replica a primary all the same. So it is asked again
//! (asking twice does no harm) while writes stay held, until it answers or a person says ABORT. When
//! it has taken over, and is a server of ours, clients are relayed to it as long as it is followed;
//! the others are told READONLY, or where to go, as Valkey does.

use crate::client::Client;
use crate::replication::Replica;
use crate::resp::CommandError;

use super::super::pause::{Reason, Scope};
use super::super::{Engine, hooks};
use super::waits::GET_ACK;

/// What FAILOVER was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    pub target: Option<(String, u16)>,
    /// The target takes over when the time is up, level or not.
    pub force: bool,
    pub timeout_ms: Option<u64>,
}

/// A failover under way.
#[derive(Debug)]
pub struct Failover {
    wish: Wish,
    deadline_ms: Option<u64>,
    /// The offsets before and behind the question how far the replicas are: who acknowledges the
    /// first has all data.
    asked: (u64, u64),
    /// The replica is asked to take over; whether clients can be relayed to it.
    asking: Option<bool>,
}

impl Engine {
    pub fn is_failing_over(&self) -> bool {
        self.rooms.replication.failover.is_some()
    }

    /// The word that INFO shows.
    pub(super) fn failover_word(&self) -> &'static str {
        match &self.rooms.replication.failover {
            None => "no-failover",
            Some(Failover { asking: None, .. }) => "waiting-for-sync",
            Some(_) => "failover-in-progress",
        }
    }

    /// Begins to hand over to a replica.
    pub fn fail_over(&mut self, wish: Wish) -> Result<(), CommandError> {
        if self.is_failing_over() {
            return Err("ERR FAILOVER already in progress.".into());
        }
        let state = &self.rooms.replication.state;
        if state.is_replica() {
            return Err("ERR FAILOVER is not valid when server is a replica.".into());
        }
        if state.replicas.iter().next().is_none() {
            return Err("ERR FAILOVER requires connected replicas.".into());
        }
        if wish.force && (wish.timeout_ms.is_none() || wish.target.is_none()) {
            return Err("ERR FAILOVER with force option requires both a timeout and target HOST \
                        and IP."
                .into());
        }
        if let Some(target) = &wish.target {
            let named = |replica: &&Replica| is_at(replica, target);
            if !state.replicas.iter().any(|replica| named(&replica)) {
                return Err("ERR FAILOVER target HOST and PORT is not a replica.".into());
            }
            if !state.replicas.online().any(|replica| named(&replica)) {
                return Err("ERR FAILOVER target replica is not online.".into());
            }
        }
        let deadline_ms = wish.timeout_ms.map(|ms| self.now.mono_ms().saturating_add(ms));
        let before = self.stream_offset();
        if !self.stream_is_paused() && self.replication().records() {
            self.rooms.replication.state.append(GET_ACK);
            self.flush_replicas();
        }
        let asked = (before, self.stream_offset());
        let failover = Failover { wish, deadline_ms, asked, asking: None };
        self.rooms.replication.failover = Some(failover);
        self.pause.set(Reason::Failover, Scope::Writes, None);
        hooks::stream_changed(self);
        hooks::log(self, "FAILOVER: writes are held until a replica is level");
        self.failover_turn();
        Ok(())
    }

    /// A replica has acknowledged more, or time has passed.
    pub(super) fn failover_turn(&mut self) {
        let Some(failover) = &self.rooms.replication.failover else { return };
        if failover.asking.is_some() {
            return;
        }
        let offset = self.stream_offset();
        let level = if offset == failover.asked.1 { failover.asked.0 } else { offset };
        let wanted = |replica: &&Replica| {
            failover.wish.target.as_ref().is_none_or(|target| is_at(replica, target))
        };
        let late = failover.deadline_ms.is_some_and(|at_ms| at_ms <= self.now.mono_ms());
        let forced = late && failover.wish.force;
        let mut replicas = self.replication().replicas.online().filter(wanted);
        let found = replicas.find(|replica| forced || replica.acked >= level);
        let found = found.map(|replica| (replica.host.clone(), replica.port, replica.relays));
        drop(replicas);
        // Under FORCE even who is out of reach as a replica may be in reach all the same.
        let named = failover.wish.target.clone().filter(|_| forced);
        match found.or_else(|| named.map(|(host, port)| (host, port, false))) {
            Some((host, port, relays)) => self.ask_to_take_over(&host, port, relays),
            None if late => self.end_failover("no replica was level in time"),
            None => {}
        }
    }

    fn ask_to_take_over(&mut self, host: &str, port: u16, relays: bool) {
        if let Some(failover) = &mut self.rooms.replication.failover {
            failover.asking = Some(relays);
        }
        hooks::log(self, &format!("FAILOVER: {host}:{port} is asked to take over"));
        self.follow_primary(host, port, None);
        if let Some(link) = &mut self.rooms.replication.state.link {
            link.config.failover = true;
        }
    }

    /// The replica that was asked has taken over.
    pub(super) fn failover_done(&mut self) {
        let relays = match &self.rooms.replication.failover {
            Some(Failover { asking: Some(relays), .. }) => *relays,
            _ => return,
        };
        self.rooms.replication.failover = None;
        if let Some(link) = &mut self.rooms.replication.state.link {
            link.config.failover = false;
        }
        hooks::log(self, "FAILOVER: the replica has taken over");
        self.lead_to_successor(relays);
        self.let_writes_go_on();
    }

    /// The replica refused; this server goes on as the primary. `link` is the running client.
    pub(super) fn failover_refused(&mut self, link: &mut Client, why: &str) {
        link.closing = crate::client::Closing::Now;
        self.end_failover(why);
    }

    /// `FAILOVER ABORT`; false when there is nothing to abort.
    pub fn abort_failover(&mut self) -> bool {
        let under_way = self.is_failing_over();
        if under_way {
            self.end_failover("aborted by FAILOVER ABORT");
        }
        under_way
    }

    fn end_failover(&mut self, why: &str) {
        let Some(failover) = self.rooms.replication.failover.take() else { return };
        hooks::warn(self, &format!("FAILOVER ended, this server goes on as the primary: {why}"));
        if failover.asking.is_some() {
            self.lead_stream(false);
        }
        self.let_writes_go_on();
    }

    fn let_writes_go_on(&mut self) {
        self.pause.end(Reason::Failover);
        hooks::stream_changed(self);
        self.resume_soon();
    }

    /// `PSYNC id offset FAILOVER`: the primary of this replica hands over. Who leads already has
    /// been told before.
    pub fn take_over(&mut self, id: &[u8]) -> Result<(), CommandError> {
        if self.is_managed() {
            return Err("ERR this server is managed: its role is its operator's to change".into());
        }
        if !self.replication().is_replica() {
            return Ok(());
        }
        if self.replication().history.id.as_str().as_bytes() != id {
            return Err("ERR PSYNC FAILOVER replid must match my replid.".into());
        }
        hooks::log(self, "taking over from the primary, which asked for it");
        self.lead_stream(false);
        Ok(())
    }
}

fn is_at(replica: &Replica, (host, port): &(String, u16)) -> bool {
    replica.host == *host && replica.port == *port
}
