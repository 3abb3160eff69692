//! How readily the kernel kills this process when memory is short.

use std::fs;
use std::io;

const FILE: &str = "/proc/self/oom_score_adj";
const MOST: i32 = 1000;

/// The score; none where the system has no such thing.
pub fn read() -> Option<i32> {
    fs::read_to_string(FILE).ok()?.trim().parse().ok()
}

pub fn write(score: i32) -> io::Result<()> {
    fs::write(FILE, score.clamp(-MOST, MOST).to_string())
}
