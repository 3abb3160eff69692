//! The other end of a relay, where a member runs sessions of another one's clients: it takes what the
//! server's own [`Link`](server::relay::link::Link) sends, and answers in the server's envelopes.
//!
//! Watched here: what is relayed never comes back to the member that relays it.

use server::handover::Role;
use server::relay::envelope;
use server::relay::session::{Argv, Pending, Session, Wait, encode};
use server::resp::{Args, Limits, Parsed, Parser};

use crate::answer::Owed;
use crate::client::{Ask, Client, Queue, Whose};
use crate::link::Wire;
use crate::mark::Mark;
use crate::mutant::Mutant;
use crate::world::{NAMES, World};

/// A session that this member runs.
#[derive(Debug)]
pub struct Run {
    session: Session,
    pub queue: Queue,
}

/// What came on a session's connection.
enum Said {
    Auth,
    Open(Session),
    Return,
    Ask(Ask),
}

impl World {
    /// The relaying member has sent something.
    pub fn session_heard(&mut self, node: usize, conn: u64, bytes: &[u8]) {
        for argv in commands(bytes) {
            let Some(said) = said(&argv) else {
                return self.violated(&format!("{} is sent {argv:?} in a session", NAMES[node]));
            };
            match said {
                Said::Auth => self.send_bytes(conn, true, b"+OK\r\n".to_vec()),
                Said::Open(session) => {
                    if !self.session_opens(node, conn, session) {
                        // What follows was meant for a session; none of it may run outside of one.
                        return;
                    }
                }
                Said::Return => self.session_returns(node, conn),
                Said::Ask(ask) => {
                    let Some(life) = &mut self.nodes[node].life else { return };
                    let Some(run) = life.sessions.get_mut(&conn) else { return };
                    run.queue.input.push_back(ask);
                    self.dispatch(node, Whose::Session(conn));
                }
            }
        }
    }

    fn session_opens(&mut self, node: usize, conn: u64, mut session: Session) -> bool {
        let name = NAMES[node];
        if session.address.starts_with(format!("{name}:").as_bytes()) {
            self.violated(&format!("what {name} relayed is led back to it"));
        }
        let Some(life) = &mut self.nodes[node].life else { return false };
        if !matches!(life.member.role(), Role::Primary { .. }) {
            self.mark(Mark::RelayGivenBack);
            if self.mutant == Some(Mutant::RelayCircle)
                && let Some(target) = self.belongs(node)
                && let Some(life) = &mut self.nodes[node].life
            {
                let mut client = Client::default();
                client.asked.extend(session.pending.as_ref().and_then(|one| Ask::of(&one.argv)));
                life.clients.insert(conn, client);
                self.open_session(node, conn, target, session);
                return false;
            }
            self.send_bytes(conn, true, b"-NOTREADY this node is not the primary\r\n".to_vec());
            self.close(conn, true);
            return false;
        }
        let mut queue = Queue::default();
        if let Some(pending) = session.pending.take() {
            queue.input.extend(Ask::of(&pending.argv));
        }
        life.sessions.insert(conn, Run { session, queue });
        self.send_bytes(conn, true, b"+OK\r\n".to_vec());
        self.dispatch(node, Whose::Session(conn));
        true
    }

    /// A command of a session is answered.
    pub fn session_answers(&mut self, conn: u64, id: Option<u64>) {
        let mut bytes = Vec::new();
        let reply = id.map_or("-NOTREADY\r\n".into(), |id| format!(":{id}\r\n"));
        envelope::put_reply(&mut bytes, reply.as_bytes());
        envelope::put_answered(&mut bytes, 1);
        self.send_bytes(conn, true, bytes);
    }

    /// The relaying member wants the session back. It knows what it sent: only a command that waits
    /// for something goes along.
    fn session_returns(&mut self, node: usize, conn: u64) {
        let Some(bytes) = self.session_ends(node, conn) else { return };
        let Some(life) = &mut self.nodes[node].life else { return };
        if life.member.waits_for_commit() || !life.owed.is_empty() {
            // Its answers before are written first.
            life.owed.push_back(Owed::last(Whose::Session(conn), life.data_end, bytes));
            return self.settle(node);
        }
        self.session_is_back(conn, bytes);
    }

    /// The last that is said on a session's connection.
    pub fn session_is_back(&mut self, conn: u64, bytes: Vec<u8>) {
        self.send_bytes(conn, true, bytes);
        self.close(conn, true);
    }

    /// Clients are led elsewhere now: every session goes back with what it has not executed.
    pub fn sessions_move_on(&mut self, node: usize) {
        let Some(life) = &self.nodes[node].life else { return };
        let all: Vec<u64> = life.sessions.keys().copied().collect();
        for conn in all {
            if let Some(bytes) = self.session_ends(node, conn) {
                self.session_is_back(conn, bytes);
            }
        }
    }

    /// The session as it goes back.
    fn session_ends(&mut self, node: usize, conn: u64) -> Option<Vec<u8>> {
        let life = self.nodes[node].life.as_mut()?;
        let run = life.sessions.remove(&conn)?;
        let waits = life.forget(Whose::Session(conn));
        let wait = Some(Wait { since_ms: 1, left_ms: None });
        let pending = waits.map(|ask| Pending { argv: ask.argv(), wait });
        let session = Session { pending, ..run.session };
        let mut bytes = Vec::new();
        envelope::put_moved_on(&mut bytes, &encode(&session.to_args()));
        Some(bytes)
    }

    /// The relaying member is gone, or its client is.
    pub fn session_lost(&mut self, node: usize, conn: u64) {
        let Some(life) = &mut self.nodes[node].life else { return };
        if life.sessions.remove(&conn).is_some() {
            life.forget(Whose::Session(conn));
        }
    }

    /// What a session executed may be lost or may come to pass: its connection ends without a word.
    pub fn close_session(&mut self, node: usize, conn: u64) {
        self.session_lost(node, conn);
        self.close(conn, true);
    }

    /// One side of a session's connection has ended it.
    pub fn close(&mut self, conn: u64, to_origin: bool) {
        self.send(conn, to_origin, Wire::Closed);
    }
}

fn commands(bytes: &[u8]) -> Vec<Argv> {
    let (mut parser, mut rest, mut all) = (Parser::default(), bytes, Vec::new());
    while let Ok(Parsed::Command { len }) = parser.parse(rest, &Limits::authenticated(1 << 20)) {
        let args = Args::new(&rest[..len], &parser.spans);
        all.push(args.iter().map(<[u8]>::to_vec).collect());
        rest = &rest[len..];
    }
    all
}

fn said(argv: &Argv) -> Option<Said> {
    let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    match words[..] {
        [b"AUTH", b"member", b"secret"] => Some(Said::Auth),
        [b"REDISHA", b"RETURN"] => Some(Said::Return),
        [b"REDISHA", b"SESSION", ref fields @ ..] => {
            Session::from_args(fields).ok().map(Said::Open)
        }
        _ => Ask::of(argv).map(Said::Ask),
    }
}
