//! Both servers with a connection to each, and the comparison of their replies.

use std::env;
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::local::scratch;
use tests::ports::free_port;
use tests::programs::{self, Running, eventually};
use tests::wire::{Connection, Reply};

pub struct Pair {
    pub ours: Connection,
    pub theirs: Connection,
    /// What a failure says beside the command.
    pub label: String,
    /// Ours and theirs.
    pub ports: [u16; 2],
    differences: Vec<String>,
    servers: Vec<Running>,
}

/// Starts a server on a port of its own and connects to it.
fn start(command: &mut Command) -> (Running, Connection, u16) {
    let port = free_port().expect("the system has ports");
    let dir = scratch();
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--enable-debug-command", "yes", "--dir"]).arg(&dir);
    let running = Running::start(command.stdout(Stdio::null()).stdin(Stdio::null()));
    let mut connection = None;
    eventually("a server accepts connections", Duration::from_secs(20), || {
        connection = Connection::open(port);
        connection.is_some()
    });
    (running, connection.expect("it was waited for"), port)
}

impl Pair {
    /// `None`, said aloud, when there is no Valkey to compare with.
    pub fn start() -> Option<Self> {
        let Some(valkey) = env::var_os("REDISHA_VALKEY") else {
            assert!(env::var_os("CI").is_none(), "REDISHA_VALKEY must name a valkey-server");
            eprintln!("skipped: REDISHA_VALKEY does not name a valkey-server");
            return None;
        };
        let (our_server, ours, our_port) = start(&mut Command::new(programs::server()));
        let (their_server, theirs, their_port) = start(Command::new(valkey).args(["--save", ""]));
        let servers = vec![our_server, their_server];
        Some(Self {
            ours,
            theirs,
            label: String::new(),
            ports: [our_port, their_port],
            differences: Vec::new(),
            servers,
        })
    }

    /// Runs a command on both and hands both replies over.
    pub fn both(&mut self, words: &[&str], see: impl FnOnce(&Reply, &Reply)) {
        assert!(!self.servers.is_empty(), "the servers live as long as the pair");
        let ours = self.ours.call(words);
        let theirs = self.theirs.call(words);
        see(&ours, &theirs);
    }

    /// Runs a command on both; the replies must be equal, but for the order that a command leaves
    /// open.
    pub fn check(&mut self, words: &[&str]) {
        let mut found = None;
        self.both(words, |ours, theirs| found = difference(words, ours, theirs));
        self.note(found);
    }

    /// As [`Self::check`], many commands in one go.
    pub fn check_batch(&mut self, batch: &[Vec<String>]) {
        for words in batch {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            self.ours.queue(&words);
            self.theirs.queue(&words);
        }
        self.ours.flush();
        self.theirs.flush();
        for words in batch {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let (ours, theirs) = (self.ours.read(), self.theirs.read());
            let found = difference(&words, &ours, &theirs);
            self.note(found);
        }
        self.settle();
    }

    fn note(&mut self, difference: Option<String>) {
        self.differences.extend(difference.map(|text| format!("{}: {text}", self.label)));
    }

    /// Fails with the differences found so far, if there are any.
    pub fn settle(&self) {
        let count = self.differences.len();
        let first: Vec<&str> = self.differences.iter().take(40).map(String::as_str).collect();
        assert!(count == 0, "{count} replies differ\n{}", first.join("\n"));
    }

    /// Every key's type, encoding and value must be equal.
    pub fn check_contents(&mut self, label: &str) {
        self.label = format!("{} contents of {label}", self.label);
        self.check(&["DBSIZE"]);
        let keys: Vec<String> =
            self.theirs.call(&["KEYS", "*"]).items.into_iter().filter_map(|key| key.text).collect();
        for key in &keys {
            // Valkey makes a sorted set a skiplist to sort it, which is not worth imitating.
            if key != "sorted_z" {
                self.check(&["OBJECT", "ENCODING", key]);
            }
            let kind = self.theirs.call(&["TYPE", key]).text.unwrap_or_default();
            // Ids of streams are times.
            if kind != "stream" {
                self.check(&["DEBUG", "DIGEST-VALUE", key]);
            }
            match kind.as_str() {
                "string" => self.check(&["GET", key]),
                "list" => self.check(&["LRANGE", key, "0", "-1"]),
                "hash" => self.check(&["HGETALL", key]),
                "set" => self.check(&["SMEMBERS", key]),
                "stream" => self.check(&["XINFO", "STREAM", key, "FULL", "COUNT", "0"]),
                "zset" => self.check(&["ZRANGE", key, "0", "-1", "WITHSCORES"]),
                other => panic!("{key} is a {other}"),
            }
        }
        self.label.clear();
        self.settle();
    }
}

/// Commands whose elements come in no order, and whether they come as pairs.
fn unordered(words: &[&str]) -> Option<usize> {
    match words[0].to_ascii_uppercase().as_str() {
        "SMEMBERS" | "SINTER" | "SUNION" | "SDIFF" | "HKEYS" | "HVALS" | "KEYS" | "SPOP"
        | "SRANDMEMBER" => Some(1),
        "HGETALL" => Some(2),
        "HRANDFIELD" | "ZRANDMEMBER" => Some(if words.len() > 3 { 2 } else { 1 }),
        _ => None,
    }
}

fn sorted(reply: &Reply, by: usize) -> Reply {
    let mut reply = reply.clone();
    // Pairs that are arrays of their own need no grouping.
    let nested = reply.items.first().is_some_and(|item| !item.items.is_empty());
    let by = if nested { 1 } else { by };
    let mut groups: Vec<Vec<Reply>> = reply.items.chunks(by).map(<[Reply]>::to_vec).collect();
    groups.sort();
    reply.items = groups.concat();
    reply
}

/// A reply about streams without the times in it, which two servers never take alike: Unix times,
/// and how long ago something was.
fn without_times(reply: &Reply) -> Reply {
    const UNIX_MS: i64 = 1_000_000_000_000;
    let number = |reply: &Reply| reply.text.as_ref().and_then(|text| text.parse::<i64>().ok());
    let mut reply = reply.clone();
    let is_time = |n: i64| n > UNIX_MS;
    // What XPENDING tells of an entry: id, consumer, idle time, count.
    let pending = reply.items.len() == 4 && reply.items[0].kind == '$';
    for at in 0..reply.items.len() {
        let label = at.checked_sub(1).and_then(|at| reply.items[at].text.clone());
        let idle = matches!(label.as_deref(), Some("idle" | "inactive")) || pending && at == 2;
        let item = &mut reply.items[at];
        if item.kind == ':' && number(item).is_some_and(|n| is_time(n) || idle && n >= 0) {
            item.text = Some("a time".to_owned());
        }
        *item = without_times(item);
    }
    reply
}

pub fn difference(words: &[&str], ours: &Reply, theirs: &Reply) -> Option<String> {
    let equal = match unordered(words) {
        Some(by) => sorted(ours, by) == sorted(theirs, by),
        None if words[0].ends_with("SCAN") || words[0].ends_with("scan") => {
            ours.items.len() == theirs.items.len()
                && ours.items.get(1).map(|items| sorted(items, 2))
                    == theirs.items.get(1).map(|items| sorted(items, 2))
                && (ours.kind != '-' || ours == theirs)
        }
        None if words[0].starts_with('X') => without_times(ours) == without_times(theirs),
        None => ours == theirs,
    };
    if equal {
        return None;
    }
    let line: String = words.join(" ").chars().take(300).collect();
    Some(format!("{line}\n  ours   {ours:?}\n  theirs {theirs:?}"))
}
