//! Commands made from the table that the peer tells of: with too few and too many arguments, with
//! what they expect on a key of every type, with text where a number belongs, with each option,
//! and with a word too many. Both servers must answer alike and keep the same data.

use anyhow::Result;

use super::Outcome;
use super::introspect::{field, text};
use super::pair::{Check, Pair, difference};
use crate::wire::Reply;

/// Commands that end or block a server or a connection, change what the next ones mean, or tell
/// of this very process. Scripts and tests of their own go through them.
const LEFT_OUT: &[&str] = &[
    "acl|deluser",
    "acl|genpass",
    "acl|load",
    "acl|log",
    "acl|save",
    "acl|setuser",
    "auth",
    "bgrewriteaof",
    "bgsave",
    "client|caching",
    "client|capa",
    "client|id",
    "client|import-source",
    "client|info",
    "client|kill",
    "client|list",
    "client|no-evict",
    "client|no-touch",
    "client|pause",
    "client|reply",
    "client|setinfo",
    "client|setname",
    "client|tracking",
    "client|trackinginfo",
    "client|unpause",
    "command",
    "command|count",
    "command|docs",
    "command|info",
    "command|list",
    "config|get",
    "config|resetstat",
    "config|rewrite",
    "config|set",
    "debug",
    "exec",
    "failover",
    "flushall",
    "function|dump",
    "function|kill",
    "hello",
    "info",
    "latency|doctor",
    "latency|graph",
    "latency|histogram",
    "lolwut",
    "memory|doctor",
    "memory|malloc-stats",
    "memory|stats",
    "memory|usage",
    "migrate",
    "module|list",
    "module|load",
    "module|loadex",
    "monitor",
    "multi",
    "pfdebug",
    "pfselftest",
    "psubscribe",
    "psync",
    "punsubscribe",
    "quit",
    "replconf",
    "replicaof",
    "reset",
    "role",
    "save",
    "script|debug",
    "script|kill",
    "select",
    "shutdown",
    "slaveof",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "swapdb",
    "sync",
    "unsubscribe",
    "watch",
];

/// The keys and what makes them.
const KEYS: &[(&str, &str)] = &[
    ("k:none", "DEL k:none"),
    ("k:string", "SET k:string value"),
    ("k:number", "SET k:number 10"),
    ("k:list", "RPUSH k:list a b c 1 2"),
    ("k:hash", "HSET k:hash a 1 b two c 3.5"),
    ("k:set", "SADD k:set a b c 1"),
    ("k:zset", "ZADD k:zset 1 a 2 b 3 c"),
    ("k:stream", "XADD k:stream 5-1 a 1 b 2"),
];

/// What shows a key's value, by the beginning of its name.
pub const READS: &[&str] =
    &["GET", "LRANGE * 0 -1", "HGETALL", "SMEMBERS", "ZRANGE * 0 -1 WITHSCORES", "XRANGE * - +"];

/// One command of the peer.
pub struct Subject {
    /// Its words: one, or two for a subcommand.
    pub name: Vec<String>,
    arity: i64,
    pub check: Check,
    pub writes: bool,
    pub arguments: Vec<Reply>,
}

pub fn run(mut pair: Pair, outcome: &mut Outcome) -> Result<()> {
    pair.reset("3")?;
    let subjects = subjects(&mut pair);
    for dialect in ["2", "3"] {
        pair.reset(dialect)?;
        for subject in &subjects {
            for (key, _) in KEYS {
                let uses_key = subject.arguments.iter().any(has_key);
                if uses_key || *key == "k:none" {
                    check(&mut pair, subject, key, dialect, outcome)?;
                }
            }
        }
    }
    Ok(())
}

/// The commands that the peer tells of, but for those that are left out.
pub fn subjects(pair: &mut Pair) -> Vec<Subject> {
    let [_, info] = pair.both(&["COMMAND", "INFO"]);
    let [_, docs] = pair.both(&["COMMAND", "DOCS"]);
    let mut found = Vec::new();
    for row in &info.items {
        collect(row, &docs, &mut found);
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

fn collect(row: &Reply, docs: &Reply, found: &mut Vec<Subject>) {
    let name = text(&row.items[0]);
    let Some(own) = field(docs, &name) else { return };
    let subcommands = &row.items[9].items;
    if !subcommands.is_empty() {
        if let Some(docs) = field(own, "subcommands") {
            for row in subcommands {
                collect(row, docs, found);
            }
        }
        return;
    }
    if LEFT_OUT.contains(&name.as_str()) || name.ends_with("|help") || name.starts_with("cluster") {
        return;
    }
    let tips: Vec<String> = row.items[7].items.iter().map(text).collect();
    let has = |tip: &str| tips.iter().any(|own| own == tip);
    let check = match () {
        () if has("nondeterministic_output") => Check::Kind,
        () if has("nondeterministic_output_order") => Check::AnyOrder,
        () => Check::Equal,
    };
    let arguments = field(own, "arguments").map(|list| list.items.clone()).unwrap_or_default();
    found.push(Subject {
        name: name.split('|').map(str::to_ascii_uppercase).collect(),
        arity: text(&row.items[1]).parse().unwrap_or(0),
        check,
        writes: row.items[2].items.iter().any(|flag| text(flag) == "write"),
        arguments,
    });
}

fn check(
    pair: &mut Pair,
    subject: &Subject,
    key: &str,
    dialect: &str,
    outcome: &mut Outcome,
) -> Result<()> {
    for line in lines(subject, key) {
        let mut batch = vec![vec!["FLUSHALL".to_owned()]];
        let split = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        batch.extend(KEYS.iter().map(|(_, make)| split(make)));
        batch.push(line.clone());
        let asked = batch.len() - 1;
        if subject.writes {
            let reads = READS.iter().map(|read| match read.split_once('*') {
                Some((command, rest)) => split(&format!("{command}{key}{rest}")),
                None => split(&format!("{read} {key}")),
            });
            batch.extend(reads);
            batch.push(split("DBSIZE"));
        }
        let replies = pair.batch(&batch)?;
        for (index, reply) in replies.iter().enumerate().skip(asked) {
            outcome.cases += 1;
            let read = index > asked;
            let check = if read { Check::AnyOrder } else { subject.check };
            // What a key holds after a random command is random as well.
            let skip = read && subject.check == Check::Kind;
            if !skip && !check.holds(reply) {
                let words: Vec<&str> = line.iter().map(String::as_str).collect();
                let shown = if read { batch[index].join(" ") } else { String::new() };
                let place = format!("generated RESP{dialect} {shown}");
                outcome.failures.push(difference(place.trim(), &words, reply));
            }
        }
    }
    Ok(())
}

/// The command lines for one key.
fn lines(subject: &Subject, key: &str) -> Vec<Vec<String>> {
    let plain = words(subject, key, None, "1");
    let mut found = vec![plain.clone()];
    if key == "k:none" {
        let short = subject.arity.unsigned_abs() as usize - 1;
        if short > 0 {
            found.push(plain.iter().take(short.max(1)).cloned().collect());
            found.push(subject.name.clone());
        }
    }
    found.push(words(subject, key, None, "x"));
    found.push(words(subject, key, None, "-1"));
    found.push(words(subject, key, None, "9223372036854775808"));
    let mut long = plain;
    long.push("bogus".to_owned());
    found.push(long);
    for option in 0..subject.arguments.len() {
        if is(&subject.arguments[option], "optional") {
            let choices = match text_of(&subject.arguments[option], "type").as_str() {
                "oneof" => field(&subject.arguments[option], "arguments")
                    .map_or(0, |choices| choices.items.len()),
                _ => 1,
            };
            for choice in 0..choices {
                found.push(words(subject, key, Some((option, choice)), "1"));
            }
        }
    }
    found.dedup();
    found
}

/// The required arguments and perhaps one choice of one option, with this for numbers.
fn words(
    subject: &Subject,
    key: &str,
    option: Option<(usize, usize)>,
    number: &str,
) -> Vec<String> {
    let mut words = subject.name.clone();
    for (index, argument) in subject.arguments.iter().enumerate() {
        let chosen = option.filter(|(at, _)| *at == index).map(|(_, choice)| choice);
        if chosen.is_some() || !is(argument, "optional") {
            fill(argument, key, number, chosen.unwrap_or(0), &mut words);
        }
    }
    words
}

fn fill(argument: &Reply, key: &str, number: &str, choice: usize, words: &mut Vec<String>) {
    let kind = text_of(argument, "type");
    let name = text_of(argument, "name");
    if let Some(token) = field(argument, "token") {
        words.push(text(token));
    }
    let blocks = text_of(argument, "token") == "BLOCK";
    let inner = field(argument, "arguments").map(|list| list.items.as_slice()).unwrap_or_default();
    match kind.as_str() {
        "pure-token" => {}
        "oneof" => {
            if let Some(chosen) = inner.get(choice).or(inner.first()) {
                fill(chosen, key, number, 0, words);
            }
        }
        "block" => {
            for part in inner.iter().filter(|part| !is(part, "optional")) {
                fill(part, key, number, 0, words);
            }
        }
        "key" => words.push(key.to_owned()),
        "integer" | "double" if name == "timeout" && number == "1" => words.push("0.01".into()),
        // A key that expires at once is there for one server's next read and not for the other's.
        "integer" if name.contains("seconds") && number == "1" && !blocks => {
            words.push("100000".into());
        }
        "integer" | "double" => words.push(number.to_owned()),
        "unix-time" => words.push(if number == "1" { "9999999999".into() } else { number.into() }),
        "pattern" => words.push("*".into()),
        _ => words.push(match name.as_str() {
            "id" | "start" | "end" | "lastid" | "last-id" => "1-1".into(),
            "min" | "max" => number.to_owned(),
            _ => "a".into(),
        }),
    }
}

pub fn has_key(argument: &Reply) -> bool {
    let inner = field(argument, "arguments");
    text_of(argument, "type") == "key" || inner.is_some_and(|inner| inner.items.iter().any(has_key))
}

pub fn is(argument: &Reply, flag: &str) -> bool {
    field(argument, "flags").is_some_and(|flags| flags.items.iter().any(|own| text(own) == flag))
}

pub fn text_of(argument: &Reply, name: &str) -> String {
    field(argument, name).map(text).unwrap_or_default()
}
