//! The two records that members write into the replication stream, as the argument of a `PING`,
//! the one command that every stock replica takes from its primary without effect.
//!
//! `redisha:handover:<blob>` is the last record of an epoch; `redisha:start:<t.h>:<member>` the
//! first. The blob is versioned text, `key=value` pairs joined by `&`, percent-encoded. Unknown keys
//! are ignored, so a later version may add some; another `v` is refused.

use super::epoch::Epoch;
use super::event::Target;
use super::fields::{self, Fields};

/// What a handover record says. See `protocol.md`, planned switch, step 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The cluster that both belong to.
    pub uid: String,
    /// The attempt, as the operator named it.
    pub id: String,
    /// The epoch that is given away.
    pub epoch: Epoch,
    /// The giver, where it is reached.
    pub from: Target,
    /// The one member that may take `epoch`.
    pub to: Target,
    /// Epoch of the last start record before this record.
    pub data_epoch: Epoch,
    /// `T`: the stream's offset just before this record.
    pub offset: u64,
    /// Active configs of members as opaque text; empty until commits by W members exist.
    pub configs: String,
    /// Defaults that relayed sessions start from, opaque to this module.
    pub session: String,
    /// What the giver's clock shows as it falls silent, Unix time in milliseconds: nothing that it
    /// answered was later. 0 in a record of a version that did not tell.
    pub clock_ms: i64,
}

/// A record of the stream that this module understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Handover(Box<Handover>),
    Start { epoch: Epoch, member: String },
}

/// Why a text is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("record of unknown kind")]
    Kind,
    #[error("record of another version")]
    Version,
    #[error("record without a valid `{0}`")]
    Field(&'static str),
    #[error("record with bad percent-encoding")]
    Encoding,
}

const HANDOVER: &str = "redisha:handover:";
const START: &str = "redisha:start:";

impl Record {
    /// Whether the argument of a `PING` in the stream is meant for this module at all.
    pub fn is_record(argument: &[u8]) -> bool {
        argument.starts_with(b"redisha:")
    }

    /// Parses the argument of such a `PING`.
    pub fn parse(argument: &[u8]) -> Result<Self, RecordError> {
        let text = std::str::from_utf8(argument).map_err(|_| RecordError::Encoding)?;
        if let Some(blob) = text.strip_prefix(HANDOVER) {
            return Ok(Self::Handover(Box::new(Handover::decode(blob)?)));
        }
        let start = text.strip_prefix(START).ok_or(RecordError::Kind)?;
        let (epoch, member) = start.split_once(':').ok_or(RecordError::Field("member"))?;
        let epoch = epoch.parse().map_err(|_| RecordError::Field("epoch"))?;
        if member.is_empty() {
            return Err(RecordError::Field("member"));
        }
        Ok(Self::Start { epoch, member: member.to_owned() })
    }

    /// The argument of the `PING`.
    pub fn argument(&self) -> String {
        match self {
            Self::Handover(handover) => handover_argument(&handover.encode()),
            Self::Start { epoch, member } => format!("{START}{epoch}:{member}"),
        }
    }
}

/// The argument of the `PING` that carries a blob, byte for byte as the giver wrote it.
pub fn handover_argument(blob: &str) -> String {
    format!("{HANDOVER}{blob}")
}

impl Handover {
    pub fn encode(&self) -> String {
        let epochs = (self.epoch.to_string(), self.data_epoch.to_string());
        let numbers =
            (self.from.port.to_string(), self.to.port.to_string(), self.offset.to_string());
        fields::encode(&[
            ("uid", self.uid.as_str()),
            ("id", &self.id),
            ("epoch", &epochs.0),
            ("from", &self.from.member),
            ("from-host", &self.from.host),
            ("from-port", &numbers.0),
            ("from-name", &self.from.hostname),
            ("to", &self.to.member),
            ("to-host", &self.to.host),
            ("to-port", &numbers.1),
            ("to-name", &self.to.hostname),
            ("data-epoch", &epochs.1),
            ("offset", &numbers.2),
            ("configs", &self.configs),
            ("session", &self.session),
            ("clock", &self.clock_ms.to_string()),
        ])
    }

    pub fn decode(blob: &str) -> Result<Self, RecordError> {
        let fields = Fields::of(blob)?;
        Ok(Self {
            uid: fields.needed("uid")?,
            id: fields.needed("id")?,
            epoch: fields.parsed("epoch")?,
            from: target(&fields, ["from", "from-host", "from-port", "from-name"])?,
            to: target(&fields, ["to", "to-host", "to-port", "to-name"])?,
            data_epoch: fields.parsed("data-epoch")?,
            offset: fields.parsed("offset")?,
            configs: fields.get("configs")?,
            session: fields.get("session")?,
            clock_ms: match fields.get("clock")?.as_str() {
                "" => 0,
                _ => fields.parsed("clock")?,
            },
        })
    }
}

fn target(fields: &Fields<'_>, keys: [&'static str; 4]) -> Result<Target, RecordError> {
    let [member, host, port, hostname] = keys;
    Ok(Target {
        member: fields.needed(member)?,
        host: fields.needed(host)?,
        port: fields.parsed(port)?,
        hostname: fields.get(hostname)?,
    })
}
