//! One Lua interpreter with its sandbox: compiled functions go in, results or errors come out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::chunk::ChunkMode;
use mlua::{
    Error, Function, HookTriggers, Lua, LuaOptions, LuaString, StdLib, Table, Value, VmState,
};

use super::bridge::{Entry, Job};
use super::raised::{self, Raised, reply};
use super::state::{Registered, Request, Shared};
use super::{api, lib};
use crate::resp::{Args, Proto};

/// Instructions between two looks at the clock. Some call for much work: with ten times as many a
/// node on a loaded machine answered its operator once a second, which took it for lost.
const HOOK_INSTRUCTIONS: u32 = 10_000;
/// Runs between two steps of the garbage collector.
const GC_RUNS: u32 = 50;
/// Quantifiers and captures in a pattern: matching recurses in C once for each.
const PATTERN_ITEMS_MAX: usize = 2000;

/// For which commands an interpreter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// EVAL and its kin.
    Scripts,
    /// FUNCTION and FCALL.
    Functions,
}

/// What the start of an interpreter depends on.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub kind: Kind,
    /// Bytes; 0 is unbounded.
    pub memory_limit: usize,
    /// `lua-enable-insecure-api`.
    pub insecure: bool,
}

/// How a run failed.
#[derive(Debug, Default)]
pub struct Failure {
    /// The text of the error reply.
    pub text: String,
    /// A command that failed has counted it as an error already.
    pub counted: bool,
    /// It failed before or after the script.
    pub outside: bool,
}

/// A compiled function, which its interpreter keeps under a number until this is dropped.
#[derive(Debug)]
pub struct Kept {
    number: usize,
    free: Rc<RefCell<Vec<usize>>>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.free.borrow_mut().push(self.number);
    }
}

#[derive(Debug)]
pub struct Interpreter {
    /// Stands first: it is dropped before what its functions point to.
    lua: Lua,
    pub shared: Rc<Shared>,
    setup: Setup,
    entry: Entry,
    load_library: Function,
    /// The functions of [`Kept`], by their numbers.
    kept: Table,
    free: Rc<RefCell<Vec<usize>>>,
    runs: Cell<u32>,
    /// The name of chunks; the parser holds it by nothing (CVE-2025-49844).
    _chunk_name: LuaString,
}

impl Kind {
    fn chunk_name(self) -> &'static str {
        match self {
            Kind::Scripts => "@user_script",
            Kind::Functions => "@user_function",
        }
    }
}

impl Interpreter {
    pub fn new(setup: Setup) -> mlua::Result<Self> {
        // Coroutines are part of Lua 5.1's base library, which is always there.
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(libraries, LuaOptions::new())?;
        let shared = Rc::new(Shared::default());
        shared.functions.set(setup.kind == Kind::Functions);
        let real = lua.globals();
        lib::install(&lua, &real, setup.memory_limit)?;
        let functions = setup.kind == Kind::Functions;
        real.raw_set("server", api::server_table(&lua, &shared, functions)?)?;
        api::replace_random(&lua, &shared, &real.raw_get("math")?)?;
        let native = native(&lua, &shared, setup.insecure)?;
        let sandbox = lua.load(include_str!("sandbox.lua")).set_name("=sandbox");
        let (globals, calls): (Table, Table) = sandbox.call((native, real.clone(), functions))?;
        let kept = lua.create_table()?;
        let entry = Entry::new(&lua, &shared, (&calls.raw_get("handler")?, &real, &kept))?;
        lua.set_globals(globals)?;
        if setup.memory_limit > 0 {
            lua.set_memory_limit(lua.used_memory() + setup.memory_limit)?;
        }
        let hook = Rc::clone(&shared);
        let triggers = HookTriggers::new().every_nth_instruction(HOOK_INSTRUCTIONS);
        // Coroutines inherit it.
        lua.set_global_hook(triggers, move |_, _| interrupt(&hook))?;
        Ok(Self {
            shared,
            setup,
            entry,
            load_library: calls.raw_get("load_library")?,
            kept,
            free: Rc::default(),
            runs: Cell::new(0),
            _chunk_name: lua.create_string(setup.kind.chunk_name())?,
            lua,
        })
    }

    /// Compiles a script; the error is Lua's message.
    pub fn compile(&self, code: &[u8]) -> Result<Kept, String> {
        let kept = self.function(code).and_then(|function| self.keep(function));
        kept.map_err(|error| raised::find(&error).to_string())
    }

    fn function(&self, code: &[u8]) -> mlua::Result<Function> {
        let chunk = self.lua.load(code).set_name(self.setup.kind.chunk_name());
        chunk.set_mode(ChunkMode::Text).into_function()
    }

    /// Whether it was made for what is wanted now.
    pub fn suits(&self, setup: Setup) -> bool {
        self.setup.insecure == setup.insecure
    }

    /// Keeps a function, in the place of one that is no longer kept where there is one.
    pub fn keep(&self, function: Function) -> mlua::Result<Kept> {
        let mut free = self.free.borrow_mut();
        let number = free.last().copied().unwrap_or_else(|| self.kept.raw_len() + 1);
        self.kept.raw_set(number, function)?;
        free.pop();
        Ok(Kept { number, free: Rc::clone(&self.free) })
    }

    /// Runs a script, which finds keys and arguments in globals, or a function, which gets them,
    /// while `host` answers what it asks. The reply lies in `shared.result`.
    pub fn call(
        &self,
        function: &Kept,
        (args, keys): (Args<'_>, usize),
        proto: Proto,
        host: &mut impl FnMut(),
    ) -> Result<(), Failure> {
        let mut result = self.shared.result.borrow_mut();
        result.clear();
        let (out, function) = (&mut *result, function.number);
        let mut job = Job { function, args, keys, proto, out, ended: false };
        let outcome = self.shared.host.during(host, || self.entry.run(&self.lua, &mut job));
        self.collect_sometimes(outcome.as_ref().is_err_and(|failure| failure.outside));
        outcome
    }

    /// Bounded work for the collector; all of it after memory ran out.
    fn collect_sometimes(&self, all: bool) {
        let runs = self.runs.get() + 1;
        self.runs.set(runs % GC_RUNS);
        if runs < GC_RUNS && !all {
            return;
        }
        // A script may have stopped it; what fails here is repeated after the next runs.
        self.lua.gc_restart();
        let _ = if all { self.lua.gc_collect() } else { self.lua.gc_step().map(drop) };
    }

    /// Runs a library's code; the functions that it registered, or why it was refused.
    pub fn load_library(&self, code: &[u8], timeout_ms: u64) -> Result<Vec<Registered>, String> {
        let function = self
            .function(code)
            .map_err(|error| format!("ERR Error compiling function: {}", raised::find(&error)))?;
        self.shared.begin(0);
        self.shared.load_ms.set(timeout_ms);
        *self.shared.loading.borrow_mut() = Some(Vec::new());
        let result: mlua::Result<(bool, Value)> = self.load_library.call(function);
        let functions = self.shared.loading.borrow_mut().take().unwrap_or_default();
        self.shared.killed.set(false);
        let text = match result {
            Ok((true, _)) => return Ok(functions),
            Ok((false, value)) => raised_text(&value),
            Err(error) => format!("ERR Error running script, {:.100}", raised::find(&error)),
        };
        Err(format!("ERR Error registering functions: {text}"))
    }

    /// Bytes that the interpreter holds.
    pub fn memory(&self) -> usize {
        self.lua.used_memory()
    }
}

/// The text of what a library's code raised.
fn raised_text(value: &Value) -> String {
    match value {
        Value::String(text) => format!("ERR {}", text.to_string_lossy()),
        Value::Table(table) => match table.raw_get::<LuaString>("err") {
            Ok(text) => text.to_string_lossy(),
            Err(_) => "ERR unknown error".into(),
        },
        _ => "ERR execution failure".into(),
    }
}

/// The functions that the sandbox is built with.
fn native(lua: &Lua, shared: &Rc<Shared>, insecure: bool) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let state = Rc::clone(shared);
    let visible = move |lua: &Lua, value: Value| {
        if state.killed.get() {
            return Err(killed(&state));
        }
        match value {
            Value::Error(error) => raised::visible(lua, &error),
            other => Ok(other),
        }
    };
    table.raw_set("visible", lua.create_function(visible)?)?;
    let state = Rc::clone(shared);
    let last = move |lua: &Lua, value: Value| {
        let error = match value {
            _ if state.killed.get() => killed(&state),
            Value::Error(error) => *error,
            other => return Ok(other),
        };
        match raised::find(&error) {
            Raised::Killed(text) => raised::visible(lua, &reply(&text)),
            _ => raised::visible(lua, &error),
        }
    };
    table.raw_set("final", lua.create_function(last)?)?;
    table.raw_set("where", lua.create_function(|lua, ()| Ok(place(lua)))?)?;
    let too_complex = |_: &Lua, pattern: LuaString| {
        let items = pattern.as_bytes().iter().filter(|byte| b"?*+-()".contains(byte)).count();
        Ok(items > PATTERN_ITEMS_MAX)
    };
    table.raw_set("too_complex", lua.create_function(too_complex)?)?;
    table.raw_set("library_api", api::library_table(lua, shared)?)?;
    table.raw_set("insecure", insecure)?;
    Ok(table)
}

/// The source and line of the innermost frame of a script, seen from its error handler.
fn place(lua: &Lua) -> (Option<String>, Option<usize>) {
    for level in 2.. {
        let frame = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let ours = source.what == "C"
                || frame.current_line().is_none()
                || source.short_src.as_deref() == Some("sandbox");
            let name = source.source.map(std::borrow::Cow::into_owned);
            (!ours).then(|| (name, frame.current_line()))
        });
        match frame {
            None => break,
            Some(Some(found)) => return found,
            Some(None) => {}
        }
    }
    (None, None)
}

fn killed(shared: &Shared) -> Error {
    let text = if shared.loading.try_borrow().is_ok_and(|loading| loading.is_some()) {
        "FUNCTION LOAD timeout"
    } else if shared.functions.get() {
        "Script killed by user with FUNCTION KILL."
    } else {
        "Script killed by user with SCRIPT KILL."
    };
    Error::external(Raised::Killed(text.into()))
}

/// Called by Lua every so many instructions.
fn interrupt(shared: &Rc<Shared>) -> mlua::Result<VmState> {
    if shared.loading.try_borrow().is_ok_and(|loading| loading.is_some()) {
        let limit_ms = shared.load_ms.get();
        if limit_ms > 0 && shared.elapsed_ms() > limit_ms {
            shared.killed.set(true);
        }
    } else if let Some(served) = shared.served() {
        shared.request.set(Request::Busy(served));
        let _ = shared.host.ask();
    }
    if shared.killed.get() { Err(killed(shared)) } else { Ok(VmState::Continue) }
}
