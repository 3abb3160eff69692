//! The member commands that the decision sends, and what may come back.
//!
//! Wire words are here and nowhere else on this side.

use crate::{Config, Epoch, Member};

/// One `REDISHA` subcommand for a member. All are idempotent by (id, epoch).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Fenced and empty → primary of `term.0`.
    Bootstrap {
        term: u64,
        config: Config,
    },
    /// Promise `term.0`, drop the link, become fenced → [`Reply::Sealed`].
    Seal {
        term: u64,
    },
    /// A member that promised `term.0` → primary of it.
    Promote {
        term: u64,
        config: Config,
        /// What leases of the sealed may still last.
        wait_ms: u64,
    },
    /// The primary obeys this config too → [`Reply::Prepared`].
    Prepare {
        config: Config,
    },
    /// This config is published: the primary obeys no other.
    Commit {
        config: Config,
    },
    Follow {
        epoch: Epoch,
        primary: String,
        host: String,
        port: u16,
    },
    /// → [`Reply::Paused`].
    Pause {
        id: String,
        timeout_ms: u64,
        to: String,
    },
    Unpause {
        id: String,
    },
    /// Answers as soon as the target holds everything → [`Reply::Ok`] or [`Refusal::NotLevel`].
    Level {
        id: String,
        to: String,
    },
    /// → [`Reply::Accepted`], [`Reply::Declined`] or [`Reply::Abdicated`], when that is known.
    Handover {
        id: String,
        to: String,
        host: String,
        port: u16,
        hostname: String,
    },
    /// The last record, carried to the target by the operator.
    Takeover {
        record: String,
    },
    /// The address leads to the new primary now.
    Release {
        id: String,
    },
}

impl Command {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bootstrap { .. } => "BOOTSTRAP",
            Self::Seal { .. } => "SEAL",
            Self::Promote { .. } => "PROMOTE",
            Self::Prepare { .. } => "PREPARE",
            Self::Commit { .. } => "COMMIT",
            Self::Follow { .. } => "FOLLOW",
            Self::Pause { .. } => "PAUSE",
            Self::Unpause { .. } => "UNPAUSE",
            Self::Level { .. } => "LEVEL",
            Self::Handover { .. } => "HANDOVER",
            Self::Takeover { .. } => "TAKEOVER",
            Self::Release { .. } => "RELEASE",
        }
    }

    /// All words of the command as sent to `target`, from `REDISHA` on.
    pub fn words(&self, uid: &str, target: &Member) -> Vec<String> {
        let mut words: Vec<String> =
            ["REDISHA", self.name(), "UID", uid, "MEMBER", &target.member].map(Into::into).into();
        let mut push = |key: &str, value: String| words.extend([key.to_owned(), value]);
        match self {
            Self::Seal { term } => push("TERM", term.to_string()),
            Self::Bootstrap { term, config } => {
                push("TERM", term.to_string());
                push("CONFIG", config.text());
            }
            Self::Promote { term, config, wait_ms } => {
                push("TERM", term.to_string());
                push("CONFIG", config.text());
                push("WAIT", wait_ms.to_string());
            }
            Self::Prepare { config } | Self::Commit { config } => push("CONFIG", config.text()),
            Self::Follow { epoch, primary, host, port } => {
                push("EPOCH", epoch.to_string());
                push("PRIMARY", primary.clone());
                push("HOST", host.clone());
                push("PORT", port.to_string());
            }
            Self::Pause { id, timeout_ms, to } => {
                push("ID", id.clone());
                push("TIMEOUT", timeout_ms.to_string());
                push("TO", to.clone());
            }
            Self::Unpause { id } | Self::Release { id } => push("ID", id.clone()),
            Self::Level { id, to } => {
                push("ID", id.clone());
                push("TO", to.clone());
            }
            Self::Handover { id, to, host, port, hostname } => {
                push("ID", id.clone());
                push("TO", to.clone());
                push("HOST", host.clone());
                push("PORT", port.to_string());
                if !hostname.is_empty() {
                    push("HOSTNAME", hostname.clone());
                }
            }
            Self::Takeover { record } => push("RECORD", record.clone()),
        }
        words
    }
}

/// A member's answer that is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `OK`, `LEVEL`, or any other answer that carries nothing.
    Ok,
    /// To SEAL: the member id, the epoch of its last start record, applied bytes, emptiness.
    Sealed {
        member: String,
        data_epoch: Epoch,
        offset: u64,
        empty: bool,
        /// How long leases that it gave still last, in milliseconds.
        lease_left_ms: u64,
        /// See [`Status::restarted`](crate::Status::restarted).
        restarted: bool,
    },
    /// To PREPARE: the config may be published.
    Prepared,
    /// To PAUSE: the offset that nothing will follow, and the primary's epoch.
    Paused {
        offset: u64,
        epoch: Epoch,
    },
    /// To HANDOVER and TAKEOVER.
    Accepted {
        epoch: Epoch,
    },
    Declined {
        epoch: Epoch,
    },
    Abdicated,
}

impl Reply {
    /// From a simple or bulk string; SEAL and PAUSE answer with maps, which
    /// [`Reply::from_pairs`] reads.
    pub fn from_text(text: &str) -> Self {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match (word, rest.parse()) {
            ("ACCEPTED", Ok(epoch)) => Self::Accepted { epoch },
            ("DECLINED", Ok(epoch)) => Self::Declined { epoch },
            ("ABDICATED", _) => Self::Abdicated,
            ("PREPARED", _) => Self::Prepared,
            _ => Self::Ok,
        }
    }

    /// From the map that answers SEAL (it names a member) or PAUSE; `None` when a field that the
    /// decision needs is missing or unreadable.
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Option<Self> {
        let get = |key: &str| pairs.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        let offset = get("offset")?.parse().ok()?;
        match get("member") {
            Some(member) => Some(Self::Sealed {
                member: member.to_owned(),
                data_epoch: get("data-epoch")?.parse().ok()?,
                offset,
                empty: get("empty")? == "1",
                // A member that does not speak of leases gives none.
                lease_left_ms: get("lease-left-ms").map_or(Ok(0), str::parse).ok()?,
                restarted: get("restarted") == Some("1"),
            }),
            None => Some(Self::Paused { offset, epoch: get("epoch")?.parse().ok()? }),
        }
    }
}

/// Why a command did not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Another life of that member, or another cluster.
    WrongMember(String),
    /// The member has promised a greater epoch.
    Stale(String),
    NotReady(String),
    /// The pause ended before the target was level.
    NotLevel(String),
    /// Any other error reply.
    Error(String),
    /// The connection ended or the answer is overdue: the command may have run or not.
    Lost(String),
}

impl Refusal {
    /// From the text of an error reply, its code first.
    pub fn from_error(text: &str) -> Self {
        let text = text.strip_prefix('-').unwrap_or(text);
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.to_owned();
        match code {
            "WRONGMEMBER" => Self::WrongMember(rest),
            "STALE" => Self::Stale(rest),
            "NOTREADY" => Self::NotReady(rest),
            "NOTLEVEL" => Self::NotLevel(rest),
            _ => Self::Error(text.to_owned()),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WrongMember(text) => write!(f, "it is another member now: {text}"),
            Self::Stale(text) => write!(f, "it knows a newer epoch: {text}"),
            Self::NotReady(text) => write!(f, "it is not ready: {text}"),
            Self::NotLevel(text) => write!(f, "the target did not catch up in time: {text}"),
            Self::Error(text) => write!(f, "it answered: {text}"),
            Self::Lost(text) => write!(f, "it did not answer: {text}"),
        }
    }
}
