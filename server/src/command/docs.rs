//! What COMMAND INFO and COMMAND DOCS tell beyond a command's row: key specifications, hints for
//! proxies, the syntax, and since when.
//!
//! The facts are held by group in `docs/*.txt` and read when first asked for. An entry begins
//! with the full name (`config|get`) at the margin; its lines are indented by two spaces, their
//! continuations by four:
//!
//! - `flags` – flags that nothing in this server depends on; the others are the row's own;
//! - `acl` – categories that differ from those which follow from group and flags (`+a -b`);
//! - `keys` – one key specification each, see [`KeySpec`];
//! - `tips`, `complexity` (its bound), `syscmd`, `deprecated VERSION INSTEAD`;
//! - `history VERSION CHANGE`, in order;
//! - `args` – the syntax, see [`Argument`].
//!
//! A command without an entry gets its key specification from its row and nothing else.

mod keyspec;
mod syntax;

use std::collections::HashMap;
use std::sync::LazyLock;

pub use keyspec::{Begin, Find, KeySpec};
pub use syntax::{Argument, Kind, usage};

const SOURCES: &[&str] = &[
    include_str!("docs/bitmap.txt"),
    include_str!("docs/cluster.txt"),
    include_str!("docs/connection.txt"),
    include_str!("docs/generic.txt"),
    include_str!("docs/geo.txt"),
    include_str!("docs/hash.txt"),
    include_str!("docs/hyperloglog.txt"),
    include_str!("docs/list.txt"),
    include_str!("docs/pubsub.txt"),
    include_str!("docs/redisha.txt"),
    include_str!("docs/scripting.txt"),
    include_str!("docs/server.txt"),
    include_str!("docs/set.txt"),
    include_str!("docs/sorted-set.txt"),
    include_str!("docs/stream.txt"),
    include_str!("docs/string.txt"),
    include_str!("docs/transactions.txt"),
];

/// The facts of one command or subcommand.
#[derive(Debug, Default)]
pub struct Doc {
    /// Flags to tell beside the row's.
    pub flags: Vec<&'static str>,
    /// Categories that it has (`true`) or lacks against what follows from its row.
    pub categories: Vec<(bool, &'static str)>,
    pub keys: Vec<KeySpec>,
    pub tips: Vec<&'static str>,
    pub complexity: Option<&'static str>,
    pub syscmd: bool,
    /// Since when, and what to use instead.
    pub deprecated: Option<(&'static str, String)>,
    /// Versions and what changed in them.
    pub history: Vec<(&'static str, String)>,
    pub arguments: Vec<Argument>,
}

static DOCS: LazyLock<HashMap<&'static str, Doc>> = LazyLock::new(|| {
    let mut docs = HashMap::new();
    for source in SOURCES {
        for (name, lines) in entries(source) {
            let doc = read(&lines).unwrap_or_else(|why| panic!("the entry of {name}: {why}"));
            docs.insert(name, doc);
        }
    }
    docs
});

static NONE: LazyLock<Doc> = LazyLock::new(Doc::default);

/// The facts of a command by its full name in lower case (`get`, `config|get`).
pub fn of(name: &str) -> &'static Doc {
    DOCS.get(name).unwrap_or(&NONE)
}

/// The names that have an entry.
pub fn names() -> impl Iterator<Item = &'static str> {
    DOCS.keys().copied()
}

/// Entries with their lines, each with its continuations.
fn entries(source: &'static str) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut start = 0;
    for line in source.split_inclusive('\n') {
        let end = start + line.len();
        if !line.starts_with(' ') {
            found.push((line.trim_end(), Vec::new()));
        } else if let Some((_, lines)) = found.last_mut() {
            match lines.last_mut() {
                Some(last) if line.starts_with("    ") => {
                    // The continuation follows in the source: the slice only grows.
                    let begun = start - last.len();
                    *last = &source[begun..end];
                }
                _ => lines.push(&source[start..end]),
            }
        }
        start = end;
    }
    found
}

fn read(lines: &[&'static str]) -> Result<Doc, String> {
    let mut doc = Doc::default();
    for line in lines {
        let line = line.trim();
        let (label, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match label {
            "flags" => doc.flags.extend(rest.split_whitespace()),
            "acl" => {
                for word in rest.split_whitespace() {
                    let (sign, name) = word.split_at(1);
                    doc.categories.push((sign == "+", name));
                }
            }
            "keys" => doc.keys.push(KeySpec::parse(rest)?),
            "tips" => doc.tips.extend(rest.split_whitespace()),
            "complexity" => doc.complexity = Some(rest),
            "syscmd" => doc.syscmd = true,
            "deprecated" => doc.deprecated = Some(versioned(rest)?),
            "history" => doc.history.push(versioned(rest)?),
            "args" => doc.arguments = syntax::parse(rest)?,
            other => return Err(format!("{other} is no label")),
        }
    }
    Ok(doc)
}

/// A version and a text, which may have been broken into lines.
fn versioned(text: &'static str) -> Result<(&'static str, String), String> {
    let (version, text) = text.split_once(' ').ok_or("a version without a text")?;
    Ok((version, text.split_whitespace().collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::all;

    #[test]
    fn every_entry_can_be_read_and_belongs_to_one_file() {
        let mut names: Vec<_> =
            SOURCES.iter().flat_map(|source| entries(source)).map(|(name, _)| name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a command has two entries");
        assert_eq!(DOCS.len(), count);
    }

    #[test]
    fn every_command_has_an_entry() {
        // What members say to each other has no facts beyond its rows.
        for row in all().filter(|row| row.name != "redisha") {
            assert!(DOCS.contains_key(row.name), "{} has no entry in docs/*.txt", row.name);
            for sub in row.subcommands {
                let name = format!("{}|{}", row.name, sub.name);
                assert!(DOCS.contains_key(name.as_str()), "{name} has no entry in docs/*.txt");
            }
        }
    }

    /// Keys that a row hands to the gates and keys that clients are told of must be the same.
    #[test]
    fn key_specifications_agree_with_the_rows() {
        use crate::command::Keys;
        for row in all() {
            let told = !of(row.name).keys.is_empty();
            let has = !matches!(row.keys, Keys::None);
            assert!(!has || told, "{}: its row has keys, its entry none", row.name);
        }
    }
}
