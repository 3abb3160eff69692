//! The incremental parser of requests and the view of one request's arguments.

use std::fmt;

use thiserror::Error;

use super::num::parse_i64;

/// Where one argument lies, counted in bytes from the start of its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub len: u32,
}

/// The arguments of one command: slices into the buffer that the command arrived in.
///
/// `args[0]` is the command's name as the client wrote it. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buf: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    pub fn new(buf: &'a [u8], spans: &'a [Span]) -> Self {
        Self { buf, spans }
    }

    #[inline]
    pub fn len(self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `index`, with the lifetime of the buffer. Panics beyond the end, as a
    /// slice does: the arity was checked before any handler runs.
    #[inline]
    pub fn at(self, index: usize) -> &'a [u8] {
        let span = self.spans[index];
        &self.buf[span.start as usize..(span.start + span.len) as usize]
    }

    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        (index < self.len()).then(|| self.at(index))
    }

    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone {
        (0..self.len()).map(move |index| self.at(index))
    }

    /// The arguments from `from` on, as another view.
    #[must_use]
    pub fn tail(self, from: usize) -> Args<'a> {
        Args { buf: self.buf, spans: self.spans.get(from..).unwrap_or(&[]) }
    }

    /// Whether there is an argument at `index`, and it is the word `lower`, in any case.
    #[inline]
    pub fn is(self, index: usize, lower: &str) -> bool {
        self.get(index).is_some_and(|word| word.eq_ignore_ascii_case(lower.as_bytes()))
    }

    /// The bytes of the whole command as they arrived.
    pub fn raw(self) -> &'a [u8] {
        self.buf
    }

    pub fn to_owned(self) -> OwnedArgs {
        OwnedArgs::from_parts(self.iter())
    }
}

impl std::ops::Index<usize> for Args<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        self.at(index)
    }
}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(String::from_utf8_lossy)).finish()
    }
}

/// A command that outlives its buffer: queued by MULTI, blocked, held or composed by the server.
#[derive(Clone, Debug, Default)]
pub struct OwnedArgs {
    buf: Vec<u8>,
    spans: Vec<Span>,
}

impl OwnedArgs {
    /// The parts of one request, which are no longer than spans can count.
    pub fn from_parts<'p, I>(parts: I) -> Self
    where
        I: IntoIterator<Item = &'p [u8]>,
        I::IntoIter: Clone,
    {
        Self::composed(parts).expect("a request was counted as it was read")
    }

    /// Parts that may be longer than the request that they were made from; none, and nothing is
    /// copied, if spans cannot count them.
    pub fn composed<'p, I>(parts: I) -> Option<Self>
    where
        I: IntoIterator<Item = &'p [u8]>,
        I::IntoIter: Clone,
    {
        let parts = parts.into_iter();
        let whole = parts.clone().try_fold(0usize, |sum, part| sum.checked_add(part.len()))?;
        u32::try_from(whole).ok()?;
        let mut owned = Self { buf: Vec::with_capacity(whole), spans: Vec::new() };
        for part in parts {
            let start = owned.buf.len() as u32;
            owned.spans.push(Span { start, len: part.len() as u32 });
            owned.buf.extend_from_slice(part);
        }
        Some(owned)
    }

    pub fn args(&self) -> Args<'_> {
        Args { buf: &self.buf, spans: &self.spans }
    }

    /// Bytes held, for the accounting of clients.
    pub fn size_bytes(&self) -> usize {
        self.buf.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}

/// Appends one command as a RESP array of bulk strings, as the replication stream carries it.
pub fn encode_command<'p, I>(out: &mut Vec<u8>, parts: I)
where
    I: IntoIterator<Item = &'p [u8]>,
    I::IntoIter: ExactSizeIterator,
{
    let parts = parts.into_iter();
    let mut digits = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(digits.format(parts.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    for part in parts {
        out.push(b'$');
        out.extend_from_slice(digits.format(part.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// Bounds on what a request may declare; before authentication they are much tighter.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub args: i64,
    pub bulk_bytes: i64,
    pub inline_bytes: usize,
    pub authenticated: bool,
}

impl Limits {
    pub const UNAUTHENTICATED: Limits =
        Limits { args: 10, bulk_bytes: 16 * 1024, inline_bytes: 64 * 1024, authenticated: false };

    pub fn authenticated(bulk_bytes: i64) -> Limits {
        Limits { args: 1024 * 1024, bulk_bytes, inline_bytes: 64 * 1024, authenticated: true }
    }
}

/// A request that no later byte can make valid: answered once, then the connection closes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProtocolError {
    #[error("ERR Protocol error: invalid multibulk length")]
    ArrayLength,
    #[error("ERR Protocol error: unauthenticated multibulk length")]
    UnauthenticatedArray,
    #[error("ERR Protocol error: invalid bulk length")]
    BulkLength,
    #[error("ERR Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulk,
    #[error("ERR Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    #[error("ERR Protocol error: too big mbulk count string")]
    ArrayHeader,
    #[error("ERR Protocol error: too big bulk count string")]
    BulkHeader,
    #[error("ERR Protocol error: too big inline request")]
    Inline,
    #[error("ERR Protocol error: unbalanced quotes in request")]
    Quotes,
    #[error("ERR Protocol error: invalid CRLF in request")]
    LineEnd,
}

/// What a call of [`Parser::parse`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed; the next call continues where this one ended.
    Incomplete,
    /// A whole command that occupies the first `len` bytes; its spans are in `Parser::spans`.
    /// No span at all means an empty line or array, which is skipped without a reply.
    Command { len: usize },
}

/// The state of one connection's parser between two reads.
///
/// The buffer given to [`Parser::parse`] always begins at the first byte of the command, also
/// when it was moved or has grown since: positions are relative to it.
#[derive(Debug, Default)]
pub struct Parser {
    pub spans: Vec<Span>,
    pos: usize,
    missing: i64,
    bulk: Option<usize>,
    in_array: bool,
    inline_text: Vec<u8>,
}

impl Parser {
    /// Forgets a half-read command, for example because it was held and will be read again.
    pub fn reset(&mut self) {
        self.spans.clear();
        self.pos = 0;
        self.missing = 0;
        self.bulk = None;
        self.in_array = false;
    }

    /// Bytes from the start of a half-read command to the end of what it has declared; 0 where the
    /// length of its next argument is not known.
    pub fn declared_bytes(&self) -> usize {
        self.bulk.map_or(0, |len| self.pos + len + 2)
    }

    /// Bytes at the start of a half-read command that were taken apart: its headers, and the
    /// arguments that are whole.
    pub fn parsed_bytes(&self) -> usize {
        self.pos
    }

    /// Reads one command from the start of `buf`.
    #[inline]
    pub fn parse(&mut self, buf: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        if !self.in_array {
            match buf.first() {
                None => return Ok(Parsed::Incomplete),
                Some(b'*') => {}
                Some(_) => return self.parse_inline(buf, limits),
            }
            let Some((count, end)) = header(buf, self.pos, ProtocolError::ArrayHeader)? else {
                return Ok(Parsed::Incomplete);
            };
            let count = count.ok_or(ProtocolError::ArrayLength)?;
            if count > limits.args {
                return Err(if limits.authenticated {
                    ProtocolError::ArrayLength
                } else {
                    ProtocolError::UnauthenticatedArray
                });
            }
            self.spans.clear();
            self.pos = end;
            self.missing = count;
            self.in_array = true;
        }
        while self.missing > 0 {
            if !self.parse_bulk(buf, limits)? {
                return Ok(Parsed::Incomplete);
            }
            self.missing -= 1;
        }
        let len = self.pos;
        self.in_array = false;
        self.pos = 0;
        Ok(Parsed::Command { len })
    }

    /// Reads one bulk string at the current position; false when bytes are missing.
    #[inline]
    fn parse_bulk(&mut self, buf: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let len = if let Some(len) = self.bulk {
            len
        } else {
            match buf.get(self.pos) {
                None => return Ok(false),
                Some(b'$') => {}
                Some(&other) => return Err(ProtocolError::ExpectedBulk(other)),
            }
            let Some((len, end)) = header(buf, self.pos, ProtocolError::BulkHeader)? else {
                return Ok(false);
            };
            let len = len.filter(|len| *len >= 0).ok_or(ProtocolError::BulkLength)?;
            if len > limits.bulk_bytes {
                return Err(if limits.authenticated {
                    ProtocolError::BulkLength
                } else {
                    ProtocolError::UnauthenticatedBulk
                });
            }
            self.pos = end;
            self.bulk = Some(len as usize);
            len as usize
        };
        let end = self.pos + len;
        if end > u32::MAX as usize {
            // Directives allow more than spans can count.
            return Err(ProtocolError::BulkLength);
        }
        if buf.len() < end + 2 {
            return Ok(false);
        }
        if buf[end] != b'\r' || buf[end + 1] != b'\n' {
            return Err(ProtocolError::LineEnd);
        }
        self.spans.push(Span { start: self.pos as u32, len: len as u32 });
        self.pos = end + 2;
        self.bulk = None;
        Ok(true)
    }

    /// Reads a line of words. Quoted words are rewritten in place of the line's own text, so an
    /// inline command with escapes is the one case that copies; see [`Parser::inline_args`].
    fn parse_inline(&mut self, buf: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        let window = &buf[..buf.len().min(limits.inline_bytes)];
        let Some(newline) = memchr::memchr(b'\n', window) else {
            if buf.len() >= limits.inline_bytes {
                return Err(ProtocolError::Inline);
            }
            return Ok(Parsed::Incomplete);
        };
        let mut line = &buf[..newline];
        if let [rest @ .., b'\r'] = line {
            line = rest;
        }
        self.spans.clear();
        self.inline_text.clear();
        if line.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
            split_quoted(line, &mut self.inline_text, &mut self.spans)?;
        } else {
            split_plain(line, &mut self.spans);
        }
        if self.spans.len() as i64 > limits.args {
            return Err(ProtocolError::Inline);
        }
        Ok(Parsed::Command { len: newline + 1 })
    }

    /// The text that the spans refer to when the command was an inline one with quotes.
    pub fn inline_args(&mut self) -> Option<Vec<u8>> {
        (!self.inline_text.is_empty()).then(|| std::mem::take(&mut self.inline_text))
    }
}

/// A header line (`*3`, `$12`) that begins at `pos`: its number, absent when it is not one, and
/// the position after its line end. `None` when the line is not complete yet.
#[inline]
fn header(
    buf: &[u8],
    pos: usize,
    too_long: ProtocolError,
) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
    // The common header is one or two digits: read it without searching for its end.
    let line = &buf[pos + 1..];
    if let [digit @ b'0'..=b'9', b'\r', b'\n', ..] = line {
        return Ok(Some((Some(i64::from(digit - b'0')), pos + 4)));
    }
    if let [tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n', ..] = line {
        let number = i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
        return Ok(Some((Some(number), pos + 5)));
    }
    let window = &line[..line.len().min(64 * 1024)];
    let Some(end) = memchr::memchr(b'\r', window) else {
        return if window.len() < 64 * 1024 { Ok(None) } else { Err(too_long) };
    };
    if end + 1 >= line.len() {
        return Ok(None);
    }
    if line[end + 1] != b'\n' {
        return Err(ProtocolError::LineEnd);
    }
    Ok(Some((parse_i64(&line[..end]), pos + 1 + end + 2)))
}

fn split_plain(line: &[u8], spans: &mut Vec<Span>) {
    let mut start = None;
    for (at, byte) in line.iter().chain(std::iter::once(&b' ')).enumerate() {
        match (byte.is_ascii_whitespace() || *byte == 0, start) {
            (true, Some(from)) => {
                spans.push(Span { start: from as u32, len: (at - from) as u32 });
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
}

/// Splits a line as a shell would: double quotes with escapes, single quotes without; a word may
/// have parts with and without quotes.
pub fn split_quoted(
    line: &[u8],
    text: &mut Vec<u8>,
    spans: &mut Vec<Span>,
) -> Result<(), ProtocolError> {
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        if at == line.len() {
            return Ok(());
        }
        let start = text.len();
        while let Some(&byte) = line.get(at).filter(|byte| !byte.is_ascii_whitespace()) {
            at += 1;
            match byte {
                b'"' => at = double_quoted(line, at, text)?,
                b'\'' => at = single_quoted(line, at, text)?,
                _ => text.push(byte),
            }
        }
        spans.push(Span { start: start as u32, len: (text.len() - start) as u32 });
    }
}

/// Reads to the closing double quote.
fn double_quoted(line: &[u8], mut at: usize, text: &mut Vec<u8>) -> Result<usize, ProtocolError> {
    loop {
        match line[at..] {
            [b'"', ..] => return Ok(at + 1),
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hex digit") as u8;
                text.push(digit(high) * 16 + digit(low));
                at += 4;
            }
            [b'\\', escaped, ..] => {
                text.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => other,
                });
                at += 2;
            }
            [byte, ..] => {
                text.push(byte);
                at += 1;
            }
            [] => return Err(ProtocolError::Quotes),
        }
    }
}

fn single_quoted(line: &[u8], mut at: usize, text: &mut Vec<u8>) -> Result<usize, ProtocolError> {
    loop {
        match line[at..] {
            [b'\'', ..] => return Ok(at + 1),
            [b'\\', b'\'', ..] => {
                text.push(b'\'');
                at += 2;
            }
            [byte, ..] => {
                text.push(byte);
                at += 1;
            }
            [] => return Err(ProtocolError::Quotes),
        }
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
