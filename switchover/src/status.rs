//! What `REDISHA STATUS` says, typed.

use std::fmt;
use std::str::FromStr;

use crate::Epoch;

/// A member's own word about itself, at the moment of answering.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    pub uid: String,
    /// Member id.
    pub member: String,
    pub role: Role,
    /// The epoch of the role; for a limbo, of the handover.
    pub epoch: Epoch,
    pub promised: Epoch,
    /// The epoch of the last start record in its log.
    pub data_epoch: Epoch,
    /// Applied, in bytes of the replication stream.
    pub offset: u64,
    pub empty: bool,
    /// The member id that a follower follows; empty when it follows none.
    pub primary_member: String,
    pub link: Link,
    /// How long a follower has not heard its primary, in milliseconds.
    pub silence_ms: u64,
    pub host: String,
    pub port: u16,
    pub hostname: String,
    /// The id of the operator's pause that is on; empty when none is.
    pub pause_id: String,
    /// How long the operator's or a user's pause still lasts, in milliseconds.
    pub pause_left_ms: u64,
    /// The id of the last handover; empty when there was none in this life.
    pub handover_id: String,
    /// The member id it was to.
    pub handover_to: String,
    pub handover: Handover,
    pub handover_epoch: Epoch,
    /// The record to carry to the target while the outcome is pending; empty when unknown.
    pub handover_record: String,
    /// Length of the last pause, in microseconds; 0 when unknown.
    pub pause_us: u64,
    /// Connections that are relayed now.
    pub relayed: u64,
    pub draining: bool,
    /// Of a primary: the configs that it obeys, as [`Config::text`](crate::Config::text), joined by `;`.
    pub configs: String,
    /// Its process goes on under the id of an earlier one, with what its disk held.
    pub restarted: bool,
    /// How long leases that it gave still last, in milliseconds.
    pub lease_left_ms: u64,
    pub version: String,
    /// What its stream may hold: a greater one is understood by fewer.
    pub stream_level: u64,
    /// A digest of its users with their passwords and rights; empty when it does not tell.
    pub users: String,
    /// The transports by which it takes clients (`tcp`, `tls`, `tcp,tls`); empty when unknown.
    pub listens: String,
    /// Of a primary: the member replicas that are connected to it.
    pub replicas: Vec<Replica>,
}

/// One connected member replica, as its primary sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replica {
    pub member: String,
    /// The last acknowledged (applied) offset, in bytes.
    pub offset: u64,
    /// Whether its full resync is over and it takes the stream.
    pub online: bool,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl FromStr for $name {
            type Err = StatusError;

            fn from_str(text: &str) -> Result<Self, StatusError> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(StatusError::new(stringify!($name), text)),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a member is now.
    Role {
        /// Serves nobody until it is told what to be.
        #[default]
        Fenced = "fenced",
        Follower = "follower",
        Primary = "primary",
        /// Has handed over and does not know the outcome yet.
        Limbo = "limbo",
        /// Started without a cluster UID; the operator leaves it alone.
        Unmanaged = "unmanaged",
    }
}

words! {
    /// A follower's link to its primary.
    Link {
        #[default]
        None = "none",
        Connecting = "connecting",
        Syncing = "syncing",
        Up = "up",
        Down = "down",
    }
}

words! {
    /// What became of the last handover.
    Handover {
        #[default]
        None = "none",
        Pending = "pending",
        Accepted = "accepted",
        Declined = "declined",
        Abdicated = "abdicated",
    }
}

/// A field of a status that cannot be read: its name and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusError {
    pub field: String,
    pub text: String,
}

impl StatusError {
    fn new(field: &str, text: &str) -> Self {
        Self { field: field.to_owned(), text: text.to_owned() }
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status field {} holds `{}`", self.field, self.text)
    }
}

impl std::error::Error for StatusError {}

fn read<T: FromStr>(field: &str, text: &str) -> Result<T, StatusError> {
    text.parse().map_err(|_| StatusError::new(field, text))
}

impl Status {
    /// From the pairs of the answer, without `replicas` (see [`Replica::from_pairs`]). Unknown
    /// fields are passed over, so that a newer server may say more.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, StatusError> {
        let mut status = Self::default();
        for (field, text) in pairs {
            status.set(field, text)?;
        }
        Ok(status)
    }

    fn set(&mut self, field: &str, text: &str) -> Result<(), StatusError> {
        match field {
            "uid" => text.clone_into(&mut self.uid),
            "member" => text.clone_into(&mut self.member),
            "role" => self.role = read(field, text)?,
            "epoch" => self.epoch = read(field, text)?,
            "promised" => self.promised = read(field, text)?,
            "data-epoch" => self.data_epoch = read(field, text)?,
            "offset" => self.offset = read(field, text)?,
            "empty" => self.empty = text == "1",
            "primary-member" => text.clone_into(&mut self.primary_member),
            "link" => self.link = read(field, text)?,
            "silence-ms" => self.silence_ms = read(field, text)?,
            "host" => text.clone_into(&mut self.host),
            "port" => self.port = read(field, text)?,
            "hostname" => text.clone_into(&mut self.hostname),
            "pause-id" => text.clone_into(&mut self.pause_id),
            "pause-left-ms" => self.pause_left_ms = read(field, text)?,
            "handover-id" => text.clone_into(&mut self.handover_id),
            "handover-to" => text.clone_into(&mut self.handover_to),
            "handover-outcome" => self.handover = read(field, text)?,
            // Empty before the first handover of a life.
            "handover-epoch" if text.is_empty() => {}
            "handover-epoch" => self.handover_epoch = read(field, text)?,
            "handover-record" => text.clone_into(&mut self.handover_record),
            "pause-us" => self.pause_us = read(field, text)?,
            "relayed" => self.relayed = read(field, text)?,
            "configs" => text.clone_into(&mut self.configs),
            "lease-left-ms" => self.lease_left_ms = read(field, text)?,
            "restarted" => self.restarted = text == "1",
            "draining" => self.draining = text == "1",
            "stream-level" => self.stream_level = read(field, text)?,
            "users" => text.clone_into(&mut self.users),
            "listens" => text.clone_into(&mut self.listens),
            "version" => text.clone_into(&mut self.version),
            _ => {}
        }
        Ok(())
    }
}

impl Replica {
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, StatusError> {
        let mut replica = Self::default();
        for (field, text) in pairs {
            match field {
                "member" => text.clone_into(&mut replica.member),
                "offset" => replica.offset = read(field, text)?,
                "state" => replica.online = text == "online",
                _ => {}
            }
        }
        Ok(replica)
    }
}
