//! What was removed from the keyspace and takes so long to free that another thread should.

use super::body::Body;
use super::table::Table;

/// More pieces than this are freed elsewhere.
const PIECES_HERE_MAX: usize = 64;
/// What a piece is reckoned to take, in bytes: less than most do.
const PIECE_BYTES: usize = 64;

/// Which removals leave the freeing of large values to another thread: the directives
/// `lazyfree-lazy-*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a directive
pub struct Lazy {
    pub eviction: bool,
    pub expire: bool,
    pub server_del: bool,
    pub user_del: bool,
}

impl Default for Lazy {
    fn default() -> Self {
        Self { eviction: true, expire: true, server_del: true, user_del: true }
    }
}

#[derive(Debug)]
enum Kind {
    Entry(Body),
    Table(Table<Body>),
}

/// Frees what it holds when it is dropped.
#[derive(Debug)]
pub struct Garbage(Kind);

impl Garbage {
    pub(super) fn entry(body: Body) -> Self {
        Self(Kind::Entry(body))
    }

    pub(super) fn table(table: Table<Body>) -> Self {
        Self(Kind::Table(table))
    }

    /// Keys in it: what INFO's `lazyfreed_objects` counts.
    pub fn keys(&self) -> usize {
        match &self.0 {
            Kind::Entry(_) => 1,
            Kind::Table(table) => table.len(),
        }
    }

    /// About how many bytes it gives back, at least.
    pub fn memory(&self) -> usize {
        match &self.0 {
            Kind::Entry(body) => body.overhead() + body.pieces() * PIECE_BYTES,
            Kind::Table(table) => table.memory() + table.len() * PIECE_BYTES,
        }
    }

    #[inline]
    pub(super) fn takes_long(&self) -> bool {
        match &self.0 {
            Kind::Entry(body) => body.pieces() > PIECES_HERE_MAX,
            Kind::Table(table) => table.len() > PIECES_HERE_MAX,
        }
    }
}
