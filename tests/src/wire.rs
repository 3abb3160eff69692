//! A connection that shows replies as they are, in either dialect.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A reply: its type byte, its text (a missing one for nulls), its elements.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reply {
    pub kind: char,
    pub text: Option<String>,
    pub items: Vec<Reply>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match &self.text {
            Some(text) => write!(f, "{text:?}")?,
            None if self.items.is_empty() => write!(f, "null")?,
            None => {}
        }
        if !self.items.is_empty() {
            f.debug_list().entries(&self.items).finish()?;
        }
        Ok(())
    }
}

pub struct Connection {
    stream: BufReader<TcpStream>,
    out: Vec<u8>,
}

impl Connection {
    pub fn open(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self { stream: BufReader::new(stream), out: Vec::new() })
    }

    /// Queues a command; [`Self::flush`] sends what is queued.
    pub fn queue(&mut self, words: &[&str]) {
        self.out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
    }

    pub fn flush(&mut self) {
        self.try_flush().expect("the server reads");
    }

    /// As [`Self::flush`], of a server that may end.
    pub fn try_flush(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        self.stream.get_mut().write_all(&out)
    }

    pub fn call(&mut self, words: &[&str]) -> Reply {
        self.try_call(words).expect("the server answers in time, and whole")
    }

    /// As [`Self::call`], of a server that may end.
    pub fn try_call(&mut self, words: &[&str]) -> io::Result<Reply> {
        self.queue(words);
        self.try_flush()?;
        self.try_read()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\r\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.len() - 2);
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    pub fn read(&mut self) -> Reply {
        self.try_read().expect("the server answers in time, and whole")
    }

    /// As [`Self::read`], of a server that may end.
    pub fn try_read(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_at(1);
        let kind = kind.chars().next().expect("one byte");
        let mut reply = Reply { kind, text: None, items: Vec::new() };
        let count: i64 = rest.parse().unwrap_or(-1);
        match kind {
            '$' | '=' if count >= 0 => {
                let mut bytes = vec![0; count as usize + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(count as usize);
                reply.text = Some(String::from_utf8_lossy(&bytes).into_owned());
            }
            '*' | '~' | '%' | '>' if count >= 0 => {
                let elements = if kind == '%' { count * 2 } else { count };
                reply.text = Some(count.to_string());
                reply.items = (0..elements).map(|_| self.try_read()).collect::<io::Result<_>>()?;
            }
            '$' | '*' => {}
            _ => reply.text = Some(rest.to_owned()),
        }
        Ok(reply)
    }
}
