//! Two engines, and the bytes between them carried by hand.

use crate::client::{ClientId, Closing};
use crate::engine::effects::{Effect, LinkEvent};
use crate::engine::testing::Bench;

/// A source, its client, a target and the connection between them.
struct Pair {
    source: Bench,
    client: usize,
    other: usize,
    target: Bench,
    /// What the source opened, and the target's client for it.
    link: Option<ClientId>,
    peer: usize,
}

impl Pair {
    fn new() -> Self {
        let (mut source, mut target) = (Bench::new(&[]), Bench::new(&[]));
        let (client, other, peer) = (source.client(), source.client(), target.client());
        Self { source, client, other, target, link: None, peer }
    }

    /// Asks the source without carrying anything.
    fn say(&mut self, command: &str) {
        assert_eq!(self.source.ask(self.client, command), "", "{command} is answered later");
        for effect in std::mem::take(&mut self.source.engine.effects) {
            if let Effect::Connect { link, .. } = effect {
                self.link = Some(link);
                self.peer = self.target.client();
                self.source.engine.link_event(link, LinkEvent::Connected);
            }
        }
    }

    /// What the source has written and not sent.
    fn sent(&mut self) -> Vec<u8> {
        let link = self.link.and_then(|link| self.source.engine.clients.get_mut(link));
        link.map(|link| std::mem::take(&mut link.out)).unwrap_or_default()
    }

    /// Lets the target execute what was sent, and returns what it answers.
    fn executed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let peer = self.target.id(self.peer);
        self.target.engine.receive(peer, bytes);
        self.target.engine.turn_end();
        let peer = self.target.engine.clients.get_mut(peer).expect("it is connected");
        std::mem::take(&mut peer.out)
    }

    fn answered(&mut self, bytes: &[u8]) {
        self.source.engine.receive(self.link.expect("a link"), bytes);
        self.source.engine.turn_end();
    }

    /// Carries bytes both ways until nothing is under way, and returns the command's answer.
    fn carry(&mut self) -> String {
        loop {
            let bytes = self.sent();
            if bytes.is_empty() {
                return self.source.out(self.client);
            }
            let answers = self.executed(&bytes);
            self.answered(&answers);
        }
    }

    fn moves(&mut self, command: &str, expected: &str) {
        self.say(command);
        assert_eq!(self.carry(), expected, "{command}");
    }

    fn here(&mut self, command: &str, expected: &str) {
        assert_eq!(self.source.ask(self.other, command), expected, "{command} here");
    }

    fn there(&mut self, command: &str, expected: &str) {
        let client = self.target.client();
        assert_eq!(self.target.ask(client, command), expected, "{command} there");
    }
}

#[test]
fn keys_are_moved_copied_and_replaced() {
    let mut pair = Pair::new();
    pair.here("SET k 1", "+OK");
    pair.here("RPUSH l a b", ":2");
    pair.here("PEXPIRE l 5000", ":1");
    pair.moves("MIGRATE h 7 '' 0 100 KEYS none k l k", "+OK");
    pair.here("EXISTS k l", ":0");
    pair.there("GET k", "$1 1");
    pair.there("PTTL l", ":5000");
    pair.here("SET k 2", "+OK");
    pair.moves(
        "MIGRATE h 7 k 0 100 COPY",
        "-ERR Target instance replied with error: BUSYKEY Target key name already exists.",
    );
    pair.moves("MIGRATE h 7 k 0 100 COPY REPLACE", "+OK");
    pair.here("GET k", "$1 2");
    pair.there("GET k", "$1 2");
    pair.here("SET k2 2", "+OK");
    pair.moves("MIGRATE h 7 '' 3 100 KEYS k k2", "+OK");
    pair.here("DBSIZE", ":0");
    assert_eq!(pair.source.engine.rooms.transfers.len(), 1, "its connection is kept");
    pair.source.pass_ms(11_000);
    let link = pair.link.expect("a link");
    let closing = pair.source.engine.clients.get(link).map(|client| client.closing);
    assert_eq!(closing, Some(Closing::Now), "for some time");
}

#[test]
fn only_what_the_target_took_is_deleted() {
    let mut pair = Pair::new();
    pair.here("MSET a 1 b 2 c 3", "+OK");
    pair.there("SET b x", "+OK");
    let busy = "-ERR Target instance replied with error: BUSYKEY Target key name already exists.";
    pair.moves("MIGRATE h 7 '' 0 100 KEYS a b c", busy);
    pair.here("KEYS *", "*1 $1 b");
    pair.there("DBSIZE", ":3");
}

/// With the answer of the target came the deletion, whatever had been written meanwhile: an
/// optimistic move loses acknowledged writes.
#[test]
fn a_write_while_keys_are_on_their_way_goes_along() {
    let mut pair = Pair::new();
    pair.here("MSET n 1 gone x same s", "+OK");
    pair.here("XADD s 1-1 f v", "$3 1-1");
    pair.say("MIGRATE h 7 '' 0 100 KEYS n gone same");
    let bytes = pair.sent();
    let answers = pair.executed(&bytes);
    pair.here("INCR n", ":2");
    pair.here("DEL gone", ":1");
    pair.answered(&answers);
    // The second time writes wait, and reads do not.
    assert_eq!(pair.source.ask(pair.other, "INCR n"), "");
    let reader = pair.source.client();
    assert_eq!(pair.source.ask(reader, "GET n"), "$1 2");
    assert_eq!(pair.carry(), "+OK");
    assert_eq!(pair.source.out(pair.other), ":1", "what waited finds no key");
    pair.there("MGET n gone same", "*3 $1 2 $-1 $1 s");
    pair.here("EXISTS gone same", ":0");
}

/// A consumer group's progress breaks no watch.
#[test]
fn what_a_group_reads_meanwhile_goes_along() {
    let mut pair = Pair::new();
    pair.here("XADD s 1-1 f v", "$3 1-1");
    pair.here("XGROUP CREATE s g 0", "+OK");
    pair.say("MIGRATE h 7 s 0 100");
    let bytes = pair.sent();
    let answers = pair.executed(&bytes);
    assert!(pair.source.ask(pair.other, "XREADGROUP GROUP g c STREAMS s >").contains("1-1"));
    pair.answered(&answers);
    assert_eq!(pair.carry(), "+OK");
    pair.there("XACK s g 1-1", ":1");
}

#[test]
fn a_deletion_waits_for_the_end_of_a_pause() {
    let mut pair = Pair::new();
    pair.here("SET k 1", "+OK");
    pair.say("MIGRATE h 7 k 0 100");
    pair.here("CLIENT PAUSE 60000 WRITE", "+OK");
    assert_eq!(pair.carry(), "", "nothing enters the stream now");
    pair.here("GET k", "$1 1");
    pair.source.pass_ms(1000);
    assert_eq!(pair.source.out(pair.client), "", "and its time does not run out");
    pair.here("CLIENT UNPAUSE", "+OK");
    pair.source.pass_ms(100);
    assert_eq!(pair.source.out(pair.client), "+OK");
    pair.here("GET k", "$-1");
}

/// Whoever is no primary any more must not delete: the keys are the new primary's.
#[test]
fn a_server_that_became_a_replica_meanwhile_leaves_the_keys() {
    let mut pair = Pair::new();
    pair.here("SET k 1", "+OK");
    pair.say("MIGRATE h 7 k 0 100");
    pair.here("REPLICAOF 127.0.0.1 1", "+OK");
    let answer = pair.carry();
    assert!(answer.starts_with("-IOERR this server is no primary any more"), "{answer}");
    pair.here("GET k", "$1 1");
}

#[test]
fn a_silent_or_lost_target_is_an_error_and_nothing_is_deleted() {
    let mut pair = Pair::new();
    pair.here("SET k 1", "+OK");
    pair.say("MIGRATE h 7 k 0 100");
    pair.source.pass_ms(90);
    assert_eq!(pair.source.out(pair.client), "");
    // Bytes went since the beginning, so it waits for one more time.
    pair.source.pass_ms(110);
    pair.source.pass_ms(110);
    let lost = "-IOERR error or timeout reading to target instance";
    assert_eq!(pair.source.out(pair.client), lost);
    pair.say("MIGRATE h 7 k 0 100");
    let link = pair.link.expect("a link");
    pair.source.engine.link_event(link, LinkEvent::Closed);
    pair.source.engine.turn_end();
    assert_eq!(pair.source.out(pair.client), lost);
    assert_eq!(pair.source.ask(pair.client, "MIGRATE h 7 k 0 100"), "");
    let Some(Effect::Connect { link, .. }) = pair.source.engine.effects.pop() else {
        panic!("it connects again")
    };
    pair.source.engine.link_event(link, LinkEvent::Failed("refused".into()));
    pair.source.engine.turn_end();
    let refused = "-IOERR error or timeout connecting to the client";
    assert_eq!(pair.source.out(pair.client), refused);
    pair.here("GET k", "$1 1");
    assert!(pair.source.engine.rooms.transfers.is_empty());
}

/// A connection that has logged in is nobody else's.
#[test]
fn logins_do_not_share_connections() {
    let mut pair = Pair::new();
    pair.there("CONFIG SET requirepass secret", "+OK");
    pair.here("MSET a 1 b 2", "+OK");
    pair.moves("MIGRATE h 7 a 0 100 AUTH secret", "+OK");
    let refused = "-ERR Target instance replied with error: NOAUTH Authentication required.";
    pair.moves("MIGRATE h 7 b 0 100", refused);
    let refused = "-ERR Target instance replied with error: WRONGPASS invalid username-password \
                   pair or user is disabled.";
    pair.moves("MIGRATE h 7 b 0 100 AUTH2 default wrong", refused);
    pair.here("GET b", "$1 2");
}

#[test]
fn what_is_written_wrongly_is_refused() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    let mut check = |command: &str, expected: &str| {
        assert_eq!(bench.ask(client, command), expected, "{command}");
    };
    check("MIGRATE h 7 k 0 100", "+NOKEY");
    check("SET k v", "+OK");
    check("MIGRATE h 7 k 0 x", "-ERR value is not an integer or out of range");
    check("MIGRATE h 7 k x 1", "-ERR value is not an integer or out of range");
    check("MIGRATE h 7 k 0 1 FOO", "-ERR syntax error");
    check("MIGRATE h 7 k 0 1 AUTH", "-ERR syntax error");
    check("MIGRATE h 7 k 0 1 AUTH2 u", "-ERR syntax error");
    let empty = "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty \
                 string";
    check("MIGRATE h 7 k 0 1 KEYS k", empty);
    check("MIGRATE h 70000 k 0 1", "-IOERR error or timeout connecting to the client");
    check("COMMAND GETKEYS MIGRATE h 7 k 0 1 COPY", "*1 $1 k");
    check("COMMAND GETKEYS MIGRATE h 7 '' 0 1 AUTH keys KEYS a b", "*2 $1 a $1 b");
    check("MULTI", "+OK");
    check("MIGRATE h 7 none 0 1", "+QUEUED");
    check("MIGRATE h 7 k 0 1", "+QUEUED");
    let waits = "ERR MIGRATE waits for another server, which a transaction or a script cannot";
    check("EXEC", &format!("*2 +NOKEY -{waits}"));
    let script = "return(redis.call('migrate','h',7,'k',0,1))";
    assert!(bench.ask(client, &format!("EVAL {script} 0")).contains(waits));
}

/// Rights are needed for the keys, wherever they stand.
#[test]
fn rights_are_asked_for_every_key() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    bench.ask(client, "ACL SETUSER joe on nopass +@all ~mine*");
    bench.ask(client, "AUTH joe x");
    let denied = "-NOPERM No permissions to access a key";
    assert_eq!(bench.ask(client, "MIGRATE h 7 other 0 1"), denied);
    assert_eq!(bench.ask(client, "MIGRATE h 7 '' 0 1 KEYS mine other"), denied);
    assert_eq!(bench.ask(client, "MIGRATE h 7 '' 0 1 KEYS mine mine2"), "+NOKEY");
}
