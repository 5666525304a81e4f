//! Evidence that is gathered beside everything else, from the first moment of a node on: what it takes on a machine of its
//! own is some ten milliseconds, and with a slow server of endorsements half a minute.

use tokio::sync::oneshot;

use crate::attestation::{Attestation, OwnEvidence};
use crate::crypto::VerifyingKey;
use crate::error::{Error, Result};

/// Evidence that a thread of its own gathers.
pub struct EvidenceInTheMaking(oneshot::Receiver<Result<OwnEvidence>>);

impl EvidenceInTheMaking {
    /// Begins.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(attestation: Box<dyn Attestation>, key: VerifyingKey) -> std::io::Result<EvidenceInTheMaking> {
        let (made, making) = oneshot::channel();
        let gather = move || {
            let evidence = attestation.attest(&key);
            // Nobody waits any more where the node was refused for something else.
            let _ = made.send(
                evidence.map_err(|why| Error::Unreadable(format!("this node has no evidence of what it runs: {why}"))),
            );
        };
        std::thread::Builder::new().name("quote".to_owned()).spawn(gather)?;
        Ok(EvidenceInTheMaking(making))
    }

    /// Waits for it.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn wait(self) -> Result<OwnEvidence> {
        let panicked = |_| {
            Err(Error::Unreadable(
                "the thread that gathers this node's evidence panicked".to_owned(),
            ))
        };
        self.0.await.unwrap_or_else(panicked)
    }
}
