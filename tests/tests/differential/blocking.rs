//! Clients that wait: a script over several connections, on both servers step by step.

use super::pair::{Pair, difference};
use std::time::Duration;
use tests::programs::eventually;
use tests::script::words;
use tests::wire::Connection;

const CONNECTIONS: usize = 4;

/// One server with its connections; the first one never waits.
struct Side {
    connections: Vec<Connection>,
}

impl Side {
    fn open(port: u16) -> Self {
        let open = |_| Connection::open(port).expect("the server accepts");
        Self { connections: (0..CONNECTIONS).map(open).collect() }
    }

    fn send(&mut self, connection: usize, words: &[&str]) {
        self.connections[connection].queue(words);
        self.connections[connection].flush();
    }

    fn wait_for_blocked(&mut self, count: &str) {
        let wanted = format!("blocked_clients:{count}\r\n");
        eventually(&wanted, Duration::from_secs(20), || {
            let info = self.connections[0].call(&["INFO", "clients"]);
            info.text.is_some_and(|text| text.contains(&wanted))
        });
    }
}

/// Runs the script; a difference names its line.
pub fn run(script: &str) {
    let Some(pair) = Pair::start() else { return };
    let mut sides = pair.ports.map(Side::open);
    for dialect in ["2", "3"] {
        for side in &mut sides {
            for connection in &mut side.connections {
                connection.call(&["HELLO", dialect]);
            }
        }
        for (number, line) in script.lines().enumerate() {
            let number = number + 1;
            if let Some(count) = line.strip_prefix('=') {
                for side in &mut sides {
                    side.wait_for_blocked(count);
                }
                continue;
            }
            let (connection, line) = match line.split_once('>') {
                Some((digit, rest)) if digit.len() == 1 => {
                    (digit.parse().expect("a connection's number"), rest)
                }
                _ => (0, line),
            };
            let reads = line.strip_suffix('?').and_then(|digit| digit.parse::<usize>().ok());
            let words = if reads.is_some() { Vec::new() } else { words(line) };
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if !words.is_empty() {
                for side in &mut sides {
                    side.send(connection, &words);
                }
            }
            let from = reads.or((connection == 0 && !words.is_empty()).then_some(0));
            if let Some(from) = from {
                let shown: Vec<&str> = if words.is_empty() { vec![line] } else { words };
                let [ours, theirs] = sides.each_mut().map(|side| side.connections[from].read());
                let found = difference(&shown, &ours, &theirs);
                assert!(found.is_none(), "line {number}, RESP{dialect}: {}", found.expect("it is"));
            }
        }
    }
}
