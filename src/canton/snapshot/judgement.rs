//! Whether a document that was read whole is the data snapshot that was asked for (SPEC-CANTON 3.2, 3.4).

use crate::canton::finding::{Code, Finding, Findings};
use crate::canton::release::Splice;
use crate::canton::timestamp::Timestamp;
use crate::report::Severity;
use crate::shown::excerpt;

use super::shape::{Found, Snapshot};

/// Which document it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// What the service of an SV app answers.
    Sv,
    /// What the service of a validator app answers: a file is made of its `data_snapshot` alone.
    Validator,
    /// That file.
    ValidatorFile,
    /// An SV's dump with its identities, which is placed.
    Merged,
}

/// What the document should say.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Which document it should be.
    pub form: Form,
    /// The agreed time, where it is known.
    pub timestamp: Option<Timestamp>,
    /// The id of the migration that the dump is for, where it is known.
    pub migration_id: Option<u64>,
    /// The release that will read it, where it is known.
    pub release: Option<Splice>,
}

/// Everything that is not as it should be.
pub fn judge(found: &Found, expected: &Expected) -> Findings {
    let mut findings = Findings::default();
    let mut say = |code: Code, text: String| findings.push(Finding::new(code, text));
    let Some(snapshot) = found.snapshot.as_ref().filter(|_| found.is_object) else {
        let text = match (&found.error, found.is_object) {
            (Some(error), _) => format!("it says instead: {}", excerpt(error)),
            (None, true) => format!("it has no data_snapshot, but {}", members(found)),
            (None, false) => "it is no JSON object".to_owned(),
        };
        say(Code::NotASnapshot, text);
        return findings;
    };
    let is_validators = matches!(expected.form, Form::Validator | Form::ValidatorFile);
    if snapshot.has_participant != is_validators {
        let text = match is_validators {
            false => "data_snapshot has a participant: this is a validator's dump, not an SV's",
            true => "it has no participant: this is not a validator's dump, which holds its identities",
        };
        say(Code::NotASnapshot, text.to_owned());
        return findings;
    }
    if snapshot.is_in_separate_files {
        say(
            Code::SeparateFiles,
            "separate_payload_files is true: acs_snapshot and genesis_state are paths in the pod, not contents"
                .to_owned(),
        );
        return findings;
    }
    for fault in &found.wrong {
        findings.push(Finding::new(Code::DamagedSnapshot, fault.what.clone()).offset(fault.at));
    }
    missing(found, snapshot, expected.form, &mut findings);
    times(found, snapshot, expected, &mut findings);
    migration(found, snapshot, expected, &mut findings);
    format(snapshot, expected.release, &mut findings);
    findings
}

fn members(found: &Found) -> String {
    let names: Vec<_> = found
        .members
        .iter()
        .take(10)
        .map(|member| excerpt(&member.name))
        .collect();
    match names.is_empty() {
        true => "nothing".to_owned(),
        false => names.join(", "),
    }
}

fn missing(found: &Found, snapshot: &Snapshot, form: Form, findings: &mut Findings) {
    let is_validators = matches!(form, Form::Validator | Form::ValidatorFile);
    let mut lacks = Vec::new();
    let mut need = |is_there: bool, name: &'static str| {
        if !is_there {
            lacks.push(name);
        }
    };
    need(snapshot.acs_bytes.is_some_and(|bytes| bytes > 0), "acs_snapshot");
    need(snapshot.acs_timestamp.is_some(), "acs_timestamp");
    need(snapshot.dars.is_some_and(|dars| dars > 0), "dars");
    match is_validators {
        true => {
            need(snapshot.has_users, "participant_users");
            need(snapshot.domain_id.is_some(), "domain_id");
            need(snapshot.created_at.is_some(), "created_at");
            need(snapshot.migration_id.is_some(), "migration_id");
        }
        false => {
            need(found.created_at.is_some(), "created_at");
            need(found.migration_id.is_some(), "migration_id");
            need(found.users.is_some(), "participant_users.users");
            need(found.has_identity_providers, "participant_users.identityProviders");
        }
    }
    if form == Form::Merged {
        need(found.member("identities").is_some(), "identities");
    }
    // The service's description calls it optional, and the app's importer fails without it.
    let has_genesis = snapshot.genesis_bytes.is_some_and(|bytes| bytes > 0);
    if !is_validators && !has_genesis && found.wrong.is_empty() {
        let text = "it lacks genesis_state, without which the SV app can't begin the new synchronizer";
        let next = "ask an SV app whose own sequencer is configured and runs";
        let finding = Finding::new(Code::IncompleteSnapshot, text).severity(Severity::Info);
        findings.push(finding.next(next));
    }
    // What is there and damaged has been said.
    if !lacks.is_empty() && found.wrong.is_empty() {
        let text = format!("it lacks, or has nothing in: {}", lacks.join(", "));
        findings.push(Finding::new(Code::IncompleteSnapshot, text));
    }
}

fn times(found: &Found, snapshot: &Snapshot, expected: &Expected, findings: &mut Findings) {
    let read = |text: &Option<String>| text.as_ref().map(|text| (text.clone(), text.parse::<Timestamp>().ok()));
    // A validator's says when the dump was made; an SV's is the time of its contracts again.
    let (created, is_same) = match expected.form {
        Form::Validator | Form::ValidatorFile => (read(&snapshot.created_at), false),
        _ => (read(&found.created_at), true),
    };
    let acs = read(&snapshot.acs_timestamp);
    let mut wrong = |text: String| findings.push(Finding::new(Code::WrongTimestamp, text));
    let both = [
        ("created_at", &created, expected.timestamp.filter(|_| is_same)),
        ("acs_timestamp", &acs, expected.timestamp),
    ];
    for (name, time, expected) in both {
        match (time, expected) {
            (Some((text, None)), _) => wrong(format!("{name} is {}, which is no time in UTC", excerpt(text))),
            (Some((_, Some(time))), Some(expected)) if *time != expected => {
                wrong(format!("{name} is {time}; {expected} was expected"));
            }
            _ => {}
        }
    }
    if let (Some((_, Some(created))), Some((_, Some(acs))), None) = (created, acs, expected.timestamp)
        && created != acs
        && is_same
    {
        wrong(format!(
            "created_at is {created}, acs_timestamp is {acs}: they should be equal"
        ));
    }
}

fn migration(found: &Found, snapshot: &Snapshot, expected: &Expected, findings: &mut Findings) {
    let inside = matches!(expected.form, Form::Validator | Form::ValidatorFile);
    let ids = [
        (&found.migration_id, "migration_id"),
        (&snapshot.migration_id, "data_snapshot.migration_id"),
    ];
    for (id, name) in ids.iter().filter(|(_, name)| inside || *name == "migration_id") {
        let Some(text) = id else { continue };
        let number = text.parse::<u64>().ok();
        let text = match (number, expected.migration_id) {
            (None, _) => format!("{name} is {}, which is no id of a migration", excerpt(text)),
            (Some(number), Some(expected)) if number != expected => {
                format!("{name} is {number}; {expected} was expected")
            }
            _ => continue,
        };
        findings.push(Finding::new(Code::WrongMigration, text));
    }
}

fn format(snapshot: &Snapshot, release: Option<Splice>, findings: &mut Findings) {
    let format = snapshot.acs_format.as_deref().unwrap_or("admin_api");
    if !matches!(format, "admin_api" | "ledger_api") {
        let text = format!(
            "acs_format is {}; ledger_api or admin_api was expected",
            excerpt(format)
        );
        findings.push(Finding::new(Code::OldAcsFormat, text));
        return;
    }
    let is_read_by_all = format == "ledger_api" || release.is_some_and(|release| release < Splice::new(0, 5, 0));
    if is_read_by_all {
        return;
    }
    let how = match snapshot.acs_format {
        Some(_) => "acs_format is admin_api",
        None => "acs_format is missing, which means admin_api",
    };
    let finding = match release {
        Some(release) => Finding::new(Code::OldAcsFormat, format!("{how}: Splice {release} refuses it")),
        None => Finding::new(
            Code::OldAcsFormat,
            format!("{how}: Splice 0.5.0 and later refuse it, and the release is not known"),
        )
        .severity(Severity::Warning),
    };
    findings.push(finding);
}
