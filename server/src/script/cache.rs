//! The scripts that EVALSHA finds, by the SHA-1 of their text.
//!
//! What EVAL brought is kept for the last [`EVALS_MAX`] uses; what SCRIPT LOAD brought stays until
//! SCRIPT FLUSH. A script that came by replication or from a file is compiled when it is first run.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::flags::ScriptFlags;
use super::interpreter::Kept;

/// Scripts that were only ever evaluated, as many as Valkey keeps.
const EVALS_MAX: usize = 500;
/// Bytes of their texts, which lie outside of Lua's memory; the one that runs may be larger.
const EVALS_MAX_BYTES: usize = 64 * 1024 * 1024;

pub type Sha = [u8; 20];

#[derive(Debug)]
pub struct Script {
    pub body: Rc<[u8]>,
    pub flags: ScriptFlags,
    /// Where the code begins in the body.
    pub code_at: usize,
    /// Compiled, once it has been run or loaded here.
    pub function: OnceCell<Kept>,
    /// When it was last used, in uses; none for those that SCRIPT LOAD brought.
    last_use: Cell<Option<u64>>,
}

impl Script {
    /// SCRIPT LOAD brought it: it is not evicted.
    pub fn is_loaded(&self) -> bool {
        self.last_use.get().is_none()
    }
}

#[derive(Debug, Default)]
pub struct Cache {
    scripts: HashMap<Sha, Rc<Script>>,
    /// The one that EVAL asked for last.
    recent: Option<(Sha, Rc<Script>)>,
    evaluated: usize,
    evaluated_bytes: usize,
    uses: u64,
    bytes: usize,
    pub evicted: u64,
}

impl Cache {
    pub fn get(&self, sha: &Sha) -> Option<&Rc<Script>> {
        self.scripts.get(sha)
    }

    /// The SHA-1 of a text, which is known without computing it when the text came just before.
    pub fn sha(&mut self, body: &[u8]) -> Sha {
        if let Some((sha, script)) = &self.recent
            && *script.body == *body
        {
            return *sha;
        }
        let sha = super::sha1::digest(body);
        self.recent = self.scripts.get(&sha).map(|script| (sha, Rc::clone(script)));
        sha
    }

    /// The script, which is going to be run.
    pub fn take_into_use(&mut self, sha: &Sha) -> Option<Rc<Script>> {
        let script = self.scripts.get(sha)?;
        self.uses += 1;
        if !script.is_loaded() {
            script.last_use.set(Some(self.uses));
        }
        Some(Rc::clone(script))
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

    pub fn iter(&self) -> impl Iterator<Item = &Rc<Script>> {
        self.scripts.values()
    }

    /// Adds a script, or lets one that EVAL brought stay for good when `loaded`. True if this
    /// changed anything that other nodes should know.
    pub fn add(
        &mut self,
        sha: Sha,
        body: &[u8],
        (flags, code_at): (ScriptFlags, usize),
        function: OnceCell<Kept>,
        loaded: bool,
    ) -> bool {
        if let Some(script) = self.scripts.get(&sha) {
            let promoted = loaded && script.last_use.take().is_some();
            if promoted {
                self.evaluated -= 1;
                self.evaluated_bytes -= body.len();
            }
            return promoted;
        }
        if !loaded {
            self.make_room(body.len());
            self.evaluated += 1;
            self.evaluated_bytes += body.len();
            self.uses += 1;
        }
        self.bytes += body.len();
        let last_use = Cell::new((!loaded).then_some(self.uses));
        let script = Script { body: Rc::from(body), flags, code_at, function, last_use };
        self.scripts.insert(sha, Rc::new(script));
        true
    }

    fn make_room(&mut self, bytes: usize) {
        while self.evaluated >= EVALS_MAX || self.evaluated_bytes + bytes > EVALS_MAX_BYTES {
            let evaluated = self
                .scripts
                .iter()
                .filter_map(|(sha, script)| script.last_use.get().map(|last_use| (last_use, *sha)));
            let Some((_, oldest)) = evaluated.min() else { return };
            if let Some(script) = self.scripts.remove(&oldest) {
                self.bytes -= script.body.len();
                self.evaluated_bytes -= script.body.len();
            }
            self.evaluated -= 1;
            self.evicted += 1;
        }
    }

    /// The interpreter that the scripts were compiled in is gone.
    pub fn forget_compiled(&mut self) {
        for script in self.scripts.values_mut() {
            *script = Rc::new(Script {
                body: Rc::clone(&script.body),
                flags: script.flags,
                code_at: script.code_at,
                function: OnceCell::new(),
                last_use: script.last_use.clone(),
            });
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
        cache.add(sha, body.as_bytes(), (ScriptFlags::COMPATIBLE, 0), OnceCell::new(), loaded);
        sha
    }

    #[test]
    fn what_eval_brought_goes_when_it_was_not_used_for_long() {
        let mut cache = Cache::default();
        let loaded = add(&mut cache, 0, true);
        let used = add(&mut cache, 1, false);
        let unused = add(&mut cache, 2, false);
        let promoted = add(&mut cache, 3, false);
        assert!(cache.add(promoted, b"3", (ScriptFlags::COMPATIBLE, 0), OnceCell::new(), true));
        for number in 4..=EVALS_MAX + 2 {
            add(&mut cache, number, false);
            cache.take_into_use(&used);
        }
        let present = [loaded, used, unused, promoted].map(|sha| cache.get(&sha).is_some());
        assert_eq!(present, [true, true, false, true]);
        assert_eq!((cache.len(), cache.evicted), (EVALS_MAX + 2, 1));
    }

    /// Five hundred scripts with half a gigabyte of comment each were kept.
    #[test]
    fn long_texts_that_eval_brought_are_kept_only_together_within_a_bound() {
        let mut cache = Cache::default();
        let text = |letter: u8| vec![letter; EVALS_MAX_BYTES / 3];
        for letter in b'a'..=b'z' {
            let sha = crate::script::sha1::digest(&[letter]);
            cache.add(
                sha,
                &text(letter),
                (ScriptFlags::COMPATIBLE, 0),
                OnceCell::new(),
                letter == b'b',
            );
            assert!(cache.get(&sha).is_some());
        }
        assert_eq!(cache.len(), 1 + 3);
        assert!(cache.bytes() <= EVALS_MAX_BYTES * 4 / 3);
        let sha = crate::script::sha1::digest(b"huge");
        let huge = vec![b'x'; EVALS_MAX_BYTES + 1];
        cache.add(sha, &huge, (ScriptFlags::COMPATIBLE, 0), OnceCell::new(), false);
        assert_eq!(cache.len(), 2, "it alone, and the one that was loaded");
    }
}
