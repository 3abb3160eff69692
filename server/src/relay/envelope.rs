//! How the new primary answers a relayed session: replies in envelopes.
//!
//! Pure: bytes in, values out. Raw replies cannot be counted from outside (one `SUBSCRIBE` gives
//! several, `CLIENT REPLY OFF` none, pushes come unasked), yet the old primary must know exactly
//! which commands were executed. So the node that runs a session says so itself:
//!
//! | frame | meaning |
//! |---|---|
//! | `$len CRLF bytes CRLF` | reply bytes, to be passed on to the client as they are |
//! | `:count CRLF` | that many more commands are answered; all bytes sent before belong to them |
//! | `+protocol db multi watching CRLF` | the session's RESP version, database, open MULTI (1, 0) or watched keys (1, 0) changed |
//! | `=len CRLF bytes CRLF` | the session moves on: nothing after the counted commands was executed; the bytes are [`super::session::Session::to_args`] as one RESP array |
//! | `-text CRLF` | the session was refused, and nothing was executed |

/// One frame from the node that runs a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Reply(Vec<u8>),
    Answered(u64),
    State(SessionState),
    MovedOn(Vec<u8>),
    Refused(String),
}

/// What the relaying node must know of a session to serve its own part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionState {
    pub protocol: u8,
    pub db: usize,
    pub in_multi: bool,
    /// Keys are watched there, which another node cannot know of.
    pub watching: bool,
}

/// The other node does not speak this protocol; the connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a relayed session answered with something that is not an envelope")]
pub struct Malformed;

/// No block is larger: a turn's answers are bounded, and so is what a session carries.
const BLOCK_MAX_BYTES: usize = 1 << 32;

/// Appends reply bytes; nothing at all for none.
pub fn put_reply(out: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_block(out, b'$', bytes);
    }
}

/// Appends the count of commands answered since the last count.
pub fn put_answered(out: &mut Vec<u8>, count: u64) {
    if count > 0 {
        out.extend_from_slice(format!(":{count}\r\n").as_bytes());
    }
}

/// Appends the session's new state.
pub fn put_state(out: &mut Vec<u8>, state: SessionState) {
    let SessionState { protocol, db, in_multi, watching } = state;
    let (multi, watching) = (u8::from(in_multi), u8::from(watching));
    out.extend_from_slice(format!("+{protocol} {db} {multi} {watching}\r\n").as_bytes());
}

/// Appends the last frame of a session that moves on.
pub fn put_moved_on(out: &mut Vec<u8>, session: &[u8]) {
    put_block(out, b'=', session);
}

fn put_block(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    out.extend_from_slice(format!("{}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Takes the first frame from `input`: the frame and how many bytes it used, or `None` when more
/// bytes are needed.
pub fn take(input: &[u8]) -> Result<Option<(Frame, usize)>, Malformed> {
    let Some(&kind) = input.first() else { return Ok(None) };
    let Some(end) = input.windows(2).position(|pair| pair == b"\r\n") else {
        // Blocks carry their length; a line that goes on this long is not ours.
        return if input.len() > 4096 { Err(Malformed) } else { Ok(None) };
    };
    let line = std::str::from_utf8(&input[1..end]).map_err(|_| Malformed)?;
    let after = end + 2;
    let frame = match kind {
        b':' => Frame::Answered(line.parse().map_err(|_| Malformed)?),
        b'+' => Frame::State(state(line).ok_or(Malformed)?),
        b'-' => Frame::Refused(line.to_owned()),
        b'$' | b'=' => {
            let length: usize = line.parse().map_err(|_| Malformed)?;
            if length > BLOCK_MAX_BYTES {
                return Err(Malformed);
            }
            let stop = after + length;
            if input.len() < stop + 2 {
                return Ok(None);
            }
            let bytes = input[after..stop].to_vec();
            let frame = if kind == b'$' { Frame::Reply(bytes) } else { Frame::MovedOn(bytes) };
            return Ok(Some((frame, stop + 2)));
        }
        _ => return Err(Malformed),
    };
    Ok(Some((frame, after)))
}

fn state(line: &str) -> Option<SessionState> {
    let mut words = line.split(' ');
    let protocol = words.next()?.parse().ok()?;
    let db = words.next()?.parse().ok()?;
    let in_multi = words.next()? == "1";
    let watching = words.next()? == "1";
    Some(SessionState { protocol, db, in_multi, watching })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], frames: &[Frame]) {
        for cut in 0..=bytes.len() {
            let (mut input, mut seen) = (bytes[..cut].to_vec(), Vec::new());
            for rest in [&b""[..], &bytes[cut..]] {
                input.extend_from_slice(rest);
                while let Some((frame, used)) = take(&input).expect("well formed") {
                    seen.push(frame);
                    input.drain(..used);
                }
            }
            assert_eq!(seen, frames, "cut at {cut}");
        }
    }

    #[test]
    fn frames_survive_any_cut() {
        let mut out = Vec::new();
        put_reply(&mut out, b"+OK\r\n:1\r\n");
        put_answered(&mut out, 2);
        put_state(&mut out, SessionState { protocol: 3, db: 4, in_multi: true, watching: true });
        put_moved_on(&mut out, b"*0\r\n");
        check(
            &out,
            &[
                Frame::Reply(b"+OK\r\n:1\r\n".to_vec()),
                Frame::Answered(2),
                Frame::State(SessionState { protocol: 3, db: 4, in_multi: true, watching: true }),
                Frame::MovedOn(b"*0\r\n".to_vec()),
            ],
        );
        check(b"-NOTREADY fenced\r\n", &[Frame::Refused("NOTREADY fenced".into())]);
    }

    #[test]
    fn nothing_is_said_for_nothing() {
        let mut out = Vec::new();
        put_reply(&mut out, b"");
        put_answered(&mut out, 0);
        assert!(out.is_empty());
    }

    #[test]
    fn foreign_bytes_are_refused() {
        for bytes in [&b"hello\r\n"[..], b"$x\r\n", b"+3\r\n"] {
            assert_eq!(take(bytes), Err(Malformed));
        }
    }

    /// The end of a block that is nearly as long as can be counted was computed beyond that, which
    /// ended the process; any shorter one would have been waited for, however long.
    #[test]
    fn a_block_of_any_length_is_not_waited_for() {
        for length in ["18446744073709551615", "18446744073709551600", "4294967297"] {
            for kind in ['$', '='] {
                assert_eq!(take(format!("{kind}{length}\r\n").as_bytes()), Err(Malformed));
            }
        }
        assert_eq!(take(b"$4294967296\r\n"), Ok(None));
    }
}
