//! COMMAND INFO and COMMAND DOCS of both servers, fact by fact.
//!
//! A line of `differences.list` argues a difference: `NAME FACT: reason`, where the name may hold
//! `*` and a fact is a field of the two replies, or `missing` or `extra` for a whole command. An
//! argument that nothing needs any more is a failure, as is a difference without an argument.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::Outcome;
use super::pair::Pair;
use crate::wire::Reply;

/// A difference that has a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argued {
    /// A command's full name, or a pattern of names.
    pub name: String,
    pub fact: String,
    pub reason: String,
    /// How often it was met.
    pub count: usize,
}

/// The facts of every command by its full name.
type Facts = BTreeMap<String, BTreeMap<String, String>>;

pub fn compare(pair: &mut Pair, argued: &str, outcome: &mut Outcome) -> Result<()> {
    let mut argued = read(argued)?;
    pair.reset("3")?;
    let [ours, theirs] = facts_of_both(pair)?;
    outcome.commands = theirs.len();
    for (name, fact, text) in differences(&ours, &theirs) {
        let mut fitting = argued.iter_mut();
        match fitting.find(|entry| entry.fact == fact && matches(&entry.name, &name)) {
            Some(entry) => entry.count += 1,
            None => outcome.failures.push(format!("{name} {fact}: {text}")),
        }
    }
    for entry in &argued {
        if entry.count == 0 {
            let text = format!("{} {}: argued, but no difference", entry.name, entry.fact);
            outcome.failures.push(text);
        }
    }
    outcome.differences = argued;
    Ok(())
}

fn read(text: &str) -> Result<Vec<Argued>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (what, reason) = line.split_once(": ").with_context(|| format!("read {line}"))?;
            let (name, fact) = what.split_once(' ').with_context(|| format!("read {line}"))?;
            let [name, fact, reason] = [name, fact, reason].map(|text| text.trim().to_owned());
            Ok(Argued { name, fact, reason, count: 0 })
        })
        .collect()
}

/// A pattern with at most one `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
    }
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
fn differences(ours: &Facts, theirs: &Facts) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for (name, theirs) in theirs {
        let Some(ours) = ours.get(name) else {
            found.push((name.clone(), "missing".to_owned(), "ours does not have it".to_owned()));
            continue;
        };
        let names: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        for fact in names {
            let none = String::new();
            let (one, other) = (ours.get(fact).unwrap_or(&none), theirs.get(fact).unwrap_or(&none));
            if one != other {
                found.push((name.clone(), fact.clone(), format!("{one} | theirs: {other}")));
            }
        }
    }
    let extra = ours.keys().filter(|name| !theirs.contains_key(*name));
    found.extend(
        extra.map(|name| (name.clone(), "extra".to_owned(), "theirs does not have it".to_owned())),
    );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_hold_one_star() {
        assert!(matches("get", "get") && !matches("get", "getex"));
        assert!(matches("cluster|*", "cluster|slots") && !matches("cluster|*", "cluster"));
        assert!(matches("*|help", "acl|help") && matches("*", "anything"));
    }

    #[test]
    fn an_argument_has_a_reason() {
        let read = read("# why\n\n* summary: they are our own\n").unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].name.as_str(), read[0].fact.as_str()), ("*", "summary"));
        assert!(super::read("get flags").is_err());
    }
}
