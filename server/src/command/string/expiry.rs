//! The expiry options of SET and GETEX.

use crate::resp::num::parse_i64;
use crate::resp::{Args, CommandError, errors};

/// What becomes of a key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// No option was given.
    None,
    Keep,
    Persist,
    /// Unix time in milliseconds.
    At(i64),
}

impl Expiry {
    /// Reads the option at `at` (`EX`, `PX`, `EXAT`, `PXAT` with its number) and returns the index
    /// of its last word.
    pub fn read(
        &mut self,
        args: Args<'_>,
        at: usize,
        now_ms: i64,
        command: &str,
    ) -> Result<usize, CommandError> {
        if *self != Expiry::None || at + 1 >= args.len() {
            return Err(errors::SYNTAX.into());
        }
        let (unit_ms, base_ms) = if args.is(at, "ex") {
            (1000, now_ms)
        } else if args.is(at, "px") {
            (1, now_ms)
        } else if args.is(at, "exat") {
            (1000, 0)
        } else if args.is(at, "pxat") {
            (1, 0)
        } else {
            return Err(errors::SYNTAX.into());
        };
        *self = Expiry::At(relative(args.at(at + 1), unit_ms, base_ms, command)?);
        Ok(at + 1)
    }
}

/// `base_ms` plus a positive number of units, in milliseconds.
pub fn relative(
    text: &[u8],
    unit_ms: i64,
    base_ms: i64,
    command: &str,
) -> Result<i64, CommandError> {
    let number = parse_i64(text).ok_or(errors::NOT_INTEGER)?;
    Some(number)
        .filter(|number| *number > 0)
        .and_then(|number| number.checked_mul(unit_ms))
        .and_then(|ms| ms.checked_add(base_ms))
        .ok_or_else(|| errors::invalid_expire(command))
}
