//! `RedisHA` as users write it and read it back.
