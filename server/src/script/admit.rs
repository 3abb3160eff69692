//! What a script may do: whether it may begin, and whether it may run a command. Pure.

use super::flags::ScriptFlags;
use crate::command::{Command, Flags};
use crate::resp::{CommandError, errors};

/// How the node stands when a script begins or runs a command.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Situation {
    /// Writes of clients are refused here.
    pub read_only_replica: bool,
    /// The data may be out of date, and `replica-serve-stale-data` is no.
    pub stale: bool,
    /// More memory is used than `maxmemory` allows.
    pub out_of_memory: bool,
    /// Why writes are refused now (NOREPLICAS, MISCONF).
    pub writes_refused: Option<CommandError>,
    /// The script came by the primary's stream: nothing is refused.
    pub obey: bool,
}

/// What a running script may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    pub read_only: bool,
    pub allow_oom: bool,
}

const RO_COMMAND: &str = "ERR Can not execute a script with write flag using *_ro command.";

/// Whether a script with these flags may begin; `ro` is for `EVAL_RO` and its kin.
pub fn may_begin(
    flags: ScriptFlags,
    ro: bool,
    situation: &Situation,
) -> Result<Rights, CommandError> {
    let no_writes = flags.has(ScriptFlags::NO_WRITES);
    if flags.has(ScriptFlags::COMPATIBLE) {
        if situation.stale {
            return Err(errors::MASTER_DOWN.into());
        }
        return Ok(Rights { read_only: ro, allow_oom: situation.obey });
    }
    if situation.stale && !flags.has(ScriptFlags::ALLOW_STALE) {
        return Err(errors::MASTER_DOWN.into());
    }
    let allow_oom = situation.obey || flags.has(ScriptFlags::ALLOW_OOM);
    if situation.out_of_memory && !allow_oom && !no_writes {
        return Err(errors::OOM.into());
    }
    if !no_writes {
        if situation.read_only_replica && !situation.obey {
            return Err(errors::READ_ONLY.into());
        }
        if let Some(error) = situation.writes_refused.as_ref().filter(|_| !situation.obey) {
            return Err(error.clone());
        }
        if ro {
            return Err(RO_COMMAND.into());
        }
    }
    Ok(Rights { read_only: ro || no_writes, allow_oom })
}

/// Whether a running script may run `row`. `wrote`: it has begun to write, and cannot be stopped in
/// the middle for want of memory, disk or replicas.
pub fn may_run(
    row: &Command,
    rights: Rights,
    wrote: bool,
    situation: &Situation,
) -> Result<(), CommandError> {
    let writes = row.is(Flags::WRITE);
    if situation.out_of_memory && row.is(Flags::DENYOOM) && !rights.allow_oom && !wrote {
        return Err(errors::OOM.into());
    }
    // No pause of writes holds such a script, so that nothing of it may enter the stream.
    let feeds_stream = Flags::WRITE | Flags::MAY_REPLICATE | Flags::SHARED | Flags::FEEDS_STREAM;
    if rights.read_only && row.is(feeds_stream) {
        return Err("ERR Write commands are not allowed from read-only scripts.".into());
    }
    if writes && !wrote && !situation.obey {
        if let Some(error) = &situation.writes_refused {
            return Err(error.clone());
        }
        if situation.read_only_replica {
            return Err(errors::READ_ONLY.into());
        }
    }
    if situation.stale && !row.is(Flags::STALE) {
        return Err("ERR Can not execute the command on a stale replica".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;

    const PLAIN: ScriptFlags = ScriptFlags::COMPATIBLE;
    const FLAGGED: ScriptFlags = ScriptFlags(0);

    #[test]
    fn beginning() {
        let check = |flags, ro, situation: &Situation, expect: Result<(bool, bool), &str>| {
            let found = may_begin(flags, ro, situation).map(|r| (r.read_only, r.allow_oom));
            assert_eq!(found.map_err(|e| e.0), expect.map_err(Into::into), "{flags:?} {ro}");
        };
        let calm = Situation::default();
        let replica = Situation { read_only_replica: true, ..calm.clone() };
        let full = Situation { out_of_memory: true, ..calm.clone() };
        let stale = Situation { stale: true, ..calm.clone() };
        let obeying = Situation { obey: true, ..replica.clone() };
        let no_writes = ScriptFlags::NO_WRITES;
        check(PLAIN, false, &calm, Ok((false, false)));
        check(PLAIN, true, &calm, Ok((true, false)));
        check(PLAIN, false, &replica, Ok((false, false)));
        check(PLAIN, false, &full, Ok((false, false)));
        check(PLAIN, false, &stale, Err(errors::MASTER_DOWN));
        check(FLAGGED, false, &calm, Ok((false, false)));
        check(FLAGGED, true, &calm, Err(RO_COMMAND));
        check(FLAGGED, false, &replica, Err(errors::READ_ONLY));
        check(FLAGGED, false, &obeying, Ok((false, true)));
        check(FLAGGED, false, &full, Err(errors::OOM));
        check(FLAGGED, false, &stale, Err(errors::MASTER_DOWN));
        check(ScriptFlags::ALLOW_OOM, false, &full, Ok((false, true)));
        check(ScriptFlags::ALLOW_STALE, false, &stale, Ok((false, false)));
        check(no_writes, false, &full, Ok((true, false)));
        check(no_writes, true, &replica, Ok((true, false)));
    }

    #[test]
    fn commands_of_a_running_script() {
        let row = |name: &str| lookup(name.as_bytes()).expect("a command");
        let check = |name, rights: Rights, wrote, situation: &Situation, expect: &str| {
            let found = may_run(row(name), rights, wrote, situation).err().map(|e| e.0);
            let found = found.unwrap_or_default();
            assert!(found.starts_with(expect), "{name} {rights:?} {wrote}: {found}");
            assert_eq!(found.is_empty(), expect.is_empty(), "{name} {rights:?} {wrote}: {found}");
        };
        let calm = Situation::default();
        let replica = Situation { read_only_replica: true, ..calm.clone() };
        let full = Situation { out_of_memory: true, ..calm.clone() };
        let stale = Situation { stale: true, ..calm.clone() };
        let alone = Situation { writes_refused: Some(errors::NO_REPLICAS.into()), ..calm.clone() };
        let all = Rights::default();
        let reader = Rights { read_only: true, ..all };
        let greedy = Rights { allow_oom: true, ..all };
        check("set", all, false, &calm, "");
        check("set", reader, false, &calm, "ERR Write commands");
        check("publish", reader, false, &calm, "ERR Write commands");
        check("get", reader, false, &calm, "");
        check("set", all, false, &replica, "READONLY");
        check("set", all, true, &replica, "");
        check("get", all, false, &replica, "");
        check("set", all, false, &full, "OOM");
        check("set", all, true, &full, "");
        check("set", greedy, false, &full, "");
        check("del", all, false, &full, "");
        check("get", all, false, &stale, "ERR Can not execute");
        check("publish", all, false, &stale, "");
        check("set", all, false, &alone, "NOREPLICAS");
        check("set", all, true, &alone, "");
    }
}
