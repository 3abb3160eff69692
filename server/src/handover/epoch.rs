//! Epochs: the numbers under which writes are acknowledged.

use std::fmt;
use std::str::FromStr;

/// `(term, hop)` in lexicographic order, written `term.hop`. A term comes from the arbiter only; a
/// hop is added by an epoch's one owner as it gives up. `0.0` is below every epoch in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    pub term: u64,
    pub hop: u64,
}

impl Epoch {
    pub const ZERO: Self = Self { term: 0, hop: 0 };

    /// The first epoch of a term, the one that only the arbiter gives.
    pub const fn of_term(term: u64) -> Self {
        Self { term, hop: 0 }
    }

    /// The next epoch of the same term. The owner gives it away; if the target declines it, the
    /// next after that is the owner's.
    #[must_use]
    pub const fn next_hop(self) -> Self {
        Self { term: self.term, hop: self.hop + 1 }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.hop)
    }
}

/// The text was not `term.hop` in decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is written term.hop, two decimal numbers")]
pub struct EpochError;

impl FromStr for Epoch {
    type Err = EpochError;

    fn from_str(text: &str) -> Result<Self, EpochError> {
        let (term, hop) = text.split_once('.').ok_or(EpochError)?;
        Ok(Self { term: number(term)?, hop: number(hop)? })
    }
}

fn number(text: &str) -> Result<u64, EpochError> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().map_err(|_| EpochError) } else { Err(EpochError) }
}
