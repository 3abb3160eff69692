//! MIGRATE: what is said to the server that keys are moved to, and what its answers mean. Pure;
//! [`crate::engine`]'s `transfer` module binds it to connections and data.

use crate::resp::encode_command;
use crate::secret::Secret;

/// An answer longer than this is none to what is asked here, in bytes.
const LINE_MAX: usize = 64 * 1024;
/// Of a refusal so much is passed on, in characters.
const REFUSAL_MAX: usize = 1000;

/// User (none for the old one-argument form) and password.
pub type Login = (Option<Vec<u8>>, Secret);

/// What MIGRATE was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub host: String,
    pub port: u16,
    pub login: Option<Login>,
    /// The database here and the one there.
    pub from_db: usize,
    pub to_db: i64,
    /// How long nothing may come or go, in milliseconds.
    pub timeout_ms: u64,
    pub copy: bool,
    pub replace: bool,
    pub keys: Vec<Vec<u8>>,
}

/// A key that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub key: Vec<u8>,
    /// A hash of what was sent, where a change might not be noticed otherwise.
    pub digest: Option<[u8; 20]>,
}

/// How far the answers have come.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    More,
    All,
    /// Not a single key was taken: the login or the database was refused.
    Refused,
}

/// One round: commands that were sent together, and their answers.
#[derive(Debug, Default)]
pub struct Round {
    /// Answers that come before those to the keys.
    greetings: usize,
    sent: Vec<Sent>,
    answered: usize,
    /// Those that the target has.
    pub taken: Vec<Sent>,
    /// The first refusal, in the target's words.
    pub refusal: Option<String>,
    input: Vec<u8>,
}

impl Round {
    pub fn login(&mut self, login: &Login, out: &mut Vec<u8>) {
        match login {
            (Some(user), password) => encode_command(out, [b"AUTH".as_slice(), user, password]),
            (None, password) => encode_command(out, [b"AUTH".as_slice(), password]),
        }
        self.greetings += 1;
    }

    pub fn select(&mut self, db: i64, out: &mut Vec<u8>) {
        encode_command(out, [b"SELECT".as_slice(), db.to_string().as_bytes()]);
        self.greetings += 1;
    }

    /// Sends a key's value, of which `left_ms` of its life are left (0: for ever).
    pub fn restore(
        &mut self,
        sent: Sent,
        left_ms: i64,
        payload: &[u8],
        replace: bool,
        out: &mut Vec<u8>,
    ) {
        let left = left_ms.to_string();
        let words: [&[u8]; 5] = [b"RESTORE", &sent.key, left.as_bytes(), payload, b"REPLACE"];
        encode_command(out, words[..if replace { 5 } else { 4 }].iter().copied());
        self.sent.push(sent);
    }

    /// A key that was sent before is gone here: it goes there, too.
    pub fn delete(&mut self, key: Vec<u8>, out: &mut Vec<u8>) {
        encode_command(out, [b"DEL".as_slice(), &key]);
        self.sent.push(Sent { key, digest: None });
    }

    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Takes bytes that the target answered.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Progress, &'static str> {
        self.input.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(end) = self.input[at..].windows(2).position(|pair| pair == b"\r\n") {
            let line = &self.input[at..at + end];
            let refused = line.strip_prefix(b"-").map(text);
            let known = refused.is_some() || matches!(line.first(), Some(b'+' | b':'));
            if !known || self.greetings == 0 && self.answered == self.sent.len() {
                return Err("what came is no answer");
            }
            at += end + 2;
            if self.greetings > 0 {
                self.greetings -= 1;
                if refused.is_some() {
                    self.refusal = refused;
                    return Ok(Progress::Refused);
                }
                continue;
            }
            match refused {
                None => self.taken.push(self.sent[self.answered].clone()),
                Some(text) => _ = self.refusal.get_or_insert(text),
            }
            self.answered += 1;
        }
        self.input.drain(..at);
        if self.input.len() > LINE_MAX {
            return Err("an answer without end");
        }
        let all = self.greetings == 0 && self.answered == self.sent.len();
        Ok(if all { Progress::All } else { Progress::More })
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().take(REFUSAL_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(key: &str) -> Sent {
        Sent { key: key.into(), digest: None }
    }

    fn round() -> (Round, String) {
        let (mut round, mut out) = (Round::default(), Vec::new());
        round.login(&(Some(b"u".to_vec()), b"p".as_slice().into()), &mut out);
        round.select(9, &mut out);
        round.restore(sent("a"), 0, b"A", false, &mut out);
        round.restore(sent("b"), 7, b"B", true, &mut out);
        round.delete(b"c".to_vec(), &mut out);
        let text = String::from_utf8(out).expect("ascii");
        let words = text.split("\r\n").filter(|word| !word.starts_with(['*', '$']));
        (round, words.collect::<Vec<_>>().join(" ").trim().to_owned())
    }

    #[test]
    fn keys_are_sent_as_restore_takes_them() {
        assert_eq!(round().1, "AUTH u p SELECT 9 RESTORE a 0 A RESTORE b 7 B REPLACE DEL c");
    }

    #[test]
    fn answers_are_read_in_whatever_pieces_they_come() {
        let bytes = b"+OK\r\n+OK\r\n-BUSYKEY it is there\r\n+OK\r\n:1\r\n";
        for piece in 1..=bytes.len() {
            let (mut round, _) = round();
            let mut last = Progress::More;
            for part in bytes.chunks(piece) {
                assert_eq!(last, Progress::More);
                last = round.receive(part).expect("they are answers");
            }
            assert_eq!(last, Progress::All);
            assert_eq!(round.refusal.as_deref(), Some("BUSYKEY it is there"));
            assert_eq!(round.taken, [sent("b"), sent("c")]);
        }
    }

    #[test]
    fn a_refused_login_moves_nothing_and_what_is_no_answer_is_an_error() {
        let (mut refused, _) = round();
        assert_eq!(refused.receive(b"-WRONGPASS no\r\n+OK\r\n+OK\r\n"), Ok(Progress::Refused));
        assert!(refused.taken.is_empty());
        assert!(round().0.receive(b"HTTP/1.1 400\r\n").is_err());
        assert!(round().0.receive(&vec![b'+'; LINE_MAX + 1]).is_err());
        let (mut many, _) = round();
        assert!(many.receive(&b"+OK\r\n".repeat(6)).is_err());
    }
}
