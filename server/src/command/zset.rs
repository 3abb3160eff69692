//! Commands on sorted sets.

use super::Command;

pub const COMMANDS: &[Command] = &[];
