//! Versioned store of keys and values.
