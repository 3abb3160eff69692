//! The fields of INFO, section by section, of servers in the same states.
//!
//! `info.list` argues the differences: `missing` and `extra` for a field, whose name is
//! `Section.field`, and `form` for the kind of its value.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::Outcome;
use super::argued::{Difference, settle};
use super::pair::{Pair, Side};

/// Sections whose fields are named after what was executed: only the forms are compared.
const BY_USE: &[&str] = &["Commandstats", "Latencystats", "Errorstats"];

/// What is executed before anybody looks, so that there is something to tell.
const USE: &[&[&str]] = &[
    &["SET", "k", "v", "EX", "1000"],
    &["HSET", "h", "f", "v"],
    &["HEXPIRE", "h", "1000", "FIELDS", "1", "f"],
    &["NOSUCHCOMMAND"],
];

/// The forms of values by the names of their fields.
type Fields = BTreeMap<String, String>;

/// The servers of `pair` keep what this does to them.
pub fn compare(pair: &mut Pair, argued: &str, outcome: &mut Outcome) -> Result<()> {
    pair.reset("2")?;
    let mut found = BTreeMap::new();
    for words in USE {
        pair.both(words);
    }
    look(pair, "alone", &mut found, outcome)?;

    let mut replicas = pair.another()?;
    for (side, replica) in pair.sides.iter_mut().zip(&mut replicas.sides) {
        let port = side.port().to_string();
        side.connections[0].call(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        replica.connections[0].call(&["REPLICAOF", "127.0.0.1", &port]);
        replica.wait_for("master_link_status:up")?;
    }
    look(pair, "with a replica", &mut found, outcome)?;
    look(&mut replicas, "a replica", &mut found, outcome)?;
    // Nobody listens there.
    replicas.both(&["REPLICAOF", "127.0.0.1", "1"]);
    look(&mut replicas, "a replica without its primary", &mut found, outcome)?;

    pair.both(&["CONFIG", "SET", "appendonly", "yes"]);
    for side in &mut pair.sides {
        side.wait_for("aof_pending_rewrite:0")?;
        side.wait_for("aof_rewrite_in_progress:0")?;
    }
    look(pair, "with append-only files", &mut found, outcome)?;
    settle(argued, found.into_values().collect(), outcome)
}

/// Adds what differs in this state; a difference that was found before counts once.
fn look(
    pair: &mut Pair,
    state: &str,
    found: &mut BTreeMap<(String, &'static str), Difference>,
    outcome: &mut Outcome,
) -> Result<()> {
    let [ours, theirs] = &mut pair.sides;
    let (ours, theirs) = (fields(ours)?, fields(theirs)?);
    outcome.fields += theirs.len();
    let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        let by_use = BY_USE.iter().any(|section| name.starts_with(section));
        let (fact, text) = match (ours.get(name), theirs.get(name)) {
            (None, Some(_)) if !by_use => ("missing", format!("{state}: ours does not have it")),
            (Some(_), None) if !by_use => ("extra", format!("{state}: theirs does not have it")),
            (Some(one), Some(other)) if one != other => {
                ("form", format!("{state}: {one} | theirs: {other}"))
            }
            _ => continue,
        };
        let difference = Difference::new(name, fact, &text);
        found.entry((name.clone(), fact)).or_insert(difference);
    }
    Ok(())
}

fn fields(side: &mut Side) -> Result<Fields> {
    let reply = side.connections[0].call(&["INFO", "everything"]);
    read(&reply.text.context("INFO is no text")?).context("read INFO")
}

fn read(text: &str) -> Result<Fields> {
    let mut section = String::new();
    let mut fields = Fields::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("# ") {
            section = name.replace(' ', "-");
            continue;
        }
        let (name, value) = line.split_once(':').with_context(|| format!("no field: {line}"))?;
        fields.insert(format!("{section}.{name}"), form(value));
    }
    Ok(fields)
}

/// What a reader can make of a value: a number, parts with names, or a text.
fn form(value: &str) -> String {
    if value.parse::<i64>().is_ok() {
        return "integer".into();
    }
    if value.parse::<f64>().is_ok() {
        return "decimal".into();
    }
    let parts = value.split(',').map(|part| part.split_once('=').map(|(name, _)| name));
    let names: Option<Vec<&str>> = parts.collect();
    names.map_or_else(|| "text".into(), |names| names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_section_and_a_form() {
        let text = "# Server\r\nport:1\r\nid:ab\r\n\r\n# Scripting Engines\r\nshare:0.50\r\n\
                    db0:keys=1,expires=0\r\n";
        let read = read(text).unwrap();
        let expect = [
            ("Scripting-Engines.db0", "keys,expires"),
            ("Scripting-Engines.share", "decimal"),
            ("Server.id", "text"),
            ("Server.port", "integer"),
        ];
        let expect = expect.map(|(name, form)| (name.to_owned(), form.to_owned()));
        assert_eq!(read, Fields::from(expect));
        assert!(super::read("port").is_err());
    }
}
