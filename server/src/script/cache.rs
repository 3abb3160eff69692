//! The scripts that EVALSHA finds, by the SHA-1 of their text.
//!
//! What EVAL brought is kept for the last [`EVALS_MAX`] uses; what SCRIPT LOAD brought stays until
//! SCRIPT FLUSH. A script that came by replication or from a file is compiled when it is first run.

use std::collections::HashMap;
use std::rc::Rc;

use mlua::Function;

use super::flags::ScriptFlags;

/// Scripts that were only ever evaluated, as many as Valkey keeps.
const EVALS_MAX: usize = 500;

pub type Sha = [u8; 20];

#[derive(Debug)]
pub struct Script {
    pub body: Rc<[u8]>,
    pub flags: ScriptFlags,
    /// Where the code begins in the body.
    pub code_at: usize,
    pub function: Option<Function>,
    /// When it was last used, in uses; none for those that SCRIPT LOAD brought.
    last_use: Option<u64>,
}

impl Script {
    /// SCRIPT LOAD brought it: it is not evicted.
    pub fn is_loaded(&self) -> bool {
        self.last_use.is_none()
    }
}

#[derive(Debug, Default)]
pub struct Cache {
    scripts: HashMap<Sha, Script>,
    evaluated: usize,
    uses: u64,
    bytes: usize,
    pub evicted: u64,
}

impl Cache {
    pub fn get(&self, sha: &Sha) -> Option<&Script> {
        self.scripts.get(sha)
    }

    pub fn get_mut(&mut self, sha: &Sha) -> Option<&mut Script> {
        self.scripts.get_mut(sha)
    }

    pub fn len(&self) -> usize {
        self.scripts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.scripts.is_empty()
    }

    /// Bytes of all texts.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn iter(&self) -> impl Iterator<Item = &Script> {
        self.scripts.values()
    }

    /// Adds a script, or lets one that EVAL brought stay for good when `loaded`. True if this
    /// changed anything that other nodes should know.
    pub fn add(
        &mut self,
        sha: Sha,
        body: &[u8],
        (flags, code_at): (ScriptFlags, usize),
        function: Option<Function>,
        loaded: bool,
    ) -> bool {
        if let Some(script) = self.scripts.get_mut(&sha) {
            let promoted = loaded && script.last_use.take().is_some();
            self.evaluated -= usize::from(promoted);
            return promoted;
        }
        if !loaded {
            self.make_room();
            self.evaluated += 1;
            self.uses += 1;
        }
        self.bytes += body.len();
        let last_use = (!loaded).then_some(self.uses);
        let script = Script { body: Rc::from(body), flags, code_at, function, last_use };
        self.scripts.insert(sha, script);
        true
    }

    fn make_room(&mut self) {
        while self.evaluated >= EVALS_MAX {
            let evaluated = self
                .scripts
                .iter()
                .filter_map(|(sha, script)| script.last_use.map(|last_use| (last_use, *sha)));
            let Some((_, oldest)) = evaluated.min() else { return };
            if let Some(script) = self.scripts.remove(&oldest) {
                self.bytes -= script.body.len();
            }
            self.evaluated -= 1;
            self.evicted += 1;
        }
    }

    /// Notes that a script was run.
    pub fn used(&mut self, sha: &Sha) {
        self.uses += 1;
        if let Some(Script { last_use: Some(last_use), .. }) = self.scripts.get_mut(sha) {
            *last_use = self.uses;
        }
    }

    pub fn clear(&mut self) {
        *self = Self { evicted: self.evicted, uses: self.uses, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(cache: &mut Cache, number: usize, loaded: bool) -> Sha {
        let body = number.to_string();
        let sha = crate::script::sha1::digest(body.as_bytes());
        cache.add(sha, body.as_bytes(), (ScriptFlags::COMPATIBLE, 0), None, loaded);
        sha
    }

    #[test]
    fn what_eval_brought_goes_when_it_was_not_used_for_long() {
        let mut cache = Cache::default();
        let loaded = add(&mut cache, 0, true);
        let used = add(&mut cache, 1, false);
        let unused = add(&mut cache, 2, false);
        let promoted = add(&mut cache, 3, false);
        assert!(cache.add(promoted, b"3", (ScriptFlags::COMPATIBLE, 0), None, true));
        for number in 4..=EVALS_MAX + 2 {
            add(&mut cache, number, false);
            cache.used(&used);
        }
        let present = [loaded, used, unused, promoted].map(|sha| cache.get(&sha).is_some());
        assert_eq!(present, [true, true, false, true]);
        assert_eq!((cache.len(), cache.evicted), (EVALS_MAX + 2, 1));
    }
}
