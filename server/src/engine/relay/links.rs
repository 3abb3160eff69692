//! What happens on the links to the new primary.

use crate::client::{Client, ClientId, Closing, Hold};
use crate::engine::effects::{LinkEvent, Timer};
use crate::engine::waiting::OUTPUT_FULL_BYTES;
use crate::engine::{Engine, hooks};
use crate::relay::link::{Fate, Outcome};
use crate::relay::session::{Argv, Replies, Session};
use crate::resp::{CommandError, Proto};

use super::Waiting;

/// Between two attempts to open a session, in milliseconds.
const RETRY_MS: u64 = 10;
/// After so long without a node that takes the session over, in milliseconds, held commands are
/// answered with an error.
const GIVE_UP_MS: u64 = 10_000;
/// How long the other side may take to open a session, or to give it back, in milliseconds.
pub(super) const ANSWER_MS: u64 = 5_000;
/// It means "not executed, try again" to every stock library.
const UNREACHABLE: &str = "LOADING the new primary cannot be reached; the command was not executed";

impl Engine {
    /// Something happened on a relay's link. `link` is the running client.
    pub(in crate::engine) fn relay_link_event(&mut self, link: &mut Client, event: &LinkEvent<'_>) {
        let Some(id) = self.rooms.relays.by_link.get(&link.id).copied() else { return };
        match event {
            LinkEvent::Connected => {
                if let Some(relayed) = self.rooms.relays.relayed.get_mut(&id) {
                    link.out.append(&mut relayed.hello);
                }
            }
            LinkEvent::Data(bytes) => {
                let Some(relayed) = self.rooms.relays.relayed.get_mut(&id) else { return };
                for outcome in relayed.account.receive(bytes, &mut link.out) {
                    self.relay_outcome(link, id, outcome);
                }
            }
            LinkEvent::Closed | LinkEvent::Failed(_) => self.relay_link_lost(link.id, id),
        }
    }

    fn relay_outcome(&mut self, link: &mut Client, id: ClientId, outcome: Outcome) {
        let db = match &outcome {
            Outcome::State(state) => state.db,
            Outcome::MovedOn { session, .. } => session.db,
            _ => 0,
        };
        // A node with other directives, or none at all.
        let outcome = if db < self.config.databases { outcome } else { Outcome::Broken };
        match outcome {
            Outcome::Opened => {
                self.rooms.relays.waiting.remove(&id.serial);
                let relays = &mut self.rooms.relays;
                let target = relays.redirect.as_ref().map(|redirect| &redirect.target);
                if let Some(relayed) = relays.relayed.get_mut(&id) {
                    relayed.carried = None;
                    if target.is_some_and(|target| target.is_node(&relayed.target)) {
                        relayed.until_ms = None;
                    }
                }
            }
            Outcome::Reply(bytes) => {
                if let Some(client) = self.clients.get_mut(id) {
                    client.out.extend_from_slice(&bytes);
                    if client.out.len() > OUTPUT_FULL_BYTES {
                        // As when it is served here: it goes on when that was written.
                        client.output_full = true;
                        link.hold = Hold::Relayed;
                    }
                    self.clients.queue_flush(id);
                }
            }
            Outcome::Answered(count) => self.relay_answered(id, count),
            Outcome::State(state) => {
                if let Some(client) = self.clients.get_mut(id) {
                    client.proto = if state.protocol == 3 { Proto::Resp3 } else { Proto::Resp2 };
                    client.db = state.db;
                }
            }
            Outcome::MovedOn { session, unexecuted } => {
                link.closing = Closing::Now;
                self.forget_relay(id);
                self.take_back(id, &session, unexecuted);
                self.relay_go_on(id);
            }
            Outcome::Refused { text: _, unexecuted } => {
                link.closing = Closing::Now;
                self.relay_again(id, unexecuted);
            }
            Outcome::Broken => {
                link.closing = Closing::Now;
                self.forget_relay(id);
                self.clients.close(id, Closing::AfterOutput);
            }
        }
    }

    fn relay_answered(&mut self, id: ClientId, count: u64) {
        hooks::held_command_answered(self);
        self.relay_repeat(id, count);
        let Some(relayed) = self.rooms.relays.relayed.get(&id) else { return };
        if relayed.account.in_flight() == 0 {
            self.relay_go_on(id);
        }
    }

    /// Pushes that may have overtaken the answers which have come now.
    fn relay_repeat(&mut self, id: ClientId, count: u64) {
        let Some(relayed) = self.rooms.relays.relayed.get_mut(&id) else { return };
        relayed.answered += count;
        let answered = relayed.answered;
        let due = relayed.repeats.iter().take_while(|(behind, _)| *behind <= answered).count();
        let pushes: Vec<_> = relayed.repeats.drain(..due).collect();
        if let Some(client) = self.clients.get_mut(id) {
            for (_, push) in pushes {
                client.out.extend_from_slice(&push);
            }
            self.clients.queue_flush(id);
        }
    }

    /// The client's next command may run.
    fn relay_go_on(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id)
            && client.hold == Hold::Relayed
        {
            client.hold = Hold::None;
        }
        self.resume(id);
    }

    fn relay_link_lost(&mut self, link: ClientId, id: ClientId) {
        self.rooms.relays.by_link.remove(&link);
        let Some(relayed) = self.rooms.relays.relayed.get_mut(&id) else { return };
        match relayed.account.lost(relayed.hello.is_empty()) {
            Fate::Idle => {
                self.forget_relay(id);
                self.relay_go_on(id);
            }
            Fate::NotExecuted(unexecuted) => self.relay_again(id, unexecuted),
            Fate::Unknown => {
                self.forget_relay(id);
                self.clients.close(id, Closing::AfterOutput);
            }
        }
    }

    /// The session was not opened: the client takes it back and tries again a moment later.
    fn relay_again(&mut self, id: ClientId, unexecuted: Vec<Argv>) {
        let carried = self.forget_relay(id);
        let Some(session) = carried else { return };
        let commands = unexecuted.len() + usize::from(session.pending.is_some());
        let now_ms = self.now.mono_ms();
        let waiting = self.rooms.relays.waiting.entry(id.serial);
        let since_ms = waiting.or_insert(Waiting { client: id, since_ms: now_ms }).since_ms;
        self.rooms.relays.refresh();
        if now_ms.saturating_sub(since_ms) > GIVE_UP_MS {
            return self.relay_give_up(id, &session, commands);
        }
        self.take_back(id, &session, unexecuted);
        if let Some(client) = self.clients.get_mut(id) {
            client.hold = Hold::Relayed;
            self.timers.at(now_ms + RETRY_MS, Timer::Relay(id.serial));
        }
    }

    fn relay_give_up(&mut self, id: ClientId, session: &Session, commands: usize) {
        self.rooms.relays.waiting.remove(&id.serial);
        self.rooms.relays.refresh();
        if session.multi.is_some() {
            // Without the refused command the transaction is another one.
            return self.clients.close(id, Closing::AfterOutput);
        }
        let emptied = Session { pending: None, ..session.clone() };
        self.take_back(id, &emptied, Vec::new());
        if let Some(client) = self.clients.get_mut(id) {
            let answered = match session.replies {
                Replies::On => commands,
                Replies::SkipNext => commands.saturating_sub(1),
                Replies::Off => 0,
            };
            for _ in 0..answered {
                client.reply().error(&CommandError::from(UNREACHABLE));
            }
            self.clients.queue_flush(id);
        }
        self.relay_go_on(id);
    }

    /// Time to try again.
    pub(in crate::engine) fn relay_timer(&mut self, serial: u64) {
        if let Some(waiting) = self.rooms.relays.waiting.get(&serial) {
            self.relay_go_on(waiting.client);
        }
    }

    /// The client is not relayed any more; returns what the other side has not taken over.
    fn forget_relay(&mut self, id: ClientId) -> Option<Session> {
        let relayed = self.rooms.relays.relayed.remove(&id)?;
        self.relayed_forgets(id);
        self.rooms.relays.by_link.remove(&relayed.link);
        self.rooms.relays.refresh();
        relayed.carried
    }

    /// Its way changes again: a client that keeps copies begins anew.
    fn relayed_forgets(&mut self, id: ClientId) {
        if self.tracking.is_on()
            && let Some(mut client) = self.clients.take(id)
        {
            self.tell_to_forget(&mut client);
            self.clients.put_back(client);
            self.clients.queue_flush(id);
        }
    }

    /// A relayed client has taken what it was answered: more of its answers may be read.
    pub(in crate::engine) fn relay_read_on(&mut self, id: ClientId) {
        if let Some(relayed) = self.rooms.relays.relayed.get(&id)
            && let Some(link) = self.clients.get_mut(relayed.link)
        {
            link.hold = Hold::None;
            self.clients.queue_flush(relayed.link);
        }
    }

    /// Ends a link that has nothing in flight.
    pub(super) fn drop_link(&mut self, id: ClientId) {
        if let Some(relayed) = self.rooms.relays.relayed.get(&id) {
            let link = relayed.link;
            self.forget_relay(id);
            self.clients.close(link, Closing::Now);
        }
    }

    /// Clients are served here again, or led to another node: every session that runs elsewhere is
    /// asked back. A node that does not answer any more cannot keep its clients: see
    /// [`Self::relay_cron`].
    pub(super) fn ask_sessions_back(&mut self) {
        let until_ms = self.now.mono_ms() + ANSWER_MS;
        let relays = &mut self.rooms.relays;
        let target = relays.redirect.as_ref().map(|redirect| &redirect.target);
        for relayed in relays.relayed.values_mut() {
            if target.is_some_and(|target| target.is_node(&relayed.target)) {
                continue;
            }
            relayed.until_ms.get_or_insert(until_ms);
            if let Some(link) = self.clients.get_mut(relayed.link) {
                relayed.account.ask_return(&mut link.out);
                self.clients.queue_flush(relayed.link);
            }
        }
        let waiting: Vec<_> = self.rooms.relays.waiting.drain().map(|(_, w)| w.client).collect();
        self.rooms.relays.refresh();
        for id in waiting {
            self.relay_go_on(id);
        }
    }

    /// Ten times a second: a link whose other side accepted the connection and says nothing, or
    /// whose machine was lost, is as good as closed.
    pub(in crate::engine) fn relay_cron(&mut self) {
        let now_ms = self.now.mono_ms();
        let relayed = self.rooms.relays.relayed.iter();
        let late: Vec<_> = relayed
            .filter(|(_, relayed)| relayed.until_ms.is_some_and(|until_ms| until_ms <= now_ms))
            .map(|(id, relayed)| (*id, relayed.link))
            .collect();
        for (id, link) in late {
            self.relay_link_lost(link, id);
            self.clients.close(link, Closing::Now);
        }
    }
}
