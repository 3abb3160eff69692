//! Reading redis.conf's syntax: one directive a line, quotes as in inline commands, `include`.

use std::path::{Path, PathBuf};

use super::{Config, ConfigError};
use crate::glob;
use crate::resp::split_quoted;

const NESTING_MAX: usize = 8;

/// Directives of older versions, which Valkey reads and forgets too.
const FORGOTTEN: &[&str] = &[
    "dynamic-hz",
    "events-per-io-thread",
    "io-threads-do-reads",
    "list-max-ziplist-entries",
    "list-max-ziplist-value",
    "lua-replicate-commands",
    "sanitize-dump-payload",
];

/// Reads a file into `config`; later lines win. Does I/O.
pub fn load(config: &mut Config, path: &str) -> Result<(), ConfigError> {
    load_nested(config, path, 0)
}

fn load_nested(config: &mut Config, path: &str, depth: usize) -> Result<(), ConfigError> {
    if depth > NESTING_MAX {
        return Err(ConfigError::Nesting);
    }
    let text = std::fs::read_to_string(Path::new(path))
        .map_err(|error| ConfigError::File { path: path.to_owned(), why: error.to_string() })?;
    for (index, line) in text.lines().enumerate() {
        let at_line = |source: ConfigError| ConfigError::Line {
            path: path.to_owned(),
            line: index + 1,
            source: Box::new(source),
        };
        let words = words(line).map_err(at_line)?;
        match words.as_slice() {
            [] => {}
            [include, path] if include.eq_ignore_ascii_case("include") => {
                for path in included(path) {
                    load_nested(config, &path, depth + 1).map_err(at_line)?;
                }
            }
            [name, values @ ..] => {
                config.set_line(name, &values.join(" ")).map_err(at_line)?;
            }
        }
    }
    Ok(())
}

/// The files that a line `include` names, in order: all that match a pattern, which may be none; a
/// plain name stays itself, whether it is there or not. Does I/O.
fn included(path: &str) -> Vec<String> {
    let is_pattern = |part: &str| part.contains(['*', '?', '[']);
    if !is_pattern(path) {
        return vec![path.to_owned()];
    }
    let mut found = vec![PathBuf::new()];
    for part in Path::new(path) {
        let part = part.to_string_lossy();
        if !is_pattern(&part) {
            for folder in &mut found {
                folder.push(&*part);
            }
            continue;
        }
        let within = |folder: &PathBuf| {
            let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let names = std::fs::read_dir(here).into_iter().flatten().flatten();
            let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
            // As in a shell, a hidden file is meant only by who says its dot.
            let meant = |name: &String| {
                name.starts_with('.') == part.starts_with('.')
                    && glob::matches(part.as_bytes(), name.as_bytes())
            };
            names.filter(meant).map(|name| folder.join(name)).collect::<Vec<_>>()
        };
        found = found.iter().flat_map(within).collect();
    }
    found.retain(|path| path.exists());
    found.sort();
    found.iter().map(|path| path.display().to_string()).collect()
}

/// The words of a line; none for an empty line or a comment.
pub fn words(line: &str) -> Result<Vec<String>, ConfigError> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Vec::new());
    }
    let (mut text, mut spans) = (Vec::new(), Vec::new());
    split_quoted(line.as_bytes(), &mut text, &mut spans).map_err(|_| ConfigError::Quotes)?;
    Ok(spans
        .iter()
        .map(|span| {
            let start = span.start as usize;
            String::from_utf8_lossy(&text[start..start + span.len as usize]).into_owned()
        })
        .collect())
}

impl Config {
    /// As [`Config::set`], for a line of a file, where `save` lines add up.
    fn set_line(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        if name.eq_ignore_ascii_case("save") && !value.is_empty() && self.save_given {
            let joined = format!("{} {value}", self.save.0.join(" "));
            return self.set(name, joined.trim());
        }
        if name.eq_ignore_ascii_case("user") {
            self.users.push(value.to_owned());
            return Ok(());
        }
        if name.eq_ignore_ascii_case("rename-command") {
            return self.rename(value);
        }
        if FORGOTTEN.iter().any(|old| name.eq_ignore_ascii_case(old)) {
            return Ok(());
        }
        self.save_given |= name.eq_ignore_ascii_case("save");
        self.set(name, value)
    }

    /// `command new-name`; an empty new name hides it.
    fn rename(&mut self, value: &str) -> Result<(), ConfigError> {
        let refused =
            |why: &str| ConfigError::Value { name: "rename-command".into(), why: why.into() };
        let (own, other) = value.split_once(' ').ok_or(refused("a command and a name, or ''"))?;
        let row = crate::command::lookup(own.as_bytes());
        let row = row.ok_or(refused("No such command in rename-command"))?;
        let taken = self.renames.iter().any(|(_, name)| name.eq_ignore_ascii_case(other));
        let known = crate::command::lookup(other.as_bytes()).is_some();
        if !other.is_empty() && (taken || known) {
            return Err(refused("Target command name already exists"));
        }
        self.renames.push((row.name.to_owned(), other.to_owned()));
        Ok(())
    }

    /// Reads the command line: `[FILE] [--directive value…]…`. Does I/O for the file.
    pub fn from_args(args: &[String]) -> Result<Self, ConfigError> {
        let mut config = Config::default();
        let mut rest = args;
        if let [path, others @ ..] = args
            && !path.starts_with("--")
        {
            load(&mut config, path)?;
            // The server changes into `dir`: a relative path would lead elsewhere later.
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
            config.file = absolute.display().to_string();
            rest = others;
        }
        for line in lines_of(rest)? {
            if let [name, values @ ..] = line.as_slice() {
                config.set_line(name, &values.join(" "))?;
            }
        }
        Ok(config)
    }
}

/// The lines that arguments make: each `--directive` begins one, which may stand in the same argument
/// with its value. The first word after a directive is its value, whatever it begins with; only
/// `--save` may have none.
fn lines_of(args: &[String]) -> Result<Vec<Vec<String>>, ConfigError> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    for arg in args {
        let awaits = lines
            .last()
            .is_some_and(|line| line.len() == 1 && !line[0].eq_ignore_ascii_case("save"));
        match (arg.strip_prefix("--").filter(|_| !awaits), lines.last_mut()) {
            (Some(line), _) => lines.push(words(line)?),
            (None, Some(line)) => line.push(arg.clone()),
            (None, None) => lines.push(vec![arg.clone()]),
        }
    }
    Ok(lines)
}

/// What is to take the place of the configuration's file; `all`: the defaults, too. Reads the old one.
pub fn rewritten(config: &Config, all: bool) -> std::io::Result<String> {
    let old = match std::fs::read_to_string(&config.file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    Ok(rewrite(config, &old, all))
}

/// The file with its directives set to their values of now, as CONFIG REWRITE writes it: lines
/// are kept, replaced in place, or added at the end where they differ from the default.
pub fn rewrite(config: &Config, old: &str, all: bool) -> String {
    let defaults = Config::default();
    let mut done: Vec<&str> = Vec::new();
    let mut out = String::new();
    for line in old.lines() {
        let name = words(line).ok().and_then(|words| words.into_iter().next());
        if name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("user")) {
            continue;
        }
        match name.and_then(|name| super::find(&name.to_ascii_lowercase())) {
            Some(row) if done.contains(&row.name) => {}
            Some(row) => {
                done.push(row.name);
                out.push_str(&directive_line(row.name, &(row.get)(config), row.words));
            }
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    for user in &config.users {
        out.extend(["user ", user, "\n"]);
    }
    for row in super::DIRECTIVES {
        let value = (row.get)(config);
        if !done.contains(&row.name) && (all || value != (row.get)(&defaults)) {
            out.push_str(&directive_line(row.name, &value, row.words));
        }
    }
    out
}

fn directive_line(name: &str, value: &str, words: bool) -> String {
    let plain = !value.is_empty()
        && (words || !value.contains(char::is_whitespace))
        && !value.contains(['"', '\'', '\\', '#'])
        && !value.chars().any(char::is_control);
    if plain {
        return format!("{name} {value}\n");
    }
    let mut quoted = String::new();
    for letter in value.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    format!("{name} \"{quoted}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_as_a_shell_would() {
        let check =
            |line: &str, expect: &[&str]| assert_eq!(words(line).unwrap(), expect, "{line}");
        check("", &[]);
        check("  # port 1", &[]);
        check("requirepass \"a b\\\"\" ", &["requirepass", "a b\""]);
        check("save ''", &["save", ""]);
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let dir = std::env::temp_dir().join(format!("redisha-config-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let auth = dir.join("auth.conf");
        std::fs::write(&auth, "requirepass \"s p\"\n").unwrap();
        let main = dir.join("main.conf");
        let text = format!("port 7001\nsave 900 1\nsave 300 10\ninclude {}\n", auth.display());
        std::fs::write(&main, text).unwrap();
        let args = [main.display().to_string(), "--port".into(), "7002".into()];
        let config = Config::from_args(&args).unwrap();
        assert_eq!((config.port, config.requirepass.as_str()), (7002, "s p"));
        assert_eq!(config.save.0.join(" "), "900 1 300 10");
        std::fs::write(&main, "port 1\nbad-one 2\n").unwrap();
        let error = Config::from_args(&args).unwrap_err().to_string();
        assert!(error.ends_with("main.conf:2: unknown directive 'bad-one'"), "{error}");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// `include /etc/redis/pre.d/*.conf`, as Debian's redis.conf has it, was read as the name of one
    /// file, and the server did not start; nor did it with directives that Valkey forgets.
    #[test]
    fn files_of_others_are_read() {
        let dir = std::env::temp_dir().join(format!("redisha-include-{}", std::process::id()));
        for (name, text) in [
            ("pre.d/b.conf", "port 2"),
            ("pre.d/a.conf", "port 1"),
            ("pre.d/.c.conf", "port 3"),
            ("pre.d/d.txt", "port 4"),
        ] {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let main = dir.join("main.conf");
        let check = |line: &str, expect: Option<u16>| {
            std::fs::write(&main, line.replace("DIR", &dir.display().to_string())).unwrap();
            let mut config = Config::default();
            let port = load(&mut config, &main.display().to_string()).ok().map(|()| config.port);
            assert_eq!(port, expect, "{line}");
        };
        check("include DIR/pre.d/*.conf", Some(2));
        check("include DIR/p*/a.con?", Some(1));
        check("include DIR/pre.d/.*.conf", Some(3));
        check("include DIR/none.d/*.conf", Some(6379));
        check("include DIR/none.conf", None);
        check("list-max-ziplist-entries 512\nLUA-replicate-commands yes", Some(6379));
        check("gopher-enabled no", None);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn commands_are_renamed_by_lines() {
        let mut config = Config::default();
        config.set_line("rename-command", "CONFIG b840").unwrap();
        config.set_line("rename-command", "flushall ").unwrap();
        let expect = [("config", "b840"), ("flushall", "")].map(|(a, b)| (a.into(), b.into()));
        assert_eq!(config.renames, expect);
        for bad in ["none other", "get set", "get B840", "get"] {
            assert!(config.set_line("rename-command", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn arguments_are_lines() {
        let check = |args: &[&str], expect: &[&[&str]]| {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            assert_eq!(lines_of(&args).unwrap(), expect, "{args:?}");
        };
        check(&["--port", "1", "--bind", "a", "b"], &[&["port", "1"], &["bind", "a", "b"]]);
        check(
            &["--maxmemory '7 mb'", "--save", "--port", "2"],
            &[&["maxmemory", "7 mb"], &["save"], &["port", "2"]],
        );
        check(&["--logfile", "--odd", "--port", "2"], &[&["logfile", "--odd"], &["port", "2"]]);
        check(&["loglevel", "debug"], &[&["loglevel", "debug"]]);
    }

    #[test]
    fn rewriting_keeps_comments_and_sets_values_in_place() {
        let mut config = Config::default();
        config.set("port", "7000").unwrap();
        config.set("requirepass", "a\"b").unwrap();
        let text = rewrite(&config, "# mine\nport 1\nport 2\n", false);
        assert_eq!(text, "# mine\nport 7000\nrequirepass \"a\\\"b\"\n");
    }
}
