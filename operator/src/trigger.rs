//! From facts to the reason for a switchover; pure.
