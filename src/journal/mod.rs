//! The one pen.
