//! One client's way to the new primary: what was sent there, what was answered, what was not.
//!
//! Pure: commands and received bytes in, bytes to send and outcomes out. Commands go out only
//! after the other side has opened the session, so that a node which cannot run it executes
//! nothing. The link keeps every command until the other side counts it as answered; therefore it
//! can always tell which commands certainly were not executed, which ones may have been, and never
//! repeats the latter.

use std::collections::VecDeque;

use super::envelope::{self, Frame, SessionState};
use super::session::{Argv, Session, decode, encode};
use crate::secret::Secret;

/// The answers before a session is open are lines, none of them longer.
const LINE_MAX_BYTES: usize = 64 * 1024;

/// The way of one client to the node that runs its session.
#[derive(Debug)]
pub struct Link {
    phase: Phase,
    /// Commands that wait for the session to open, then those not yet counted as answered.
    in_flight: VecDeque<Vec<u8>>,
    in_flight_bytes: usize,
    input: Vec<u8>,
    state: SessionState,
    /// The first command in flight went along with the session.
    carries_pending: bool,
    /// The session was asked back: what comes now is kept here.
    returning: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// This many `+OK` lines are still to come before the session is open.
    Opening(usize),
    Open,
    Ended,
}

/// How the relaying node proves to the other that it may open sessions.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub user: Vec<u8>,
    pub password: Secret,
}

/// What the other node's bytes mean for the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has taken the session over.
    Opened,
    /// Bytes to pass on to the client as they are.
    Reply(Vec<u8>),
    /// So many commands are answered.
    Answered(u64),
    /// The session has another RESP version, database or transaction state.
    State(SessionState),
    /// The session came back: it goes on with this state, and these commands, in order, were not
    /// executed.
    MovedOn { session: Box<Session>, unexecuted: Vec<Argv> },
    /// The session was never opened. It still has its pending command; these, in order, came after
    /// it and were not executed.
    Refused { text: String, unexecuted: Vec<Argv> },
    /// The other side does not keep the protocol: what was sent may have been executed.
    Broken,
}

/// What became of the commands of a link whose connection was lost.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing was in flight: the session can be opened again when it is needed.
    Idle,
    /// The session was not open yet. It still has its pending command; these came after it, and
    /// were not executed.
    NotExecuted(Vec<Argv>),
    /// A command may or may not have been executed, or a transaction was lost: the client must be
    /// closed, as a server that dies closes it.
    Unknown,
}

/// The request that gives a session back, as it is sent.
pub fn return_request() -> Vec<u8> {
    encode(&[b"REDISHA".to_vec(), b"RETURN".to_vec()])
}

impl Link {
    /// A link and the first bytes to send on a fresh connection.
    pub fn open(credentials: Option<&Credentials>, session: &Session) -> (Self, Vec<u8>) {
        let mut bytes = Vec::new();
        let mut answers = 1;
        if let Some(Credentials { user, password }) = credentials {
            bytes.extend(encode(&[b"AUTH".to_vec(), user.clone(), password.to_vec()]));
            answers += 1;
        }
        let mut argv = vec![b"REDISHA".to_vec(), b"SESSION".to_vec()];
        argv.extend(session.to_args());
        bytes.extend(encode(&argv));
        let state = SessionState {
            protocol: session.protocol,
            db: session.db,
            in_multi: session.multi.is_some(),
            watching: session.watched,
        };
        let mut in_flight = VecDeque::new();
        if let Some(pending) = &session.pending {
            // The other side answers it without being asked again; it counts like any other.
            in_flight.push_back(encode(&pending.argv));
        }
        let link = Self {
            phase: Phase::Opening(answers),
            carries_pending: !in_flight.is_empty(),
            in_flight_bytes: in_flight.iter().map(Vec::len).sum(),
            in_flight,
            input: Vec::new(),
            state,
            returning: false,
        };
        (link, bytes)
    }

    /// Takes a command, encoded as RESP; appends to `out` what may be sent at once.
    pub fn send(&mut self, command: Vec<u8>, out: &mut Vec<u8>) {
        if self.phase == Phase::Open && !self.returning {
            out.extend_from_slice(&command);
        }
        self.in_flight_bytes += command.len();
        self.in_flight.push_back(command);
    }

    /// Asks the other side to give the session back; the answer is [`Outcome::MovedOn`]. It is the
    /// last that the other side is sent; a session that is not open yet is asked back when it is.
    pub fn ask_return(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.returning, true) && self.phase == Phase::Open {
            out.extend(return_request());
        }
    }

    /// The size of the commands that are not answered yet.
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Commands that were taken and are not answered yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether the other side holds nothing that a new session could not be opened without.
    pub fn is_between_commands(&self) -> bool {
        self.in_flight.is_empty() && !self.state.in_multi && !self.state.watching
    }

    /// Whether a transaction is open on the other side.
    pub fn in_multi(&self) -> bool {
        self.state.in_multi
    }

    /// Takes bytes from the other side; appends to `out` what may now be sent to it.
    pub fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Vec<Outcome> {
        // A large answer comes in many pieces: what is not whole yet stays where it is.
        self.input.extend_from_slice(bytes);
        let (mut used, mut outcomes) = (0, Vec::new());
        loop {
            match self.phase {
                Phase::Ended => return outcomes,
                Phase::Opening(left) => {
                    let rest = &self.input[used..];
                    let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
                        if rest.len() > LINE_MAX_BYTES {
                            outcomes.push(self.refused("an answer without an end".into()));
                            return outcomes;
                        }
                        break;
                    };
                    let line = &rest[..end];
                    used += end + 2;
                    if line != b"+OK" {
                        let text = String::from_utf8_lossy(line.strip_prefix(b"-").unwrap_or(line));
                        let text = text.into_owned();
                        outcomes.push(self.refused(text));
                        return outcomes;
                    }
                    self.phase = if left == 1 { Phase::Open } else { Phase::Opening(left - 1) };
                    if self.phase == Phase::Open {
                        if self.returning {
                            out.extend(return_request());
                        } else {
                            self.flush_waiting(out);
                        }
                        outcomes.push(Outcome::Opened);
                    }
                }
                Phase::Open => match envelope::take(&self.input[used..]) {
                    Ok(None) => break,
                    Ok(Some((frame, length))) => {
                        used += length;
                        outcomes.push(self.frame(frame));
                    }
                    Err(envelope::Malformed) => {
                        self.phase = Phase::Ended;
                        outcomes.push(Outcome::Broken);
                    }
                },
            }
        }
        self.input.drain(..used);
        outcomes
    }

    /// The connection to the other side is gone. `greeted` says that the session's first bytes were
    /// on their way: then the command that went along with it may have been executed.
    pub fn lost(&mut self, greeted: bool) -> Fate {
        match self.phase {
            Phase::Opening(_) if greeted && self.carries_pending => Fate::Unknown,
            Phase::Opening(_) => Fate::NotExecuted(self.never_sent()),
            Phase::Open if !self.is_between_commands() => Fate::Unknown,
            Phase::Open | Phase::Ended => Fate::Idle,
        }
    }

    fn frame(&mut self, frame: Frame) -> Outcome {
        match frame {
            Frame::Reply(bytes) => Outcome::Reply(bytes),
            Frame::Answered(count) => {
                if count > self.in_flight.len() as u64 {
                    self.phase = Phase::Ended;
                    return Outcome::Broken;
                }
                for _ in 0..count {
                    let length = self.in_flight.pop_front().map_or(0, |command| command.len());
                    self.in_flight_bytes -= length;
                    self.carries_pending = false;
                }
                Outcome::Answered(count)
            }
            Frame::State(state) => {
                self.state = state;
                Outcome::State(state)
            }
            Frame::MovedOn(bytes) => self.moved_on(&bytes),
            // Only a session that is not open yet can be refused: commands may have been executed.
            Frame::Refused(_) => {
                self.phase = Phase::Ended;
                Outcome::Broken
            }
        }
    }

    fn moved_on(&mut self, bytes: &[u8]) -> Outcome {
        self.phase = Phase::Ended;
        let session = decode(bytes).and_then(|args| {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            Session::from_args(&args).ok()
        });
        let Some(session) = session else { return Outcome::Broken };
        if session.pending.is_some() {
            // It is the first of those in flight, with the time it has already waited.
            self.in_flight.pop_front();
        }
        Outcome::MovedOn { session: Box::new(session), unexecuted: self.unexecuted() }
    }

    fn refused(&mut self, text: String) -> Outcome {
        let unexecuted = self.never_sent();
        self.phase = Phase::Ended;
        Outcome::Refused { text, unexecuted }
    }

    /// What waited for the session to open; its pending command is still part of the session.
    fn never_sent(&mut self) -> Vec<Argv> {
        if std::mem::take(&mut self.carries_pending) {
            self.in_flight.pop_front();
        }
        self.unexecuted()
    }

    /// Sends what waited for the session to open, except the session's own pending command.
    fn flush_waiting(&mut self, out: &mut Vec<u8>) {
        let carried = usize::from(self.carries_pending);
        for command in self.in_flight.iter().skip(carried) {
            out.extend_from_slice(command);
        }
    }

    fn unexecuted(&mut self) -> Vec<Argv> {
        self.in_flight.drain(..).filter_map(|command| decode(&command)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::session::Pending;
    use super::*;

    fn argv(words: &str) -> Argv {
        words.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    fn opened(session: &Session) -> (Link, Vec<u8>) {
        let (mut link, _) = Link::open(None, session);
        let mut out = Vec::new();
        assert_eq!(link.receive(b"+OK\r\n", &mut out), [Outcome::Opened]);
        (link, out)
    }

    #[test]
    fn nothing_is_sent_before_the_session_is_open() {
        let credentials = Credentials { user: b"u".to_vec(), password: b"p".as_slice().into() };
        let (mut link, hello) = Link::open(Some(&credentials), &Session::default());
        assert!(hello.starts_with(b"*3\r\n$4\r\nAUTH\r\n"));
        let mut out = Vec::new();
        link.send(encode(&argv("INCR k")), &mut out);
        assert_eq!(link.receive(b"+OK\r\n+O", &mut out), []);
        assert!(out.is_empty());
        assert_eq!(link.receive(b"K\r\n", &mut out), [Outcome::Opened]);
        assert_eq!(out, encode(&argv("INCR k")));
    }

    #[test]
    fn a_refused_session_has_executed_nothing() {
        let (mut link, _) = Link::open(None, &Session::default());
        let mut out = Vec::new();
        link.send(encode(&argv("INCR k")), &mut out);
        let outcomes = link.receive(b"-NOTREADY fenced\r\n", &mut out);
        let text = "NOTREADY fenced".to_owned();
        assert_eq!(outcomes, [Outcome::Refused { text, unexecuted: vec![argv("INCR k")] }]);
        assert!(out.is_empty());
        assert_eq!(link.lost(true), Fate::Idle);
    }

    #[test]
    fn a_session_that_moves_on_returns_exactly_what_was_not_executed() {
        let (mut link, _) = opened(&Session::default());
        let mut out = Vec::new();
        for words in ["INCR k", "BLPOP q 0", "GET k"] {
            link.send(encode(&argv(words)), &mut out);
        }
        let session = Session {
            protocol: 2,
            pending: Some(Pending { argv: argv("BLPOP q 7"), wait: None }),
            ..Session::default()
        };
        let mut bytes = Vec::new();
        envelope::put_reply(&mut bytes, b":1\r\n");
        envelope::put_answered(&mut bytes, 1);
        envelope::put_moved_on(&mut bytes, &encode(&session.to_args()));
        assert_eq!(
            link.receive(&bytes, &mut out),
            [
                Outcome::Reply(b":1\r\n".to_vec()),
                Outcome::Answered(1),
                Outcome::MovedOn { session: Box::new(session), unexecuted: vec![argv("GET k")] },
            ]
        );
    }

    /// A node that counts more answers than commands were sent was counted along with, one by one up
    /// to 64 bits; and one that answers the greeting without ever ending the line was listened to.
    #[test]
    fn counts_and_lines_beyond_what_can_be_are_refused() {
        for count in ["3", "18446744073709551615"] {
            let (mut link, _) = opened(&Session::default());
            let mut out = Vec::new();
            link.send(encode(&argv("INCR k")), &mut out);
            link.send(encode(&argv("INCR k")), &mut out);
            let outcomes = link.receive(format!(":{count}\r\n").as_bytes(), &mut out);
            assert_eq!(outcomes, [Outcome::Broken]);
        }
        let (mut link, _) = Link::open(None, &Session::default());
        let outcomes = link.receive(&b"+".repeat(LINE_MAX_BYTES + 1), &mut Vec::new());
        assert!(matches!(outcomes[..], [Outcome::Refused { .. }]), "{outcomes:?}");
    }

    /// A command that was sent and not counted may have run; repeating it would double it.
    #[test]
    fn a_lost_link_never_repeats_what_may_have_run() {
        let mut out = Vec::new();
        let (mut link, _) = opened(&Session::default());
        link.send(encode(&argv("INCR k")), &mut out);
        assert_eq!(link.lost(true), Fate::Unknown);

        let (mut link, _) = Link::open(None, &Session::default());
        link.send(encode(&argv("INCR k")), &mut out);
        assert_eq!(link.lost(true), Fate::NotExecuted(vec![argv("INCR k")]));

        let (mut link, _) = opened(&Session::default());
        let mut bytes = Vec::new();
        let state = SessionState { protocol: 2, in_multi: true, ..SessionState::default() };
        envelope::put_state(&mut bytes, state);
        link.receive(&bytes, &mut out);
        assert_eq!(link.lost(true), Fate::Unknown, "a transaction was lost");

        let (mut link, _) = opened(&Session::default());
        assert_eq!(link.lost(true), Fate::Idle);
    }

    #[test]
    fn a_pending_command_goes_with_the_session_and_is_sent_once() {
        let pending = Pending { argv: argv("BLPOP q 0"), wait: None };
        let session = Session { pending: Some(pending), ..Session::default() };
        let (mut link, _) = Link::open(None, &session);
        let mut out = Vec::new();
        link.send(encode(&argv("GET k")), &mut out);
        link.receive(b"+OK\r\n", &mut out);
        assert_eq!(out, encode(&argv("GET k")));
        assert_eq!(link.in_flight(), 2);
    }

    /// A blocked pop travels in the request that opens the session. When that connection was lost
    /// before the answer, the pop was sent again, though it may have taken its element already.
    #[test]
    fn a_pending_command_of_a_lost_opening_is_not_repeated() {
        let pending = Pending { argv: argv("BLPOP q 0"), wait: None };
        let session = Session { pending: Some(pending), ..Session::default() };
        let (mut link, _) = Link::open(None, &session);
        assert_eq!(link.lost(true), Fate::Unknown);
        let (mut link, _) = Link::open(None, &session);
        link.send(encode(&argv("GET k")), &mut Vec::new());
        assert_eq!(link.lost(false), Fate::NotExecuted(vec![argv("GET k")]), "never connected");
    }

    /// Commands were sent behind the request to return the session, so that a blocked one did not
    /// see it as the last; and one that came before the session was open was never asked back.
    #[test]
    fn the_request_to_return_is_the_last_that_is_sent() {
        let mut out = Vec::new();
        let (mut link, _) = opened(&Session::default());
        link.ask_return(&mut out);
        link.send(encode(&argv("GET k")), &mut out);
        link.ask_return(&mut out);
        assert_eq!(out, return_request());

        let (mut link, _) = Link::open(None, &Session::default());
        link.send(encode(&argv("GET k")), &mut out);
        out.clear();
        link.ask_return(&mut out);
        assert!(out.is_empty());
        assert_eq!(link.receive(b"+OK\r\n", &mut out), [Outcome::Opened]);
        assert_eq!(out, return_request());
        let mut bytes = Vec::new();
        envelope::put_moved_on(&mut bytes, &encode(&Session::default().to_args()));
        let outcomes = link.receive(&bytes, &mut out);
        assert!(
            matches!(&outcomes[..], [Outcome::MovedOn { unexecuted, .. }]
                if *unexecuted == [argv("GET k")]),
            "{outcomes:?}"
        );
    }

    /// A bare error in an open session was taken for a refusal: its client then waited for ever.
    #[test]
    fn an_open_session_cannot_be_refused_any_more() {
        let (mut link, _) = opened(&Session::default());
        link.send(encode(&argv("INCR k")), &mut Vec::new());
        let outcomes = link.receive(b"-ERR Protocol error\r\n", &mut Vec::new());
        assert_eq!(outcomes, [Outcome::Broken]);
    }
}
