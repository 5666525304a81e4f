//! `rekindle canton scan`.
