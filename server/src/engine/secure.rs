//! TLS and the engine: when its files are read, and whom a certificate makes of a client.

use std::sync::Arc;

use crate::client::{ClientId, Duty, User};
use crate::config::{AuthClientsUser, Config};
use crate::tls::{self, Outgoing, Tls, TlsError};

use super::effects::LinkOwner;
use super::{Engine, hooks};

impl Engine {
    /// Reads the files of TLS at the start, if the directives ask for it.
    pub fn start_tls(&mut self) -> Result<(), TlsError> {
        self.tls = load(&self.config)?;
        Ok(())
    }

    /// What TLS will be under other directives; an error changes nothing.
    pub fn prepare_tls(&self, config: &Config) -> Result<Option<Arc<Tls>>, TlsError> {
        load(config)
    }

    /// Reads the files again; connections that are there keep what they have. What cannot be
    /// used leaves everything as it was.
    pub fn reload_tls(&mut self) {
        if self.tls.is_none() {
            return;
        }
        match load(&self.config) {
            Ok(loaded) => {
                self.tls = loaded;
                hooks::log(self, "the files of TLS were read again");
            }
            Err(error) => {
                hooks::warn(self, &format!("the files of TLS stay as they were: {error}"));
            }
        }
    }

    /// Looks whether the files have changed, as often as `tls-auto-reload-interval` says.
    pub(super) fn look_at_tls_files(&mut self) {
        let every_ms = self.config.tls_auto_reload_interval.0 as u64 * 1000;
        let now_ms = self.now.mono_ms();
        let Some(tls) = self.tls.as_ref().filter(|_| every_ms > 0) else { return };
        if now_ms >= self.tls_looked_ms + every_ms {
            let stale = tls.is_stale();
            self.tls_looked_ms = now_ms;
            if stale {
                self.reload_tls();
            }
        }
    }

    /// How a link speaks TLS, if it does. The server that the data are taken over from is spoken to
    /// as the operator said, all others as the directives say.
    pub fn outgoing_tls(&self, duty: Duty) -> Option<Outgoing> {
        if let Duty::Link(LinkOwner::Migration | LinkOwner::MigrationControl) = duty {
            return self.migration_tls();
        }
        let tls = self.tls.as_ref().filter(|_| self.config.tls_replication)?;
        Some(Outgoing { config: Arc::clone(&tls.client), name: None })
    }

    /// A client showed a certificate that the CA signed: with `tls-auth-clients-user` it is the
    /// user whom that names, if there is such a one.
    pub fn certified(&mut self, id: ClientId, certificate: &[u8]) {
        let name = match self.config.tls_auth_clients_user {
            AuthClientsUser::Off => None,
            AuthClientsUser::Cn => tls::common_name(certificate),
            AuthClientsUser::Uri => tls::uri(certificate),
        };
        let Some(user) = name.and_then(|name| self.acl.users.id(name)) else { return };
        let enabled = self.acl.users.get(user).is_some_and(crate::acl::User::is_enabled);
        if let Some(client) = self.clients.get_mut(id).filter(|_| enabled) {
            client.user = User::Named(user);
            client.authenticated = true;
        }
    }
}

fn load(config: &Config) -> Result<Option<Arc<Tls>>, TlsError> {
    if !tls::is_wanted(config) {
        return Ok(None);
    }
    Tls::load(config).map(|tls| Some(Arc::new(tls)))
}
