//! All copies of all nodes in one place: equal blocks once, compressed, proven in the same pass, restored byte for byte.
