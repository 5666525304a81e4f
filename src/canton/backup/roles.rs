//! Whether each backup is of what it was given as, and whether all parts of a Super Validator's backup were given.

use super::case::{Backup, Case};
use super::facts::Role;
use super::path::Identities;
use super::volumes::Set;
use crate::canton::{Code, Finding, Findings};
use crate::report::Severity;

/// What a database is, as its rows and tables tell.
enum Found {
    /// What it was given as.
    AsGiven,
    /// A participant's, or another node's of Canton, without a row that says what it is.
    Empty,
    /// Something else.
    Other(String),
}

fn found(backup: &Backup) -> Found {
    let facts = &backup.facts;
    let is = |role: Role| match role {
        Role::Apps => !facts.apps.is_empty(),
        Role::Participant => !facts.ledgers.is_empty(),
        other => facts.roles.contains(&other),
    };
    if is(backup.role) {
        return Found::AsGiven;
    }
    let others =
        [Role::Participant, Role::Sequencer, Role::Mediator, Role::Apps].map(|role| is(role).then_some(role.words()));
    let others: Vec<_> = others.into_iter().flatten().collect();
    match (others.is_empty(), facts.canton.is_empty(), backup.role) {
        // Rows of a participant, but no ledger; or nothing but Canton's tables.
        (true, false, Role::Participant) => Found::Empty,
        (true, false, _) => Found::Other("a node of Canton that holds no data".to_owned()),
        (true, true, _) => Found::Other(
            "none of Splice's apps and none of Canton's nodes, as no table that they have is in it".to_owned(),
        ),
        (false, _, _) => Found::Other(others.join(" and ")),
    }
}

/// Whether a backup of this was given, whatever became of it.
pub fn is_given(case: &Case, set: &Set, role: Role) -> bool {
    case.of(role).next().is_some()
        || case.stated.iter().any(|(of, _)| *of == role)
        || match role {
            Role::Apps => !set.apps.is_empty(),
            Role::Participant => set.participant.is_some(),
            Role::Cometbft if case.has_cometbft => true,
            other => set.others.iter().any(|snapshot| snapshot.role == Some(other)),
        }
}

/// What is wrong with what was given, and what was not given.
pub fn check(case: &Case, set: &Set, findings: &mut Findings) {
    for backup in case.backups.iter().filter(|backup| backup.is_readable) {
        let finding = match found(backup) {
            Found::AsGiven => None,
            Found::Empty => {
                let empty = "lapi_parameters has no row: no participant has ever used this database";
                Some(Finding::new(Code::EmptyParticipant, empty))
            }
            Found::Other(what) => {
                let wrong = format!("it was given as that of {}, and is of {what}", backup.role.words());
                Some(Finding::new(Code::WrongRole, wrong))
            }
        };
        findings.extend(finding.map(|finding| finding.at(&backup.name)));
        // A participant that has begun, and whose ledger is empty.
        let empty = backup
            .facts
            .ledgers
            .values()
            .any(|ledger| ledger.end.is_none() && ledger.unreadable.is_none());
        if backup.role == Role::Participant && empty {
            findings.push(
                Finding::new(Code::EmptyParticipant, "the participant's ledger is at its beginning").at(&backup.name),
            );
        }
        if backup.facts.left_out > 0 {
            let many = format!(
                "{} tables are of schemas beyond those that are looked at",
                backup.facts.left_out
            );
            findings.push(Finding::new(Code::TooMuch, many).at(&backup.name));
        }
        if backup.is_running {
            let running = format!("read as the database of {}", backup.role.words());
            findings.push(Finding::new(Code::RunningDatabase, running).at(&backup.name));
        }
    }
    for snapshot in set.apps.iter().chain(&set.participant).chain(&set.others) {
        if let Some(defect) = &snapshot.defect {
            let other = !matches!(snapshot.role, Some(Role::Apps | Role::Participant));
            let finding = Finding::new(Code::SnapshotNotReady, format!("{}: {defect}", snapshot.name));
            findings.push(match other {
                true => finding.severity(Severity::Warning),
                false => finding,
            });
        }
    }
    for snapshot in case.volumes.iter().filter(|snapshot| snapshot.role.is_none()) {
        findings.push(Finding::new(
            Code::Unclassified,
            format!("{} is of {}", snapshot.name, snapshot.of),
        ));
    }
    let has = |role| is_given(case, set, role);
    match (has(Role::Apps), has(Role::Participant)) {
        (true, false) => findings.push(Finding::new(
            Code::RoleMissing,
            "there is a backup of the apps, and none of the participant",
        )),
        (false, true) => findings.push(Finding::new(
            Code::RoleMissing,
            "there is a backup of the participant, and none of the apps",
        )),
        _ => {}
    }
    if has(Role::Apps) || has(Role::Participant) {
        let others = [Role::Sequencer, Role::Mediator, Role::Cometbft];
        let parts: Vec<_> = others.into_iter().filter(|role| !has(*role)).map(Role::words).collect();
        if !parts.is_empty() {
            let none = format!("no backup was given of {}", parts.join(", "));
            findings.push(Finding::new(Code::PartNotGiven, none));
        }
    }
}

/// What keeps the backups of apps and participant from being whole, in words.
pub fn defects(case: &Case, set: &Set) -> Vec<String> {
    let mut defects = Vec::new();
    for role in [Role::Apps, Role::Participant] {
        if !is_given(case, set, role) {
            defects.push(format!("there is no backup of {}", role.words()));
        }
        for backup in case.of(role) {
            match found(backup) {
                _ if !backup.is_readable => {}
                Found::AsGiven => {}
                Found::Empty => defects.push(format!("{} is empty", backup.name)),
                Found::Other(_) => defects.push(format!("{} is not of {}", backup.name, role.words())),
            }
            if !backup.is_complete {
                defects.push(format!("{} is not whole", backup.name));
            }
        }
    }
    let broken = set
        .apps
        .iter()
        .chain(&set.participant)
        .filter(|snapshot| snapshot.defect.is_some());
    defects.extend(broken.map(|snapshot| format!("{} can't be restored", snapshot.name)));
    defects
}

/// The parts that were not given.
pub fn missing(case: &Case, set: &Set) -> Vec<&'static str> {
    let parts = [
        ("apps", Role::Apps),
        ("participant", Role::Participant),
        ("sequencer", Role::Sequencer),
        ("mediator", Role::Mediator),
        ("cometbft", Role::Cometbft),
    ];
    let mut missing: Vec<_> = parts
        .into_iter()
        .filter(|(_, role)| !is_given(case, set, *role))
        .map(|(name, _)| name)
        .collect();
    if case.identities == Identities::None {
        missing.push("identities");
    }
    missing
}
