//! Every finding code is provoked: for each there is a ledger, a snapshot or a directory in which exactly that is wrong,
//! and the command that must say so. A code without a row here fails the tests.

#[path = "../corruption/ground.rs"]
#[allow(dead_code, reason = "the corruption tests use the rest")]
mod ground;
#[path = "../support/identity.rs"]
#[allow(dead_code, reason = "the corruption tests use the rest")]
mod identity;
#[path = "../support/scribe.rs"]
#[allow(dead_code, reason = "the corruption tests use the rest")]
mod scribe;
#[path = "../support/snapshot.rs"]
mod snapshot;

mod attacks;
mod attested;
mod commands;
mod copies;
mod deceived;
mod going_on;
mod invented;
mod joining;
mod own_policy;
mod rules;
mod secrets;
mod snapshots;
mod story;
mod structure;
mod trust;

use std::collections::BTreeSet;

use rekindle::report::{Code, Finding};

/// The findings must hold this code, and no other but those that may come with it.
#[track_caller]
fn expect(code: Code, besides: &[Code], findings: &[Finding]) {
    let codes: BTreeSet<Code> = findings.iter().map(|finding| finding.code).collect();
    let shown: Vec<String> = findings
        .iter()
        .map(|finding| format!("{} at {:?}: {}", finding.code.as_str(), finding.seqno, finding.message))
        .collect();
    let shown = shown.join("\n");
    assert!(codes.contains(&code), "{} is not among\n{shown}", code.as_str());
    for found in codes {
        let expected = found == code || besides.contains(&found);
        assert!(expected, "{} comes with {}:\n{shown}", code.as_str(), found.as_str());
    }
    for finding in findings {
        let said = !finding.message.is_empty() && !finding.next.is_empty();
        assert!(said, "a finding says what was found and what to do: {finding:?}");
    }
}

/// One row a code: what provokes it, and which other codes follow from that.
macro_rules! rows {
    ($($code:ident: $provoke:path $(, besides $besides:ident)*;)*) => {
        const ROWS: &[Code] = &[$(Code::$code),*];

        #[allow(non_snake_case, reason = "a test is called as its code")]
        mod provoked {
            use rekindle::report::Code;
            use super::*;
            $(
                #[test]
                fn $code() {
                    expect(Code::$code, &[$(Code::$besides),*], &$provoke());
                }
            )*
        }
    };
}

rows! {
    Gap: structure::a_missing_chunk, besides PreviousRoot, besides Unsigned;
    NameDisagrees: structure::a_chunk_under_another_name;
    UnreadableName: structure::a_name_that_is_almost_a_chunk_s;
    UnfinishedRecovery: structure::a_chunk_of_a_recovery_that_never_opened;
    SetAside: structure::a_file_set_aside;
    OpenInReadOnly: structure::an_open_chunk_in_a_read_only_directory;
    EmptyChunk: structure::a_chunk_without_an_entry;
    LateStart: structure::a_ledger_without_its_first_chunk,
        besides NothingSigned, besides CoseSignature, besides UnknownNode;
    NotAFile: structure::a_directory_named_like_a_chunk;
    SpareAgrees: structure::the_same_chunk_twice;
    SpareDiffers: structure::the_same_chunk_twice_with_another_byte;
    ChunkEndsUnsigned: structure::a_complete_chunk_that_does_not_end_with_a_signature;
    Shrank: structure::a_file_that_shrinks_while_it_is_read,
        besides EntriesLost, besides ChunkEndsEarly, besides ChunkEndsUnsigned, besides TornTail, besides Unsigned,
        besides NothingSigned, besides Gap, besides RootDiffers, besides Writes, besides EntryDiffers,
        besides ChunkHeader, besides Position, besides EntrySize, besides SignatureMalformed;
    ChunkHeader: structure::a_header_word_that_points_elsewhere;
    Position: structure::a_position_that_points_elsewhere;
    EntrySize: structure::an_entry_of_another_size, besides Unsigned;
    EntriesLost: structure::an_entry_of_zeros, besides Unsigned;
    TornTail: structure::an_open_chunk_cut_inside_an_entry;
    ChunkEndsEarly: structure::a_complete_chunk_that_promises_more, besides ChunkHeader;
    Writes: structure::writes_that_do_not_end, besides Unsigned;
    EntryDiffers: structure::a_changed_value, besides Unsigned;
    ViewGoesBack: trust::a_view_that_falls, besides Unsigned;
    EntryFlags: invented::an_entry_that_asks_for_a_chunk, besides Unsigned;
    EntryType: invented::an_entry_of_1_x_after_newer_ones, besides Unsigned;
    ViewTooHigh: invented::a_view_that_no_election_reaches, besides Unsigned;
    NeverWritten: invented::a_value_in_a_hole_of_its_file;
    RootDiffers: trust::a_signature_that_records_another_root, besides Unsigned;
    NodeSignature: trust::a_node_s_signature_of_another_root, besides Unsigned;
    CoseSignature: trust::a_service_s_signature_of_another_root, besides Unsigned;
    UnknownNode: trust::a_signature_of_a_node_that_was_removed, besides Unsigned;
    UntrustedNode: trust::a_signature_of_a_pending_node, besides Unsigned;
    OtherNodeKey: trust::a_signature_with_another_node_s_certificate, besides Unsigned;
    NotEndorsed: trust::a_node_whose_certificate_another_service_signed, besides Unsigned;
    SignatureFields: trust::a_signature_that_names_another_transaction, besides Unsigned;
    SignatureMalformed: trust::a_signature_transaction_that_writes_more, besides Unsigned;
    TreeDiffers: trust::a_last_tree_with_another_leaf;
    Unsigned: trust::entries_after_the_last_signature;
    SignatureShape: trust::a_last_signature_with_claims;
    NothingSigned: trust::a_ledger_without_a_signature;
    TrustValue: trust::a_service_that_can_not_be_read, besides Unsigned;
    SignatureOutOfPlace: invented::a_node_alone_after_the_service_alone, besides Unsigned;
    NodeStatus: invented::a_node_that_is_banned, besides Unsigned;
    SignedAfterRetirement: invented::a_node_that_signs_after_its_retirement, besides Unsigned, besides RetiredSigns;
    RetiredSigns: invented::a_retired_node_that_signs;
    CoseGone: invented::a_signature_without_cose_after_one_with_it;
    OtherKey: invented::a_service_under_another_key, besides Unsigned;
    ServiceLink: invented::a_link_past_a_service_s_creation;
    Unproven: invented::a_service_of_1_x;
    RecoveryDiffers: invented::a_recovery_that_counts_wrong, besides Unsigned;
    IdentityChanged: trust::an_identity_changed_without_a_recovery, besides Unsigned, besides NotEndorsed;
    StatusTransition: trust::an_open_service_that_opens_again, besides Unsigned;
    PreviousIdentity: trust::a_recovery_of_another_service, besides Unsigned;
    Endorsement: trust::an_endorsement_by_the_wrong_key;
    EndorsementIllFormed: trust::an_endorsement_that_ends_before_it_begins;
    ServiceCertificate: trust::another_certificate_than_the_service_s;
    PreviousRoot: trust::a_recovery_of_another_history, besides Unsigned;
    SnapshotUnreadable: snapshots::cut_inside_its_state;
    SnapshotReceipt: snapshots::with_half_a_receipt;
    SnapshotSigner: snapshots::with_a_stranger_s_receipt;
    SnapshotEvidence: snapshots::with_evidence_of_another_transaction, besides SnapshotReceipt;
    SnapshotLeaf: snapshots::of_another_transaction;
    SnapshotAhead: snapshots::ahead_of_the_ledger;
    SnapshotUncommitted: snapshots::that_was_not_committed;
    SnapshotName: invented::a_snapshot_whose_name_lies_about_its_evidence;
    SnapshotNewer: invented::a_snapshot_newer_than_the_ledger, besides SnapshotAhead;
    SnapshotAlone: invented::a_snapshot_and_no_ledger, besides NothingSigned;
    NotCompared: invented::an_earlier_report_that_reaches_further_than_this_run;
    ServiceDiffers: invented::a_recovery_by_another_service_than_reported, besides Rewritten;
    Superseded: invented::a_tail_that_an_election_superseded;
    RolledBack: copies::a_ledger_that_was_cut_since;
    Rewritten: copies::a_ledger_that_was_rewritten_since;
    NoSecret: secrets::a_broken_chain, besides SecretChain;
    Undecryptable: secrets::a_private_byte_changed;
    CommitEvidence: secrets::evidence_of_another_secret;
    WrongShare: secrets::a_share_of_an_earlier_generation;
    NotUnlocked: secrets::too_few_shares;
    NotUnsealed: secrets::a_sealed_file_of_another_service;
    SecretChain: secrets::a_broken_chain, besides NoSecret;
    PrivateWrites: secrets::private_writes_that_can_not_be_read;
    OwnPolicy: own_policy::a_node_below_its_members_minimum;
    Fork: copies::two_histories_that_part;
    OtherService: copies::ledgers_of_two_services;
    EvidenceFails: attested::an_authority_that_the_root_did_not_sign;
    EvidenceUnreadable: attested::a_quote_that_can_not_be_read;
    EvidenceOfAnother: attested::a_report_about_another_key;
    NotAllowed: attested::a_measurement_that_the_members_did_not_allow;
    EvidenceChanged: attested::another_report_later;
    DebugAllowed: attested::a_guest_that_may_be_debugged;
    Unattested: attested::nodes_without_quotes;
    SharedChip: attested::two_nodes_on_one_chip;
    SharedGuest: attested::two_nodes_of_one_launch;
    TcbLowered: attested::a_recovery_on_older_firmware;
    FeedsDropped: attested::a_recovery_that_forgets_a_feed;
    TcbBelow: attested::firmware_older_than_the_list;
    CertificateRevoked: attested::an_authority_that_was_revoked;
    OldReport: attested::a_report_of_version_2, besides NotAllowed;
    PolicyRow: attested::a_minimum_that_is_no_object;
    NotValidThen: attested::certificates_at_a_time_when_they_have_expired;
    SgxTcbStatus: attested::a_real_enclave_with_other_collateral, besides SgxCollateralExpired, besides EvidenceFails;
    SgxCollateralExpired: attested::a_real_enclave;
    UvmEndorsements: attested::endorsements_of_the_measurement_that_are_none;
    TcbNotExact: attested::more_tcb_than_certified;
    ReportDataMore: attested::a_report_with_more_data;
    PolicyByNobody: deceived::a_policy_that_is_changed_for_one_node_and_back;
    ArchiveUnread: commands::a_file_that_may_not_be_read, besides ArchiveCopyUnread;
    ArchiveCopyUnread: commands::a_ledger_that_could_not_be_verified_while_it_was_archived, besides ArchiveUnread;
    ArchiveForeign: commands::something_among_an_archive_s_objects;
    ArchiveNoLedger: commands::a_directory_with_nothing_of_a_ledger;
    SalvageMissing: commands::a_signed_entry_that_no_copy_holds;
    SalvageDamaged: commands::a_damaged_copy_beside_a_whole_one;
    SalvageSuperseded: commands::a_recovery_that_did_not_open;
    SalvageBridged: commands::a_hole_that_a_snapshot_leads_over, besides SalvageMissing, besides SalvageSnapshot;
    SalvageChosen: commands::three_copies_of_which_one_differs_where_nothing_is_signed, besides SalvageDamaged;
    SalvageUnclear: commands::two_copies_that_differ_after_the_last_signature;
    SalvageSnapshot: commands::a_snapshot_that_was_changed;
    SalvageBroken: commands::a_file_in_more_pieces_than_damage_makes, besides SalvageDamaged, besides SalvageMissing;
    SalvageNothing: commands::a_chunk_without_what_came_before_it, besides SalvageMissing;
    EvidenceOfAnotherSecret: commands::a_receipt_of_an_entry_whose_evidence_is_of_another_secret;
    NoEndorsements: commands::a_receipt_of_a_service_that_nothing_leads_to, besides NotKnownCommitted;
}

/// Codes that no test asks for, each with the reason.
///
/// - `L1012`: takes a file system that keeps neither times nor permissions (FAT over some mounts, some network file systems), which a test
///   can't mount.
/// - `L1217`: takes a ledger of 1.x with the digest of a snapshot of 1.x, of which there is none to test with.
const NOT_ASKED_FOR: [&str; 2] = ["L1012", "L1217"];

/// All of this project's tests as text.
fn tests() -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting = vec![root.join("tests"), root.join("src")];
    let mut text = String::new();
    while let Some(directory) = waiting.pop() {
        for item in std::fs::read_dir(directory).unwrap() {
            let path = item.unwrap().path();
            let name = path.to_str().unwrap();
            let is_test = name.contains("/tests") && !name.contains("/tests/findings");
            if path.is_dir() {
                waiting.push(path);
            } else if is_test && name.ends_with(".rs") {
                text += &std::fs::read_to_string(&path).unwrap();
            }
        }
    }
    text
}

#[test]
fn every_code_has_a_row_or_is_asked_for_where_its_command_is_tested() {
    let tests = tests();
    let missing: Vec<&str> = Code::ALL
        .iter()
        .filter(|code| !ROWS.contains(code))
        .filter(|code| !tests.contains(code.as_str()) && !tests.contains(&format!("Code::{code:?}")))
        .map(|code| code.as_str())
        .collect();
    let (mut missing, mut known) = (missing, NOT_ASKED_FOR.to_vec());
    missing.sort_unstable();
    known.sort_unstable();
    assert_eq!(
        missing, known,
        "a code that no test provokes: add a row to `rows!`, or ask for it by name"
    );
}

#[test]
fn what_the_rows_start_from_is_clean() {
    for mode in story::MODES {
        let mut story = story::Story::begin(mode);
        story.serve(3);
        story.sign();
        story.recover();
        story.serve(3);
        story.sign();
        let findings = story.verify().findings;
        assert!(findings.is_empty(), "{mode:?}: {findings:?}");
    }
}
