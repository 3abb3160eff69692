//! How memory is used, for INFO and MEMORY.

use super::Lines;
use crate::client::Duty;
use crate::config::Value as _;
use crate::engine::Engine;

/// Memory by use, in bytes.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    pub used: u64,
    pub peak: u64,
    pub rss: u64,
    pub startup: u64,
    pub backlog: u64,
    /// Output that waits for replicas.
    pub replicas: u64,
    /// Buffers of ordinary clients.
    pub clients: u64,
    /// Keys, and bytes of the tables that lead to them, of each database that holds any.
    pub databases: Vec<(usize, usize, u64)>,
}

impl Overview {
    pub fn of(engine: &Engine) -> Self {
        let mut found = Self {
            used: engine.used_memory(),
            rss: engine.memory.rss,
            startup: engine.memory.startup,
            backlog: engine.backlog_memory(),
            replicas: engine.backlog_for_replicas(),
            ..Self::default()
        };
        found.peak = engine.memory.peak.max(found.used);
        for client in engine.clients.iter() {
            let bytes = client.memory();
            match client.duty {
                Duty::Replica => found.replicas += bytes,
                _ => found.clients += bytes,
            }
        }
        for index in 0..engine.keyspace.databases() {
            let db = engine.keyspace.db(index);
            if !db.is_empty() {
                found.databases.push((index, db.len(), db.table_memory() as u64));
            }
        }
        found
    }

    /// What is not keys and values.
    pub fn overhead(&self) -> u64 {
        let tables: u64 = self.databases.iter().map(|(_, _, bytes)| bytes).sum();
        self.startup + self.backlog + self.replicas + self.clients + tables
    }

    pub fn dataset(&self) -> u64 {
        self.used.saturating_sub(self.overhead())
    }

    pub fn dataset_percent(&self) -> f64 {
        let own = self.used.saturating_sub(self.startup).max(1);
        self.dataset() as f64 * 100.0 / own as f64
    }

    pub fn peak_percent(&self) -> f64 {
        self.used as f64 * 100.0 / self.peak.max(1) as f64
    }

    pub fn keys(&self) -> usize {
        self.databases.iter().map(|(_, keys, _)| keys).sum()
    }

    pub fn fragmentation(&self) -> f64 {
        self.rss as f64 / self.used.max(1) as f64
    }

    pub fn fragmentation_bytes(&self) -> i64 {
        self.rss as i64 - self.used as i64
    }
}

pub fn section(engine: &Engine, lines: &mut Lines) {
    let all = Overview::of(engine);
    let mut sized = |field: &str, bytes: u64| {
        lines.add(field, bytes);
        lines.add(&format!("{field}_human"), human(bytes));
    };
    sized("used_memory", all.used);
    sized("used_memory_rss", all.rss);
    sized("used_memory_peak", all.peak);
    lines.add("used_memory_peak_perc", format_args!("{:.2}%", all.peak_percent()));
    lines.add("used_memory_overhead", all.overhead());
    lines.add("used_memory_startup", all.startup);
    lines.add("used_memory_dataset", all.dataset());
    lines.add("used_memory_dataset_perc", format_args!("{:.2}%", all.dataset_percent()));
    lines.add("allocator_allocated", all.used);
    lines.add("allocator_active", all.rss);
    lines.add("allocator_resident", all.rss);
    lines.add("allocator_muzzy", 0);
    let machine = crate::memory::of_machine();
    lines.add("total_system_memory", machine);
    lines.add("total_system_memory_human", human(machine));
    scripts(engine, lines);
    let bound = engine.config.maxmemory.0;
    lines.add("maxmemory", bound);
    lines.add("maxmemory_human", human(bound));
    lines.add("maxmemory_policy", engine.config.maxmemory_policy.print());
    lines.add("allocator_frag_ratio", format_args!("{:.2}", all.fragmentation()));
    lines.add("allocator_frag_bytes", all.fragmentation_bytes());
    lines.add("allocator_rss_ratio", "1.00");
    lines.add("allocator_rss_bytes", 0);
    lines.add("rss_overhead_ratio", "1.00");
    lines.add("rss_overhead_bytes", 0);
    lines.add("mem_fragmentation_ratio", format_args!("{:.2}", all.fragmentation()));
    lines.add("mem_fragmentation_bytes", all.fragmentation_bytes());
    lines.add("mem_not_counted_for_evict", engine.not_counted_memory());
    lines.add("mem_replication_backlog", all.backlog);
    lines.add("mem_total_replication_buffers", all.backlog + all.replicas);
    lines.add("mem_replicas_repl_buffer", all.replicas);
    lines.add("mem_clients_slaves", all.replicas);
    lines.add("mem_clients_normal", all.clients);
    lines.add("mem_cluster_links", 0);
    lines.add("mem_aof_buffer", 0);
    lines.add("mem_allocator", "mimalloc");
    lines.add("mem_overhead_db_hashtable_rehashing", 0);
    lines.add("active_defrag_running", 0);
    lines.add("lazyfree_pending_objects", engine.lazyfree.pending());
    lines.add("lazyfreed_objects", engine.lazyfree.freed());
}

/// Interpreters, and the texts of scripts and libraries.
fn scripts(engine: &Engine, lines: &mut Lines) {
    let scripts = &engine.rooms.scripts;
    let (eval, functions) = scripts.interpreter_bytes();
    let (libraries, callable) = scripts.libraries.counts();
    let (cached, texts) = (scripts.cache.bytes(), scripts.libraries.bytes());
    lines.add("used_memory_lua", eval);
    lines.add("used_memory_vm_eval", eval);
    lines.add("used_memory_lua_human", human(eval as u64));
    lines.add("used_memory_scripts_eval", cached);
    lines.add("number_of_cached_scripts", scripts.cache.len());
    lines.add("number_of_functions", callable);
    lines.add("number_of_libraries", libraries);
    lines.add("used_memory_vm_functions", functions);
    lines.add("used_memory_vm_total", eval + functions);
    lines.add("used_memory_vm_total_human", human((eval + functions) as u64));
    lines.add("used_memory_functions", texts);
    lines.add("used_memory_scripts", cached + texts);
    lines.add("used_memory_scripts_human", human((cached + texts) as u64));
}

pub fn human(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    for unit in ["K", "M", "G", "T"] {
        if value < 1024.0 {
            return format!("{value:.2}{unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.2}P")
}
