//! The types of directives: how each is read and printed.

use std::fmt::Write as _;

/// A directive's value. `parse` explains what was expected, without the directive's name.
pub trait Value: Sized {
    fn parse(text: &str) -> Result<Self, String>;
    fn print(&self) -> String;

    /// The number that bounds apply to, for values that are numbers.
    fn number(&self) -> Option<i128> {
        None
    }
}

/// Whether a directive that has bounds may have this value.
pub(super) fn check_bounds<V: Value>(text: &str, least: i64, most: i64) -> Result<(), String> {
    let number = match text.parse::<i128>() {
        Ok(number) => Some(number),
        Err(_) => V::parse(text)?.number(),
    };
    match number {
        Some(number) if !(i128::from(least)..=i128::from(most)).contains(&number) => {
            Err(format!("argument must be between {least} and {most} inclusive"))
        }
        _ => Ok(()),
    }
}

impl Value for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err("argument must be 'yes' or 'no'".into()),
        }
    }

    fn print(&self) -> String {
        if *self { "yes".into() } else { "no".into() }
    }
}

/// A number between two bounds, both included.
fn within(text: &str, least: i128, most: i128) -> Result<i128, String> {
    let number = text
        .parse::<i128>()
        .map_err(|_| String::from("argument couldn't be parsed into an integer"))?;
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(format!("argument must be between {least} and {most} inclusive"))
}

/// An integer between two bounds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int<const LEAST: i64, const MOST: i64>(pub i64);

impl<const LEAST: i64, const MOST: i64> Value for Int<LEAST, MOST> {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(within(text, LEAST.into(), MOST.into())? as i64))
    }

    fn print(&self) -> String {
        self.0.to_string()
    }
}

macro_rules! number {
    ($($kind:ty),*) => {$(
        #[allow(clippy::cast_lossless)] // one text for types of several widths
        impl Value for $kind {
            fn parse(text: &str) -> Result<Self, String> {
                let (least, most) = (<$kind>::MIN as i128, <$kind>::MAX as i128);
                let number = within(text, least, most.min(i64::MAX.into()))?;
                Ok(number as $kind)
            }

            fn print(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
number!(u16, u32, u64, i64, usize);

impl Value for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn print(&self) -> String {
        self.clone()
    }
}

/// A size in bytes: a number with an optional unit (`k`, `kb`, `m`, `mb`, `g`, `gb`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Value for Bytes {
    fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let digits = lower.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
        let unit = match &lower[digits.len()..] {
            "" | "b" => 1,
            "k" => 1000,
            "kb" => 1024,
            "m" => 1_000_000,
            "mb" => 1024 * 1024,
            "g" => 1_000_000_000,
            "gb" => 1024 * 1024 * 1024,
            _ => 0,
        };
        let size = digits.parse::<u64>().ok().filter(|_| unit > 0);
        size.and_then(|size| size.checked_mul(unit))
            .map(Self)
            .ok_or_else(|| "argument must be a memory value".into())
    }

    fn print(&self) -> String {
        self.0.to_string()
    }

    fn number(&self) -> Option<i128> {
        Some(self.0.into())
    }
}

/// Several words in one directive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl Value for Words {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.split_whitespace().map(ToOwned::to_owned).collect()))
    }

    fn print(&self) -> String {
        self.0.join(" ")
    }
}

/// How connections follow a redirected primary by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectMode {
    #[default]
    Relay,
    Error,
}

impl Value for RedirectMode {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "relay" => Ok(Self::Relay),
            "error" => Ok(Self::Error),
            _ => Err("expected relay or error".into()),
        }
    }

    fn print(&self) -> String {
        match self {
            Self::Relay => "relay".into(),
            Self::Error => "error".into(),
        }
    }
}

/// Which channels a new user may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PubSubDefault {
    #[default]
    ResetChannels,
    AllChannels,
}

impl Value for PubSubDefault {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "resetchannels" => Ok(Self::ResetChannels),
            "allchannels" => Ok(Self::AllChannels),
            _ => Err("argument(s) must be one of the following: allchannels, resetchannels".into()),
        }
    }

    fn print(&self) -> String {
        match self {
            Self::ResetChannels => "resetchannels".into(),
            Self::AllChannels => "allchannels".into(),
        }
    }
}

/// The bound of one class of clients on unread output: at once above `hard_bytes`, or when it
/// stays above `soft_bytes` for `soft_s` seconds. 0 is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    pub soft_s: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimits {
    pub normal: OutputLimit,
    pub replica: OutputLimit,
    pub pubsub: OutputLimit,
}

impl Value for OutputLimits {
    /// One or more groups of `class hard soft seconds`; the rest keeps no bound.
    fn parse(text: &str) -> Result<Self, String> {
        let mut limits = Self::default();
        limits.merge(text)?;
        Ok(limits)
    }

    fn print(&self) -> String {
        let mut text = String::new();
        let classes = [("normal", self.normal), ("slave", self.replica), ("pubsub", self.pubsub)];
        for (name, limit) in classes {
            let space = if text.is_empty() { "" } else { " " };
            let OutputLimit { hard_bytes, soft_bytes, soft_s } = limit;
            write!(text, "{space}{name} {hard_bytes} {soft_bytes} {soft_s}")
                .expect("a string takes everything");
        }
        text
    }
}

impl OutputLimits {
    /// Sets the classes that `text` names and keeps the others.
    pub fn merge(&mut self, text: &str) -> Result<(), String> {
        let words: Vec<_> = text.split_whitespace().collect();
        if words.is_empty() || words.len() % 4 != 0 {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        for group in words.chunks(4) {
            let bad = |_| {
                String::from(
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
                )
            };
            let limit = OutputLimit {
                hard_bytes: Bytes::parse(group[1]).map_err(bad)?.0,
                soft_bytes: Bytes::parse(group[2]).map_err(bad)?.0,
                soft_s: u64::parse(group[3]).map_err(bad)?,
            };
            match group[0].to_ascii_lowercase().as_str() {
                "normal" => self.normal = limit,
                "replica" | "slave" => self.replica = limit,
                "pubsub" => self.pubsub = limit,
                _ => {
                    return Err("Invalid client class specified in buffer limit \
                                configuration."
                        .into());
                }
            }
        }
        Ok(())
    }
}

/// One of several words.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($variant,)+
        }

        impl $name {
            const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl Value for $name {
            fn parse(text: &str) -> Result<Self, String> {
                $(if text.eq_ignore_ascii_case($word) {
                    return Ok(Self::$variant);
                })+
                Err(format!(
                    "argument(s) must be one of the following: {}",
                    Self::WORDS.join(", ")
                ))
            }

            fn print(&self) -> String {
                match self {
                    $(Self::$variant => $word.into(),)+
                }
            }
        }
    };
}

choice! {
    /// What goes when memory is full.
    MaxmemoryPolicy {
        VolatileLru = "volatile-lru",
        VolatileLfu = "volatile-lfu",
        VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl",
        AllkeysLru = "allkeys-lru",
        AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random",
        Noeviction = "noeviction",
    }
}

pub(super) use choice;

macro_rules! only {
    ($(#[$doc:meta])* $name:ident accepts $accepted:pat, prints $printed:literal, $why:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;

        impl Value for $name {
            fn parse(text: &str) -> Result<Self, String> {
                match text.to_ascii_lowercase().as_str() {
                    $accepted => Ok(Self),
                    _ => Err($why.into()),
                }
            }

            fn print(&self) -> String {
                $printed.into()
            }
        }
    };
}

only! {
    /// Something that is not offered.
    No accepts "no", prints "no", "only no is supported"
}
