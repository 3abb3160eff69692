//! The directives of both servers: which there are, what each is without a configuration, and whether
//! CONFIG SET takes that again.
//!
//! `directives.list` argues the differences: `missing` and `extra` for a directive, `default` for its
//! value, `change` for what CONFIG SET answers.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::Outcome;
use super::argued::{Difference, settle};
use super::introspect::text;
use super::pair::Pair;

/// Directives that Valkey tells by their own name alone.
const HIDDEN: &[&str] = &[
    "aof-disable-auto-gc",
    "cluster-message-gossip-perc",
    "cluster-ping-interval",
    "debug-context",
    "enable-debug-assert",
    "io-threads-always-active",
    "key-load-delay",
    "loading-process-events-interval-bytes",
    "lua-enable-deprecated-api",
    "lua-enable-insecure-api",
    "min-io-threads-avoid-copy-reply",
    "min-string-size-avoid-copy-reply",
    "min-string-size-avoid-copy-reply-threaded",
    "rdb-key-save-delay",
    "use-exit-on-panic",
    "watchdog-period",
];

/// Values by the names of their directives.
type Values = BTreeMap<String, String>;

pub fn compare(pair: &mut Pair, argued: &str, outcome: &mut Outcome) -> Result<()> {
    pair.reset("3")?;
    let [ours, theirs] = values_of_both(pair)?;
    outcome.directives = theirs.len();
    let mut found = Vec::new();
    for (name, theirs) in &theirs {
        let Some(ours) = ours.get(name) else {
            found.push(Difference::new(name, "missing", "ours does not have it"));
            continue;
        };
        if ours != theirs {
            found.push(Difference::new(name, "default", &format!("{ours} | theirs: {theirs}")));
        }
        let answers = change_nothing(pair, name, [ours, theirs]);
        if answers[0] != answers[1] {
            let text = format!("{} | theirs: {}", answers[0], answers[1]);
            found.push(Difference::new(name, "change", &text));
        }
    }
    let extra = ours.keys().filter(|name| !theirs.contains_key(*name));
    found.extend(extra.map(|name| Difference::new(name, "extra", "theirs does not have it")));
    settle(argued, found, outcome)
}

fn values_of_both(pair: &mut Pair) -> Result<[Values; 2]> {
    let all = pair.both(&["CONFIG", "GET", "*"]);
    let named: Vec<&str> = ["CONFIG", "GET"].iter().chain(HIDDEN).copied().collect();
    let hidden = pair.both(&named);
    let mut found = [Values::new(), Values::new()];
    for (values, (all, hidden)) in found.iter_mut().zip(all.iter().zip(&hidden)) {
        for pair in all.items.chunks_exact(2) {
            let name = text(&pair[0]);
            ensure!(!HIDDEN.contains(&name.as_str()), "{name} is told by a pattern");
            values.insert(name, text(&pair[1]));
        }
        let pairs = hidden.items.chunks_exact(2);
        values.extend(pairs.map(|pair| (text(&pair[0]), text(&pair[1]))));
    }
    Ok(found)
}

/// What each answers to the value that it has.
fn change_nothing(pair: &mut Pair, name: &str, values: [&String; 2]) -> [String; 2] {
    let mut values = values.iter();
    pair.sides.each_mut().map(|side| {
        let value = values.next().expect("one for each side");
        text(&side.connections[0].call(&["CONFIG", "SET", name, value]))
    })
}
