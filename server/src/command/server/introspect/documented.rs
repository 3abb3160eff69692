//! A row as COMMAND DOCS shows it.

use super::row::{full_name, group_name};
use crate::command::Command;
use crate::command::docs::{self, Argument, Kind};
use crate::resp::Reply;

/// Writes a command's name and what is to be said of it, with its subcommands.
pub fn write_docs(reply: &mut Reply<'_>, row: &Command, parent: Option<&Command>) {
    let name = full_name(row, parent);
    let doc = docs::of(&name);
    let is_container = !row.subcommands.is_empty();
    let complexity = match doc.complexity {
        None if is_container => Some("Depends on the subcommand."),
        Some("depends") => Some("Depends on what is run."),
        other => other,
    };
    let fields = 3
        + usize::from(complexity.is_some())
        + usize::from(doc.syscmd || doc.deprecated.is_some())
        + 2 * usize::from(doc.deprecated.is_some())
        + usize::from(!doc.history.is_empty())
        + usize::from(!doc.arguments.is_empty())
        + usize::from(is_container);
    reply.bulk(name.as_bytes());
    reply.map(fields);
    field(reply, "summary", row.summary);
    field(reply, "since", row.since);
    field(reply, "group", group_name(row.group));
    if let Some(text) = complexity {
        field(reply, "complexity", text);
    }
    if doc.syscmd || doc.deprecated.is_some() {
        reply.bulk(b"doc_flags");
        reply.set(1);
        reply.simple(if doc.syscmd { "syscmd" } else { "deprecated" });
    }
    if let Some((version, instead)) = &doc.deprecated {
        field(reply, "deprecated_since", version);
        field(reply, "replaced_by", instead);
    }
    if !doc.history.is_empty() {
        reply.bulk(b"history");
        reply.set(doc.history.len());
        for (version, change) in &doc.history {
            reply.array(2);
            reply.bulk(version.as_bytes());
            reply.bulk(change.as_bytes());
        }
    }
    if !doc.arguments.is_empty() {
        reply.bulk(b"arguments");
        write_arguments(reply, &doc.arguments);
    }
    if is_container {
        reply.bulk(b"subcommands");
        reply.map(row.subcommands.len());
        row.subcommands.iter().for_each(|sub| write_docs(reply, sub, Some(row)));
    }
}

fn field(reply: &mut Reply<'_>, name: &str, text: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(text.as_bytes());
}

fn write_arguments(reply: &mut Reply<'_>, arguments: &[Argument]) {
    reply.array(arguments.len());
    for argument in arguments {
        write_argument(reply, argument);
    }
}

fn write_argument(reply: &mut Reply<'_>, argument: &Argument) {
    let flags = [
        (argument.optional, "optional"),
        (argument.multiple, "multiple"),
        (argument.multiple_token, "multiple_token"),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    let nests = matches!(argument.kind, Kind::OneOf | Kind::Block);
    let texts = [
        ("token", argument.token),
        ("since", argument.since),
        ("deprecated_since", argument.deprecated_since),
    ];
    let told = texts.iter().filter(|(_, text)| text.is_some()).count();
    // Name and type; a nest has its arguments where others have a text to display.
    reply.map(3 + usize::from(argument.key_spec.is_some()) + told + usize::from(!flags.is_empty()));
    field(reply, "name", &argument.name);
    field(reply, "type", argument.kind.name());
    if !nests {
        field(reply, "display_text", argument.display.unwrap_or(&argument.name));
    }
    if let Some(index) = argument.key_spec {
        reply.bulk(b"key_spec_index");
        reply.int(index);
    }
    for (name, text) in texts {
        if let Some(text) = text {
            field(reply, name, text);
        }
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        reply.set(flags.len());
        for flag in flags {
            reply.simple(flag);
        }
    }
    if nests {
        reply.bulk(b"arguments");
        write_arguments(reply, &argument.arguments);
    }
}
