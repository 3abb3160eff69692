//! Differences that have a reason.
//!
//! A line of a list argues one: `NAME FACT: reason`, where the name may hold `*`. An argument that
//! nothing needs any more is a failure, as is a difference without an argument.

use anyhow::{Context, Result};

use super::Outcome;

/// A difference that has a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argued {
    /// The full name of a command or directive, or a pattern of names.
    pub name: String,
    pub fact: String,
    pub reason: String,
    /// How often it was met.
    pub count: usize,
}

/// What differs between the servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub name: String,
    pub fact: String,
    /// What each has.
    pub text: String,
}

impl Difference {
    pub fn new(name: &str, fact: &str, text: &str) -> Self {
        Self { name: name.to_owned(), fact: fact.to_owned(), text: text.to_owned() }
    }
}

/// Holds what was found against what is argued; adds both, and what fits nothing, to the outcome.
pub fn settle(argued: &str, found: Vec<Difference>, outcome: &mut Outcome) -> Result<()> {
    let mut argued = read(argued)?;
    for Difference { name, fact, text } in found {
        let mut fitting = argued.iter_mut();
        match fitting.find(|entry| entry.fact == fact && matches(&entry.name, &name)) {
            Some(entry) => entry.count += 1,
            None => outcome.failures.push(format!("{name} {fact}: {text}")),
        }
    }
    for entry in argued.iter().filter(|entry| entry.count == 0) {
        let text = format!("{} {}: argued, but no difference", entry.name, entry.fact);
        outcome.failures.push(text);
    }
    outcome.differences.extend(argued);
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

    #[test]
    fn what_is_argued_and_what_is_met_must_agree() {
        let list = "a default: smaller here\nb default: gone\n";
        let found = ["a", "c"].map(|name| Difference::new(name, "default", "1 | 2")).to_vec();
        let mut outcome = Outcome::default();
        settle(list, found, &mut outcome).unwrap();
        let expect = ["c default: 1 | 2", "b default: argued, but no difference"];
        assert_eq!(outcome.failures, expect);
        assert_eq!(outcome.differences[0].count, 1);
    }
}
