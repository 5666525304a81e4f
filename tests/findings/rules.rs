//! Who may sign what, and when: histories whose every root is right, and which break one rule each.
