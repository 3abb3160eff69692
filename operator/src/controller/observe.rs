//! Reads what already exists and decides what stays decided.
//!
//! Takes a `RedisHA`, returns [`Decided`]: passwords that exist are kept and missing ones are
//! drawn, the default image is resolved once, a scale-down waits for the primary. Does I/O; the
//! only stage that draws random numbers.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use thiserror::Error;

use super::context::Context;
use super::directory::promises_disk;
use super::validate::Decided;
use crate::api::{INTERNAL_KEY, Names, PASSWORD_KEY, RedisHA};
use crate::trigger;

/// The cluster could not be read.
#[derive(Debug, Error)]
pub enum ObserveError {
    #[error("cannot read {what}: {source}")]
    Read { what: String, source: Box<kube::Error> },
    #[error("cannot record the image in the status: {0}")]
    Image(Box<kube::Error>),
    #[error("Secret {name} exists and holds no key `{key}`: add the key or delete the Secret")]
    NoKey { name: String, key: &'static str },
    #[error("no random numbers are to be had: {0}")]
    Random(String),
}

/// What exists and what is decided.
pub struct Observed {
    /// The object, with its recorded image.
    pub object: Arc<RedisHA>,
    pub decided: Decided,
    /// The internal password is stored, so that it is what members know.
    pub internal_is_stored: bool,
    /// The `StatefulSet` as stored, if there is one.
    pub set: Option<StatefulSet>,
}

/// Reads and decides.
pub async fn observe(
    context: &Context,
    names: &Names,
    redisha: Arc<RedisHA>,
) -> Result<Observed, ObserveError> {
    let redisha = record_image(context, names, redisha).await?;
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &names.namespace);
    let sets: Api<StatefulSet> = Api::namespaced(context.client.clone(), &names.namespace);
    let set = sets.get_opt(&names.name).await.map_err(|source| ObserveError::Read {
        what: format!("StatefulSet {}", names.name),
        source: Box::new(source),
    })?;
    let current = set.as_ref().and_then(|set| set.spec.as_ref()).and_then(|spec| spec.replicas);
    let status = redisha.status.as_ref();
    let primary = status.and_then(|s| s.arbiter.as_ref()).and_then(|a| a.primary.as_ref());
    let primary = primary.and_then(|primary| names.ordinal(&primary.name));
    let uid = redisha.metadata.uid.as_deref().unwrap_or_default();
    let auth = kept(&secrets, &names.auth_secret(), PASSWORD_KEY, uid).await?;
    let internal = kept(&secrets, &names.internal_secret(), INTERNAL_KEY, uid).await?;
    let decided = Decided {
        replicas: trigger::scale(redisha.spec.replicas, current, primary),
        image: status.and_then(|status| status.image.clone()).unwrap_or_default(),
        password: auth.value,
        foreign_auth: auth.foreign,
        internal_password: internal.value,
        cluster_domain: context.options.cluster_domain.clone(),
        let_go: context.holds_too_long(names, &redisha),
        on_disk: promises_disk(&redisha),
    };
    Ok(Observed { object: redisha, decided, internal_is_stored: internal.stored, set })
}

/// Records which image the pods run: the specification's, or the default of the operator that saw
/// the object first. A later operator with another default changes nothing.
async fn record_image(
    context: &Context,
    names: &Names,
    redisha: Arc<RedisHA>,
) -> Result<Arc<RedisHA>, ObserveError> {
    let recorded = redisha.status.as_ref().and_then(|status| status.image.as_ref());
    let image = match (&redisha.spec.image, recorded) {
        (Some(image), Some(recorded)) if image == recorded => return Ok(redisha),
        (None, Some(_)) => return Ok(redisha),
        (Some(image), _) => image,
        (None, None) => &context.options.default_image,
    };
    let patch = Patch::Merge(json!({"status": {"image": image}}));
    let api = context.redishas(names);
    let object = api.patch_status(&names.name, &PatchParams::default(), &patch).await;
    object.map(Arc::new).map_err(|source| ObserveError::Image(Box::new(source)))
}

/// A Secret's value.
struct Kept {
    value: String,
    stored: bool,
    /// The Secret exists and belongs to somebody else.
    foreign: bool,
}

/// The value that a Secret holds, or a new one when there is no such Secret.
async fn kept(
    api: &Api<Secret>,
    name: &str,
    key: &'static str,
    uid: &str,
) -> Result<Kept, ObserveError> {
    let secret = api.get_opt(name).await.map_err(|source| ObserveError::Read {
        what: format!("Secret {name}"),
        source: Box::new(source),
    })?;
    let Some(secret) = secret else {
        return Ok(Kept { value: password()?, stored: false, foreign: false });
    };
    let foreign = !secret.owner_references().iter().any(|owner| owner.uid == uid);
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    let value = value.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
    let value = value.ok_or_else(|| ObserveError::NoKey { name: name.to_owned(), key })?;
    Ok(Kept { value, stored: true, foreign })
}

/// 32 hexadecimal digits, 128 bits of the system's random source.
pub fn password() -> Result<String, ObserveError> {
    use std::fmt::Write as _;
    use std::io::Read as _;

    let mut bytes = [0_u8; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| ObserveError::Random(error.to_string()))?;
    let mut text = String::with_capacity(32);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes every digit");
    }
    Ok(text)
}
