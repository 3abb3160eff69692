//! Scripts: commands line by line, run on both servers in both dialects from empty ones.
//!
//! A plain line is a command whose reply must be equal; in front of it `~` means in any order,
//! `?` only the same kind of reply, `!` that the reply does not matter. `N> COMMAND` sends on
//! connection N without waiting, `N?` compares the next reply of connection N (`N?~` in any
//! order), and `=N` waits until N clients are blocked. `#` begins a comment, quotes hold spaces and
//! `\n`, `{9*x}` is `xxxxxxxxx`. A script ends with fresh servers.

use anyhow::{Context, Result};

use super::Outcome;
use super::pair::{CONNECTIONS, Check, Pair, difference};
use crate::script::words;

/// One line that does something.
#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    Blocked(&'a str),
    Send { connection: usize, words: Vec<String>, check: Option<Check> },
    Read { connection: usize, check: Check },
}

pub fn run(mut pair: Pair, name: &str, text: &str, outcome: &mut Outcome) -> Result<Pair> {
    for dialect in ["2", "3"] {
        pair.reset(dialect)?;
        for (index, line) in text.lines().enumerate() {
            let place = format!("{name}.txt:{} RESP{dialect}", index + 1);
            let Some(step) = parse(line) else { continue };
            act(&mut pair, &step, &place, outcome).context(place)?;
        }
        pair = pair.again()?;
    }
    Ok(pair)
}

fn act(pair: &mut Pair, step: &Step<'_>, place: &str, outcome: &mut Outcome) -> Result<()> {
    let (connection, check, words) = match step {
        Step::Blocked(count) => {
            return pair.sides.iter_mut().try_for_each(|side| side.wait_for_blocked(count));
        }
        Step::Read { connection, check } => (*connection, *check, Vec::new()),
        Step::Send { connection, words, check } => {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            for side in &mut pair.sides {
                side.connections[*connection].queue(&words);
                side.connections[*connection].flush();
            }
            let Some(check) = check else { return Ok(()) };
            (*connection, *check, words)
        }
    };
    let replies = pair.sides.each_mut().map(|side| side.connections[connection].read());
    outcome.cases += usize::from(check != Check::Nothing);
    if !check.holds(&replies) {
        outcome.failures.push(difference(place, &words, &replies));
    }
    Ok(())
}

fn parse(line: &str) -> Option<Step<'_>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    if let Some(count) = line.strip_prefix('=') {
        return Some(Step::Blocked(count));
    }
    let digit = line.as_bytes()[0].wrapping_sub(b'0') as usize;
    if digit < CONNECTIONS && line.len() > 1 {
        let rest = &line[1..];
        if let Some(rest) = rest.strip_prefix('>') {
            return Some(Step::Send { connection: digit, words: words(rest), check: None });
        }
        if rest == "?" || rest == "?~" {
            let check = if rest == "?" { Check::Equal } else { Check::AnyOrder };
            return Some(Step::Read { connection: digit, check });
        }
    }
    let (check, rest) = match line.as_bytes()[0] {
        b'~' => (Check::AnyOrder, &line[1..]),
        b'?' => (Check::Kind, &line[1..]),
        b'!' => (Check::Nothing, &line[1..]),
        _ => (Check::Equal, line),
    };
    Some(Step::Send { connection: 0, words: words(rest), check: Some(check) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_steps() {
        let send = |connection, line: &str, check| {
            Some(Step::Send { connection, words: words(line), check })
        };
        assert_eq!(parse("  # nothing"), None);
        assert_eq!(parse("GET a"), send(0, "GET a", Some(Check::Equal)));
        assert_eq!(parse("~SMEMBERS s"), send(0, "SMEMBERS s", Some(Check::AnyOrder)));
        assert_eq!(parse("2> BLPOP q 0"), send(2, "BLPOP q 0", None));
        assert_eq!(parse("2?"), Some(Step::Read { connection: 2, check: Check::Equal }));
        assert_eq!(parse("=3"), Some(Step::Blocked("3")));
    }
}
