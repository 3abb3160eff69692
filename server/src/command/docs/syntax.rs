//! The syntax of commands, from a compact text to the tree that COMMAND DOCS shows.

/// One argument of a command.
///
/// Written as `name` or `TOKEN=name`, then its kind (`:int`, `:key`, …; a string without one),
/// `#N` for the key specification it belongs to, `'…'` for another text to display, `?` when
/// optional, `*` when repeatable, `+` when each repetition has its token, `@VERSION` since when,
/// `~VERSION` since when not to be used. `{a | b}` is a choice and `(a b)` a group. A `TOKEN`
/// alone stands for itself, with the name in lower case; `TOKEN=name:token` has another name.
/// Tokens that are not words in capitals stand in quotes.
#[derive(Debug, PartialEq, Eq)]
pub struct Argument {
    pub name: String,
    pub kind: Kind,
    pub token: Option<&'static str>,
    pub display: Option<&'static str>,
    pub key_spec: Option<i64>,
    pub since: Option<&'static str>,
    pub deprecated_since: Option<&'static str>,
    pub optional: bool,
    pub multiple: bool,
    pub multiple_token: bool,
    /// Of a choice or a group.
    pub arguments: Vec<Argument>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl Kind {
    /// As COMMAND DOCS names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }
}

impl Argument {
    /// As HELP prints it: `[COUNT <count>]`, `<key> [<key> ...]`, `(YES|NO)`.
    fn usage(&self) -> String {
        let inner = || self.arguments.iter().map(Self::usage).collect::<Vec<_>>();
        let is_enclosed = self.optional && !self.multiple && self.token.is_none();
        let value = match self.kind {
            Kind::PureToken => String::new(),
            Kind::OneOf if is_enclosed => inner().join("|"),
            Kind::OneOf => format!("({})", inner().join("|")),
            Kind::Block => inner().join(" "),
            _ => format!("<{}>", self.display.unwrap_or(&self.name)),
        };
        let one = match self.token {
            Some(token) if value.is_empty() => token.to_owned(),
            Some(token) => format!("{token} {value}"),
            None => value.clone(),
        };
        let again = if self.multiple_token { &one } else { &value };
        match (self.optional, self.multiple) {
            (false, false) => one,
            (false, true) => format!("{one} [{again} ...]"),
            (true, false) => format!("[{one}]"),
            (true, true) if *again == one => format!("[{one} ...]"),
            (true, true) => format!("[{one} [{again} ...]]"),
        }
    }
}

/// Arguments as HELP prints them.
pub fn usage(arguments: &[Argument]) -> String {
    arguments.iter().map(Argument::usage).collect::<Vec<_>>().join(" ")
}

/// Reads the arguments of a command.
pub fn parse(text: &'static str) -> Result<Vec<Argument>, String> {
    let mut reader = Reader { rest: text };
    let arguments = reader.arguments(None)?;
    if reader.rest.is_empty() { Ok(arguments) } else { Err(format!("not read: {}", reader.rest)) }
}

struct Reader {
    rest: &'static str,
}

impl Reader {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, prefix: char) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn while_in(&mut self, belongs: impl Fn(char) -> bool) -> &'static str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn until(&mut self, quote: char) -> Result<&'static str, String> {
        let (word, rest) = self.rest.split_once(quote).ok_or("a quote is not closed")?;
        self.rest = rest;
        Ok(word)
    }

    fn word(&mut self) -> &'static str {
        self.while_in(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    }

    /// Arguments up to the closing sign, with `|` between those of a choice.
    fn arguments(&mut self, close: Option<char>) -> Result<Vec<Argument>, String> {
        let mut found = Vec::new();
        loop {
            self.skip_blanks();
            if self.rest.is_empty() || close.is_some_and(|close| self.take(close)) {
                return Ok(found);
            }
            if close == Some('}') && self.take('|') {
                continue;
            }
            found.push(self.argument()?);
        }
    }

    fn argument(&mut self) -> Result<Argument, String> {
        let mut token = None;
        if self.take('"') {
            token = Some(self.until('"')?);
        } else if self.rest.starts_with(|c: char| c.is_ascii_uppercase()) {
            token = Some(self.word());
        }
        let mut kind = Kind::String;
        let name = match token {
            Some(token) if !self.take('=') => {
                kind = Kind::PureToken;
                token.to_ascii_lowercase()
            }
            _ => self.word().to_owned(),
        };
        if name.is_empty() {
            return Err(format!("no name at: {}", self.rest));
        }
        if self.take(':') {
            kind = match self.word() {
                "int" => Kind::Integer,
                "float" => Kind::Double,
                "key" => Kind::Key,
                "pattern" => Kind::Pattern,
                "time" => Kind::UnixTime,
                "token" => Kind::PureToken,
                other => return Err(format!("{other} is no kind")),
            };
        }
        let mut argument = Argument {
            name,
            kind,
            token,
            display: None,
            key_spec: None,
            since: None,
            deprecated_since: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            arguments: Vec::new(),
        };
        self.modifiers(&mut argument)?;
        Ok(argument)
    }

    fn modifiers(&mut self, argument: &mut Argument) -> Result<(), String> {
        let version = |c: char| c.is_ascii_digit() || c == '.';
        loop {
            if self.take('#') {
                let number = self.while_in(|c| c.is_ascii_digit());
                argument.key_spec = Some(number.parse().map_err(|_| "no number after #")?);
            } else if self.take('\'') {
                argument.display = Some(self.until('\'')?);
            } else if self.take('?') {
                argument.optional = true;
            } else if self.take('*') {
                argument.multiple = true;
            } else if self.take('+') {
                argument.multiple_token = true;
            } else if self.take('@') {
                argument.since = Some(self.while_in(version));
            } else if self.take('~') {
                argument.deprecated_since = Some(self.while_in(version));
            } else if self.take('{') {
                argument.kind = Kind::OneOf;
                argument.arguments = self.arguments(Some('}'))?;
            } else if self.take('(') {
                argument.kind = Kind::Block;
                argument.arguments = self.arguments(Some(')'))?;
            } else {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_becomes_a_tree() {
        let read = parse("key:key#0 how?{NX | IFEQ=other@8.1.0} LIMIT=limit?(\"~\" n:int'count'*)");
        let read = read.unwrap();
        assert_eq!(read.len(), 3);
        assert_eq!((read[0].kind, read[0].key_spec), (Kind::Key, Some(0)));
        assert_eq!((read[1].kind, read[1].optional), (Kind::OneOf, true));
        let [nx, ifeq] = read[1].arguments.as_slice() else { panic!("two choices") };
        assert_eq!((nx.kind, nx.name.as_str(), nx.token), (Kind::PureToken, "nx", Some("NX")));
        assert_eq!((ifeq.kind, ifeq.since), (Kind::String, Some("8.1.0")));
        let [sign, count] = read[2].arguments.as_slice() else { panic!("two in the group") };
        assert_eq!((read[2].kind, sign.token), (Kind::Block, Some("~")));
        assert_eq!((count.display, count.multiple), (Some("count"), true));
    }

    #[test]
    fn help_prints_a_syntax_as_a_line() {
        let check = |syntax, expect: &str| assert_eq!(usage(&parse(syntax).unwrap()), expect);
        check("", "");
        check("key:key#0 SAMPLES=count:int?", "<key> [SAMPLES <count>]");
        check("key:key*", "<key> [<key> ...]");
        check("command'command-name'?*", "[<command-name> ...]");
        check("mode{YES | NO}", "(YES|NO)");
        check("mode?{ASYNC | SYNC}", "[ASYNC|SYNC]");
        check("PREFIX=prefix?*+", "[PREFIX <prefix> ...]");
        check("ID=id:int?*", "[ID <id> [<id> ...]]");
        check("filter{old | new(kind ON)}", "(<old>|<kind> ON)");
    }

    #[test]
    fn mistakes_are_told() {
        for wrong in ["key:thing", "'x'", "a(b ]", "a:int#x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
