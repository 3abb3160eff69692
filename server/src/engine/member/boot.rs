//! Who this member is, from the directives, and what its readiness says.

use crate::handover::{Epoch, Identity, Member, Role, Target, Timing};
use crate::replication::STREAM_LEVEL;
use crate::secret::Secret;

use super::super::{Engine, hooks};

/// The name of the user that members and the operator authenticate as.
pub const INTERNAL_USER: &str = "redisha";
/// Random bytes in a member id.
const ID_BYTES: usize = 16;

/// An id that nobody has had.
pub(super) fn fresh_id() -> String {
    hooks::random_hex(ID_BYTES)
}

impl Engine {
    /// Makes this node the member that its directives say: fenced, when `cluster-uid` is set, under
    /// the id that was kept with its files or one that nobody has had. `data_epoch` is what the
    /// loaded data says about itself.
    pub fn boot_member(&mut self, data_epoch: Epoch) {
        let config = &self.config;
        if config.cluster_uid.is_empty() {
            return self.settle_record();
        }
        let here = Target {
            member: fresh_id(),
            host: config.replica_announce_ip.clone(),
            port: config.announced_port(),
            hostname: config.announce_hostname.clone(),
        };
        let uid = Some(config.cluster_uid.clone());
        let keeps = self.keeps_id();
        let name = config.member_name.clone();
        let identity = Identity { uid, name, here, keeps, level: STREAM_LEVEL };
        let (timing, kept, env) = (self.member_timing(), self.found_record(), self.member_env());
        self.rooms.member.member = Member::boot(identity, timing, data_epoch, kept, env);
        self.settle_record();
    }

    pub(super) fn member_timing(&self) -> Timing {
        let takeover_us = self.config.takeover_timeout_ms.saturating_mul(1000);
        Timing { takeover_us, ..Timing::default() }
    }

    /// A member that announces no address is reached where the first who asked reached it.
    pub(crate) fn learn_address(&mut self, local: Option<std::net::SocketAddr>) {
        let here = &self.rooms.member.member.identity().here;
        if here.host.is_empty()
            && let Some(local) = local
        {
            let (port, hostname) = (here.port, here.hostname.clone());
            self.rooms.member.member.set_address(local.ip().to_string(), port, hostname);
        }
    }

    /// The password of the internal user, once the file that holds it was read.
    pub fn internal_secret(&self) -> Option<&[u8]> {
        self.rooms.member.secret.as_deref()
    }

    pub fn set_internal_secret(&mut self, secret: Vec<u8>) {
        self.rooms.member.secret = Some(secret);
    }

    /// How this node authenticates to others: as the internal user, or as `primaryauth` says.
    pub fn member_credentials(&self) -> Option<(Vec<u8>, Secret)> {
        if let Some(secret) = self.internal_secret() {
            return Some((INTERNAL_USER.into(), secret.into()));
        }
        let (user, password) = (&self.config.primaryuser, &self.config.primaryauth);
        if password.is_empty() {
            return None;
        }
        let user = if user.is_empty() { "default" } else { user };
        Some((user.into(), password.as_bytes().into()))
    }

    /// Whether a managed member is one that clients may be led to.
    pub(crate) fn member_readiness(&self) -> Result<(), String> {
        match self.member().role() {
            Role::Unmanaged | Role::Primary { .. } | Role::Limbo(_) => Ok(()),
            Role::Fenced => Err("this member is fenced and waits to be told its role".into()),
            Role::Follower { .. } => match self.stream_link() {
                "up" => Ok(()),
                word => Err(format!("the link to the primary is {word}")),
            },
        }
    }
}
