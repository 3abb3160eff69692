//! The types of directives about files.

use super::value::Value;

/// When the append-only file is made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before any reply.
    Always,
    #[default]
    EverySec,
    /// When the system likes to.
    No,
}

impl Value for Fsync {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "always" => Ok(Self::Always),
            "everysec" => Ok(Self::EverySec),
            "no" => Ok(Self::No),
            _ => Err("argument(s) must be one of the following: everysec, always, no".into()),
        }
    }

    fn print(&self) -> String {
        match self {
            Self::Always => "always".into(),
            Self::EverySec => "everysec".into(),
            Self::No => "no".into(),
        }
    }
}

/// A word of `repl-diskless-load`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisklessLoad(String);

impl Value for DisklessLoad {
    fn parse(text: &str) -> Result<Self, String> {
        let word = text.to_ascii_lowercase();
        match word.as_str() {
            "disabled" | "on-empty-db" | "swapdb" | "flush-before-load" => Ok(Self(word)),
            _ => Err("argument(s) must be one of the following: disabled, on-empty-db, swapdb, \
                      flush-before-load"
                .into()),
        }
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}
