//! What the operator says about the installation and the recovery.

use serde::Serialize;

use super::step::Word;
use crate::canton::Timestamp;
use crate::canton::release::Splice;

/// Which recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One SV from its backups.
    Restore,
    /// One SV's amulets through a validator with its keys, and a new SV.
    Reonboard,
    /// The network from data snapshots at an agreed time.
    NetworkDr,
    /// The network by a logical synchronizer upgrade that rolls forward.
    RollForwardLsu,
}

impl Kind {
    /// Its name as a command.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Restore => "restore",
            Kind::Reonboard => "reonboard",
            Kind::NetworkDr => "network-dr",
            Kind::RollForwardLsu => "roll-forward-lsu",
        }
    }

    /// What it is for, as a title.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Restore => "Restore a Super Validator from its backups",
            Kind::Reonboard => "Re-onboard a Super Validator and recover its amulets with a validator",
            Kind::NetworkDr => "Recover the network from data snapshots at an agreed time",
            Kind::RollForwardLsu => "Recover the network by a roll-forward logical synchronizer upgrade",
        }
    }
}

/// The installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Installation {
    /// The release of Splice that runs, or ran.
    #[serde(serialize_with = "as_text")]
    pub splice: Splice,
    /// The namespace of the SV.
    pub namespace: String,
    /// The migration's number, from Splice 0.6.2 on the synchronizer's serial.
    pub serial: u32,
    /// Names that the cluster has for its parts; the documented ones where the cluster was not asked.
    pub names: super::names::Names,
    /// Where the SV app is, `https://sv.sv.HOST`.
    pub url: Option<String>,
    /// Where scan is.
    pub scan_url: Option<String>,
    /// A file with the token for the SV app.
    pub token_file: Option<String>,
    /// Arguments that every command about the cluster gets: `--kubeconfig`, `--context`.
    pub cluster: Vec<String>,
    /// Where files are written to.
    pub directory: String,
}

fn as_text<S: serde::Serializer>(splice: &Splice, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(splice)
}

/// The rest, as each recovery needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Backups of the apps' databases.
    pub apps: Vec<String>,
    /// Backups of the participant's database.
    pub participant: Vec<String>,
    /// A dump of the node's identities.
    pub identities: Option<String>,
    /// The participant's logs, `NAME=PATH`.
    pub logs: Vec<String>,
    /// The participant's logs as they grow after the recovery, `NAME=PATH`.
    pub fresh_logs: Vec<String>,
    /// All SVs' evidence, `NAME=FILE`.
    pub evidence: Vec<String>,
    /// The time to recover from.
    pub timestamp: Option<Timestamp>,
    /// The new migration's number.
    pub migration: Option<u32>,
    /// The operator's commands.
    pub commands: Commands,
    /// Of a re-onboarding.
    pub reonboard: Reonboard,
    /// Of a logical synchronizer upgrade.
    pub lsu: Lsu,
}

impl Parameters {
    /// All that a plan reads: files, as they were named, and addresses among them.
    pub fn inputs<'a>(&'a self, at: &'a Installation) -> impl Iterator<Item = &'a str> {
        let pairs = self.logs.iter().chain(&self.fresh_logs).chain(&self.evidence);
        let files = pairs.map(|pair| pair.split_once('=').map_or(pair.as_str(), |(_, file)| file));
        let one = [
            &self.identities,
            &self.reonboard.balances,
            &self.reonboard.wallet_token_file,
            &at.token_file,
        ];
        let several = self.apps.iter().chain(&self.participant).chain(&at.cluster);
        files.chain(several.chain(one.into_iter().flatten()).map(String::as_str))
    }
}

/// What is the operator's to do, as commands for `sh`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// Keeps a copy of what is there before it is overwritten.
    pub keep: Option<String>,
    /// Restores the storage and the databases.
    pub restore: Option<String>,
    /// Ends with 0 when that is done.
    pub restored: Option<String>,
    /// Deploys nodes.
    pub deploy: Option<String>,
    /// Configures the apps.
    pub configure: Option<String>,
    /// Sets the configuration back when all is over.
    pub settle: Option<String>,
}

/// What a re-onboarding needs besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reonboard {
    /// The name that the SV chose when its identity was made.
    pub sv_name: Option<String>,
    /// The namespace of the standalone validator.
    pub validator_namespace: Option<String>,
    /// A participant identifier that was never used before.
    pub new_identifier: Option<String>,
    /// The validator's wallet, `https://wallet.validator.HOST`.
    pub wallet_url: Option<String>,
    /// A file with the token for that wallet.
    pub wallet_token_file: Option<String>,
    /// The balances that were saved before the failure.
    pub balances: Option<String>,
    /// The serial of the fresh SV's synchronizer, where it is another than the failed SV's.
    pub new_serial: Option<u32>,
    /// Nothing of the failed SV is left in the cluster.
    pub is_gone: bool,
}

/// What a roll-forward upgrade needs besides: times and numbers on which all SVs agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lsu {
    /// R: the last record time that the broken synchronizer sequenced.
    pub record_time: Option<Timestamp>,
    /// The old sequencer's end.
    pub max_sequencing: Option<Timestamp>,
    /// After it the successor sequences test messages.
    pub lower_bound: Option<Timestamp>,
    /// After it the successor sequences everything.
    pub upgrade: Option<Timestamp>,
    /// When the topology is exported.
    pub topology_export: Option<Timestamp>,
    /// When the traffic is exported.
    pub traffic_export: Option<Timestamp>,
    /// The successor's serial.
    pub new_serial: Option<u32>,
    /// The successor's protocol version.
    pub protocol: Option<u32>,
    /// An upgrade has failed already.
    pub after_failed: bool,
    /// … and nothing was sequenced on its successor.
    pub nothing_sequenced: bool,
}

/// What was given, or that it still has to be.
pub fn given(value: Option<impl ToString>, option: &'static str) -> Word {
    value.map_or(Word::Open(option), |value| Word::Known(value.to_string()))
}
