//! The judgement: what proves that backups fit together, what speaks against it, and which way back is open.

use serde::Serialize;

use super::age::{Age, Times, Youth, in_words};
use super::case::{Backup, Case};
use super::facts::{Reader, ReaderId, Role};
use super::instant::{Window, is_sharp};
use super::lineage::{self, AppsAt, LedgerAt, Lineage};
use super::offset::Offset;
use super::order::{ByOffsets, ByTimes, Offsets, Proof, by_times, decide, satisfies_lax_rule};
use super::path::{Identities, Path, Situation, Standing};
use super::roles;
use super::volumes::{Set, Snapshot, choose};
use crate::canton::{Code, Finding, Findings};

/// Whether the backups of the apps and of the participant fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// They do, which is proven.
    Consistent,
    /// They do not, which is proven.
    Inconsistent,
    /// Nothing proves that they do.
    Unproven,
    /// One of them is missing, broken off, empty or of something else.
    Incomplete,
    /// None was given.
    NoBackup,
}

/// What proves the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// What proves it, or the contrary.
    pub proof: Proof,
    /// Whether the apps' backup is from before the participant's; nothing where that is not known.
    pub holds: Option<bool>,
    /// What offsets say.
    pub by_offsets: ByOffsets,
    /// What times say.
    pub by_times: ByTimes,
    /// The furthest that any app has read, in the latest migration.
    pub apps_offset: Option<Offset>,
    /// In which schema that is.
    pub apps_schema: Option<String>,
    /// Stores and histories that were compared.
    pub compared: usize,
    /// Where the participant's ledger ends.
    pub ledger_end: Option<Offset>,
    /// Up to where the participant is pruned.
    pub pruned_up_to: Option<Offset>,
    /// When the apps' backup was taken.
    pub apps_window: Option<Window>,
    /// When the participant's backup was taken.
    pub participant_window: Option<Window>,
}

/// One backup that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Given {
    /// Its file, directory, address or name.
    pub name: String,
    /// As what.
    pub role: Role,
    /// Whether nothing of it is missing.
    pub complete: bool,
    /// Whether it is a running database.
    pub running: bool,
    /// When it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// Everything that is said of backups.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether they fit together.
    pub verdict: Verdict,
    /// Whether they can be restored: they fit together, are whole and young enough.
    pub restorable: bool,
    /// What proves the order.
    pub order: Order,
    /// How old they are.
    pub age: Age,
    /// Whose they are.
    pub lineage: Lineage,
    /// Which way back is open.
    pub path: Path,
    /// Parts of an SV's backup that were not given.
    pub missing: Vec<&'static str>,
    /// What was given.
    pub backups: Vec<Given>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Judges. `findings`: what was found while reading.
pub fn judge(case: &Case, mut findings: Findings) -> Report {
    let is_given_otherwise = |role| roles::is_given(case, &Set::default(), role);
    let set = choose(&case.volumes).without(is_given_otherwise);
    roles::check(case, &set, &mut findings);
    let apps = lineage::apps(case);
    let all_ledgers = lineage::ledgers(case);
    let ledgers = lineage::chosen(&apps, &all_ledgers, &mut findings);
    let lineage = lineage::judge(case, &set, &apps, &ledgers, &mut findings);
    let order = order(case, &set, &apps, &ledgers, lineage.migration, &mut findings);
    let times = Times {
        apps: order.apps_window.as_ref(),
        participant: order.participant_window.as_ref(),
        published: ledgers
            .iter()
            .filter_map(|at| at.ledger.published)
            .filter(|at| at.micros() > 0)
            .min(),
    };
    let is_given = roles::is_given(case, &set, Role::Apps) || roles::is_given(case, &set, Role::Participant);
    // Nothing is said of the age of nothing.
    let mut of_age = Findings::default();
    let age = times.judge(case.now, case.max_age_s, &mut of_age);
    if is_given {
        findings.append(of_age);
    }
    let both = [Role::Apps, Role::Participant].map(|role| roles::is_given(case, &set, role));
    if lineage.same.is_none() && both == [true; 2] {
        let unknown = "no descriptor of a store or a history names a participant that could be compared";
        findings.push(Finding::new(Code::LineageUnknown, unknown));
    }
    identities(case, &lineage, &ledgers, &mut findings);
    let defects = roles::defects(case, &set);
    let verdict = match (is_given, order.holds, lineage.same) {
        (false, _, _) => Verdict::NoBackup,
        (_, Some(false), _) | (_, _, Some(false)) => Verdict::Inconsistent,
        _ if !defects.is_empty() => Verdict::Incomplete,
        (_, Some(true), _) => Verdict::Consistent,
        (_, None, _) => Verdict::Unproven,
    };
    let pruned = findings.has(Code::PrunedBeyondApp);
    let standing = standing(case, verdict, &order, &lineage, &age, pruned, defects);
    let path = Situation {
        backup: standing.clone(),
        identities: case.identities.clone(),
        is_kms_reachable: case.is_kms_reachable,
        is_network_down: case.is_network_down,
        splice: case.splice,
    }
    .decide();
    let of_volumes = set.apps.iter().chain(&set.participant).chain(&set.others);
    let given = case
        .backups
        .iter()
        .map(given)
        .chain(of_volumes.filter_map(given_snapshot))
        .collect();
    Report {
        verdict,
        restorable: standing == Standing::Fit,
        order,
        age,
        lineage,
        path,
        missing: roles::missing(case, &set),
        backups: given,
        findings: findings.finish(),
    }
}

fn given(backup: &Backup) -> Given {
    Given {
        name: backup.name.clone(),
        role: backup.role,
        complete: backup.is_complete,
        running: backup.is_running,
        window: backup.window.clone(),
    }
}

fn given_snapshot(snapshot: &Snapshot) -> Option<Given> {
    Some(Given {
        name: snapshot.name.clone(),
        role: snapshot.role?,
        complete: snapshot.defect.is_none(),
        running: false,
        window: snapshot.window.clone(),
    })
}

/// The window of all backups of a role; nothing where one of them has none. Snapshots stand in where no database was given.
fn window(case: &Case, set: &Set, role: Role) -> Option<Window> {
    let mut backups = case.of(role).peekable();
    if let Some((_, stated)) = case.stated.iter().find(|(of, _)| *of == role) {
        return Some(stated.clone());
    }
    if backups.peek().is_some() {
        let windows: Option<Vec<_>> = backups.map(|backup| backup.window.clone()).collect();
        return windows?.into_iter().reduce(|one, other| one.and(&other));
    }
    match role {
        Role::Apps => Snapshot::window_of(&set.apps),
        _ => Snapshot::window_of(&set.participant),
    }
}

fn order(
    case: &Case,
    set: &Set,
    apps: &[AppsAt<'_>],
    ledgers: &[LedgerAt<'_>],
    migration: Option<i64>,
    findings: &mut Findings,
) -> Order {
    // Offsets of earlier migrations are of another ledger.
    let latest = |at: &AppsAt<'_>| Some(at.apps.offsets.get(&migration?)?.clone());
    let readers: Vec<_> = apps.iter().filter_map(|at| Some((*at, latest(at)?))).collect();
    let furthest = readers.iter().flat_map(|(at, readers)| {
        readers
            .iter()
            .filter_map(move |(id, offset)| Some(((*offset)?, *at, *id)))
    });
    let furthest = furthest.max_by_key(|(offset, _, _)| *offset);
    let least = ledgers.iter().min_by_key(|at| at.ledger.end);
    let ledger_is_read = ledgers.iter().all(|at| at.ledger.unreadable.is_none());
    let offsets = Offsets {
        apps: furthest.map(|(offset, _, _)| offset),
        apps_in_part: apps.iter().any(|at| at.apps.unreadable.is_some()),
        ledger_end: least.filter(|_| ledger_is_read).map(|at| at.ledger.end),
    };
    unreadable(apps, ledgers, findings);
    if furthest.is_none() && apps.iter().any(|at| at.apps.unreadable.is_none()) {
        let none = "no store and no history of the apps has an offset";
        findings.push(Finding::new(Code::NothingIngested, none));
    }
    if let (Some((offset, at, id)), Some(ledger), ByOffsets::Ahead) = (furthest, least, offsets.say()) {
        let end = ledger
            .ledger
            .end
            .map_or("is empty".to_owned(), |end| format!("ends at offset {end}"));
        let ahead = format!(
            "{} of {} has read up to offset {offset}, and the participant's ledger {end} ({})",
            reader(id),
            at.shown(),
            ledger.backup.name
        );
        findings.push(Finding::new(Code::AppsAhead, ahead).at(&at.backup.name));
    }
    let pruned = ledgers.iter().filter_map(|at| at.ledger.pruned).max();
    for (at, readers) in &readers {
        prune(at, readers, pruned, findings);
    }
    let (apps_window, participant_window) = (window(case, set, Role::Apps), window(case, set, Role::Participant));
    let all_run = case
        .of(Role::Apps)
        .chain(case.of(Role::Participant))
        .all(|backup| backup.is_running);
    let times = match all_run && !case.backups.is_empty() {
        // Two running databases are read one after the other: their times say nothing.
        true => ByTimes::Unknown,
        false => {
            let published = ledgers.iter().filter_map(|at| at.ledger.published).min();
            let narrowed = participant_window.clone().map(|window| window.not_before(published));
            by_times(apps_window.as_ref(), narrowed.as_ref())
        }
    };
    let (proof, holds) = decide(offsets.say(), times);
    let order = Order {
        proof,
        holds,
        by_offsets: offsets.say(),
        by_times: times,
        apps_offset: offsets.apps,
        apps_schema: furthest.map(|(_, at, _)| at.shown()),
        compared: readers
            .iter()
            .map(|(_, readers)| readers.values().flatten().count())
            .sum(),
        ledger_end: offsets.ledger_end.flatten(),
        pruned_up_to: pruned,
        apps_window,
        participant_window,
    };
    times_found(&order, findings);
    order
}

fn reader((reader, id): ReaderId) -> String {
    match (reader, id) {
        (_, i64::MAX | i64::MIN) => "a store".to_owned(),
        (Reader::Store, id) => format!("store {id}"),
        (Reader::History, id) => format!("update history {id}"),
    }
}

fn unreadable(apps: &[AppsAt<'_>], ledgers: &[LedgerAt<'_>], findings: &mut Findings) {
    for at in apps {
        if let Some((example, count)) = &at.apps.unreadable {
            let what = format!("{count} offsets of {} can't be read, such as {example:?}", at.shown());
            findings.push(Finding::new(Code::OffsetUnreadable, what).at(&at.backup.name));
        }
        if at.apps.left_out > 0 {
            let what = format!("{} rows of {} were not kept", at.apps.left_out, at.shown());
            findings.push(Finding::new(Code::TooMuch, what).at(&at.backup.name));
        }
    }
    for at in ledgers {
        if let Some(why) = &at.ledger.unreadable {
            let what = format!("the participant's ledger in {}: {why}", at.shown());
            findings.push(Finding::new(Code::OffsetUnreadable, what).at(&at.backup.name));
        }
    }
}

/// Judges whether the apps in one schema can go on where they stopped reading.
fn prune(
    at: &AppsAt<'_>,
    readers: &std::collections::BTreeMap<ReaderId, Option<Offset>>,
    pruned: Option<Offset>,
    findings: &mut Findings,
) {
    let Some(pruned) = pruned else { return };
    let superseded = at.apps.superseded();
    let live = || {
        readers
            .iter()
            .filter(|(id, _)| !superseded.contains(id))
            .filter_map(|(id, offset)| Some((id, (*offset)?)))
    };
    let behind = live().filter(|(_, offset)| *offset < pruned).count();
    let Some((id, least)) = live().min_by_key(|(_, offset)| *offset).filter(|_| behind > 0) else {
        return;
    };
    let all = live().count() == behind;
    let place = at.shown();
    let (code, what) = match all {
        true => {
            let most = live().map(|(_, offset)| offset).max().unwrap_or(least);
            (
                Code::PrunedBeyondApp,
                format!("{place} has read up to offset {most}, and the participant is pruned up to {pruned}"),
            )
        }
        false => (
            Code::PrunedBeyondStore,
            format!(
                "{behind} of {} stores and histories of {place} are behind offset {pruned}, up to which the participant is pruned: \
                 {} has read up to {least}",
                live().count(),
                reader(*id)
            ),
        ),
    };
    findings.push(Finding::new(code, what).at(&at.backup.name));
}

fn times_found(order: &Order, findings: &mut Findings) {
    let (Some(apps), Some(participant)) = (&order.apps_window, &order.participant_window) else {
        if order.holds.is_none()
            && (order.apps_offset.is_some() || order.apps_window.is_some() || order.ledger_end.is_some())
        {
            let missing = "there are no offsets of both that could be compared, and no times of both";
            findings.push(Finding::new(Code::OrderUnproven, missing));
        }
        return;
    };
    let taken = format!(
        "the apps' backup was taken between {} and {}, the participant's between {} and {}",
        apps.earliest(),
        apps.latest(),
        participant.earliest(),
        participant.latest()
    );
    let is_lax = satisfies_lax_rule(apps, participant);
    // Where only the zone is not known, everything overlaps, which says nothing.
    let is_sharp = is_sharp(&apps.start) && is_sharp(&participant.start);
    let found = match (order.proof, order.by_times) {
        (Proof::Times, ByTimes::After) => Finding::new(Code::TakenAfter, taken),
        (Proof::Offsets, ByTimes::After) if order.holds == Some(true) => Finding::new(Code::TimesContradict, taken),
        (Proof::Offsets, ByTimes::Overlap) if order.holds == Some(true) && is_sharp => {
            Finding::new(Code::TimesOverlap, taken)
        }
        (Proof::Unproven, ByTimes::Overlap) if is_lax => {
            findings.push(Finding::new(Code::LaxOrder, &taken));
            Finding::new(Code::OrderUnproven, taken)
        }
        (Proof::Unproven, _) => Finding::new(Code::OrderUnproven, taken),
        _ => return,
    };
    findings.push(found);
}

fn identities(case: &Case, lineage: &Lineage, ledgers: &[LedgerAt<'_>], findings: &mut Findings) {
    if let Identities::Unverified(why) = &case.identities {
        findings.push(Finding::new(Code::IdentitiesUnverified, why));
    }
    let mine = ledgers.iter().find_map(|at| at.ledger.participant.as_deref());
    if let (Some(of), Some(mine)) = (case.identities_of.as_deref(), mine)
        && !lineage::same(super::facts::bare(of), mine)
    {
        let shown = lineage.participant.as_deref().unwrap_or("another one");
        let differs = format!(
            "the identities are of {}, and the backup is of {shown}",
            super::facts::shown(of)
        );
        findings.push(Finding::new(Code::IdentitiesOfOther, differs));
    }
}

fn standing(
    case: &Case,
    verdict: Verdict,
    order: &Order,
    lineage: &Lineage,
    age: &Age,
    is_pruned: bool,
    defects: Vec<String>,
) -> Standing {
    if verdict == Verdict::NoBackup {
        return Standing::None;
    }
    let mut unfit = defects;
    let mut say = |is_so: bool, why: String| {
        if is_so {
            unfit.push(why);
        }
    };
    let limit = in_words(age.limit_s);
    say(
        order.holds == Some(false),
        "the apps' backup is newer than the participant's".to_owned(),
    );
    say(
        lineage.same == Some(false),
        "the backups are of different participants".to_owned(),
    );
    say(
        is_pruned,
        "the participant is pruned beyond what the apps have read".to_owned(),
    );
    say(age.verdict == Youth::Old, format!("the backups are older than {limit}"));
    if !unfit.is_empty() {
        return Standing::Unfit(unfit);
    }
    let mut unproven = Vec::new();
    let mut given = case.of(Role::Apps).chain(case.of(Role::Participant)).peekable();
    if given.peek().is_some() && given.all(|backup| backup.is_running) {
        unproven.push("backups of these databases: what was read is running".to_owned());
    }
    if order.holds.is_none() {
        unproven.push("a proof that the apps' backup is from before the participant's: offsets, or times".to_owned());
    }
    if age.verdict == Youth::Unknown {
        unproven.push(format!("a proof that the backups are less than {limit} old"));
    }
    if let (Some(now), Some(latest)) = (case.migration, lineage.migration)
        && now != latest
    {
        unproven.push(match latest < now {
            true => format!(
                "backups of migration {now}, in which the network is: these are of migration {latest}, and can be restored only \
                 while the nodes of the old synchronizer still serve"
            ),
            false => format!(
                "to find out in which migration the network is: these backups are of migration {latest}, which is later than \
                 --migration {now}"
            ),
        });
    }
    match unproven.is_empty() {
        true => Standing::Fit,
        false => Standing::Unproven(unproven),
    }
}
