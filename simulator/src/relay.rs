//! The relaying end: a client's commands go to the primary over the server's own [`Link`], and it is
//! told what the link says of them. What the engine of the server does around it is done here.
//!
//! A link's connection may be lost at any point. What was not sent, or came back, is tried again;
//! what may have run never is, and its client's connection ends.

use server::handover::Target;
use server::relay::link::{Credentials, Fate, Link, Outcome};
use server::relay::session::{Argv, Pending, Session, Wait, encode};

use crate::client::{Ask, Client, Whose};
use crate::link::Wire;
use crate::mark::Mark;
use crate::mutant::Mutant;
use crate::world::{MS, NAMES, SEC, Thing, World};

/// Between two attempts to open a session (the server waits for a tenth of that; worlds would hold
/// little else), and after how long there is no other.
const RETRY: u64 = 100 * MS;
const GIVE_UP: u64 = 10 * SEC;
/// How long the other side may take to open a session, or to give it back.
const ANSWER: u64 = 5 * SEC;

/// A client's way to another member.
#[derive(Debug)]
pub struct Relayed {
    pub conn: u64,
    account: Link,
    target: Target,
    /// The other side listened, so that the first bytes are on their way.
    greeted: bool,
    /// What was sent along, kept until the other side has taken it over.
    carried: Option<Session>,
    /// When the other side must have opened the session, or given it back.
    until: Option<u64>,
}

impl World {
    /// Opens a session for a client on the member where it belongs; `pending` goes along.
    pub fn open_relay(&mut self, node: usize, number: u64, target: Target, pending: Option<Ask>) {
        let wait = Some(Wait { since_ms: 1, left_ms: None });
        let session = Session {
            user: b"default".to_vec(),
            protocol: 2,
            address: format!("{}:{number}", NAMES[node]).into_bytes(),
            pending: pending.map(|ask| Pending { argv: ask.argv(), wait }),
            ..Session::default()
        };
        self.open_session(node, number, target, session);
    }

    pub fn open_session(&mut self, node: usize, number: u64, target: Target, session: Session) {
        let credentials =
            Credentials { user: b"member".to_vec(), password: b"secret".to_vec().into() };
        let (account, hello) = Link::open(Some(&credentials), &session);
        let (conn, greeted) = self.open_conn(node, crate::node::place_of(&target.host));
        let until = self.now + ANSWER;
        let relayed =
            Relayed { conn, account, target, greeted, carried: Some(session), until: Some(until) };
        let Some(life) = &mut self.nodes[node].life else { return };
        let boot = life.boot;
        let client = life.clients.entry(number).or_default();
        client.queue.busy = false;
        client.relay = Some(relayed);
        self.at(until, Thing::RelayDue { node, boot, client: number });
        if greeted {
            self.send(conn, false, Wire::Relay(hello));
        }
    }

    /// Sends a command of a client that is relayed; false if it is not.
    pub fn forwarded(&mut self, node: usize, number: u64, ask: Ask) -> bool {
        let relayed = |client: &mut Client| client.relay.is_some();
        if !self.client(node, number).is_some_and(relayed) {
            return false;
        }
        if self.reads_here(node, ask) {
            self.client_hears(node, number, Some(ask.number()));
            return true;
        }
        let Some(relay) = self.client(node, number).and_then(|one| one.relay.as_mut()) else {
            return false;
        };
        let (conn, mut out) = (relay.conn, Vec::new());
        relay.account.send(encode(&ask.argv()), &mut out);
        self.send_bytes(conn, false, out);
        true
    }

    /// Bytes, if there are any, of a session's connection.
    pub fn send_bytes(&mut self, conn: u64, to_origin: bool, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.send(conn, to_origin, Wire::Relay(bytes));
        }
    }

    fn relayed_over(&self, node: usize, conn: u64) -> Option<u64> {
        let clients = &self.nodes[node].life.as_ref()?.clients;
        let over = |client: &Client| client.relay.as_ref().is_some_and(|relay| relay.conn == conn);
        clients.iter().find(|(_, client)| over(client)).map(|(number, _)| *number)
    }

    /// The other side has sent something.
    pub fn relay_heard(&mut self, node: usize, conn: u64, bytes: &[u8]) {
        let Some(number) = self.relayed_over(node, conn) else { return };
        let Some(relay) = self.client(node, number).and_then(|one| one.relay.as_mut()) else {
            return;
        };
        let mut out = Vec::new();
        let outcomes = relay.account.receive(bytes, &mut out);
        self.send_bytes(conn, false, out);
        for outcome in outcomes {
            self.relay_outcome(node, number, conn, outcome);
        }
    }

    fn relay_outcome(&mut self, node: usize, number: u64, conn: u64, outcome: Outcome) {
        match outcome {
            Outcome::Opened => {
                let redirect =
                    self.nodes[node].life.as_ref().and_then(|life| life.redirect.clone());
                let Some(client) = self.client(node, number) else { return };
                client.waits_since = None;
                if let Some(relay) = &mut client.relay {
                    relay.carried = None;
                    if redirect.as_ref() == Some(&relay.target) {
                        relay.until = None;
                    }
                }
            }
            Outcome::Reply(bytes) => {
                for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    let text = std::str::from_utf8(line).unwrap_or_default().trim_end();
                    let id = text.strip_prefix(':').and_then(|id| id.parse().ok());
                    self.client_hears(node, number, id);
                }
            }
            Outcome::Answered(_) => self.check_account(node, number),
            Outcome::State(_) => {}
            Outcome::MovedOn { session, unexecuted } => {
                self.close(conn, false);
                if session.pending.is_some() || !unexecuted.is_empty() {
                    self.mark(Mark::SessionReturned);
                }
                self.take_back(node, number, session.pending, unexecuted);
                self.goes_on(node, Whose::Client(number));
            }
            Outcome::Refused { unexecuted, .. } => {
                self.close(conn, false);
                self.relay_again(node, number, unexecuted);
            }
            Outcome::Broken => {
                self.violated(&format!("a session that {} relays is broken", NAMES[node]));
            }
        }
    }

    /// The link has in flight what its client has not been answered, no more and no less.
    fn check_account(&mut self, node: usize, number: u64) {
        let Some(client) = self.client(node, number) else { return };
        let Some(relay) = &client.relay else { return };
        let (asked, flying) = (client.asked.len(), relay.account.in_flight());
        let (waiting, name) = (client.queue.input.len(), NAMES[node]);
        if asked != flying + waiting {
            self.violated(&format!(
                "{name} has {flying} commands in flight and {waiting} behind them of {asked} asked"
            ));
        }
    }

    /// What was not executed stands before what the client sent since.
    fn take_back(
        &mut self,
        node: usize,
        number: u64,
        pending: Option<Pending>,
        unexecuted: Vec<Argv>,
    ) {
        let pending = pending.map(|pending| pending.argv);
        let back: Vec<Argv> = pending.into_iter().chain(unexecuted).collect();
        let back: Vec<Ask> = back.iter().filter_map(|argv| Ask::of(argv)).collect();
        let done = |ask: &&Ask| match ask {
            Ask::Write(id) | Ask::Pop(id) => self.checks.executed.contains(id),
            Ask::Read(_) => false,
        };
        let done = back.iter().find(done).copied();
        let Some(client) = self.client(node, number) else { return };
        client.relay = None;
        for ask in back.into_iter().rev() {
            client.queue.input.push_front(ask);
        }
        let (asked, left, name) = (&client.asked, &client.queue.input, NAMES[node]);
        let broken = match done {
            Some(ask) => Some(format!("{name} takes {ask:?} back, which was executed")),
            None if asked == left => None,
            None => Some(format!("{name} takes {left:?} back of {asked:?}")),
        };
        if let Some(line) = broken {
            self.violated(&line);
        }
    }

    /// The session was not opened: it is tried again a moment later, for some time.
    fn relay_again(&mut self, node: usize, number: u64, unexecuted: Vec<Argv>) {
        let now = self.now;
        let Some(client) = self.client(node, number) else { return };
        let carried = client.relay.as_mut().and_then(|relay| relay.carried.take());
        let since = *client.waits_since.get_or_insert(now);
        let Some(session) = carried else { return };
        if now > since + GIVE_UP {
            // Its client is told that none of it was executed.
            return self.client_gone(node, number);
        }
        self.take_back(node, number, session.pending, unexecuted);
        if let Some(client) = self.client(node, number) {
            (client.queue.busy, client.retries) = (true, true);
        }
        let Some(boot) = self.nodes[node].life.as_ref().map(|life| life.boot) else { return };
        self.after(RETRY, Thing::RelayAgain { node, boot, client: number });
    }

    pub fn relay_retries(&mut self, node: usize, boot: u64, number: u64) {
        if self.nodes[node].life.as_ref().is_none_or(|life| life.boot != boot) {
            return;
        }
        let waits = |client: &mut Client| std::mem::take(&mut client.retries);
        if self.client(node, number).is_some_and(waits) {
            self.goes_on(node, Whose::Client(number));
        }
    }

    /// The connection to the other side is gone.
    pub fn relay_lost(&mut self, node: usize, conn: u64) {
        let Some(number) = self.relayed_over(node, conn) else { return };
        let resends = self.mutant == Some(Mutant::RelayResends);
        let Some(client) = self.client(node, number) else { return };
        let Some(relay) = &mut client.relay else { return };
        match relay.account.lost(relay.greeted) {
            Fate::Idle => {
                client.relay = None;
                self.goes_on(node, Whose::Client(number));
            }
            Fate::NotExecuted(unexecuted) => self.relay_again(node, number, unexecuted),
            Fate::Unknown => {
                if resends {
                    client.relay = None;
                    client.queue.input.clone_from(&client.asked);
                    self.goes_on(node, Whose::Client(number));
                } else {
                    self.client_gone(node, number);
                }
                self.mark(Mark::OutcomeUnknown);
            }
        }
    }

    /// A side that takes too long to open a session, or to give it back, is as good as gone.
    pub fn relay_due(&mut self, node: usize, boot: u64, number: u64) {
        let now = self.now;
        let Some(life) = self.nodes[node].life.as_ref().filter(|life| life.boot == boot) else {
            return;
        };
        let relay = life.clients.get(&number).and_then(|client| client.relay.as_ref());
        let late = relay.filter(|relay| relay.until.is_some_and(|until| until <= now));
        if let Some(conn) = late.map(|relay| relay.conn) {
            self.close(conn, false);
            self.relay_lost(node, conn);
        }
    }

    /// The member leads its clients to another one, or serves or refuses them itself: sessions that
    /// run elsewhere are asked back, and whoever waits here, or came from elsewhere, goes along.
    pub fn redirected(&mut self, node: usize, target: Option<Target>) {
        let until = self.now + ANSWER;
        let Some(life) = &mut self.nodes[node].life else { return };
        if life.redirect == target {
            return;
        }
        life.redirect.clone_from(&target);
        let boot = life.boot;
        let (mut asked_back, mut waiting) = (Vec::new(), Vec::new());
        for (number, client) in &mut life.clients {
            client.waits_since = None;
            if std::mem::take(&mut client.retries) {
                waiting.push(*number);
            }
            let elsewhere = |relay: &&mut Relayed| Some(&relay.target) != target.as_ref();
            if let Some(relay) = client.relay.as_mut().filter(elsewhere) {
                let mut out = Vec::new();
                relay.account.ask_return(&mut out);
                relay.until.get_or_insert(until);
                asked_back.push((*number, relay.conn, out));
            }
        }
        for (number, conn, out) in asked_back {
            self.send_bytes(conn, false, out);
            self.at(until, Thing::RelayDue { node, boot, client: number });
        }
        for number in waiting {
            self.goes_on(node, Whose::Client(number));
        }
        if let Some(target) = target {
            self.sessions_move_on(node);
            self.lead_parked(node, &target);
        }
    }

    /// Those who wait for something here are led to where it will be written.
    fn lead_parked(&mut self, node: usize, target: &Target) {
        let Some(life) = &mut self.nodes[node].life else { return };
        for (whose, ask) in std::mem::take(&mut life.parked) {
            let Whose::Client(number) = whose else { continue };
            self.mark(Mark::PopLed);
            let Some(life) = &mut self.nodes[node].life else { return };
            life.clients
                .entry(number)
                .or_insert_with(|| Client { asked: [ask].into(), ..Client::default() });
            self.open_relay(node, number, target.clone(), Some(ask));
            self.dispatch(node, whose);
        }
    }

    /// Begins to give its epoch away: who waits here is told nothing before the outcome is known.
    pub fn parked_at_limbo(&mut self, node: usize) {
        if self.mutant != Some(Mutant::PopServedTwice) {
            return;
        }
        let parked = self.nodes[node].life.as_ref().map(|life| life.parked.clone());
        let Some(target) = self.belongs(node) else { return };
        for (_, ask) in parked.unwrap_or_default() {
            let number = self.number();
            if let Some(life) = &mut self.nodes[node].life {
                life.clients.entry(number).or_default().asked.push_back(ask);
            }
            self.open_relay(node, number, target.clone(), Some(ask));
        }
    }
}
