//! Users on all members of a managed cluster.
//!
//! A relayed command runs on the new primary with the rights of its client's own user, so the users
//! must be the same everywhere. A change by a command on the primary goes into the stream as a
//! record that stock replicas ignore (`PING redisha:acl:…`), and a full resync and every snapshot
//! carry all users in an auxiliary field once a command has changed any. Until then each node has
//! the users of its own configuration. The default user goes along only when a command has changed
//! it: otherwise its password is that of each node's `requirepass`.
//!
//! A record is `redisha:acl:` and the text of an ACL file for the users that it sets, or
//! `redisha:acl:-` and a name for one that went, or `redisha:acl:=` and the text of all.

use crate::acl::{self, Users};
use crate::engine::Engine;

const RECORD: &[u8] = b"redisha:acl:";
/// The start of a record of all users, before their text.
pub(in crate::engine) const ALL_RECORD: &[u8] = b"redisha:acl:=";

impl Engine {
    /// Commands may change users of a managed cluster only on its primary, from where all get them.
    pub(crate) fn acl_changed(&mut self, change: &Change<'_>) {
        if !self.is_managed() {
            return;
        }
        self.acl.amended = true;
        self.acl.default_amended |= matches!(change, Change::Set(b"default") | Change::All);
        let body = match change {
            Change::Set(name) => match self.acl.users.by_name(name) {
                Some(user) => acl::line(name, user),
                None => return,
            },
            Change::Removed(name) => [b"-".as_slice(), name].concat(),
            Change::All => [b"=".as_slice(), &self.acl_text()].concat(),
        };
        self.append_bytes_to_stream(&[RECORD, &body].concat());
        // Whoever is told of the change is told that members have it.
        self.rooms.commit.data_end = self.stream_offset();
    }

    /// A record of the primary's stream; false when it is not one of users.
    pub(in crate::engine) fn acl_applied(&mut self, argument: &[u8]) -> bool {
        let Some(body) = argument.strip_prefix(RECORD) else { return false };
        self.acl.amended = true;
        match body {
            [b'-', name @ ..] => {
                self.acl_remove(name, None);
            }
            [b'=', text @ ..] => self.acl_adopt(text, true),
            text => self.acl_adopt(text, false),
        }
        true
    }

    /// The users as a snapshot carries them; `None` while they are those of the configuration.
    pub(in crate::engine) fn acl_aux(&self) -> Option<Vec<u8>> {
        self.acl.amended.then(|| self.acl_text())
    }

    fn acl_text(&self) -> Vec<u8> {
        let own = |name: &[u8]| name == b"default" && !self.acl.default_amended;
        let users = self.acl.users.iter().filter(|(name, _)| !own(name));
        users.flat_map(|(name, user)| [acl::line(name, user), b"\n".to_vec()].concat()).collect()
    }

    /// The users that came with a full resync or were loaded with the data.
    pub(in crate::engine) fn acl_loaded(&mut self, text: Option<&[u8]>) {
        // By the directive: data are loaded before the member takes its role.
        let managed = !self.config.cluster_uid.is_empty();
        if let Some(text) = text.filter(|_| managed) {
            self.acl.amended = true;
            self.acl_adopt(text, true);
        }
    }

    fn acl_adopt(&mut self, text: &[u8], all: bool) {
        match Users::from_text(text, "stream", self.acl_defaults()) {
            Ok(users) => {
                let default = users.iter().any(|(name, _)| name == b"default");
                self.acl.default_amended |= default;
                if all {
                    return self.acl_replace(users, default, None);
                }
                for (name, user) in users {
                    self.acl_put(&name, user, None);
                }
            }
            // A later version's rule: what this node does not know it cannot allow.
            Err(error) => {
                crate::engine::hooks::warn(self, &format!("users of the primary: {error}"));
            }
        }
    }
}

/// What a command did to the users.
pub enum Change<'c> {
    Set(&'c [u8]),
    Removed(&'c [u8]),
    All,
}
