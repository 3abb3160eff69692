//! The two records that members write into the replication stream, as the argument of a `PING`,
//! the one command that every stock replica takes from its primary without effect.
//!
//! `redisha:handover:<blob>` is the last record of an epoch; `redisha:start:<t.h>:<member>` the
//! first. The blob is versioned text, `key=value` pairs joined by `&`, percent-encoded. Unknown keys
//! are ignored, so a later version may add some; another `v` is refused.

use std::fmt::Write as _;

use super::epoch::Epoch;
use super::event::Target;

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
        let mut out = String::from("v=1");
        let epochs = (self.epoch.to_string(), self.data_epoch.to_string());
        let numbers =
            (self.from.port.to_string(), self.to.port.to_string(), self.offset.to_string());
        for (key, value) in [
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
        ] {
            out.push('&');
            out.push_str(key);
            out.push('=');
            escape(value, &mut out);
        }
        out
    }

    pub fn decode(blob: &str) -> Result<Self, RecordError> {
        let fields = Fields(blob);
        if fields.get("v")? != "1" {
            return Err(RecordError::Version);
        }
        Ok(Self {
            uid: fields.needed("uid")?,
            id: fields.needed("id")?,
            epoch: fields.parsed("epoch")?,
            from: fields.target(["from", "from-host", "from-port", "from-name"])?,
            to: fields.target(["to", "to-host", "to-port", "to-name"])?,
            data_epoch: fields.parsed("data-epoch")?,
            offset: fields.parsed("offset")?,
            configs: fields.get("configs")?,
            session: fields.get("session")?,
        })
    }
}

struct Fields<'a>(&'a str);

impl Fields<'_> {
    fn get(&self, key: &str) -> Result<String, RecordError> {
        let found = self.0.split('&').find_map(|pair| match pair.split_once('=') {
            Some((name, value)) if name == key => Some(value),
            _ => None,
        });
        unescape(found.unwrap_or(""))
    }

    fn needed(&self, key: &'static str) -> Result<String, RecordError> {
        let value = self.get(key)?;
        if value.is_empty() { Err(RecordError::Field(key)) } else { Ok(value) }
    }

    fn parsed<T: std::str::FromStr>(&self, key: &'static str) -> Result<T, RecordError> {
        self.get(key)?.parse().map_err(|_| RecordError::Field(key))
    }

    fn target(&self, keys: [&'static str; 4]) -> Result<Target, RecordError> {
        let [member, host, port, hostname] = keys;
        Ok(Target {
            member: self.needed(member)?,
            host: self.needed(host)?,
            port: self.parsed(port)?,
            hostname: self.get(hostname)?,
        })
    }
}

fn escape(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:,".contains(&byte) {
            out.push(byte as char);
        } else {
            write!(out, "%{byte:02X}").expect("a String takes every write");
        }
    }
}

fn unescape(value: &str) -> Result<String, RecordError> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let (digits, tail) = tail.split_at_checked(2).ok_or(RecordError::Encoding)?;
            let digit = |at: usize| (digits[at] as char).to_digit(16).ok_or(RecordError::Encoding);
            bytes.push((digit(0)? * 16 + digit(1)?) as u8);
            rest = tail;
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).map_err(|_| RecordError::Encoding)
}
