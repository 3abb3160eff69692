//! The writer of replies, aware of the dialect that a client speaks.

use super::errors::CommandError;
use super::num::format_f64;

/// The dialect of replies, chosen by HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proto {
    #[default]
    Resp2,
    Resp3,
}

/// Appends replies to a client's output. Aggregates are written by their header (`array`, `map`,
/// `set`, `push`) followed by exactly that many elements.
///
/// Once the output is larger than its bound nothing is appended any more; whoever has as much to
/// write as a client says looks at [`Reply::is_full`] and stops.
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    proto: Proto,
    bound: usize,
}

impl<'a> Reply<'a> {
    pub fn new(out: &'a mut Vec<u8>, proto: Proto) -> Self {
        Self::bounded(out, proto, usize::MAX)
    }

    #[inline]
    pub fn bounded(out: &'a mut Vec<u8>, proto: Proto, bound: usize) -> Self {
        Self { out, proto, bound }
    }

    /// Whether the output has outgrown its bound: the connection will be closed without this reply.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.out.len() > self.bound
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if !self.is_full() {
            self.out.extend_from_slice(bytes);
        }
    }

    pub fn proto(&self) -> Proto {
        self.proto
    }

    pub fn is_resp3(&self) -> bool {
        self.proto == Proto::Resp3
    }

    fn header(&mut self, kind: u8, count: i64) {
        if self.is_full() {
            return;
        }
        self.out.push(kind);
        let mut digits = itoa::Buffer::new();
        self.out.extend_from_slice(digits.format(count).as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    #[inline]
    pub fn ok(&mut self) {
        self.put(b"+OK\r\n");
    }

    pub fn simple(&mut self, text: &str) {
        self.put(b"+");
        self.put(text.as_bytes());
        self.put(b"\r\n");
    }

    pub fn error(&mut self, error: &CommandError) {
        self.error_bytes(error.0.as_bytes());
    }

    /// An error of bytes that may hold anything; line breaks become spaces.
    pub fn error_bytes(&mut self, text: &[u8]) {
        self.put(b"-");
        self.one_line(text);
    }

    /// A status of bytes that may hold anything; line breaks become spaces.
    pub fn simple_bytes(&mut self, text: &[u8]) {
        self.put(b"+");
        self.one_line(text);
    }

    /// A number of any size in its digits; a bulk string in RESP2. Line breaks become spaces in both.
    pub fn big_number(&mut self, digits: &[u8]) {
        if self.is_resp3() {
            self.put(b"(");
        } else {
            self.header(b'$', digits.len() as i64);
        }
        self.one_line(digits);
    }

    fn one_line(&mut self, text: &[u8]) {
        let start = self.out.len();
        self.put(text);
        for byte in &mut self.out[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.put(b"\r\n");
    }

    #[inline]
    pub fn int(&mut self, number: i64) {
        match number {
            0 => self.put(b":0\r\n"),
            1 => self.put(b":1\r\n"),
            _ => self.header(b':', number),
        }
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len() as i64);
        self.put(bytes);
        self.put(b"\r\n");
    }

    /// An integer as a bulk string.
    pub fn bulk_int(&mut self, number: i64) {
        let mut digits = itoa::Buffer::new();
        self.bulk(digits.format(number).as_bytes());
    }

    /// A missing value where a bulk string was asked for.
    pub fn null(&mut self) {
        self.put(if self.is_resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// A missing value where an array was asked for.
    pub fn null_array(&mut self) {
        self.put(if self.is_resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    pub fn array(&mut self, count: usize) {
        self.header(b'*', count as i64);
    }

    /// Begins an array whose length is told by [`Reply::close_array`] after its elements.
    #[inline]
    pub fn open_array(&mut self) -> usize {
        let at = self.out.len();
        self.put(b"*0\r\n");
        at
    }

    /// Tells the length of the array that was opened at `at`.
    pub fn close_array(&mut self, at: usize, count: usize) {
        self.close(at, b'*', count);
    }

    /// As [`Reply::close_array`], for what is a map of `pairs` pairs in RESP3 and an array of as
    /// many elements in RESP2.
    pub fn close_map_or_array(&mut self, at: usize, pairs: usize) {
        self.close(at, if self.is_resp3() { b'%' } else { b'*' }, pairs);
    }

    fn close(&mut self, at: usize, kind: u8, count: usize) {
        if self.is_full() {
            return;
        }
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(count).as_bytes();
        self.out[at] = kind;
        if let [digit] = digits {
            self.out[at + 1] = *digit;
        } else {
            self.out.splice(at + 1..at + 2, digits.iter().copied());
        }
    }

    /// A map of `pairs` pairs; a flat array of twice as many elements in RESP2.
    pub fn map(&mut self, pairs: usize) {
        if self.is_resp3() {
            self.header(b'%', pairs as i64);
        } else {
            self.header(b'*', pairs as i64 * 2);
        }
    }

    pub fn set(&mut self, count: usize) {
        let kind = if self.is_resp3() { b'~' } else { b'*' };
        self.header(kind, count as i64);
    }

    /// An out-of-band message; an ordinary array in RESP2.
    pub fn push(&mut self, count: usize) {
        let kind = if self.is_resp3() { b'>' } else { b'*' };
        self.header(kind, count as i64);
    }

    pub fn double(&mut self, number: f64) {
        let text = format_f64(number);
        if self.is_resp3() {
            self.put(b",");
            self.put(text.as_bytes());
            self.put(b"\r\n");
        } else {
            self.bulk(text.as_bytes());
        }
    }

    pub fn bool(&mut self, value: bool) {
        if self.is_resp3() {
            self.put(if value { b"#t\r\n" } else { b"#f\r\n" });
        } else {
            self.int(i64::from(value));
        }
    }

    /// Text with a format tag of three letters (`txt`, `mkd`); a bulk string in RESP2.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        if self.is_resp3() {
            self.header(b'=', (format.len() + 1 + text.len()) as i64);
            self.put(format.as_bytes());
            self.put(b":");
            self.put(text);
            self.put(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// Bytes that already are a reply in this dialect, for example relayed ones.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.put(bytes);
    }

    /// Bytes written so far to this output, to cut a reply back with [`Reply::truncate`].
    pub fn position(&self) -> usize {
        self.out.len()
    }

    pub fn truncate(&mut self, position: usize) {
        self.out.truncate(position);
    }
}
