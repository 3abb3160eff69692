//! What one command of a stream asks of the node that reads it: the one reader for a replica, for
//! files, and for a primary that takes another server's data. Pure.

use super::RECORD_PREFIX;
use crate::resp::Args;
use crate::resp::num::parse_i64;
use crate::script::replicated::RECORD as SCRIPT;

/// See the module.
#[derive(Debug)]
pub enum Asks<'a> {
    /// Nothing: a sign of life, or a word between two nodes.
    Nothing,
    /// How far it has come (`REPLCONF GETACK`).
    Acknowledgement,
    /// What follows is for this database; none that can be.
    Select(Option<usize>),
    /// To keep a script that EVAL brought.
    Script(&'a [u8]),
    /// A record of members.
    Record(&'a [u8]),
    /// To change data.
    Change(Args<'a>),
}

impl<'a> Asks<'a> {
    pub fn of(args: Args<'a>) -> Self {
        if args.is(0, "ping") {
            return match args.get(1).filter(|argument| argument.starts_with(RECORD_PREFIX)) {
                None => Self::Nothing,
                Some(record) => match record.strip_prefix(SCRIPT) {
                    Some(text) => Self::Script(text),
                    None => Self::Record(record),
                },
            };
        }
        if args.is(0, "replconf") {
            let asked = args.len() > 1 && args.is(1, "getack");
            return if asked { Self::Acknowledgement } else { Self::Nothing };
        }
        if args.is(0, "select") {
            let db = args.get(1).and_then(parse_i64);
            return Self::Select(db.and_then(|db| usize::try_from(db).ok()));
        }
        Self::Change(args)
    }
}

#[cfg(test)]
mod tests {
    use super::Asks;
    use crate::resp::OwnedArgs;

    #[test]
    fn every_word_of_a_stream_has_its_meaning() {
        for (line, expect) in [
            ("PING", "Nothing"),
            ("PING word", "Nothing"),
            ("REPLCONF ACK 3", "Nothing"),
            ("REPLCONF", "Nothing"),
            ("replconf getack *", "Acknowledgement"),
            ("SELECT 7", "Select(Some(7))"),
            ("SELECT -1", "Select(None)"),
            ("SELECT", "Select(None)"),
            ("PING redisha:script:return", "Script"),
            ("PING redisha:start:1.0:a", "Record"),
            ("SET a 1", "Change"),
        ] {
            let args = OwnedArgs::from_parts(line.split(' ').map(str::as_bytes));
            let got = format!("{:?}", Asks::of(args.args()));
            assert!(got.starts_with(expect), "{line}: {got}");
        }
    }
}
