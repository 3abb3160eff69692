//! CONFIG.

use super::{ADMIN, HELP};
use crate::command::{Command, Group, Handled};
use crate::config::{ALIASES, ConfigError, DIRECTIVES, Directive, file, find};
use crate::engine::{Context, Stats, hooks};
use crate::glob;
use crate::resp::errors;

const ROW: Command = Command { group: Group::Server, flags: ADMIN, since: "2.0.0", ..Command::ROW };

pub const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "get",
        arity: -3,
        summary: "Returns the directives that match the patterns.",
        handler: get,
        ..ROW
    },
    Command {
        name: "set",
        arity: -4,
        summary: "Changes directives, all or none.",
        handler: set,
        ..ROW
    },
    Command {
        name: "resetstat",
        arity: 2,
        summary: "Begins the counts of INFO anew.",
        handler: resetstat,
        ..ROW
    },
    Command {
        name: "rewrite",
        arity: 2,
        since: "2.8.0",
        summary: "Writes the configuration to its file.",
        handler: rewrite,
        ..ROW
    },
    Command { handler: |cx| super::help(cx, "CONFIG", SUBCOMMANDS), ..HELP },
];

fn get(cx: &mut Context<'_>) -> Handled {
    let mut found: Vec<(String, String)> = Vec::new();
    let patterns: Vec<Vec<u8>> = cx.args.iter().skip(2).map(<[u8]>::to_ascii_lowercase).collect();
    let asked = |name: &str, row: &Directive| {
        let name = name.as_bytes();
        patterns.iter().any(|one| one == name || !row.hidden && glob::matches(one, name))
    };
    // Older names are directives of their own for those who read.
    let rows = DIRECTIVES.iter().map(|row| (row.name, row));
    let rows = rows.chain(ALIASES.iter().filter_map(|(old, name)| Some((*old, find(name)?))));
    for (name, row) in rows.filter(|(name, row)| asked(name, row)) {
        found.push((name.to_owned(), (row.get)(&cx.engine.config)));
    }
    found.sort();
    let mut reply = cx.client.reply();
    reply.map(found.len());
    for (name, value) in &found {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    Ok(())
}

fn set(cx: &mut Context<'_>) -> Handled {
    if cx.args.len() % 2 == 1 {
        return Err(errors::wrong_arity("config|set"));
    }
    let mut config = cx.engine.config.clone();
    let mut seen = Vec::new();
    for at in (2..cx.args.len()).step_by(2) {
        let name = String::from_utf8_lossy(cx.args.at(at)).to_ascii_lowercase();
        let value = std::str::from_utf8(cx.args.at(at + 1)).map_err(|_| errors::SYNTAX)?;
        let failed = |why: &str| {
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
        };
        let Some(row) = find(&name) else {
            return Err(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
            )
            .into());
        };
        let allowed = cx.engine.config.enable_protected_configs;
        if row.protected && !allowed.covers(super::is_local(cx.client)) {
            return Err(failed("can't set protected config").into());
        }
        if !row.mutable {
            return Err(failed("can't set immutable config").into());
        }
        if seen.contains(&row.name) {
            return Err(failed("duplicate parameter").into());
        }
        seen.push(row.name);
        config.set(row.name, value).map_err(|error| match error {
            ConfigError::Value { why, .. } => failed(&why),
            other => failed(&other.to_string()),
        })?;
    }
    let of_files = |name: &&str| matches!(*name, "dir" | "appendonly");
    if cx.engine.is_loading() && seen.iter().any(of_files) {
        return Err(errors::LOADING.into());
    }
    if !config.replica_read_only && cx.engine.is_managed() && seen.contains(&"replica-read-only") {
        return Err(
            "ERR CONFIG SET failed (possibly related to argument 'replica-read-only') - the \
                    replicas of a managed server take no writes of their own"
                .into(),
        );
    }
    // What may fail and changes nothing comes first.
    let secured = seen.iter().find(|name| name.starts_with("tls-"));
    let tls = secured.map(|name| {
        cx.engine.prepare_tls(&config).map_err(|error| {
            hooks::warn(cx.engine, &error.to_string());
            format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - Unable to update \
                 TLS configuration. Check server logs."
            )
        })
    });
    let tls = tls.transpose()?;
    if config.dir != cx.engine.config.dir {
        std::env::set_current_dir(&config.dir).map_err(|error| {
            let why = crate::disk::reason(&error);
            format!("ERR CONFIG SET failed (possibly related to argument 'dir') - {why}")
        })?;
        config.dir = std::env::current_dir()
            .map_or_else(|_| config.dir.clone(), |path| path.display().to_string());
    }
    if let Some(tls) = tls {
        cx.engine.tls = tls;
    }
    if seen.iter().any(|name| name.starts_with("oom-score-adj")) {
        cx.engine.apply_oom_score(&config).map_err(|why| {
            format!("ERR CONFIG SET failed (possibly related to argument 'oom-score-adj') - {why}")
        })?;
    }
    cx.engine.config = config;
    cx.engine.apply_config();
    cx.engine.redirect_changed();
    if seen.contains(&"maxmemory-clients") {
        cx.engine.evict_clients(None);
    }
    cx.client.reply().ok();
    Ok(())
}

fn resetstat(cx: &mut Context<'_>) -> Handled {
    cx.engine.stats = Stats::default();
    cx.engine.measures.reset();
    cx.engine.keyspace.reset_hits();
    cx.engine.memory.peak = cx.engine.used_memory();
    cx.engine.lazyfree.reset();
    cx.engine.rooms.scripts.cache.evicted = 0;
    cx.client.reply().ok();
    Ok(())
}

fn rewrite(cx: &mut Context<'_>) -> Handled {
    rewrite_config(cx, false)
}

/// Writes what differs from the defaults, or all, into the file that was read at the start.
pub fn rewrite_config(cx: &mut Context<'_>, all: bool) -> Handled {
    if cx.engine.config.file.is_empty() {
        return Err("ERR The server is running without a config file".into());
    }
    let mut config = cx.engine.config.clone();
    config.users = cx.engine.acl_directives();
    file::rewritten(&config, all)
        .and_then(|text| crate::disk::replace(&config.file, "config", text.as_bytes()))
        .map_err(|error| format!("ERR Rewriting config file: {error}"))?;
    cx.client.reply().ok();
    Ok(())
}
