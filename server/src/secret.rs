//! Passwords of the own side, which no text may show.

use std::fmt;
use std::ops::Deref;

/// A password. What is printed of it, in a log or by an assertion that fails, tells only that there is
/// one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;
    use crate::migration::{Leave, Source};
    use crate::relay::link::Credentials;
    use crate::replication::LinkConfig;
    use crate::transfer::Request;

    /// What is told to other servers showed its password wherever it was printed.
    #[test]
    fn whatever_holds_a_password_prints_without_it() {
        let secret = || Secret::from(b"hunter2".as_slice());
        let auth = || Some((Some("joe".to_owned()), secret()));
        let texts = [
            format!("{:?}", LinkConfig { auth: auth(), ..LinkConfig::default() }),
            format!("{:?}", Source { auth: auth(), ..Source::default() }),
            format!(
                "{:?}",
                Leave::Redirecting {
                    host: String::new(),
                    port: 1,
                    auth: Some(("joe".into(), secret()))
                }
            ),
            format!("{:?}", Credentials { user: b"joe".to_vec(), password: secret() }),
            format!(
                "{:?}",
                Request {
                    host: String::new(),
                    port: 1,
                    login: Some((Some(b"joe".to_vec()), secret())),
                    from_db: 0,
                    to_db: 0,
                    timeout_ms: 1,
                    copy: false,
                    replace: false,
                    keys: Vec::new(),
                }
            ),
        ];
        for text in texts {
            let bytes = format!("{:?}", b"hunter2");
            assert!(
                !text.contains("hunter2") && !text.contains(&bytes[1..bytes.len() - 1]),
                "{text}"
            );
            assert!(text.contains("(redacted)"), "{text}");
        }
    }
}
