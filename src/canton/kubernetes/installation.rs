//! Which deployments of a namespace are an SV's, and what each of them is (SPEC-CANTON 4).
//!
//! The names are the chart's: `global-domain-N-cometbft|mediator|sequencer`, `participant-N` or `participant`, `scan-app`,
//! `sv-app`, `validator-app`, as the deployment's name or as its label `app`. N counts migrations, from Splice 0.6.2 on
//! serials. Web interfaces and `info` are not parts that are scaled. Synchronizers of the DABFT kind have no CometBFT.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};

use super::cluster::{Cluster, Deployment, Failure};

/// What a deployment is in an SV's installation. The order is the one in which the operators' document stops and starts
/// them, the synchronizer before what uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A synchronizer's CometBFT node, with its serial or migration.
    CometBft(u64),
    /// A synchronizer's mediator.
    Mediator(u64),
    /// A synchronizer's sequencer.
    Sequencer(u64),
    /// The participant, with the number in its name where it has one.
    Participant(Option<u64>),
    /// The scan app.
    ScanApp,
    /// The SV app.
    SvApp,
    /// The validator app.
    ValidatorApp,
}

/// The names of roles without their numbers, as `--only` and `--except` take them.
pub const ROLES: [&str; 7] = [
    "cometbft",
    "mediator",
    "sequencer",
    "participant",
    "scan-app",
    "sv-app",
    "validator-app",
];

/// Digits of the longest number in a deployment's name that is taken for a serial.
const LONGEST_NUMBER: usize = 9;

impl Role {
    /// The role that goes by this name.
    pub fn named(name: &str) -> Option<Role> {
        let number = |text: &str| -> Option<u64> {
            let is_number = !text.is_empty()
                && text.len() <= LONGEST_NUMBER
                && text.bytes().all(|c| c.is_ascii_digit())
                && (text == "0" || !text.starts_with('0'));
            is_number.then(|| text.parse().ok()).flatten()
        };
        match name {
            "scan-app" => return Some(Role::ScanApp),
            "sv-app" => return Some(Role::SvApp),
            "validator-app" => return Some(Role::ValidatorApp),
            "participant" => return Some(Role::Participant(None)),
            _ => {}
        }
        if let Some(rest) = name.strip_prefix("participant-") {
            return number(rest).map(|serial| Role::Participant(Some(serial)));
        }
        let (serial, kind) = name.strip_prefix("global-domain-")?.split_once('-')?;
        let serial = number(serial)?;
        match kind {
            "cometbft" => Some(Role::CometBft(serial)),
            "mediator" => Some(Role::Mediator(serial)),
            "sequencer" => Some(Role::Sequencer(serial)),
            _ => None,
        }
    }

    /// The role's name without its number: one of [`ROLES`].
    pub fn kind(self) -> &'static str {
        match self {
            Role::CometBft(_) => "cometbft",
            Role::Mediator(_) => "mediator",
            Role::Sequencer(_) => "sequencer",
            Role::Participant(_) => "participant",
            Role::ScanApp => "scan-app",
            Role::SvApp => "sv-app",
            Role::ValidatorApp => "validator-app",
        }
    }

    /// The number in its name: of the synchronizer, or of the participant.
    pub fn serial(self) -> Option<u64> {
        match self {
            Role::CometBft(serial) | Role::Mediator(serial) | Role::Sequencer(serial) => Some(serial),
            Role::Participant(serial) => serial,
            Role::ScanApp | Role::SvApp | Role::ValidatorApp => None,
        }
    }

    /// Whether it belongs to one synchronizer, of which there may be several at a time.
    pub fn is_synchronizer(self) -> bool {
        matches!(self, Role::CometBft(_) | Role::Mediator(_) | Role::Sequencer(_))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.serial() {
            Some(serial) => write!(f, "{} {serial}", self.kind()),
            None => f.write_str(self.kind()),
        }
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.kind())
    }
}

/// A deployment and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it is.
    pub role: Role,
    /// As the cluster has it.
    pub deployment: Deployment,
}

/// What there is in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installation {
    /// The namespace.
    pub namespace: String,
    /// The parts that were recognised, in the order of [`Role`].
    pub members: Vec<Member>,
    /// The names of deployments that are no part that is scaled: web interfaces, databases, others' things.
    pub others: Vec<String>,
    /// What could be taken in more than one way, in sentences. Deployments that these speak of are not members.
    pub ambiguities: Vec<String>,
}

/// Why parts of an installation could not be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unclear(pub String);

/// Looks at a namespace's deployments and recognises those of an SV.
///
/// # Errors
/// Those of [`Cluster::deployments`].
pub fn discover(cluster: &dyn Cluster, namespace: &str) -> Result<Installation, Failure> {
    Ok(recognise(namespace, cluster.deployments(namespace)?))
}

/// [`discover`] on a list that is there already.
pub fn recognise(namespace: &str, deployments: Vec<Deployment>) -> Installation {
    let mut found: BTreeMap<Role, Vec<Deployment>> = BTreeMap::new();
    let mut installation = Installation {
        namespace: namespace.to_owned(),
        ..Installation::default()
    };
    for deployment in deployments {
        let by_name = Role::named(&deployment.name);
        let by_label = deployment.labels.get("app").and_then(|app| Role::named(app));
        match (by_name, by_label) {
            (Some(name), Some(label)) if name != label => installation.ambiguities.push(format!(
                "deployment {} is {name} by its name and {label} by its label app",
                deployment.name
            )),
            (Some(role), _) | (None, Some(role)) => found.entry(role).or_default().push(deployment),
            (None, None) => installation.others.push(deployment.name),
        }
    }
    for (role, mut deployments) in found {
        match (deployments.pop(), deployments.is_empty()) {
            (Some(deployment), true) => installation.members.push(Member { role, deployment }),
            (last, _) => {
                let names: Vec<String> = deployments.into_iter().chain(last).map(|one| one.name).collect();
                let all = names.join(", ");
                installation
                    .ambiguities
                    .push(format!("{} deployments go by {role}: {all}", names.len()));
            }
        }
    }
    installation.others.sort();
    installation
}

impl Installation {
    /// The serials (migrations) of the synchronizers that are installed.
    pub fn serials(&self) -> BTreeSet<u64> {
        let synchronizers = self.members.iter().filter(|member| member.role.is_synchronizer());
        synchronizers.filter_map(|member| member.role.serial()).collect()
    }

    /// The deployment of exactly this role.
    pub fn get(&self, role: Role) -> Option<&Deployment> {
        let member = self.members.iter().find(|member| member.role == role)?;
        Some(&member.deployment)
    }

    /// The parts of the node that uses the synchronizer with this serial: its CometBFT node, mediator and sequencer, the
    /// participant, and the apps. Without a serial, of the only one there is.
    ///
    /// A participant whose name has no number, or the only one there is, is taken for any serial; of several the one
    /// with that number.
    ///
    /// # Errors
    /// [`Unclear`] where several serials or participants could be meant, or there is none.
    pub fn node(&self, serial: Option<u64>) -> Result<Vec<&Member>, Unclear> {
        let serials = self.serials();
        let listed = || serials.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let serial = match (serial, serials.len()) {
            (Some(serial), 0) => Some(serial),
            (Some(serial), _) if serials.contains(&serial) => Some(serial),
            (Some(serial), _) => {
                return Err(Unclear(format!(
                    "there is no synchronizer with serial {serial} in namespace {}; there is {}",
                    self.namespace,
                    listed()
                )));
            }
            (None, 0 | 1) => serials.first().copied(),
            (None, _) => {
                return Err(Unclear(format!(
                    "synchronizers with serials {} are installed in namespace {}: say which one is meant",
                    listed(),
                    self.namespace
                )));
            }
        };
        let participants: Vec<Role> = self
            .members
            .iter()
            .map(|member| member.role)
            .filter(is_participant)
            .collect();
        let participant = match participants.as_slice() {
            [] => None,
            [only] => Some(*only),
            several => {
                let numbered = several.iter().find(|role| role.serial() == serial && serial.is_some());
                let is_bare = several.contains(&Role::Participant(None));
                match (numbered, is_bare) {
                    (Some(role), false) => Some(*role),
                    _ => {
                        let names: Vec<&str> = self
                            .members
                            .iter()
                            .filter(|member| is_participant(&member.role))
                            .map(|member| member.deployment.name.as_str())
                            .collect();
                        return Err(Unclear(format!(
                            "there are several participants in namespace {}, and none is certainly the one that is meant: {}",
                            self.namespace,
                            names.join(", ")
                        )));
                    }
                }
            }
        };
        let belongs = |member: &&Member| match member.role {
            Role::Participant(_) => Some(member.role) == participant,
            role if role.is_synchronizer() => role.serial() == serial,
            _ => true,
        };
        Ok(self.members.iter().filter(belongs).collect())
    }
}

fn is_participant(role: &Role) -> bool {
    matches!(role, Role::Participant(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(name: &str, app: &str) -> Deployment {
        Deployment {
            name: name.to_owned(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            ..Deployment::default()
        }
    }

    fn installation(names: &[&str]) -> Installation {
        recognise("sv", names.iter().map(|name| deployment(name, name)).collect())
    }

    fn names(members: &[&Member]) -> Vec<String> {
        members.iter().map(|member| member.deployment.name.clone()).collect()
    }

    const OLD: [&str; 10] = [
        "validator-app",
        "wallet-web-ui",
        "sv-app",
        "participant-0",
        "global-domain-0-sequencer",
        "scan-app",
        "global-domain-0-cometbft",
        "info",
        "global-domain-0-mediator",
        "sv-web-ui",
    ];

    #[test]
    fn the_documents_seven_are_recognised_in_its_order_and_others_are_left_alone() {
        let found = installation(&OLD);
        assert_eq!(
            names(&found.node(None).unwrap()),
            [
                "global-domain-0-cometbft",
                "global-domain-0-mediator",
                "global-domain-0-sequencer",
                "participant-0",
                "scan-app",
                "sv-app",
                "validator-app"
            ]
        );
        assert_eq!(found.others, ["info", "sv-web-ui", "wallet-web-ui"]);
        assert!(found.ambiguities.is_empty());
    }

    #[test]
    fn newer_releases_have_a_bare_participant_and_dabft_has_no_cometbft() {
        let found = installation(&[
            "participant",
            "global-domain-5-sequencer",
            "global-domain-5-mediator",
            "sv-app",
        ]);
        assert_eq!(found.serials(), [5].into());
        assert_eq!(found.node(Some(5)).unwrap().len(), 4);
        assert!(found.node(Some(4)).unwrap_err().0.contains("there is 5"));
    }

    #[test]
    fn of_several_serials_one_must_be_named_and_takes_its_own_participant() {
        let found = installation(&[
            "global-domain-0-sequencer",
            "global-domain-1-sequencer",
            "participant-0",
            "participant-1",
            "sv-app",
        ]);
        assert!(found.node(None).unwrap_err().0.contains("0, 1"));
        assert_eq!(
            names(&found.node(Some(1)).unwrap()),
            ["global-domain-1-sequencer", "participant-1", "sv-app"]
        );
        // An old number that was kept, with a newer synchronizer.
        let kept = installation(&["global-domain-4-sequencer", "participant-3"]);
        assert_eq!(
            names(&kept.node(None).unwrap()),
            ["global-domain-4-sequencer", "participant-3"]
        );
    }

    #[test]
    fn what_can_be_taken_in_two_ways_is_said_and_not_chosen() {
        let bare = installation(&["global-domain-1-sequencer", "participant", "participant-1"]);
        assert!(bare.node(Some(1)).unwrap_err().0.contains("participant, participant-1"));
        let contradicting = recognise("sv", vec![deployment("sv-app", "scan-app")]);
        assert!(contradicting.members.is_empty() && contradicting.ambiguities.len() == 1);
        let twice = recognise(
            "sv",
            vec![deployment("sv-app", "sv-app"), deployment("my-sv", "sv-app")],
        );
        assert!(twice.members.is_empty(), "{twice:?}");
        assert!(twice.ambiguities.iter().any(|text| text.contains("sv-app, my-sv")));
        let by_label = recognise("sv", vec![deployment("release-a", "sv-app")]);
        assert_eq!(by_label.get(Role::SvApp).unwrap().name, "release-a");
    }

    #[test]
    fn only_whole_names_are_names() {
        for name in [
            "sv-app-web",
            "participant-",
            "participant-x",
            "participant-00",
            "participant-01",
            "participant-9999999999",
            "global-domain--sequencer",
            "global-domain-1-sequencer-pg",
            "global-domain-1",
            "my-participant",
            "",
        ] {
            assert_eq!(Role::named(name), None, "{name}");
        }
        let all = [
            "global-domain-1-cometbft",
            "global-domain-1-mediator",
            "global-domain-1-sequencer",
        ];
        let kinds = all.into_iter().chain(ROLES.into_iter().skip(3));
        let kinds: Vec<_> = kinds.map(|name| Role::named(name).unwrap().kind()).collect();
        assert_eq!(kinds, ROLES);
    }
}
