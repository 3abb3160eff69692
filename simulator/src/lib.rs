//! A seeded world around the decision and the member, with checkers and planted bugs.
