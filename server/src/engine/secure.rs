//! TLS and the engine: when its files are read, and whom a certificate makes of a client.

use std::sync::Arc;

use crate::client::{ClientId, Duty, User};
use crate::config::{AuthClientsUser, Config};
use crate::tls::{self, Outgoing, Tls, TlsError};

use super::access::log::{Reason, Where};
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
    /// user whom that names, if there is such a one; else ACL LOG tells of it.
    pub fn certified(&mut self, id: ClientId, certificate: &[u8]) {
        let name = match self.config.tls_auth_clients_user {
            AuthClientsUser::Off => None,
            AuthClientsUser::Cn => tls::common_name(certificate),
            AuthClientsUser::Uri => tls::uri(certificate),
        };
        let Some(name) = name else { return };
        let Some(mut client) = self.clients.take(id) else { return };
        let enabled =
            |user: &_| self.acl.users.get(*user).is_some_and(crate::acl::User::is_enabled);
        if let Some(user) = self.acl.users.id(name).filter(enabled) {
            client.user = User::Named(user);
            client.authenticated = true;
        } else {
            self.acl_note(&client, Reason::Certificate, Where::TopLevel, name.to_vec(), None);
        }
        self.clients.put_back(client);
    }
}

fn load(config: &Config) -> Result<Option<Arc<Tls>>, TlsError> {
    if !tls::is_wanted(config) {
        return Ok(None);
    }
    Tls::load(config).map(|tls| Some(Arc::new(tls)))
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Bench;

    /// A client whose certificate names no user was the default one, and nobody was told why.
    #[test]
    fn a_certificate_makes_its_client_whom_it_names() {
        let certificate = |name: &str| {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = rcgen::KeyPair::generate().expect("a key");
            params.self_signed(&key).expect("a certificate").der().to_vec()
        };
        let mut bench = Bench::new(&[("tls-auth-clients-user", "CN")]);
        let (joe, other) = (bench.client(), bench.client());
        bench.ask(other, "ACL SETUSER joe on +@all");
        bench.ask(other, "ACL SETUSER off off +@all");
        bench.engine.certified(bench.id(joe), &certificate("joe"));
        assert_eq!(bench.ask(joe, "ACL WHOAMI"), "$3 joe");
        for name in ["nobody", "off"] {
            bench.engine.certified(bench.id(other), &certificate(name));
            assert_eq!(bench.ask(other, "ACL WHOAMI"), "$7 default");
            let told = bench.ask(other, "ACL LOG 1");
            assert!(told.contains("tls-cert") && told.contains(name), "{told}");
        }
        assert!(bench.ask(other, "INFO stats").contains("acl_access_denied_tls_cert:2 "));
    }
}
