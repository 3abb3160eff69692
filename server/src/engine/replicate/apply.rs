//! Executing the commands of a stream: a primary's, of which this node is a copy, or that of a
//! server outside, whose commands become this primary's own.

use crate::client::Client;
use crate::command::{Command, Flags, lookup, subcommand};
use crate::config::PropagationError;
use crate::handover::Record;
use crate::replication::Asks;
use crate::resp::Args;

use super::super::run::run_row;
use super::super::{Context, Engine};

/// Whose stream a command is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This node's primary: nothing is added to the stream, which is copied as it came.
    Primary,
    /// The server outside whose data this primary takes over: its own writes.
    Source,
}

/// What a stream may change: data, and what goes along with them.
const STREAMED: Flags = Flags(Flags::WRITE.0 | Flags::MAY_REPLICATE.0 | Flags::FEEDS_STREAM.0);

/// The row of a command that no gate has looked at. Handlers rely on the arity that their row says:
/// a stream with `SET key` and nothing else once made a replica read past the arguments. And a
/// stream's commands have every right, so one that is no part of any stream would let the primary,
/// or whoever is in its place, configure this node or end it.
fn row_of_stream(args: Args<'_>) -> Result<&'static Command, String> {
    let row = lookup(args.at(0)).and_then(|row| subcommand(row, args));
    let row = row.ok_or_else(|| String::from("ERR unknown command"))?;
    if !row.is(STREAMED) || row.is(Flags::INTERNAL) {
        return Err("ERR no stream holds this command".into());
    }
    if row.arity_fits(args.len()) { Ok(row) } else { Err("ERR wrong number of arguments".into()) }
}

impl Engine {
    /// Takes one command of a stream for `client`, its link. One that cannot be executed is logged
    /// and counted, and keeps a migration from its cut-over; the error ends the link, since all that
    /// follows would be in the wrong place.
    pub fn take_command(
        &mut self,
        client: &mut Client,
        args: Args<'_>,
        origin: Origin,
    ) -> Result<(), String> {
        let taken = match Asks::of(args) {
            Asks::Nothing | Asks::Acknowledgement => return Ok(()),
            Asks::Select(db) => match db.filter(|db| *db < self.config.databases) {
                Some(db) => {
                    client.db = db;
                    return Ok(());
                }
                None => return Err("it is in a database beyond `databases`".into()),
            },
            Asks::Script(text) => {
                self.take_script(text, false);
                if origin == Origin::Source {
                    self.tell_script(client.db, text);
                }
                return Ok(());
            }
            // Those of another cluster concern nobody here.
            Asks::Record(_) if origin == Origin::Source => return Ok(()),
            Asks::Record(record) => {
                self.migration_applied(record);
                if !self.config.cluster_uid.is_empty()
                    && let Ok(record) = Record::parse(record)
                {
                    self.raise_clock(&record);
                }
                return Ok(());
            }
            Asks::Change(args) => self.change(client, args, origin),
        };
        if let Err(why) = taken {
            self.rooms.replication.failed_commands += 1;
            let name = args.at(0)[..args.at(0).len().min(64)].escape_ascii();
            if origin == Origin::Source {
                self.note_unapplied(&name.to_string(), &why);
            }
            let text = format!("{name} of the stream was not applied: {why}");
            super::super::hooks::warn(self, &text);
            assert!(
                origin == Origin::Source || !self.ends_when_unlike(),
                "{text}; propagation-error-behavior ends this server"
            );
        }
        Ok(())
    }

    /// Whether it is rather ended than unlike its primary or its file, as
    /// `propagation-error-behavior` says. A replica that takes writes may be unlike by those.
    fn ends_when_unlike(&self) -> bool {
        let copies = !self.is_loading() && self.config.replica_read_only;
        match self.config.propagation_error_behavior {
            PropagationError::Ignore => false,
            PropagationError::Panic => copies || self.is_loading(),
            PropagationError::PanicOnReplicas => copies,
        }
    }

    /// Runs a command of a stream. No gate refuses it; the reply is dropped, and an error reply is
    /// the error, as it is for a command that this node does not know.
    pub fn change(
        &mut self,
        client: &mut Client,
        args: Args<'_>,
        origin: Origin,
    ) -> Result<(), String> {
        let row = row_of_stream(args)?;
        let before = client.out.len();
        let copied = origin == Origin::Primary;
        self.keyspace.ignore_expiry(true);
        run_row(&mut Context {
            engine: self,
            client,
            args,
            row,
            // The connection to a source never waits.
            in_exec: !copied,
            timed_out: false,
            from_primary: copied,
        });
        let failure = client.out[before..].strip_prefix(b"-");
        let failure = failure.map(|text| text.trim_ascii_end().escape_ascii().to_string());
        client.out.truncate(before);
        self.events.own.clear();
        if copied {
            self.keyspace.ignore_expiry(false);
            self.outbox.clear();
        }
        failure.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Duty;
    use crate::engine::effects::LinkOwner;
    use crate::engine::testing::Bench;
    use crate::resp::OwnedArgs;

    /// A primary's stream with a command that lacks its arguments ended the replica's process (the
    /// fuzzer of the replication stream found it), and a LOLWUT alone, from anybody, ended any. And
    /// a primary could have its replica run any command at all: SHUTDOWN, CONFIG SET, REDISHA.
    #[test]
    fn only_whole_commands_that_streams_hold_are_run() {
        let mut bench = Bench::new(&[]);
        let id = bench.client();
        let id = bench.id(id);
        let mut client = bench.engine.clients.take(id).expect("it was just made");
        for row in crate::command::all() {
            for (row, words) in std::iter::once((row, vec![row.name]))
                .chain(row.subcommands.iter().map(|sub| (sub, vec![row.name, sub.name])))
            {
                let streamed = row.is(STREAMED) && !row.is(Flags::INTERNAL);
                for count in words.len()..8 {
                    let more = std::iter::repeat_n("1", count - words.len());
                    let parts = words.iter().copied().chain(more).map(str::as_bytes);
                    let args = OwnedArgs::from_parts(parts);
                    let admitted = row_of_stream(args.args()).is_ok();
                    assert!(!admitted || streamed && row.arity_fits(count), "{words:?} {count}");
                }
                let args = OwnedArgs::from_parts(words.iter().map(|word| word.as_bytes()));
                for origin in [Origin::Primary, Origin::Source] {
                    let _ = bench.engine.change(&mut client, args.args(), origin);
                    assert!(client.blocked.is_none(), "{words:?}");
                }
            }
        }
        bench.engine.clients.put_back(client);
    }

    /// A replica whose `proto-max-bulk-len` is smaller refused what its primary had let grow, and was
    /// unlike it from then on; so did who takes over a server outside, and then nobody cut over. A
    /// `LIMIT` that the source's own trimming had made idle was an error of syntax there.
    #[test]
    fn what_another_server_has_done_is_done_here() {
        let duty = |origin| match origin {
            Origin::Primary => LinkOwner::Replication,
            Origin::Source => LinkOwner::Migration,
        };
        for origin in [Origin::Primary, Origin::Source] {
            let mut bench = Bench::new(&[("proto-max-bulk-len", "1mb")]);
            let teller = bench.client();
            assert!(
                bench.ask(teller, "SETRANGE long 1048576 x").starts_with("-ERR string exceeds")
            );
            let link = bench.client();
            let link = bench.id(link);
            let mut link = bench.engine.clients.take(link).expect("it was just made");
            link.duty = Duty::Link(duty(origin));
            let mut change = |line: &str| {
                let args = OwnedArgs::from_parts(line.split(' ').map(str::as_bytes));
                bench.engine.change(&mut link, args.args(), origin)
            };
            for line in [
                "SETRANGE long 1048576 x",
                "APPEND long xyz",
                "SETBIT bits 8388608 1",
                "BITFIELD bits SET u8 #1048577 7",
                "XADD s MAXLEN = 1 LIMIT 10 1-1 f v",
                "XADD s MAXLEN = 1 LIMIT 10 2-1 f v",
                "XTRIM s MINID = 3 LIMIT 1",
            ] {
                assert_eq!(change(line), Ok(()), "{origin:?}: {line}");
            }
            if origin == Origin::Source {
                // Nor is more made of its short commands than its stream could carry.
                assert!(change("SETBIT far 34359738368 1").is_err());
            }
            bench.engine.clients.put_back(link);
            let lengths =
                ["STRLEN long", "STRLEN bits", "XLEN s"].map(|line| bench.ask(teller, line));
            assert_eq!(lengths, [":1048580", ":1048578", ":0"], "{origin:?}");
        }
    }

    /// `HSETEX … KEEPTTL` was read as HSET, which takes the time from the field: every replica and
    /// every restart from the append-only file lost it. And Redis 8 writes HINCRBYFLOAT so.
    #[test]
    fn a_field_that_keeps_its_time_keeps_it_in_a_stream() {
        for origin in [Origin::Primary, Origin::Source] {
            let mut bench = Bench::new(&[]);
            let teller = bench.client();
            bench.ask(teller, "HSET h f 1 g 1");
            bench.ask(teller, "HPEXPIREAT h 4102444800123 FIELDS 1 f");
            let link = bench.client();
            let link = bench.id(link);
            let mut link = bench.engine.clients.take(link).expect("it was just made");
            for line in ["HSETEX h KEEPTTL FIELDS 2 f 2 g 2", "HSETEX h FIELDS 1 new 3"] {
                let args = OwnedArgs::from_parts(line.split(' ').map(str::as_bytes));
                bench.engine.take_command(&mut link, args.args(), origin).expect("any stream's");
            }
            bench.engine.clients.put_back(link);
            let values = bench.ask(teller, "HMGET h f g new");
            assert_eq!(values, "*3 $1 2 $1 2 $1 3", "{origin:?}");
            let times = bench.ask(teller, "HPEXPIRETIME h FIELDS 3 f g new");
            assert_eq!(times, "*3 :4102444800123 :-1 :-1", "{origin:?}");
        }
    }
}
