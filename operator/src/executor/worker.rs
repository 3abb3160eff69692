//! Keeps the effects that must not overtake each other in line, and lets the others run at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::pin::Pin;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One line of jobs for each key, each with a task of its own. All end when this is dropped.
pub struct Lines<K> {
    lines: HashMap<K, (UnboundedSender<Job>, JoinHandle<()>)>,
}

impl<K: Hash + Eq> Lines<K> {
    pub fn new() -> Self {
        Self { lines: HashMap::new() }
    }

    /// Runs the job after all that were added to the same line before it.
    pub fn add(&mut self, key: K, job: impl Future<Output = ()> + Send + 'static) {
        let (sender, _) = self.lines.entry(key).or_insert_with(|| {
            let (sender, mut receiver) = unbounded_channel::<Job>();
            let task = tokio::spawn(async move {
                while let Some(job) = receiver.recv().await {
                    job.await;
                }
            });
            (sender, task)
        });
        // The task ends only with this map, or by a panic of a job, which is reported by itself.
        let _ = sender.send(Box::pin(job));
    }
}

impl<K> Drop for Lines<K> {
    fn drop(&mut self) {
        for (_, task) in self.lines.values() {
            task.abort();
        }
    }
}
