//! The seeds: files of `tests/fuzz/`, and data that the server itself makes of them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::node::Node;
use crate::script::words;

pub struct Corpus {
    /// Commands that make data of every kind.
    pub commands: Vec<Vec<String>>,
    /// The same as the wire has them.
    pub encoded: Vec<Vec<u8>>,
    /// Whole RDB files of other servers.
    pub rdb: Vec<Vec<u8>>,
    /// Payloads of DUMP without their version and checksum.
    pub payloads: Vec<Vec<u8>>,
    pub acl: Vec<Vec<u8>>,
    pub globs: Vec<Vec<u8>>,
    pub lua: Vec<Vec<u8>>,
}

impl Corpus {
    pub fn read(data: &Path) -> Result<Self> {
        let text = |name: &str| -> Result<String> {
            let path = data.join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let lines = |name: &str| -> Result<Vec<Vec<u8>>> {
            Ok(text(name)?.lines().map(|line| line.as_bytes().to_vec()).collect())
        };
        let commands = text("commands.txt")?;
        let commands: Vec<Vec<String>> =
            commands.lines().map(words).filter(|words| !words.is_empty()).collect();
        let encoded: Vec<Vec<u8>> = commands.iter().map(|words| encode(words)).collect();
        let payloads = payloads(&commands);
        ensure!(payloads.len() > 10, "the seeds make no data");
        Ok(Self {
            commands,
            encoded,
            rdb: ["valkey.rdb", "redis.rdb", "redis-fields.rdb"]
                .iter()
                .map(|name| fs::read(data.join(name)))
                .collect::<Result<_, _>>()?,
            payloads,
            acl: lines("acl.txt")?,
            globs: lines("globs.txt")?,
            lua: lines("lua.txt")?,
        })
    }
}

/// A command as the wire has it.
pub fn encode(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = Vec::new();
    server::resp::encode_command(&mut out, words.iter().map(AsRef::as_ref));
    out
}

fn payloads(commands: &[Vec<String>]) -> Vec<Vec<u8>> {
    let mut node = Node::new();
    let mut found = Vec::new();
    for command in commands {
        node.ask(command);
        let dump = node.ask(&["DUMP", &command[1]]);
        // `$<length>\r\n<payload>\r\n`, of which ten bytes are version and checksum.
        let Some(start) = dump.iter().position(|byte| *byte == b'\n') else { continue };
        if dump.len() > start + 13 {
            found.push(dump[start + 1..dump.len() - 12].to_vec());
        }
    }
    found
}
