//! The checks of a quote, its chain, its claims and its collateral. Attestation specification, section 8.

use crate::attestation::anchors::{self, Anchors, Root};
use crate::attestation::judgement::{Check, Judgement, Outcome};
use crate::attestation::time::Time;
use crate::crypto::{Curve, Encoding, HashAlgorithm, Scheme, ec_key_of_point, sha256_parts};
use crate::shown::date;

use super::collateral::{Collateral, Parsed, is_list_of};
use super::pck::{Chain, PckTcb};
use super::quote::Quote;

const VERSION: u16 = 3;
const ECDSA_P256: u16 = 2;
/// PCK, Platform CA, root.
const CERTIFICATES: usize = 3;
const NAMES: [&str; CERTIFICATES] = ["the PCK certificate", "its authority", "the root"];
/// Who signs Intel's quoting enclaves, and which of them makes quotes.
const QE_MRSIGNER: &str = "8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff";
const QE_PRODUCT: u16 = 1;
const SCHEME: Scheme = Scheme::Ecdsa(HashAlgorithm::Sha256);

/// Adds every check of section 8 to `judgement`; the quote, if the bytes are one.
pub(in crate::attestation) fn verify(
    bytes: &[u8],
    collateral: &Collateral,
    anchors: &Anchors,
    time: Time,
    judgement: &mut Judgement,
) -> Option<Quote> {
    let quote = match Quote::parse(bytes) {
        Ok(quote) => quote,
        Err(why) => {
            let failed = Outcome::failed(
                "the SGX quote can't be read",
                why,
                "an SGX quote of version 3 with a PCK chain",
            );
            judgement.add(Check::Size, failed);
            return None;
        }
    };
    let chain = Chain::read(&quote.pck_chain);
    judgement.extend([
        (Check::Size, Outcome::Passed),
        (Check::Version, version(&quote)),
        (Check::Count, count(&chain)),
        (Check::RootKey, root_key(&chain, anchors)),
        (Check::RootSelf, root_self(&chain)),
        (Check::Chain, path(&chain)),
        (Check::Validity, validity(&chain, time)),
        (Check::QeSignature, qe_signature(&quote, &chain)),
        (Check::QeReport, qe_report(&quote)),
        (Check::Signature, signature(&quote)),
        (Check::QeIdentity, qe_identity(&quote)),
        (Check::Debug, debug(&quote)),
        (Check::Claims, claims(&quote)),
    ]);
    match &collateral.parsed {
        Ok(parsed) => judgement.extend([
            (Check::Collateral, genuine(parsed, anchors)),
            (Check::CollateralValidity, current(parsed, time)),
            (Check::TcbStatus, tcb_status(&quote, &chain, parsed)),
            (Check::Revocation, revocation(&chain, parsed)),
        ]),
        Err(why) => {
            let outcome = match collateral.is_empty {
                true => Outcome::not_done("the node's record has no collateral"),
                false => Outcome::failed(
                    "the SGX collateral can't be read",
                    why,
                    "OpenEnclave's SGX endorsements",
                ),
            };
            judgement.add(Check::Collateral, outcome);
            for check in [Check::CollateralValidity, Check::TcbStatus, Check::Revocation] {
                judgement.add(check, Outcome::not_done("the collateral can't be read"));
            }
        }
    }
    Some(quote)
}

fn version(quote: &Quote) -> Outcome {
    Outcome::of((quote.version, quote.key_type) == (VERSION, ECDSA_P256), || {
        Outcome::failed(
            "the SGX quote is of another version or key type",
            format!("version {}, key type {}", quote.version, quote.key_type),
            "version 3, key type 2 (ECDSA on P-256)",
        )
    })
}

fn count(chain: &Chain) -> Outcome {
    Outcome::of(chain.count == CERTIFICATES, || {
        Outcome::failed(
            "the PCK chain has another number of certificates",
            format!("{} certificates", chain.count),
            "3: PCK, its authority, Intel's root",
        )
    })
}

fn root_key(chain: &Chain, anchors: &Anchors) -> Outcome {
    let Some(root) = chain.root() else {
        return Outcome::not_done("there are no certificates that can be read");
    };
    match anchors.sgx(&root) {
        Some(Root::Pinned) => Outcome::Passed,
        Some(Root::Made) => Outcome::remark("the root was made for tests: this proves nothing"),
        None => Outcome::failed(
            "the root of the PCK chain is not Intel's",
            format!("key {}", hex::encode(root)),
            format!("key {}", anchors::expected(None)),
        ),
    }
}

fn root_self(chain: &Chain) -> Outcome {
    let Some(root) = chain.certificates.last() else {
        return Outcome::not_done("there are no certificates that can be read");
    };
    let is_signed = root.is_self_issued() && root.key().is_ok_and(|key| root.is_signed_by(&key).is_ok());
    Outcome::of(is_signed, || {
        Outcome::failed(
            "the root of the PCK chain did not sign itself",
            root.subject(),
            "a root",
        )
    })
}

fn path(chain: &Chain) -> Outcome {
    match &chain.problem {
        None => Outcome::Passed,
        Some(why) => Outcome::failed("the PCK chain is broken", why, "each certificate issued by the next"),
    }
}

fn validity(chain: &Chain, time: Time) -> Outcome {
    match chain.certificates.len() {
        CERTIFICATES => time.validity(NAMES.into_iter().zip(&chain.certificates)),
        _ => Outcome::not_done("there are not three certificates that can be read"),
    }
}

fn qe_signature(quote: &Quote, chain: &Chain) -> Outcome {
    let Some(key) = chain.leaf_key() else {
        return Outcome::not_done("there is no PCK certificate that can be read");
    };
    let valid = key.verify(SCHEME, Encoding::Fixed, &quote.qe_body, &quote.qe_signature);
    Outcome::of(valid.is_ok(), || {
        Outcome::failed(
            "the platform's certified key did not sign the quoting enclave's report",
            "a signature that does not verify",
            "one by the key of the PCK certificate",
        )
    })
}

fn qe_report(quote: &Quote) -> Outcome {
    let expected = sha256_parts(&[&quote.attestation_key, &quote.authentication_data]);
    let found = &quote.quoting_enclave.report_data;
    Outcome::of(found.starts_with(&expected), || {
        Outcome::failed(
            "the quoting enclave does not vouch for this attestation key",
            hex::encode(found),
            hex::encode(expected),
        )
    })
}

fn signature(quote: &Quote) -> Outcome {
    let key = ec_key_of_point(Curve::P256, &quote.attestation_key);
    let valid = key.and_then(|key| key.verify_fixed(&quote.signed, &quote.signature));
    Outcome::of(valid.is_ok(), || {
        Outcome::failed(
            "the attestation key did not sign the quote",
            "a signature that does not verify",
            "one by the attestation key",
        )
    })
}

fn qe_identity(quote: &Quote) -> Outcome {
    let found = &quote.quoting_enclave;
    let signer = hex::encode(found.mrsigner);
    let is_intels = signer == QE_MRSIGNER && found.product_id == QE_PRODUCT && !found.is_debug();
    Outcome::of(is_intels, || {
        Outcome::failed(
            "the quoting enclave is not Intel's",
            format!(
                "signer {signer}, product {}, attributes {}",
                found.product_id,
                hex::encode(found.attributes)
            ),
            format!("signer {QE_MRSIGNER}, product {QE_PRODUCT}, no debugging"),
        )
    })
}

fn debug(quote: &Quote) -> Outcome {
    Outcome::of(!quote.is_debug(), || {
        Outcome::failed(
            "the enclave may be debugged: its host can read its secrets",
            format!("attributes {}", hex::encode(quote.attributes)),
            "bit 1 not set",
        )
    })
}

fn claims(quote: &Quote) -> Outcome {
    let (digest, rest) = quote.report_data.split_at_checked(32).unwrap_or((&[], &[]));
    let holds = digest == quote.claims_digest && rest.iter().all(|byte| *byte == 0);
    if !holds {
        return Outcome::failed(
            "the claims after the quote are not those that it is about",
            hex::encode(quote.report_data),
            hex::encode(quote.claims_digest),
        );
    }
    Outcome::of(quote.claimed_report_data.is_some(), || {
        Outcome::failed(
            "the claims hold no report data",
            "others",
            "a claim named sgx_report_data",
        )
    })
}

fn genuine(parsed: &Parsed, anchors: &Anchors) -> Outcome {
    let failed = |found: &str| {
        Outcome::failed(
            "the SGX collateral is not Intel's",
            found,
            "documents and lists that are signed by chains to Intel's root",
        )
    };
    if let Some(problem) = &parsed.problem {
        return failed(problem);
    }
    let roots = parsed.chains.iter().map(|chain| chain.root());
    match roots
        .into_iter()
        .all(|root| root.is_some_and(|root| anchors.sgx(&root).is_some()))
    {
        true => Outcome::Passed,
        false => failed("a chain to another root"),
    }
}

/// Whether the collateral was current when it was fetched, and is at the given time. It never is for long. When it was
/// fetched nobody says but the node.
fn current(parsed: &Parsed, time: Time) -> Outcome {
    let mut said = Vec::new();
    if let Some(created) = parsed.created_unix_s {
        let fetched = format!("when it was fetched, by the node's own word on {}", date(created));
        let expired = parsed.windows.iter().filter(|(_, window)| !window.contains(created));
        for (what, window) in expired {
            said.push(format!(
                "{fetched}, the {what} was out of date: {} to {}",
                date(window.not_before_unix_s),
                date(window.not_after_unix_s)
            ));
        }
        if said.is_empty() && time == Time::None {
            said.push(format!("current {fetched}; no other time was given"));
        }
    } else if time == Time::None {
        return Outcome::not_done("no time was given, and the collateral does not say when it was fetched");
    }
    match time.windows(parsed.windows.iter().copied()) {
        failed @ Outcome::Failed(_) => return failed,
        Outcome::Remark(remark) => said.push(remark),
        _ => {}
    }
    match said.is_empty() {
        true => Outcome::Passed,
        false => Outcome::remark(said.join("; ")),
    }
}

fn tcb_status(quote: &Quote, chain: &Chain, parsed: &Parsed) -> Outcome {
    let Some(platform) = chain.certificates.first().and_then(PckTcb::read) else {
        return Outcome::not_done("the PCK certificate does not say which TCB it is of");
    };
    let (fmspc, pce_id) = (hex::encode(&platform.fmspc), hex::encode(&platform.pce_id));
    if (&parsed.fmspc, &parsed.pce_id) != (&fmspc, &pce_id) {
        return Outcome::failed(
            "the TCB info is of other platforms",
            format!("FMSPC {}, PCE {}", parsed.fmspc, parsed.pce_id),
            format!("FMSPC {fmspc}, PCE {pce_id}"),
        );
    }
    let found = &quote.quoting_enclave;
    let (signer, product) = (hex::encode(found.mrsigner), found.product_id);
    if (&signer, product) != (&parsed.qe.mrsigner, parsed.qe.product_id) {
        return Outcome::failed(
            "the QE identity is of other quoting enclaves",
            format!("signer {}, product {}", parsed.qe.mrsigner, parsed.qe.product_id),
            format!("signer {signer}, product {product}"),
        );
    }
    let qe = &parsed.qe;
    if !(qe.misc_select.fits(&found.misc_select) && qe.attributes.fits(&found.attributes)) {
        return Outcome::failed(
            "the quoting enclave has other features than Intel's",
            format!(
                "MISCSELECT {}, attributes {}",
                hex::encode(found.misc_select),
                hex::encode(found.attributes)
            ),
            format!("MISCSELECT {}, attributes {}", qe.misc_select, qe.attributes),
        );
    }
    let Some(level) = parsed.level_of(&platform) else {
        return Outcome::failed("the platform's TCB is below every level", "no level", "UpToDate");
    };
    let Some((_, qe)) = parsed.qe_levels.iter().find(|(lowest, _)| *lowest <= found.svn) else {
        return Outcome::failed(
            "the quoting enclave's TCB is below every level",
            format!("SVN {}", found.svn),
            "UpToDate",
        );
    };
    match (level.status.as_str(), qe.as_str()) {
        ("UpToDate", "UpToDate") => Outcome::Passed,
        ("Revoked", _) | (_, "Revoked") => Outcome::failed(
            "the TCB is revoked",
            format!("platform {}, quoting enclave {qe}", level.status),
            "UpToDate",
        ),
        (platform, qe) => Outcome::remark(format!("platform {platform}, quoting enclave {qe}")),
    }
}

/// Whether a list revokes a certificate of the chain. Each is looked up in the list that its issuer in this chain made; the
/// root's own is in the root's.
fn revocation(chain: &Chain, parsed: &Parsed) -> Outcome {
    let [pck, authority, root] = &chain.certificates[..] else {
        return Outcome::not_done("there are not three certificates that can be read");
    };
    let lists = [
        (&parsed.pck_list, "PCK", authority, &[pck][..]),
        (&parsed.root_list, "root", root, &[authority, root]),
    ];
    let mut lacking = None;
    for (list, what, issuer, issued) in lists {
        let Some(list) = list.as_ref().filter(|list| is_list_of(list, issuer)) else {
            lacking.get_or_insert_with(|| format!("the {what} revocation list is not that of {}", issuer.subject()));
            continue;
        };
        if let Some(certificate) = issued.iter().find(|issued| list.revokes(issued.serial())) {
            return Outcome::failed(
                "a certificate of the PCK chain is revoked",
                format!(
                    "{} with serial number {}",
                    certificate.subject(),
                    hex::encode(certificate.serial())
                ),
                "none on the lists of the collateral",
            );
        }
    }
    lacking.map_or(Outcome::Passed, Outcome::not_done)
}

#[cfg(test)]
mod tests;
