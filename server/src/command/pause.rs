//! CLIENT PAUSE and CLIENT UNPAUSE, with the meaning that they have in Valkey: a pause of writes
//! holds what writes or may be replicated, and suspends expiry and eviction; replicas are never
//! paused. A later pause only lengthens and only tightens.

use super::Handled;
use crate::engine::Context;
use crate::handover::PauseKind;
use crate::resp::{errors, num};

/// `CLIENT PAUSE timeout-ms [WRITE|ALL]`.
pub fn pause(cx: &mut Context<'_>) -> Handled {
    let kind = match cx.args.len() {
        3 => PauseKind::All,
        4 if cx.args.is(3, "write") => PauseKind::Write,
        4 if cx.args.is(3, "all") => PauseKind::All,
        _ => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".into()),
    };
    let timeout_ms = num::parse_i64(cx.args.at(2)).ok_or(errors::TIMEOUT)?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| errors::TIMEOUT_NEGATIVE)?;
    let until_us = cx.engine.now.mono_us.saturating_add(timeout_ms.saturating_mul(1000));
    cx.engine.user_pause(kind, until_us);
    cx.reply().ok();
    Ok(())
}

/// `CLIENT UNPAUSE`.
pub fn unpause(cx: &mut Context<'_>) -> Handled {
    cx.engine.user_unpause();
    cx.reply().ok();
    Ok(())
}
