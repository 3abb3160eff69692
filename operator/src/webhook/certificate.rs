//! The webhook's certificate: made, stored, renewed and told to the API server by the operator.
//!
//! A Secret holds an authority and a certificate signed by it. Every replica of the operator looks
//! at it regularly; whoever finds it missing or old writes a new one, under the version it read, so
//! that of two writers one loses and reads the other's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;
use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{NAME, SECRET};
use crate::controller::context::Context;

const DAY_SECONDS: i64 = 86_400;
/// How long a certificate is good for, and when it is renewed.
const LEAF_DAYS: i64 = 90;
const RENEW_LEAF_DAYS: i64 = 30;
/// The authority outlives many certificates, so that a renewal changes nothing at the API server.
const AUTHORITY_DAYS: i64 = 3_650;
const RENEW_AUTHORITY_DAYS: i64 = 365;

/// Annotations on the Secret: seconds since 1970 at which each part ends.
const LEAF_ENDS: &str = "redisha.dev/certificate-ends";
const AUTHORITY_ENDS: &str = "redisha.dev/authority-ends";

/// The certificate could not be kept.
#[derive(Debug, Error)]
pub enum CertificateError {
    #[error("cannot make one: {0}")]
    Make(#[from] rcgen::Error),
    #[error("cannot {what}: {source}")]
    Api { what: &'static str, source: Box<kube::Error> },
    #[error("the stored one cannot be used: {0}")]
    Unusable(String),
}

/// Keeps the certificate that the listener uses.
pub struct Keeper {
    secrets: Api<Secret>,
    client: Client,
    host: String,
    current: Mutex<Option<Current>>,
}

struct Current {
    leaf: String,
    acceptor: TlsAcceptor,
}

/// Everything that the Secret holds, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    authority: String,
    authority_key: String,
    authority_ends: i64,
    leaf: String,
    leaf_key: String,
    leaf_ends: i64,
}

impl Keeper {
    pub fn new(context: &Context) -> Self {
        let namespace = &context.options.namespace;
        Self {
            secrets: Api::namespaced(context.client.clone(), namespace),
            client: context.client.clone(),
            host: format!("{NAME}.{namespace}.svc"),
            current: Mutex::new(None),
        }
    }

    /// What new connections are accepted with; `None` before the first success.
    pub fn acceptor(&self) -> Option<TlsAcceptor> {
        let current = self.current.lock().expect("no holder of this lock panics");
        current.as_ref().map(|current| current.acceptor.clone())
    }

    /// Reads, renews if needed, uses, and tells the API server.
    pub async fn refresh(&self) -> Result<(), CertificateError> {
        let stored = self.secrets.get_opt(SECRET).await.map_err(api("read the Secret"))?;
        let now = Timestamp::now().as_second();
        let kept = stored.as_ref().and_then(Pair::of_secret);
        let pair = match &kept {
            Some(pair) if pair.leaf_ends - now > RENEW_LEAF_DAYS * DAY_SECONDS => pair.clone(),
            _ => {
                let pair = Pair::make(kept.as_ref(), &self.host, now)?;
                self.store(&pair, stored).await?;
                pair
            }
        };
        self.use_it(&pair)?;
        self.tell(&pair.authority).await
    }

    async fn store(&self, pair: &Pair, stored: Option<Secret>) -> Result<(), CertificateError> {
        let what = api("store the Secret");
        let mut secret = pair.secret();
        let params = PostParams::default();
        if let Some(stored) = stored {
            secret.metadata.resource_version = stored.metadata.resource_version;
            self.secrets.replace(SECRET, &params, &secret).await.map(drop).map_err(what)
        } else {
            self.secrets.create(&params, &secret).await.map(drop).map_err(what)
        }
    }

    fn use_it(&self, pair: &Pair) -> Result<(), CertificateError> {
        let mut current = self.current.lock().expect("no holder of this lock panics");
        if current.as_ref().is_none_or(|current| current.leaf != pair.leaf) {
            *current = Some(Current { leaf: pair.leaf.clone(), acceptor: pair.acceptor()? });
        }
        Ok(())
    }

    /// Puts the authority into the webhook's configuration, if that exists and shows another.
    async fn tell(&self, authority: &str) -> Result<(), CertificateError> {
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let found = configurations.get_opt(NAME).await.map_err(api("read the webhook"))?;
        let Some(found) = found else {
            return Ok(());
        };
        let wanted = ByteString(authority.as_bytes().to_vec());
        let webhooks = found.webhooks.unwrap_or_default();
        let other = |hook: &&k8s_openapi::api::admissionregistration::v1::ValidatingWebhook| {
            hook.client_config.ca_bundle.as_ref() != Some(&wanted)
        };
        if !webhooks.iter().any(|hook| other(&hook)) {
            return Ok(());
        }
        let told = (0..webhooks.len()).map(|index| {
            let path = format!("/webhooks/{index}/clientConfig/caBundle");
            json!({"op": "add", "path": path, "value": wanted})
        });
        let patch: json_patch::Patch =
            serde_json::from_value(told.collect()).expect("the operations are a JSON patch");
        let params = PatchParams::default();
        let patched = configurations.patch(NAME, &params, &Patch::<()>::Json(patch)).await;
        patched.map(drop).map_err(api("tell the API server"))
    }
}

fn api(what: &'static str) -> impl FnOnce(kube::Error) -> CertificateError {
    move |source| CertificateError::Api { what, source: Box::new(source) }
}

impl Pair {
    /// A new certificate, signed by the kept authority while that is good for long enough.
    fn make(kept: Option<&Self>, host: &str, now: i64) -> Result<Self, rcgen::Error> {
        let lasting = |pair: &&Self| pair.authority_ends - now > RENEW_AUTHORITY_DAYS * DAY_SECONDS;
        let authority_key = match kept.filter(lasting) {
            Some(pair) => KeyPair::from_pem(&pair.authority_key)?,
            None => KeyPair::generate()?,
        };
        let (authority, authority_ends) = if let Some(pair) = kept.filter(lasting) {
            (pair.authority.clone(), pair.authority_ends)
        } else {
            let ends = now + AUTHORITY_DAYS * DAY_SECONDS;
            (authority_params(now, ends)?.self_signed(&authority_key)?.pem(), ends)
        };
        // The issuer's name and key are all that a signature needs of it, and both are constant.
        let authority_params = authority_params(now, authority_ends)?;
        let issuer = Issuer::from_params(&authority_params, &authority_key);
        let leaf_key = KeyPair::generate()?;
        let leaf_ends = now + LEAF_DAYS * DAY_SECONDS;
        let leaf = leaf_params(host, now, leaf_ends)?.signed_by(&leaf_key, &issuer)?.pem();
        Ok(Self {
            authority,
            authority_key: authority_key.serialize_pem(),
            authority_ends,
            leaf,
            leaf_key: leaf_key.serialize_pem(),
            leaf_ends,
        })
    }

    fn acceptor(&self) -> Result<TlsAcceptor, CertificateError> {
        let unusable = |error: String| CertificateError::Unusable(error);
        let leaf = CertificateDer::from_pem_slice(self.leaf.as_bytes())
            .map_err(|error| unusable(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(self.leaf_key.as_bytes())
            .map_err(|error| unusable(error.to_string()))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(vec![leaf], key)
            .map_err(|error| unusable(error.to_string()))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn secret(&self) -> Secret {
        let ends = [(LEAF_ENDS, self.leaf_ends), (AUTHORITY_ENDS, self.authority_ends)];
        let annotations = ends.map(|(key, ends)| (key.to_owned(), ends.to_string()));
        let data = [
            ("ca.crt", &self.authority),
            ("ca.key", &self.authority_key),
            ("tls.crt", &self.leaf),
            ("tls.key", &self.leaf_key),
        ];
        Secret {
            metadata: ObjectMeta {
                name: Some(SECRET.to_owned()),
                annotations: Some(annotations.into()),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(BTreeMap::from(
                data.map(|(key, pem)| (key.to_owned(), ByteString(pem.as_bytes().to_vec()))),
            )),
            ..Secret::default()
        }
    }

    /// `None` for a Secret that is incomplete, which is then made anew.
    fn of_secret(secret: &Secret) -> Option<Self> {
        let data = secret.data.as_ref()?;
        let pem = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
        let annotations = secret.metadata.annotations.as_ref()?;
        let ends = |key: &str| annotations.get(key)?.parse().ok();
        Some(Self {
            authority: pem("ca.crt")?,
            authority_key: pem("ca.key")?,
            authority_ends: ends(AUTHORITY_ENDS)?,
            leaf: pem("tls.crt")?,
            leaf_key: pem("tls.key")?,
            leaf_ends: ends(LEAF_ENDS)?,
        })
    }
}

fn authority_params(now: i64, ends: i64) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "RedisHA webhook authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_period(&mut params, now, ends);
    Ok(params)
}

fn leaf_params(host: &str, now: i64, ends: i64) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, host);
    params.use_authority_key_identifier_extension = true;
    set_period(&mut params, now, ends);
    Ok(params)
}

/// An hour of grace at the beginning, for clocks that are behind.
fn set_period(params: &mut CertificateParams, now: i64, ends: i64) {
    let date = |second: i64| {
        let date = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
        let date = date.to_zoned(k8s_openapi::jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(i32::from(date.year()), date.month() as u8, date.day() as u8)
    };
    params.not_before = date(now - 3_600);
    params.not_after = date(ends);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const HOST: &str = "redisha-webhook.redisha-system.svc";

    #[test]
    fn what_is_stored_is_read_back_and_can_be_served() {
        let pair = Pair::make(None, HOST, NOW).unwrap();
        assert_eq!(Pair::of_secret(&pair.secret()), Some(pair.clone()));
        assert!(pair.acceptor().is_ok());
        let mut broken = pair.secret();
        broken.data.as_mut().unwrap().remove("ca.key");
        assert_eq!(Pair::of_secret(&broken), None);
    }

    #[test]
    fn a_renewal_keeps_the_authority_until_that_is_old_itself() {
        let first = Pair::make(None, HOST, NOW).unwrap();
        let later = NOW + 70 * DAY_SECONDS;
        let second = Pair::make(Some(&first), HOST, later).unwrap();
        assert_eq!(second.authority, first.authority);
        assert_ne!(second.leaf, first.leaf);
        assert_eq!(second.leaf_ends, later + 90 * DAY_SECONDS);
        let old = NOW + 3_300 * DAY_SECONDS;
        let third = Pair::make(Some(&second), HOST, old).unwrap();
        assert_ne!(third.authority, first.authority);
    }

    /// A client that trusts the authority and asks for the Service's name is served, as the API
    /// server will be; one that asks for another name is not.
    #[tokio::test]
    async fn the_certificate_is_good_for_the_service_and_for_nothing_else() {
        use tokio_rustls::TlsConnector;
        use tokio_rustls::rustls::{ClientConfig, RootCertStore};

        let now = Timestamp::now().as_second();
        let first = Pair::make(None, HOST, now).unwrap();
        let pair = Pair::make(Some(&first), HOST, now).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(first.authority.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        for (name, good) in [(HOST, true), ("other.redisha-system.svc", false)] {
            let (near, far) = tokio::io::duplex(16 << 10);
            let server = tokio::spawn(pair.acceptor().unwrap().accept(far));
            let result = connector.connect(name.try_into().unwrap(), near).await;
            assert_eq!(result.is_ok(), good, "{name}: {result:?}");
            let _ = server.await.unwrap();
        }
    }
}
