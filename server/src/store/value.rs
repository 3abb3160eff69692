//! The types of values.

use super::hash::Hash;
use super::list::List;
use super::set::Set;
use super::stream::Stream;
use super::string::{Str, StrRef};
use super::zset::ZSet;

/// A value that is owned: built by a command or a loader, or changed in place in the keyspace.
#[derive(Clone, Debug)]
pub enum Value {
    Str(Str),
    List(Box<List>),
    Hash(Box<Hash>),
    Set(Box<Set>),
    ZSet(Box<ZSet>),
    Stream(Box<Stream>),
}

/// A value where it lies in the keyspace.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    Str(StrRef<'a>),
    List(&'a List),
    Hash(&'a Hash),
    Set(&'a Set),
    ZSet(&'a ZSet),
    Stream(&'a Stream),
}

/// The key holds a value of another type than the command works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
pub struct WrongType;

/// A collection type, so that the keyspace can hand out just this one.
pub trait Kind: Default {
    fn of(value: ValueRef<'_>) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    fn into_value(self) -> Value;
    fn is_empty(&self) -> bool;
}

macro_rules! kind {
    ($type:ident) => {
        impl Kind for $type {
            fn of(value: ValueRef<'_>) -> Option<&Self> {
                match value {
                    ValueRef::$type(inner) => Some(inner),
                    _ => None,
                }
            }

            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                match value {
                    Value::$type(inner) => Some(inner),
                    _ => None,
                }
            }

            fn into_value(self) -> Value {
                Value::$type(Box::new(self))
            }

            fn is_empty(&self) -> bool {
                $type::is_empty(self)
            }
        }

        impl From<$type> for Value {
            fn from(inner: $type) -> Self {
                Self::$type(Box::new(inner))
            }
        }
    };
}

kind!(List);
kind!(Hash);
kind!(Set);
kind!(ZSet);
kind!(Stream);

impl Value {
    pub fn view(&self) -> ValueRef<'_> {
        match self {
            Self::Str(s) => ValueRef::Str(s.view()),
            Self::List(list) => ValueRef::List(list),
            Self::Hash(hash) => ValueRef::Hash(hash),
            Self::Set(set) => ValueRef::Set(set),
            Self::ZSet(zset) => ValueRef::ZSet(zset),
            Self::Stream(stream) => ValueRef::Stream(stream),
        }
    }
}

impl ValueRef<'_> {
    /// What TYPE answers.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Str(_) => "string",
            Self::List(_) => "list",
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
            Self::ZSet(_) => "zset",
            Self::Stream(_) => "stream",
        }
    }

    /// What OBJECT ENCODING answers.
    pub fn encoding(self) -> &'static str {
        match self {
            Self::Str(s) => s.encoding(),
            Self::List(list) => list.encoding(),
            Self::Hash(hash) => hash.encoding(),
            Self::Set(set) => set.encoding(),
            Self::ZSet(zset) => zset.encoding(),
            Self::Stream(stream) => stream.encoding(),
        }
    }

    /// About how many allocations it takes: what freeing it costs.
    pub fn pieces(self) -> usize {
        match self {
            Self::List(list) => list.len() / 64,
            Self::Hash(hash) if hash.encoding() == "hashtable" => hash.len(),
            Self::Set(set) if set.encoding() == "hashtable" => set.len(),
            Self::ZSet(zset) if zset.encoding() == "skiplist" => zset.len(),
            Self::Stream(stream) => stream.blocks().len(),
            _ => 1,
        }
    }

    /// An estimate of the value's bytes, for MEMORY USAGE.
    pub fn memory(self) -> usize {
        match self {
            Self::Str(s) => s.len() + 16,
            Self::List(list) => list.memory(),
            Self::Hash(hash) => hash.memory(),
            Self::Set(set) => set.memory(),
            Self::ZSet(zset) => zset.memory(),
            Self::Stream(stream) => stream.memory(),
        }
    }

    pub fn to_owned(self) -> Value {
        match self {
            Self::Str(s) => Value::Str(s.to_owned()),
            Self::List(list) => list.clone().into(),
            Self::Hash(hash) => hash.clone().into(),
            Self::Set(set) => set.clone().into(),
            Self::ZSet(zset) => zset.clone().into(),
            Self::Stream(stream) => stream.clone().into(),
        }
    }
}
