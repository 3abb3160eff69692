//! What is fuzzed, each by a target of its own.

use server::persistence::aof;
use server::persistence::load::{DataLoader, Template};
use server::persistence::rdb::crc64;

use super::chance::Chance;
use super::corpus::{Corpus, encode};
use super::mutate::{mutate, pieces};
use super::node::Node;

/// Something that takes chance for input and must not panic.
pub trait Target {
    fn run(&mut self, chance: &mut Chance);
}

pub type Make = fn(&Corpus) -> Box<dyn Target + '_>;

/// Every target by its name.
pub const ALL: &[(&str, Make)] = &[
    ("resp", |corpus| Box::new(Resp { corpus, node: Node::new() })),
    ("rdb", |corpus| Box::new(Rdb { corpus })),
    ("aof", |corpus| Box::new(Aof { corpus })),
    ("restore", |corpus| Box::new(Restore { corpus, node: Node::new() })),
    ("replication", |corpus| Box::new(Replication { corpus })),
    ("acl", |corpus| Box::new(Acl { corpus, node: Node::new() })),
    ("glob", |corpus| Box::new(Glob { corpus })),
    ("lua", |corpus| Box::new(Lua { corpus, node: Node::new() })),
];

/// The most commands that one run sends.
const COMMANDS_MAX: usize = 8;

/// Requests, broken anywhere, in pieces.
struct Resp<'a> {
    corpus: &'a Corpus,
    node: Node,
}

impl Target for Resp<'_> {
    fn run(&mut self, chance: &mut Chance) {
        let seeds = &self.corpus.encoded;
        let mut bytes = Vec::new();
        for _ in 0..=chance.below(COMMANDS_MAX) {
            bytes.extend_from_slice(&seeds[chance.below(seeds.len())]);
        }
        mutate(chance, &mut bytes, seeds);
        for piece in pieces(chance, &bytes) {
            self.node.send(piece);
        }
        self.node.reconnect();
        self.node.ask(&["FLUSHALL"]);
    }
}

/// Whole snapshots, the checksum switched off.
struct Rdb<'a> {
    corpus: &'a Corpus,
}

impl Target for Rdb<'_> {
    fn run(&mut self, chance: &mut Chance) {
        let bytes = snapshot(chance, self.corpus);
        let mut loader = DataLoader::new(Template::default());
        for piece in pieces(chance, &bytes) {
            if !matches!(loader.feed(piece), Ok(false)) {
                return;
            }
        }
    }
}

fn snapshot(chance: &mut Chance, corpus: &Corpus) -> Vec<u8> {
    let mut bytes = corpus.rdb[chance.below(corpus.rdb.len())].clone();
    bytes.truncate(bytes.len() - 8);
    mutate(chance, &mut bytes, &corpus.payloads);
    bytes.extend_from_slice(&[0; 8]);
    bytes
}

/// Append-only files: a preamble at times, annotations, frames and commands.
struct Aof<'a> {
    corpus: &'a Corpus,
}

impl Target for Aof<'_> {
    fn run(&mut self, chance: &mut Chance) {
        let seeds = &self.corpus.encoded;
        let mut bytes = Vec::new();
        if chance.one_in(4) {
            bytes = snapshot(chance, self.corpus);
        }
        if chance.one_in(2) {
            let id = "0123456789abcdef0123456789abcdef01234567";
            bytes.extend_from_slice(format!("#redisha:at 100 0 1.0 {id}\r\n").as_bytes());
        }
        for _ in 0..=chance.below(COMMANDS_MAX) {
            let command = &seeds[chance.below(seeds.len())];
            match chance.below(6) {
                0 => bytes.extend_from_slice(format!("#+{}\r\n", command.len()).as_bytes()),
                1 => bytes.extend_from_slice(&encode(&["MULTI"])),
                2 => bytes.extend_from_slice(&encode(&["EXEC"])),
                3 => bytes.extend_from_slice(b"#TS:1700000000\r\n"),
                _ => {}
            }
            bytes.extend_from_slice(command);
        }
        mutate(chance, &mut bytes, seeds);
        if chance.one_in(3) {
            // Whatever it is, its checksum is right.
            let mut part = aof::Draft::default();
            part.frame(bytes.len() as u64, |out| out.extend_from_slice(&bytes));
            bytes = aof::Sums::default().seal(part);
            if chance.one_in(2) {
                mutate(chance, &mut bytes, seeds);
            }
        }
        // What it says of the bytes does not matter here.
        let _ = aof::read(&bytes);
    }
}

/// Payloads with a right version and checksum, and what can be done with what they made.
struct Restore<'a> {
    corpus: &'a Corpus,
    node: Node,
}

const READS: &[&str] = &[
    "TYPE k",
    "OBJECT ENCODING k",
    "DUMP k",
    "STRLEN k",
    "GETRANGE k 0 -1",
    "LRANGE k 0 -1",
    "LPOS k a",
    "HGETALL k",
    "HINCRBY k a 1",
    "HTTL k FIELDS 1 a",
    "SMEMBERS k",
    "SISMEMBER k 1",
    "ZRANGE k 0 -1 WITHSCORES",
    "ZRANGEBYLEX k - +",
    "ZADD k 1 new",
    "XRANGE k - +",
    "XINFO STREAM k FULL",
    "XREADGROUP GROUP group c STREAMS k >",
    "XTRIM k MAXLEN 1",
    "PFCOUNT k",
    "LPUSH k new",
    "RPOP k",
    "LREM k 0 a",
    "HSET k new 1",
    "HDEL k a",
    "SADD k new",
    "SPOP k",
    "ZPOPMIN k",
    "APPEND k x",
    "COPY k copy REPLACE",
    "SORT k ALPHA",
    "DEL k copy",
];

impl Target for Restore<'_> {
    fn run(&mut self, chance: &mut Chance) {
        let seeds = &self.corpus.payloads;
        let mut payload = seeds[chance.below(seeds.len())].clone();
        mutate(chance, &mut payload, seeds);
        payload.extend_from_slice(&11u16.to_le_bytes());
        let sum = crc64::update(0, &payload);
        payload.extend_from_slice(&sum.to_le_bytes());
        let reply = self.node.ask(&[b"RESTORE".as_slice(), b"k", b"0", &payload, b"REPLACE"]);
        if reply.starts_with(b"+OK") {
            let first = chance.below(READS.len());
            let order = READS[first..].iter().chain(&READS[..first]);
            for read in order {
                self.node.ask(&read.split(' ').collect::<Vec<_>>());
            }
            self.node.ask(&["FLUSHALL"]);
        }
    }
}

/// A primary that sends anything: a snapshot and then a stream.
struct Replication<'a> {
    corpus: &'a Corpus,
}

impl Target for Replication<'_> {
    fn run(&mut self, chance: &mut Chance) {
        let mut node = Node::new();
        let Some(link) = node.follow() else { panic!("the link was not made") };
        let whole = chance.one_in(2);
        let rdb = if whole {
            self.corpus.rdb[chance.below(self.corpus.rdb.len())].clone()
        } else {
            snapshot(chance, self.corpus)
        };
        let mut bytes = format!("${}\r\n", rdb.len()).into_bytes();
        bytes.extend_from_slice(&rdb);
        let mut stream = Vec::new();
        for _ in 0..=chance.below(COMMANDS_MAX) {
            let seeds = &self.corpus.encoded;
            stream.extend_from_slice(&seeds[chance.below(seeds.len())]);
            if chance.one_in(4) {
                stream.extend_from_slice(&encode(&["MULTI"]));
            }
            if chance.one_in(4) {
                stream.extend_from_slice(&encode(&["EXEC"]));
            }
        }
        mutate(chance, &mut stream, &self.corpus.encoded);
        bytes.extend_from_slice(&stream);
        for piece in pieces(chance, &bytes) {
            node.link(link, piece);
        }
        node.tick();
        node.ask(&["INFO"]);
    }
}

/// Rules of users, and commands under them.
struct Acl<'a> {
    corpus: &'a Corpus,
    node: Node,
}

impl Target for Acl<'_> {
    fn run(&mut self, chance: &mut Chance) {
        let seeds = &self.corpus.acl;
        let mut rules = seeds[chance.below(seeds.len())].clone();
        mutate(chance, &mut rules, seeds);
        // Whether it is one does not matter here.
        let _ = server::acl::parse(&rules);
        let mut command: Vec<&[u8]> = vec![b"ACL", b"SETUSER", b"alice"];
        command.extend(rules.split(|byte| *byte == b' '));
        self.node.ask(&command);
        for line in ["ACL GETUSER alice", "ACL LIST", "ACL DRYRUN alice GET a"] {
            self.node.ask(&line.split(' ').collect::<Vec<_>>());
        }
        let seeds = &self.corpus.commands;
        let mut dry = vec!["ACL".to_owned(), "DRYRUN".to_owned(), "alice".to_owned()];
        dry.extend(seeds[chance.below(seeds.len())].iter().cloned());
        self.node.ask(&dry);
        if chance.one_in(8) {
            self.node.ask(&["ACL", "DELUSER", "alice"]);
        }
    }
}

/// Patterns against texts.
struct Glob<'a> {
    corpus: &'a Corpus,
}

impl Target for Glob<'_> {
    fn run(&mut self, chance: &mut Chance) {
        let seeds = &self.corpus.globs;
        let mut pattern = seeds[chance.below(seeds.len())].clone();
        mutate(chance, &mut pattern, seeds);
        let mut text = pattern.clone();
        mutate(chance, &mut text, seeds);
        pattern.truncate(64);
        text.truncate(64);
        server::glob::matches(&pattern, &text);
        server::glob::matches(&text, &pattern);
    }
}

/// Scripts that are nearly right.
struct Lua<'a> {
    corpus: &'a Corpus,
    node: Node,
}

impl Target for Lua<'_> {
    fn run(&mut self, chance: &mut Chance) {
        let seeds = &self.corpus.lua;
        let mut script = seeds[chance.below(seeds.len())].clone();
        mutate(chance, &mut script, seeds);
        // A loop without an end would be a finding of the time limit, not of this.
        let text = String::from_utf8_lossy(&script);
        if ["while", "repeat", "for", "goto"].iter().any(|word| text.contains(word)) {
            return;
        }
        self.node.ask(&[b"EVAL".as_slice(), &script, b"1", b"key", b"argument"]);
        if chance.one_in(64) {
            self.node.ask(&["SCRIPT", "FLUSH"]);
            self.node.ask(&["FLUSHALL"]);
        }
    }
}
