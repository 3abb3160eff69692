//! A server without sockets: bytes in, bytes out, and a clock that only moves when told.

use server::client::{ClientId, Closing};
use server::config::Config;
use server::engine::effects::{Effect, LinkEvent};
use server::engine::{Engine, Now};

pub struct Node {
    pub engine: Engine,
    client: ClientId,
    now: Now,
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    pub fn new() -> Self {
        let mut config = Config::default();
        for (name, value) in [("save", ""), ("proto-max-bulk-len", "1mb")] {
            config.set(name, value).expect("a directive of the table");
        }
        let now = Now { mono_us: 1_000_000, unix_us: 1_700_000_000_000_000 };
        let mut engine = Engine::new(config, now);
        engine.set_now(now);
        let client = engine.accepted(None);
        Self { engine, client, now }
    }

    /// Sends a command and returns what came back.
    pub fn ask(&mut self, words: &[impl AsRef<[u8]>]) -> Vec<u8> {
        self.send(&super::corpus::encode(words))
    }

    /// Sends bytes and returns what came back; a connection that was closed is made anew.
    pub fn send(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.now.mono_us += 1000;
        self.now.unix_us += 1000;
        self.engine.set_now(self.now);
        self.engine.receive(self.client, bytes);
        self.engine.turn_end();
        self.engine.spare_turn();
        let out = self.engine.clients.get_mut(self.client).map(|client| {
            let out = std::mem::take(&mut client.out);
            (out, client.closing == Closing::No && client.may_run())
        });
        let (out, open) = out.unwrap_or_default();
        if !open {
            self.reconnect();
        }
        out
    }

    /// Another connection in the place of this one.
    pub fn reconnect(&mut self) {
        self.engine.disconnected(self.client);
        self.client = self.engine.accepted(None);
    }

    /// Becomes a replica whose link has been answered up to the snapshot; gives the link.
    pub fn follow(&mut self) -> Option<ClientId> {
        self.engine.effects.clear();
        self.ask(&["REPLICAOF", "127.0.0.1", "1"]);
        self.tick();
        let link = self.engine.effects.iter().find_map(|effect| match effect {
            Effect::Connect { link, .. } => Some(*link),
            _ => None,
        })?;
        self.engine.link_event(link, LinkEvent::Connected);
        for _ in 0..20 {
            let client = self.engine.clients.get_mut(link)?;
            let out = String::from_utf8_lossy(&std::mem::take(&mut client.out)).into_owned();
            if out.contains("PSYNC") {
                let id = "0123456789abcdef0123456789abcdef01234567";
                self.link(link, format!("+FULLRESYNC {id} 0\r\n").as_bytes());
                return Some(link);
            }
            let asked = out.matches('*').count();
            let answers = if out.contains("PING") { "+PONG\r\n" } else { "+OK\r\n" };
            self.link(link, answers.repeat(asked.max(1)).as_bytes());
        }
        None
    }

    /// Bytes of the primary.
    pub fn link(&mut self, link: ClientId, bytes: &[u8]) {
        self.engine.link_event(link, LinkEvent::Data(bytes));
        self.engine.turn_end();
        self.engine.spare_turn();
    }

    /// Lets a second pass.
    pub fn tick(&mut self) {
        self.now.mono_us += 1_000_000;
        self.now.unix_us += 1_000_000;
        self.engine.set_now(self.now);
        self.engine.tick();
        self.engine.cron();
        self.engine.turn_end();
        self.engine.spare_turn();
    }
}
