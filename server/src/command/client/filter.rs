//! Which connections `CLIENT LIST` and `CLIENT KILL` mean.

use std::collections::HashSet;
use std::mem::discriminant;

use super::list::{address, flags};
use crate::client::{Client, Duty, User};
use crate::command::support::int;
use crate::engine::{Context, Engine};
use crate::resp::{Args, CommandError, errors, num};

/// The letters of flags that a filter may name.
const FLAGS: &str = "OSMPxbtRBdcuAUreTIiEN";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Normal,
    PubSub,
    Replica,
    Primary,
}

impl Kind {
    fn parse(word: &[u8]) -> Result<Self, CommandError> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Kind::Normal),
            b"pubsub" => Ok(Kind::PubSub),
            b"replica" | b"slave" => Ok(Kind::Replica),
            b"primary" | b"master" => Ok(Kind::Primary),
            _ => Err(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(word)).into()),
        }
    }

    fn of(client: &Client) -> Self {
        match client.duty {
            Duty::Replica => Kind::Replica,
            Duty::Link(_) => Kind::Primary,
            Duty::Commands if client.traits.monitor => Kind::Replica,
            Duty::Commands if client.subscription_count() > 0 => Kind::PubSub,
            Duty::Commands => Kind::Normal,
        }
    }
}

#[derive(Debug)]
enum Criterion {
    Ids(HashSet<u64>),
    Kind(Kind),
    User(User),
    Address(Vec<u8>),
    Local(Vec<u8>),
    Ip(Vec<u8>),
    MaxAge(u64),
    Idle(u64),
    Flags(String),
    Name(Vec<u8>),
    LibName(Vec<u8>),
    LibVersion(Vec<u8>),
    Database(usize),
    Capabilities,
}

/// All that is given must hold, and nothing that is denied.
#[derive(Default)]
pub struct Filter {
    criteria: Vec<(bool, Criterion)>,
    /// The running client is left out.
    pub spares_me: bool,
}

impl Filter {
    /// The old form of `CLIENT KILL`.
    pub fn of_address(address: &[u8]) -> Self {
        Self { criteria: vec![(true, Criterion::Address(address.to_vec()))], spares_me: false }
    }

    /// Reads the words from `args[2]` on.
    pub fn parse(cx: &Context<'_>, spares_me: bool) -> Result<Self, CommandError> {
        let mut filter = Filter { criteria: Vec::new(), spares_me };
        let args = cx.args;
        let mut at = 2;
        while at < args.len() {
            let word = args.at(at).to_ascii_lowercase();
            let (wanted, name) = match word.strip_prefix(b"not-") {
                Some(name) => (false, name),
                None => (true, word.as_slice()),
            };
            if name == b"id" {
                at = filter.read_ids(args, at + 1, wanted)?;
                continue;
            }
            let value = args.get(at + 1).ok_or(errors::SYNTAX)?;
            if word == b"skipme" {
                filter.spares_me = match value.to_ascii_lowercase().as_slice() {
                    b"yes" => true,
                    b"no" => false,
                    _ => return Err(errors::SYNTAX.into()),
                };
            } else {
                let criterion = read(cx, wanted, name, value)?;
                filter.put(wanted, criterion);
            }
            at += 2;
        }
        Ok(filter)
    }

    /// A word that is said again counts as it was said last.
    fn put(&mut self, wanted: bool, criterion: Criterion) {
        let kind = discriminant(&criterion);
        self.criteria.retain(|(side, known)| *side != wanted || discriminant(known) != kind);
        self.criteria.push((wanted, criterion));
    }

    /// As many numbers as follow; they add to those before.
    fn read_ids(
        &mut self,
        args: Args<'_>,
        mut at: usize,
        wanted: bool,
    ) -> Result<usize, CommandError> {
        let held = self
            .criteria
            .iter()
            .position(|(side, known)| *side == wanted && matches!(known, Criterion::Ids(_)));
        let mut ids = match held.map(|at| self.criteria.swap_remove(at).1) {
            Some(Criterion::Ids(known)) => known,
            _ => HashSet::new(),
        };
        while let Some(id) = args.get(at).and_then(num::parse_i64) {
            if id < 1 {
                return Err("ERR client-id should be greater than 0".into());
            }
            ids.insert(id as u64);
            at += 1;
        }
        self.criteria.push((wanted, Criterion::Ids(ids)));
        Ok(at)
    }

    pub fn matches(&self, engine: &Engine, client: &Client) -> bool {
        self.criteria.iter().all(|(wanted, criterion)| criterion.holds(engine, client) == *wanted)
    }
}

fn read(
    cx: &Context<'_>,
    wanted: bool,
    name: &[u8],
    value: &[u8],
) -> Result<Criterion, CommandError> {
    let text = || value.to_vec();
    let shown = || String::from_utf8_lossy(value).into_owned();
    let prefix = if wanted { "" } else { "NOT-" };
    let seconds = |name: &str| -> Result<u64, CommandError> {
        let number = num::parse_i64(value)
            .ok_or_else(|| format!("ERR {name} is not an integer or out of range"))?;
        let positive = u64::try_from(number).ok().filter(|number| *number > 0);
        positive.ok_or_else(|| format!("ERR {name} should be greater than 0").into())
    };
    let unknown = |what: &str, filter: &str| -> CommandError {
        let place = if wanted { "provided filter" } else { filter };
        format!("ERR Unknown {what} found in the {place}: {}", shown()).into()
    };
    match name {
        b"type" => Ok(Criterion::Kind(Kind::parse(value)?)),
        b"user" => match cx.engine.acl.users.id(value) {
            Some(id) => Ok(Criterion::User(User::Named(id))),
            None => Err(format!("ERR No such user '{}'", shown()).into()),
        },
        b"addr" => Ok(Criterion::Address(text())),
        b"laddr" => Ok(Criterion::Local(text())),
        b"ip" => Ok(Criterion::Ip(text())),
        b"name" => Ok(Criterion::Name(text())),
        b"lib-name" => Ok(Criterion::LibName(text())),
        b"lib-ver" => Ok(Criterion::LibVersion(text())),
        b"maxage" if wanted => Ok(Criterion::MaxAge(seconds("maxage")?)),
        b"idle" if wanted => Ok(Criterion::Idle(seconds("idle")?)),
        b"flags" if shown().chars().all(|flag| FLAGS.contains(flag)) => {
            Ok(Criterion::Flags(shown()))
        }
        b"flags" => Err(unknown("flags", "NOT-FLAGS filter")),
        b"capa" if value.iter().all(|letter| *letter == b'r') => Ok(Criterion::Capabilities),
        b"capa" => Err(unknown("capa", "NOT-CAPA filter")),
        b"db" => {
            let index = int(value)
                .map_err(|_| format!("ERR {prefix}DB is not an integer or out of range"))?;
            let count = cx.engine.config.databases;
            let index = usize::try_from(index).ok().filter(|index| *index < count);
            let range = || format!("ERR {prefix}DB number should be between 0 and {}", count - 1);
            Ok(Criterion::Database(index.ok_or_else(range)?))
        }
        _ => Err(errors::SYNTAX.into()),
    }
}

impl Criterion {
    fn holds(&self, engine: &Engine, client: &Client) -> bool {
        let passed_s = |since_ms: u64| engine.now.mono_ms().saturating_sub(since_ms) / 1000;
        match self {
            Criterion::Ids(ids) => ids.contains(&client.id.serial),
            Criterion::Kind(kind) => *kind == Kind::of(client),
            Criterion::User(user) => *user == client.user,
            Criterion::Address(wanted) => address(client.peer).as_bytes() == wanted,
            Criterion::Local(wanted) => address(client.local).as_bytes() == wanted,
            Criterion::Ip(wanted) => {
                client.peer.is_some_and(|peer| peer.ip().to_string().as_bytes() == wanted)
            }
            Criterion::MaxAge(least_s) => passed_s(client.created_ms) >= *least_s,
            Criterion::Idle(least_s) => passed_s(client.active_ms) >= *least_s,
            Criterion::Flags(wanted) => {
                let set = flags(client);
                wanted.chars().all(|flag| set.contains(flag))
            }
            Criterion::Name(name) => !client.name.is_empty() && client.name == *name,
            Criterion::LibName(name) => client.lib_name == *name,
            Criterion::LibVersion(version) => client.lib_version == *version,
            Criterion::Database(index) => client.db == *index,
            Criterion::Capabilities => client.traits.capa_redirect,
        }
    }
}
