//! The configuration: what the directives of redis.conf set.

/// Values of the directives, each in the unit that its name says.
#[derive(Clone, Debug)]
pub struct Config {
    pub port: u16,
    pub readonly_port: u16,
    pub health_port: u16,
    pub bind: Vec<String>,
    pub dir: String,
    pub databases: usize,
    pub requirepass: Vec<u8>,
    pub proto_max_bulk_len: i64,
    pub maxclients: usize,
    pub timeout_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 6379,
            readonly_port: 0,
            health_port: 0,
            bind: vec!["*".into()],
            dir: ".".into(),
            databases: 16,
            requirepass: Vec::new(),
            proto_max_bulk_len: 512 * 1024 * 1024,
            maxclients: 10_000,
            timeout_s: 0,
        }
    }
}
