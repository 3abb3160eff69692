//! Looking rows up by name, in any case, without an allocation.

use std::sync::LazyLock;

use hashbrown::HashTable;

use super::Command;
use crate::resp::Args;

/// Every family's rows.
#[rustfmt::skip]
pub const FAMILIES: &[&[Command]] = &[
    super::bitmap::COMMANDS,
    super::client::COMMANDS,
    super::cluster::COMMANDS,
    super::commandlog::COMMANDS,
    super::connection::COMMANDS,
    super::debug::COMMANDS,
    super::function::COMMANDS,
    super::geo::COMMANDS,
    super::failover::COMMANDS,
    super::hash::COMMANDS,
    super::hyperloglog::COMMANDS,
    super::keys::COMMANDS,
    super::list::COMMANDS,
    super::module::COMMANDS,
    super::pubsub::COMMANDS,
    super::redisha::COMMANDS,
    super::replication::COMMANDS,
    super::scripting::COMMANDS,
    super::server::COMMANDS,
    super::set::COMMANDS,
    super::sort::COMMANDS,
    super::stream::COMMANDS,
    super::string::COMMANDS,
    super::transactions::COMMANDS,
    super::zset::COMMANDS,
];

static TABLE: LazyLock<HashTable<&'static Command>> = LazyLock::new(|| {
    let mut table = HashTable::new();
    for row in all() {
        table.insert_unique(hash(row.name.as_bytes()), row, |row| hash(row.name.as_bytes()));
    }
    table
});

/// Every row, in the order of the families.
pub fn all() -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// FNV-1a over the name in lower case.
fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}

pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    TABLE.find(hash(name), |row| row.name.as_bytes().eq_ignore_ascii_case(name)).copied()
}

/// The row that runs `args`: `row` itself, or its subcommand; `None` for an unknown subcommand.
#[inline]
pub fn subcommand(row: &'static Command, args: Args<'_>) -> Option<&'static Command> {
    if row.subcommands.is_empty() || args.len() < 2 {
        return Some(row);
    }
    row.subcommands.iter().find(|sub| args.is(1, sub.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_in_any_case() {
        let mut names: Vec<_> = all().map(|row| row.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "a command has two rows");
        for row in all() {
            assert_eq!(row.name, row.name.to_ascii_lowercase());
            let found = lookup(row.name.to_ascii_uppercase().as_bytes()).expect(row.name);
            assert_eq!(found.name, row.name);
            assert!(!row.summary.is_empty(), "{} has no summary", row.name);
        }
        assert!(lookup(b"no-such-command").is_none());
    }
}
