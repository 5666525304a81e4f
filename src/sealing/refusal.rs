//! Why a sealed file is not used.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::TcbVersion;
use crate::format::Seqno;
use crate::shown::excerpt;

/// Why one sealed file is not used. No secret, and nothing of a file's contents but numbers, is in any of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The file can't be read, or is no file.
    Unreadable(String),
    /// It ends too early.
    Truncated,
    /// It is something else, or damaged.
    Malformed(String),
    /// It holds an older secret than the ledger asks for.
    Stale {
        /// The version that is asked for.
        wanted: Seqno,
    },
    /// It holds a later secret than the ledger asks for: the ledger at hand ends before that rekey, or is another.
    Future {
        /// The version that is asked for.
        wanted: Seqno,
    },
    /// Its name says another version than its contents.
    Renamed {
        /// What the contents say.
        inside: Seqno,
    },
    /// There is nothing to open.
    Missing(String),
    /// There is no key of any kind.
    NoSource(String),
    /// The key that it was sealed under can't be had here.
    NoKey {
        /// What it was sealed under.
        tcb: TcbVersion,
        /// What the source answers.
        why: String,
    },
    /// The key can be had and does not open it.
    DoesNotOpen {
        /// What it was sealed under.
        tcb: TcbVersion,
    },
    /// It opens, but its secret is not this ledger's.
    NotOfThisLedger(String),
    /// It opens the ledger, which the service can't make use of.
    Unusable(String),
}

impl Refusal {
    /// One word for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Refusal::Unreadable(_) => "unreadable",
            Refusal::Truncated => "truncated",
            Refusal::Malformed(_) => "malformed",
            Refusal::Stale { .. } => "stale",
            Refusal::Future { .. } => "future",
            Refusal::Renamed { .. } => "renamed",
            Refusal::Missing(_) => "missing",
            Refusal::NoSource(_) => "no-source",
            Refusal::NoKey { .. } => "no-key",
            Refusal::DoesNotOpen { .. } => "does-not-open",
            Refusal::NotOfThisLedger(_) => "not-of-this-ledger",
            Refusal::Unusable(_) => "unusable",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unreadable(why) => write!(f, "unreadable: {why}"),
            Refusal::Truncated => f.write_str("truncated: it ends too early to be a sealed secret"),
            Refusal::Malformed(why) => write!(f, "not a sealed secret, or damaged: {why}"),
            Refusal::Stale { wanted } => write!(
                f,
                "stale: it holds an older secret, the ledger asks for the one in force from seqno {wanted} on"
            ),
            Refusal::Future { wanted } => write!(
                f,
                "of the future: it holds a later secret than this ledger has, which asks for the one in force from seqno \
                 {wanted} on"
            ),
            Refusal::Renamed { inside } => write!(f, "renamed: inside it says version {inside}"),
            Refusal::Missing(why) => write!(f, "missing: {why}"),
            Refusal::NoSource(why) => write!(f, "there is no key to open sealed files with: {why}"),
            Refusal::NoKey { tcb, why } => write!(
                f,
                "sealed under TCB version {tcb}, for which there is no key here: {why}"
            ),
            Refusal::DoesNotOpen { tcb } => write!(
                f,
                "the key for TCB version {tcb} does not open it: it was altered, or sealed with another key (another \
                 processor, program or policy)"
            ),
            Refusal::Unusable(why) => write!(f, "it opens the ledger, but that is of no use: {why}"),
            Refusal::NotOfThisLedger(why) => write!(f, "it opens, but its secret is not of this ledger: {why}"),
        }
    }
}

/// A file that is not used, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Refused {
    /// The file's name, as it can be shown.
    pub file: String,
    /// One word: see [`Refusal::kind`].
    pub kind: &'static str,
    /// In words.
    pub why: String,
}

impl Refused {
    /// A file of this name, for this reason. Both come out fit to be shown, and cut where they are long: what is wrong with
    /// a file or a value may quote it.
    pub fn new(file: &str, refusal: &Refusal) -> Refused {
        Refused {
            file: excerpt(file),
            kind: refusal.kind(),
            why: excerpt(&refusal.to_string()),
        }
    }
}
