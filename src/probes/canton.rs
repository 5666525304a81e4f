//! Files, dumps and answers of Canton's Super Validators.

use crate::canton::backup::Facts;
use crate::canton::backup::instant::Window;
use crate::canton::backup::volumes;
use crate::canton::dump::{self, Options};
use crate::canton::evidence::file;
use crate::canton::logs::{self, Settings};
use crate::canton::runbook::journal;
use crate::canton::snapshot::answer;
use crate::canton::snapshot::judgement::{Expected, Form, judge};
use crate::canton::snapshot::reading::Reading;
use crate::canton::verification::answers::{self, Answer, Question};
use crate::canton::{database, identities};

/// A participant's log.
pub fn canton_log(bytes: &[u8]) {
    drop(logs::scan_bytes(bytes, &Settings::default()));
}

/// Evidence that another operator sent.
pub fn canton_evidence(bytes: &[u8]) {
    if let Ok((name, evidence)) = file::parse(bytes) {
        let _ = file::to_json(&name, &evidence);
    }
}

/// A dump of node identities: checked, and each node taken out of it.
pub fn canton_identities(bytes: &[u8]) {
    let path = std::path::Path::new("identities.json");
    let checked = identities::check(bytes, Some(path));
    let _ = (checked.standing(), checked.ending());
    for slot in identities::Slot::ALL {
        let _ = identities::extract(bytes, slot, path);
    }
    let _ = identities::document(bytes);
    let _ = identities::compare(bytes, bytes);
}

/// A data snapshot, as a service answers it and as a file, in pieces of a length that the first byte says.
pub fn canton_snapshot(input: &[u8]) {
    let Some((length, bytes)) = input.split_first() else {
        return;
    };
    let forms = [
        (Form::Sv, Reading::default()),
        (Form::ValidatorFile, Reading::of_snapshot_alone()),
    ];
    for (form, mut reading) in forms {
        let mut pieces = bytes.chunks(usize::from(*length).max(1));
        if pieces.all(|piece| reading.feed(piece).is_ok())
            && let Ok(document) = reading.finish()
        {
            let expected = Expected {
                form,
                timestamp: "2024-04-21T23:10:00Z".parse().ok(),
                migration_id: Some(1),
                release: None,
            };
            let _ = judge(&document.found, &expected);
        }
    }
}

/// A database's dump, SQL or an archive: for its backup, and for its commitments.
pub fn canton_dump(bytes: &[u8]) {
    let _ = dump::read_bytes(bytes, &Options::default(), &mut Facts::default());
    drop(database::read_bytes(bytes, &Options::default()));
}

/// A journal of a recovery.
pub fn canton_journal(bytes: &[u8]) {
    let _ = journal::check(bytes);
}

/// A list of backups of volumes, a manifest, and the name of a file.
pub fn canton_volumes(bytes: &[u8]) {
    if let Ok(snapshots) = volumes::parse(bytes) {
        let _ = volumes::choose(&snapshots);
    }
    let _ = Window::of_manifest(bytes);
    let _ = Window::of_file_name(&String::from_utf8_lossy(bytes));
}

/// What services answer: to the request for a snapshot, and to whether they are well.
pub fn canton_answers(bytes: &[u8]) {
    for (status, content_type) in [(200, "application/json"), (400, ""), (503, "text/html")] {
        let _ = answer::decide(status, content_type, bytes);
        let answer = Answer {
            status,
            content_type: content_type.to_owned(),
            body: bytes.to_vec(),
            is_cut: false,
        };
        for question in Question::OF_SV.into_iter().chain(Question::OF_SCAN) {
            let _ = answers::judge(question, "memory", Ok(&answer), None);
        }
    }
    drop(answers::svs(bytes));
}
