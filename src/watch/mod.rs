//! The nodes of a living service, asked again and again: is it stable, and is a recovery needed?
