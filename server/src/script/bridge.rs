//! The two crossings of every run: into a script, and out of it by `redis.call`.
//!
//! Functions of C's kind, which Lua calls without a step in between; see `stack` for the reason and
//! the rules. They find [`Shared`] by an address that lies in them, which is good as long as the
//! interpreter is: it drops Lua first.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::rc::Rc;

use mlua::{Function, Lua, Table, ffi};

use super::convert;
use super::interpreter::Failure;
use super::stack::{Found, Stack};
use super::state::{COMPOSED_MAX_BYTES, Request, Shared};
use crate::resp::num::format_f64;
use crate::resp::{Args, Proto, Reply, errors};

// What lies in the functions.
const SHARED: c_int = ffi::lua_upvalueindex(1);
const PUSH_REPLY: c_int = ffi::lua_upvalueindex(2);
const HANDLER: c_int = ffi::lua_upvalueindex(2);
const GLOBALS: c_int = ffi::lua_upvalueindex(3);
const KEPT: c_int = ffi::lua_upvalueindex(4);

/// Whole numbers below this print as integers.
const WHOLE: f64 = i64::MAX as f64;

/// One run: which of the kept functions, and on what.
pub struct Job<'a> {
    /// Its number among the kept ones.
    pub function: usize,
    /// From the third on, `keys` keys and then the script's arguments.
    pub args: Args<'a>,
    pub keys: usize,
    pub proto: Proto,
    /// Where the reply is written.
    pub out: &'a mut Vec<u8>,
    /// The script is over; what fails from here on is reading its result.
    pub ended: bool,
}

/// The way into scripts.
#[derive(Debug)]
pub struct Entry {
    state: *mut ffi::lua_State,
    /// Where Lua's registry holds `enter`.
    at: c_int,
}

/// `call`, `pcall` and `acl_check_cmd` of the table `redis`.
pub fn functions(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<[Function; 3]> {
    let shared = Rc::as_ptr(shared).cast_mut().cast::<c_void>();
    let make = |function: ffi::lua_CFunction| {
        // SAFETY: the closure owns nothing; it leaves one function on the stack.
        unsafe {
            lua.exec_raw::<Function>((), |state| {
                ffi::lua_pushlightuserdata(state, shared);
                ffi::lua_pushcclosure(state, push_reply, 0);
                ffi::lua_pushcclosure(state, function, 2);
            })
        }
    };
    Ok([make(call)?, make(pcall)?, make(acl_check)?])
}

impl Entry {
    /// `handler` sees errors, `globals` take KEYS and ARGV, `kept` has the functions by number.
    pub fn new(
        lua: &Lua,
        shared: &Rc<Shared>,
        (handler, globals, kept): (&Function, &Table, &Table),
    ) -> mlua::Result<Self> {
        let shared = Rc::as_ptr(shared).cast_mut().cast::<c_void>();
        let mut entry = Self { state: std::ptr::null_mut(), at: 0 };
        // SAFETY: the closure owns nothing; of its three arguments it makes a function that the
        // registry holds. Nothing runs yet, so that the state is Lua's first thread.
        unsafe {
            lua.exec_raw::<()>((handler, globals, kept), |state| {
                ffi::lua_pushlightuserdata(state, shared);
                ffi::lua_insert(state, 1);
                ffi::lua_pushcclosure(state, enter, 4);
                entry.at = ffi::luaL_ref(state, ffi::LUA_REGISTRYINDEX);
                entry.state = state;
            })?;
        }
        Ok(entry)
    }

    /// Runs a script; its reply lies in `job.out`. `lua` is the one that the entry was made for.
    pub fn run(&self, _lua: &Lua, job: &mut Job<'_>) -> Result<(), Failure> {
        let state = self.state;
        // SAFETY: the state lives as long as its `Lua`. Scripts do not nest, so that its first
        // thread is idle, with room for more than is pushed; all that may raise happens in `enter`.
        unsafe {
            let top = ffi::lua_gettop(state);
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, self.at.into());
            ffi::lua_pushlightuserdata(state, (&raw mut *job).cast());
            let status = ffi::lua_pcall(state, 1, ffi::LUA_MULTRET, 0);
            let results = (status == ffi::LUA_OK).then(|| ffi::lua_gettop(state) - top);
            let outcome = outcome(Stack::new(state), results, job.ended);
            ffi::lua_settop(state, top);
            outcome
        }
    }
}

/// What `enter` gave back: nothing, what was raised, or the four fields of that.
fn outcome(stack: Stack<'_>, results: Option<c_int>, ended: bool) -> Result<(), Failure> {
    let text = |index| match stack.at(index) {
        Found::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        Found::Number(number) => Some(format_f64(number)),
        _ => None,
    };
    let mut failure = Failure { outside: results.is_none(), ..Failure::default() };
    failure.text = match results {
        Some(0) => return Ok(()),
        None if ended => "ERR not enough memory to read the script's result".into(),
        None => {
            let why = text(-1).unwrap_or_else(|| "execution failure".into());
            format!("ERR Error running script, {why:.100}")
        }
        Some(4) => {
            failure.counted = stack.at(-1) == Found::Flag(true);
            let message = text(-4).unwrap_or_else(|| "ERR unknown error".into());
            match (text(-3), text(-2)) {
                (Some(source), Some(line)) => format!("{message} script: on {source}:{line}."),
                _ => message,
            }
        }
        Some(_) => match stack.at(-1) {
            Found::Text(text) => format!("ERR {}", String::from_utf8_lossy(text)),
            _ => "ERR execution failure".into(),
        },
    };
    Err(failure)
}

/// # Safety
/// Called by Lua, with a [`Job`]'s address, as a function that [`Entry::new`] made.
unsafe extern "C-unwind" fn enter(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: `Entry::run` holds the job while this runs, `Shared` outlives Lua, and nothing in
    // this frame must be dropped.
    unsafe {
        let stack = Stack::new(state);
        let job = &mut *ffi::lua_touserdata(state, 1).cast::<Job<'_>>();
        let shared = &*ffi::lua_touserdata(state, SHARED).cast::<Shared>();
        let args = job.args.tail(3);
        stack.copy(HANDLER);
        let status = if shared.functions.get() {
            stack.element(KEPT, job.function);
            push_list(stack, args, 0..job.keys);
            push_list(stack, args, job.keys..args.len());
            ffi::lua_pcall(state, 2, 1, 2)
        } else {
            stack.push(Found::Text(b"KEYS"));
            push_list(stack, args, 0..job.keys);
            stack.set(GLOBALS);
            stack.push(Found::Text(b"ARGV"));
            push_list(stack, args, job.keys..args.len());
            stack.set(GLOBALS);
            stack.element(KEPT, job.function);
            ffi::lua_pcall(state, 0, 1, 2)
        };
        // What the collector may still call of the script's must not disturb its result.
        shared.host.revoke();
        job.ended = true;
        if status == ffi::LUA_OK {
            shared.counted.set(convert::is_counted(stack));
            let mut reply = Reply::bounded(job.out, job.proto, shared.bound.get());
            convert::to_reply(stack, &mut reply, shared.resp3.get());
            return 0;
        }
        if stack.at(3) != Found::Table {
            return 1;
        }
        for name in ["err", "source", "line", "ignore_error_stats_update"] {
            stack.field(3, name);
        }
        4
    }
}

fn push_list(stack: Stack<'_>, args: Args<'_>, range: std::ops::Range<usize>) {
    stack.push_table(range.len(), 0);
    for (index, at) in range.enumerate() {
        stack.push(Found::Text(args.at(at)));
        stack.set_element(-2, index + 1);
    }
}

/// Composes a command from what a script passed. Raises nothing.
fn compose(stack: Stack<'_>, shared: &Shared) -> Result<(), &'static str> {
    let mut composed = shared.composed.borrow_mut();
    composed.clear();
    let count = stack.len();
    if count == 0 {
        return Err("ERR Please specify at least one argument for this call");
    }
    // Looked at before anything is copied: the same string may stand there any number of times.
    let len = |index| match stack.at(index) {
        Found::Text(text) => text.len(),
        _ => 0,
    };
    if (1..=count).map(len).sum::<usize>() > COMPOSED_MAX_BYTES {
        return Err(errors::TOO_LONG);
    }
    for index in 1..=count {
        let room = match stack.at(index) {
            Found::Text(text) => composed.push(text),
            Found::Number(number) if number.fract() == 0.0 && number.abs() < WHOLE => {
                composed.push(itoa::Buffer::new().format(number as i64).as_bytes())
            }
            Found::Number(number) if number.is_nan() => composed.push(b"nan"),
            Found::Number(number) => composed.push(format_f64(number).as_bytes()),
            _ => return Err("ERR Command arguments must be strings or integers"),
        };
        if !room {
            return Err(errors::TOO_LONG);
        }
    }
    Ok(())
}

/// Asks the engine about the command that the script passed. Raises nothing.
fn ask(stack: Stack<'_>, shared: &Shared, request: Request) -> Result<(), &'static str> {
    compose(stack, shared)?;
    shared.request.set(request);
    if shared.host.ask() { Ok(()) } else { Err("ERR no script is running") }
}

/// # Safety
/// Called by Lua as a function of [`functions`].
unsafe extern "C-unwind" fn call(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as the caller; nothing in this frame must be dropped.
    unsafe { if run_command(state) { ffi::lua_error(state) } else { 1 } }
}

/// # Safety
/// Called by Lua as a function of [`functions`].
unsafe extern "C-unwind" fn pcall(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as the caller.
    unsafe { run_command(state) };
    1
}

/// Runs the command and pushes its reply; true for an error reply.
///
/// # Safety
/// `state` runs a function of [`functions`].
unsafe fn run_command(state: *mut ffi::lua_State) -> bool {
    // SAFETY: `Shared` outlives Lua. The reply is this frame's own only during a protected call, so
    // that no jump passes it by, and a finalizer that runs a command meanwhile writes to another.
    unsafe {
        let stack = Stack::new(state);
        let shared = &*ffi::lua_touserdata(state, SHARED).cast::<Shared>();
        let asked = ask(stack, shared, Request::Call);
        stack.truncate(0);
        if let Err(text) = asked {
            convert::push_error(stack, text.as_bytes(), false);
            return true;
        }
        let bytes = shared.reply.take();
        let mut rest = bytes.as_slice();
        stack.copy(PUSH_REPLY);
        ffi::lua_pushlightuserdata(state, (&raw mut rest).cast());
        let status = ffi::lua_pcall(state, 1, 1, 0);
        let failed = bytes.first() == Some(&b'-');
        shared.reply.replace(bytes);
        if status == ffi::LUA_OK { failed } else { ffi::lua_error(state) }
    }
}

/// # Safety
/// Called by Lua from `run_command`, with the address of a slice that is held meanwhile.
unsafe extern "C-unwind" fn push_reply(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as the caller; nothing in this frame must be dropped.
    unsafe {
        let bytes = ffi::lua_touserdata(state, 1).cast::<&[u8]>();
        convert::push_reply(Stack::new(state), &mut *bytes);
    }
    1
}

/// # Safety
/// Called by Lua as a function of [`functions`].
unsafe extern "C-unwind" fn acl_check(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: `Shared` outlives Lua, and nothing in this frame must be dropped.
    unsafe {
        let stack = Stack::new(state);
        let shared = &*ffi::lua_touserdata(state, SHARED).cast::<Shared>();
        let asked = ask(stack, shared, Request::AclCheck);
        let answer = asked.map(|()| shared.reply.borrow().first().copied());
        stack.truncate(0);
        let why = match answer {
            Ok(Some(answer @ (b'0' | b'1'))) => {
                stack.push(Found::Flag(answer == b'1'));
                return 1;
            }
            Ok(_) => "ERR Invalid command passed to server.acl_check_cmd()",
            Err(why) => why,
        };
        convert::push_error(stack, why.as_bytes(), false);
        ffi::lua_error(state)
    }
}
