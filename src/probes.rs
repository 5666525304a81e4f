//! One function for each parser of bytes that come from outside: it reads them as far as anything in them can be read.
//!
//! For tests alone. The fuzz targets in `fuzz/` and the seeded mutations in `tests/parsers.rs` call the same functions;
//! a probe must neither panic nor use more memory than a small multiple of what it was given.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod archive;
mod attestation;
#[cfg(feature = "canton")]
mod canton;
mod channel;
mod consensus;
mod joining;
mod members;
mod receipts;
mod sealed;
mod watch;

pub use archive::archive;
pub use attestation::{attestation_endorsements, attestation_report, did_x509, sgx_quote, uvm_endorsements};
#[cfg(feature = "canton")]
pub use canton::{
    canton_answers, canton_dump, canton_evidence, canton_identities, canton_journal, canton_log, canton_snapshot,
    canton_volumes,
};
pub use channel::{channel_frames, channel_handshake, channel_message};
pub use consensus::consensus_messages;
pub use joining::join_request;
pub use members::{governance_request, proposal};
pub use receipts::receipt_endorsements;
pub use sealed::sealed_file;
pub use watch::watch_answers;

use crate::crypto::cose::Sign1;
use crate::crypto::ecdsa::VerifyingKey;
use crate::crypto::{AeadKey, Certificate, GcmBlob, Share, SigningKey, shares};
use crate::format::chunk::{Layout, Step, Walker};
use crate::format::cursor::Cursor;
use crate::format::directory::LedgerFiles;
use crate::format::domain::{Maps, PublicHeader};
use crate::format::entry::Entry;
use crate::format::names::{FileName, SnapshotName};
use crate::format::snapshot::{Snapshot, private_parts, private_state};
use crate::http::message::{parse_query, percent_decode};
use crate::merkle::receipt::Receipt;
use crate::merkle::tree::TreeView;
use crate::node::api::parse_range;
use crate::recovery::join::{Joiner, Mode, SavedJoiner};
use crate::recovery::salvage::survey::survey;
use crate::snapshot::content::compare;
use crate::snapshot::replay::State;
use crate::tables::{codec, names};

/// A probe and its name, which is that of its fuzz target.
pub type Probe = (&'static str, fn(&[u8]));

/// Every probe.
pub const ALL: &[Probe] = &[
    ("entry", entry),
    ("domain", domain),
    ("chunk", chunk),
    ("snapshot", snapshot),
    ("tree", tree),
    ("receipt", receipt),
    ("receipt_endorsements", receipt_endorsements),
    ("salvage_survey", salvage_survey),
    ("cose", cose),
    ("certificate", certificate),
    ("share", share),
    ("gcm_blob", gcm_blob),
    ("archive", archive),
    ("sealed_file", sealed_file),
    ("file_names", file_names),
    ("table_values", table_values),
    ("checkpoint", checkpoint),
    ("http_request", http_request),
    ("governance_request", governance_request),
    ("join_request", join_request),
    ("attestation_report", attestation_report),
    ("attestation_endorsements", attestation_endorsements),
    ("uvm_endorsements", uvm_endorsements),
    ("did_x509", did_x509),
    ("sgx_quote", sgx_quote),
    ("channel_frames", channel_frames),
    ("channel_handshake", channel_handshake),
    ("consensus_messages", consensus_messages),
    ("channel_message", channel_message),
    ("watch_answers", watch_answers),
    #[cfg(feature = "canton")]
    ("canton_log", canton_log),
    #[cfg(feature = "canton")]
    ("canton_evidence", canton_evidence),
    #[cfg(feature = "canton")]
    ("canton_identities", canton_identities),
    #[cfg(feature = "canton")]
    ("canton_snapshot", canton_snapshot),
    #[cfg(feature = "canton")]
    ("canton_dump", canton_dump),
    #[cfg(feature = "canton")]
    ("canton_journal", canton_journal),
    #[cfg(feature = "canton")]
    ("canton_volumes", canton_volumes),
    #[cfg(feature = "canton")]
    ("canton_answers", canton_answers),
];

/// Probes that take milliseconds each, and memory of their own.
pub const SLOW: &[Probe] = &[("proposal", proposal)];

/// One entry, its leaf and its writes.
pub fn entry(bytes: &[u8]) {
    if let Ok(entry) = Entry::parse(bytes) {
        let mut cursor = Cursor::new(entry.public);
        if let Ok(public) = PublicHeader::read(&mut cursor) {
            let _ = entry.leaf(&public);
            let _ = Maps::new(cursor).for_each(|_, _| ());
        }
    }
}

/// A private domain, decrypted; and a public one after its header.
pub fn domain(bytes: &[u8]) {
    let _ = Maps::private(bytes).for_each(|_, _| ());
    let mut cursor = Cursor::new(bytes);
    if PublicHeader::read(&mut cursor).is_ok() {
        let _ = Maps::new(cursor).for_each(|_, _| ());
    }
}

/// A file of any kind, from which a salvage takes what entries it holds.
pub fn salvage_survey(bytes: &[u8]) {
    let found = survey(0, bytes, std::iter::empty());
    for run in found.runs {
        for seqno in [
            run.first,
            run.first + (run.last - run.first) / 2,
            run.last,
            run.last + 1,
        ] {
            assert!(run.offset_of(bytes, seqno).is_some_and(|at| at <= bytes.len() as u64));
        }
    }
}

/// A chunk file: first byte of the input chooses what its name says, the rest is the file.
pub fn chunk(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    let promised = u64::from(*choice);
    let layout = match Layout::read(bytes) {
        Ok(layout) if promised.is_multiple_of(2) => layout,
        _ => Layout::by_count(bytes, promised)
            .or_else(|| Layout::by_headers(bytes))
            .unwrap_or_else(|| Layout::unusable(bytes)),
    };
    let mut faults = Vec::new();
    for first in [1, promised] {
        let mut walker = Walker::new(bytes, layout, first);
        loop {
            match walker.step(&mut faults) {
                Step::Entry(located) => drop(located.maps().for_each(|_, _| ())),
                Step::Lost(_) => {}
                Step::End => break,
            }
        }
    }
}

/// A snapshot file and its public state, compared with another one; the same bytes as a decrypted private state; and its
/// receipt.
pub fn snapshot(bytes: &[u8]) {
    let state = State::default();
    if let Ok(snapshot) = Snapshot::parse(bytes) {
        let _ = compare(&state, true, |each| snapshot.public_parts(each));
        let _ = snapshot.public_state(|_, _| ());
        let _ = snapshot.view_history().count();
        receipt(snapshot.receipt);
    }
    let _ = private_state(bytes, |_, _| ());
    let _ = compare(&state, false, |each| private_parts(bytes, each));
}

/// A serialised Merkle tree, rebuilt.
pub fn tree(bytes: &[u8]) {
    if let Ok(tree) = TreeView::parse(bytes) {
        let _ = tree.root();
        let _ = tree.leaf(tree.flushed);
        let _ = tree.accumulator(tree.len() / 2);
    }
}

/// A receipt, JSON or COSE, as a snapshot's and as it is judged; the same bytes as endorsements beside it.
pub fn receipt(bytes: &[u8]) {
    if let Ok(receipt) = Receipt::parse(bytes) {
        let _ = receipt.root();
    }
    receipts::judged(bytes);
}

/// A COSE_Sign1 message.
pub fn cose(bytes: &[u8]) {
    if let Ok(message) = Sign1::parse(bytes) {
        let _ = (message.kid(), message.txid(), message.issuer(), message.payload());
        let _ = message.inclusion_proofs();
    }
}

/// A certificate or a key, DER and PEM.
pub fn certificate(bytes: &[u8]) {
    if let Ok(certificate) = Certificate::from_der(bytes) {
        let _ = certificate.subject();
        let _ = certificate.is_signed_by(certificate.key());
    }
    let _ = VerifyingKey::from_spki_der(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Certificate::from_pem(text);
        let _ = VerifyingKey::from_spki_pem(text);
        let _ = SigningKey::from_pkcs8_pem(text);
    }
}

/// A share, alone and combined with itself.
pub fn share(bytes: &[u8]) {
    if let Ok(share) = Share::parse(bytes) {
        let _ = share.to_bytes();
        let _ = shares::combine(&[&share, &share], 2);
        let _ = shares::combine(&[&share], 1);
    }
}

/// A GCM blob: tag, IV, ciphertext.
pub fn gcm_blob(bytes: &[u8]) {
    if let Ok(blob) = GcmBlob::parse(bytes) {
        let _ = blob.open(&AeadKey::new(&[0; 32]));
    }
}

/// Names of chunks and snapshots.
pub fn file_names(bytes: &[u8]) {
    let name = String::from_utf8_lossy(bytes);
    if let FileName::Chunk(name) = FileName::parse(&name) {
        let _ = FileName::parse(&name.to_string());
    }
    let _ = SnapshotName::parse(&name).map(|name| name.to_string());
}

/// Tables whose values are shown decoded; the first byte of the input chooses.
const TABLES: &[&str] = &[
    names::SIGNATURES,
    names::COSE_SIGNATURES,
    names::TREE,
    names::SERVICE_INFO,
    names::NODES_INFO,
    names::NODES_ENDORSED_CERTIFICATES,
    names::RECOVERY_SHARES,
    names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT,
    names::SNAPSHOT_EVIDENCE,
    names::MEMBERS_CERTS,
    "public:app",
];

/// A table's key and value, described.
pub fn table_values(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    if let Some(table) = TABLES.get(usize::from(*choice) % TABLES.len()) {
        let _ = codec::describe_value(table, bytes);
        let _ = codec::describe_key(table, bytes);
    }
}

/// What a client chooses in the head of a request: segments of the path, the query, a range.
pub fn http_request(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let _ = percent_decode(&text);
    let _ = parse_query(&text);
    if let Ok((from, to)) = parse_range(&text, input.len() as u64) {
        // What comes out is a range of the file, or nothing is served.
        debug_assert!(from < to && to <= input.len() as u64);
        let _ = input.get(from as usize..to as usize);
    }
}

/// The state in a checkpoint.
pub fn checkpoint(bytes: &[u8]) {
    let files = LedgerFiles {
        chunks: Vec::new(),
        spares: Vec::new(),
        notes: Vec::new(),
    };
    if let Ok(saved) = serde_json::from_slice::<SavedJoiner>(bytes) {
        let _ = Joiner::restore(&files, Mode::Audit, saved);
    }
}
