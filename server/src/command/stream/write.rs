//! Ids and entries as replies.

use crate::resp::Reply;
use crate::store::{Entry, Id, IdBuf, Item};

#[inline]
pub fn id(reply: &mut Reply<'_>, id: Id) {
    reply.bulk(id.text(&mut [0; size_of::<IdBuf>()]));
}

/// An entry: its id, and an array of its fields and values.
#[inline]
pub fn entry(reply: &mut Reply<'_>, entry: &Entry<'_>) {
    reply.array(2);
    id(reply, entry.id());
    reply.array(entry.fields() * 2);
    entry.each(|item| match item {
        Item::Bytes(bytes) => reply.bulk(bytes),
        Item::Int(n) => reply.bulk_int(n),
    });
}

/// An array of entries, at most `count`.
pub fn entries<'a>(
    reply: &mut Reply<'_>,
    entries: impl Iterator<Item = Entry<'a>>,
    count: Option<usize>,
) {
    let array = reply.open_array();
    let mut written = 0;
    for found in entries.take(count.unwrap_or(usize::MAX)) {
        entry(reply, &found);
        written += 1;
    }
    reply.close_array(array, written);
}
