//! The decision of a switchover, as a pure step: no I/O, no clock, no randomness.
