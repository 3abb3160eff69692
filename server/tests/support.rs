//! A server process of its own and connections that print replies as text.
#![allow(clippy::unwrap_used)] // a test file that is a module of a test
#![allow(dead_code)] // of several, none of which needs all of it

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const BINARY: &str = env!("CARGO_BIN_EXE_redisha-server");
const BOUND: Duration = Duration::from_secs(20);

pub struct Server {
    child: Child,
    dir: PathBuf,
    pub port: u16,
}

/// A folder of this test's own.
pub fn temp_dir() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("redisha-process-{}-{count}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    pub fn start(args: &[&str]) -> Self {
        Self::spawn(Command::new(BINARY).args(["--port", "0"]), args)
    }

    pub fn start_with_file(file: &Path, args: &[&str]) -> Self {
        Self::spawn(Command::new(BINARY).arg(file).args(["--port", "0"]), args)
    }

    /// Starts it by another program, which takes the directives as its last arguments.
    pub fn start_through(words: &[&str]) -> Self {
        let (program, first) = words.split_first().unwrap();
        Self::spawn(Command::new(program).args(first).args(["--port", "0"]), &[])
    }

    /// The kernel chooses the port; the server tells which on its standard error stream.
    fn spawn(command: &mut Command, args: &[&str]) -> Self {
        let dir = temp_dir();
        let mut child = command
            .args(["--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(&dir)
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let port = lines
            .find_map(|line| {
                let line = line.unwrap();
                line.split_once("Ready to accept connections on port ")?.1.parse().ok()
            })
            .expect("the server did not say that it is ready");
        // What the server says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, dir, port }
    }

    pub fn connect(&self) -> Conn {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        Conn { reader: BufReader::new(stream) }
    }

    /// Sends SIGTERM and returns the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let end = Instant::now() + BOUND;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < end, "the server did not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; the folder may have been removed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub struct Conn {
    reader: BufReader<TcpStream>,
}

impl Conn {
    pub fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    pub fn writer(&self) -> TcpStream {
        self.reader.get_ref().try_clone().unwrap()
    }

    /// Sends one command in inline form and reads its reply.
    pub fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes());
        self.read()
    }

    /// Asks until the reply is as wanted.
    pub fn wait_for(&mut self, command: &str, wanted: impl Fn(&str) -> bool) {
        let end = Instant::now() + BOUND;
        loop {
            let reply = self.ask(command);
            if wanted(&reply) {
                return;
            }
            assert!(Instant::now() < end, "{command} is still {reply}");
        }
    }

    /// One reply as text: `"bulk"`, `1`, `[a, b]`, `nil`, `-ERR …`; `end` when the peer ended.
    pub fn read(&mut self) -> String {
        let mut line = Vec::new();
        if self.reader.read_until(b'\n', &mut line).unwrap() == 0 {
            return "end".into();
        }
        let line = String::from_utf8(line).unwrap();
        let (kind, rest) = line.trim_end_matches("\r\n").split_at(1);
        match kind {
            "+" | ":" => rest.into(),
            "-" => format!("-{rest}"),
            "$" | "*" if rest == "-1" => "nil".into(),
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
                self.reader.read_exact(&mut bytes).unwrap();
                format!("\"{}\"", String::from_utf8_lossy(&bytes[..bytes.len() - 2]))
            }
            "*" => {
                let count = rest.parse().unwrap();
                let parts: Vec<_> = (0..count).map(|_| self.read()).collect();
                format!("[{}]", parts.join(", "))
            }
            _ => panic!("not a reply: {line}"),
        }
    }
}
