//! Errors between Rust and Lua.
//!
//! A function of ours raises a [`Raised`]; what a script catches of it (through the sandbox's
//! `pcall`) is what Valkey's C functions would have raised: a string with the position in front, or
//! a table with the field `err`.

use std::sync::Arc;

use mlua::{Error, Lua, Value};

/// What a function of ours raises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Raised {
    /// A Lua error as `luaL_error` raises it, with its position.
    #[error("{0}")]
    Text(String),
    /// An error reply; the script sees the table `{err = …}`. `counted`: the command that failed
    /// has been counted as an error already.
    #[error("{text}")]
    Reply { text: String, counted: bool },
    /// The script was ended from outside: nothing in it may catch this.
    #[error("{0}")]
    Killed(String),
}

/// Where the code runs that called the present function, as Lua prints it before a message.
pub fn position(lua: &Lua, level: usize) -> String {
    lua.inspect_stack(level, |frame| {
        let line = frame.current_line()?;
        let source = frame.source().short_src?.into_owned();
        Some(format!("{source}:{line}: "))
    })
    .flatten()
    .unwrap_or_default()
}

/// A Lua error with the position of the caller.
pub fn fail(lua: &Lua, text: &str) -> Error {
    Error::external(Raised::Text(format!("{}{text}", position(lua, 1))))
}

/// An error reply, `ERR` in front unless `text` begins with `-CODE`.
pub fn reply(text: &str) -> Error {
    Error::external(Raised::Reply { text: with_code(text), counted: false })
}

/// The text of an error reply, without its dash.
pub fn with_code(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.contains(' ') => rest.trim_end_matches(['\r', '\n']).to_owned(),
        Some(rest) => format!("ERR {rest}"),
        None => format!("ERR {}", text.trim_matches(['\r', '\n'])),
    }
}

/// Finds what was raised inside the wrappings of callbacks.
pub fn find(error: &Error) -> Raised {
    match error {
        Error::CallbackError { cause, .. }
        | Error::WithContext { cause, .. }
        | Error::BadArgument { cause, .. } => find(cause),
        Error::ExternalError(cause) => match cause.downcast_ref::<Raised>() {
            Some(raised) => raised.clone(),
            None => Raised::Text(cause.to_string()),
        },
        Error::MemoryError(_) => Raised::Text("not enough memory".into()),
        Error::RuntimeError(text) | Error::SyntaxError { message: text, .. } => {
            Raised::Text(first_line(text).to_owned())
        }
        other => Raised::Text(first_line(&other.to_string()).to_owned()),
    }
}

/// Errors that crossed a call from Rust carry a traceback.
fn first_line(text: &str) -> &str {
    text.split("\nstack traceback:").next().unwrap_or(text)
}

/// The Lua value that a script sees of an error; `Err` is one that it must not catch.
pub fn visible(lua: &Lua, error: &Error) -> mlua::Result<Value> {
    match find(error) {
        Raised::Text(text) => Ok(Value::String(lua.create_string(text)?)),
        Raised::Reply { text, counted } => {
            let table = lua.create_table()?;
            table.raw_set("err", text)?;
            if counted {
                table.raw_set("ignore_error_stats_update", true)?;
            }
            Ok(Value::Table(table))
        }
        killed @ Raised::Killed(_) => Err(Error::ExternalError(Arc::new(killed))),
    }
}

#[cfg(test)]
mod tests {
    use super::with_code;

    #[test]
    fn codes_of_error_replies() {
        let check = |text: &str, expect: &str| assert_eq!(with_code(text), expect);
        check("some text", "ERR some text");
        check("-CODE some text", "CODE some text");
        check("-NOSPACE", "ERR NOSPACE");
        check("-OOM too much\r\n", "OOM too much");
    }
}
