//! Where a command's keys are, as clients and proxies are told.

use crate::resp::{Args, num};

/// One key specification. Written as `FLAGS at INDEX`, `FLAGS after WORD FROM` or
/// `FLAGS anywhere`, and then nothing for one key, `to LAST [step N] [limit N]` for a range, or
/// `counted [step N]` when the argument there tells how many keys follow.
#[derive(Debug)]
pub struct KeySpec {
    /// `RO`, `RW`, `OW` or `RM`, what happens to the value, and `not_key` and the like.
    pub flags: Vec<&'static str>,
    pub begin: Begin,
    pub find: Find,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Begin {
    At(i64),
    /// Behind this word, looked for from that argument on; backwards from the end when negative.
    After(&'static str, i64),
    Unknown,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Find {
    /// From the first to `last`, relative to the first or, negative, to the end. With a limit
    /// only that part of the rest has keys (2: the first half).
    Range {
        last: i64,
        step: usize,
        limit: usize,
    },
    /// The number of keys stands before them.
    Counted {
        step: usize,
    },
    Unknown,
}

impl KeySpec {
    pub(super) fn parse(text: &'static str) -> Result<Self, String> {
        let mut words = text.split_whitespace().peekable();
        let number = |words: &mut dyn Iterator<Item = &'static str>| -> Result<i64, String> {
            let word = words.next().ok_or("a number is missing")?;
            word.parse().map_err(|_| format!("{word} is no number"))
        };
        let mut flags = Vec::new();
        let begin = loop {
            match words.next().ok_or("where its keys are is missing")? {
                "at" => break Begin::At(number(&mut words)?),
                "after" => {
                    let word = words.next().ok_or("a word is missing")?;
                    break Begin::After(word, number(&mut words)?);
                }
                "anywhere" => break Begin::Unknown,
                flag => flags.push(flag),
            }
        };
        let mut find = Find::Range { last: 0, step: 1, limit: 0 };
        if begin == Begin::Unknown {
            find = Find::Unknown;
        }
        while let Some(word) = words.next() {
            match (word, &mut find) {
                ("to", Find::Range { last, .. }) => *last = number(&mut words)?,
                ("limit", Find::Range { limit, .. }) => *limit = number(&mut words)? as usize,
                ("counted", find) => *find = Find::Counted { step: 1 },
                ("step", Find::Range { step, .. } | Find::Counted { step }) => {
                    *step = number(&mut words)? as usize;
                }
                (other, _) => return Err(format!("{other} is not expected")),
            }
        }
        Ok(Self { flags, begin, find })
    }

    pub fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    /// Calls `each` with the index of every key that `args` has by this specification; `false`
    /// when what it says does not fit the arguments.
    pub fn visit(&self, args: Args<'_>, mut each: impl FnMut(usize)) -> bool {
        let count = args.len() as i64;
        let Some(first) = self.first(args) else { return true };
        let (first, last, step) = match self.find {
            Find::Range { last, step, limit } => {
                let last = match last {
                    0.. => first + last,
                    -1 if limit > 1 => first + (count - first) / limit as i64 - 1,
                    _ => count + last,
                };
                (first, last, step)
            }
            Find::Counted { step } => {
                let keys = args.get(first as usize).and_then(num::parse_i64);
                let Some(keys) = keys.filter(|keys| (0..=count).contains(keys)) else {
                    return false;
                };
                (first + 1, first + (keys - 1) * step as i64 + 1, step)
            }
            Find::Unknown => return true,
        };
        if first < 1 || last >= count {
            return false;
        }
        (first..=last).step_by(step.max(1)).for_each(|at| each(at as usize));
        true
    }

    fn first(&self, args: Args<'_>) -> Option<i64> {
        let count = args.len() as i64;
        match self.begin {
            Begin::At(index) => (index < count).then_some(index),
            Begin::After(word, from) => {
                let is_word = |at: &i64| *at > 0 && args.is(*at as usize, word);
                let found = if from >= 0 {
                    (from..count).find(is_word)
                } else {
                    (1..=count + from).rev().find(is_word)
                };
                found.map(|at| at + 1).filter(|at| *at < count)
            }
            Begin::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_are_read_as_they_are_written() {
        let spec = KeySpec::parse("RO access after STREAMS 1 to -1 step 1 limit 2").unwrap();
        assert_eq!(spec.flags, ["RO", "access"]);
        assert_eq!(spec.begin, Begin::After("STREAMS", 1));
        assert_eq!(spec.find, Find::Range { last: -1, step: 1, limit: 2 });
        let spec = KeySpec::parse("OW at 1 counted step 2").unwrap();
        assert_eq!((spec.begin, spec.find), (Begin::At(1), Find::Counted { step: 2 }));
        assert!(KeySpec::parse("RO at").is_err());
        assert!(KeySpec::parse("RO").is_err());
        assert!(KeySpec::parse("RO at 1 beyond 2").is_err());
    }
}
