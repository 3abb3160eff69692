//! Who leads clients away, and which of them counts.
//!
//! A switch first: clients of a follower in a managed cluster belong to its primary, whatever a
//! person said before. Then `CLIENT FORCE REDIRECT`. Last what the directives and `CLIENT CAPA
//! redirect` say of an ordinary replica.

use crate::client::Client;
use crate::config::RedirectMode;
use crate::engine::{Engine, hooks};
use crate::handover::Role;
use crate::maintenance;
use crate::relay::Target;
use crate::resp::Proto;

use super::{Mode, Redirect};

/// The redirects that were asked for, one per origin.
#[derive(Default)]
pub(super) struct Origins {
    member: Option<Redirect>,
    forced: Option<(Target, Option<Mode>)>,
    /// The primary that is followed took over from this server by FAILOVER: clients that were here
    /// belong there.
    succeeded: bool,
}

impl Engine {
    /// The member follows a primary, to which its clients belong, or does so no longer.
    pub(super) fn lead_to_primary(&mut self, target: Option<Target>) {
        self.rooms.relays.origins.member = target.map(|target| Redirect {
            target,
            mode: Mode::Relay,
            serves_reads: true,
            only_capable: false,
            moved: true,
        });
        self.redirect_changed();
    }

    /// `CLIENT FORCE REDIRECT`; without a mode the directive `redirect-mode` decides.
    pub fn force_redirect(&mut self, to: Option<(Target, Option<Mode>)>) {
        self.rooms.relays.origins.forced = to;
        self.redirect_changed();
    }

    /// FAILOVER: the primary that is followed now took over, and `relays`.
    pub(in crate::engine) fn lead_to_successor(&mut self, relays: bool) {
        self.rooms.relays.origins.succeeded = relays;
        self.redirect_changed();
    }

    /// To be called when anything changed that the redirect depends on: the role, the primary's
    /// address, `redirect-mode`, `replica-enable-redirect`.
    pub fn redirect_changed(&mut self) {
        if !hooks::is_replica(self) {
            self.rooms.relays.origins.succeeded = false;
        }
        let redirect = self.current_redirect();
        self.set_redirect(redirect);
    }

    fn current_redirect(&self) -> Option<Redirect> {
        let default_mode = match self.config.redirect_mode {
            RedirectMode::Relay => Mode::Relay,
            RedirectMode::Error => Mode::Error,
        };
        let origins = &self.rooms.relays.origins;
        if let Some(redirect) = &origins.member {
            return Some(redirect.clone());
        }
        if let Some((target, mode)) = &origins.forced {
            return Some(Redirect {
                target: target.clone(),
                mode: mode.unwrap_or(default_mode),
                serves_reads: false,
                only_capable: false,
                moved: true,
            });
        }
        if self.is_failing_over() {
            // The replica that is asked to take over has not done so yet.
            return None;
        }
        if self.is_managed() {
            // Whom its clients belong to is the member's word alone.
            return None;
        }
        let (host, port) = hooks::primary_address(self)?;
        let moved = origins.succeeded;
        let all = self.config.replica_enable_redirect || moved;
        Some(Redirect {
            target: Target { host, port, hostname: None, member: None },
            mode: default_mode,
            serves_reads: true,
            only_capable: !all,
            moved,
        })
    }

    /// Whether commands of clients are executed here, so that sessions of other nodes' clients are
    /// welcome.
    pub(crate) fn serves_clients(&self) -> bool {
        let role = matches!(self.member().role(), Role::Primary { .. } | Role::Unmanaged);
        role && self.rooms.relays.redirect.is_none() && !hooks::is_replica(self)
    }

    /// Whether a connection may open sessions, which run with the rights of any user: a member, or
    /// on a server that no operator manages whoever may do everything.
    pub(crate) fn may_open_sessions(&self, client: &Client) -> bool {
        client.is_internal()
            || !self.is_managed() && client.authenticated && self.may_do_everything(client)
    }

    fn can_be_moved(&self, id: crate::client::ClientId) -> bool {
        self.clients.get(id).is_some_and(|client| maintenance::can_be_moved(&client.lib_name))
    }

    /// Tells the clients that asked for maintenance notifications.
    pub(in crate::engine) fn notify_clients(&mut self, notice: &crate::handover::Notice) {
        use crate::handover::Notice;
        self.rooms.relays.notices += 1;
        let sequence = self.rooms.relays.notices;
        let listening: Vec<_> = self
            .clients
            .iter()
            .filter(|client| client.proto == Proto::Resp3)
            .filter_map(|client| Some((client.id, client.maintenance?)))
            .collect();
        for (id, wanted) in listening {
            let push = match notice {
                Notice::Started => maintenance::failing_over(sequence, maintenance::MOVING_SECONDS),
                Notice::Moved(_) if !self.can_be_moved(id) => continue,
                Notice::Moved(target) => {
                    let target = super::target_of(target);
                    let always = &self.config.announce_endpoint;
                    maintenance::moving(sequence, &target, wanted, always)
                }
                Notice::Completed | Notice::Aborted => maintenance::failed_over(sequence),
            };
            if let Some(client) = self.clients.get_mut(id) {
                client.out.extend_from_slice(&push);
                self.clients.queue_flush(id);
            }
        }
    }
}
