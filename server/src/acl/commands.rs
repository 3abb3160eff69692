//! Every command and subcommand as a number, so that a selector is a set of bits.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::command::docs::{self, Doc};
use crate::command::{Command, all, lookup};

/// A command's number.
pub type Id = usize;

/// One command, or one subcommand.
pub struct Entry {
    pub row: &'static Command,
    /// `config|get` for a subcommand.
    pub name: String,
    pub parent: Option<Id>,
    pub subcommands: Vec<Id>,
    pub doc: &'static Doc,
    /// Names of its categories.
    pub categories: Vec<&'static str>,
    /// It works on the client's database.
    pub uses_database: bool,
}

struct Index {
    entries: Vec<Entry>,
    by_name: HashMap<String, Id>,
    by_row: HashMap<usize, Id>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index { entries: Vec::new(), by_name: HashMap::new(), by_row: HashMap::new() };
    for row in all() {
        // The row as a lookup finds it: commands are known by their address.
        let row = lookup(row.name.as_bytes()).expect("every row is found by its name");
        let id = index.add(row, row.name.to_owned(), None, row.name);
        for sub in row.subcommands {
            let sub_id = index.add(sub, format!("{}|{}", row.name, sub.name), Some(id), row.name);
            index.entries[id].subcommands.push(sub_id);
        }
    }
    index
});

impl Index {
    fn add(&mut self, row: &'static Command, name: String, parent: Option<Id>, family: &str) -> Id {
        let id = self.entries.len();
        let categories = crate::command::server::categories(row, family);
        let doc = docs::of(&name);
        self.by_name.insert(name.clone(), id);
        self.by_row.insert(address(row), id);
        let uses_database = !doc.keys.is_empty()
            || ["keyspace", "read", "write"].iter().any(|name| categories.contains(name));
        let subcommands = Vec::new();
        self.entries.push(Entry { row, name, parent, subcommands, doc, categories, uses_database });
        id
    }
}

fn address(row: &'static Command) -> usize {
    std::ptr::from_ref(row) as usize
}

/// How many there are.
pub fn count() -> usize {
    INDEX.entries.len()
}

pub fn entries() -> impl Iterator<Item = (Id, &'static Entry)> {
    INDEX.entries.iter().enumerate()
}

pub fn entry(id: Id) -> &'static Entry {
    &INDEX.entries[id]
}

/// A command by its name in any case, `config|get` for a subcommand.
pub fn find(name: &[u8]) -> Option<Id> {
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    INDEX.by_name.get(&name).copied()
}

/// The number of a row that a lookup gave.
pub fn id_of(row: &'static Command) -> Option<Id> {
    INDEX.by_row.get(&address(row)).copied()
}
