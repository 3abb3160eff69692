//! Which key is to go when memory is short.
//!
//! By approximation: a few entries are looked at, and the best of them are remembered in a pool of
//! 16 from one time to the next, so that little work comes close to the true order.

use super::Keyspace;
use super::random::Random;
use super::table::VOLATILE;

const POOL_MAX: usize = 16;
/// Entries that may be passed over in search of one with an expiry time, in one database.
const PASSED_MAX: usize = 20_000;

/// By what a victim is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Least recently or least often used, whichever the clock of entries counts.
    Use,
    Random,
    /// The nearest expiry time.
    Ttl,
}

/// What may be evicted, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub order: Order,
    /// Only keys that have an expiry time.
    pub volatile: bool,
    /// Entries looked at for one victim, in each database.
    pub samples: usize,
}

#[derive(Clone, Debug)]
struct Candidate {
    rank: u64,
    db: usize,
    key: Vec<u8>,
}

/// What eviction remembers.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// The best victim last.
    candidates: Vec<Candidate>,
    next_db: usize,
    /// Where the search for entries with an expiry time goes on, by database.
    cursors: Vec<u64>,
}

impl Keyspace {
    /// The key that is to go next, with its database; `None` when no key may go.
    pub fn victim(
        &self,
        pool: &mut Pool,
        choice: Choice,
        random: &mut Random,
    ) -> Option<(usize, Vec<u8>)> {
        pool.cursors.resize(self.databases(), 0);
        if choice.order == Order::Random {
            return self.random_victim(pool, choice, random);
        }
        loop {
            let mut may_go = false;
            for db in 0..self.databases() {
                may_go |= self.sample(pool, db, choice, random);
            }
            if !may_go {
                return None;
            }
            while let Some(Candidate { db, key, .. }) = pool.candidates.pop() {
                let slot = self.dbs.get(db).and_then(|db| db.table.get(&key));
                if slot.is_some_and(|slot| !choice.volatile || slot.has(VOLATILE)) {
                    return Some((db, key));
                }
            }
        }
    }

    fn random_victim(
        &self,
        pool: &mut Pool,
        choice: Choice,
        random: &mut Random,
    ) -> Option<(usize, Vec<u8>)> {
        for _ in 0..self.databases() {
            pool.next_db = (pool.next_db + 1) % self.databases();
            let mut found = None;
            let one = Choice { samples: 1, ..choice };
            self.visit(pool, pool.next_db, one, random, |_, _, key| found = Some(key.to_vec()));
            if let Some(key) = found {
                return Some((pool.next_db, key));
            }
        }
        None
    }

    /// Adds a few entries of a database to the pool; `false` when it has none that may go.
    fn sample(&self, pool: &mut Pool, db: usize, choice: Choice, random: &mut Random) -> bool {
        let mut found = Vec::with_capacity(choice.samples);
        self.visit(pool, db, choice, random, |bits, expiry_ms, key| {
            let rank = match expiry_ms {
                Some(at) if choice.order == Order::Ttl => u64::MAX - at.max(0) as u64,
                _ => self.dbs[db].access.idleness(bits).into(),
            };
            found.push((rank, key.to_vec()));
        });
        let any = !found.is_empty();
        for (rank, key) in found {
            pool.offer(Candidate { rank, db, key });
        }
        any
    }

    fn visit<'a>(
        &'a self,
        pool: &mut Pool,
        index: usize,
        choice: Choice,
        random: &mut Random,
        mut f: impl FnMut(u32, Option<i64>, &'a [u8]),
    ) {
        use super::table::Keyed as _;
        let db = &self.dbs[index];
        if db.is_empty() || choice.volatile && db.volatile() == 0 {
            return;
        }
        // Where few keys are volatile, the search goes on where the last one stopped: it finds
        // each of them once in a round instead of the same ones again.
        let rare = choice.volatile && db.volatile() < db.len() / 64;
        let start = if rare { pool.cursors[index] } else { random.draw() };
        // A round that passes too many ends without a result only when there is none.
        let passed_max = if rare { usize::MAX } else { PASSED_MAX };
        let (mut left, mut passed) = (choice.samples, 0);
        let mut seen = |slot: &'a super::table::Slot<super::body::Body>| {
            passed += 1;
            if !choice.volatile || slot.has(VOLATILE) {
                f(slot.clock(), slot.entry.expiry_ms(), slot.entry.key());
                left -= 1;
            }
            left > 0 && passed < passed_max
        };
        let end = db.table.visit_from(start, &mut seen);
        pool.cursors[index] = end + 1;
    }
}

impl Pool {
    fn offer(&mut self, candidate: Candidate) {
        let at = self.candidates.partition_point(|other| other.rank < candidate.rank);
        if self.candidates.len() < POOL_MAX {
            self.candidates.insert(at, candidate);
        } else if at > 0 {
            self.candidates.insert(at, candidate);
            self.candidates.remove(0);
        }
    }

    /// Forgets what was seen under another policy.
    pub fn clear(&mut self) {
        self.candidates.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{AccessRules, Seed};

    fn filled(keys: u32, volatile_every: u32) -> Keyspace {
        let mut ks = Keyspace::new(2, Seed([3, 4]));
        for n in 0..keys {
            ks.set_clock(i64::from(n) * 1000);
            let key = format!("key:{n}");
            let db = ks.db_mut((n % 2) as usize);
            db.set_str(key.as_bytes(), b"value", false);
            if n % volatile_every == 0 {
                db.expire_at(key.as_bytes(), 1_000_000_000 + i64::from(n));
            }
        }
        ks
    }

    fn number(key: &[u8]) -> u32 {
        std::str::from_utf8(&key[4..]).unwrap().parse().unwrap()
    }

    /// Evicts `count` keys and returns their numbers.
    fn evict(ks: &mut Keyspace, choice: Choice, count: usize) -> Vec<u32> {
        let (mut pool, mut random) = (Pool::default(), Random::new(1));
        let mut gone = Vec::new();
        for _ in 0..count {
            let Some((db, key)) = ks.victim(&mut pool, choice, &mut random) else { break };
            assert!(ks.db_mut(db).evict(&key));
            gone.push(number(&key));
        }
        gone
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let mut ks = filled(2000, 3);
        let choice = Choice { order: Order::Use, volatile: false, samples: 5 };
        let gone = evict(&mut ks, choice, 600);
        let old = gone.iter().filter(|n| **n < 1000).count();
        assert!(old > 520, "only {old} of 600 were of the older half");
    }

    #[test]
    fn only_volatile_keys_go_until_none_is_left() {
        for order in [Order::Use, Order::Random, Order::Ttl] {
            let mut ks = filled(1000, 10);
            let gone = evict(&mut ks, Choice { order, volatile: true, samples: 5 }, 1000);
            assert_eq!(gone.len(), 100, "{order:?}");
            assert!(gone.iter().all(|n| n % 10 == 0), "{order:?}");
            if order == Order::Ttl {
                let early = gone[..30].iter().filter(|n| **n < 500).count();
                assert!(early >= 25, "{early} of the first 30 were of the nearer half");
            }
        }
    }

    #[test]
    fn a_rare_volatile_key_is_found_in_a_large_database() {
        let mut ks = filled(20_000, 20_000);
        let gone = evict(&mut ks, Choice { order: Order::Ttl, volatile: true, samples: 5 }, 3);
        assert_eq!(gone, [0]);
    }

    #[test]
    fn the_least_often_used_go_first() {
        let mut ks = Keyspace::new(1, Seed([3, 4]));
        ks.set_access(AccessRules { lfu: true, ..AccessRules::default() });
        for n in 0..200u32 {
            ks.db_mut(0).set_str(format!("key:{n}").as_bytes(), b"v", false);
        }
        for n in 100..200u32 {
            for _ in 0..100 {
                ks.db_mut(0).lookup(format!("key:{n}").as_bytes());
            }
        }
        let choice = Choice { order: Order::Use, volatile: false, samples: 10 };
        let gone = evict(&mut ks, choice, 80);
        assert!(gone.iter().all(|n| *n < 100), "{gone:?}");
    }
}
