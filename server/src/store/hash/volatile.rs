//! A hash of which some fields have an expiry time. Only such a hash pays for the times: they lie
//! beside the table, by field and in order.

use super::Field;
use crate::store::table::Table;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Volatile {
    pub table: Table<Field>,
    times: HashMap<Arc<[u8]>, i64>,
    order: BTreeSet<(i64, Arc<[u8]>)>,
    /// Fields whose time is not later are hidden: their primary's word that they are gone has not
    /// come yet.
    hidden_until_ms: i64,
    /// The earliest moment for which the database has a note to look at this hash.
    pub noted_ms: i64,
}

impl Volatile {
    pub fn new(table: Table<Field>) -> Self {
        Self {
            table,
            times: HashMap::new(),
            order: BTreeSet::new(),
            hidden_until_ms: i64::MIN,
            noted_ms: i64::MAX,
        }
    }

    /// Whether no field has a time any more.
    pub fn is_calm(&self) -> bool {
        self.times.is_empty()
    }

    pub fn next_ms(&self) -> Option<i64> {
        self.order.first().map(|(at_ms, _)| *at_ms)
    }

    pub fn time(&self, field: &[u8]) -> Option<i64> {
        self.times.get(field).copied()
    }

    pub fn hide_until(&mut self, ms: i64) {
        self.hidden_until_ms = ms;
    }

    pub fn hides(&self, field: &[u8]) -> bool {
        self.next_ms().is_some_and(|at_ms| at_ms <= self.hidden_until_ms)
            && self.time(field).is_some_and(|at_ms| at_ms <= self.hidden_until_ms)
    }

    /// Fields that are not hidden.
    pub fn len(&self) -> usize {
        let hidden = self.order.iter().take_while(|(at_ms, _)| *at_ms <= self.hidden_until_ms);
        self.table.len() - hidden.count()
    }

    pub fn set_time(&mut self, field: &[u8], at_ms: Option<i64>) {
        if let Some((name, old_ms)) = self.times.remove_entry(field) {
            self.order.remove(&(old_ms, name));
        }
        if let Some(at_ms) = at_ms {
            let name: Arc<[u8]> = field.into();
            self.order.insert((at_ms, Arc::clone(&name)));
            self.times.insert(name, at_ms);
        }
    }

    pub fn remove(&mut self, field: &[u8]) -> bool {
        self.set_time(field, None);
        self.table.remove(field).is_some()
    }

    /// Removes the fields whose time has come and returns their names.
    pub fn take_due(&mut self, now_ms: i64) -> Vec<Vec<u8>> {
        let mut due = Vec::new();
        while let Some((at_ms, name)) = self.order.pop_first() {
            if at_ms > now_ms {
                self.order.insert((at_ms, name));
                break;
            }
            self.times.remove(&name);
            self.table.remove(&name);
            due.push(name.to_vec());
        }
        due
    }

    /// Bytes beside the table, estimated.
    pub fn memory(&self) -> usize {
        self.times.keys().map(|name| name.len() + 80).sum()
    }
}
