//! What is shown in a browser: one look, one set of parts, and reports as files that need nothing else.
