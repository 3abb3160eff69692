//! Random commands of one family over few keys, few members and the numbers that matter.

/// The forms of a family's commands. Words that begin with `$` are drawn anew for each command.
pub struct Family {
    pub name: &'static str,
    forms: &'static [&'static str],
}

pub const FAMILIES: &[Family] = &[
    Family { name: "bitmaps", forms: BITMAPS },
    Family { name: "hashes", forms: HASHES },
    Family { name: "hyperloglogs", forms: HYPERLOGLOGS },
    Family { name: "places", forms: PLACES },
    Family { name: "lists", forms: LISTS },
    Family { name: "sets", forms: SETS },
    Family { name: "sorting", forms: SORTING },
    Family { name: "sorted sets", forms: ZSETS },
];

const BITMAPS: &[&str] = &[
    "SET $k $v",
    "SET $k $i",
    "APPEND $k $v",
    "SETBIT $k $b 1",
    "SETBIT $k $b 0",
    "SETBIT $k $i $i",
    "GETBIT $k $b",
    "GETBIT $k $i",
    "BITCOUNT $k",
    "BITCOUNT $k $i $i",
    "BITCOUNT $k $i",
    "BITCOUNT $k $i $i BIT",
    "BITCOUNT $k $i $i BYTE",
    "BITPOS $k 0",
    "BITPOS $k 1 $i",
    "BITPOS $k 0 $i $i",
    "BITPOS $k 0 $i $i BIT",
    "BITPOS $k 1 $i $i BIT",
    "BITPOS $k 1 $i $i BYTE",
    "BITOP AND $k $k $k",
    "BITOP OR $k $k $k $k",
    "BITOP XOR $k $k $k",
    "BITOP NOT $k $k",
    "BITFIELD $k GET u$i $b",
    "BITFIELD $k SET u$w $b $i",
    "BITFIELD $k SET i$w $b $i GET i$w $b",
    "BITFIELD $k INCRBY i$w #$w $i INCRBY u$w $b $i",
    "BITFIELD $k OVERFLOW SAT INCRBY i$w $b $big OVERFLOW FAIL INCRBY u$w $b $big",
    "BITFIELD $k OVERFLOW SAT SET i$w $b $big OVERFLOW FAIL SET u$w $b $big",
    "BITFIELD $k OVERFLOW WRAP INCRBY i$w $b $big SET i$w $b $big SET u$w $b $big",
    "BITFIELD_RO $k GET i$w $b GET u$w #$w",
    "BITFIELD_RO $k SET i$w $b 1",
    "GETRANGE $k 0 -1",
    "OBJECT ENCODING $k",
    "DEL $k",
    "LPUSH $k $v",
];

const HASHES: &[&str] = &[
    "HSET $k $m $v",
    "HSET $k $m $v $m $v $m $v",
    "HMSET $k $m $v $m $i",
    "HSETNX $k $m $v",
    "HGET $k $m",
    "HMGET $k $m $m $m",
    "HDEL $k $m",
    "HDEL $k $m $m $m",
    "HLEN $k",
    "HSTRLEN $k $m",
    "HEXISTS $k $m",
    "HKEYS $k",
    "HVALS $k",
    "HGETALL $k",
    "HINCRBY $k $m $i",
    "HINCRBY $k $n $i",
    "HINCRBY $k $n 1",
    "HSET $k $n $i",
    "HRANDFIELD $k 1000",
    "HRANDFIELD $k 1000 WITHVALUES",
    "HINCRBYFLOAT $k $n 0.5",
    "OBJECT ENCODING $k",
    "DEL $k",
    "TYPE $k",
    "LPUSH $k $v",
    "HSET $k $m $long",
];

const HYPERLOGLOGS: &[&str] = &[
    "PFADD $k $v",
    "PFADD $k $v $m $i",
    "PFADD $k $m $m $m $m $m $m $m $m",
    "PFADD $k",
    "PFCOUNT $k",
    "PFCOUNT $k $k $k",
    "PFMERGE $k $k",
    "PFMERGE $k $k $k",
    "PFMERGE $k",
    "PFDEBUG ENCODING $k",
    "PFDEBUG DECODE $k",
    "PFDEBUG TODENSE key3",
    "GET $k",
    "SETRANGE key2 $b $i",
    "DEL $k",
    "SET key3 $v",
];

const PLACES: &[&str] = &[
    "GEOADD $k $lon $lat $m",
    "GEOADD $k $lon $lat $m $lon $lat $m $lon $lat $m",
    "GEOADD $k NX CH $lon $lat $m",
    "GEOADD $k XX $lon $lat $m",
    "GEOPOS $k $m $m",
    "GEOHASH $k $m $m",
    "GEODIST $k $m $m",
    "GEODIST $k $m $m $unit",
    "GEORADIUS $k $lon $lat $far $unit WITHDIST ASC",
    "GEORADIUS $k $lon $lat $far $unit WITHCOORD WITHHASH DESC COUNT $i",
    "GEORADIUS $k $lon $lat $far $unit STORE $k ASC",
    "GEORADIUS_RO $k $lon $lat $far $unit",
    "GEORADIUSBYMEMBER $k $m $far $unit COUNT 2",
    "GEORADIUSBYMEMBER $k $m $far $unit STOREDIST dist ASC",
    "GEORADIUSBYMEMBER_RO $k $m $far $unit WITHDIST COUNT 3 ANY",
    "GEOSEARCH $k FROMLONLAT $lon $lat BYBOX $far $far $unit WITHDIST",
    "GEOSEARCH $k FROMMEMBER $m BYBOX $far $far $unit ASC WITHCOORD",
    "GEOSEARCH $k FROMMEMBER $m BYRADIUS $far $unit ASC COUNT 5 ANY",
    "GEOSEARCH $k BYPOLYGON 4 $plon $plat $plon $plat $plon $plat $plon $plat WITHDIST ASC",
    "GEOSEARCH $k BYPOLYGON 3 $plon $plat $plon $plat $plon $plat",
    "GEOSEARCHSTORE $k $k FROMLONLAT $lon $lat BYRADIUS $far $unit",
    "GEOSEARCHSTORE dist $k FROMMEMBER $m BYBOX $far $far $unit STOREDIST DESC",
    "ZRANGE $k 0 -1 WITHSCORES",
    "DEL $k",
    "SADD $k $m",
];

const LISTS: &[&str] = &[
    "LPUSH $k $m",
    "RPUSH $k $m",
    "LPUSH $k $m $v $m",
    "RPUSH $k $v $m $m",
    "LPUSHX $k $m",
    "RPUSHX $k $m",
    "LPOP $k",
    "RPOP $k",
    "LPOP $k $i",
    "RPOP $k 3",
    "LLEN $k",
    "LINDEX $k $i",
    "LSET $k $i $v",
    "LINSERT $k BEFORE $m $v",
    "LINSERT $k AFTER $m $v",
    "LRANGE $k $i $i",
    "LRANGE $k 0 -1",
    "LTRIM $k $i $i",
    "LTRIM $k 0 -3",
    "LREM $k $i $m",
    "LREM $k 0 $m",
    "LPOS $k $m",
    "LPOS $k $m RANK $i COUNT $i MAXLEN $i",
    "LPOS $k $m COUNT 0",
    "LMOVE $k $k LEFT RIGHT",
    "LMOVE $k $k RIGHT LEFT",
    "RPOPLPUSH $k $k",
    "LMPOP 2 $k $k LEFT COUNT 2",
    "LMPOP 1 $k RIGHT",
    "BLPOP $k $k 0.001",
    "BRPOP $k 0.001",
    "BLMOVE $k $k LEFT LEFT 0.001",
    "BLMPOP 0.001 2 $k $k RIGHT COUNT 2",
    "OBJECT ENCODING $k",
    "DEL $k",
    "TYPE $k",
    "SADD $k $m",
    "RPUSH $k $long",
];

const SETS: &[&str] = &[
    "SADD $k $m",
    "SADD $k $m $v $m",
    "SADD $k $i",
    "SADD $k $i $i $i",
    "SREM $k $m",
    "SREM $k $m $i $m",
    "SMOVE $k $k $m",
    "SISMEMBER $k $m",
    "SMISMEMBER $k $m $i $m",
    "SCARD $k",
    "SMEMBERS $k",
    "SPOP $k 1000",
    "SRANDMEMBER $k 1000",
    "SINTER $k $k",
    "SINTER $k $k $k",
    "SUNION $k $k",
    "SDIFF $k $k $k",
    "SINTERSTORE $k $k $k",
    "SUNIONSTORE $k $k $k",
    "SDIFFSTORE $k $k $k",
    "SINTERCARD 2 $k $k LIMIT $i",
    "SINTERCARD 1 $k",
    "OBJECT ENCODING $k",
    "DEL $k",
    "TYPE $k",
    "SADD $k $long",
    "LPUSH $k $m",
];

const SORTING: &[&str] = &[
    "RPUSH list $i $i $i",
    "RPUSH list $s",
    "RPUSH $k $m $m $i",
    "SADD set $i $i $i",
    "SADD set $m",
    "ZADD sorted_z $s $i $s $i",
    "SET w_$i $i",
    "SET w_$i $s",
    "HSET h_$i f $i g $v",
    "SORT list",
    "SORT list DESC LIMIT $i $i",
    "SORT list BY w_*",
    "SORT list BY w_* DESC LIMIT $i $i GET # GET w_* GET h_*->g",
    "SORT list BY nosort LIMIT $i $i DESC",
    "SORT list BY h_*->f GET h_*->f GET nothing",
    "SORT $k ALPHA LIMIT 0 20",
    "SORT set ALPHA DESC",
    "SORT set BY nosort STORE out",
    "SORT set STORE out LIMIT $i $i",
    "SORT sorted_z BY nosort LIMIT $i $i",
    "SORT sorted_z BY nosort DESC LIMIT $i $i",
    "SORT sorted_z ALPHA GET # GET w_*",
    "SORT list BY w_* ALPHA STORE out2",
    "SORT_RO list LIMIT 0 $i",
    "SORT_RO list STORE x",
    "DEL $k",
    "DEL list",
    "DEL set",
];

const ZSETS: &[&str] = &[
    "ZADD $k $s $m",
    "ZADD $k $s $m $s $m $s $v",
    "ZADD $k NX $s $m",
    "ZADD $k XX CH $s $m",
    "ZADD $k GT CH $s $m",
    "ZADD $k LT $s $m $s $m",
    "ZADD $k INCR $s $m",
    "ZADD $k XX INCR $s $m",
    "ZINCRBY $k $s $m",
    "ZREM $k $m",
    "ZREM $k $m $m $v",
    "ZCARD $k",
    "ZSCORE $k $m",
    "ZMSCORE $k $m $m",
    "ZRANK $k $m",
    "ZREVRANK $k $m WITHSCORE",
    "ZCOUNT $k $s $s",
    "ZCOUNT $k -inf ($s",
    "ZLEXCOUNT lex [$m ($m",
    "ZRANGE $k $i $i",
    "ZRANGE $k $i $i WITHSCORES",
    "ZRANGE $k $i $i REV WITHSCORES",
    "ZREVRANGE $k $i $i WITHSCORES",
    "ZRANGE $k $s $s BYSCORE LIMIT $i $i",
    "ZRANGE $k +inf ($s BYSCORE REV WITHSCORES",
    "ZRANGEBYSCORE $k ($s $s WITHSCORES LIMIT 0 $i",
    "ZREVRANGEBYSCORE $k $s -inf",
    "ZRANGE lex [$m + BYLEX",
    "ZRANGEBYLEX lex - ($m LIMIT 1 $i",
    "ZREVRANGEBYLEX lex + [$m",
    "ZRANGESTORE $k $k $i $i",
    "ZRANGESTORE $k $k $s $s BYSCORE LIMIT 0 3",
    "ZREMRANGEBYRANK $k $i $i",
    "ZREMRANGEBYSCORE $k $s $s",
    "ZREMRANGEBYLEX lex [$m ($m",
    "ZUNION 2 $k $k WITHSCORES",
    "ZINTER 2 $k $k WEIGHTS 2 $s WITHSCORES",
    "ZDIFF 2 $k $k WITHSCORES",
    "ZUNIONSTORE $k 3 $k $k $k AGGREGATE MAX",
    "ZINTERSTORE $k 2 $k $k WEIGHTS $s 2 AGGREGATE MIN",
    "ZDIFFSTORE $k 2 $k $k",
    "ZINTERCARD 2 $k $k LIMIT $i",
    "ZPOPMIN $k",
    "ZPOPMAX $k 2",
    "ZPOPMIN $k $i",
    "ZMPOP 2 $k $k MIN COUNT 2",
    "BZPOPMIN $k 0.001",
    "BZMPOP 0.001 1 $k MAX",
    "ZRANDMEMBER $k 1000 WITHSCORES",
    "OBJECT ENCODING $k",
    "DEL $k",
    "TYPE $k",
    "SADD $k $m",
    "ZADD $k $s $long",
    // Members of equal score: elsewhere a lexicographical range means nothing.
    "ZADD lex 0 $m 0 $m 0 $v",
];

const BIG: &[&str] = &[
    "0",
    "1",
    "-1",
    "127",
    "-129",
    "65536",
    "9223372036854775807",
    "-9223372036854775808",
    "4611686018427387904",
];

const SCORES: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "2.5",
    "1e3",
    "-inf",
    "+inf",
    "0.1",
    "3.0",
    "1e15",
    "123456789012",
    "7",
    "7.000001",
    "nan",
    "abc",
];

pub struct Commands {
    family: &'static Family,
    state: u64,
}

impl Commands {
    pub fn new(family: &'static Family, seed: u64) -> Self {
        Self { family, state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as usize % bound
    }

    pub fn next(&mut self) -> Vec<String> {
        let form = self.family.forms[self.below(self.family.forms.len())];
        if form.contains(" 0.001") && self.below(10) != 0 {
            return vec!["PING".into()];
        }
        // Two in a thousand take away what has gathered; otherwise collections would stay small.
        if form == "DEL $k" && self.below(4) != 0 {
            return vec!["PING".into()];
        }
        let mut command: Vec<String> = form.split(' ').map(|word| self.fill(word)).collect();
        // Now and then a command that is not well formed.
        match self.below(60) {
            0 => command.push("EXTRA".into()),
            // What picks at random is only equal where it picks everything.
            1 if command.len() > 1 && !form.contains("1000") => _ = command.pop(),
            _ => {}
        }
        command
    }

    fn fill(&mut self, word: &str) -> String {
        let Some(at) = word.find('$') else { return word.to_owned() };
        let (before, name) = word.split_at(at);
        let drawn = match name {
            "$k" => format!("key{}", self.below(4)),
            "$m" => format!("m{}", self.below(400)),
            "$n" => format!("n{}", self.below(4)),
            "$v" => format!("value {}", self.below(50)),
            "$i" => (self.below(30) as i64 - 10).to_string(),
            "$lon" => format!("{:.4}", self.below(3_600_000) as f64 / 10_000.0 - 180.0),
            "$lat" => format!("{:.4}", self.below(1_800_000) as f64 / 10_000.0 - 90.0),
            // Around a pole the middle of a polygon has no cell, and Valkey searches anywhere.
            "$plon" => (self.below(120)).to_string(),
            "$plat" => (self.below(60)).to_string(),
            "$far" => (self.below(1000) * [1, 10, 1000, 100_000][self.below(4)]).to_string(),
            "$unit" => ["m", "km", "ft", "MI", "parsec"][self.below(5)].to_owned(),
            "$b" => self.below(200).to_string(),
            "$w" => (1 + self.below(64)).to_string(),
            "$big" => BIG[self.below(BIG.len())].to_owned(),
            "$s" => SCORES[self.below(SCORES.len())].to_owned(),
            "$long" if self.below(20) == 0 => "x".repeat(60 + self.below(3000)),
            "$long" => "short".to_owned(),
            other => panic!("{other} stands for nothing"),
        };
        format!("{before}{drawn}")
    }
}
