//! Admission of evictions.
