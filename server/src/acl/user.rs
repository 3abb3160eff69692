//! A user: flags, passwords, and selectors of which one must allow a command.

use sha2::{Digest, Sha256};

use super::commands::Id;
use super::rules::{Defaults, RuleError, has_spaces, merge_selectors};
use super::selector::{Access, Selector, channel_in};

/// A password's SHA-256 in lower-case hexadecimal digits.
type PasswordHash = [u8; 64];

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    enabled: bool,
    no_password: bool,
    passwords: Vec<PasswordHash>,
    /// The first is the root selector.
    selectors: Vec<Selector>,
}

/// What a command asks for.
pub struct Request<'r> {
    pub command: Id,
    /// Allowed before authentication, so to everybody.
    pub is_open: bool,
    /// What follows the command's name.
    pub first_arg: Option<&'r [u8]>,
    pub keys: &'r [(usize, &'r [u8], Access)],
    /// Channels with their positions, and whether they are patterns.
    pub channels: &'r [(usize, &'r [u8], bool)],
    pub databases: Databases,
}

/// Which databases a command works on.
pub enum Databases {
    None,
    /// Each with the position of its number among the arguments, 0 for the client's own.
    Some(Vec<(usize, i64)>),
    /// All of so many.
    All(usize),
}

/// Why a command was refused; `argument` is the position of what was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    // In the order of their weight: of several selectors the heaviest reason is told.
    Database { argument: usize },
    Command,
    Key { argument: usize },
    Channel { argument: usize },
}

/// Flags in the order in which they are listed.
const FLAG_NAMES: [&str; 5] = ["on", "off", "nopass", "skip-sanitize-payload", "sanitize-payload"];

impl User {
    /// Disabled, without a password and without rights.
    pub fn new(defaults: Defaults) -> Self {
        Self {
            enabled: false,
            no_password: false,
            passwords: Vec::new(),
            selectors: vec![Selector::new(defaults)],
        }
    }

    /// The user of connections that have not said who they are: everything, without a password.
    pub fn new_default() -> Self {
        let mut user = Self::new(Defaults::default());
        for word in ["+@all", "~*", "&*", "on", "nopass"] {
            user.apply(word.as_bytes(), Defaults::default()).expect("these are rules");
        }
        user
    }

    /// Applies words as `ACL SETUSER` takes them, all or none. The error is the reply's text.
    pub fn apply_words(&mut self, words: &[&[u8]], defaults: Defaults) -> Result<(), String> {
        let words = merge_selectors(words).map_err(|first| {
            let first = String::from_utf8_lossy(first);
            format!("Unmatched parenthesis in acl selector starting at '{first}'.")
        })?;
        let mut changed = self.clone();
        for word in &words {
            changed.apply(word, defaults).map_err(|error| {
                let word = String::from_utf8_lossy(word);
                format!("Error in ACL SETUSER modifier '{word}': {error}")
            })?;
        }
        *self = changed;
        Ok(())
    }

    /// Applies one word, or one selector.
    pub fn apply(&mut self, word: &[u8], defaults: Defaults) -> Result<(), RuleError> {
        match word.to_ascii_lowercase().as_slice() {
            // Payloads are checked for everybody.
            b"" | b"skip-sanitize-payload" | b"sanitize-payload" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"nopass" => {
                self.no_password = true;
                self.passwords.clear();
            }
            b"resetpass" => {
                self.no_password = false;
                self.passwords.clear();
            }
            b"clearselectors" => self.selectors.truncate(1),
            b"reset" => *self = Self::new(defaults),
            _ => return self.apply_pattern(word, defaults),
        }
        Ok(())
    }

    fn apply_pattern(&mut self, word: &[u8], defaults: Defaults) -> Result<(), RuleError> {
        match word {
            [b'>', password @ ..] => self.add_password(hash_password(password)),
            [b'#', hash @ ..] => self.add_password(read_hash(hash)?),
            [b'<', password @ ..] => return self.remove_password(&hash_password(password)),
            [b'!', hash @ ..] => return self.remove_password(&read_hash(hash)?),
            [b'(', rules @ .., b')'] => {
                self.selectors.push(Selector::from_text(rules, defaults)?);
            }
            _ => return self.selectors[0].apply(word),
        }
        Ok(())
    }

    fn add_password(&mut self, hash: PasswordHash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.no_password = false;
    }

    fn remove_password(&mut self, hash: &PasswordHash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| known == hash);
        self.passwords.remove(at.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether every password is right.
    pub fn needs_no_password(&self) -> bool {
        self.no_password
    }

    /// Whether the user may log in with this password. Takes as long for a wrong as for a right
    /// one: hashes are compared whole, all of them.
    pub fn accepts(&self, password: &[u8]) -> bool {
        let given = hash_password(password);
        let same = |known: &PasswordHash| {
            known.iter().zip(&given).fold(0, |differs, (left, right)| differs | (left ^ right)) == 0
        };
        let known = self.passwords.iter().fold(false, |found, known| found | same(known));
        self.enabled && (self.no_password || known)
    }

    /// Whether nothing at all is restricted.
    pub fn allows_everything(&self) -> bool {
        self.selectors[0].allows_everything()
    }

    /// Whether any selector allows the request; else the heaviest reason.
    pub fn check(&self, request: &Request<'_>) -> Result<(), Denied> {
        let mut reason = Denied::Database { argument: 0 };
        for selector in &self.selectors {
            match check_selector(selector, request) {
                Ok(()) => return Ok(()),
                Err(denied) => reason = reason.max(denied),
            }
        }
        Err(reason)
    }

    /// Whether some selector allows this access to a key.
    pub fn allows_key(&self, key: &[u8], access: Access) -> bool {
        self.selectors.iter().any(|selector| selector.allows_key(key, access))
    }

    /// Whether one selector allows the request, and this access to every key (`SORT … BY`).
    pub fn allows_with_all_keys(&self, request: &Request<'_>, access: Access) -> bool {
        self.selectors.iter().any(|selector| {
            check_selector(selector, request).is_ok() && selector.allows_any_key(access)
        })
    }

    /// Channels that subscribers lose with the change from `self` to `new` are not among these
    /// rules; `None` when nothing can be lost.
    pub fn channels_left(&self, new: &User) -> Option<Vec<Vec<u8>>> {
        if new.selectors.iter().any(|selector| selector.all_channels) {
            return None;
        }
        let left: Vec<Vec<u8>> =
            new.selectors.iter().flat_map(|selector| selector.channels.iter().cloned()).collect();
        let all = self.selectors.iter().any(|selector| selector.all_channels);
        let lost = |selector: &Selector| selector.channels.iter().any(|rule| !left.contains(rule));
        (all || self.selectors.iter().any(lost)).then_some(left)
    }

    pub fn flags(&self) -> Vec<&'static str> {
        let set = [self.enabled, !self.enabled, self.no_password];
        FLAG_NAMES.iter().zip(set).filter(|(_, set)| *set).map(|(name, _)| *name).collect()
    }

    pub fn passwords(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.passwords.iter().map(<[u8; 64]>::as_slice)
    }

    pub fn root(&self) -> &Selector {
        &self.selectors[0]
    }

    /// Selectors beside the root.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors[1..]
    }

    /// The rules as `ACL LIST` shows them, without the name.
    pub fn describe(&self) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> =
            self.flags().into_iter().map(|flag| flag.as_bytes().to_vec()).collect();
        parts.extend(self.passwords.iter().map(|hash| [b"#", hash.as_slice()].concat()));
        parts.push(self.root().describe());
        let others = self.selectors().iter();
        parts.extend(others.map(|other| [b"(".as_slice(), &other.describe(), b")"].concat()));
        parts.join(&b' ')
    }
}

fn check_selector(selector: &Selector, request: &Request<'_>) -> Result<(), Denied> {
    match &request.databases {
        Databases::None => {}
        Databases::Some(databases) => {
            let denied = databases.iter().find(|(_, index)| !selector.allows_database(*index));
            if let Some((argument, _)) = denied {
                return Err(Denied::Database { argument: *argument });
            }
        }
        Databases::All(count) => {
            if !selector.allows_all_databases(*count) {
                return Err(Denied::Database { argument: 0 });
            }
        }
    }
    if !request.is_open && !selector.allows_command(request.command, request.first_arg) {
        return Err(Denied::Command);
    }
    if !selector.all_keys {
        for (argument, key, access) in request.keys {
            if !selector.allows_key(key, *access) {
                return Err(Denied::Key { argument: *argument });
            }
        }
    }
    for (argument, channel, is_pattern) in request.channels {
        if !selector.allows_channel(channel, *is_pattern) {
            return Err(Denied::Channel { argument: *argument });
        }
    }
    Ok(())
}

/// A password as it is kept and listed.
pub fn hash_password(password: &[u8]) -> PasswordHash {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hash = [0; 64];
    for (digits, byte) in hash.chunks_exact_mut(2).zip(Sha256::digest(password)) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
    hash
}

fn read_hash(text: &[u8]) -> Result<PasswordHash, RuleError> {
    let hash: PasswordHash = text.try_into().map_err(|_| RuleError::BadHash)?;
    let digits = hash.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if digits { Ok(hash) } else { Err(RuleError::BadHash) }
}

/// Whether a user may be named so.
pub fn is_valid_name(name: &[u8]) -> bool {
    !has_spaces(name)
}

/// Whether a subscription is among these rules.
pub fn keeps_channel(rules: &[Vec<u8>], channel: &[u8], is_pattern: bool) -> bool {
    channel_in(rules, channel, is_pattern)
}
