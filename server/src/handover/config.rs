//! Who must hold a write before it is answered: the members' configuration, as the operator tells it.

use std::fmt;
use std::str::FromStr;

/// More members than this are refused, so that counting needs no allocation.
pub const MEMBERS_MAX: usize = 15;

/// What an answer promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Answered as soon as it is executed, under `w` leases; a crash loses what the successor lacks.
    #[default]
    Async,
    /// Answered when `w` members hold it in memory.
    Replicated,
    /// Answered when `w` members hold it in files from which they would start again.
    Disk,
}

impl Durability {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Replicated => "replicated",
            Self::Disk => "disk",
        }
    }
}

/// The members whose word counts. Written `v/term/w/durability/whenReplicaLost/id,id,…`; two
/// that are active at once are joined by `;`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Counts publications by compare-and-swap.
    pub v: u64,
    /// The term in which it was published.
    pub term: u64,
    /// How many of the members hold a write before it is answered, the primary among them (under `disk`,
    /// any of them); under `async`, how many must have given a lease.
    pub w: usize,
    pub durability: Durability,
    /// `degrade`: fewer may do once members have resigned. Otherwise the primary waits.
    pub degrade: bool,
    /// Member ids, at most [`MEMBERS_MAX`].
    pub members: Vec<String>,
}

impl Config {
    pub fn holds(&self, member: &str) -> bool {
        self.members.iter().any(|id| id == member)
    }

    /// Whether `other` is this config under another number: the same members and the same rule.
    pub fn gives_way_to(&self, other: &Self) -> bool {
        let rule = |one: &Self| (one.w, one.durability, one.degrade);
        rule(self) == rule(other) && self.members == other.members
    }

    /// Reads configs joined by `;`; an empty text is none.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, ConfigError> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        text.split(';').map(str::parse).collect()
    }

    /// The inverse of [`Config::parse_all`].
    pub fn print_all(configs: &[Self]) -> String {
        configs.iter().map(ToString::to_string).collect::<Vec<_>>().join(";")
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = if self.degrade { "degrade" } else { "block" };
        let Self { v, term, w, durability, members, .. } = self;
        write!(f, "{v}/{term}/{w}/{}/{lost}/{}", durability.name(), members.join(","))
    }
}

/// The text is no config that a member can keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a config is written v/term/w/async|replicated|disk/degrade|block/id,id…, 1 ≤ w ≤ ids ≤ 15"
)]
pub struct ConfigError;

impl FromStr for Config {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [v, term, w, durability, lost, members] = parts[..] else { return Err(ConfigError) };
        let number = |text: &str| text.parse::<u64>().map_err(|_| ConfigError);
        let durability = match durability {
            "async" => Durability::Async,
            "replicated" => Durability::Replicated,
            "disk" => Durability::Disk,
            _ => return Err(ConfigError),
        };
        let degrade = match lost {
            "degrade" => true,
            "block" => false,
            _ => return Err(ConfigError),
        };
        let members: Vec<String> = members.split(',').map(str::to_owned).collect();
        let w = usize::try_from(number(w)?).map_err(|_| ConfigError)?;
        let sound = w >= 1 && w <= members.len() && members.len() <= MEMBERS_MAX;
        let distinct = members.iter().enumerate().all(|(at, id)| !members[..at].contains(id));
        if !sound || !distinct || members.iter().any(String::is_empty) {
            return Err(ConfigError);
        }
        Ok(Self { v: number(v)?, term: number(term)?, w, durability, degrade, members })
    }
}
