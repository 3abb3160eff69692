//! A small blocking client that shows replies as they are: what tests need and no more.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long one reply may take; far beyond any pause.
const PATIENCE: Duration = Duration::from_secs(20);

/// A reply of RESP2 or RESP3; maps and sets are arrays, as they come in RESP2.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Nil,
    Int(i64),
    Text(String),
    Error(String),
    Array(Vec<Value>),
    /// A push of RESP3.
    Push(Vec<Value>),
}

impl Value {
    /// The text of a simple or bulk string, or of a number; an error reply is an error.
    pub fn text(self) -> Result<String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Int(number) => Ok(number.to_string()),
            Self::Nil => Ok(String::new()),
            other => bail!("expected a text, got {other:?}"),
        }
    }

    pub fn int(self) -> Result<i64> {
        match self {
            Self::Int(number) => Ok(number),
            other => bail!("expected a number, got {other:?}"),
        }
    }

    /// The value behind a key of a map that came as a flat array.
    pub fn field(&self, name: &str) -> Option<&Value> {
        let Self::Array(items) = self else { return None };
        let pairs = items.chunks_exact(2);
        pairs.filter(|pair| pair[0] == Self::Text(name.into())).map(|pair| &pair[1]).next()
    }
}

/// What a connection runs over.
pub trait Wire: Read + Write + Send {
    fn socket(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

/// Sends a line whose answer must be no error.
pub fn ok(client: &mut Client, line: &str) -> Result<()> {
    match client.say(line)? {
        Value::Error(error) => bail!("{line}: {error}"),
        _ => Ok(()),
    }
}

/// One connection.
pub struct Client {
    reader: BufReader<Box<dyn Wire>>,
}

impl Client {
    pub fn connect(address: impl ToSocketAddrs) -> Result<Self> {
        Self::over(Box::new(TcpStream::connect(address).context("connect")?))
    }

    /// Over a connection that stands.
    pub fn over(wire: Box<dyn Wire>) -> Result<Self> {
        wire.socket().set_nodelay(true)?;
        wire.socket().set_read_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(wire) })
    }

    /// As [`Self::connect`], when connecting and every reply may take no longer than `patience`.
    pub fn connect_within(address: SocketAddr, patience: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { reader: BufReader::new(Box::new(stream)) })
    }

    /// Sends a command and waits for its reply.
    pub fn call(&mut self, words: &[&str]) -> Result<Value> {
        self.send(words)?;
        self.receive().with_context(|| format!("after {words:?}"))
    }

    /// As [`Self::call`]; words are separated by blanks.
    pub fn say(&mut self, line: &str) -> Result<Value> {
        self.call(&line.split(' ').collect::<Vec<_>>())
    }

    /// Sends a command; its reply is to be received later.
    pub fn send(&mut self, words: &[&str]) -> Result<()> {
        let mut out = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            write!(out, "${}\r\n{word}\r\n", word.len())?;
        }
        let wire = self.reader.get_mut();
        wire.write_all(&out).and_then(|()| wire.flush()).context("send")
    }

    /// The next reply or push.
    pub fn receive(&mut self) -> Result<Value> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).context("an empty reply")?;
        Ok(match kind {
            "+" | "," | "(" => Value::Text(rest.into()),
            "-" => Value::Error(rest.into()),
            ":" => Value::Int(rest.parse()?),
            "_" => Value::Nil,
            "#" => Value::Int(i64::from(rest == "t")),
            "$" | "=" => match rest.parse::<i64>()? {
                -1 => Value::Nil,
                length => Value::Text(self.bulk(length as usize)?),
            },
            "*" | "~" | ">" | "%" => {
                let count = rest.parse::<i64>()?;
                if count < 0 {
                    return Ok(Value::Nil);
                }
                let count = if kind == "%" { count * 2 } else { count };
                let items = (0..count).map(|_| self.receive()).collect::<Result<_>>()?;
                if kind == ">" { Value::Push(items) } else { Value::Array(items) }
            }
            _ => bail!("not a reply: {line:?}"),
        })
    }

    /// Waits for the server's end of the connection; anything else that comes is an error.
    pub fn expect_end(&mut self) -> Result<()> {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest)?;
        if rest.is_empty() { Ok(()) } else { bail!("{rest:?} came before the end") }
    }

    /// How long one reply may take from now on.
    pub fn patience(&mut self, patience: Duration) -> Result<()> {
        Ok(self.reader.get_ref().socket().set_read_timeout(Some(patience))?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            bail!("the server ended the connection");
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn bulk(&mut self, length: usize) -> Result<String> {
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
