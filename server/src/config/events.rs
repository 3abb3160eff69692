//! `notify-keyspace-events`: classes of events, each with its letter.

use super::value::Value;

/// A set of classes of keyspace events, and of the two kinds of channels they go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventClasses(u16);

impl EventClasses {
    /// Channels named by the key.
    pub const KEYSPACE: Self = Self(1);
    /// Channels named by the event.
    pub const KEYEVENT: Self = Self(1 << 1);
    pub const GENERIC: Self = Self(1 << 2);
    pub const STRING: Self = Self(1 << 3);
    pub const LIST: Self = Self(1 << 4);
    pub const SET: Self = Self(1 << 5);
    pub const HASH: Self = Self(1 << 6);
    pub const ZSET: Self = Self(1 << 7);
    pub const EXPIRED: Self = Self(1 << 8);
    pub const EVICTED: Self = Self(1 << 9);
    pub const STREAM: Self = Self(1 << 10);
    pub const KEY_MISS: Self = Self(1 << 11);
    pub const MODULE: Self = Self(1 << 12);
    pub const NEW: Self = Self(1 << 13);
    /// What `A` stands for: every class but those of missed and of new keys.
    const ALL: Self = Self(
        Self::GENERIC.0
            | Self::STRING.0
            | Self::LIST.0
            | Self::SET.0
            | Self::HASH.0
            | Self::ZSET.0
            | Self::EXPIRED.0
            | Self::EVICTED.0
            | Self::STREAM.0
            | Self::MODULE.0,
    );

    /// Whether any of `other` is in it.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl std::ops::BitOr for EventClasses {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The letters, in the order in which they are printed.
const LETTERS: [(char, EventClasses); 14] = [
    ('g', EventClasses::GENERIC),
    ('$', EventClasses::STRING),
    ('l', EventClasses::LIST),
    ('s', EventClasses::SET),
    ('h', EventClasses::HASH),
    ('z', EventClasses::ZSET),
    ('x', EventClasses::EXPIRED),
    ('e', EventClasses::EVICTED),
    ('t', EventClasses::STREAM),
    ('d', EventClasses::MODULE),
    ('n', EventClasses::NEW),
    ('K', EventClasses::KEYSPACE),
    ('E', EventClasses::KEYEVENT),
    ('m', EventClasses::KEY_MISS),
];

impl Value for EventClasses {
    fn parse(text: &str) -> Result<Self, String> {
        text.chars().try_fold(Self::default(), |classes, letter| {
            if letter == 'A' {
                return Ok(classes | Self::ALL);
            }
            LETTERS
                .iter()
                .find(|(known, _)| *known == letter)
                .map(|(_, class)| classes | *class)
                .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into())
        })
    }

    fn print(&self) -> String {
        let all = self.0 & Self::ALL.0 == Self::ALL.0;
        let alias = all.then_some('A');
        // Behind `A` the new keys' class is not printed, though it is not part of it: as Valkey.
        let hidden = |class: Self| all && (Self::ALL | Self::NEW).has(class);
        let letters = LETTERS.iter().filter(|(_, class)| self.has(*class) && !hidden(*class));
        alias.into_iter().chain(letters.map(|(letter, _)| *letter)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_read_and_print_as_classes() {
        let check = |text: &str, printed: &str| {
            let classes = EventClasses::parse(text).expect(text);
            assert_eq!(classes.print(), printed, "{text}");
        };
        check("", "");
        check("KEA", "AKE");
        check("Kg$lshzxetd", "AK");
        check("nE", "nE");
        check("KEAm", "AKEm");
        check("Em$", "$Em");
        assert!(EventClasses::parse("Kq").is_err());
        assert!(!EventClasses::parse("A").expect("A").has(EventClasses::NEW));
    }
}
