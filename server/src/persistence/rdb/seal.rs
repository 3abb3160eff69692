//! The second half of writing a snapshot: compression and checksums. They look at every byte
//! and at nothing else, so a thread that delays no command can do them. Pure.

use super::lzf::Packer;
use super::{crc64, writer};
use crate::persistence::aof;
use std::ops::Range;

/// Shorter strings are not worth being compressed.
pub(super) const WORTH_MIN: usize = 21;

/// What may be chosen about a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// Long strings of values are compressed where that makes them shorter.
    pub compress: bool,
    /// The end carries a checksum, instead of 0.
    pub checksum: bool,
    /// The parts are commands, and become frames of an append-only file.
    pub frames: bool,
}

impl Default for Form {
    fn default() -> Self {
        Self { compress: false, checksum: true, frames: false }
    }
}

/// A part of a stream as its writer left it.
#[derive(Debug, Default)]
pub struct Draft {
    pub(super) bytes: Vec<u8>,
    /// Long strings of values: where the length of each begins, and its text.
    pub(super) long: Vec<(usize, Range<usize>)>,
    /// An RDB ends here, and wants its checksum.
    pub(super) ends: bool,
}

impl From<Vec<u8>> for Draft {
    /// Bytes that stay as they are.
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }
}

impl Draft {
    /// Bytes, before any are compressed.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Makes the bytes of one stream out of its parts, given in order.
#[derive(Debug)]
pub struct Sealer {
    form: Form,
    packer: Packer,
    crc: u64,
    sums: aof::Sums,
}

impl Sealer {
    pub fn new(form: Form) -> Self {
        Self { form, packer: Packer::default(), crc: 0, sums: aof::Sums::default() }
    }

    pub fn seal(&mut self, draft: Draft) -> Vec<u8> {
        if self.form.frames {
            let mut part = aof::Draft::default();
            part.frame(draft.len() as u64, |out| out.extend_from_slice(&draft.bytes));
            return self.sums.seal(part);
        }
        let ends = draft.ends;
        let mut out = if self.form.compress { self.pack(&draft) } else { draft.bytes };
        if self.form.checksum {
            self.crc = crc64::update(self.crc, &out);
        }
        if ends {
            out.extend_from_slice(&self.crc.to_le_bytes());
        }
        out
    }

    /// Long strings as LZF where that makes them shorter.
    fn pack(&mut self, draft: &Draft) -> Vec<u8> {
        let mut out = Vec::with_capacity(draft.len() + size_of_val(&self.crc));
        let mut done = 0;
        for (head, text) in &draft.long {
            let Some(packed) = self.packer.pack(&draft.bytes[text.clone()]) else { continue };
            out.extend_from_slice(&draft.bytes[done..*head]);
            out.push(0xc3);
            writer::length(&mut out, packed.len() as u64);
            writer::length(&mut out, text.len() as u64);
            out.extend_from_slice(packed);
            done = text.end;
        }
        out.extend_from_slice(&draft.bytes[done..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Aux, Writer};
    use super::{Form, Sealer};
    use crate::persistence::load::{DataLoader, Template};
    use crate::store::{StrRef, ValueRef};

    /// Both kinds of long strings in one part: those that shrink, and those that do not.
    #[test]
    fn what_was_compressed_in_parts_is_loaded_whole() {
        let noise: Vec<u8> = (0..900_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        let texts = [b"x".repeat(5000), noise, b"short".to_vec(), b"ab".repeat(40)];
        let lens = [false, true].map(|compress| {
            let mut writer = Writer::new(&Aux::default());
            let mut sealer = Sealer::new(Form { compress, ..Form::default() });
            let mut out = Vec::new();
            for (n, text) in texts.iter().cycle().take(20).enumerate() {
                let value = ValueRef::Str(StrRef::Bytes(text));
                writer.entry(0, n.to_string().as_bytes(), value, None);
                if n % 6 == 5 {
                    out.extend(sealer.seal(writer.take()));
                }
            }
            writer.finish();
            out.extend(sealer.seal(writer.take()));
            let mut loader = DataLoader::new(Template::default());
            assert!(loader.feed(&out).expect("valid"));
            let mut data = loader.finish();
            for (n, text) in texts.iter().cycle().take(20).enumerate() {
                let value = data.keyspace.db_mut(0).lookup(n.to_string().as_bytes());
                assert!(matches!(value, Some(ValueRef::Str(StrRef::Bytes(got))) if got == text));
            }
            out.len()
        });
        assert!(lens[1] + 20_000 < lens[0], "{lens:?}");
    }
}
