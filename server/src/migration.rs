//! Moving in: what is said to the server outside that a `RedisHA` takes its data from, and what its
//! answers mean. Pure; [`crate::engine`]'s `migrate` module binds it to connections and data.
//!
//! The data come over a replication link of their own, and are written here as this primary's own
//! writes. Beside it, a second connection asks the source how far it is and, at the cut-over,
//! pauses its writes. When all that it wrote is here it is told to take no more, for good; it is
//! asked once more how far it is, since a pause may have run out meanwhile; and when that is here,
//! too, writes are taken here.
//!
//! **Invariant (one of two takes writes).** What is known of the takeover is part of the log
//! ([`Moving`]): a record says where the data come from, another stands behind every part of them
//! and says which point of the source's history they are, in one unit with it. So whoever becomes
//! the primary refuses writes as the one before did, and goes on from the very point that its data
//! are. Only behind the record that says the cut-over is done are writes taken, and that record is
//! written when the source takes none any more; the primary that wrote it takes them when as many
//! members hold it as must hold a write. A source that has to drop its own data to
//! follow is told so only when they hold everything.
//!
//! **Invariant (nothing is left out unseen).** A command of the source that cannot be executed here
//! is counted in the log, behind the same point; as long as any is, nobody cuts over, and a source
//! that was told to take no more writes is told to go on. Only a new copy of its data ends that. So it
//! is with what a primary of an older version wrote, which counts nothing.

mod control;
mod cut;
mod moving;
#[cfg(test)]
mod tests;

pub use control::{Asked, Control, Leave, Source, Told};
pub use cut::{Cut, Do, Facts};
pub use moving::{Moving, Phase, Point, RECORD, Unapplied};
