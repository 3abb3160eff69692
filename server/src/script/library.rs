//! Libraries of functions: what FUNCTION LOAD made, by name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use super::flags::{ScriptFlags, words};
use super::interpreter::{Interpreter, Kept};
use super::state::Registered;

/// A function of a library.
#[derive(Debug)]
pub struct Callable {
    pub name: String,
    pub description: Option<Vec<u8>>,
    pub function: Kept,
    pub flags: ScriptFlags,
}

#[derive(Clone, Debug)]
pub struct Library {
    /// The whole text, as it was loaded.
    pub code: Rc<[u8]>,
    pub functions: Vec<Rc<Callable>>,
}

#[derive(Clone, Debug, Default)]
pub struct Libraries {
    libraries: BTreeMap<String, Library>,
    /// Names of functions in lower case, with the library and the place in it.
    functions: HashMap<Vec<u8>, (String, usize)>,
}

/// What FUNCTION RESTORE does about what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Flush,
    Append,
    Replace,
}

impl Libraries {
    /// The function of this name, in any case.
    pub fn find(&self, name: &[u8]) -> Option<&Rc<Callable>> {
        let (library, at) = self.functions.get(&name.to_ascii_lowercase())?;
        self.libraries.get(library)?.functions.get(*at)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Library)> {
        self.libraries.iter().map(|(name, library)| (name.as_str(), library))
    }

    /// How many libraries and functions there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.libraries.len(), self.functions.len())
    }

    /// Bytes of all texts.
    pub fn bytes(&self) -> usize {
        self.libraries.values().map(|library| library.code.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.libraries.is_empty()
    }

    /// Takes a library away; false if there is none of this name.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let name = String::from_utf8_lossy(name);
        let removed = self.libraries.remove(name.as_ref()).is_some();
        self.functions.retain(|_, (library, _)| *library != name);
        removed
    }

    /// FUNCTION LOAD: the library's name, or the error's text.
    pub fn load(
        &mut self,
        interpreter: &Interpreter,
        text: &[u8],
        replace: bool,
        timeout_ms: u64,
    ) -> Result<String, String> {
        let (name, code) = head(text)?;
        if self.libraries.contains_key(&name) && !replace {
            return Err(format!("ERR Library '{name}' already exists"));
        }
        let functions = named(interpreter, interpreter.load_library(code, timeout_ms)?)?;
        if functions.is_empty() {
            return Err("ERR No functions registered".into());
        }
        let library = Library { code: Rc::from(text), functions };
        self.check_names(&name, &library)?;
        self.put(name.clone(), library);
        Ok(name)
    }

    /// A function's name belongs to one library only.
    fn check_names(&self, name: &str, library: &Library) -> Result<(), String> {
        for function in &library.functions {
            let owner = self.functions.get(&function.name.as_bytes().to_ascii_lowercase());
            if owner.is_some_and(|(owner, _)| owner != name) {
                return Err(format!("ERR Function {} already exists", function.name));
            }
        }
        Ok(())
    }

    fn put(&mut self, name: String, library: Library) {
        self.remove(name.as_bytes());
        for (at, function) in library.functions.iter().enumerate() {
            let key = function.name.as_bytes().to_ascii_lowercase();
            self.functions.insert(key, (name.clone(), at));
        }
        self.libraries.insert(name, library);
    }

    /// FUNCTION RESTORE: takes `others` in, all or none.
    pub fn join(&mut self, others: Libraries, policy: Policy) -> Result<(), String> {
        let mut joined = if policy == Policy::Flush { Self::default() } else { self.clone() };
        for name in others.libraries.keys() {
            if joined.libraries.contains_key(name) && policy == Policy::Append {
                return Err(format!("ERR Library {name} already exists"));
            }
            joined.remove(name.as_bytes());
        }
        for (name, library) in others.libraries {
            joined.check_names(&name, &library)?;
            joined.put(name, library);
        }
        *self = joined;
        Ok(())
    }
}

/// Whether a name may be one of a library or function.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// A library's name and code, from its first line `#!lua name=…`.
fn head(text: &[u8]) -> Result<(String, &[u8]), String> {
    if !text.starts_with(b"#!") {
        return Err("ERR Missing library metadata".into());
    }
    let end = text.iter().position(|byte| *byte == b'\n').ok_or("ERR Invalid library metadata")?;
    let words = words(&text[..end]);
    let (engine, options) = words.split_first().ok_or("ERR Invalid library metadata")?;
    let mut name = None;
    for option in options {
        if option.len() < 5 || !option[..5].eq_ignore_ascii_case(b"name=") {
            let option = String::from_utf8_lossy(option);
            return Err(format!("ERR Invalid metadata value given: {option}"));
        }
        if name.is_some() {
            return Err("ERR Invalid metadata value, name argument was given multiple times".into());
        }
        name = Some(&option[5..]);
    }
    let name = name.ok_or("ERR Library name was not given")?;
    if !is_name(name) {
        return Err(
            "ERR Library names can only contain letters, numbers, or underscores(_) and must \
                    be at least one character long"
                .into(),
        );
    }
    let engine = String::from_utf8_lossy(engine.get(2..).unwrap_or_default());
    if !engine.eq_ignore_ascii_case("lua") {
        return Err(format!("ERR Engine '{engine}' not found"));
    }
    Ok((String::from_utf8_lossy(name).into_owned(), &text[end..]))
}

/// Checks the names that a library gave its functions.
fn named(
    interpreter: &Interpreter,
    registered: Vec<Registered>,
) -> Result<Vec<Rc<Callable>>, String> {
    let mut functions: Vec<Rc<Callable>> = Vec::with_capacity(registered.len());
    let mut names = HashSet::new();
    for Registered { name, description, function, flags } in registered {
        if !is_name(&name) {
            return Err(
                "ERR Function names can only contain letters, numbers, or underscores(_) and \
                        must be at least one character long"
                    .into(),
            );
        }
        let name = String::from_utf8_lossy(&name).into_owned();
        if !names.insert(name.clone()) {
            return Err("ERR Function already exists in the library".into());
        }
        let function = interpreter.keep(function).map_err(|error| format!("ERR Lua: {error}"))?;
        functions.push(Rc::new(Callable { name, description, function, flags }));
    }
    Ok(functions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_of_libraries() {
        let check = |text: &str, expect: Result<&str, &str>| {
            let found = head(text.as_bytes()).map(|(name, _)| name);
            assert_eq!(found, expect.map(Into::into).map_err(|e| format!("ERR {e}")), "{text}");
        };
        check("#!lua name=one\nreturn 1", Ok("one"));
        check("#!LUA NAME=one\n", Ok("one"));
        check("return 1", Err("Missing library metadata"));
        check("#!lua name=one", Err("Invalid library metadata"));
        check("#!lua\n", Err("Library name was not given"));
        check("#!lua foo=bar\n", Err("Invalid metadata value given: foo=bar"));
        check(
            "#!lua name=a name=b\n",
            Err("Invalid metadata value, name argument was given multiple times"),
        );
        check("#!bad name=one\n", Err("Engine 'bad' not found"));
    }
}
