//! Names of replication histories and where one continues another. Pure.

use std::fmt;

/// A replication id: 40 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplId([u8; 40]);

impl ReplId {
    /// The id that these random bytes spell.
    pub fn from_random(random: [u8; 20]) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut id = [0; 40];
        for (pair, byte) in id.chunks_exact_mut(2).zip(random) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        Self(id)
    }

    /// Any 40 letters or digits, since other servers choose their own.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let id: [u8; 40] = text.try_into().ok()?;
        id.iter().all(u8::is_ascii_alphanumeric).then_some(Self(id))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII is accepted")
    }
}

impl fmt::Display for ReplId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ReplId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many former ids are remembered. Each costs a full resync of whoever knows no newer one.
const FORMERS_MAX: usize = 32;

/// The present history and those that it continues.
///
/// A node that was away while the primary moved several times knows an id that is several shifts
/// old; it goes on from there as long as what it has ends before that id was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub id: ReplId,
    /// The former ids, newest first, each with the offset up to which it is the same history.
    formers: Vec<(ReplId, u64)>,
}

impl History {
    pub fn new(id: ReplId) -> Self {
        Self { id, formers: Vec::new() }
    }

    /// A history with former ids as [`Self::formers`] gave them.
    pub fn with_formers(id: ReplId, formers: impl IntoIterator<Item = (ReplId, u64)>) -> Self {
        Self { id, formers: formers.into_iter().take(FORMERS_MAX).collect() }
    }

    /// The former ids, newest first, each with the offset up to which it is the same history.
    pub fn formers(&self) -> &[(ReplId, u64)] {
        &self.formers
    }

    /// Goes on under a new id from this offset: promotion, or a primary that changed its id.
    pub fn shift(&mut self, id: ReplId, offset: u64) {
        if id != self.id {
            self.formers.insert(0, (self.id, offset));
            self.formers.truncate(FORMERS_MAX);
            self.id = id;
        }
    }

    /// Whether this is, or was, the name of this history.
    pub fn knows(&self, id: ReplId) -> bool {
        id == self.id || self.formers.iter().any(|(former, _)| id == *former)
    }

    /// Whether someone who has `offset` bytes under `id` has a prefix of this history.
    pub fn continues(&self, id: ReplId, offset: u64) -> bool {
        id == self.id || self.formers.iter().any(|(former, end)| id == *former && offset <= *end)
    }
}

#[cfg(test)]
mod tests {
    use super::{History, ReplId};

    #[test]
    fn a_former_id_counts_up_to_the_shift_only() {
        let (a, b) = (ReplId::from_random([1; 20]), ReplId::from_random([0xab; 20]));
        assert_eq!(b.as_str(), "ab".repeat(20));
        assert_eq!(ReplId::parse(b.as_str().as_bytes()), Some(b));
        assert_eq!(ReplId::parse(b"?"), None);
        let mut history = History::new(a);
        history.shift(b, 100);
        assert!(history.continues(a, 100) && history.continues(b, 5000));
        assert!(!history.continues(a, 101), "written by the old primary after the shift");
        history.shift(b, 300);
        assert_eq!(history.formers(), [(a, 100)], "the same id is no shift");
    }

    /// A member that missed two promotions knew an id that nobody remembered any more, and had to
    /// be sent all data.
    #[test]
    fn an_id_two_promotions_old_still_counts() {
        let id = |n: u8| ReplId::from_random([n; 20]);
        let mut history = History::new(id(1));
        history.shift(id(2), 100);
        history.shift(id(3), 200);
        assert!(history.continues(id(1), 100) && history.continues(id(2), 200));
        assert!(!history.continues(id(1), 101) && !history.continues(id(2), 201));
        for n in 4..60 {
            history.shift(id(n), u64::from(n) * 100);
        }
        assert_eq!(history.formers().len(), super::FORMERS_MAX);
        assert!(!history.continues(id(1), 50), "the table is bounded");
        let again = History::with_formers(history.id, history.formers().iter().copied());
        assert_eq!(again, history);
    }
}
