//! What `spec.migrateFrom` names and does not hold: the password, authorities and certificates. They
//! are read at each step, so that what was changed is said to the primary at the next one.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;

use super::super::context::Context;
use crate::api::{CaKey, MigrateFrom, MigrateTls, SecretKey, SecretName};

/// The keys of a Secret of type `kubernetes.io/tls`.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// What the primary needs to speak to the source, beside the spec.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub password: Option<String>,
    /// Authorities in PEM, if the source is spoken to by TLS.
    pub authorities: Option<String>,
    /// Certificate and key in PEM.
    pub own: Option<(String, String)>,
}

impl Credentials {
    /// Reads all that is named; an error is the sentence for the status.
    pub async fn read(
        context: &Context,
        namespace: &str,
        wish: &MigrateFrom,
    ) -> Result<Self, String> {
        let reader = Reader { context, namespace };
        let mut found = Self::default();
        if let Some(SecretKey { name, key }) = &wish.password_secret {
            let secret = reader.secret("passwordSecret", name).await?;
            found.password = Some(secret.text(key)?);
        }
        let Some(tls) = &wish.tls else { return Ok(found) };
        found.authorities = Some(reader.authorities(tls).await?);
        if let Some(SecretName { name }) = &tls.client_certificate_secret {
            let secret = reader.secret("tls.clientCertificateSecret", name).await?;
            found.own = Some((secret.text(CERTIFICATE)?, secret.text(KEY)?));
        }
        Ok(found)
    }
}

struct Reader<'a> {
    context: &'a Context,
    namespace: &'a str,
}

impl Reader<'_> {
    async fn authorities(&self, tls: &MigrateTls) -> Result<String, String> {
        match (&tls.ca_secret, &tls.ca_config_map) {
            (Some(CaKey { name, key }), None) => self.secret("tls.caSecret", name).await?.text(key),
            (None, Some(CaKey { name, key })) => {
                self.config_map("tls.caConfigMap", name).await?.text(key)
            }
            // The definition refuses it.
            _ => {
                Err("spec.migrateFrom.tls: name the CA either in caSecret or in caConfigMap".into())
            }
        }
    }

    async fn secret(&self, field: &'static str, name: &str) -> Result<Texts, String> {
        let api: Api<Secret> = Api::namespaced(self.context.client.clone(), self.namespace);
        let place = Place::new(field, "Secret", name);
        let found = api.get_opt(name).await.map_err(|error| place.error(&error.to_string()))?;
        let found = found.ok_or_else(|| place.missing(self.namespace))?;
        Ok(Texts { place, data: found.data.unwrap_or_default() })
    }

    async fn config_map(&self, field: &'static str, name: &str) -> Result<Texts, String> {
        let api: Api<ConfigMap> = Api::namespaced(self.context.client.clone(), self.namespace);
        let place = Place::new(field, "ConfigMap", name);
        let found = api.get_opt(name).await.map_err(|error| place.error(&error.to_string()))?;
        let found = found.ok_or_else(|| place.missing(self.namespace))?;
        let texts = found.data.unwrap_or_default().into_iter();
        let texts = texts.map(|(key, text)| (key, ByteString(text.into_bytes())));
        let data = texts.chain(found.binary_data.unwrap_or_default()).collect();
        Ok(Texts { place, data })
    }
}

/// The object that a field of `spec.migrateFrom` names.
struct Place {
    field: &'static str,
    object: String,
}

impl Place {
    fn new(field: &'static str, kind: &str, name: &str) -> Self {
        Self { field, object: format!("{kind} {name}") }
    }

    fn error(&self, why: &str) -> String {
        format!("spec.migrateFrom.{}: {}: {why}", self.field, self.object)
    }

    fn missing(&self, namespace: &str) -> String {
        format!("spec.migrateFrom.{}: there is no {} in {namespace}", self.field, self.object)
    }
}

/// What a Secret or a `ConfigMap` holds.
struct Texts {
    place: Place,
    data: BTreeMap<String, ByteString>,
}

impl Texts {
    fn text(&self, key: &str) -> Result<String, String> {
        let value = self.data.get(key);
        let value = value.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
        let Place { field, object } = &self.place;
        let missing = || format!("spec.migrateFrom.{field}: {object} holds no text under `{key}`");
        value.filter(|text| !text.is_empty()).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_named_with_its_field() {
        let place = || Place::new("tls.caSecret", "Secret", "old");
        let check = |value: Option<&[u8]>, expect: Result<&str, &str>| {
            let data = value.map(|bytes| ("ca.crt".to_owned(), ByteString(bytes.to_vec())));
            let texts = Texts { place: place(), data: data.into_iter().collect() };
            let expect = expect.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(texts.text("ca.crt"), expect);
        };
        let missing = "spec.migrateFrom.tls.caSecret: Secret old holds no text under `ca.crt`";
        check(Some(b"pem"), Ok("pem"));
        check(None, Err(missing));
        check(Some(b""), Err(missing));
        check(Some(b"\xff"), Err(missing));
        assert_eq!(
            place().missing("shop"),
            "spec.migrateFrom.tls.caSecret: there is no Secret old in shop"
        );
    }
}
