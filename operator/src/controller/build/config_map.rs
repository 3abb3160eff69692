//! The server's configuration, in the syntax of redis.conf.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{Plan, owned};
use crate::api::{AUTH_CONF_KEY, CONF_KEY, HEALTH_PORT, INTERNAL_KEY, READONLY_PORT, REDIS_PORT};

/// Where pods find the [`ConfigMap`].
pub const CONF_DIR: &str = "/etc/redisha/conf";
/// Where pods find the internal Secret.
pub const AUTH_DIR: &str = "/etc/redisha/auth";
/// Where pods keep data.
pub const DATA_DIR: &str = "/data";

/// How a member's id outlives its process: with append-only files that hold all that it said it had.
pub const KEEPS_IDS: [(&str, &str); 2] = [(FILES, "yes"), (KEEP_ID, "yes")];
/// Whether there are append-only files: with a volume, unless the user says otherwise.
pub const FILES: &str = "appendonly";
/// Whether a member's id outlives its process.
pub const KEEP_ID: &str = "keep-member-id";

/// The `ConfigMap` of one `RedisHA`.
pub fn config(plan: &Plan) -> ConfigMap {
    ConfigMap {
        metadata: owned(plan, plan.names.name.clone()),
        data: Some(BTreeMap::from([(CONF_KEY.to_owned(), text(plan))])),
        ..ConfigMap::default()
    }
}

fn text(plan: &Plan) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(text, "{name} {value}").expect("a string takes every line");
    };
    line("cluster-uid", &plan.uid);
    line("port", &REDIS_PORT.to_string());
    line("readonly-port", &READONLY_PORT.to_string());
    line("health-port", &HEALTH_PORT.to_string());
    line("dir", DATA_DIR);
    // Every connection needs the password; which address it comes from says nothing in a cluster.
    line("protected-mode", "no");
    line("internal-secret-file", &format!("{AUTH_DIR}/{INTERNAL_KEY}"));
    // The rest of the grace period is left for closing the listener and writing the snapshot.
    line("shutdown-timeout", &(plan.grace_seconds - 5).to_string());
    for (name, value) in &plan.config {
        line(name, argument(value));
    }
    if plan.keeps_ids {
        for (name, value) in KEEPS_IDS {
            line(name, value);
        }
    } else if plan.storage.is_some() && !plan.config.contains_key(FILES) {
        // Who asks for a volume wants a pod to come back with what it had, however it ended: a
        // snapshot alone may be an hour old, and too far behind for a partial resync.
        line(FILES, "yes");
    }
    line("include", &format!("{AUTH_DIR}/{AUTH_CONF_KEY}"));
    text
}

/// What stands behind a directive's name is the user's to write, quotes included, as in redis.conf;
/// only nothing at all needs to be said as an empty argument.
fn argument(value: &str) -> &str {
    if value.trim().is_empty() { "\"\"" } else { value.trim() }
}

/// One argument in double quotes, as redis.conf reads them.
pub fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            _ => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_keeps_every_character() {
        for (value, expect) in [
            ("plain", "\"plain\""),
            ("it's \"so\" \\", "\"it's \\\"so\\\" \\\\\""),
            ("two\nlines\t", "\"two\\nlines\\t\""),
        ] {
            assert_eq!(quoted(value), expect);
        }
    }
}
