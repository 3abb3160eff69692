//! What one server would answer: a few commands of each type, on one object.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Operation;
use crate::resp::Value;

/// Replaces a text if it is the expected one; answers whether it was.
const REPLACE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
                       redis.call('SET', KEYS[1], ARGV[2]) return 1 end return 0";

/// Moments of expiry are read from clocks of whole milliseconds, once in a turn of the server.
const SLACK: Duration = Duration::from_millis(50);

/// The kinds of objects that histories are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Text,
    Counter,
    List,
    Hash,
    /// Two counters that only transactions touch.
    Pair,
    /// A text that scripts compare and replace.
    Scripted,
    /// A text that expires.
    Expiring,
    /// The same where clocks jump.
    Jumping,
}

impl Kind {
    /// All whose answers do not depend on clocks that jump.
    pub const ALL: [Self; 7] = [
        Self::Text,
        Self::Counter,
        Self::List,
        Self::Hash,
        Self::Pair,
        Self::Scripted,
        Self::Expiring,
    ];
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Set(String),
    Append(String),
    Get,
    Add(i64),
    Push(String),
    Pop,
    Range,
    SetField(String, String),
    DropField(String),
    Fields,
    /// From the first counter of a pair to the second, in one transaction.
    Move(i64),
    /// Both counters, in one transaction.
    Both,
    /// By a script: this text, if it is there, by that one.
    Replace(String, String),
    /// A text that is there for so many milliseconds.
    SetFor(String, u64),
    /// The same by a clock that jumps: the text may go at any time, and is not there again then.
    SetByJumpingClock(String, u64),
}

impl Action {
    pub fn writes(&self) -> bool {
        !matches!(self, Self::Get | Self::Range | Self::Fields | Self::Both)
    }

    /// The commands on the wire; of several, the last one's answer is the answer.
    pub fn commands(&self, key: &str) -> Vec<Vec<String>> {
        let command = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let other = format!("{key}:b");
        match self {
            Self::Set(text) => vec![command(&["SET", key, text])],
            Self::Append(text) => vec![command(&["APPEND", key, text])],
            Self::Get => vec![command(&["GET", key])],
            Self::Add(by) => vec![command(&["INCRBY", key, &by.to_string()])],
            Self::Push(text) => vec![command(&["RPUSH", key, text])],
            Self::Pop => vec![command(&["LPOP", key])],
            Self::Range => vec![command(&["LRANGE", key, "0", "-1"])],
            Self::SetField(field, text) => vec![command(&["HSET", key, field, text])],
            Self::DropField(field) => vec![command(&["HDEL", key, field])],
            Self::Fields => vec![command(&["HGETALL", key])],
            Self::Move(by) => vec![
                command(&["MULTI"]),
                command(&["DECRBY", key, &by.to_string()]),
                command(&["INCRBY", &other, &by.to_string()]),
                command(&["EXEC"]),
            ],
            Self::Both => vec![
                command(&["MULTI"]),
                command(&["GET", key]),
                command(&["GET", &other]),
                command(&["EXEC"]),
            ],
            Self::Replace(old, new) => vec![command(&["EVAL", REPLACE, "1", key, old, new])],
            Self::SetFor(text, ms) | Self::SetByJumpingClock(text, ms) => {
                vec![command(&["SET", key, text, "PX", &ms.to_string()])]
            }
        }
    }

    /// Whether the answer is the expected one; fields of a hash come in any order.
    fn same(&self, told: &Value, expected: &Value) -> bool {
        match (self, told, expected) {
            (Self::Fields, Value::Array(told), Value::Array(expected)) => {
                let pairs = |items: &[Value]| {
                    let mut pairs: Vec<String> =
                        items.chunks(2).map(|pair| format!("{pair:?}")).collect();
                    pairs.sort_unstable();
                    pairs
                };
                pairs(told) == pairs(expected)
            }
            _ => told == expected,
        }
    }
}

/// One object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    #[default]
    Missing,
    Text(String),
    Counter(i64),
    List(VecDeque<String>),
    Hash(BTreeMap<String, String>),
    Pair(i64, i64),
    /// The text, and between which moments it goes.
    Expiring(String, Duration, Duration),
}

impl State {
    /// The object after this operation; none if it could not have been answered so.
    pub fn after(&self, operation: &Operation) -> Option<Self> {
        match (self, &operation.action) {
            (_, Action::SetFor(text, ms)) => {
                let lasts = Duration::from_millis(*ms);
                let latest = operation.ended().saturating_add(lasts);
                Self::for_a_time(text, (operation.begun + lasts, latest), operation)
            }
            (_, Action::SetByJumpingClock(text, _)) => {
                Self::for_a_time(text, (operation.begun, Duration::MAX), operation)
            }
            (Self::Expiring(text, earliest, latest), _) => {
                self.passing(text, (*earliest, *latest), operation)
            }
            (_, action) => {
                let (next, answer) = self.run(action);
                let told = operation.answer.as_ref().map(|(_, told)| told);
                told.is_none_or(|told| action.same(told, &answer)).then_some(next)
            }
        }
    }

    /// A text was set that goes between these moments.
    fn for_a_time(
        text: &str,
        (earliest, latest): (Duration, Duration),
        operation: &Operation,
    ) -> Option<Self> {
        let next = Self::Expiring(text.to_owned(), earliest, latest);
        let told = operation.answer.as_ref().map(|(_, told)| told);
        told.is_none_or(|told| *told == Value::Text("OK".into())).then_some(next)
    }

    /// What was answered about a text that expires tells whether it had gone.
    fn passing(
        &self,
        text: &str,
        (earliest, latest): (Duration, Duration),
        operation: &Operation,
    ) -> Option<Self> {
        let Operation { begun, answer, .. } = operation;
        match answer {
            Some((ended, Value::Nil)) => {
                (ended.saturating_add(SLACK) >= earliest).then_some(Self::Missing)
            }
            Some((_, Value::Text(told)))
                if told == text && *begun <= latest.saturating_add(SLACK) =>
            {
                // It was still there when this was asked.
                Some(Self::Expiring(text.to_owned(), earliest.max(*begun), latest))
            }
            Some(_) => None,
            None => Some(self.clone()),
        }
    }

    fn run(&self, action: &Action) -> (Self, Value) {
        let ok = Value::Text("OK".into());
        match action {
            Action::Set(text) | Action::SetFor(text, _) | Action::SetByJumpingClock(text, _) => {
                (Self::Text(text.clone()), ok)
            }
            Action::Append(more) => {
                let text = self.text().unwrap_or_default() + more;
                let length = Value::Int(text.len() as i64);
                (Self::Text(text), length)
            }
            Action::Get => (self.clone(), self.text().map_or(Value::Nil, Value::Text)),
            Action::Add(by) => {
                let value = self.counter() + by;
                (Self::Counter(value), Value::Int(value))
            }
            Action::Push(_) | Action::Pop | Action::Range => self.run_list(action),
            Action::SetField(..) | Action::DropField(_) | Action::Fields => self.run_hash(action),
            Action::Move(by) => {
                let (a, b) = self.pair();
                let (a, b) = (a - by, b + by);
                (Self::Pair(a, b), Value::Array(vec![Value::Int(a), Value::Int(b)]))
            }
            Action::Both => {
                let text = |number: i64| Value::Text(number.to_string());
                let both = match self {
                    Self::Pair(a, b) => vec![text(*a), text(*b)],
                    _ => vec![Value::Nil, Value::Nil],
                };
                (self.clone(), Value::Array(both))
            }
            Action::Replace(old, new) if self.text().as_ref() == Some(old) => {
                (Self::Text(new.clone()), Value::Int(1))
            }
            Action::Replace(..) => (self.clone(), Value::Int(0)),
        }
    }

    fn run_list(&self, action: &Action) -> (Self, Value) {
        let mut list = match self {
            Self::List(list) => list.clone(),
            _ => VecDeque::new(),
        };
        let answer = match action {
            Action::Push(text) => {
                list.push_back(text.clone());
                Value::Int(list.len() as i64)
            }
            Action::Pop => list.pop_front().map_or(Value::Nil, Value::Text),
            _ => Value::Array(list.iter().cloned().map(Value::Text).collect()),
        };
        let next = if list.is_empty() { Self::Missing } else { Self::List(list) };
        (next, answer)
    }

    fn run_hash(&self, action: &Action) -> (Self, Value) {
        let mut hash = match self {
            Self::Hash(hash) => hash.clone(),
            _ => BTreeMap::new(),
        };
        let answer = match action {
            Action::SetField(field, text) => {
                let old = hash.insert(field.clone(), text.clone());
                Value::Int(i64::from(old.is_none()))
            }
            Action::DropField(field) => Value::Int(i64::from(hash.remove(field).is_some())),
            _ => {
                let pairs = hash.iter().flat_map(|(field, text)| [field.clone(), text.clone()]);
                Value::Array(pairs.map(Value::Text).collect())
            }
        };
        let next = if hash.is_empty() { Self::Missing } else { Self::Hash(hash) };
        (next, answer)
    }

    fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Counter(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn counter(&self) -> i64 {
        if let Self::Counter(number) = self { *number } else { 0 }
    }

    fn pair(&self) -> (i64, i64) {
        if let Self::Pair(a, b) = self { (*a, *b) } else { (0, 0) }
    }
}
