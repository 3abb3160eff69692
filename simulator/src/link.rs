//! Replication between two members: introductions, full and partial resynchronisation, the stream
//! and its acknowledgements, over connections that keep their order and may break.

use server::handover::{Epoch, Event, Peer, Target};

use crate::log::Log;
use crate::mark::Mark;
use crate::mutant::Mutant;
use crate::node::{Cause, place_of};
use crate::stream::Coming;
use crate::world::{MS, NAMES, Thing, UID, World};

/// A connection from a follower's life to a primary's life, of the stream or of a client's session.
#[derive(Debug)]
pub struct Conn {
    pub follower: (usize, u64),
    pub primary: (usize, u64),
    open: bool,
    /// The follower has closed its end in order: what it had sent still arrives.
    leaving: bool,
    /// Nothing overtakes: when the last message of each direction arrives.
    last: [u64; 2],
}

/// A follower's side.
#[derive(Debug)]
pub struct Follow {
    pub target: Target,
    pub epoch: Epoch,
    pub conn: Option<u64>,
    pub up: bool,
    /// When anything of the stream came last.
    pub heard: u64,
    pub coming: Coming,
}

/// A primary's side of one replica.
#[derive(Debug)]
pub struct Served {
    pub member: String,
    host: String,
    /// Records sent so far.
    pub sent: usize,
    pub acked: u64,
    durable: u64,
    pub online: bool,
}

/// What goes over such a connection.
#[derive(Debug)]
pub enum Wire {
    Hello {
        member: String,
        target: String,
        epoch: Epoch,
        replid: u64,
        offset: u64,
    },
    Welcome {
        epoch: Epoch,
        replid: u64,
        full: Option<Log>,
    },
    Refused,
    /// A part of the stream; and for the checkers the sender's offset and hash behind each command
    /// that begins with it.
    Stream(Vec<u8>, Vec<(u64, u64)>),
    /// Applied, and found again after a restart, up to these offsets.
    Ack(u64, u64),
    Answer {
        member: String,
        epoch: Epoch,
        accepted: bool,
    },
    Resigned {
        member: String,
    },
    /// Bytes of a client's session.
    Relay(Vec<u8>),
    /// The other side has closed, after all that it had sent.
    Closed,
}

impl World {
    /// Begins to follow, dropping another link.
    pub fn follow(&mut self, node: usize, target: Target, epoch: Epoch) {
        self.unfollow(node);
        let Some(life) = &mut self.nodes[node].life else { return };
        life.follow = Some(Follow {
            target,
            epoch,
            conn: None,
            up: false,
            heard: 0,
            coming: Coming::default(),
        });
        let boot = life.boot;
        self.after(0, Thing::Connect { node, boot });
    }

    pub fn unfollow(&mut self, node: usize) {
        let Some(life) = &mut self.nodes[node].life else { return };
        if let Some(conn) = life.follow.take().and_then(|follow| follow.conn) {
            self.send(conn, false, Wire::Closed);
            if let Some(ends) = self.conns.get_mut(&conn) {
                ends.leaving = true;
            }
        }
    }

    /// Serves nobody any more; what was sent still arrives.
    pub fn stop_serving(&mut self, node: usize) {
        let Some(life) = &mut self.nodes[node].life else { return };
        for conn in std::mem::take(&mut life.served).into_keys() {
            self.send(conn, true, Wire::Closed);
        }
    }

    pub fn connect(&mut self, node: usize, boot: u64) {
        let Some(life) = self.nodes[node].life.as_ref().filter(|life| life.boot == boot) else {
            return;
        };
        let Some(follow) = life.follow.as_ref().filter(|follow| follow.conn.is_none()) else {
            return;
        };
        let place = place_of(&follow.target.host);
        let hello = Wire::Hello {
            member: life.id(),
            target: follow.target.member.clone(),
            epoch: life.member.epoch().unwrap_or_default(),
            replid: life.replid,
            offset: life.log.offset(),
        };
        if !self.reaches(node, place) {
            return self.retry(node, boot);
        }
        let (conn, _) = self.open_conn(node, place);
        if let Some(follow) = self.nodes[node].life.as_mut().and_then(|life| life.follow.as_mut()) {
            follow.conn = Some(conn);
        }
        self.send(conn, false, hello);
    }

    fn reaches(&self, node: usize, place: usize) -> bool {
        self.nodes[place].life.is_some() && !self.parted(node, place)
    }

    /// A new connection to whatever process is at that place. False if there is none, which its opener
    /// hears a moment later.
    pub fn open_conn(&mut self, node: usize, place: usize) -> (u64, bool) {
        let conn = self.number();
        let boot_at = |node: usize| self.nodes[node].life.as_ref().map_or(0, |life| life.boot);
        let (boot, peer) = (boot_at(node), boot_at(place));
        let open = self.reaches(node, place);
        let (follower, primary) = ((node, boot), (place, peer));
        self.conns.insert(conn, Conn { follower, primary, open, leaving: false, last: [0; 2] });
        if !open {
            let delay = self.rng.between(MS, 20 * MS);
            self.after(delay, Thing::Wire { conn, to_follower: true, wire: Wire::Closed });
        }
        (conn, open)
    }

    fn retry(&mut self, node: usize, boot: u64) {
        let wait = self.rng.between(20 * MS, 200 * MS);
        self.after(wait, Thing::Connect { node, boot });
    }

    pub fn send(&mut self, conn: u64, to_follower: bool, wire: Wire) {
        self.send_later(conn, to_follower, wire, 0);
    }

    /// As [`World::send`]; it and all behind it take so much longer.
    pub fn send_later(&mut self, conn: u64, to_follower: bool, wire: Wire, wait: u64) {
        let Some(ends) = self.conns.get(&conn) else { return };
        let (a, b) = (ends.follower.0, ends.primary.0);
        if self.parted(a, b) || self.chaos && self.rng.chance(3) {
            return self.cut(conn);
        }
        // Nothing is lost on a connection: it comes when the way is open again.
        let (from, to) = if to_follower { (b, a) } else { (a, b) };
        let stalled = self.deaf_until(from, to).map_or(0, |until| until - self.now);
        let delay = self.delay() + stalled + wait;
        let Some(ends) = self.conns.get_mut(&conn) else { return };
        let last = &mut ends.last[usize::from(to_follower)];
        let at = (self.now + delay).max(*last);
        *last = at;
        self.at(at, Thing::Wire { conn, to_follower, wire });
    }

    /// Breaks a connection: what is under way is gone, both ends learn of it.
    fn cut(&mut self, conn: u64) {
        let Some(ends) = self.conns.get_mut(&conn) else { return };
        if !std::mem::replace(&mut ends.open, false) {
            return;
        }
        for to_follower in [false, true] {
            let delay = self.rng.between(MS, 300 * MS);
            self.after(delay, Thing::Wire { conn, to_follower, wire: Wire::Closed });
        }
    }

    pub fn cut_of(&mut self, node: usize) {
        let of = |ends: &Conn| ends.follower.0 == node && !ends.leaving || ends.primary.0 == node;
        let conns: Vec<u64> =
            self.conns.iter().filter(|(_, ends)| of(ends)).map(|(conn, _)| *conn).collect();
        for conn in conns {
            self.cut(conn);
        }
    }

    pub fn cut_between(&mut self, a: usize, b: usize) {
        let of = |ends: &Conn| {
            let pair = (ends.follower.0, ends.primary.0);
            pair == (a, b) || pair == (b, a)
        };
        let conns: Vec<u64> =
            self.conns.iter().filter(|(_, ends)| of(ends)).map(|(conn, _)| *conn).collect();
        for conn in conns {
            self.cut(conn);
        }
    }

    pub fn wire_came(&mut self, conn: u64, to_follower: bool, wire: Wire) {
        let Some(ends) = self.conns.get(&conn) else { return };
        let (node, boot) = if to_follower { ends.follower } else { ends.primary };
        let closed = matches!(wire, Wire::Closed);
        if !ends.open && !closed
            || self.nodes[node].life.as_ref().is_none_or(|life| life.boot != boot)
        {
            return;
        }
        match wire {
            Wire::Hello { member, target, epoch, replid, offset } => {
                self.introduced(node, conn, (member, target), epoch, (replid, offset));
            }
            Wire::Welcome { epoch, replid, full } => {
                self.welcomed(node, conn, epoch, replid, full);
            }
            Wire::Refused => self.link_lost(node, conn),
            Wire::Stream(bytes, sent) => self.stream_came(node, conn, bytes, sent),
            Wire::Ack(offset, durable) => self.ack_came(node, conn, offset, durable),
            Wire::Answer { member, epoch, accepted } => {
                let again =
                    Thing::TakeoverAnswer { node, boot, member: member.clone(), epoch, accepted };
                self.theme_at_answer(|| again);
                self.if_alive(node, boot, Event::Answer { member, epoch, accepted });
            }
            Wire::Resigned { member } => {
                self.event(node, Event::Resigned { member }, &Cause::Other);
            }
            Wire::Relay(bytes) if to_follower => self.relay_heard(node, conn, &bytes),
            Wire::Relay(bytes) => self.session_heard(node, conn, &bytes),
            Wire::Closed if to_follower => {
                self.link_lost(node, conn);
                self.relay_lost(node, conn);
            }
            Wire::Closed => {
                self.replica_lost(node, conn);
                self.session_lost(node, conn);
            }
        }
    }

    fn introduced(
        &mut self,
        node: usize,
        conn: u64,
        (member, target): (String, String),
        epoch: Epoch,
        (replid, offset): (u64, u64),
    ) {
        let (place, boot) = self.conns[&conn].follower;
        let Some(life) = &mut self.nodes[node].life else { return };
        let Ok(own) = life.member.may_serve(UID, &target, epoch) else {
            return self.send(conn, true, Wire::Refused);
        };
        let shared = replid == life.replid
            || life.replid2.is_some_and(|(old, until)| old == replid && offset <= until);
        let partial = if shared { life.log.count_at(offset) } else { None };
        let sent = partial.unwrap_or(life.log.count());
        let full = if partial.is_some() { None } else { Some(life.log.clone()) };
        let replid = life.replid;
        let host = NAMES[place].to_owned();
        let served = Served { member, host, sent, acked: 0, durable: 0, online: false };
        let mine = life.log.hash_at(offset);
        life.served.insert(conn, served);
        let mut late = false;
        if partial.is_some() {
            // What a process had asked for may come when it is gone, or follows another one: under
            // seed 9701 it lay on a way that was closed until then.
            let asks = |life: &&crate::node::Life| {
                let now = life.follow.as_ref().and_then(|follow| follow.conn);
                life.boot == boot && now == Some(conn)
            };
            let theirs = self.nodes[place].life.as_ref().filter(asks);
            late = theirs.is_none();
            if theirs.is_some_and(|life| life.log.hash_at(offset) != mine) {
                self.violated(&format!(
                    "{} continues {} at {offset}, where their histories differ",
                    NAMES[place], NAMES[node]
                ));
            }
        }
        if late {
            self.mark(Mark::LateIntroduction);
        }
        self.note(|| {
            let kind = if partial.is_some() { "partially" } else { "fully" };
            format!("{} resynchronises {kind} from {} at {own}", NAMES[place], NAMES[node])
        });
        self.send(conn, true, Wire::Welcome { epoch: own, replid, full });
        self.theme_at_welcome(node, place);
        self.feed(node);
    }

    pub fn current(&self, node: usize, conn: u64) -> bool {
        let life = self.nodes[node].life.as_ref();
        let follow = life.and_then(|life| life.follow.as_ref());
        follow.is_some_and(|follow| follow.conn == Some(conn))
    }

    fn welcomed(&mut self, node: usize, conn: u64, epoch: Epoch, replid: u64, full: Option<Log>) {
        if !self.current(node, conn) {
            return;
        }
        let Some(life) = &mut self.nodes[node].life else { return };
        if epoch < life.member.promised() {
            // A primary of the past: nothing of it may be taken.
            return self.link_lost(node, conn);
        }
        if full.is_some() {
            self.drop_files(node);
        }
        let Some(life) = &mut self.nodes[node].life else { return };
        life.replid = replid;
        life.replid2 = None;
        let replaced = full.map(|log| {
            life.log = log;
            life.log.data_epoch()
        });
        if let Some(follow) = &mut life.follow {
            follow.up = true;
            follow.heard = self.now;
        }
        self.event(node, Event::Linked { epoch }, &Cause::Other);
        if let Some(data_epoch) = replaced {
            self.event(node, Event::Replaced { data_epoch }, &Cause::Other);
            self.sync_soon(node);
        }
        self.acknowledge(node, conn);
    }

    fn ack_came(&mut self, node: usize, conn: u64, offset: u64, durable: u64) {
        let liar = self.mutant == Some(Mutant::PromoteWithoutT);
        let level = self.level_told(self.conns[&conn].follower.0);
        let Some(life) = &mut self.nodes[node].life else { return };
        let written = life.log.offset();
        let Some(served) = life.served.get_mut(&conn) else { return };
        served.acked = if liar { written } else { offset };
        served.durable = durable;
        let (member, host, acked) = (served.member.clone(), served.host.clone(), served.acked);
        let first = !std::mem::replace(&mut served.online, true);
        let event = if first {
            let target = Target { member, host, port: 1, hostname: String::new() };
            Event::ReplicaUp { peer: Peer { target, acked, durable, level } }
        } else {
            Event::Ack { member, offset: acked, durable }
        };
        self.event(node, event, &Cause::Other);
    }

    pub fn answer_on_link(&mut self, node: usize, epoch: Epoch, accepted: bool) {
        let Some(life) = &self.nodes[node].life else { return };
        let member = life.id();
        if let Some(conn) = life.follow.as_ref().and_then(|follow| follow.conn) {
            self.send(conn, false, Wire::Answer { member, epoch, accepted });
        }
    }

    fn link_lost(&mut self, node: usize, conn: u64) {
        if !self.current(node, conn) {
            return;
        }
        let Some(life) = &mut self.nodes[node].life else { return };
        let mut half = false;
        if let Some(follow) = &mut life.follow {
            (follow.conn, follow.up) = (None, false);
            half = std::mem::take(&mut follow.coming).has_any();
        }
        let boot = life.boot;
        if half {
            self.mark(Mark::HalfDropped);
        }
        self.retry(node, boot);
    }

    fn replica_lost(&mut self, node: usize, conn: u64) {
        let Some(life) = &mut self.nodes[node].life else { return };
        let Some(served) = life.served.remove(&conn) else { return };
        let again = life.served.values().any(|other| other.member == served.member);
        if !again {
            let member = served.member.clone();
            self.event(node, Event::ReplicaGone { member }, &Cause::Other);
            if self.mutant == Some(Mutant::CrashAsResignation) {
                let member = served.member;
                self.event(node, Event::Resigned { member }, &Cause::Other);
            }
        }
    }
}
