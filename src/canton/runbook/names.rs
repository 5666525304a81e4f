//! What the parts of an SV are called in its cluster (SPEC-CANTON 4).

use serde::Serialize;

use crate::canton::release::Splice;

/// The names of an SV's deployments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Names {
    /// CometBFT's node; a synchronizer that runs DABFT has none.
    pub cometbft: Option<String>,
    /// The mediator.
    pub mediator: String,
    /// The sequencer.
    pub sequencer: String,
    /// The participant.
    pub participant: String,
    /// The scan app.
    pub scan_app: String,
    /// The SV app.
    pub sv_app: String,
    /// The validator app.
    pub validator_app: String,
}

impl Names {
    /// As the charts' documentation calls them: with the migration's number, from Splice 0.6.2 on with the synchronizer's
    /// serial, and then a participant that carries none.
    pub fn documented(serial: u32, splice: Splice) -> Names {
        let node = |what: &str| format!("global-domain-{serial}-{what}");
        let participant = match splice < Splice::new(0, 6, 2) {
            true => format!("participant-{serial}"),
            false => "participant".to_owned(),
        };
        Names {
            cometbft: Some(node("cometbft")),
            mediator: node("mediator"),
            sequencer: node("sequencer"),
            participant,
            scan_app: "scan-app".to_owned(),
            sv_app: "sv-app".to_owned(),
            validator_app: "validator-app".to_owned(),
        }
    }

    /// All of them, synchronizer first.
    pub fn all(&self) -> Vec<&str> {
        let synchronizer = self.cometbft.iter().chain([&self.mediator, &self.sequencer]);
        let rest = [&self.participant, &self.scan_app, &self.sv_app, &self.validator_app];
        synchronizer.chain(rest).map(String::as_str).collect()
    }
}
