//! BITOP.

use super::string_at;
use crate::command::Handled;
use crate::command::support::wrote;
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::errors;
use crate::store::{IntBuf, Str, StrRef, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn read(word: &[u8]) -> Option<Self> {
        let names = [("and", Self::And), ("or", Self::Or), ("xor", Self::Xor), ("not", Self::Not)];
        let found = names.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, operation)| *operation)
    }

    /// Combines another string into `result`, which is as long as the longest; what a string
    /// lacks is zero.
    fn combine(self, result: &mut [u8], other: &[u8]) {
        let (both, rest) = result.split_at_mut(other.len());
        for (byte, other) in both.iter_mut().zip(other) {
            match self {
                Self::And => *byte &= other,
                Self::Or => *byte |= other,
                Self::Xor | Self::Not => *byte ^= other,
            }
        }
        if self == Self::And {
            rest.fill(0);
        }
    }
}

pub fn bitop(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let operation = Operation::read(args.at(1)).ok_or(errors::SYNTAX)?;
    if operation == Operation::Not && args.len() != 4 {
        return Err("ERR BITOP NOT must be called with a single source key.".into());
    }
    let (target, sources) = (args.at(2), args.tail(3));
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let mut longest = 0;
    for key in sources.iter() {
        longest = longest.max(string_at(db, key)?.map_or(0, StrRef::len));
    }
    let mut result = vec![0; longest];
    for (index, key) in sources.iter().enumerate() {
        let mut digits = IntBuf::default();
        let found = string_at(db, key)?;
        let bytes = found.map_or(&[][..], |text| text.bytes(&mut digits));
        if index == 0 {
            result[..bytes.len()].copy_from_slice(bytes);
        } else {
            operation.combine(&mut result, bytes);
        }
    }
    if operation == Operation::Not {
        for byte in &mut result {
            *byte = !*byte;
        }
    }
    let changed = if longest > 0 {
        db.insert(target, Value::Str(Str::Int(0)));
        if let Some(Value::Str(text)) = db.get_mut(target) {
            *text = Str::Bytes(result);
        }
        true
    } else {
        db.remove(target)
    };
    if changed {
        wrote(cx, target, 1);
        cx.signal(target);
        if longest > 0 {
            cx.notify(EventClasses::STRING, "set", target);
        } else {
            cx.notify(EventClasses::GENERIC, "del", target);
        }
    }
    cx.client.reply().int(longest as i64);
    Ok(())
}
