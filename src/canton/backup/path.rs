//! Which way back is open (SPEC-CANTON 5.1).

use serde::Serialize;

use crate::canton::identities::{self, Checked};
use crate::canton::release::{NetworkRecovery, Splice};

/// A way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Restore the node from its backups.
    Restore,
    /// The backups may do; what is missing has to be found out first.
    ProveBackup,
    /// Re-onboard the SV with a new identity, and recover its amulets with a standalone validator.
    Reonboard,
    /// The whole network from data snapshots at an agreed timestamp.
    NetworkDr,
    /// The whole network by a logical synchronizer upgrade that rolls forward.
    RollForwardLsu,
    /// The whole network, in the way that its release has.
    NetworkOfUnknownRelease,
    /// Only a KMS holds the keys: possible, and nowhere documented.
    KmsOnly,
    /// None.
    Unrecoverable,
}

impl Way {
    /// For a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Way::Restore => "restore the node from these backups",
            Way::ProveBackup => "these backups may do: find out first what is missing",
            Way::Reonboard => "re-onboard the SV, and recover its amulets with a standalone validator",
            Way::NetworkDr => "recover the whole network from data snapshots at an agreed timestamp",
            Way::RollForwardLsu => "recover the whole network by a logical synchronizer upgrade that rolls forward",
            Way::NetworkOfUnknownRelease => "recover the whole network; how depends on its release of Splice",
            Way::KmsOnly => "recover from the keys in the KMS, which is nowhere documented: contact support",
            Way::Unrecoverable => "none: nothing that was given brings the node or its amulets back",
        }
    }

    /// The command that leads along it.
    pub fn command(self) -> Option<&'static str> {
        Some(match self {
            Way::Restore => "rekindle canton runbook restore",
            Way::Reonboard => "rekindle canton runbook reonboard",
            Way::NetworkDr => "rekindle canton runbook network-dr",
            Way::RollForwardLsu => "rekindle canton runbook roll-forward-lsu",
            Way::ProveBackup | Way::NetworkOfUnknownRelease | Way::KmsOnly | Way::Unrecoverable => return None,
        })
    }
}

/// What the judgement of the databases' backups came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Consistent, young enough, of one participant.
    Fit,
    /// Nothing speaks against them, but this is still needed.
    Unproven(Vec<String>),
    /// It can't be restored, for these reasons.
    Unfit(Vec<String>),
    /// There is none.
    None,
}

/// What the judgement of the identities' backup came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identities {
    /// None was given.
    None,
    /// Something is wrong with it.
    Unverified(String),
    /// It was verified, and holds the keys. `full`: of participant, sequencer and mediator, as recovering the network needs.
    Plaintext {
        /// Whether it is of all three nodes.
        full: bool,
    },
    /// It was verified, and names keys in a KMS.
    KmsOnly {
        /// Whether it is of all three nodes.
        full: bool,
    },
}

impl Identities {
    /// What a check of them came to.
    pub fn of(checked: &Checked) -> Identities {
        let full = checked.is_full();
        match checked.standing() {
            identities::Standing::Verified => Identities::Plaintext { full },
            identities::Standing::NeedsKms => Identities::KmsOnly { full },
            identities::Standing::Unverified => {
                let worst = checked.findings.clone().finish().into_iter().next();
                Identities::Unverified(worst.map_or("a key of it is not proven".to_owned(), |finding| finding.message))
            }
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Situation {
    /// The databases' backups.
    pub backup: Standing,
    /// The identities' backup.
    pub identities: Identities,
    /// Whether the operator has seen that the KMS still holds the keys.
    pub is_kms_reachable: bool,
    /// Whether the whole network is down.
    pub is_network_down: bool,
    /// Its release.
    pub splice: Option<Splice>,
}

/// The way that is recommended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Path {
    /// The best way that is open.
    pub recommended: Way,
    /// The next best, where there is one.
    pub fallback: Option<Way>,
    /// Why.
    pub reasons: Vec<String>,
    /// What it, or a better one, still needs.
    pub missing: Vec<String>,
    /// The command that leads along it.
    pub command: Option<&'static str>,
}

const FULL_IDENTITIES: &str =
    "a verified dump of this SV's full identities (participant, sequencer, mediator): --identities";

impl Situation {
    /// The best way back.
    pub fn decide(&self) -> Path {
        let mut path = match self.is_network_down {
            true => self.network(),
            false => self.node(),
        };
        path.command = path.recommended.command();
        path
    }

    fn network(&self) -> Path {
        let (recommended, reason) = match self.splice.map(|splice| (splice, splice.network_recovery())) {
            Some((splice, NetworkRecovery::DataSnapshot)) => (
                Way::NetworkDr,
                format!("the network is down, and Splice {splice} recovers from data snapshots"),
            ),
            Some((splice, NetworkRecovery::RollForwardLsu { snapshot_answers })) => {
                let trap = match snapshot_answers {
                    true => ": its data-snapshot endpoint still answers, but nothing can read what it gives",
                    false => "",
                };
                let why = "from 0.6.2 on only a logical synchronizer upgrade that rolls forward recovers a network";
                (
                    Way::RollForwardLsu,
                    format!("the network is down; this is Splice {splice}, and {why}{trap}"),
                )
            }
            None => (
                Way::NetworkOfUnknownRelease,
                "the network is down, and its release was not given: up to Splice 0.6.1 it is recovered from data snapshots, \
                 from 0.6.2 on by a logical synchronizer upgrade that rolls forward"
                    .to_owned(),
            ),
        };
        let mut missing = Vec::new();
        if recommended == Way::NetworkOfUnknownRelease {
            missing.push("the network's release of Splice: --splice".to_owned());
        }
        if recommended != Way::RollForwardLsu {
            match &self.identities {
                Identities::Plaintext { full: true } => {}
                Identities::KmsOnly { full: true } if self.is_kms_reachable => {}
                Identities::KmsOnly { full: true } => {
                    missing.push("to see that the KMS still holds the keys: --kms-reachable".to_owned());
                }
                Identities::None | Identities::Plaintext { .. } | Identities::KmsOnly { .. } => {
                    missing.push(FULL_IDENTITIES.to_owned());
                }
                Identities::Unverified(why) => missing.push(format!("{FULL_IDENTITIES}; the one given is not: {why}")),
            }
        }
        Path {
            recommended,
            fallback: None,
            reasons: vec![reason],
            missing,
            command: None,
        }
    }

    /// The way that needs no backup of databases.
    fn without_databases(&self) -> (Option<Way>, String, Vec<String>) {
        let better = || {
            vec!["a verified dump of the node's identities, and the KMS if the keys are there: --identities".to_owned()]
        };
        match (&self.identities, self.is_kms_reachable) {
            (Identities::Plaintext { .. }, _) => (
                Some(Way::Reonboard),
                "the identities were verified, and hold the participant's keys".to_owned(),
                Vec::new(),
            ),
            (Identities::KmsOnly { .. }, true) => (
                Some(Way::Reonboard),
                "the identities were verified, and the KMS that they name still holds the keys".to_owned(),
                Vec::new(),
            ),
            (Identities::KmsOnly { .. }, false) => (
                None,
                "the identities were verified, but hold no keys: these are in a KMS".to_owned(),
                vec!["to see that the KMS still holds the keys: --kms-reachable".to_owned()],
            ),
            (Identities::None, true) => (
                Some(Way::KmsOnly),
                "no identities were given, and a KMS still holds the keys".to_owned(),
                better(),
            ),
            (Identities::Unverified(why), true) => (
                Some(Way::KmsOnly),
                format!("the identities given can't be relied on ({why}), and a KMS still holds the keys"),
                better(),
            ),
            (Identities::None, false) => (None, "no identities were given".to_owned(), better()),
            (Identities::Unverified(why), false) => (
                None,
                format!("the identities given can't be relied on: {why}"),
                better(),
            ),
        }
    }

    fn node(&self) -> Path {
        let (other, why_other, missing_other) = self.without_databases();
        let path = |recommended, fallback, reasons, missing| Path {
            recommended,
            fallback,
            reasons,
            missing,
            command: None,
        };
        let new_backup = "backups of the apps' and the participant's databases that are consistent, of the same participant and \
                          less than 30 days old";
        match &self.backup {
            Standing::Fit => path(
                Way::Restore,
                other,
                vec!["the backups are consistent, of one participant and young enough".to_owned()],
                Vec::new(),
            ),
            Standing::Unproven(lacking) => path(
                Way::ProveBackup,
                other,
                vec!["nothing speaks against the backups, but not everything is proven".to_owned()],
                lacking.clone(),
            ),
            Standing::Unfit(_) | Standing::None => {
                let mut reasons = match &self.backup {
                    Standing::Unfit(why) => why.clone(),
                    _ => vec!["no backups of the databases were given".to_owned()],
                };
                reasons.push(why_other);
                let mut missing = vec![new_backup.to_owned()];
                missing.extend(missing_other);
                path(other.unwrap_or(Way::Unrecoverable), None, reasons, missing)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation(backup: Standing, identities: Identities) -> Situation {
        Situation {
            backup,
            identities,
            is_kms_reachable: false,
            is_network_down: false,
            splice: None,
        }
    }

    fn unfit() -> Standing {
        Standing::Unfit(vec!["31 days old".into()])
    }

    #[test]
    fn one_node_is_restored_or_reonboarded_or_lost() {
        let plain = Identities::Plaintext { full: false };
        let kms = Identities::KmsOnly { full: true };
        let bad = Identities::Unverified("null".into());
        let unproven = Standing::Unproven(vec!["no offsets".into()]);
        let (no, yes) = (false, true);
        let expected = [
            (Standing::Fit, plain.clone(), no, Way::Restore, Some(Way::Reonboard)),
            (Standing::Fit, Identities::None, no, Way::Restore, None),
            (unproven.clone(), Identities::None, no, Way::ProveBackup, None),
            (unproven, plain.clone(), no, Way::ProveBackup, Some(Way::Reonboard)),
            (unfit(), plain.clone(), no, Way::Reonboard, None),
            (Standing::None, plain, no, Way::Reonboard, None),
            (unfit(), kms.clone(), yes, Way::Reonboard, None),
            (unfit(), kms, no, Way::Unrecoverable, None),
            (unfit(), Identities::None, yes, Way::KmsOnly, None),
            (unfit(), bad.clone(), yes, Way::KmsOnly, None),
            (unfit(), bad, no, Way::Unrecoverable, None),
            (Standing::None, Identities::None, no, Way::Unrecoverable, None),
        ];
        for (backup, identities, is_kms_reachable, recommended, fallback) in expected {
            let mut situation = situation(backup, identities);
            situation.is_kms_reachable = is_kms_reachable;
            let path = situation.decide();
            assert_eq!(
                (path.recommended, path.fallback),
                (recommended, fallback),
                "{situation:?}"
            );
            assert!(!path.reasons.is_empty() && path.command == recommended.command());
            // Whatever is not the best way says what the better one needs.
            assert_eq!(path.missing.is_empty(), recommended == Way::Restore, "{situation:?}");
        }
    }

    #[test]
    fn a_network_is_recovered_in_the_way_of_its_release() {
        let ask = |splice: Option<&str>, identities: Identities| {
            let mut situation = situation(Standing::Fit, identities);
            situation.is_network_down = true;
            situation.splice = splice.map(|text| text.parse().unwrap());
            situation.decide()
        };
        let full = Identities::Plaintext { full: true };
        let old = ask(Some("0.6.1"), full.clone());
        assert_eq!((old.recommended, old.missing.len()), (Way::NetworkDr, 0));
        for lacking in [
            Identities::None,
            Identities::Plaintext { full: false },
            Identities::KmsOnly { full: true },
            Identities::Unverified("null".into()),
        ] {
            assert_eq!(ask(Some("0.5.4"), lacking).missing.len(), 1);
        }
        let trap = ask(Some("0.6.2"), Identities::None);
        assert_eq!(trap.recommended, Way::RollForwardLsu);
        assert!(trap.reasons[0].contains("still answers"), "{:?}", trap.reasons);
        assert!(!ask(Some("0.6.7"), Identities::None).reasons[0].contains("still answers"));
        let unknown = ask(None, full);
        assert_eq!(unknown.recommended, Way::NetworkOfUnknownRelease);
        assert_eq!((unknown.missing.len(), unknown.command), (1, None));
    }
}
