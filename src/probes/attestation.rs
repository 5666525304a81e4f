//! What a node says to prove what it is, and who vouches for it.

use crate::attestation::sgx::Collateral;
use crate::attestation::snp::Report;
use crate::attestation::uvm::{Did, Statement};
use crate::attestation::{Anchors, Evidence, Subject, Time, Verifier};
use crate::node::evidence::Certificates;

/// A node's evidence, judged with the roots that are built in.
fn judge(format: &str, quote: &[u8], endorsements: &[u8]) {
    let evidence = Evidence {
        format: format.into(),
        quote: quote.to_vec(),
        endorsements: endorsements.to_vec(),
        ..Evidence::default()
    };
    let judged = Verifier::new(Anchors::built_in()).judge(&evidence, &Subject::default(), None, Time::Remark(1));
    for (_, outcome) in judged.judgement.checks() {
        let _ = outcome.text();
    }
}

/// A report of SEV-SNP, with no certificates.
pub fn attestation_report(bytes: &[u8]) {
    if let Some(report) = Report::parse(bytes) {
        let _ = (report.signature(), report.product(), report.ends_in_zeros());
        judge("AMD_SEV_SNP_v1", bytes, &[]);
    }
}

/// A chip's certificates, under a report of zeros, and as servers of endorsements answer; and a file of revocation lists.
pub fn attestation_endorsements(bytes: &[u8]) {
    let answers = [
        Certificates::from_pem(bytes),
        Certificates::from_json(bytes),
        Certificates::from_parts(bytes, bytes),
    ];
    for found in answers.into_iter().flatten() {
        judge(
            "AMD_SEV_SNP_v1",
            &[0; crate::attestation::snp::REPORT_BYTES],
            found.pem.as_bytes(),
        );
    }
    judge("AMD_SEV_SNP_v1", &[0; crate::attestation::snp::REPORT_BYTES], bytes);
    let _ = Verifier::new(Anchors::built_in()).with_revocation_lists(bytes);
}

/// UVM endorsements.
pub fn uvm_endorsements(bytes: &[u8]) {
    let statement = Statement::read(bytes);
    let _ = statement.holds();
}

/// A did:x509.
pub fn did_x509(bytes: &[u8]) {
    if let Ok(did) = Did::parse(&String::from_utf8_lossy(bytes)) {
        let _ = did.names(bytes);
    }
}

/// A quote of SGX; the same bytes as collateral; and as `quote_info`.
pub fn sgx_quote(bytes: &[u8]) {
    judge("OE_SGX_v1", bytes, &[]);
    if let Ok(parsed) = Collateral::read(bytes).parsed {
        let _ = format!("{parsed:?}");
    }
    let _ = Evidence::from_quote_info(bytes);
}
