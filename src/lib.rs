//! Rekindle
