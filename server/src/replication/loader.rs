//! Receiving a full resync: data is built aside and handed over when it is complete. Pure.

use super::history::ReplId;
use crate::persistence::load::{DataLoader, Template};
use crate::persistence::rdb::RdbError;
use crate::persistence::rdb::functions::Carried;
use crate::store::Keyspace;

/// What a full resync brought.
#[derive(Debug)]
pub struct Loaded {
    pub keyspace: Keyspace,
    pub id: ReplId,
    pub offset: u64,
    /// The database that the stream goes on in, if it does not say so itself.
    pub stream_db: u32,
    /// The data epoch of the member that sent it, `term.hop`.
    pub epoch: Option<String>,
    /// Users and their rules, as an ACL file.
    pub acl: Option<Vec<u8>>,
    /// The takeover of another server's data, as [`crate::migration::Moving`].
    pub migration: Option<Vec<u8>>,
    /// What a former primary's clock showed at least, Unix time in milliseconds.
    pub clock_ms: Option<i64>,
    pub scripts: Carried,
}

/// Why a full resync cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Rdb(#[from] RdbError),
    #[error("the primary announced no snapshot but {0:?}")]
    Head(String),
    #[error("the snapshot does not end where the primary said it would")]
    End,
}

/// How the end of the snapshot is known.
#[derive(Debug)]
enum Frame {
    /// The line that says it has not come yet.
    Head(Vec<u8>),
    Length(u64),
    Mark([u8; 40]),
}

/// A full resync on its way.
#[derive(Debug)]
pub struct Loader {
    id: ReplId,
    offset: u64,
    frame: Frame,
    /// Bytes of the snapshot's frame that have been given to the reader.
    fed: u64,
    data: DataLoader,
    /// What followed the end of the data, until the whole end mark is there.
    tail: Option<Vec<u8>>,
}

impl Loader {
    /// For the snapshot of this point of this history.
    pub fn new(id: ReplId, offset: u64, template: Template) -> Self {
        Self {
            id,
            offset,
            frame: Frame::Head(Vec::new()),
            fed: 0,
            data: DataLoader::new(template),
            tail: None,
        }
    }

    /// The snapshot's size, if the primary told it in advance.
    pub fn announced(&self) -> Option<u64> {
        match self.frame {
            Frame::Length(length) => Some(length),
            _ => None,
        }
    }

    /// How much of it has come, in bytes.
    pub fn received(&self) -> u64 {
        self.fed
    }

    /// Takes bytes; when the snapshot is complete, answers it with the bytes that follow.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<(Loaded, Vec<u8>)>, LoadError> {
        let bytes = match &mut self.frame {
            Frame::Head(line) => {
                let Some((head, rest)) = first_line(line, bytes)? else { return Ok(None) };
                self.frame = head;
                rest
            }
            _ => bytes,
        };
        if let Some(tail) = &mut self.tail {
            tail.extend_from_slice(bytes);
            return self.close();
        }
        let (inside, beyond) = match self.frame {
            Frame::Length(length) => {
                let left = usize::try_from(length - self.fed).unwrap_or(usize::MAX);
                bytes.split_at(bytes.len().min(left))
            }
            _ => (bytes, [].as_slice()),
        };
        self.fed += inside.len() as u64;
        if self.data.feed(inside)? {
            let mut tail = self.data.take_rest();
            tail.extend_from_slice(beyond);
            self.tail = Some(tail);
            return self.close();
        }
        if beyond.is_empty() { Ok(None) } else { Err(LoadError::End) }
    }

    /// Checks what follows the data.
    fn close(&mut self) -> Result<Option<(Loaded, Vec<u8>)>, LoadError> {
        let tail = self.tail.as_mut().expect("set before this is called");
        match &self.frame {
            Frame::Mark(mark) => {
                if tail.len() < mark.len() {
                    return if mark.starts_with(tail) { Ok(None) } else { Err(LoadError::End) };
                }
                if !tail.starts_with(mark) {
                    return Err(LoadError::End);
                }
                tail.drain(..mark.len());
            }
            Frame::Length(length) => {
                if self.data.consumed() != *length {
                    return Err(LoadError::End);
                }
            }
            Frame::Head(_) => unreachable!("data follows the head"),
        }
        let rest = std::mem::take(tail);
        let data = self.data.finish();
        let loaded = Loaded {
            keyspace: data.keyspace,
            id: self.id,
            offset: self.offset,
            stream_db: data.stream_db,
            epoch: data.epoch,
            acl: data.acl,
            migration: data.migration,
            clock_ms: data.clock_ms,
            scripts: data.scripts,
        };
        Ok(Some((loaded, rest)))
    }
}

/// Reads `$<length>` or `$EOF:<mark>`, passing over empty lines before it.
fn first_line<'a>(
    line: &mut Vec<u8>,
    mut bytes: &'a [u8],
) -> Result<Option<(Frame, &'a [u8])>, LoadError> {
    loop {
        let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
            line.extend_from_slice(bytes);
            return if line.len() < 128 { Ok(None) } else { Err(head_error(line)) };
        };
        line.extend_from_slice(&bytes[..end]);
        bytes = &bytes[end + 1..];
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if !line.is_empty() {
            break;
        }
    }
    let frame = if let Some(mark) = line.strip_prefix(b"$EOF:") {
        mark.try_into().ok().map(Frame::Mark)
    } else {
        let digits = line.strip_prefix(b"$").and_then(|d| std::str::from_utf8(d).ok());
        digits.and_then(|d| d.parse().ok()).map(Frame::Length)
    };
    frame.map(|frame| Some((frame, bytes))).ok_or_else(|| head_error(line))
}

fn head_error(line: &[u8]) -> LoadError {
    LoadError::Head(String::from_utf8_lossy(&line[..line.len().min(128)]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{Frame, LoadError, Loader, first_line};
    use crate::persistence::load::Template;
    use crate::persistence::rdb::{Aux, Form, Sealer, Writer};
    use crate::replication::ReplId;
    use crate::store::{StrRef, ValueRef};

    fn snapshot() -> Vec<u8> {
        let mut writer = Writer::new(&Aux { epoch: Some("3.1".into()), ..Aux::default() });
        writer.entry(0, b"k", ValueRef::Str(StrRef::Bytes(b"v")), None);
        writer.finish();
        Sealer::new(Form::default()).seal(writer.take())
    }

    type Summary = (usize, Option<String>, Vec<u8>);

    /// Feeds `bytes` in pieces; answers the number of keys, the epoch and what is left over.
    fn load(bytes: &[u8], piece: usize) -> Result<Option<Summary>, LoadError> {
        let mut loader = Loader::new(ReplId::from_random([1; 20]), 77, Template::default());
        let mut pieces = bytes.chunks(piece);
        while let Some(part) = pieces.next() {
            if let Some((loaded, mut rest)) = loader.receive(part)? {
                assert_eq!(loaded.offset, 77);
                pieces.for_each(|later| rest.extend_from_slice(later));
                return Ok(Some((loaded.keyspace.len(), loaded.epoch, rest)));
            }
        }
        Ok(None)
    }

    #[test]
    fn both_frames_end_where_the_stream_begins_however_the_bytes_are_cut() {
        let rdb = snapshot();
        let mark = [b'm'; 40];
        let with_mark = [b"\n$EOF:".as_slice(), &mark, b"\r\n", &rdb, &mark, b"stream"].concat();
        let with_length = [format!("\n\n${}\r\n", rdb.len()).as_bytes(), &rdb, b"stream"].concat();
        for bytes in [with_mark, with_length] {
            for piece in [1, 3, 50, bytes.len()] {
                let (keys, epoch, rest) = load(&bytes, piece).expect("valid").expect("complete");
                assert_eq!((keys, epoch.as_deref()), (1, Some("3.1")));
                assert_eq!(rest, b"stream", "in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_wrong_frame_is_refused() {
        let rdb = snapshot();
        let long = [format!("${}\r\n", rdb.len() + 4).as_bytes(), &rdb, b"stream"].concat();
        assert!(matches!(load(&long, 1000), Err(LoadError::End)), "data shorter than announced");
        let short = [format!("${}\r\n", rdb.len() - 4).as_bytes(), &rdb, b"stream"].concat();
        assert!(matches!(load(&short, 1000), Err(LoadError::End)), "data longer than announced");
        let mark = [b"$EOF:".as_slice(), &[b'm'; 40], b"\r\n", &rdb, &[b'x'; 40]].concat();
        assert!(matches!(load(&mark, 1000), Err(LoadError::End)), "another mark");
        assert!(matches!(load(b"-ERR no\r\n", 1000), Err(LoadError::Head(_))));
        assert!(matches!(
            first_line(&mut Vec::new(), b"$12\r\nx"),
            Ok(Some((Frame::Length(12), _)))
        ));
    }
}
