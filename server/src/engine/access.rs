//! Binds users and their rights to connections: logging in, the check before each command, the log
//! of refusals, and what a change of the rules means for those who are connected.
//!
//! While every user may do everything, which is so until somebody says otherwise, the check is one
//! test of a flag. The internal user `redisha`, by which members and the operator come, is none of
//! these users: no rule names or changes it. How changes reach the other members of a managed
//! cluster is told in [`replicate`].

pub mod log;
mod replicate;

use crate::acl::{self, Access, Databases, Defaults, Denied, Request, UserId, Users, commands};
use crate::client::{Client, ClientId, Closing, User};
use crate::command::server::keys_with_flags;
use crate::command::{Command, Flags};
use crate::config::PubSubDefault;
use crate::engine::pubsub::Subscriptions;
use crate::resp::num::parse_i64;
use crate::resp::{Args, CommandError, errors};

use super::Engine;
use log::{Log, Reason, Where};

pub(in crate::engine) use replicate::ALL_RECORD;
pub(crate) use replicate::Change;

/// The room's state.
#[derive(Default)]
pub struct Acl {
    pub users: Users,
    pub log: Log,
    /// Rules were changed by commands, here or on the primary: they go along with the data.
    amended: bool,
    /// So was the default user.
    default_amended: bool,
    /// The password of the directive that the default user was last given.
    requirepass: String,
}

impl Acl {
    /// The name of a connection's user.
    pub fn name_of(&self, user: User) -> &[u8] {
        match user {
            User::Internal => super::member::INTERNAL_USER.as_bytes(),
            // Nobody hears the name of a user that went but its own connections' last replies.
            User::Named(id) => self.users.name(id).unwrap_or_default(),
        }
    }

    /// Whether a connection needs no password.
    pub fn is_open(&self) -> bool {
        let default = self.users.default_user();
        default.is_enabled() && default.needs_no_password()
    }
}

/// What a refused command was refused for.
struct Refusal {
    reason: Reason,
    object: Vec<u8>,
    text: String,
}

impl Engine {
    pub(crate) fn acl_defaults(&self) -> Defaults {
        Defaults { all_channels: self.config.acl_pubsub_default == PubSubDefault::AllChannels }
    }

    /// The directives may have changed the default user's password.
    pub(super) fn acl_configured(&mut self) {
        let password = self.config.requirepass.clone();
        if self.acl.requirepass != password {
            let mut user = self.acl.users.default_user().clone();
            let words = if password.is_empty() {
                vec![b"resetpass".to_vec(), b"nopass".to_vec()]
            } else {
                vec![b"resetpass".to_vec(), [b">", password.as_bytes()].concat()]
            };
            for word in words {
                user.apply(&word, Defaults::default()).expect("these are rules");
            }
            self.acl.users.put(b"default", user);
            self.acl.requirepass = password;
            self.acl_open_to_all();
        }
        self.acl.log.set_bound(self.config.acllog_max_len);
    }

    /// Without a password nobody has to say one, also those who came before.
    fn acl_open_to_all(&mut self) {
        if self.acl.is_open() {
            let waiting = self.clients.iter_mut().filter(|client| !client.authenticated);
            waiting.for_each(|client| client.authenticated = true);
        }
    }

    /// Whether a connection's user may run this command now; the error is the reply. A refusal is
    /// logged.
    #[inline]
    pub fn acl_check(
        &mut self,
        client: &Client,
        row: &'static Command,
        args: Args<'_>,
    ) -> Result<(), CommandError> {
        if self.acl.users.is_restrictive() {
            let place = if client.multi.is_some() { Where::Multi } else { Where::TopLevel };
            return self
                .acl_check_in(client, row, args, place)
                .map_err(|(_, text)| CommandError::from(format!("NOPERM {text}")));
        }
        Ok(())
    }

    /// As [`Self::acl_check`], for a command that comes from somewhere else; the error is what was not
    /// allowed, and the text without its code.
    #[cold]
    pub fn acl_check_in(
        &mut self,
        client: &Client,
        row: &'static Command,
        args: Args<'_>,
        place: Where,
    ) -> Result<(), (Reason, String)> {
        let User::Named(id) = client.user else { return Ok(()) };
        let db = client.multi.as_ref().and_then(|multi| multi.db).unwrap_or(client.db);
        let Err(refusal) = self.acl_decide(id, db, row, args, false) else { return Ok(()) };
        let Refusal { reason, object, text } = refusal;
        self.acl_note(client, reason, place, object, None);
        Err((reason, text))
    }

    /// Whether a user may do what a command asks for; the error names what is refused.
    pub(crate) fn acl_dry_run(
        &self,
        user: UserId,
        db: usize,
        row: &'static Command,
        args: Args<'_>,
    ) -> Result<(), String> {
        self.acl_decide(user, db, row, args, true).map_err(|refusal| refusal.text)
    }

    /// Whether nothing at all is forbidden to the connection's user.
    pub(crate) fn may_do_everything(&self, client: &Client) -> bool {
        match client.user {
            User::Internal => true,
            User::Named(id) => self.acl.users.get(id).is_some_and(acl::User::allows_everything),
        }
    }

    /// Whether a connection's user may run the command, and read every key there is: what `SORT`
    /// finds by patterns is not among its arguments.
    pub(crate) fn acl_reads_all(
        &self,
        client: &Client,
        row: &'static Command,
        args: Args<'_>,
    ) -> bool {
        let User::Named(id) = client.user else { return true };
        let (Some(user), Some(command)) = (self.acl.users.get(id), commands::id_of(row)) else {
            return false;
        };
        let entry = commands::entry(command);
        let (keys, first_arg) = (keys_of(entry, args), args.get(1));
        let databases = self.databases_of(entry, args, client.db);
        let request =
            Request { command, is_open: false, first_arg, keys: &keys, channels: &[], databases };
        let read = Access { read: true, write: false };
        user.allows_everything() || user.allows_with_all_keys(&request, read)
    }

    fn acl_decide(
        &self,
        user_id: UserId,
        db: usize,
        row: &'static Command,
        args: Args<'_>,
        verbose: bool,
    ) -> Result<(), Refusal> {
        let (Some(user), Some(command)) = (self.acl.users.get(user_id), commands::id_of(row))
        else {
            // The user went: its connections are being closed.
            return Err(Refusal {
                reason: Reason::Command,
                object: row.name.into(),
                text: format!("User has no permissions to run the '{}' command", row.name),
            });
        };
        if user.allows_everything() {
            return Ok(());
        }
        let entry = commands::entry(command);
        let (keys, channels) = (keys_of(entry, args), channels_of(row, args));
        let request = Request {
            command,
            is_open: row.is(Flags::NO_AUTH),
            first_arg: args.get(if entry.parent.is_some() { 2 } else { 1 }),
            keys: &keys,
            channels: &channels,
            databases: self.databases_of(entry, args, db),
        };
        user.check(&request).map_err(|denied| {
            let name = String::from_utf8_lossy(self.acl.users.name(user_id).unwrap_or_default());
            refusal(denied, &name, &entry.name, args, verbose)
        })
    }

    fn databases_of(&self, entry: &commands::Entry, args: Args<'_>, db: usize) -> Databases {
        let count = self.config.databases;
        let named = |positions: &[usize]| {
            let read = |at: &usize| {
                let index = args.get(*at).and_then(parse_i64)?;
                (0..count as i64).contains(&index).then_some((*at, index))
            };
            let all: Option<Vec<_>> = positions.iter().map(read).collect();
            all.map_or(Databases::None, Databases::Some)
        };
        // What is taken from the client's own database, and where it goes; one that is none is
        // refused by the command itself.
        let and_own = |others: Databases| {
            let mut all = vec![(0, db as i64)];
            if let Databases::Some(found) = others {
                all.extend(found);
            }
            Databases::Some(all)
        };
        match entry.name.as_str() {
            "select" => named(&[1]),
            "swapdb" => named(&[1, 2]),
            "move" => and_own(named(&[2])),
            "copy" => {
                let words = (3..args.len() - 1).filter(|at| args.is(*at, "db"));
                and_own(named(&words.map(|at| at + 1).collect::<Vec<_>>()))
            }
            "flushall" => Databases::All(count),
            _ if entry.uses_database => Databases::Some(vec![(0, db as i64)]),
            _ => Databases::None,
        }
    }

    /// The user of a session that another node opens here.
    pub(crate) fn acl_session_user(&self, name: &[u8]) -> Option<User> {
        self.acl.users.id(name).map(User::Named)
    }

    pub(crate) fn acl_note(
        &mut self,
        client: &Client,
        reason: Reason,
        place: Where,
        object: Vec<u8>,
        user: Option<&[u8]>,
    ) {
        let user = user.unwrap_or_else(|| self.acl.name_of(client.user)).to_vec();
        let info = crate::command::client::line(self, client);
        self.acl.log.add(log::Refused { reason, place, object, user, info }, self.now.unix_ms());
    }

    /// Gives the connection a user's rights when the password is that user's.
    pub(crate) fn authenticate(
        &mut self,
        client: &mut Client,
        name: &[u8],
        password: &[u8],
        command: &[u8],
    ) -> Result<(), CommandError> {
        let user = if let Some(secret) = self.internal_secret()
            && name == super::member::INTERNAL_USER.as_bytes()
        {
            (!secret.is_empty() && same_secret(secret, password)).then_some(User::Internal)
        } else {
            let id = self.acl.users.id(name);
            let known = id.and_then(|id| self.acl.users.get(id));
            let right = known.is_some_and(|user| user.accepts(password));
            id.filter(|_| right).map(User::Named)
        };
        let Some(user) = user else {
            let place = if client.multi.is_some() { Where::Multi } else { Where::TopLevel };
            self.acl_note(client, Reason::Auth, place, command.to_vec(), Some(name));
            return Err(errors::WRONG_PASS.into());
        };
        client.user = user;
        client.authenticated = true;
        Ok(())
    }

    /// Puts a user in the place of the one of that name. Connections that subscribe to what it may
    /// not hear any more are ended. `running` is the client whose command does it.
    pub(crate) fn acl_put(&mut self, name: &[u8], user: acl::User, running: Option<&mut Client>) {
        let left = self.acl.users.by_name(name).and_then(|old| old.channels_left(&user));
        let id = self.acl.users.put(name, user);
        if let Some(rules) = left {
            self.acl_end(running, |client| {
                client.user == User::Named(id)
                    && client.subscriptions.as_deref().is_some_and(|all| loses_one(all, &rules))
            });
        }
        self.acl_open_to_all();
    }

    /// Removes a user and ends its connections; false when there is no such user.
    pub(crate) fn acl_remove(&mut self, name: &[u8], running: Option<&mut Client>) -> bool {
        let Some(id) = self.acl.users.remove(name) else { return false };
        self.acl_end(running, |client| client.user == User::Named(id));
        true
    }

    /// Puts these users in the place of all, the default one only with `default`: when it is not
    /// among them it may then do everything.
    pub(crate) fn acl_replace(
        &mut self,
        users: Vec<(Vec<u8>, acl::User)>,
        default: bool,
        mut running: Option<&mut Client>,
    ) {
        let gone: Vec<Vec<u8>> = self
            .acl
            .users
            .iter()
            .map(|(name, _)| name.to_vec())
            .filter(|name| !users.iter().any(|(kept, _)| kept == name))
            .collect();
        for name in gone {
            if name == b"default" {
                if !default {
                    continue;
                }
                self.acl_put(&name, acl::User::new_default(), running.as_deref_mut());
            } else {
                self.acl_remove(&name, running.as_deref_mut());
            }
        }
        for (name, user) in users {
            self.acl_put(&name, user, running.as_deref_mut());
        }
    }

    fn acl_end(&mut self, running: Option<&mut Client>, ends: impl Fn(&Client) -> bool) {
        let ended: Vec<ClientId> =
            self.clients.iter().filter(|client| ends(client)).map(|client| client.id).collect();
        for id in ended {
            self.clients.close(id, Closing::Now);
        }
        if let Some(client) = running.filter(|client| ends(client)) {
            client.closing = Closing::AfterOutput;
        }
    }

    /// The lines of `user` directives; none where users have a file of their own.
    pub(crate) fn acl_directives(&self) -> Vec<String> {
        if !self.config.aclfile.is_empty() {
            return Vec::new();
        }
        let line = |(name, user): (&[u8], &acl::User)| {
            let rules = user.describe();
            format!("{} {}", String::from_utf8_lossy(name), String::from_utf8_lossy(&rules))
        };
        self.acl.users.iter().map(line).collect()
    }

    /// Users of the directives `user` and `aclfile`; at the start.
    pub(super) fn load_users(&mut self) -> Result<(), String> {
        let lines = std::mem::take(&mut self.config.users);
        let path = self.config.aclfile.clone();
        if !path.is_empty() && !lines.is_empty() {
            return Err("users are defined both in the configuration and in the ACL file; \
                        use one of them"
                .into());
        }
        let text: Vec<u8> =
            lines.iter().flat_map(|line| [b"user ", line.as_bytes(), b"\n"].concat()).collect();
        if !path.is_empty() {
            return self.load_acl_file(None);
        }
        let users = Users::from_text(&text, "user directive", self.acl_defaults());
        for (name, user) in users.map_err(|error| error.to_string())? {
            self.acl_put(&name, user, None);
        }
        Ok(())
    }

    /// Reads the ACL file anew, whole or not at all.
    pub(crate) fn load_acl_file(&mut self, running: Option<&mut Client>) -> Result<(), String> {
        let path = self.config.aclfile.clone();
        let text = crate::disk::read(&path)
            .map_err(|error| format!("Error loading ACLs, opening file '{path}': {error}"))?;
        let users = Users::from_text(&text, &path, self.acl_defaults());
        self.acl_replace(users.map_err(|error| error.to_string())?, true, running);
        Ok(())
    }
}

fn refusal(denied: Denied, user: &str, command: &str, args: Args<'_>, verbose: bool) -> Refusal {
    let shown = |at: usize| String::from_utf8_lossy(args.at(at)).into_owned();
    let object = |at: usize| if at == 0 { command.into() } else { args.at(at).to_vec() };
    let access = |what: &str| format!("User {user} has no permissions to access {what}");
    match denied {
        Denied::Command => Refusal {
            reason: Reason::Command,
            object: command.into(),
            text: format!("User {user} has no permissions to run the '{command}' command"),
        },
        Denied::Key { argument } => Refusal {
            reason: Reason::Key,
            object: args.at(argument).to_vec(),
            text: if verbose {
                access(&format!("the '{}' key", shown(argument)))
            } else {
                "No permissions to access a key".into()
            },
        },
        Denied::Channel { argument } => Refusal {
            reason: Reason::Channel,
            object: args.at(argument).to_vec(),
            text: if verbose {
                access(&format!("the '{}' channel", shown(argument)))
            } else {
                "No permissions to access a channel".into()
            },
        },
        Denied::Database { argument } => Refusal {
            reason: Reason::Database,
            object: object(argument),
            text: if verbose {
                access(&format!("database {}", shown(argument)))
            } else {
                "No permissions to access database".into()
            },
        },
    }
}

/// The keys of a command with what it does to them.
fn keys_of<'a>(entry: &commands::Entry, args: Args<'a>) -> Vec<(usize, &'a [u8], Access)> {
    if entry.doc.keys.is_empty() {
        return Vec::new();
    }
    let keys = keys_with_flags(entry.row, entry.doc, args);
    keys.iter().map(|(at, flags)| (*at, args.at(*at), access_of(flags))).collect()
}

fn access_of(flags: &[&str]) -> Access {
    Access {
        read: flags.contains(&"access"),
        write: ["insert", "delete", "update"].iter().any(|flag| flags.contains(flag)),
    }
}

/// The channels of a command that speaks or listens; ceasing to listen is free.
fn channels_of<'a>(row: &Command, args: Args<'a>) -> Vec<(usize, &'a [u8], bool)> {
    let one = |is_pattern: bool| {
        args.iter().enumerate().skip(1).map(|(at, name)| (at, name, is_pattern)).collect()
    };
    match row.name {
        "publish" | "spublish" => args.get(1).map(|name| (1, name, false)).into_iter().collect(),
        "subscribe" | "ssubscribe" => one(false),
        "psubscribe" => one(true),
        _ => Vec::new(),
    }
}

/// Whether a subscription is not among these rules.
fn loses_one(subscriptions: &Subscriptions, rules: &[Vec<u8>]) -> bool {
    let kept = |name: &[u8], pattern: bool| acl::keeps_channel(rules, name, pattern);
    let Subscriptions { channels, patterns, shard_channels, .. } = subscriptions;
    patterns.iter().any(|name| !kept(name, true))
        || channels.iter().chain(shard_channels).any(|name| !kept(name, false))
}

/// Compares without telling by its time how much of the secret was right.
fn same_secret(expected: &[u8], given: &[u8]) -> bool {
    let differences =
        expected.iter().zip(given).fold(0, |differences, (left, right)| differences | left ^ right);
    expected.len() == given.len() && differences == 0
}

#[cfg(test)]
mod tests;
