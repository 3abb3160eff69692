//! Lua scripts and functions.
//!
//! ```text
//! command/scripting  rows, arguments, replies
//!    │
//! run        one run on the engine: scope, dispatch of `redis.call`, effects
//!    ├ admit        what a script may do (pure)
//!    ├ lend         the engine and the client of the run, for what Lua calls
//!    ├ interpreter  Lua with its sandbox: compile, call, interrupt
//!    │    ├ sandbox.lua  proxies of shared tables, catching, compiling
//!    │    ├ bridge       into a script, and out of it by redis.call
//!    │    │    └ convert, stack  values and replies, on Lua's own stack
//!    │    ├ api          redis.* and server.*
//!    │    └ lib          cjson, cmsgpack, struct, bit
//!    ├ cache        scripts by SHA-1
//!    └ library      functions by name
//! ```
//!
//! There are two interpreters, one for scripts and one for functions, made when first needed.
//! Compiled functions stay in them; a run adds nothing but the tables of keys and arguments. What a
//! script's commands change goes to the stream as one transaction of effects, never as the script.

// What Lua calls owns its arguments.
#![allow(clippy::needless_pass_by_value)]

mod admit;
mod api;
mod bridge;
pub mod cache;
mod convert;
pub mod flags;
pub mod interpreter;
mod lend;
mod lib;
pub mod library;
mod raised;
mod random;
mod register;
pub mod replicated;
pub mod run;
pub mod sha1;
mod stack;
mod state;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use crate::command::{Command, Group};
use crate::engine::busy::Served;
use crate::resp::{Args, OwnedArgs, errors};

use cache::Cache;
use flags::ScriptFlags;
use interpreter::{Interpreter, Kind, Setup};
use library::Libraries;

/// A script that others are being served in between of.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Running {
    /// The script's SHA-1, or the function's name.
    pub name: String,
    pub command: Rc<OwnedArgs>,
    pub functions: bool,
    pub wrote: bool,
    pub from_primary: bool,
    pub duration_ms: u64,
    /// Who is being served meanwhile.
    pub served: Served,
    /// Somebody asked to end it.
    pub kill: bool,
}

impl Running {
    /// What everybody else is told meanwhile.
    pub fn busy_text(&self) -> &'static str {
        if self.functions { errors::BUSY_FUNCTION } else { errors::BUSY_SCRIPT }
    }
}

/// State of the room.
#[derive(Debug, Default)]
pub struct Scripts {
    pub cache: Cache,
    pub libraries: Libraries,
    eval: Option<Rc<Interpreter>>,
    fcall: Option<Rc<Interpreter>>,
    /// Present only while a long script lets others have a turn.
    pub running: Option<Running>,
}

impl Scripts {
    /// The interpreter for `setup.kind`, made on its first use.
    pub fn interpreter(&mut self, setup: Setup) -> Result<Rc<Interpreter>, String> {
        let slot = match setup.kind {
            Kind::Scripts => &mut self.eval,
            Kind::Functions => &mut self.fcall,
        };
        match slot {
            Some(interpreter) if setup.kind == Kind::Functions || interpreter.suits(setup) => {
                return Ok(Rc::clone(interpreter));
            }
            // `lua-enable-insecure-api` has changed.
            Some(_) => self.cache.forget_compiled(),
            None => {}
        }
        let made = Interpreter::new(setup).map_err(|error| format!("ERR Lua: {error}"))?;
        Ok(Rc::clone(slot.insert(Rc::new(made))))
    }

    /// What the script that a command runs declares of itself, which holds in place of what the
    /// command's row says; none for other commands, unknown scripts and those without a first line.
    pub fn declared(&self, row: &Command, args: Args<'_>) -> Option<ScriptFlags> {
        if row.group != Group::Scripting {
            return None;
        }
        let word = args.get(1)?;
        let flags = match row.name {
            "eval" | "eval_ro" => flags::of_script(word).ok()?.0,
            "evalsha" | "evalsha_ro" => self.cache.get(&sha1::parse(word)?)?.flags,
            "fcall" | "fcall_ro" => self.libraries.find(word)?.flags,
            _ => return None,
        };
        (!flags.has(ScriptFlags::COMPATIBLE)).then_some(flags)
    }

    /// SCRIPT FLUSH: the scripts and the interpreter that they were compiled in.
    pub fn flush_scripts(&mut self) {
        self.cache.clear();
        self.eval = None;
    }

    /// FUNCTION FLUSH.
    pub fn flush_functions(&mut self) {
        self.libraries = Libraries::default();
        self.fcall = None;
    }

    /// Bytes that the interpreters hold, for scripts and for functions.
    pub fn interpreter_bytes(&self) -> (usize, usize) {
        let bytes = |slot: &Option<Rc<Interpreter>>| slot.as_ref().map_or(0, |i| i.memory());
        (bytes(&self.eval), bytes(&self.fcall))
    }
}
