//! Epochs: who owns the right to acknowledge, in one total order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `(term, hop)` in lexicographic order, printed and stored as `term.hop`.
///
/// A term comes only from a compare-and-swap on the [`Arbiter`](crate::Arbiter); a hop is added only
/// by the epoch's one owner as it gives up. So an election always beats a handover, and no epoch has
/// two owners. `0.0` is the epoch of a node that has never belonged to anything.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Epoch {
    pub term: u64,
    pub hop: u64,
}

impl Epoch {
    pub const fn new(term: u64, hop: u64) -> Self {
        Self { term, hop }
    }

    /// The epoch that its owner promises as it hands over.
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

/// The text was not two decimal numbers with one dot between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochError(pub String);

impl fmt::Display for EpochError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not an epoch of the form term.hop", self.0)
    }
}

impl std::error::Error for EpochError {}

impl FromStr for Epoch {
    type Err = EpochError;

    fn from_str(text: &str) -> Result<Self, EpochError> {
        let wrong = || EpochError(text.to_owned());
        let (term, hop) = text.split_once('.').ok_or_else(wrong)?;
        let number = |part: &str| part.parse::<u64>().map_err(|_| wrong());
        Ok(Self { term: number(term)?, hop: number(hop)? })
    }
}

impl TryFrom<String> for Epoch {
    type Error = EpochError;

    fn try_from(text: String) -> Result<Self, EpochError> {
        text.parse()
    }
}

impl From<Epoch> for String {
    fn from(epoch: Epoch) -> Self {
        epoch.to_string()
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Epoch {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Epoch".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": r"^[0-9]+\.[0-9]+$",
            "description": "term.hop: a greater one always deposes a lesser one",
        })
    }
}
