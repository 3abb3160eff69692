//! LCS: the longest common subsequence of two strings.

use super::string_at;
use crate::command::Handled;
use crate::command::support::int;
use crate::engine::Context;
use crate::resp::{CommandError, Reply, errors};
use crate::store::IntBuf;

/// A run that both strings share: where it begins in each, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

/// The lengths of the longest common subsequences of all prefixes.
struct Table {
    cells: Vec<u32>,
    columns: usize,
}

impl Table {
    fn fill(a: &[u8], b: &[u8]) -> Self {
        let columns = b.len() + 1;
        let mut cells = vec![0; (a.len() + 1) * columns];
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                let at = (i + 1) * columns + j + 1;
                cells[at] = if x == y {
                    cells[at - columns - 1] + 1
                } else {
                    cells[at - columns].max(cells[at - 1])
                };
            }
        }
        Self { cells, columns }
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.columns + j]
    }

    /// The shared runs, from the end of the strings to their start.
    fn matches(&self, a: &[u8], b: &[u8]) -> Vec<Match> {
        let (mut i, mut j) = (a.len(), b.len());
        let mut matches: Vec<Match> = Vec::new();
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                match matches.last_mut() {
                    Some(last) if last.a == i && last.b == j => {
                        *last = Match { a: i - 1, b: j - 1, len: last.len + 1 };
                    }
                    _ => matches.push(Match { a: i - 1, b: j - 1, len: 1 }),
                }
                (i, j) = (i - 1, j - 1);
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        matches
    }
}

#[derive(Default)]
struct Options {
    length_only: bool,
    index: bool,
    shortest: usize,
    with_length: bool,
}

impl Options {
    fn read(cx: &Context<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut at = 3;
        while at < cx.args.len() {
            if cx.args.is(at, "len") {
                options.length_only = true;
            } else if cx.args.is(at, "idx") {
                options.index = true;
            } else if cx.args.is(at, "withmatchlen") {
                options.with_length = true;
            } else if cx.args.is(at, "minmatchlen") && at + 1 < cx.args.len() {
                at += 1;
                options.shortest = int(cx.args.at(at))?.max(0) as usize;
            } else {
                return Err(errors::SYNTAX.into());
            }
            at += 1;
        }
        if options.length_only && options.index {
            return Err("ERR If you want both the length and indexes, please just use IDX.".into());
        }
        Ok(options)
    }
}

pub fn lcs(cx: &mut Context<'_>) -> Handled {
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let mut owned = [Vec::new(), Vec::new()];
    for (index, text) in owned.iter_mut().enumerate() {
        let found = string_at(db, cx.args.at(index + 1))
            .map_err(|_| CommandError::from("ERR The specified keys must contain string values"))?;
        if let Some(found) = found {
            text.extend_from_slice(found.bytes(&mut IntBuf::default()));
        }
    }
    let options = Options::read(cx)?;
    let [a, b] = owned;
    let cells = (a.len() as u64 + 1).saturating_mul(b.len() as u64 + 1);
    if cells.saturating_mul(4) > cx.engine.config.proto_max_bulk_len.0 {
        return Err("ERR Insufficient memory, transient memory for LCS exceeds \
                    proto-max-bulk-len"
            .into());
    }
    let table = Table::fill(&a, &b);
    let length = table.at(a.len(), b.len());
    if options.length_only {
        cx.client.reply().int(i64::from(length));
        return Ok(());
    }
    let matches = table.matches(&a, &b);
    if options.index {
        write_index(&mut cx.client.reply(), &matches, length, &options);
    } else {
        let mut text = Vec::with_capacity(length as usize);
        for run in matches.iter().rev() {
            text.extend_from_slice(&a[run.a..run.a + run.len]);
        }
        cx.client.reply().bulk(&text);
    }
    Ok(())
}

fn write_index(reply: &mut Reply<'_>, matches: &[Match], length: u32, options: &Options) {
    let shown: Vec<_> = matches.iter().filter(|run| run.len >= options.shortest).collect();
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(shown.len());
    for run in shown {
        reply.array(if options.with_length { 3 } else { 2 });
        for start in [run.a, run.b] {
            reply.array(2);
            reply.int(start as i64);
            reply.int((start + run.len - 1) as i64);
        }
        if options.with_length {
            reply.int(run.len as i64);
        }
    }
    reply.bulk(b"len");
    reply.int(i64::from(length));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_from_the_end() {
        let check = |a: &str, b: &str, expect: &[(usize, usize, usize)]| {
            let table = Table::fill(a.as_bytes(), b.as_bytes());
            let got: Vec<_> = table.matches(a.as_bytes(), b.as_bytes());
            let expect: Vec<_> = expect.iter().map(|&(a, b, len)| Match { a, b, len }).collect();
            assert_eq!(got, expect, "{a} {b}");
        };
        check("ohmytext", "mynewtext", &[(4, 5, 4), (2, 0, 2)]);
        check("abc", "xyz", &[]);
        check("", "a", &[]);
        check("same", "same", &[(0, 0, 4)]);
    }
}
