//! The table of directives and the struct of their values, from one list.

use super::events::EventClasses;
use super::value::{
    Bytes, Int, LogFile, MaxmemoryPolicy, No, OutputLimits, PubSubDefault, RedirectMode, Value,
    Words,
};

/// One directive. `get` prints the value, `set` reads it or says what it expected.
pub struct Directive {
    pub name: &'static str,
    /// CONFIG SET may change it.
    pub mutable: bool,
    /// The value is several words, which are not quoted as one when they are written.
    pub words: bool,
    pub get: fn(&Config) -> String,
    pub set: fn(&mut Config, &str) -> Result<(), String>,
}

macro_rules! directives {
    ($($(#[$doc:meta])* $field:ident: $kind:ty, $name:literal, $default:expr, $change:ident;)*) => {
        /// Values of the directives. Names end with their unit where the type does not say it.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($(#[$doc])* pub $field: $kind,)*
            /// `user` lines: a name and its rules each.
            pub users: Vec<String>,
            /// The file that was read at the start, for CONFIG REWRITE; empty without one.
            pub file: String,
            /// A `save` line was read: the next ones add to it.
            pub(super) save_given: bool,
        }

        impl Default for Config {
            fn default() -> Self {
                Self {
                    $($field: <$kind as Value>::parse($default).expect("a default is valid"),)*
                    users: Vec::new(),
                    file: String::new(),
                    save_given: false,
                }
            }
        }

        /// Every directive, in the order of CONFIG GET.
        pub const DIRECTIVES: &[Directive] = &[
            $(Directive {
                name: $name,
                mutable: directives!(@mutable $change),
                words: directives!(@words $change),
                get: |config| config.$field.print(),
                set: |config, text| {
                    config.$field = directives!(@parse $change, config, $field, $kind, text)?;
                    Ok(())
                },
            },)*
        ];
    };
    (@mutable fixed) => { false };
    (@mutable fixed_words) => { false };
    (@mutable $other:ident) => { true };
    (@words words) => { true };
    (@words fixed_words) => { true };
    (@words merged) => { true };
    (@words $other:ident) => { false };
    (@parse merged, $config:ident, $field:ident, $kind:ty, $text:ident) => {{
        let mut value = $config.$field;
        value.merge($text).map(|()| value)
    }};
    (@parse $other:ident, $config:ident, $field:ident, $kind:ty, $text:ident) => {
        <$kind as Value>::parse($text)
    };
}

/// The greatest value of directives that Valkey keeps in a C `int`.
const INT_MAX: i64 = i32::MAX as i64;

// Fields: type, directive, default, and how it changes: `live` by CONFIG SET, `fixed` only at the
// start; `words` and `fixed_words` hold several words, `merged` adds to the value before.
directives! {
    port: u16, "port", "6379", fixed;
    /// Connections to it start as READONLY; 0 is none.
    readonly_port: u16, "readonly-port", "0", fixed;
    /// HTTP /livez, /readyz and /metrics; 0 is none.
    health_port: u16, "health-port", "0", fixed;
    bind: Words, "bind", "*", fixed_words;
    tcp_backlog: u32, "tcp-backlog", "511", fixed;
    tcp_keepalive_s: u64, "tcp-keepalive", "300", live;
    timeout_s: u64, "timeout", "0", live;
    maxclients: usize, "maxclients", "10000", live;
    protected_mode: bool, "protected-mode", "yes", live;
    requirepass: String, "requirepass", "", live;
    /// A file of users; empty for none.
    aclfile: String, "aclfile", "", fixed;
    acllog_max_len: usize, "acllog-max-len", "128", live;
    acl_pubsub_default: PubSubDefault, "acl-pubsub-default", "resetchannels", live;
    databases: usize, "databases", "16", fixed;
    proto_max_bulk_len: Bytes, "proto-max-bulk-len", "512mb", live;
    client_query_buffer_limit: Bytes, "client-query-buffer-limit", "1gb", live;
    client_output_buffer_limit: OutputLimits, "client-output-buffer-limit",
        "normal 1gb 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60", merged;
    maxmemory: Bytes, "maxmemory", "0", live;
    maxmemory_policy: MaxmemoryPolicy, "maxmemory-policy", "noeviction", live;
    maxmemory_samples: Int<1, 64>, "maxmemory-samples", "5", live;
    maxmemory_eviction_tenacity: Int<0, 100>, "maxmemory-eviction-tenacity", "10", live;
    /// A replica never evicts by itself, whatever this says.
    replica_ignore_maxmemory: bool, "replica-ignore-maxmemory", "yes", live;
    lfu_log_factor: Int<0, INT_MAX>, "lfu-log-factor", "10", live;
    /// Minutes.
    lfu_decay_time: Int<0, INT_MAX>, "lfu-decay-time", "1", live;
    lazyfree_lazy_eviction: bool, "lazyfree-lazy-eviction", "yes", live;
    lazyfree_lazy_expire: bool, "lazyfree-lazy-expire", "yes", live;
    lazyfree_lazy_server_del: bool, "lazyfree-lazy-server-del", "yes", live;
    lazyfree_lazy_user_del: bool, "lazyfree-lazy-user-del", "yes", live;
    lazyfree_lazy_user_flush: bool, "lazyfree-lazy-user-flush", "yes", live;
    replica_lazy_flush: bool, "replica-lazy-flush", "yes", live;
    /// DEBUG may be used.
    enable_debug_command: bool, "enable-debug-command", "no", fixed;
    hz: u32, "hz", "10", live;
    loglevel: String, "loglevel", "notice", live;
    logfile: LogFile, "logfile", "", fixed;
    daemonize: No, "daemonize", "no", fixed;
    cluster_enabled: No, "cluster-enabled", "no", fixed;
    appendonly: No, "appendonly", "no", live;
    notify_keyspace_events: EventClasses, "notify-keyspace-events", "", live;
    dir: String, "dir", ".", fixed;
    dbfilename: String, "dbfilename", "dump.rdb", live;
    save: Words, "save", "3600 1 300 100 60 10000", words;
    stop_writes_on_bgsave_error: bool, "stop-writes-on-bgsave-error", "yes", live;
    rdbcompression: bool, "rdbcompression", "yes", live;
    rdbchecksum: bool, "rdbchecksum", "yes", live;
    shutdown_timeout_s: u64, "shutdown-timeout", "10", live;
    hash_max_listpack_entries: usize, "hash-max-listpack-entries", "512", live;
    hash_max_listpack_value: usize, "hash-max-listpack-value", "64", live;
    list_max_listpack_size: i64, "list-max-listpack-size", "-2", live;
    list_compress_depth: u32, "list-compress-depth", "0", live;
    set_max_intset_entries: usize, "set-max-intset-entries", "512", live;
    set_max_listpack_entries: usize, "set-max-listpack-entries", "128", live;
    set_max_listpack_value: usize, "set-max-listpack-value", "64", live;
    zset_max_listpack_entries: usize, "zset-max-listpack-entries", "128", live;
    zset_max_listpack_value: usize, "zset-max-listpack-value", "64", live;
    hll_sparse_max_bytes: Bytes, "hll-sparse-max-bytes", "3000", live;
    stream_node_max_bytes: Bytes, "stream-node-max-bytes", "4096", live;
    stream_node_max_entries: usize, "stream-node-max-entries", "100", live;
    /// `host port`; empty on a primary.
    replicaof: Words, "replicaof", "", fixed_words;
    primaryauth: String, "primaryauth", "", live;
    primaryuser: String, "primaryuser", "", live;
    replica_read_only: bool, "replica-read-only", "yes", live;
    replica_serve_stale_data: bool, "replica-serve-stale-data", "yes", live;
    replica_priority: u32, "replica-priority", "100", live;
    replica_announce_ip: String, "replica-announce-ip", "", live;
    replica_announce_port: u16, "replica-announce-port", "0", live;
    replica_enable_redirect: bool, "replica-enable-redirect", "no", live;
    redirect_mode: RedirectMode, "redirect-mode", "relay", live;
    repl_backlog_size: Bytes, "repl-backlog-size", "10mb", live;
    repl_timeout_s: u64, "repl-timeout", "60", live;
    repl_ping_replica_period_s: u64, "repl-ping-replica-period", "10", live;
    repl_diskless_sync: bool, "repl-diskless-sync", "yes", live;
    repl_diskless_sync_delay_s: u64, "repl-diskless-sync-delay", "0", live;
    repl_disable_tcp_nodelay: bool, "repl-disable-tcp-nodelay", "no", live;
    min_replicas_to_write: u32, "min-replicas-to-write", "0", live;
    min_replicas_max_lag_s: u64, "min-replicas-max-lag", "10", live;
    /// The name by which this node's own host is announced to clients that move.
    announce_hostname: String, "announce-hostname", "", live;
    /// Present: the node is managed and boots fenced.
    cluster_uid: String, "cluster-uid", "", fixed;
    member_name: String, "member-name", "", fixed;
    internal_secret_file: String, "internal-secret-file", "", fixed;
    /// The bound on waiting for the outcome of a handing over, in milliseconds.
    takeover_timeout_ms: u64, "takeover-timeout", "10000", live;
}
