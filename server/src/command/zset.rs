//! Commands on sorted sets.

mod add;
mod algebra;
mod bounds;
mod pop;
mod range;
mod read;

use super::{Command, Flags, Group, Keys};

pub use add::zadd;

const WRITE: Flags = Flags::WRITE.with(Flags::DENYOOM);
const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.with(Flags::FAST);
const REMOVE: Flags = Flags::WRITE;
const REMOVE_FAST: Flags = Flags::WRITE.with(Flags::FAST);
const WAIT: Flags = Flags::WRITE.with(Flags::BLOCKING);
const TWO_KEYS: Keys = Keys::Range { first: 1, last: 2, step: 1 };
const STORE_KEYS: Keys = Keys::CountedWith { fixed: 1, count: 2 };
const MOVABLE: Flags = Flags::MOVABLE_KEYS;
const ROW: Command =
    Command { keys: Keys::ONE, group: Group::SortedSet, since: "2.0.0", ..Command::ROW };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "zadd",
        arity: -4,
        flags: WRITE.with(Flags::FAST),
        since: "1.2.0",
        summary: "Adds members to a sorted set, or changes their scores.",
        handler: add::zadd,
        ..ROW
    },
    Command {
        name: "zincrby",
        arity: 4,
        flags: WRITE.with(Flags::FAST),
        since: "1.2.0",
        summary: "Adds to the score of a member.",
        handler: add::zincrby,
        ..ROW
    },
    Command {
        name: "zrem",
        arity: -3,
        flags: REMOVE_FAST,
        since: "1.2.0",
        summary: "Removes members from a sorted set.",
        handler: add::zrem,
        ..ROW
    },
    Command {
        name: "zcard",
        arity: 2,
        flags: READ_FAST,
        since: "1.2.0",
        summary: "Returns the number of members.",
        handler: read::zcard,
        ..ROW
    },
    Command {
        name: "zscore",
        arity: 3,
        flags: READ_FAST,
        since: "1.2.0",
        summary: "Returns the score of a member.",
        handler: read::zscore,
        ..ROW
    },
    Command {
        name: "zmscore",
        arity: -3,
        flags: READ_FAST,
        since: "6.2.0",
        summary: "Returns the scores of members.",
        handler: read::zmscore,
        ..ROW
    },
    Command {
        name: "zrank",
        arity: -3,
        flags: READ_FAST,
        summary: "Returns the rank of a member, by ascending scores.",
        handler: |cx| read::zrank(cx, false),
        ..ROW
    },
    Command {
        name: "zrevrank",
        arity: -3,
        flags: READ_FAST,
        summary: "Returns the rank of a member, by descending scores.",
        handler: |cx| read::zrank(cx, true),
        ..ROW
    },
    Command {
        name: "zcount",
        arity: 4,
        flags: READ_FAST,
        summary: "Counts the members within a range of scores.",
        handler: |cx| range::count(cx, bounds::By::Score),
        ..ROW
    },
    Command {
        name: "zlexcount",
        arity: 4,
        flags: READ_FAST,
        since: "2.8.9",
        summary: "Counts the members within a lexicographical range.",
        handler: |cx| range::count(cx, bounds::By::Lex),
        ..ROW
    },
    Command {
        name: "zrange",
        arity: -4,
        flags: READ,
        since: "1.2.0",
        summary: "Returns the members within a range of ranks, scores or members.",
        handler: |cx| range::range(cx, None, None),
        ..ROW
    },
    Command {
        name: "zrevrange",
        arity: -4,
        flags: READ,
        since: "1.2.0",
        summary: "Returns the members within a range of ranks, by descending scores.",
        handler: |cx| range::range(cx, Some(bounds::By::Rank), Some(true)),
        ..ROW
    },
    Command {
        name: "zrangebyscore",
        arity: -4,
        flags: READ,
        since: "1.0.5",
        summary: "Returns the members within a range of scores.",
        handler: |cx| range::range(cx, Some(bounds::By::Score), Some(false)),
        ..ROW
    },
    Command {
        name: "zrevrangebyscore",
        arity: -4,
        flags: READ,
        since: "2.2.0",
        summary: "Returns the members within a range of scores, descending.",
        handler: |cx| range::range(cx, Some(bounds::By::Score), Some(true)),
        ..ROW
    },
    Command {
        name: "zrangebylex",
        arity: -4,
        flags: READ,
        since: "2.8.9",
        summary: "Returns the members within a lexicographical range.",
        handler: |cx| range::range(cx, Some(bounds::By::Lex), Some(false)),
        ..ROW
    },
    Command {
        name: "zrevrangebylex",
        arity: -4,
        flags: READ,
        since: "2.8.9",
        summary: "Returns the members within a lexicographical range, descending.",
        handler: |cx| range::range(cx, Some(bounds::By::Lex), Some(true)),
        ..ROW
    },
    Command {
        name: "zrangestore",
        arity: -5,
        flags: WRITE,
        keys: TWO_KEYS,
        since: "6.2.0",
        summary: "Stores the members within a range in another sorted set.",
        handler: range::store,
        ..ROW
    },
    Command {
        name: "zremrangebyrank",
        arity: 4,
        flags: REMOVE,
        summary: "Removes the members within a range of ranks.",
        handler: |cx| range::remove(cx, bounds::By::Rank),
        ..ROW
    },
    Command {
        name: "zremrangebyscore",
        arity: 4,
        flags: REMOVE,
        since: "1.2.0",
        summary: "Removes the members within a range of scores.",
        handler: |cx| range::remove(cx, bounds::By::Score),
        ..ROW
    },
    Command {
        name: "zremrangebylex",
        arity: 4,
        flags: REMOVE,
        since: "2.8.9",
        summary: "Removes the members within a lexicographical range.",
        handler: |cx| range::remove(cx, bounds::By::Lex),
        ..ROW
    },
    Command {
        name: "zunion",
        arity: -3,
        flags: READ.with(MOVABLE),
        keys: Keys::Counted(1),
        since: "6.2.0",
        summary: "Returns the union of sorted sets.",
        handler: |cx| algebra::reply(cx, algebra::Operation::Union),
        ..ROW
    },
    Command {
        name: "zinter",
        arity: -3,
        flags: READ.with(MOVABLE),
        keys: Keys::Counted(1),
        since: "6.2.0",
        summary: "Returns the intersection of sorted sets.",
        handler: |cx| algebra::reply(cx, algebra::Operation::Inter),
        ..ROW
    },
    Command {
        name: "zdiff",
        arity: -3,
        flags: READ.with(MOVABLE),
        keys: Keys::Counted(1),
        since: "6.2.0",
        summary: "Returns the members of the first sorted set that no other has.",
        handler: |cx| algebra::reply(cx, algebra::Operation::Diff),
        ..ROW
    },
    Command {
        name: "zunionstore",
        arity: -4,
        flags: WRITE.with(MOVABLE),
        keys: STORE_KEYS,
        summary: "Stores the union of sorted sets.",
        handler: |cx| algebra::store(cx, algebra::Operation::Union),
        ..ROW
    },
    Command {
        name: "zinterstore",
        arity: -4,
        flags: WRITE.with(MOVABLE),
        keys: STORE_KEYS,
        summary: "Stores the intersection of sorted sets.",
        handler: |cx| algebra::store(cx, algebra::Operation::Inter),
        ..ROW
    },
    Command {
        name: "zdiffstore",
        arity: -4,
        flags: WRITE.with(MOVABLE),
        keys: STORE_KEYS,
        since: "6.2.0",
        summary: "Stores the members of the first sorted set that no other has.",
        handler: |cx| algebra::store(cx, algebra::Operation::Diff),
        ..ROW
    },
    Command {
        name: "zintercard",
        arity: -3,
        flags: READ.with(MOVABLE),
        keys: Keys::Counted(1),
        since: "7.0.0",
        summary: "Returns the number of members that all sorted sets have.",
        handler: algebra::zintercard,
        ..ROW
    },
    Command {
        name: "zpopmin",
        arity: -2,
        flags: REMOVE_FAST,
        since: "5.0.0",
        summary: "Removes and returns the members with the lowest scores.",
        handler: |cx| pop::pop(cx, pop::Side::Min),
        ..ROW
    },
    Command {
        name: "zpopmax",
        arity: -2,
        flags: REMOVE_FAST,
        since: "5.0.0",
        summary: "Removes and returns the members with the highest scores.",
        handler: |cx| pop::pop(cx, pop::Side::Max),
        ..ROW
    },
    Command {
        name: "zmpop",
        arity: -4,
        flags: REMOVE.with(MOVABLE),
        keys: Keys::Counted(1),
        since: "7.0.0",
        summary: "Removes members from the first sorted set that has any.",
        handler: pop::zmpop,
        ..ROW
    },
    Command {
        name: "bzpopmin",
        arity: -3,
        flags: WAIT.with(Flags::FAST),
        keys: Keys::Range { first: 1, last: -2, step: 1 },
        since: "5.0.0",
        summary: "Removes the member with the lowest score, or waits for one.",
        handler: |cx| pop::wait(cx, pop::Side::Min),
        ..ROW
    },
    Command {
        name: "bzpopmax",
        arity: -3,
        flags: WAIT.with(Flags::FAST),
        keys: Keys::Range { first: 1, last: -2, step: 1 },
        since: "5.0.0",
        summary: "Removes the member with the highest score, or waits for one.",
        handler: |cx| pop::wait(cx, pop::Side::Max),
        ..ROW
    },
    Command {
        name: "bzmpop",
        arity: -5,
        flags: WAIT.with(MOVABLE),
        keys: Keys::Counted(2),
        since: "7.0.0",
        summary: "Removes members from the first sorted set that has any, or waits for one.",
        handler: pop::bzmpop,
        ..ROW
    },
    Command {
        name: "zrandmember",
        arity: -2,
        flags: READ,
        since: "6.2.0",
        summary: "Returns random members.",
        handler: read::zrandmember,
        ..ROW
    },
    Command {
        name: "zscan",
        arity: -3,
        flags: READ,
        since: "2.8.0",
        summary: "Iterates over members and scores.",
        handler: read::zscan,
        ..ROW
    },
];
