//! The two Secrets. Passwords are made once and kept; see `observe`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;

use super::{Plan, config_map, owned};
use crate::api::{AUTH_CONF_KEY, INTERNAL_KEY, PASSWORD_KEY};

/// `NAME-auth`: what users read their password from.
pub fn auth(plan: &Plan) -> Secret {
    secret(plan, plan.names.auth_secret(), [(PASSWORD_KEY, plan.password.clone())])
}

/// `NAME-internal`: what only servers and operator read, and the users' password in the form that
/// the server's configuration includes.
pub fn internal(plan: &Plan) -> Secret {
    let conf = format!("requirepass {}\n", config_map::quoted(&plan.password));
    let entries = [(INTERNAL_KEY, plan.internal_password.clone()), (AUTH_CONF_KEY, conf)];
    secret(plan, plan.names.internal_secret(), entries)
}

fn secret<const N: usize>(plan: &Plan, name: String, entries: [(&str, String); N]) -> Secret {
    let entries: BTreeMap<_, _> = entries.map(|(k, v)| (k.to_owned(), v)).into();
    Secret {
        metadata: owned(plan, name),
        string_data: Some(entries),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}
