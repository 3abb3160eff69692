//! The types of directives: how each is read and printed.

use std::fmt::Write as _;

/// A directive's value. `parse` explains what was expected, without the directive's name.
pub trait Value: Sized {
    fn parse(text: &str) -> Result<Self, String>;
    fn print(&self) -> String;
}

impl Value for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err("expected yes or no".into()),
        }
    }

    fn print(&self) -> String {
        if *self { "yes".into() } else { "no".into() }
    }
}

macro_rules! number {
    ($($kind:ty),*) => {$(
        impl Value for $kind {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("expected a number up to {}", <$kind>::MAX))
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
            .filter(|size| i64::try_from(*size).is_ok())
            .map(Self)
            .ok_or_else(|| "expected a size such as 64mb".into())
    }

    fn print(&self) -> String {
        self.0.to_string()
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
        let classes = [("normal", self.normal), ("replica", self.replica), ("pubsub", self.pubsub)];
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
            return Err("expected: class hard soft seconds".into());
        }
        for group in words.chunks(4) {
            let limit = OutputLimit {
                hard_bytes: Bytes::parse(group[1])?.0,
                soft_bytes: Bytes::parse(group[2])?.0,
                soft_s: u64::parse(group[3])?,
            };
            match group[0].to_ascii_lowercase().as_str() {
                "normal" => self.normal = limit,
                "replica" | "slave" => self.replica = limit,
                "pubsub" => self.pubsub = limit,
                other => return Err(format!("unknown class '{other}'")),
            }
        }
        Ok(())
    }
}

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
    /// What happens when memory is full; eviction is not offered.
    MaxmemoryPolicy accepts "noeviction", prints "noeviction", "only noeviction is supported"
}
only! {
    /// Something that is not offered.
    No accepts "no", prints "no", "only no is supported"
}
only! {
    /// Logs go to stderr only.
    LogFile accepts "" | "stderr", prints "", "logs go to the standard error stream only"
}
