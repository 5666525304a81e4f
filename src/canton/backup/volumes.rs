//! Backups below the databases: snapshots of volumes as Kubernetes lists them (`kubectl get volumesnapshot -o json`), and
//! backup runs of Cloud SQL (`gcloud sql backups list --format=json`). They have times and names, and no offsets
//! (SPEC-CANTON 2.1, 2.4).

use serde::Deserialize;

use super::facts::Role;
use super::instant::{By, Window, time};
use crate::shown::excerpt;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name, as it can be shown.
    pub name: String,
    /// Of what, as far as the name of its volume or instance tells.
    pub role: Option<Role>,
    /// The volume or the instance.
    pub of: String,
    /// The run of a backup script that it belongs to.
    pub run: Option<String>,
    /// The migration that the script noted.
    pub migration: Option<i64>,
    /// When it was taken.
    pub window: Option<Window>,
    /// Why it can't be restored; nothing where it can.
    pub defect: Option<String>,
}

/// Why a text is no list of backups.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; expected the output of `kubectl get volumesnapshot -o json` or of `gcloud sql backups list --format=json`"
)]
pub struct NotVolumes(String);

/// Backups that are looked at: one every four hours of seven parts for two months is 2,520.
const MOST_SNAPSHOTS: usize = 5_000;

/// What Kubernetes and Cloud SQL write, as far as it matters. A field that stands there twice is an error.
#[derive(Deserialize)]
struct Item {
    items: Option<Vec<Item>>,
    kind: Option<String>,
    metadata: Option<Metadata>,
    spec: Option<Spec>,
    status: Option<Status>,
    instance: Option<String>,
    description: Option<String>,
    #[serde(rename = "startTime")]
    start_time: Option<String>,
    #[serde(rename = "endTime")]
    end_time: Option<String>,
    #[serde(rename = "windowStartTime")]
    window_start_time: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: Option<String>,
    #[serde(rename = "creationTimestamp")]
    creation: Option<String>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "migrationId")]
    migration: Option<String>,
}

#[derive(Deserialize)]
struct Spec {
    source: Option<SpecSource>,
}

#[derive(Deserialize)]
struct SpecSource {
    #[serde(rename = "persistentVolumeClaimName")]
    claim: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Status {
    Word(String),
    Of(SnapshotStatus),
}

#[derive(Deserialize)]
struct SnapshotStatus {
    #[serde(rename = "creationTime")]
    creation: Option<String>,
    #[serde(rename = "readyToUse")]
    is_ready: Option<bool>,
    error: Option<SnapshotError>,
}

#[derive(Deserialize)]
struct SnapshotError {
    message: Option<String>,
}

/// Reads a list, or one of them.
pub fn parse(json: &[u8]) -> Result<Vec<Snapshot>, NotVolumes> {
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let first = json.iter().find(|byte| !byte.is_ascii_whitespace());
    let parsed = match first {
        Some(b'[') => serde_json::from_slice::<Vec<Item>>(json),
        _ => serde_json::from_slice::<Item>(json).map(|item| vec![item]),
    };
    let parsed = parsed.map_err(|why| NotVolumes(excerpt(&format!("it can't be read as JSON of that kind: {why}"))))?;
    let items = parsed.into_iter().flat_map(|item| match item.items {
        Some(items) => items,
        None => vec![item],
    });
    let snapshots: Vec<_> = items.filter_map(snapshot).collect();
    match snapshots.len() {
        0 => Err(NotVolumes("there is no backup in it".to_owned())),
        count if count > MOST_SNAPSHOTS => Err(NotVolumes(format!(
            "there are {count} backups in it, and more than {MOST_SNAPSHOTS} are not looked at: give the newest"
        ))),
        _ => Ok(snapshots),
    }
}

fn snapshot(item: Item) -> Option<Snapshot> {
    let is_snapshot = item.kind.as_deref() == Some("VolumeSnapshot");
    let is_run = item.instance.is_some() && (item.start_time.is_some() || item.window_start_time.is_some());
    match (is_snapshot, is_run) {
        (true, _) => Some(volume(item)),
        (_, true) => Some(run(item)),
        _ => None,
    }
}

fn volume(item: Item) -> Snapshot {
    let metadata = item.metadata.unwrap_or_default();
    let status = match item.status {
        Some(Status::Of(status)) => Some(status),
        _ => None,
    };
    let cut = status.as_ref().and_then(|status| time(status.creation.as_deref()?));
    let asked = metadata.creation.as_deref().and_then(time);
    let window = cut.map(|cut| {
        // Asked for at the earliest, cut at the latest.
        let start = asked.filter(|asked| asked.earliest <= cut.earliest).unwrap_or(cut);
        Window {
            start,
            end: Some(cut),
            by: By::VolumeSnapshot,
        }
    });
    let is_ready = status.as_ref().and_then(|status| status.is_ready).unwrap_or(false);
    let error = status.and_then(|status| status.error?.message);
    let defect = match (error, is_ready, window.is_some()) {
        (Some(error), false, _) => Some(format!("it failed: {error}")),
        (None, false, _) => Some("it is not ready to use".to_owned()),
        (_, true, false) => Some("it does not say when it was taken".to_owned()),
        (_, true, true) => None,
    };
    let name = metadata.name.unwrap_or_default();
    let claim = item.spec.and_then(|spec| spec.source?.claim);
    let of = claim.unwrap_or_else(|| name.clone());
    // Splice's script appends the second in which it was started.
    let run = name.rsplit('-').next();
    let run = run.filter(|run| run.len() >= 6 && run.bytes().all(|b| b.is_ascii_digit()));
    Snapshot {
        role: role(&of),
        run: run.map(excerpt),
        migration: metadata.annotations.and_then(|notes| notes.migration?.parse().ok()),
        window,
        defect: defect.as_deref().map(excerpt),
        of: excerpt(&of),
        name: excerpt(&name),
    }
}

fn run(item: Item) -> Snapshot {
    let read = |text: &Option<String>| time(text.as_deref()?);
    // Where it is not said when the run began: not before its window did.
    let start = read(&item.start_time).or(read(&item.window_start_time));
    let end = read(&item.end_time);
    let word = match &item.status {
        Some(Status::Word(word)) => word.as_str(),
        _ => "",
    };
    let defect = match (word, end) {
        ("SUCCESSFUL" | "", Some(_)) => None,
        ("SUCCESSFUL" | "", None) => Some("it does not say when it ended".to_owned()),
        (word, _) => Some(format!("its status is {word}")),
    };
    let of = item.instance.unwrap_or_default();
    let run = item.description.filter(|text| !text.trim().is_empty());
    let window = start.zip(end).map(|(start, end)| Window {
        start,
        end: Some(end),
        by: By::CloudBackup,
    });
    let at = start.map_or(String::new(), |start| format!(" of {}", start.earliest));
    Snapshot {
        name: excerpt(&format!("{of}{at}")),
        role: role(&of),
        run: run.as_deref().map(excerpt),
        migration: None,
        window,
        defect: defect.as_deref().map(excerpt),
        of: excerpt(&of),
    }
}

/// What a volume or an instance belongs to, by its name. A namespace may be in it (`pg-data-validator1-participant-pg-0`), so
/// that the words for apps come last.
fn role(name: &str) -> Option<Role> {
    const WORDS: [(&str, Role); 8] = [
        ("cometbft", Role::Cometbft),
        ("sequencer", Role::Sequencer),
        ("mediator", Role::Mediator),
        ("participant", Role::Participant),
        ("apps", Role::Apps),
        ("sv-app", Role::Apps),
        ("scan", Role::Apps),
        ("validator", Role::Apps),
    ];
    let name = name.to_ascii_lowercase();
    WORDS
        .iter()
        .find(|(word, _)| name.contains(word))
        .map(|(_, role)| *role)
}

/// The snapshots that would be restored together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// Of the apps: one, or one for each of the SV's apps.
    pub apps: Vec<Snapshot>,
    /// Of the participant.
    pub participant: Option<Snapshot>,
    /// Of sequencer, mediator and CometBFT.
    pub others: Vec<Snapshot>,
}

/// Chooses the newest set: the newest run of a script that has both apps and participant and can be restored; where scripts
/// left no mark, the newest participant with the newest apps from before it.
pub fn choose(snapshots: &[Snapshot]) -> Set {
    let of = |role: Role| {
        let of_role = snapshots.iter().filter(move |snapshot| snapshot.role == Some(role));
        of_role.filter(|snapshot| snapshot.window.is_some())
    };
    let start = |snapshot: &Snapshot| snapshot.window.as_ref().map(Window::earliest);
    let newest = |one: &&Snapshot, other: &&Snapshot| start(one).cmp(&start(other));
    let usable_first = |snapshot: &&Snapshot| (snapshot.defect.is_none(), start(snapshot));
    let mut participants: Vec<&Snapshot> = of(Role::Participant).collect();
    participants.sort_by_key(usable_first);
    let same_run = |one: &Snapshot, other: &Snapshot| one.run == other.run && one.migration == other.migration;
    let whole = |participant: &&&Snapshot| {
        let mut apps = of(Role::Apps).filter(|apps| same_run(apps, participant)).peekable();
        let any = apps.peek().is_some();
        participant.run.is_some() && any && participant.defect.is_none() && apps.all(|apps| apps.defect.is_none())
    };
    // Of each instance the newest one that fits.
    let newest_of_each = |fits: &dyn Fn(&Snapshot) -> bool| {
        let mut chosen: Vec<Snapshot> = Vec::new();
        let mut apps: Vec<&Snapshot> = of(Role::Apps).filter(|apps| fits(apps)).collect();
        apps.sort_by(newest);
        for apps in apps.into_iter().rev() {
            if !chosen.iter().any(|other| other.of == apps.of) {
                chosen.push(apps.clone());
            }
        }
        chosen
    };
    let before = |participant: &Snapshot, apps: &Snapshot| {
        let windows = apps.window.as_ref().zip(participant.window.as_ref());
        apps.defect.is_none() && windows.is_some_and(|(apps, participant)| apps.latest() < participant.earliest())
    };
    let (participant, apps) = if let Some(participant) = participants.iter().rev().find(whole) {
        (Some(*participant), newest_of_each(&|apps| same_run(apps, participant)))
    } else {
        let found = participants.iter().rev().find_map(|participant| {
            let apps = newest_of_each(&|apps| before(participant, apps));
            (!apps.is_empty()).then_some((Some(*participant), apps))
        });
        found.unwrap_or_else(|| (participants.last().copied(), newest_of_each(&|_| true)))
    };
    let of_the_run = |snapshot: &&Snapshot| participant.is_none_or(|participant| same_run(participant, snapshot));
    let others = [Role::Sequencer, Role::Mediator, Role::Cometbft];
    let other = |role: Role| of(role).filter(of_the_run).max_by(newest).or(of(role).max_by(newest));
    Set {
        apps,
        participant: participant.cloned(),
        others: others.into_iter().filter_map(other).cloned().collect(),
    }
}

impl Set {
    /// The same without what was given otherwise: it says nothing about that.
    pub fn without(mut self, is_given: impl Fn(Role) -> bool) -> Set {
        if is_given(Role::Apps) {
            self.apps.clear();
        }
        self.participant = self.participant.filter(|_| !is_given(Role::Participant));
        self.others.retain(|snapshot| !snapshot.role.is_some_and(&is_given));
        self
    }
}

impl Snapshot {
    /// The window of several together; nothing where one of them has none.
    pub fn window_of<'a>(snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Option<Window> {
        let windows: Option<Vec<Window>> = snapshots.into_iter().map(|snapshot| snapshot.window.clone()).collect();
        windows?.into_iter().reduce(|one, other| one.and(&other))
    }
}

#[cfg(test)]
mod tests;
