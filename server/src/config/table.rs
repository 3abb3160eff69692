//! The table of directives and the struct of their values, from one list.

use super::events::EventClasses;
use super::files::{DisklessLoad, Fsync};
use super::value::{
    Bytes, Int, MaxmemoryPolicy, No, OutputLimits, PubSubDefault, RedirectMode, Value, Words,
};
use super::words::{
    Allowed, AuthClients, AuthClientsUser, Bind, Empty, Hz, LogFormat, LogLevel, LogTimestamp,
    Octal, OomScoreAdj, OomScores, Percentiles, PropagationError, RdbVersionCheck, Saves, Share,
    ShutdownOn, Supervised, SyslogFacility,
};

/// One directive. `get` prints the value, `set` reads it or says what it expected.
#[allow(clippy::struct_excessive_bools)] // each is a property of its own
pub struct Directive {
    pub name: &'static str,
    /// CONFIG SET may change it.
    pub mutable: bool,
    /// It may be changed only as `enable-protected-configs` says.
    pub protected: bool,
    /// The value is several words, which are not quoted as one when they are written.
    pub words: bool,
    /// For those who know it: CONFIG GET tells it by its own name alone, not by patterns.
    pub hidden: bool,
    pub get: fn(&Config) -> String,
    pub set: fn(&mut Config, &str) -> Result<(), String>,
}

macro_rules! directives {
    ($($(#[$doc:meta])* $field:ident: $kind:ty, $name:literal, $default:expr, $change:ident
        $(, $least:tt to $most:expr)?;)*) => {
        /// Values of the directives. Names end with their unit where the type does not say it.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($(#[$doc])* pub $field: $kind,)*
            /// `user` lines: a name and its rules each.
            pub users: Vec<String>,
            /// `rename-command` lines: a command and the name that clients know it by, or none.
            pub renames: Vec<(String, String)>,
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
                    renames: Vec::new(),
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
                protected: directives!(@protected $change),
                words: directives!(@words $change),
                hidden: directives!(@hidden $change),
                get: |config| config.$field.print(),
                set: |config, text| {
                    $(super::value::check_bounds::<$kind>(text, $least, $most)?;)?
                    config.$field = directives!(@parse $change, config, $field, $kind, text)?;
                    Ok(())
                },
            },)*
        ];
    };
    (@mutable fixed) => { false };
    (@mutable fixed_words) => { false };
    (@mutable $other:ident) => { true };
    (@protected protected) => { true };
    (@protected hidden_protected) => { true };
    (@protected $other:ident) => { false };
    (@words words) => { true };
    (@words fixed_words) => { true };
    (@words merged) => { true };
    (@words $other:ident) => { false };
    (@hidden hidden) => { true };
    (@hidden hidden_protected) => { true };
    (@hidden $other:ident) => { false };
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

const UINT_MAX: i64 = (1 << 32) - 1;
const MEGABYTE: i64 = 1 << 20;

/// The command log keeps nothing.
const NEVER: i64 = -1;

// Fields: type, directive, default, and how it changes: `live` by CONFIG SET, `fixed` only at the
// start; `words` and `fixed_words` hold several words, `merged` adds to the value before,
// `protected` is `live` where `enable-protected-configs` allows it, `hidden` and `hidden_protected`
// are told to those who know them. Numbers may have bounds.
directives! {
    port: u16, "port", "6379", fixed;
    unixsocket: String, "unixsocket", "", fixed;
    unixsocketgroup: String, "unixsocketgroup", "", fixed;
    /// In octal; 0 leaves what the process's mask gives.
    unixsocketperm: Octal, "unixsocketperm", "0", fixed;
    /// Connections to it start as READONLY; 0 is none.
    readonly_port: u16, "readonly-port", "0", fixed;
    /// HTTP /livez, /readyz and /metrics; 0 is none.
    health_port: u16, "health-port", "0", fixed;
    bind: Bind, "bind", "* -::*", fixed_words;
    /// The address from which links to other nodes are opened.
    bind_source_addr: String, "bind-source-addr", "", live;
    tcp_backlog: u32, "tcp-backlog", "511", fixed, 0 to INT_MAX;
    /// The mark of connections that are accepted, for the kernel's routes and filters; 0 is none.
    socket_mark_id: u32, "socket-mark-id", "0", fixed, 0 to UINT_MAX;
    tcp_keepalive_s: u64, "tcp-keepalive", "300", live, 0 to INT_MAX;
    timeout_s: u64, "timeout", "0", live, 0 to INT_MAX;
    maxclients: usize, "maxclients", "10000", live, 1 to UINT_MAX;
    protected_mode: bool, "protected-mode", "yes", live;
    requirepass: String, "requirepass", "", live;
    /// Keys that are remembered for client-side caching; 0 is no bound.
    tracking_table_max_keys: usize, "tracking-table-max-keys", "1000000", live;
    /// In microseconds; -1 keeps no log.
    commandlog_execution_slower_than: i64, "commandlog-execution-slower-than", "10000", live,
        NEVER to i64::MAX;
    commandlog_slow_execution_max_len: usize, "commandlog-slow-execution-max-len", "128", live;
    /// In bytes; -1 keeps no log.
    commandlog_request_larger_than: i64, "commandlog-request-larger-than", "1048576", live,
        NEVER to i64::MAX;
    commandlog_large_request_max_len: usize, "commandlog-large-request-max-len", "128", live;
    commandlog_reply_larger_than: i64, "commandlog-reply-larger-than", "1048576", live,
        NEVER to i64::MAX;
    commandlog_large_reply_max_len: usize, "commandlog-large-reply-max-len", "128", live;
    /// A file of users; empty for none.
    aclfile: String, "aclfile", "", fixed;
    acllog_max_len: usize, "acllog-max-len", "128", live;
    acl_pubsub_default: PubSubDefault, "acl-pubsub-default", "resetchannels", live;
    /// From which the order of keys in the tables follows; empty is chance.
    hash_seed: String, "hash-seed", "", fixed;
    databases: usize, "databases", "16", fixed, 1 to INT_MAX;
    proto_max_bulk_len: Bytes, "proto-max-bulk-len", "512mb", live, MEGABYTE to i64::MAX;
    client_query_buffer_limit: Bytes, "client-query-buffer-limit", "1gb", live, MEGABYTE to i64::MAX;
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
    /// The bound on the memory of all clients together, of `maxmemory` or else of what the process
    /// may use; 0 is none.
    maxmemory_clients: Share, "maxmemory-clients", "50%", live;
    oom_score_adj: OomScoreAdj, "oom-score-adj", "no", live;
    /// Of a primary, of a replica, and of a child process, which there is none of here.
    oom_score_adj_values: OomScores, "oom-score-adj-values", "0 200 800", words;
    /// DEBUG may be used.
    enable_debug_command: Allowed, "enable-debug-command", "no", fixed;
    enable_protected_configs: Allowed, "enable-protected-configs", "no", fixed;
    enable_module_command: Allowed, "enable-module-command", "no", fixed;
    /// Data are being copied in by a tool that says itself when keys expire.
    import_mode: bool, "import-mode", "no", live;
    latency_monitor_threshold_ms: u64, "latency-monitor-threshold", "0", live, 0 to i64::MAX;
    latency_tracking: bool, "latency-tracking", "yes", live;
    latency_tracking_info_percentiles: Percentiles, "latency-tracking-info-percentiles",
        "50 99 99.9", words;
    active_expire_effort: Int<1, 10>, "active-expire-effort", "1", live;
    max_new_connections_per_cycle: Int<1, 1000>, "max-new-connections-per-cycle", "10", live;
    max_new_tls_connections_per_cycle: Int<1, 1000>, "max-new-tls-connections-per-cycle", "1", live;
    shutdown_on_sigint: ShutdownOn, "shutdown-on-sigint", "default", words;
    shutdown_on_sigterm: ShutdownOn, "shutdown-on-sigterm", "default", words;
    availability_zone: String, "availability-zone", "", live;
    replica_announced: bool, "replica-announced", "yes", live;
    /// Background work is done ten times a second, and as events call for it, whatever this says.
    hz: Hz, "hz", "10", live;
    loglevel: LogLevel, "loglevel", "notice", live;
    log_format: LogFormat, "log-format", "legacy", live;
    log_timestamp_format: LogTimestamp, "log-timestamp-format", "legacy", live;
    /// Empty: the standard error stream.
    logfile: String, "logfile", "", fixed;
    syslog_enabled: bool, "syslog-enabled", "no", fixed;
    syslog_facility: SyslogFacility, "syslog-facility", "local0", fixed;
    syslog_ident: String, "syslog-ident", "valkey", fixed;
    /// Written at the start and removed at the end; empty is none.
    pidfile: String, "pidfile", "", fixed;
    /// How long a script runs before others are told BUSY, in milliseconds; 0 is without end.
    busy_reply_threshold_ms: u64, "busy-reply-threshold", "5000", live, 0 to i64::MAX;
    /// Bytes that one Lua interpreter may hold beyond its own libraries; 0 is unbounded.
    lua_memory_limit: Bytes, "lua-memory-limit", "1gb", fixed, 0 to i64::MAX;
    lua_enable_insecure_api: bool, "lua-enable-insecure-api", "no", hidden_protected;
    daemonize: No, "daemonize", "no", fixed;
    cluster_enabled: No, "cluster-enabled", "no", fixed;
    appendonly: bool, "appendonly", "no", live;
    appendfilename: String, "appendfilename", "appendonly.aof", fixed;
    appenddirname: String, "appenddirname", "appendonlydir", fixed;
    appendfsync: Fsync, "appendfsync", "everysec", live;
    /// The disk's thread never shares its time with a rewrite's, so this changes nothing.
    no_appendfsync_on_rewrite: bool, "no-appendfsync-on-rewrite", "no", live;
    auto_aof_rewrite_percentage: u64, "auto-aof-rewrite-percentage", "100", live, 0 to INT_MAX;
    auto_aof_rewrite_min_size: Bytes, "auto-aof-rewrite-min-size", "64mb", live, 0 to i64::MAX;
    /// Files that a rewrite replaced stay in the folder, and in the manifest as history.
    aof_disable_auto_gc: bool, "aof-disable-auto-gc", "no", hidden;
    aof_load_truncated: bool, "aof-load-truncated", "yes", live;
    aof_use_rdb_preamble: bool, "aof-use-rdb-preamble", "yes", live;
    aof_timestamp_enabled: bool, "aof-timestamp-enabled", "no", live;
    aof_rewrite_incremental_fsync: bool, "aof-rewrite-incremental-fsync", "yes", live;
    rdb_save_incremental_fsync: bool, "rdb-save-incremental-fsync", "yes", live;
    /// Nothing is left on the disk by a full resync.
    rdb_del_sync_files: bool, "rdb-del-sync-files", "no", live;
    notify_keyspace_events: EventClasses, "notify-keyspace-events", "", live;
    dir: String, "dir", ".", protected;
    dbfilename: String, "dbfilename", "dump.rdb", protected;
    save: Saves, "save", "3600 1 300 100 60 10000", words;
    stop_writes_on_bgsave_error: bool, "stop-writes-on-bgsave-error", "yes", live;
    rdbcompression: bool, "rdbcompression", "yes", live;
    rdbchecksum: bool, "rdbchecksum", "yes", fixed;
    shutdown_timeout_s: u64, "shutdown-timeout", "10", live, 0 to INT_MAX;
    hash_max_listpack_entries: usize, "hash-max-listpack-entries", "512", live;
    hash_max_listpack_value: usize, "hash-max-listpack-value", "64", live;
    list_max_listpack_size: i64, "list-max-listpack-size", "-2", live;
    list_compress_depth: u32, "list-compress-depth", "0", live, 0 to INT_MAX;
    set_max_intset_entries: usize, "set-max-intset-entries", "512", live;
    set_max_listpack_entries: usize, "set-max-listpack-entries", "128", live;
    set_max_listpack_value: usize, "set-max-listpack-value", "64", live;
    zset_max_listpack_entries: usize, "zset-max-listpack-entries", "128", live;
    zset_max_listpack_value: usize, "zset-max-listpack-value", "64", live;
    hll_sparse_max_bytes: Bytes, "hll-sparse-max-bytes", "3000", live, 0 to i64::MAX;
    stream_node_max_bytes: Bytes, "stream-node-max-bytes", "4096", live, 0 to i64::MAX;
    stream_node_max_entries: usize, "stream-node-max-entries", "100", live;
    /// `host port`; empty on a primary.
    replicaof: Words, "replicaof", "", fixed_words;
    primaryauth: String, "primaryauth", "", live;
    primaryuser: String, "primaryuser", "", live;
    replica_read_only: bool, "replica-read-only", "yes", live;
    replica_serve_stale_data: bool, "replica-serve-stale-data", "yes", live;
    replica_priority: u32, "replica-priority", "100", live, 0 to INT_MAX;
    replica_announce_ip: String, "replica-announce-ip", "", live;
    replica_announce_port: u16, "replica-announce-port", "0", live;
    replica_enable_redirect: bool, "replica-enable-redirect", "no", live;
    redirect_mode: RedirectMode, "redirect-mode", "relay", live;
    repl_backlog_size: Bytes, "repl-backlog-size", "10mb", live, 1 to i64::MAX;
    repl_backlog_ttl_s: u64, "repl-backlog-ttl", "3600", live, 0 to i64::MAX;
    /// New data are always loaded beside the old ones, which stay until the new are complete.
    repl_diskless_load: DisklessLoad, "repl-diskless-load", "swapdb", live;
    repl_timeout_s: u64, "repl-timeout", "60", live, 1 to INT_MAX;
    repl_ping_replica_period_s: u64, "repl-ping-replica-period", "10", live, 1 to INT_MAX;
    repl_diskless_sync: bool, "repl-diskless-sync", "yes", live;
    repl_diskless_sync_delay_s: u64, "repl-diskless-sync-delay", "0", live, 0 to INT_MAX;
    repl_disable_tcp_nodelay: bool, "repl-disable-tcp-nodelay", "no", live;
    min_replicas_to_write: u32, "min-replicas-to-write", "0", live, 0 to INT_MAX;
    min_replicas_max_lag_s: u64, "min-replicas-max-lag", "10", live, 0 to INT_MAX;
    repl_diskless_sync_max_replicas: Int<0, INT_MAX>, "repl-diskless-sync-max-replicas", "0", live;
    /// The name by which this node's own host is announced to clients that move.
    announce_hostname: String, "announce-hostname", "", live;
    /// Where clients that move are told to go, `host:port`, whichever node is the primary: an address
    /// that always leads there. Without it they are told the node's own.
    announce_endpoint: String, "announce-endpoint", "", live;
    /// Present: the node is managed and boots fenced.
    cluster_uid: String, "cluster-uid", "", fixed;
    member_name: String, "member-name", "", fixed;
    /// A managed server keeps its member id over restarts, with its append-only files.
    keep_member_id: bool, "keep-member-id", "no", live;
    internal_secret_file: String, "internal-secret-file", "", fixed;
    /// The bound on waiting for the outcome of a handing over, in milliseconds.
    takeover_timeout_ms: u64, "takeover-timeout", "10000", live;

    // TLS.
    tls_port: u16, "tls-port", "0", fixed;
    tls_cert_file: String, "tls-cert-file", "", live;
    tls_key_file: String, "tls-key-file", "", live;
    tls_client_cert_file: String, "tls-client-cert-file", "", live;
    tls_client_key_file: String, "tls-client-key-file", "", live;
    tls_ca_cert_file: String, "tls-ca-cert-file", "", live;
    tls_ca_cert_dir: String, "tls-ca-cert-dir", "", live;
    /// Keys must not be encrypted.
    tls_key_file_pass: Empty, "tls-key-file-pass", "", live;
    tls_client_key_file_pass: Empty, "tls-client-key-file-pass", "", live;
    tls_auth_clients: AuthClients, "tls-auth-clients", "yes", live;
    tls_auth_clients_user: AuthClientsUser, "tls-auth-clients-user", "off", live;
    tls_replication: bool, "tls-replication", "no", live;
    tls_protocols: String, "tls-protocols", "", live;
    tls_ciphers: String, "tls-ciphers", "", live;
    tls_ciphersuites: String, "tls-ciphersuites", "", live;
    tls_prefer_server_ciphers: bool, "tls-prefer-server-ciphers", "no", live;
    /// No cipher of TLS 1.2 and 1.3 that is offered here needs them.
    tls_dh_params_file: String, "tls-dh-params-file", "", live;
    tls_cluster: No, "tls-cluster", "no", live;
    tls_session_caching: bool, "tls-session-caching", "yes", live;
    tls_session_cache_size: Int<0, INT_MAX>, "tls-session-cache-size", "20480", live;
    tls_session_cache_timeout: Int<0, INT_MAX>, "tls-session-cache-timeout", "300", live;
    /// Seconds between looks at the files of TLS; 0 leaves it to SIGHUP and CONFIG SET.
    tls_auto_reload_interval: Int<0, INT_MAX>, "tls-auto-reload-interval", "0", live;

    // Taken because stock configuration files and tools say them. They change nothing here: what
    // they tune in Valkey is done otherwise, or is not there to be tuned.
    activerehashing: bool, "activerehashing", "yes", live;
    activedefrag: No, "activedefrag", "no", live;
    active_defrag_cycle_max: Int<1, 99>, "active-defrag-cycle-max", "25", live;
    active_defrag_cycle_min: Int<1, 99>, "active-defrag-cycle-min", "1", live;
    active_defrag_cycle_us: Int<0, 100_000>, "active-defrag-cycle-us", "500", live;
    active_defrag_ignore_bytes: Bytes, "active-defrag-ignore-bytes", "100mb", live, 0 to i64::MAX;
    active_defrag_max_scan_fields: Int<1, INT_MAX>, "active-defrag-max-scan-fields", "1000", live;
    active_defrag_threshold_lower: Int<0, 1000>, "active-defrag-threshold-lower", "10", live;
    active_defrag_threshold_upper: Int<0, 1000>, "active-defrag-threshold-upper", "100", live;
    always_show_logo: bool, "always-show-logo", "no", fixed;
    crash_log_enabled: bool, "crash-log-enabled", "yes", live;
    crash_memcheck_enabled: bool, "crash-memcheck-enabled", "yes", live;
    disable_thp: bool, "disable-thp", "yes", fixed;
    dual_channel_replication_enabled: bool, "dual-channel-replication-enabled", "no", live;
    extended_redis_compatibility: bool, "extended-redis-compatibility", "no", live;
    hide_user_data_from_log: bool, "hide-user-data-from-log", "yes", live;
    ignore_warnings: String, "ignore-warnings", "", live;
    io_threads: Int<1, 256>, "io-threads", "1", live;
    /// There are no such threads: the executing one reads and writes.
    io_threads_always_active: bool, "io-threads-always-active", "no", hidden;
    jemalloc_bg_thread: bool, "jemalloc-bg-thread", "yes", live;
    min_string_size_avoid_copy_reply: Int<0, INT_MAX>, "min-string-size-avoid-copy-reply", "16384",
        hidden;
    min_string_size_avoid_copy_reply_threaded: Int<0, INT_MAX>,
        "min-string-size-avoid-copy-reply-threaded", "65536", hidden;
    min_io_threads_avoid_copy_reply: Int<0, INT_MAX>, "min-io-threads-avoid-copy-reply", "7", hidden;
    locale_collate: String, "locale-collate", "", live;
    mptcp: No, "mptcp", "no", fixed;
    prefetch_batch_max_size: Int<0, 128>, "prefetch-batch-max-size", "16", live;
    proc_title_template: String, "proc-title-template", "{title} {listen-addr} {server-mode}", live;
    propagation_error_behavior: PropagationError, "propagation-error-behavior", "ignore", live;
    rdb_version_check: RdbVersionCheck, "rdb-version-check", "strict", live;
    repl_mptcp: No, "repl-mptcp", "no", fixed;
    replica_ignore_disk_write_errors: bool, "replica-ignore-disk-write-errors", "no", live;
    set_proc_title: bool, "set-proc-title", "yes", fixed;
    supervised: Supervised, "supervised", "no", fixed;
    server_cpulist: String, "server-cpulist", "", fixed;
    bio_cpulist: String, "bio-cpulist", "", fixed;
    aof_rewrite_cpulist: String, "aof-rewrite-cpulist", "", fixed;
    bgsave_cpulist: String, "bgsave-cpulist", "", fixed;
}

/// Older names of directives, each with the present one.
pub const ALIASES: &[(&str, &str)] = &[
    ("slowlog-log-slower-than", "commandlog-execution-slower-than"),
    ("slowlog-max-len", "commandlog-slow-execution-max-len"),
    ("slaveof", "replicaof"),
    ("masterauth", "primaryauth"),
    ("masteruser", "primaryuser"),
    ("slave-read-only", "replica-read-only"),
    ("slave-serve-stale-data", "replica-serve-stale-data"),
    ("lua-time-limit", "busy-reply-threshold"),
    ("lua-enable-deprecated-api", "lua-enable-insecure-api"),
    ("slave-priority", "replica-priority"),
    ("slave-announce-ip", "replica-announce-ip"),
    ("slave-announce-port", "replica-announce-port"),
    ("slave-ignore-maxmemory", "replica-ignore-maxmemory"),
    ("slave-lazy-flush", "replica-lazy-flush"),
    ("repl-ping-slave-period", "repl-ping-replica-period"),
    ("min-slaves-to-write", "min-replicas-to-write"),
    ("min-slaves-max-lag", "min-replicas-max-lag"),
    ("hash-max-ziplist-entries", "hash-max-listpack-entries"),
    ("hash-max-ziplist-value", "hash-max-listpack-value"),
    ("zset-max-ziplist-entries", "zset-max-listpack-entries"),
    ("zset-max-ziplist-value", "zset-max-listpack-value"),
    ("list-max-ziplist-size", "list-max-listpack-size"),
    ("server_cpulist", "server-cpulist"),
    ("bio_cpulist", "bio-cpulist"),
    ("aof_rewrite_cpulist", "aof-rewrite-cpulist"),
    ("bgsave_cpulist", "bgsave-cpulist"),
];
