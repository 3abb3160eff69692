//! Building the store's values from the elements that a reader finds. Pure.

use super::RdbError;
use crate::store::{Change, Hash, Limits, List, Set, Str, Value, ZSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Str,
    List,
    Set,
    Hash,
    ZSet,
}

/// A value of a known kind that elements are added to.
#[derive(Debug)]
pub struct Building {
    kind: Kind,
    value: Value,
    limits: Limits,
}

const TWICE: RdbError = RdbError::Corrupt("a collection holds an element twice");

impl Building {
    pub fn new(kind: Kind, limits: Limits) -> Self {
        let value = match kind {
            Kind::Str => Value::Str(Str::new(b"")),
            Kind::List => List::new().into(),
            Kind::Set => Set::new().into(),
            Kind::Hash => Hash::new().into(),
            Kind::ZSet => ZSet::new().into(),
        };
        Self { kind, value, limits }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The whole of a string value.
    pub fn string(&mut self, bytes: &[u8]) {
        self.value = Value::Str(Str::new(bytes));
    }

    /// One more element of a list or a set.
    pub fn one(&mut self, element: &[u8]) -> Result<(), RdbError> {
        match &mut self.value {
            Value::List(list) => list.push_back(element, &self.limits),
            Value::Set(set) => {
                if !set.add(element, &self.limits) {
                    return Err(TWICE);
                }
            }
            _ => unreachable!("only lists and sets have single elements"),
        }
        Ok(())
    }

    /// One more field of a hash.
    pub fn field(&mut self, field: &[u8], value: &[u8]) -> Result<(), RdbError> {
        let Value::Hash(hash) = &mut self.value else { unreachable!("only a hash has fields") };
        if hash.set(field, value, &self.limits) { Ok(()) } else { Err(TWICE) }
    }

    /// One more field of a hash, with its expiry time.
    pub fn timed(
        &mut self,
        field: &[u8],
        value: &[u8],
        at_ms: Option<i64>,
    ) -> Result<(), RdbError> {
        self.field(field, value)?;
        if let (Value::Hash(hash), Some(_)) = (&mut self.value, at_ms) {
            hash.set_expiry(field, at_ms, &self.limits);
        }
        Ok(())
    }

    /// One more member of a sorted set.
    pub fn member(&mut self, member: &[u8], score: f64) -> Result<(), RdbError> {
        let Value::ZSet(zset) = &mut self.value else { unreachable!("only a zset has members") };
        if score.is_nan() {
            return Err(RdbError::Corrupt("a score is no number"));
        }
        match zset.set(member, score, &self.limits) {
            Change::Added => Ok(()),
            Change::Updated | Change::Same => Err(TWICE),
        }
    }

    /// The value; none if it is an empty collection.
    pub fn finish(self) -> Option<Value> {
        let empty = match &self.value {
            Value::Str(_) | Value::Stream(_) => false,
            Value::List(v) => v.is_empty(),
            Value::Set(v) => v.is_empty(),
            Value::Hash(v) => v.is_empty(),
            Value::ZSet(v) => v.is_empty(),
        };
        (!empty).then_some(self.value)
    }
}
