//! A client's session as a value, taken from and laid upon a connection; and the other end of the
//! relay, where this node runs sessions for the clients of another.

use crate::client::{Client, ClientId, Closing, Duty, Hold, ReplyMode, User};
use crate::command::{Flags, lookup, subcommand};
use crate::engine::blocking::Blocked;
use crate::engine::{Engine, hooks};
use crate::relay::envelope::{self, SessionState};
use crate::relay::link::return_request;
use crate::relay::session::{Argv, Multi, Pending, Replies, Session, Wait, encode};
use crate::resp::{OwnedArgs, Proto};

/// What a connection is that carries another node's client.
#[derive(Debug)]
pub struct SessionRun {
    /// Commands consumed, the one that waits for its answer included.
    pub consumed: u64,
    /// Commands whose answers were counted to the other node.
    reported: u64,
    /// Bytes appended to the output in envelopes since the connection began.
    sealed: u64,
    state: SessionState,
    touched: bool,
    /// Who the client is, as its node knows it: user and name.
    known: (User, Vec<u8>),
}

impl Engine {
    /// Takes the session off a client that is about to be relayed: what is carried is no longer
    /// here.
    pub(super) fn export(&mut self, client: &mut Client) -> Session {
        let watched = !client.watching.is_empty() || client.watch_broken;
        self.unwatch(client);
        let multi = client.multi.take().map(|multi| Multi {
            aborted: multi.broken,
            queue: multi.queue.iter().map(argv).collect(),
        });
        Session {
            user: self.acl.name_of(client.user).to_vec(),
            db: client.db,
            protocol: if client.proto == Proto::Resp3 { 3 } else { 2 },
            name: client.name.clone(),
            address: client.peer.map(|peer| peer.to_string().into_bytes()).unwrap_or_default(),
            multi,
            watched,
            replies: match client.reply_mode {
                ReplyMode::On => Replies::On,
                ReplyMode::Off => Replies::Off,
                ReplyMode::SkipNext | ReplyMode::Skipping => Replies::SkipNext,
            },
            pending: None,
        }
    }

    /// A blocked command as it is carried: with its place and the time that it has left.
    pub(super) fn pending_of(&self, blocked: &Blocked) -> Pending {
        let now_ms = self.now.mono_ms();
        let left_ms = blocked.deadline_ms.map(|deadline| deadline.saturating_sub(now_ms));
        let since_ms = now_ms.saturating_sub(blocked.since_ms);
        Pending { argv: argv(&blocked.args), wait: Some(Wait { since_ms, left_ms }) }
    }

    /// Lays a session that came back upon its client, and puts what was not executed before what
    /// it sent since.
    pub(super) fn take_back(&mut self, id: ClientId, session: &Session, unexecuted: Vec<Argv>) {
        let Some(mut client) = self.clients.take(id) else { return };
        let mut known = true;
        if self.acl.name_of(client.user) != session.user {
            // Its transaction held an AUTH.
            let user = self.acl_session_user(&session.user);
            known = user.is_some();
            client.user = user.unwrap_or(client.user);
        }
        client.name.clone_from(&session.name);
        Self::import(&mut client, session, unexecuted);
        self.clients.put_back(client);
        if !known {
            self.clients.close(id, Closing::AfterOutput);
        }
    }

    /// Lays a session upon a connection; `after` is executed behind its pending command.
    fn import(client: &mut Client, session: &Session, after: Vec<Argv>) {
        client.db = session.db;
        client.proto = if session.protocol == 3 { Proto::Resp3 } else { Proto::Resp2 };
        client.reply_mode = match session.replies {
            Replies::On => ReplyMode::On,
            Replies::Off => ReplyMode::Off,
            Replies::SkipNext => ReplyMode::SkipNext,
        };
        // Nobody saw what happened to the watched keys meanwhile, so EXEC answers null.
        client.watch_broken = session.watched;
        client.multi = session.multi.as_ref().map(|multi| Box::new(open_multi(multi)));
        client.carried_wait = session.pending.as_ref().and_then(|pending| pending.wait);
        let pending = session.pending.iter().map(|pending| pending.argv.clone());
        let mut input: Vec<u8> = pending.chain(after).flat_map(|argv| encode(&argv)).collect();
        input.append(&mut client.input);
        client.input = input;
        client.parser.reset();
    }

    /// `REDISHA SESSION`: the connection carries a client of another node from now on.
    pub(crate) fn open_session(&mut self, client: &mut Client, session: &Session) {
        client.name.clone_from(&session.name);
        client.reply().ok();
        let sealed = client.bytes_out + client.out.len() as u64;
        let state = SessionState {
            protocol: session.protocol,
            db: session.db,
            in_multi: session.multi.is_some(),
            watching: session.watched,
        };
        // The command that opens the session is itself consumed, but not counted.
        let known = (client.user, client.name.clone());
        let run = SessionRun { consumed: 0, reported: 1, sealed, state, touched: false, known };
        client.session = Some(Box::new(run));
        self.rooms.relays.sessions += 1;
        Self::import(client, session, Vec::new());
        self.resume(client.id);
    }

    /// A command of a session was consumed. A transaction may have changed who the client is: then the
    /// session goes back, since its node answers what is left to it, and opens the next one, as that
    /// user.
    #[inline]
    pub(in crate::engine) fn session_consumed(&mut self, client: &mut Client) {
        let Some(run) = &mut client.session else { return };
        run.consumed += 1;
        if !run.touched {
            run.touched = true;
            self.rooms.relays.touched.push(client.id);
        }
        let (user, name) = &run.known;
        let changed = *user != client.user || *name != client.name;
        if changed && client.closing == Closing::No {
            self.move_session_on(client, None);
        }
    }

    /// Puts into envelopes what this turn's commands answered; before outputs are written.
    pub(crate) fn seal_sessions(&mut self) {
        if self.rooms.relays.sessions == 0 {
            return;
        }
        let mut ids = std::mem::take(&mut self.rooms.relays.touched);
        ids.extend(self.clients.flush.iter().copied());
        for id in ids {
            if let Some(client) = self.clients.get_mut(id) {
                seal(client);
                if client.session.is_some() {
                    self.clients.queue_flush(id);
                }
            }
        }
    }

    /// This node is not the primary any more: every session goes back with what it has not
    /// executed.
    pub(super) fn move_sessions_on(&mut self) {
        let sessions: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|client| client.duty == Duty::Commands && client.session.is_some())
            .map(|client| client.id)
            .collect();
        for id in sessions {
            let blocked = self.take_blocked(id, Hold::None);
            let Some(mut client) = self.clients.take(id) else { continue };
            if client.hold == Hold::Paused {
                // "Not executed here" is this node's last word about what its gate held.
                hooks::held_command_answered(self);
            }
            let pending = blocked.map(|blocked| self.pending_of(&blocked));
            self.move_session_on(&mut client, pending);
            self.clients.put_back(client);
            self.clients.queue_flush(id);
        }
    }

    /// A session that waits for something cannot execute `REDISHA RETURN`, which is always the last
    /// that the other node sends; what came before it, that node still has.
    pub(in crate::engine) fn return_held_session(&mut self, client: &mut Client) {
        if client.closing != Closing::No || !client.input.ends_with(&return_request()) {
            return;
        }
        if client.hold == Hold::Paused {
            hooks::held_command_answered(self);
        }
        let blocked = self.forget_blocked(client);
        let pending = blocked.map(|blocked| self.pending_of(&blocked));
        self.move_session_on(client, pending);
    }

    /// Returns one session to the node of its client.
    pub(crate) fn move_session_on(&mut self, client: &mut Client, pending: Option<Pending>) {
        // What waits for something else than keys is run anew: its answer is still owed.
        let waits = u64::from(pending.is_some() || client.hold == Hold::Deferred);
        seal_with(client, waits);
        let mut session = self.export(client);
        session.pending = pending;
        envelope::put_moved_on(&mut client.out, &encode(&session.to_args()));
        if let Some(run) = &mut client.session {
            run.sealed = client.bytes_out + client.out.len() as u64;
        }
        client.hold = Hold::None;
        client.input.clear();
        client.closing = Closing::AfterOutput;
    }
}

fn seal(client: &mut Client) {
    let waits = u64::from(matches!(client.hold, Hold::Blocked | Hold::Deferred));
    seal_with(client, waits);
}

/// `waits` commands of those consumed have no answer yet.
fn seal_with(client: &mut Client, waits: u64) {
    let overflows = client.overflows();
    let Some(run) = &mut client.session else { return };
    if client.closing != Closing::No || overflows {
        return;
    }
    run.touched = false;
    let start = run.sealed.saturating_sub(client.bytes_out) as usize;
    let replies = client.out.split_off(start.min(client.out.len()));
    envelope::put_reply(&mut client.out, &replies);
    let state = SessionState {
        protocol: if client.proto == Proto::Resp3 { 3 } else { 2 },
        db: client.db,
        in_multi: client.multi.is_some(),
        watching: !client.watching.is_empty() || client.watch_broken,
    };
    if state != run.state {
        run.state = state;
        envelope::put_state(&mut client.out, state);
    }
    let answered = run.consumed.saturating_sub(waits).saturating_sub(run.reported);
    envelope::put_answered(&mut client.out, answered);
    run.reported += answered;
    run.sealed = client.bytes_out + client.out.len() as u64;
}

fn argv(args: &OwnedArgs) -> Argv {
    args.args().iter().map(<[u8]>::to_vec).collect()
}

fn open_multi(multi: &Multi) -> crate::client::Multi {
    let queue: Vec<OwnedArgs> = multi
        .queue
        .iter()
        .map(|argv| OwnedArgs::from_parts(argv.iter().map(Vec::as_slice)))
        .collect();
    let needs_memory = queue.iter().any(|args| {
        let args = args.args();
        lookup(args.at(0))
            .and_then(|row| subcommand(row, args))
            .is_some_and(|row| row.is(Flags::DENYOOM))
    });
    let bytes = queue.iter().map(OwnedArgs::size_bytes).sum();
    crate::client::Multi { queue, bytes, broken: multi.aborted, needs_memory, db: None }
}
