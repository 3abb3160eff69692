//! `REDISHA`: what operator and members say to a member. See `ARCHITECTURE.md`, the switch.
//!
//! Every subcommand but STATUS and HELP begins with `UID <cluster uid> MEMBER <id>`, the id being
//! the target's own, and takes its other arguments as pairs of a word and a value in any order.

use super::{Command, Flags, Group, Handled, redirect};
use crate::config::Config;
use crate::engine::Context;
use crate::engine::member::write_reply;
use crate::handover::{Request, Role, Status, Target, Verb};
use crate::migration::{Leave, Source};
use crate::replication::STREAM_LEVEL;
use crate::resp::{Args, CommandError, errors};
use crate::secret::Secret;
use crate::tls::Given;

const INTERNAL: Flags =
    Flags(Flags::ADMIN.0 | Flags::INTERNAL.0 | Flags::LOCAL.0 | OPEN.0 | Flags::NO_MULTI.0);
const OPEN: Flags = Flags(Flags::NOSCRIPT.0 | Flags::LOADING.0 | Flags::STALE.0);
const ADMIN: Flags = Flags(Flags::ADMIN.0 | Flags::LOCAL.0 | OPEN.0);

pub const COMMANDS: &[Command] = &[Command {
    name: "redisha",
    arity: -2,
    flags: ADMIN,
    group: Group::Server,
    summary: "A container for commands between operator and members.",
    subcommands: SUBCOMMANDS,
    ..Command::ROW
}];

const fn row(name: &'static str, arity: i32, summary: &'static str) -> Command {
    Command {
        name,
        arity,
        flags: INTERNAL,
        group: Group::Server,
        summary,
        handler: request,
        ..Command::ROW
    }
}

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "status",
        arity: 2,
        flags: ADMIN.with(Flags::ALLOW_BUSY),
        group: Group::Server,
        summary: "What this member is and holds.",
        handler: status,
        ..Command::ROW
    },
    Command {
        name: "help",
        arity: 2,
        flags: ADMIN,
        group: Group::Server,
        summary: "Lists the subcommands.",
        handler: help,
        ..Command::ROW
    },
    row("bootstrap", -8, "Makes an empty member the first primary: TERM t [CONFIG c]."),
    row("seal", 8, "Promises a term and stops serving: TERM t."),
    row("promote", -8, "Makes a sealed member the primary: TERM t [CONFIG c] [WAIT ms]."),
    row("prepare", 8, "Obeys another config too: CONFIG c."),
    row("commit", 8, "Obeys the published config only: CONFIG c."),
    row("follow", -14, "Follows a primary: EPOCH t.h PRIMARY id HOST h PORT p."),
    row("pause", 12, "Holds writes for a switch: ID id TIMEOUT ms TO id."),
    row("unpause", 8, "Ends that pause: ID id."),
    row("level", 10, "Waits until the target holds everything: ID id TO id."),
    row("handover", -14, "Gives the epoch away: ID id TO id HOST h PORT p [HOSTNAME n]."),
    row("takeover", 8, "Takes an epoch that was given to this member: RECORD blob."),
    redirect::SESSION,
    redirect::RETURN,
    row("release", 8, "The address leads to the new primary now: ID id."),
    Command {
        handler: migrate,
        ..row(
            "migrate",
            -10,
            "Takes another server's data: HOST h PORT p [USER u] [PASSWORD p], or in place of HOST by TLS: \
             TLS-HOST h TLS-CA pem [TLS-NAME n] [TLS-VERIFY full|ca] [TLS-CERT pem TLS-KEY pem].",
        )
    },
    Command {
        handler: cut_over,
        ..row(
            "cutover",
            -8,
            "Takes its writes, too: TIMEOUT ms [HOST h PORT p [USER u PASSWORD p]].",
        )
    },
];

fn help(cx: &mut Context<'_>) -> Handled {
    super::server::help(cx, "REDISHA", SUBCOMMANDS)
}

fn request(cx: &mut Context<'_>) -> Handled {
    let request = parse(cx.row.name, cx.args)?;
    cx.engine.learn_address(cx.client.local);
    match cx.engine.member_request(cx.client.id, request) {
        Some(reply) => write_reply(cx.client, &reply),
        None => {
            cx.defer();
        }
    }
    Ok(())
}

/// The pairs, if they are for this member and it is the primary.
fn for_primary<'a>(cx: &Context<'a>) -> Result<Pairs<'a>, CommandError> {
    if !cx.args.len().is_multiple_of(2) {
        return Err(errors::SYNTAX.into());
    }
    let pairs = Pairs(cx.args);
    let member = cx.engine.member();
    let identity = member.identity();
    let is_meant = identity.uid.as_ref() == Some(&pairs.text("uid")?)
        && identity.here.member == pairs.text("member")?;
    if !is_meant {
        return Err("WRONGMEMBER this is another member".into());
    }
    if !matches!(member.role(), Role::Primary { .. }) {
        return Err(format!("NOTREADY this member is {}", member.role().name()).into());
    }
    Ok(pairs)
}

/// So much of a migration's state is MIGRATE's answer: operators of before take no more.
const MIGRATE_ANSWERS: usize = 3;

/// `MIGRATE`: begins, or goes on; the answer is state, lag in bytes and last error. An empty host ends
/// it, and what was taken over stays. A server that is to be spoken to by TLS is named by another word
/// than one in the clear, so that a member that does not know TLS here refuses to speak to it.
fn migrate(cx: &mut Context<'_>) -> Handled {
    let pairs = for_primary(cx)?;
    let tls = given(&pairs)?;
    let host = if tls.is_some() { pairs.text("tls-host") } else { pairs.text("host") }?;
    if host.is_empty() {
        cx.engine.end_migration()?;
        cx.client.reply().ok();
        return Ok(());
    }
    let password = pairs.find("password").map(Secret::from);
    let source = Source {
        host,
        port: pairs.read("port")?,
        auth: password.map(|password| (pairs.text("user").ok(), password)),
        tls,
    };
    cx.engine.migrate_from(source)?;
    let status = cx.engine.migration_status();
    let mut out = cx.client.reply();
    out.array(MIGRATE_ANSWERS);
    for (_, value) in &status[..MIGRATE_ANSWERS] {
        out.bulk(value.as_bytes());
    }
    Ok(())
}

/// What is said of TLS to a source, if it is named by `TLS-HOST`.
fn given(pairs: &Pairs<'_>) -> Result<Option<Given>, CommandError> {
    if pairs.find("tls-host").is_none() {
        return Ok(None);
    }
    let pem = |name: &str| pairs.find(name).map(<[u8]>::to_vec);
    let own = match (pem("tls-cert"), pem("tls-key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err("BADTLS a client certificate and its key go together".into()),
    };
    Ok(Some(Given {
        authorities: pem("tls-ca").ok_or("BADTLS CA bundle: there is none")?,
        name: pairs.text("tls-name").or_else(|_| pairs.text("tls-host"))?,
        any_name: match pairs.text("tls-verify").as_deref() {
            Err(_) | Ok("full") => false,
            Ok("ca") => true,
            Ok(_) => return Err("BADTLS tls-verify is 'full' or 'ca'".into()),
        },
        own,
    }))
}

fn cut_over(cx: &mut Context<'_>) -> Handled {
    let pairs = for_primary(cx)?;
    let timeout_ms = pairs.read("timeout")?;
    let leave = match pairs.text("host") {
        Ok(host) => Leave::Redirecting {
            host,
            port: pairs.read("port")?,
            auth: pairs.text("user").ok().zip(pairs.find("password").map(Secret::from)),
        },
        Err(_) => Leave::Paused,
    };
    cx.engine.cut_over(cx.client.id, timeout_ms, leave)?;
    cx.defer();
    Ok(())
}

/// The pairs behind the subcommand's word.
struct Pairs<'a>(Args<'a>);

impl Pairs<'_> {
    fn find(&self, name: &str) -> Option<&[u8]> {
        let at = (2..self.0.len()).step_by(2).find(|at| self.0.is(*at, name))?;
        self.0.get(at + 1)
    }

    fn text(&self, name: &str) -> Result<String, CommandError> {
        let value = self.find(name).ok_or_else(|| format!("ERR {name} is missing"))?;
        Ok(String::from_utf8_lossy(value).into_owned())
    }

    fn read<T: std::str::FromStr>(&self, name: &str) -> Result<T, CommandError> {
        self.text(name)?.parse().map_err(|_| format!("ERR {name} can not be read").into())
    }

    fn maybe<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, CommandError> {
        self.find(name).map(|_| self.read(name)).transpose()
    }

    fn target(&self, member: &str) -> Result<Target, CommandError> {
        Ok(Target {
            member: self.text(member)?,
            host: self.text("host")?,
            port: self.read("port")?,
            hostname: self.text("hostname").unwrap_or_default(),
        })
    }
}

fn parse(name: &str, args: Args<'_>) -> Result<Request, CommandError> {
    if !args.len().is_multiple_of(2) {
        return Err(errors::SYNTAX.into());
    }
    let pairs = Pairs(args);
    let verb = match name {
        "bootstrap" => {
            Verb::Bootstrap { term: pairs.read("term")?, config: pairs.maybe("config")? }
        }
        "seal" => Verb::Seal { term: pairs.read("term")? },
        "promote" => Verb::Promote {
            term: pairs.read("term")?,
            config: pairs.maybe("config")?,
            wait_ms: pairs.maybe("wait")?.unwrap_or(0),
        },
        "prepare" => Verb::Prepare { config: pairs.read("config")? },
        "commit" => Verb::Commit { config: pairs.read("config")? },
        "follow" => Verb::Follow { epoch: pairs.read("epoch")?, primary: pairs.target("primary")? },
        "pause" => Verb::Pause {
            id: pairs.text("id")?,
            timeout_ms: pairs.read("timeout")?,
            to: pairs.text("to")?,
        },
        "unpause" => Verb::Unpause { id: pairs.text("id")? },
        "level" => Verb::Level { id: pairs.text("id")?, to: pairs.text("to")? },
        "handover" => Verb::Handover { id: pairs.text("id")?, to: pairs.target("to")? },
        "takeover" => Verb::Takeover { blob: pairs.text("record")? },
        "release" => Verb::Release { id: pairs.text("id")? },
        _ => return Err(errors::SYNTAX.into()),
    };
    Ok(Request { uid: pairs.text("uid")?, member: pairs.text("member")?, verb })
}

fn status(cx: &mut Context<'_>) -> Handled {
    cx.engine.learn_address(cx.client.local);
    let engine = &cx.engine;
    let mut status = engine.member().status(engine.member_env());
    let here = engine.member().identity().here.clone();
    if let Some(primary) = &mut status.primary
        && primary.member == here.member
    {
        primary.clone_from(&here);
    }
    let fields = fields(&status, &here);
    let more = [
        ("replid", engine.stream_id()),
        ("link", engine.stream_link().to_owned()),
        ("durable", engine.member().durable().to_string()),
        ("silence-ms", engine.stream_silence_ms().to_string()),
        ("relayed", engine.relayed_clients().to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("stream-level", STREAM_LEVEL.to_string()),
        ("users", engine.acl.users.digest().to_owned()),
        ("listens", listens(&engine.config).to_owned()),
    ];
    let migration = engine.migration_status();
    let replicas = engine.member_replicas();
    let mut out = cx.client.reply();
    out.map(fields.len() + more.len() + migration.len() + 1);
    for (name, value) in fields.iter().chain(&more).chain(&migration) {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
    out.bulk(b"replicas");
    out.array(replicas.len());
    for replica in &replicas {
        out.map(replica.len());
        for (name, value) in replica {
            out.bulk(name.as_bytes());
            out.bulk(value.as_bytes());
        }
    }
    Ok(())
}

/// By which transports clients are taken.
fn listens(config: &Config) -> &'static str {
    match (config.port > 0, config.tls_port > 0) {
        (true, true) => "tcp,tls",
        (true, false) => "tcp",
        (false, true) => "tls",
        (false, false) => "",
    }
}

fn fields(status: &Status, here: &Target) -> Vec<(&'static str, String)> {
    let none = Target::default();
    let primary = status.primary.as_ref().unwrap_or(&none);
    let flag = |set: bool| if set { "1" } else { "0" }.to_owned();
    vec![
        ("uid", status.uid.clone()),
        ("member", status.member.clone()),
        ("name", status.name.clone()),
        ("role", status.role.to_owned()),
        ("epoch", status.epoch.to_string()),
        ("promised", status.promised.to_string()),
        ("data-epoch", status.data_epoch.to_string()),
        ("offset", status.offset.to_string()),
        ("empty", flag(status.empty)),
        ("primary-member", primary.member.clone()),
        ("primary-host", primary.host.clone()),
        ("primary-port", primary.port.to_string()),
        ("host", here.host.clone()),
        ("port", here.port.to_string()),
        ("hostname", here.hostname.clone()),
        ("pause-id", status.pause_id.clone()),
        ("pause-left-ms", status.pause_left_ms.to_string()),
        ("handover-id", status.handover_id.clone()),
        ("handover-to", status.handover_to.clone()),
        ("handover-outcome", status.handover_outcome.name().to_owned()),
        ("handover-epoch", status.handover_epoch.to_string()),
        ("handover-record", status.handover_record.clone()),
        ("pause-us", status.pause_us.to_string()),
        ("draining", flag(status.draining)),
        ("configs", status.configs.clone()),
        ("committed", status.committed.to_string()),
        ("restarted", flag(status.restarted)),
        ("lease-left-ms", status.lease_left_ms.to_string()),
    ]
}
