//! One Lua interpreter with its sandbox: compiled functions go in, results or errors come out.

use std::rc::Rc;

use mlua::chunk::ChunkMode;
use mlua::{
    Error, Function, HookTriggers, Lua, LuaOptions, LuaString, StdLib, Table, Value, VmState,
};

use super::raised::{self, Raised, reply};
use super::state::{Registered, Request, Shared};
use super::{api, lib};

/// Instructions between two looks at the clock.
const HOOK_INSTRUCTIONS: u32 = 100_000;
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

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    Returned(Value),
    /// The text of the error reply; `counted` as an error of a command already.
    Failed {
        text: String,
        counted: bool,
    },
}

#[derive(Debug)]
pub struct Interpreter {
    pub lua: Lua,
    pub shared: Rc<Shared>,
    kind: Kind,
    globals: Table,
    run: Function,
    run_function: Function,
    load_library: Function,
    runs: std::cell::Cell<u32>,
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
        lib::install(&lua, &real)?;
        let functions = setup.kind == Kind::Functions;
        real.raw_set("server", api::server_table(&lua, &shared, functions)?)?;
        api::replace_random(&lua, &shared, &real.raw_get("math")?)?;
        let native = native(&lua, &shared, setup.insecure)?;
        let sandbox = lua.load(include_str!("sandbox.lua")).set_name("=sandbox");
        let (globals, calls): (Table, Table) = sandbox.call((native, real.clone(), functions))?;
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
            kind: setup.kind,
            globals: real,
            run: calls.raw_get("run")?,
            run_function: calls.raw_get("run_function")?,
            load_library: calls.raw_get("load_library")?,
            runs: std::cell::Cell::new(0),
            _chunk_name: lua.create_string(setup.kind.chunk_name())?,
            lua,
        })
    }

    /// Compiles a script or a library's code; the error is Lua's message.
    pub fn compile(&self, code: &[u8]) -> Result<Function, String> {
        let chunk = self.lua.load(code).set_name(self.kind.chunk_name());
        let compiled = chunk.set_mode(ChunkMode::Text).into_function();
        compiled.map_err(|error| raised::find(&error).to_string())
    }

    fn list<'a>(&self, items: impl Iterator<Item = &'a [u8]>) -> mlua::Result<Table> {
        let table = self.lua.create_table_with_capacity(items.size_hint().0, 0)?;
        for (index, item) in items.enumerate() {
            table.raw_set(index + 1, self.lua.create_string(item)?)?;
        }
        Ok(table)
    }

    /// Runs a script, which finds keys and arguments in globals, or a function, which gets them.
    pub fn call<'a>(
        &self,
        function: &Function,
        keys: impl Iterator<Item = &'a [u8]>,
        args: impl Iterator<Item = &'a [u8]>,
    ) -> Outcome {
        let result = self.call_inner(function, keys, args);
        self.collect_sometimes(result.is_err());
        match result {
            Ok((true, value)) => Outcome::Returned(value),
            Ok((false, value)) => failure(&value),
            Err(error) => not_run(&error),
        }
    }

    fn call_inner<'a>(
        &self,
        function: &Function,
        keys: impl Iterator<Item = &'a [u8]>,
        args: impl Iterator<Item = &'a [u8]>,
    ) -> mlua::Result<(bool, Value)> {
        let (keys, args) = (self.list(keys)?, self.list(args)?);
        if self.kind == Kind::Functions {
            return self.run_function.call((function, keys, args));
        }
        self.globals.raw_set("KEYS", keys)?;
        self.globals.raw_set("ARGV", args)?;
        self.run.call(function)
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
        let function =
            self.compile(code).map_err(|text| format!("ERR Error compiling function: {text}"))?;
        self.shared.begin(0);
        self.shared.load_ms.set(timeout_ms);
        *self.shared.loading.borrow_mut() = Some(Vec::new());
        let result: mlua::Result<(bool, Value)> = self.load_library.call(function);
        let functions = self.shared.loading.borrow_mut().take().unwrap_or_default();
        self.shared.killed.set(false);
        let failed = match result {
            Ok((true, _)) => return Ok(functions),
            Ok((false, value)) => failure(&value),
            Err(error) => not_run(&error),
        };
        let Outcome::Failed { text, .. } = failed else { unreachable!("only failures are left") };
        Err(format!("ERR Error registering functions: {text}"))
    }

    /// Bytes that the interpreter holds.
    pub fn memory(&self) -> usize {
        self.lua.used_memory()
    }
}

/// An error of the call itself, which happens when memory or the stack ran out.
fn not_run(error: &Error) -> Outcome {
    let text = format!("ERR Error running script, {:.100}", raised::find(error).to_string());
    Outcome::Failed { text, counted: false }
}

/// What the error handler made of an error.
fn failure(value: &Value) -> Outcome {
    let Value::Table(table) = value else {
        let text = match value {
            Value::String(text) => format!("ERR {}", text.to_string_lossy()),
            _ => "ERR execution failure".into(),
        };
        return Outcome::Failed { text, counted: false };
    };
    let text = |name: &str| {
        let value = table.raw_get::<Value>(name).ok()?;
        match value {
            Value::String(text) => Some(text.to_string_lossy()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Number(number) => Some(crate::resp::num::format_f64(number)),
            _ => None,
        }
    };
    let message = text("err").unwrap_or_else(|| "ERR unknown error".into());
    let counted =
        matches!(table.raw_get::<Value>("ignore_error_stats_update"), Ok(Value::Boolean(true)));
    let text = match (text("source"), text("line")) {
        (Some(source), Some(line)) => format!("{message} script: on {source}:{line}."),
        _ => message,
    };
    Outcome::Failed { text, counted }
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
    } else if shared.threshold_ms.get() > 0 && shared.elapsed_ms() >= shared.threshold_ms.get() {
        let dispatch = shared.dispatch.borrow();
        if let Some(dispatch) = dispatch.as_ref() {
            shared.request.set(Request::Busy);
            dispatch.call::<()>(())?;
        }
    }
    if shared.killed.get() { Err(killed(shared)) } else { Ok(VmState::Continue) }
}
