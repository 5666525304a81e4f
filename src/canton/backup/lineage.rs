//! Whether backups are of the same node: its participant, its migration, its synchronizer (SPEC-CANTON 2.1, 2.4).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::case::{Backup, Case};
use super::facts::{Apps, Ledger, Place, ReaderId, Role, shown};
use super::volumes::Set;
use crate::canton::name::Participant;
use crate::canton::release::Splice;
use crate::canton::{Code, Finding, Findings};
use crate::report::Severity;
use crate::shown::excerpt;

/// Whose the backups are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lineage {
    /// Whether the apps followed the participant in the backup; nothing where that is not known.
    pub same: Option<bool>,
    /// The participant in the backup.
    pub participant: Option<String>,
    /// The participants that the apps followed.
    pub followed: Vec<String>,
    /// Parties whose updates the apps follow.
    pub parties: Vec<String>,
    /// By schema of the apps, the latest migration.
    pub migrations: BTreeMap<String, i64>,
    /// The latest of all.
    pub migration: Option<i64>,
    /// The physical synchronizer that the participant is connected to, with protocol version and serial.
    pub synchronizers: Vec<String>,
}

/// Apps in one schema, and where they are.
#[derive(Clone, Copy)]
pub struct AppsAt<'a> {
    /// The backup.
    pub backup: &'a Backup,
    /// The database and schema in it.
    pub place: &'a Place,
    /// What it says.
    pub apps: &'a Apps,
}

/// A participant's ledger, and where it is.
#[derive(Clone, Copy)]
pub struct LedgerAt<'a> {
    /// The backup.
    pub backup: &'a Backup,
    /// The database and schema in it.
    pub place: &'a Place,
    /// What it says.
    pub ledger: &'a Ledger,
}

/// A place for a sentence: its schema, after the database's name where the source holds several.
fn place_shown(backup: &Backup, (database, schema): &Place) -> String {
    let facts = &backup.facts;
    let databases: BTreeSet<_> = facts
        .apps
        .keys()
        .chain(&facts.canton)
        .map(|(database, _)| database)
        .collect();
    match database {
        Some(database) if databases.len() > 1 => excerpt(&format!("{database}.{schema}")),
        _ => excerpt(schema),
    }
}

impl AppsAt<'_> {
    /// Where it is, for a sentence.
    pub fn shown(&self) -> String {
        place_shown(self.backup, self.place)
    }
}

impl LedgerAt<'_> {
    /// Where it is, for a sentence.
    pub fn shown(&self) -> String {
        place_shown(self.backup, self.place)
    }
}

/// Whether two names are of the same participant.
pub fn same(one: &str, other: &str) -> bool {
    match (Participant::parse(one), Participant::parse(other)) {
        (Some(one), Some(other)) => one == other && !one.contradicts(&other),
        _ => one == other,
    }
}

/// The participants that apps follow now: those of the readers of the latest migration, where these say so.
fn followed(apps: &Apps) -> BTreeSet<&str> {
    let superseded = apps.superseded();
    let latest = apps.offsets.last_key_value().map(|(_, readers)| readers);
    let is_live = |id: &ReaderId| latest.is_some_and(|readers| readers.contains_key(id)) && !superseded.contains(id);
    let names = |is_wanted: &dyn Fn(&BTreeSet<ReaderId>) -> bool| -> BTreeSet<&str> {
        let wanted = apps.participants.iter().filter(|(_, readers)| is_wanted(readers));
        wanted.map(|(name, _)| name.as_str()).collect()
    };
    let live = names(&|readers| readers.iter().any(is_live));
    match live.is_empty() {
        true => names(&|_| true),
        false => live,
    }
}

/// The apps' schemas of the backups.
pub fn apps(case: &Case) -> Vec<AppsAt<'_>> {
    let at = |backup| move |(place, apps)| AppsAt { backup, place, apps };
    let of = case.of(Role::Apps);
    of.flat_map(|backup| backup.facts.apps.iter().map(at(backup))).collect()
}

/// The ledgers of the participants' backups.
pub fn ledgers(case: &Case) -> Vec<LedgerAt<'_>> {
    let at = |backup| move |(place, ledger)| LedgerAt { backup, place, ledger };
    let of = case.of(Role::Participant);
    of.flat_map(|backup| backup.facts.ledgers.iter().map(at(backup)))
        .collect()
}

/// Chooses, of the ledgers given, those that the apps followed; all of them where that decides nothing.
pub fn chosen<'a>(apps: &[AppsAt<'_>], ledgers: &[LedgerAt<'a>], findings: &mut Findings) -> Vec<LedgerAt<'a>> {
    if ledgers.len() < 2 {
        return ledgers.to_vec();
    }
    let names: BTreeSet<&str> = apps.iter().flat_map(|at| followed(at.apps)).collect();
    let is_followed = |at: &&LedgerAt<'_>| {
        let of = at.ledger.participant.as_deref();
        of.is_some_and(|of| names.iter().any(|name| same(of, name)))
    };
    let matching: Vec<_> = ledgers.iter().filter(is_followed).copied().collect();
    let list = |ledgers: &[LedgerAt<'_>]| {
        let names = ledgers.iter().take(5).map(|at| {
            at.ledger
                .participant
                .as_deref()
                .map_or("one without a name".to_owned(), shown)
        });
        names.collect::<Vec<_>>().join(", ")
    };
    let (judged, how) = match matching.len() {
        0 => (
            ledgers.to_vec(),
            "the apps followed none of them, or do not say which".to_owned(),
        ),
        1 => (matching, String::new()),
        _ => (
            matching,
            "they are of the same participant, and the one that reaches less far is judged".to_owned(),
        ),
    };
    let how = match how.is_empty() {
        true => format!(
            "judged is the one that the apps followed, in {}",
            judged.first().map_or(String::new(), |at| at.backup.name.clone())
        ),
        false => how,
    };
    let many = format!(
        "{} participants' databases were given ({}): {how}",
        ledgers.len(),
        list(ledgers)
    );
    findings.push(Finding::new(Code::SeveralLedgers, many));
    judged
}

/// Judges whose the backups are. `set`: the snapshots that would be restored.
pub fn judge(
    case: &Case,
    set: &Set,
    apps: &[AppsAt<'_>],
    ledgers: &[LedgerAt<'_>],
    findings: &mut Findings,
) -> Lineage {
    let mut lineage = Lineage::default();
    let followed_by: Vec<_> = apps.iter().map(|at| (at, followed(at.apps))).collect();
    let participant = ledgers
        .iter()
        .find_map(|at| Some((at, at.ledger.participant.as_deref()?)));
    for (at, names) in &followed_by {
        lineage.followed.extend(names.iter().map(|name| shown(name)));
        lineage
            .parties
            .extend(at.apps.parties.iter().take(20).map(|party| excerpt(party)));
        let Some((ledger, participant)) = participant else {
            continue;
        };
        if names.is_empty() {
            continue;
        }
        let fits = names.iter().any(|name| same(participant, name));
        lineage.same = Some(lineage.same.unwrap_or(true) && fits);
        if !fits {
            let names: Vec<_> = names.iter().take(5).map(|name| shown(name)).collect();
            let differs = format!(
                "{} followed {}, and {} is of {}",
                at.shown(),
                names.join(", "),
                ledger.backup.name,
                shown(participant)
            );
            findings.push(Finding::new(Code::OtherParticipant, differs).at(&at.backup.name));
        }
    }
    lineage.participant = participant.map(|(_, name)| shown(name));
    for list in [&mut lineage.followed, &mut lineage.parties] {
        list.sort();
        list.dedup();
        list.truncate(20);
    }
    migrations(case, set, apps, ledgers, &mut lineage, findings);
    synchronizers(case, ledgers, &mut lineage, findings);
    lineage
}

fn migrations(
    case: &Case,
    set: &Set,
    apps: &[AppsAt<'_>],
    ledgers: &[LedgerAt<'_>],
    lineage: &mut Lineage,
    findings: &mut Findings,
) {
    for at in apps {
        if let Some(migration) = at.apps.migration() {
            let latest = lineage.migrations.entry(at.shown()).or_insert(migration);
            *latest = migration.max(*latest);
            lineage.migration = lineage.migration.max(Some(migration));
        }
    }
    let noted: Vec<_> = set
        .apps
        .iter()
        .chain(&set.participant)
        .filter_map(|snapshot| Some((snapshot.migration?, snapshot)))
        .collect();
    lineage.migration = lineage
        .migration
        .or(noted.iter().map(|(migration, _)| *migration).max());
    let Some(latest) = lineage.migration else { return };
    for (migration, snapshot) in noted.iter().filter(|(migration, _)| *migration != latest) {
        let differs =
            format!("it is of migration {migration} by its annotation, and what it would be restored with of {latest}");
        findings.push(Finding::new(Code::MigrationsDiffer, differs).at(&snapshot.name));
    }
    if let Some(now) = case.migration.filter(|now| *now != latest) {
        let differs = format!("the backup is of migration {latest}, and the network is in migration {now}");
        findings.push(Finding::new(Code::MigrationsDiffer, differs).next(
            "use a backup of the network's migration; one from before it can be restored only while the old synchronizer's \
             nodes still serve",
        ));
    }
    for at in apps {
        if let Some(migration) = at.apps.migration().filter(|migration| *migration < latest) {
            let schema = at.shown();
            let differs = format!(
                "{schema} has read up to migration {migration}, and others up to {latest}: its offsets are not compared"
            );
            findings.push(Finding::new(Code::MigrationsDiffer, differs).at(&at.backup.name));
        }
    }
    // Charts call a participant's database participant_3 in migration 3; since the network is upgraded in place it keeps its name.
    let keeps_name = case.splice.is_some_and(|splice| splice >= Splice::new(0, 6, 2));
    for at in ledgers {
        let database = at.place.0.as_deref().or(at.backup.database.as_deref());
        let named = database.and_then(|name| {
            let rest = name.strip_prefix("participant")?.trim_start_matches(['_', '-']);
            rest.parse::<i64>().ok()
        });
        if let Some(named) = named
            && named != latest
        {
            let differs = format!(
                "the participant's database is of migration {named} by its name, and the apps are in migration {latest}"
            );
            let finding = Finding::new(Code::MigrationsDiffer, differs).at(&at.backup.name);
            findings.push(match keeps_name {
                true => finding.severity(Severity::Info),
                false => finding,
            });
        }
    }
}

fn synchronizers(case: &Case, ledgers: &[LedgerAt<'_>], lineage: &mut Lineage, findings: &mut Findings) {
    let of = |role: Role| -> BTreeSet<&String> {
        let backups = case.of(role);
        let names = backups.filter_map(move |backup| backup.facts.synchronizers.get(&role));
        names.flatten().collect()
    };
    let participant = match ledgers.is_empty() {
        true => BTreeSet::new(),
        false => of(Role::Participant),
    };
    lineage.synchronizers = participant.iter().take(20).map(|name| excerpt(name)).collect();
    for role in [Role::Sequencer, Role::Mediator] {
        let others = of(role);
        let differ = !participant.is_empty() && !others.is_empty() && participant.is_disjoint(&others);
        if let (true, Some(mine), Some(other)) = (differ, participant.first(), others.first()) {
            let differs = format!(
                "the participant is connected to {mine}, and {}'s database is of {other}",
                role.words()
            );
            findings.push(Finding::new(Code::SynchronizersDiffer, differs));
        }
    }
}
