//! A program that speaks as a primary does, and says and hides what a test wants.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait;

const ID: &str = "1234567890123456789012345678901234567890";
const PATIENCE: Duration = Duration::from_secs(30);
/// An RDB without keys and without a checksum.
const EMPTY: &[u8] = b"REDIS0011\xff\0\0\0\0\0\0\0\0";

#[derive(Default)]
struct State {
    /// What has been streamed so far.
    stream: Vec<u8>,
    /// What it was told, but for the questions that are asked again and again.
    heard: Vec<String>,
    /// Commands that begin so are answered only when the test says what.
    mute: BTreeSet<&'static str>,
    follows: Option<(String, String)>,
    /// Answers that are said late, on the connection that has waited last.
    late: Vec<u8>,
}

/// See the module. Its data are empty; all that it has is its stream.
pub struct Impostor {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Impostor {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &state));
            }
        });
        Ok(Self { port, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Streams a command.
    pub fn stream(&self, words: &[&str]) {
        let bytes = encode(words);
        self.state().stream.extend_from_slice(&bytes);
    }

    /// How long its stream is.
    pub fn offset(&self) -> usize {
        self.state().stream.len()
    }

    /// From now on it answers what begins so only with what it is told to say.
    pub fn mute(&self, start: &'static str) {
        self.state().mute.insert(start);
    }

    /// Says these bytes on the connection that waits for an answer.
    pub fn say(&self, answer: &str) {
        self.state().late = answer.as_bytes().to_vec();
    }

    pub fn heard(&self) -> Vec<String> {
        self.state().heard.clone()
    }

    /// Waits until it was told something that begins so.
    pub fn until_heard(&self, start: &str) -> Result<()> {
        wait::until(start, PATIENCE, || {
            Ok(self.heard().iter().any(|line| line.starts_with(start)).then_some(()))
        })
        .with_context(|| format!("{:?}", self.heard()))
    }
}

fn encode(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut input = BufReader::new(stream);
    loop {
        let words = read(&mut input)?;
        let line = words.join(" ");
        let mut now = state.lock().ok()?;
        if !["PING", "ROLE", "REPLCONF", "CLIENT UNPAUSE"].iter().any(|w| line.starts_with(w)) {
            now.heard.push(line.clone());
        }
        if words[0] == "REPLICAOF" {
            now.follows = Some((words[1].clone(), words[2].clone()));
        }
        if words[0] == "PSYNC" {
            let next = words[2].parse::<usize>().ok().filter(|_| words[1] == ID);
            drop(now);
            return send_stream(&mut out, next, state);
        }
        if now.mute.iter().any(|start| line.starts_with(start)) {
            drop(now);
            out.write_all(&late(state)?).ok()?;
            continue;
        }
        let answer = match words[0].as_str() {
            "PING" => "+PONG\r\n".to_owned(),
            "ROLE" => match &now.follows {
                None => format!("*3\r\n$6\r\nmaster\r\n:{}\r\n*0\r\n", now.stream.len()),
                Some((host, port)) => format!(
                    "*5\r\n$5\r\nslave\r\n${}\r\n{host}\r\n:{port}\r\n$9\r\nconnected\r\n:1\r\n",
                    host.len()
                ),
            },
            "CLIENT" if words[1] == "FORCE" => "-ERR unknown subcommand\r\n".to_owned(),
            _ => "+OK\r\n".to_owned(),
        };
        drop(now);
        out.write_all(answer.as_bytes()).ok()?;
    }
}

/// Waits until the test says what to answer.
fn late(state: &Mutex<State>) -> Option<Vec<u8>> {
    loop {
        let said = std::mem::take(&mut state.lock().ok()?.late);
        if !said.is_empty() {
            return Some(said);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The stream from that byte on (counted from 1), or all data first.
fn send_stream(out: &mut TcpStream, next: Option<usize>, state: &Mutex<State>) -> Option<()> {
    let mut sent = if let Some(next) = next {
        out.write_all(format!("+CONTINUE {ID}\r\n").as_bytes()).ok()?;
        next - 1
    } else {
        let sent = state.lock().ok()?.stream.len();
        let head = format!("+FULLRESYNC {ID} {sent}\r\n${}\r\n", EMPTY.len());
        out.write_all(&[head.as_bytes(), EMPTY].concat()).ok()?;
        sent
    };
    loop {
        let part = state.lock().ok()?.stream[sent..].to_vec();
        out.write_all(&part).ok()?;
        sent += part.len();
        thread::sleep(Duration::from_millis(10));
    }
}

fn read(input: &mut impl BufRead) -> Option<Vec<String>> {
    let mut line = String::new();
    input.read_line(&mut line).ok()?;
    let count: usize = line.trim_end().strip_prefix('*')?.parse().ok()?;
    let mut words = Vec::new();
    for _ in 0..count {
        line.clear();
        input.read_line(&mut line).ok()?;
        let length: usize = line.trim_end().strip_prefix('$')?.parse().ok()?;
        let mut bytes = vec![0; length + 2];
        input.read_exact(&mut bytes).ok()?;
        bytes.truncate(length);
        words.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    Some(words)
}
