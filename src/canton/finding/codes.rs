//! The register of Canton's findings. Codes are never reused.

use crate::report::register::register;

register! {
    // C01: backups.

    // C02: identities.

    // C03: logs and evidence.
    /// A file is compressed, and ends or breaks off in the middle.
    CutOff = "C0301", Warning, "what could be read was used; give a whole copy of the file if there is one";
    /// An SV's evidence is larger than what is kept of one, and some comparisons are missing from it.
    EvidenceLeftOut = "C0350", Warning, "scan the logs of the last day before the incident only: less is kept of less";

    // C04: the agreed timestamp.

    // C05: fetching.

    // C06: merging.

    // C07: Kubernetes: placing and scaling.

    // C08: runbooks.

    // C09: verification after a recovery.
}
