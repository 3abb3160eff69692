//! Commands, keys, channels and databases that are allowed together.

use std::collections::{BTreeSet, HashMap};

use super::commands::{self, Id};
use super::rules::{Defaults, RuleError, has_spaces};
use crate::glob;

/// What a command does with a key, or a pattern allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub read: bool,
    pub write: bool,
}

impl Access {
    pub const ALL: Access = Access { read: true, write: true };

    fn covers(self, wanted: Access) -> bool {
        (self.read || !wanted.read) && (self.write || !wanted.write)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    access: Access,
    pattern: Vec<u8>,
}

/// See the module's text. Made by [`Selector::new`] and changed by one word at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a rule of its own
pub struct Selector {
    /// Bits of the commands that are allowed.
    allowed: Vec<u64>,
    /// Every command, and nothing was taken away since.
    all_commands: bool,
    /// The rules began with `+@all`: what is not named is allowed.
    begins_with_all: bool,
    /// First arguments with which a command is allowed that is not allowed otherwise.
    first_args: HashMap<Id, Vec<Vec<u8>>>,
    /// Rules since `+@all` or `-@all`, as they are listed: with their sign.
    rules: Vec<Vec<u8>>,
    pub(super) all_keys: bool,
    keys: Vec<KeyPattern>,
    pub(super) all_channels: bool,
    pub(super) channels: Vec<Vec<u8>>,
    all_databases: bool,
    databases: BTreeSet<i64>,
}

impl Selector {
    /// Allows no command and no key.
    pub fn new(defaults: Defaults) -> Self {
        Self {
            allowed: vec![0; commands::count().div_ceil(64)],
            all_commands: false,
            begins_with_all: false,
            first_args: HashMap::new(),
            rules: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels: defaults.all_channels,
            channels: Vec::new(),
            all_databases: true,
            databases: BTreeSet::new(),
        }
    }

    /// Reads the words between the parentheses of a selector.
    pub(super) fn from_text(text: &[u8], defaults: Defaults) -> Result<Self, RuleError> {
        let mut selector = Self::new(defaults);
        let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        for word in words {
            // Where the selector ends could not be told any more when it is listed.
            if word.ends_with(b")") {
                return Err(RuleError::Syntax);
            }
            selector.apply(word)?;
        }
        Ok(selector)
    }

    /// Whether it restricts nothing at all.
    pub fn allows_everything(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels && self.all_databases
    }

    /// Applies one word; the selector is as it was when it is not accepted.
    pub fn apply(&mut self, word: &[u8]) -> Result<(), RuleError> {
        match word.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => {
                self.all_keys = true;
                self.keys.clear();
            }
            b"resetkeys" => {
                self.all_keys = false;
                self.keys.clear();
            }
            b"allchannels" | b"&*" => {
                self.all_channels = true;
                self.channels.clear();
            }
            b"resetchannels" => {
                self.all_channels = false;
                self.channels.clear();
            }
            b"alldbs" => {
                self.all_databases = true;
                self.databases.clear();
            }
            b"resetdbs" => {
                self.all_databases = false;
                self.databases.clear();
            }
            b"allcommands" | b"+@all" => self.set_all(true),
            b"nocommands" | b"-@all" => self.set_all(false),
            lower => return self.apply_named(word, lower),
        }
        Ok(())
    }

    fn apply_named(&mut self, word: &[u8], lower: &[u8]) -> Result<(), RuleError> {
        match word {
            _ if lower.starts_with(b"db=") => self.set_databases(&lower[3..]),
            [b'~' | b'%', ..] => self.add_keys(word),
            [b'&', pattern @ ..] => self.add_channel(pattern),
            [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                self.set_category(&category.to_ascii_lowercase(), *sign == b'+')
            }
            [b'+', _, ..] => self.allow(&lower[1..]),
            [b'-', _, ..] => {
                let id = commands::find(&lower[1..]).ok_or(RuleError::Unknown)?;
                self.set_command(id, false);
                self.note_rule(commands::entry(id).name.as_bytes(), false);
                Ok(())
            }
            [b'+' | b'-'] => Err(RuleError::Unknown),
            _ => Err(RuleError::Syntax),
        }
    }

    fn set_all(&mut self, allow: bool) {
        self.allowed.fill(if allow { u64::MAX } else { 0 });
        self.all_commands = allow;
        self.begins_with_all = allow;
        self.rules.clear();
        self.first_args.clear();
    }

    fn set_databases(&mut self, list: &[u8]) -> Result<(), RuleError> {
        let list = std::str::from_utf8(list).map_err(|_| RuleError::Syntax)?;
        let mut databases = BTreeSet::new();
        for number in list.split(',') {
            let digits = number.strip_prefix('-').unwrap_or(number);
            if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
                return Err(RuleError::Syntax);
            }
            let index =
                number.parse().ok().filter(|index| (0..=i64::from(i32::MAX)).contains(index));
            databases.insert(index.ok_or(RuleError::DatabaseRange)?);
        }
        self.all_databases = false;
        self.databases = databases;
        Ok(())
    }

    fn add_keys(&mut self, word: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AfterAllKeys);
        }
        // `%RW` alone is a pattern too, of the empty key.
        let tilde = word.iter().position(|byte| *byte == b'~').unwrap_or(word.len());
        let access = match word[..tilde].to_ascii_uppercase().as_slice() {
            b"" if tilde < word.len() => Access::ALL,
            b"%RW" | b"%WR" => Access::ALL,
            b"%R" => Access { read: true, write: false },
            b"%W" => Access { read: false, write: true },
            _ => return Err(RuleError::Syntax),
        };
        let pattern = word.get(tilde + 1..).unwrap_or_default();
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => {
                known.access.read |= access.read;
                known.access.write |= access.write;
            }
            None => self.keys.push(KeyPattern { access, pattern: pattern.to_vec() }),
        }
        Ok(())
    }

    fn add_channel(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AfterAllChannels);
        }
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| known == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    fn set_category(&mut self, category: &[u8], allow: bool) -> Result<(), RuleError> {
        let known = crate::command::server::CATEGORIES;
        let category = known.iter().find(|name| name.as_bytes() == category);
        let category = category.ok_or(RuleError::Unknown)?;
        self.note_rule(format!("@{category}").as_bytes(), allow);
        for (id, entry) in commands::entries() {
            if entry.categories.contains(category) {
                self.set_command(id, allow);
            }
        }
        Ok(())
    }

    /// `+command`, `+command|subcommand` or `+command|first-arg`, in lower case.
    fn allow(&mut self, name: &[u8]) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
            let id = commands::find(name).ok_or(RuleError::Unknown)?;
            self.set_command(id, true);
            self.note_rule(commands::entry(id).name.as_bytes(), true);
            return Ok(());
        };
        let (parent, word) = (&name[..bar], &name[bar + 1..]);
        let id = commands::find(parent).ok_or(RuleError::Unknown)?;
        let entry = commands::entry(id);
        if entry.parent.is_some() {
            return Err(RuleError::FirstArgOfSubcommand);
        }
        // In a file of users it must stay one word of one line.
        if word.is_empty() || has_spaces(word) || word.ends_with(b")") {
            return Err(RuleError::Syntax);
        }
        if entry.subcommands.is_empty() {
            let words = self.first_args.entry(id).or_default();
            if !words.iter().any(|known| known == word) {
                words.push(word.to_vec());
            }
        } else {
            let sub = commands::find(name).ok_or(RuleError::Unknown)?;
            self.set_command(sub, true);
        }
        self.note_rule(name, true);
        Ok(())
    }

    /// Allows or forbids a command with all its subcommands.
    fn set_command(&mut self, id: Id, allow: bool) {
        self.first_args.remove(&id);
        for id in std::iter::once(id).chain(commands::entry(id).subcommands.iter().copied()) {
            let bit = 1 << (id % 64);
            if allow {
                self.allowed[id / 64] |= bit;
            } else {
                self.allowed[id / 64] &= !bit;
                self.all_commands = false;
            }
        }
    }

    /// A rule takes the place of the same one before, and of those of its subcommands.
    fn note_rule(&mut self, name: &[u8], allow: bool) {
        self.rules.retain(|rule| match rule[1..].strip_prefix(name) {
            Some(rest) => !rest.is_empty() && rest[0] != b'|',
            None => true,
        });
        let sign: &[u8] = if allow { b"+" } else { b"-" };
        self.rules.push([sign, name].concat());
    }

    /// Whether the command may be run at all; `first_arg` is what follows its name.
    #[inline]
    pub(super) fn allows_command(&self, id: Id, first_arg: Option<&[u8]>) -> bool {
        self.all_commands
            || self.allowed[id / 64] & (1 << (id % 64)) != 0
            || self.first_args.get(&id).is_some_and(|words| {
                first_arg.is_some_and(|arg| words.iter().any(|word| arg.eq_ignore_ascii_case(word)))
            })
    }

    pub(super) fn allows_key(&self, key: &[u8], access: Access) -> bool {
        self.all_keys
            || self
                .keys
                .iter()
                .any(|known| known.access.covers(access) && glob::matches(&known.pattern, key))
    }

    /// Whether every key may be accessed so.
    pub(super) fn allows_any_key(&self, access: Access) -> bool {
        let all = |known: &&KeyPattern| known.pattern == b"*" && known.access.covers(access);
        self.all_keys || self.keys.iter().find(all).is_some()
    }

    /// A pattern to subscribe to must be among the rules letter for letter.
    pub(super) fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels || channel_in(&self.channels, channel, is_pattern)
    }

    pub(super) fn allows_database(&self, index: i64) -> bool {
        self.all_databases || self.databases.contains(&index)
    }

    pub(super) fn allows_all_databases(&self, count: usize) -> bool {
        self.all_databases || (0..count as i64).all(|index| self.databases.contains(&index))
    }

    /// Rules about commands, as they can be given again.
    pub fn describe_commands(&self) -> Vec<u8> {
        let mut text = if self.begins_with_all { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for rule in &self.rules {
            text.push(b' ');
            text.extend_from_slice(rule);
        }
        text
    }

    /// Patterns of keys, parted by spaces.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let words = self.keys.iter().map(|known| {
            let prefix: &[u8] = match known.access {
                Access { read: true, write: false } => b"%R~",
                Access { read: false, write: true } => b"%W~",
                _ => b"~",
            };
            [prefix, &known.pattern].concat()
        });
        words.collect::<Vec<_>>().join(&b' ')
    }

    /// Patterns of channels, parted by spaces.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let words = self.channels.iter().map(|pattern| [b"&", pattern.as_slice()].concat());
        words.collect::<Vec<_>>().join(&b' ')
    }

    /// Databases; empty for none.
    pub fn describe_databases(&self) -> Vec<u8> {
        if self.all_databases {
            return b"alldbs".to_vec();
        }
        if self.databases.is_empty() {
            return Vec::new();
        }
        let numbers: Vec<_> = self.databases.iter().map(ToString::to_string).collect();
        format!("db={}", numbers.join(",")).into_bytes()
    }

    /// Everything, as it can be given again.
    pub(super) fn describe(&self) -> Vec<u8> {
        let channels = match self.describe_channels() {
            all if self.all_channels => all,
            none if none.is_empty() => b"resetchannels".to_vec(),
            some => [b"resetchannels ".as_slice(), &some].concat(),
        };
        let databases = match self.describe_databases() {
            _ if self.all_databases => Vec::new(),
            none if none.is_empty() => b"resetdbs".to_vec(),
            some => some,
        };
        let parts = [self.describe_keys(), channels, databases, self.describe_commands()];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join(&b' ')
    }
}

/// Whether a channel, or a pattern of channels, is among these rules.
pub(super) fn channel_in(rules: &[Vec<u8>], channel: &[u8], is_pattern: bool) -> bool {
    rules.iter().any(|rule| if is_pattern { rule == channel } else { glob::matches(rule, channel) })
}
