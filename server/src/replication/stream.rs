//! Cutting the primary's stream into units that are applied together. Pure.
//!
//! A unit is one command, or all of a transaction from MULTI to EXEC: a transaction of which the end
//! has not arrived has not happened, and its bytes do not count as applied.

use crate::resp::{Args, Limits, OwnedArgs, Parsed, Parser};

/// The longest argument that a stream may hold, in bytes.
pub const ARGUMENT_MAX: u32 = u32::MAX;

/// The stream's bytes that are not applied yet.
#[derive(Debug, Default)]
pub struct Stream {
    buf: Vec<u8>,
    /// Bytes of `buf` that have been taken.
    used: usize,
    /// Bytes from `used` on that belong to the open transaction and have been read.
    ahead: usize,
    parser: Parser,
    queue: Option<Vec<OwnedArgs>>,
}

/// What is applied at once.
#[derive(Debug)]
pub enum Unit<'a> {
    One(Args<'a>),
    Transaction(Vec<OwnedArgs>),
}

/// The stream is no sequence of commands.
#[derive(Debug, thiserror::Error)]
#[error("the primary's stream is broken: {0}")]
pub struct StreamError(String);

impl Stream {
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.used > self.buf.len() / 2 {
            self.buf.drain(..self.used);
            self.used = 0;
        }
        self.buf.extend_from_slice(bytes);
    }

    /// Forgets everything that was not applied; the next primary sends it again.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives the next unit with its bytes to `apply`. False if none is complete.
    pub fn next(&mut self, apply: impl FnOnce(Unit<'_>, &[u8])) -> Result<bool, StreamError> {
        let limits = Limits::authenticated(ARGUMENT_MAX.into());
        loop {
            let from = self.used + self.ahead;
            let parsed = self.parser.parse(&self.buf[from..], &limits);
            let len = match parsed.map_err(|e| StreamError(e.to_string()))? {
                Parsed::Incomplete => return Ok(false),
                Parsed::Command { len } => len,
            };
            let spans = std::mem::take(&mut self.parser.spans);
            let text = self.parser.inline_args();
            let args = Args::new(text.as_deref().unwrap_or(&self.buf[from..from + len]), &spans);
            let is = |word: &str| !args.is_empty() && args.is(0, word);
            match &mut self.queue {
                None if is("multi") => {
                    self.queue = Some(Vec::new());
                    self.ahead = len;
                }
                Some(_) if is("exec") => {
                    let queue = self.queue.take().expect("matched above");
                    let whole = &self.buf[self.used..from + len];
                    apply(Unit::Transaction(queue), whole);
                    self.used = from + len;
                    self.ahead = 0;
                    self.parser.spans = spans;
                    return Ok(true);
                }
                Some(queue) => {
                    if !args.is_empty() {
                        queue.push(args.to_owned());
                    }
                    self.ahead += len;
                }
                None => {
                    let raw = &self.buf[from..from + len];
                    // An empty line is no command, but its bytes count.
                    let unit = if args.is_empty() {
                        Unit::Transaction(Vec::new())
                    } else {
                        Unit::One(args)
                    };
                    apply(unit, raw);
                    self.used += len;
                    self.parser.spans = spans;
                    return Ok(true);
                }
            }
            self.parser.spans = spans;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Stream, Unit};

    const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
    const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

    /// The names of the commands of each unit, and its bytes, as pieces of `piece` bytes give them.
    fn units(bytes: &[u8], piece: usize) -> Vec<(Vec<String>, Vec<u8>)> {
        let name = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let mut stream = Stream::default();
        let mut out = Vec::new();
        for part in bytes.chunks(piece) {
            stream.feed(part);
            let more = |unit: Unit<'_>, raw: &[u8]| {
                let names = match unit {
                    Unit::One(args) => vec![name(args.at(0))],
                    Unit::Transaction(all) => all.iter().map(|a| name(a.args().at(0))).collect(),
                };
                out.push((names, raw.to_vec()));
            };
            let mut more = more;
            while stream.next(&mut more).expect("valid") {}
        }
        out
    }

    #[test]
    fn a_transaction_counts_when_its_end_is_there() {
        let bytes = [SET, MULTI, SET, SET, EXEC, b"\r\n", SET].concat();
        for piece in 1..bytes.len() {
            let got = units(&bytes, piece);
            let sizes: Vec<usize> = got.iter().map(|(names, _)| names.len()).collect();
            assert_eq!(sizes, [1, 2, 0, 1], "in pieces of {piece}");
            let all: Vec<u8> = got.iter().flat_map(|(_, raw)| raw.clone()).collect();
            assert_eq!(all, bytes, "every byte counts once");
        }
        let cut = [SET, MULTI, SET, SET].concat();
        let got = units(&cut, 5);
        assert_eq!(got.len(), 1, "a transaction without its end has not happened");
        assert_eq!(got[0].1, SET);
    }

    #[test]
    fn what_is_no_command_is_an_error() {
        let mut stream = Stream::default();
        stream.feed(b"*1\r\n!3\r\n");
        assert!(stream.next(|_, _| ()).is_err());
    }
}
