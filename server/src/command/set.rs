//! Commands on sets.

use super::Command;

pub const COMMANDS: &[Command] = &[];
