//! What a script says about itself in its first line: `#!lua flags=no-writes,…`. Pure.

/// A set of a script's or function's flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptFlags(pub u8);

impl ScriptFlags {
    pub const NO_WRITES: ScriptFlags = ScriptFlags(1);
    pub const ALLOW_OOM: ScriptFlags = ScriptFlags(2);
    pub const ALLOW_STALE: ScriptFlags = ScriptFlags(4);
    pub const NO_CLUSTER: ScriptFlags = ScriptFlags(8);
    pub const ALLOW_CROSS_SLOT: ScriptFlags = ScriptFlags(16);
    /// A script without a first line of this kind: the rules of old hold.
    pub const COMPATIBLE: ScriptFlags = ScriptFlags(32);

    pub const NAMES: [(&'static str, ScriptFlags); 5] = [
        ("no-writes", Self::NO_WRITES),
        ("allow-oom", Self::ALLOW_OOM),
        ("allow-stale", Self::ALLOW_STALE),
        ("no-cluster", Self::NO_CLUSTER),
        ("allow-cross-slot-keys", Self::ALLOW_CROSS_SLOT),
    ];

    pub fn has(self, other: ScriptFlags) -> bool {
        self.0 & other.0 != 0
    }

    pub fn add(&mut self, other: ScriptFlags) {
        self.0 |= other.0;
    }

    /// Whether a script that declares this is refused while memory is short.
    pub fn needs_memory(self) -> bool {
        !self.has(Self::ALLOW_OOM) && !self.has(Self::NO_WRITES)
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        Self::NAMES.into_iter().filter(move |(_, flag)| self.has(*flag)).map(|(name, _)| name)
    }
}

/// The words of a first line; none when its quotes are not balanced.
pub fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let (mut text, mut spans) = (Vec::new(), Vec::new());
    if crate::resp::split_quoted(line, &mut text, &mut spans).is_err() {
        return Vec::new();
    }
    crate::resp::Args::new(&text, &spans).iter().map(<[u8]>::to_vec).collect()
}

/// A script's flags and where its code begins: at the line break, so that lines keep their numbers.
/// The error is the reply's text without its code.
pub fn of_script(body: &[u8]) -> Result<(ScriptFlags, usize), String> {
    if !body.starts_with(b"#!") {
        return Ok((ScriptFlags::COMPATIBLE, 0));
    }
    let end = body.iter().position(|byte| *byte == b'\n').ok_or("Invalid script shebang")?;
    let words = words(&body[..end]);
    let Some((engine, options)) = words.split_first().filter(|(first, _)| first.len() >= 2) else {
        return Err("Invalid engine in script shebang".into());
    };
    let mut flags = ScriptFlags::default();
    for option in options {
        let text = String::from_utf8_lossy(option);
        let Some(list) = text.strip_prefix("flags=") else {
            return Err(format!("Unknown lua shebang option: {text}"));
        };
        for word in list.split(',').filter(|_| !list.is_empty()) {
            let known = ScriptFlags::NAMES.into_iter().find(|(name, _)| *name == word);
            let Some((_, flag)) = known else {
                return Err(format!("Unexpected flag in script shebang: {word}"));
            };
            flags.add(flag);
        }
    }
    let engine = String::from_utf8_lossy(&engine[2..]);
    if !engine.eq_ignore_ascii_case("lua") {
        return Err(format!("Could not find scripting engine '{engine}'"));
    }
    Ok((flags, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        let check = |body: &str, expect: Result<(u8, usize), &str>| {
            let found = of_script(body.as_bytes()).map(|(flags, at)| (flags.0, at));
            assert_eq!(found, expect.map_err(String::from), "{body}");
        };
        check("return 1", Ok((32, 0)));
        check("#!lua\nreturn 1", Ok((0, 5)));
        check("#!lua flags=no-writes,allow-oom\n", Ok((3, 31)));
        check("#!lua flags=\n", Ok((0, 12)));
        check("#!lua", Err("Invalid script shebang"));
        check("#!lua flags=bad\n", Err("Unexpected flag in script shebang: bad"));
        check("#!lua name=x\n", Err("Unknown lua shebang option: name=x"));
        check("#!not-lua\n", Err("Could not find scripting engine 'not-lua'"));
    }
}
