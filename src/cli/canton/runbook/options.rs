//! Options of the recoveries.

use super::super::cluster;
use super::Uses;
use crate::canton::Timestamp;
use crate::canton::release::Splice;
use crate::canton::runbook::{self as plan, Commands, Installation, Names, Parameters};

/// The installation.
#[derive(clap::Args)]
#[command(next_help_heading = "Installation")]
pub struct Site {
    /// The release of Splice that runs, or ran, such as 0.5.4
    #[arg(long, value_name = "V")]
    splice: Splice,
    /// The SV's namespace
    #[arg(long, short, value_name = "NS", default_value = "sv", value_parser = cluster::namespace)]
    namespace: String,
    /// The number in global-domain-N-sequencer: the migration's, from Splice 0.6.2 on the synchronizer's serial
    #[arg(long, value_name = "N", default_value_t = 0)]
    serial: u32,
    /// The synchronizer has no CometBFT
    #[arg(long)]
    no_cometbft: bool,
    /// The SV app, such as https://sv.sv.YOUR_HOSTNAME
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Scan, such as https://scan.sv.YOUR_HOSTNAME
    #[arg(long, value_name = "URL")]
    scan_url: Option<String>,
    /// The file with the token for the SV app
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// The kubeconfig for all commands about the cluster
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<String>,
    /// The kubeconfig's context
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Where the steps write their files
    #[arg(long, value_name = "DIR", default_value = ".")]
    out_dir: String,
    /// The participant's logs as they grow after the recovery: the verification looks for agreement in them
    #[arg(long, value_name = "NAME=PATH")]
    fresh_log: Vec<String>,
}

impl Site {
    /// Adds how the cluster is reached.
    pub fn apply(&self, at: &mut Installation) {
        let options = [("--kubeconfig", &self.kubeconfig), ("--context", &self.context)];
        for (name, value) in options {
            if let Some(value) = value {
                at.cluster.extend([name.to_owned(), value.clone()]);
            }
        }
    }

    fn installation(&self) -> Installation {
        let mut names = Names::documented(self.serial, self.splice);
        if self.no_cometbft {
            names.cometbft = None;
        }
        Installation {
            splice: self.splice,
            namespace: self.namespace.clone(),
            serial: self.serial,
            names,
            url: self.url.clone(),
            scan_url: self.scan_url.clone(),
            token_file: self.token_file.clone(),
            cluster: Vec::new(),
            directory: self.out_dir.clone(),
        }
    }

    fn parameters(&self) -> Parameters {
        Parameters {
            fresh_logs: self.fresh_log.clone(),
            ..Parameters::default()
        }
    }
}

/// Options of `runbook restore`.
#[derive(clap::Args)]
pub struct Restore {
    #[command(flatten)]
    pub installation: Site,
    /// A backup of the apps' databases
    #[arg(long, value_name = "FILE")]
    apps: Vec<String>,
    /// A backup of the participant's database
    #[arg(long, value_name = "FILE")]
    participant: Vec<String>,
    /// A dump of the node's identities
    #[arg(long, value_name = "FILE")]
    identities: Option<String>,
    /// Your command that keeps a copy of what will be overwritten
    #[arg(long, value_name = "CMD")]
    keep_command: Option<String>,
    /// Your command that restores storage and databases; run by sh. It must be safe to run again, and end only when all is
    /// done: what it leaves in the background is not waited for, unless --restored-command does
    #[arg(long, value_name = "CMD")]
    restore_command: Option<String>,
    /// Your command that ends with 0 when the restore is complete, and with 75 while it still goes on in the background: then
    /// nothing is begun again, and the same runbook goes on later
    #[arg(long, value_name = "CMD")]
    restored_command: Option<String>,
    #[command(flatten)]
    pub uses: Uses,
}

impl Restore {
    pub fn parameters(&self) -> (Installation, Parameters) {
        let commands = Commands {
            keep: self.keep_command.clone(),
            restore: self.restore_command.clone(),
            restored: self.restored_command.clone(),
            ..Commands::default()
        };
        let parameters = Parameters {
            apps: self.apps.clone(),
            participant: self.participant.clone(),
            identities: self.identities.clone(),
            commands,
            ..self.installation.parameters()
        };
        (self.installation.installation(), parameters)
    }
}

/// Options of `runbook reonboard`.
#[derive(clap::Args)]
pub struct Reonboard {
    #[command(flatten)]
    pub installation: Site,
    /// A dump of the failed SV's identities
    #[arg(long, value_name = "FILE")]
    identities: Option<String>,
    /// The name that the SV chose when its identity was made
    #[arg(long, value_name = "NAME")]
    sv_name: Option<String>,
    /// The standalone validator's namespace
    #[arg(long, value_name = "NS")]
    validator_namespace: Option<String>,
    /// An identifier for its participant that was never used before
    #[arg(long, value_name = "NAME")]
    new_participant_identifier: Option<String>,
    /// The validator's wallet, such as https://wallet.validator.YOUR_HOSTNAME
    #[arg(long, value_name = "URL")]
    wallet_url: Option<String>,
    /// The file with the token for the wallet
    #[arg(long, value_name = "FILE")]
    wallet_token_file: Option<String>,
    /// Balances that `rekindle canton verify --save-balances` saved before the failure
    #[arg(long, value_name = "FILE")]
    balances_before: Option<String>,
    /// The serial of the synchronizer that the fresh SV joins, where it is another one
    #[arg(long, value_name = "N")]
    new_serial: Option<u32>,
    /// Nothing of the failed SV is left in the cluster
    #[arg(long)]
    no_old_node: bool,
    /// Your command that deploys the validator; it must be safe to run again: after an interruption it is
    #[arg(long, value_name = "CMD")]
    deploy_command: Option<String>,
    /// Your command that deploys the fresh SV; it must be safe to run again: after an interruption it is
    #[arg(long, value_name = "CMD")]
    configure_command: Option<String>,
    #[command(flatten)]
    pub uses: Uses,
}

impl Reonboard {
    pub fn parameters(&self) -> (Installation, Parameters) {
        let reonboard = plan::Reonboard {
            sv_name: self.sv_name.clone(),
            validator_namespace: self.validator_namespace.clone(),
            new_identifier: self.new_participant_identifier.clone(),
            wallet_url: self.wallet_url.clone(),
            wallet_token_file: self.wallet_token_file.clone(),
            balances: self.balances_before.clone(),
            new_serial: self.new_serial,
            is_gone: self.no_old_node,
        };
        let commands = Commands {
            deploy: self.deploy_command.clone(),
            configure: self.configure_command.clone(),
            ..Commands::default()
        };
        let parameters = Parameters {
            identities: self.identities.clone(),
            commands,
            reonboard,
            ..self.installation.parameters()
        };
        (self.installation.installation(), parameters)
    }
}

/// Options of `runbook network-dr`.
#[derive(clap::Args)]
pub struct NetworkDr {
    #[command(flatten)]
    pub installation: Site,
    /// A full dump of this SV's identities
    #[arg(long, value_name = "FILE")]
    identities: Option<String>,
    /// The participant's logs up to the failure, to be scanned for agreement
    #[arg(long, value_name = "NAME=PATH")]
    log: Vec<String>,
    /// An SV's evidence, from `rekindle canton scan`; once for each SV
    #[arg(long, value_name = "NAME=FILE")]
    evidence: Vec<String>,
    /// The time to recover from, on which all SVs agreed
    #[arg(long, value_name = "T")]
    timestamp: Option<Timestamp>,
    /// The number of the new migration, on which all SVs agreed
    #[arg(long, value_name = "M")]
    migration_id: Option<u32>,
    /// Your command that backs up what there is
    #[arg(long, value_name = "CMD")]
    keep_command: Option<String>,
    /// Your command that deploys the new synchronizer's nodes; it must be safe to run again: after an interruption it is
    #[arg(long, value_name = "CMD")]
    deploy_command: Option<String>,
    /// Your command that starts the apps with the migration's values; it must be safe to run again: after an interruption it is
    #[arg(long, value_name = "CMD")]
    configure_command: Option<String>,
    /// Your command that sets the values back in the end
    #[arg(long, value_name = "CMD")]
    settle_command: Option<String>,
    #[command(flatten)]
    pub uses: Uses,
}

impl NetworkDr {
    pub fn parameters(&self) -> (Installation, Parameters) {
        let commands = Commands {
            keep: self.keep_command.clone(),
            deploy: self.deploy_command.clone(),
            configure: self.configure_command.clone(),
            settle: self.settle_command.clone(),
            ..Commands::default()
        };
        let parameters = Parameters {
            identities: self.identities.clone(),
            logs: self.log.clone(),
            evidence: self.evidence.clone(),
            timestamp: self.timestamp,
            migration: self.migration_id,
            commands,
            ..self.installation.parameters()
        };
        (self.installation.installation(), parameters)
    }
}

/// Options of `runbook roll-forward-lsu`.
#[derive(clap::Args)]
pub struct RollForwardLsu {
    #[command(flatten)]
    pub installation: Site,
    /// R: the last record time that the broken synchronizer sequenced
    #[arg(long, value_name = "T")]
    record_time: Option<Timestamp>,
    /// The old sequencer's end, after R
    #[arg(long, value_name = "T")]
    max_sequencing_time: Option<Timestamp>,
    /// After it the successor sequences test messages
    #[arg(long, value_name = "T")]
    lower_bound: Option<Timestamp>,
    /// After it the successor sequences everything
    #[arg(long, value_name = "T")]
    upgrade_time: Option<Timestamp>,
    /// When the topology is exported
    #[arg(long, value_name = "T")]
    topology_export_time: Option<Timestamp>,
    /// When the traffic is exported
    #[arg(long, value_name = "T")]
    traffic_export_time: Option<Timestamp>,
    /// The successor's serial
    #[arg(long, value_name = "N")]
    new_serial: Option<u32>,
    /// The successor's protocol version
    #[arg(long, value_name = "N")]
    protocol_version: Option<u32>,
    /// An upgrade has just failed
    #[arg(long)]
    after_failed_upgrade: bool,
    /// Nothing was sequenced on its successor, which is thrown away
    #[arg(long, requires = "after_failed_upgrade")]
    nothing_sequenced: bool,
    /// Your command that backs up what there is
    #[arg(long, value_name = "CMD")]
    keep_command: Option<String>,
    /// Your command that deploys the successor's nodes; it must be safe to run again: after an interruption it is
    #[arg(long, value_name = "CMD")]
    deploy_command: Option<String>,
    /// Your command that configures the SV app, or scan; it must be safe to run again: after an interruption it is
    #[arg(long, value_name = "CMD")]
    configure_command: Option<String>,
    #[command(flatten)]
    pub uses: Uses,
}

impl RollForwardLsu {
    pub fn parameters(&self) -> (Installation, Parameters) {
        let lsu = plan::Lsu {
            record_time: self.record_time,
            max_sequencing: self.max_sequencing_time,
            lower_bound: self.lower_bound,
            upgrade: self.upgrade_time,
            topology_export: self.topology_export_time,
            traffic_export: self.traffic_export_time,
            new_serial: self.new_serial,
            protocol: self.protocol_version,
            after_failed: self.after_failed_upgrade,
            nothing_sequenced: self.nothing_sequenced,
        };
        let commands = Commands {
            keep: self.keep_command.clone(),
            deploy: self.deploy_command.clone(),
            configure: self.configure_command.clone(),
            ..Commands::default()
        };
        let parameters = Parameters {
            commands,
            lsu,
            ..self.installation.parameters()
        };
        (self.installation.installation(), parameters)
    }
}
