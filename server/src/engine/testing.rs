//! An engine without sockets, for tests of what clients are told.

use super::{Engine, Now};
use crate::client::ClientId;
use crate::config::Config;

/// An engine with a clock of its own. A client is named by the number that [`Bench::client`] gave.
pub struct Bench {
    pub engine: Engine,
    clients: Vec<ClientId>,
    now: Now,
}

impl Bench {
    /// With these directives: `name value` each.
    pub fn new(directives: &[(&str, &str)]) -> Self {
        let mut config = Config::default();
        for (name, value) in directives {
            config.set(name, value).expect(name);
        }
        let now = Now { mono_us: 1_000_000, unix_us: 1_700_000_000_000_000 };
        let mut engine = Engine::new(config, now);
        engine.set_now(now);
        Self { engine, clients: Vec::new(), now }
    }

    /// A new connection.
    pub fn client(&mut self) -> usize {
        let peer = format!("127.0.0.1:{}", 40_000 + self.clients.len());
        let id = self.engine.accepted(peer.parse().ok());
        self.clients.push(id);
        self.clients.len() - 1
    }

    pub fn id(&self, client: usize) -> ClientId {
        self.clients[client]
    }

    /// Lets time pass, and what is due happen.
    pub fn pass_ms(&mut self, ms: u64) {
        self.now.mono_us += ms * 1000;
        self.now.unix_us += ms as i64 * 1000;
        self.engine.set_now(self.now);
        self.engine.tick();
        self.engine.cron();
        super::hooks::cron(&mut self.engine);
        self.engine.turn_end();
        self.engine.spare_turn();
    }

    /// Sends words parted by spaces (`''` is the empty word) and returns what the client was
    /// written, as [`Bench::out`].
    pub fn ask(&mut self, client: usize, command: &str) -> String {
        let words: Vec<&[u8]> = command
            .split(' ')
            .map(|word| if word == "''" { &b""[..] } else { word.as_bytes() })
            .collect();
        let mut bytes = Vec::new();
        crate::resp::encode_command(&mut bytes, words.iter().copied());
        self.engine.receive(self.clients[client], &bytes);
        self.engine.turn_end();
        self.engine.spare_turn();
        self.out(client)
    }

    /// Takes what a client was written since the last look: the wire's text with a space for each
    /// end of a line; `gone` when the connection is to be closed.
    pub fn out(&mut self, client: usize) -> String {
        let Some(client) = self.engine.clients.get_mut(self.clients[client]) else {
            return "gone".into();
        };
        let out = std::mem::take(&mut client.out);
        let text = String::from_utf8_lossy(&out).replace("\r\n", " ");
        let text = text.trim_end().to_owned();
        if client.closing == crate::client::Closing::No {
            text
        } else {
            format!("{text} gone").trim_start().to_owned()
        }
    }
}
