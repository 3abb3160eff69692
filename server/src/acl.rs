//! Users and what they may do: the rules of `ACL SETUSER`, their meaning and their text.
//!
//! Pure: takes words and commands, gives users and decisions. Connections, the log, files and the
//! replication of changes are bound in [`crate::engine::access`]. The rules are those of
//! <https://valkey.io/topics/acl>.
//!
//! | Module | Concern |
//! |---|---|
//! | [`rules`] | one word of a rule, and the errors of words |
//! | [`selector`] | commands, keys, channels and databases that go together |
//! | [`user`] | flags, passwords, a root selector and more of them |
//! | [`users`] | all users by name, and the text of an ACL file |
//! | [`commands`] | every command and subcommand as a number, with its categories |

pub mod commands;
mod rules;
mod selector;
mod user;
mod users;

#[cfg(test)]
mod tests;

pub use rules::{Defaults, RuleError, merge_selectors};
pub use selector::{Access, Selector};
pub use user::{Databases, Denied, Request, User, hash_password, is_valid_name, keeps_channel};
pub use users::{LoadError, UserId, Users, line};

/// Reads a user's rules as `ACL SETUSER` takes them, parted by spaces, and gives the text in which
/// they are listed: an entry for fuzzing. Never panics; what it returns reads as itself.
pub fn parse(rules: &[u8]) -> Result<Vec<u8>, String> {
    let words: Vec<&[u8]> = rules.split(|byte| *byte == b' ').collect();
    let mut user = User::new(Defaults::default());
    user.apply_words(&words, Defaults::default())?;
    Ok(user.describe())
}
