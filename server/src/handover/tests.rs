//! Tables and stories of the member's state machine; what several members do together is the
//! simulator's.

mod commit;
mod disk;
mod records;
mod stories;
mod table;
mod world;
