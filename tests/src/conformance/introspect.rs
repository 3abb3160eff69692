//! COMMAND INFO and COMMAND DOCS of both servers, fact by fact.
//!
//! `differences.list` argues the differences: a fact is a field of the two replies, or `missing` or
//! `extra` for a whole command.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::Outcome;
use super::argued::{Difference, settle};
use super::pair::Pair;
use crate::wire::Reply;

/// The facts of every command by its full name.
type Facts = BTreeMap<String, BTreeMap<String, String>>;

pub fn compare(pair: &mut Pair, argued: &str, outcome: &mut Outcome) -> Result<()> {
    pair.reset("3")?;
    let [ours, theirs] = facts_of_both(pair)?;
    outcome.commands = theirs.len();
    settle(argued, differences(&ours, &theirs), outcome)
}

fn facts_of_both(pair: &mut Pair) -> Result<[Facts; 2]> {
    let info = pair.both(&["COMMAND", "INFO"]);
    let docs = pair.both(&["COMMAND", "DOCS"]);
    let mut found = [Facts::new(), Facts::new()];
    for (facts, (info, docs)) in found.iter_mut().zip(info.iter().zip(&docs)) {
        for row in &info.items {
            info_facts(row, facts)?;
        }
        docs_facts(docs, facts);
    }
    Ok(found)
}

fn info_facts(row: &Reply, facts: &mut Facts) -> Result<()> {
    let [name, arity, flags, first, last, step, categories, tips, keys, subcommands] =
        row.items.as_slice()
    else {
        bail!("COMMAND INFO gives {} fields", row.items.len());
    };
    let own = facts.entry(text(name)).or_default();
    own.insert("arity".into(), text(arity));
    own.insert("flags".into(), words(flags));
    own.insert("range".into(), [first, last, step].map(text).join(" "));
    own.insert("acl".into(), words(categories));
    own.insert("tips".into(), words(tips));
    let specs: Vec<String> = keys.items.iter().map(|spec| canonical(spec, &["notes"])).collect();
    own.insert("keys".into(), specs.join(" "));
    subcommands.items.iter().try_for_each(|row| info_facts(row, facts))
}

fn docs_facts(docs: &Reply, facts: &mut Facts) {
    for pair in docs.items.chunks_exact(2) {
        let own = facts.entry(text(&pair[0])).or_default();
        for field in pair[1].items.chunks_exact(2) {
            let name = text(&field[0]);
            if name != "subcommands" {
                own.insert(name, canonical(&field[1], &["summary"]));
            }
        }
        if let Some(subcommands) = field(&pair[1], "subcommands") {
            docs_facts(subcommands, facts);
        }
    }
}

/// Name, fact and text of everything that differs.
fn differences(ours: &Facts, theirs: &Facts) -> Vec<Difference> {
    let mut found = Vec::new();
    for (name, theirs) in theirs {
        let Some(ours) = ours.get(name) else {
            found.push(Difference::new(name, "missing", "ours does not have it"));
            continue;
        };
        let names: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        for fact in names {
            let none = String::new();
            let (one, other) = (ours.get(fact).unwrap_or(&none), theirs.get(fact).unwrap_or(&none));
            if one != other {
                found.push(Difference::new(name, fact, &format!("{one} | theirs: {other}")));
            }
        }
    }
    let extra = ours.keys().filter(|name| !theirs.contains_key(*name));
    found.extend(extra.map(|name| Difference::new(name, "extra", "theirs does not have it")));
    found
}

/// The value behind a key of a map.
pub fn field<'a>(map: &'a Reply, name: &str) -> Option<&'a Reply> {
    let mut pairs = map.items.chunks_exact(2);
    pairs.find(|pair| pair[0].text.as_deref() == Some(name)).map(|pair| &pair[1])
}

pub fn text(reply: &Reply) -> String {
    reply.text.clone().unwrap_or_default()
}

/// The elements in order of the alphabet.
fn words(set: &Reply) -> String {
    let mut words: Vec<String> = set.items.iter().map(text).collect();
    words.sort_unstable();
    words.join(" ")
}

/// A reply as text: sets sorted, maps without these keys.
fn canonical(reply: &Reply, without: &[&str]) -> String {
    let list = |items: Vec<String>| format!("[{}]", items.join(" "));
    let items = || reply.items.iter().map(|item| canonical(item, without));
    match reply.kind {
        '%' => {
            let pairs = reply.items.chunks_exact(2);
            let kept = pairs.filter(|pair| !without.contains(&text(&pair[0]).as_str()));
            list(kept.flatten().map(|item| canonical(item, without)).collect())
        }
        '~' => {
            let mut items: Vec<String> = items().collect();
            items.sort_unstable();
            list(items)
        }
        '*' => list(items().collect()),
        _ => text(reply),
    }
}
