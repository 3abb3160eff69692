//! The relay: a client whose primary moved away is answered by the new primary through the old one.
//!
//! A connection that declared nothing about redirection must not notice a switch. So the old
//! primary opens a session for it on the new one, sends its commands there in order, and passes the
//! answers on as they come. Three rules make this safe:
//!
//! - **One ordered way.** All relayed commands of a connection go through one session; nothing that
//!   comes after a relayed command is answered before it.
//! - **Never twice.** The node that runs the session counts what it executed, and returns the rest
//!   when it stops being the primary. What was not counted on a lost connection may have been
//!   executed, and is never sent again: the client is closed, as if its server had died.
//! - **Never through a third node.** A node that is not the primary refuses sessions.
//!
//! [`session`] is a connection's state as a value, [`envelope`] the form of the answers, [`link`]
//! the account of one client's commands. All are pure; the engine binds them to connections.

pub mod envelope;
pub mod link;
pub mod session;

/// A node that clients are led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Address or name, as it was given; also what `-REDIRECT` and `-MOVED` say.
    pub host: String,
    pub port: u16,
    /// The node's name in DNS, for clients that asked for names.
    pub hostname: Option<String>,
    /// The member id that must answer there, in a managed cluster.
    pub member: Option<String>,
}

impl Target {
    /// Whether it is the same node, by whatever name clients know it.
    pub fn is_node(&self, other: &Target) -> bool {
        (&self.host, self.port, &self.member) == (&other.host, other.port, &other.member)
    }
}
