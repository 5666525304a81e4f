use std::path::PathBuf;

use super::*;
use crate::format::TxId;
use crate::format::directory::{ChunkFile, PlannedChunk};
use crate::format::names::{ChunkKind, ChunkName};
use crate::recovery::chronicle::Density;
use crate::report::{Code, Finding};
use crate::tables::values::HexDigest;

const LAST: u64 = 100_000_000;

fn report() -> VerifyReport {
    let signed = TxId {
        view: 9,
        seqno: LAST - 3,
    };
    let document = serde_json::json!({
        "verdict": "findings", "mode": "audit", "entries": LAST, "signatures": 500_000, "cose_signatures": 500_000,
        "chunks": 20_000, "bytes": 30_000_000_000u64, "last_seqno": LAST, "last_signed": signed, "root": null, "signer": null,
        "unsigned_entries": 3, "snapshots": [], "findings": [], "elapsed_s": 60.0, "entries_per_s": 1.0, "bytes_per_s": 1.0,
        "services": [{"from_seqno": 1, "identity": HexDigest([1; 32]), "recovery_count": 0}],
    });
    serde_json::from_value(document).unwrap()
}

fn chunk(first: u64, last: u64) -> PlannedChunk {
    PlannedChunk {
        file: ChunkFile {
            path: PathBuf::from(format!("/var/lib/ccf/node-0/ledger/ledger_{first}-{last}.committed")),
            name: ChunkName {
                first,
                last: Some(last),
                kind: ChunkKind::Committed,
            },
            size: 1_500_000,
            first,
            last,
            main: true,
        },
        use_from: first,
    }
}

fn files(chunks: impl Iterator<Item = PlannedChunk>) -> LedgerFiles {
    LedgerFiles {
        chunks: chunks.collect(),
        spares: Vec::new(),
        notes: Vec::new(),
    }
}

fn written(report: &VerifyReport, files: &LedgerFiles) -> String {
    document(&Verified {
        report,
        files,
        began_after: None,
        command: "rekindle verify".to_owned(),
        unix_s: 0,
    })
}

#[test]
fn a_hundred_million_entries_with_everything_in_plenty_are_a_small_file() {
    let mut report = report();
    let mut chronicle = Chronicle::from(1);
    chronicle.signatures = Density {
        from_seqno: 1,
        width: 1 << 18,
        counts: (0..382).map(|number| 900 + number % 7 * 30).collect(),
    };
    chronicle.views = (0..4096).map(|view| (view + 2, view * 24_000 + 1)).collect();
    chronicle.secrets = (0..10_000).map(|at| (at * 10_000 + 1, SecretStep::Rekeyed)).collect();
    chronicle.snapshots = (0..10_000).map(|at| (at * 10_000 + 9, at * 10_000 + 5)).collect();
    report.chronicle = Some(Box::new(chronicle));
    let service = |at: u64| crate::recovery::trust::ServiceRecord {
        from_seqno: at * 1_000_000 + 1,
        identity: HexDigest([at as u8; 32]),
        recovery_count: Some(at),
    };
    report.services = (0..60).map(service).collect();
    report.findings = (0..50_000)
        .map(|at| {
            let code = Code::ALL[at as usize % Code::ALL.len()];
            Finding::new(code, "what was found ".repeat(30)).seqno(at * 2000 + 1)
        })
        .collect();
    let files = files((0..20_000).map(|at| chunk(at * 5000 + 1, at * 5000 + 5000)));
    let text = written(&report, &files);
    assert!(text.len() < 400_000, "{}", text.len());
    for code in Code::ALL {
        assert!(text.contains(&format!("<code>{}</code>", code.as_str())), "{code:?}");
    }
}

#[test]
fn the_tail_of_a_long_ledger_is_drawn_again_where_it_can_be_seen() {
    let report = report();
    let text = written(&report, &files([chunk(1, LAST)].into_iter()));
    assert!(
        text.contains("Its end, magnified: seqno 99,999,977 to 100,000,000"),
        "{text}"
    );
    let mut short = report;
    (short.last_seqno, short.last_signed) = (40, Some(TxId { view: 2, seqno: 37 }));
    let text = written(&short, &files([chunk(1, 40)].into_iter()));
    assert!(!text.contains("magnified"));
}

#[test]
fn what_lies_after_damage_is_not_called_unsigned() {
    let mut report = report();
    let files = files([chunk(1, LAST)].into_iter());
    report.findings = vec![Finding::new(Code::Unsigned, "3").seqno(LAST - 2)];
    assert!(written(&report, &files).contains("unsigned: seqnos 99999998 to 100000000"));
    report
        .findings
        .push(Finding::new(Code::EntryDiffers, "changed").seqno(LAST - 1));
    let text = written(&report, &files);
    assert!(text.contains("not proven: seqnos 99999998 to 100000000") && !text.contains("unsigned: seqnos"));
}

#[test]
fn what_was_not_read_is_not_called_proven() {
    let (report, files) = (report(), files([chunk(1, LAST)].into_iter()));
    let text = document(&Verified {
        report: &report,
        files: &files,
        began_after: Some(LAST / 2),
        command: String::new(),
        unix_s: 0,
    });
    assert!(
        text.contains("everything after the snapshot at 50000000 up to 9.99999997 is proven"),
        "{text}"
    );
    assert!(
        text.contains("x=\"50%\" y=\"3\" width=\"50%\" height=\"24\"><title>proven by"),
        "{text}"
    );
    assert!(text.contains("seqnos 1 to 50000000 were not read"));
}

#[test]
fn chunks_that_are_missing_leave_a_gap() {
    let text = written(&report(), &files([chunk(101, 200), chunk(301, LAST)].into_iter()));
    assert!(text.contains("seqnos 1 to 100 are in no file") && text.contains("seqnos 201 to 300 are in no file"));
}

#[test]
fn names_that_promise_more_than_there_is_do_no_harm() {
    let mut report = report();
    report.last_signed = None;
    report.last_seqno = 0;
    let files = files([chunk(u64::MAX - 1, u64::MAX), chunk(7, 3)].into_iter());
    assert!(written(&report, &files).contains("nothing is proven"));
}
