//! All users by name, and the text of an ACL file.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::rules::{Defaults, RuleError, merge_selectors};
use super::user::{User, is_valid_name};

/// Names a user for as long as the process lives: an id is never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub u32);

impl UserId {
    /// The user of connections that have not said who they are. It is always there.
    pub const DEFAULT: UserId = UserId(0);
}

/// Why an ACL file was refused; one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);

/// Hexadecimal digits of a digest: enough to tell two lists of users apart.
const DIGEST_DIGITS: usize = 16;

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Users {
    by_name: BTreeMap<Vec<u8>, UserId>,
    /// By id; `None` after the user went.
    slots: Vec<Option<(Vec<u8>, User)>>,
    /// Some user may not do everything, or is not the default one: commands must be checked.
    restrictive: bool,
    /// Of all that they may do, once it was asked for.
    digest: OnceCell<String>,
}

impl Default for Users {
    fn default() -> Self {
        let name = b"default".to_vec();
        Self {
            by_name: BTreeMap::from([(name.clone(), UserId::DEFAULT)]),
            slots: vec![Some((name, User::new_default()))],
            restrictive: false,
            digest: OnceCell::new(),
        }
    }
}

impl Users {
    /// Whether commands must be checked at all.
    #[inline]
    pub fn is_restrictive(&self) -> bool {
        self.restrictive
    }

    pub fn id(&self, name: &[u8]) -> Option<UserId> {
        self.by_name.get(name).copied()
    }

    pub fn get(&self, id: UserId) -> Option<&User> {
        self.slots.get(id.0 as usize)?.as_ref().map(|(_, user)| user)
    }

    pub fn by_name(&self, name: &[u8]) -> Option<&User> {
        self.get(self.id(name)?)
    }

    pub fn name(&self, id: UserId) -> Option<&[u8]> {
        self.slots.get(id.0 as usize)?.as_ref().map(|(name, _)| name.as_slice())
    }

    pub fn default_user(&self) -> &User {
        self.get(UserId::DEFAULT).expect("it is never removed")
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &User)> {
        self.by_name.iter().map(|(name, id)| {
            (name.as_slice(), self.get(*id).expect("names and users go together"))
        })
    }

    /// Puts a user in the place of the one of that name, or adds it.
    pub fn put(&mut self, name: &[u8], user: User) -> UserId {
        let id = self.id(name).unwrap_or_else(|| {
            let id = UserId(self.slots.len() as u32);
            self.by_name.insert(name.to_vec(), id);
            self.slots.push(None);
            id
        });
        self.slots[id.0 as usize] = Some((name.to_vec(), user));
        self.refresh();
        id
    }

    /// The default user is never removed.
    pub fn remove(&mut self, name: &[u8]) -> Option<UserId> {
        let id = self.id(name).filter(|id| *id != UserId::DEFAULT)?;
        self.by_name.remove(name);
        self.slots[id.0 as usize] = None;
        self.refresh();
        Some(id)
    }

    fn refresh(&mut self) {
        let restricted = self.iter().any(|(_, user)| !user.allows_everything());
        self.restrictive = restricted;
        self.digest = OnceCell::new();
    }

    /// The same on two nodes whose users have the same passwords and rights.
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| {
            let hash = super::user::hash_password(&self.to_text());
            String::from_utf8_lossy(&hash[..DIGEST_DIGITS]).into_owned()
        })
    }

    /// One line of each user, as in an ACL file.
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for (name, user) in self.iter() {
            text.extend_from_slice(&line(name, user));
            text.push(b'\n');
        }
        text
    }

    /// Reads an ACL file, named `path` in errors. A file that does not say what the default user may
    /// do leaves it everything.
    pub fn from_text(
        text: &[u8],
        path: &str,
        defaults: Defaults,
    ) -> Result<Vec<(Vec<u8>, User)>, LoadError> {
        let (mut users, mut errors) = (Vec::<(Vec<u8>, User)>::new(), String::new());
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let words: Vec<&[u8]> = line.trim_ascii().split(|byte| *byte == b' ').collect();
            if words.len() == 1 && words[0].is_empty() {
                continue;
            }
            let at = format!("{path}:{}", index + 1);
            if words[0] != b"user" || words.len() < 2 {
                let _ = write!(
                    errors,
                    "{at} should start with user keyword followed by the username. "
                );
                continue;
            }
            let name = words[1];
            let shown = String::from_utf8_lossy(name);
            if !is_valid_name(name) {
                let _ = write!(errors, "'{at}: username '{shown}' contains invalid characters. ");
                continue;
            }
            if users.iter().any(|(known, _)| known == name) {
                let _ = write!(
                    errors,
                    "WARNING: Duplicate user '{shown}' found on line {}. ",
                    index + 1
                );
                continue;
            }
            users.push((name.to_vec(), read_user(&words[2..], &at, defaults, &mut errors)));
        }
        if errors.is_empty() {
            return Ok(users);
        }
        errors.push_str(
            "WARNING: ACL errors detected, no change to the previously active ACL rules was \
             performed",
        );
        Err(LoadError(errors))
    }
}

fn read_user(words: &[&[u8]], at: &str, defaults: Defaults, errors: &mut String) -> User {
    let mut user = User::new(defaults);
    let Ok(words) = merge_selectors(words) else {
        let _ = write!(errors, "{at}: Unmatched parenthesis in selector definition.");
        return user;
    };
    let mut said = false;
    for word in words {
        let word = word.trim_ascii();
        let Err(error) = user.apply(word, defaults) else { continue };
        if error == RuleError::Unknown {
            let word = String::from_utf8_lossy(word);
            let _ = write!(errors, "{at}: Error in applying operation '{word}': {error}. ");
        } else if !said {
            // Only the first, since what follows may depend on it; its word may be a secret.
            said = true;
            let _ = write!(errors, "{at}: {error}. ");
        }
    }
    user
}

/// A user as ACL LIST shows it.
pub fn line(name: &[u8], user: &User) -> Vec<u8> {
    [b"user ".as_slice(), name, b" ", &user.describe()].concat()
}
