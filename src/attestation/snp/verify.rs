//! The checks of a report and its certificates. Attestation specification, section 4.1, in its order and words, and ours.

use crate::attestation::anchors::{self, Anchors, Root};
use crate::attestation::judgement::{Check, Judgement, Outcome};
use crate::attestation::product::Product;
use crate::attestation::revocation::Lists;
use crate::attestation::time::Time;
use crate::shown::date;

use super::endorsements::{Endorsements, MAX_BYTES, NAMES};
use super::report::{NEWEST_VERSION, REPORT_BYTES, Report};
use super::tcb::{Tcb, hexstring};

/// The lowest version that says which processor it is of.
const LOWEST_VERSION: u32 = 3;
/// ECDSA on P-384 with SHA-384.
const ECDSA_P384_SHA384: u32 = 1;
const SIGNED_BY_VCEK: u32 = 0;
/// The least privileged level of a guest.
const GUEST_VMPL: u32 = 3;

/// What was found on the way.
pub(in crate::attestation) struct Looked {
    /// The report, if the bytes are one.
    pub(in crate::attestation) report: Option<Report>,
    /// By its CPUID, or for old reports by its root.
    pub(in crate::attestation) product: Option<Product>,
    /// The reported TCB, if the product is known.
    pub(in crate::attestation) tcb: Option<Tcb>,
}

/// Adds every check of section 4.1 to `judgement`, and those that CCF does not make.
pub(in crate::attestation) fn verify(
    quote: &[u8],
    endorsements: &Endorsements,
    endorsed_tcb: Option<&str>,
    anchors: &Anchors,
    lists: &Lists,
    time: Time,
    judgement: &mut Judgement,
) -> Looked {
    let Some(report) = Report::parse(quote) else {
        let text = format!(
            "Input SEV-SNP attestation report is not of expected size {REPORT_BYTES}: {}",
            quote.len()
        );
        let found = format!("{} bytes", quote.len());
        judgement.add(
            Check::Size,
            Outcome::failed(text, found, format!("{REPORT_BYTES} bytes")),
        );
        return Looked {
            report: None,
            product: None,
            tcb: None,
        };
    };
    let root = endorsements.root().map(|root| root.spki_sha256());
    let by_root = root.and_then(|root| anchors.product_of(&root));
    // Version 2 does not say; its root can, if it is one of AMD's.
    let product = report.product().or(by_root.filter(|_| report.version < LOWEST_VERSION));
    let tcb = product.map(|product| Tcb::decode(report.reported_tcb, product));
    let of = Of {
        report: &report,
        endorsements,
        product,
        tcb,
    };
    judgement.extend([
        (Check::Size, Outcome::Passed),
        (Check::Version, of.version()),
        (Check::Product, of.product()),
        (Check::Count, of.count()),
        (Check::RootKey, of.root_key(anchors)),
        (
            Check::RootSelf,
            of.certificates(
                &endorsements.root_self,
                "SEV-SNP: The root of trust public key for this attestation was not self signed as expected",
            ),
        ),
        (
            Check::Chain,
            of.certificates(
                &endorsements.chain,
                "SEV-SNP: The chain of signatures from the root of trust to this attestation is broken",
            ),
        ),
        (Check::Validity, of.validity(time)),
        (Check::SignatureAlgorithm, of.signature_algorithm()),
        (Check::Signature, of.signature()),
        (Check::SigningKey, of.signing_key()),
        (Check::MaskChipKey, of.mask_chip_key()),
        (Check::Vmpl, of.vmpl()),
        (Check::Debug, of.debug()),
        (Check::MigrateMa, of.migrate_ma()),
        (Check::Tcb, of.tcb(|certified, reported| certified <= reported)),
        (Check::ChipId, of.chip_id()),
    ]);
    if let Some(endorsed) = endorsed_tcb {
        judgement.add(Check::EndorsedTcb, of.endorsed_tcb(endorsed));
    }
    judgement.extend([
        (Check::TcbExact, of.tcb_exact()),
        (Check::CertifiedProduct, of.certified_product()),
        (Check::Revocation, of.revocation(lists, time)),
    ]);
    Looked {
        product,
        tcb,
        report: Some(report),
    }
}

struct Of<'a> {
    report: &'a Report,
    endorsements: &'a Endorsements,
    product: Option<Product>,
    tcb: Option<Tcb>,
}

impl Of<'_> {
    fn version(&self) -> Outcome {
        match self.report.version {
            found @ ..LOWEST_VERSION => Outcome::failed(
                format!("SEV-SNP: Attestation version is {found} not >= expected minimum {LOWEST_VERSION}"),
                found.to_string(),
                format!(
                    "at least {LOWEST_VERSION}: the firmware that makes older ones is known to be insecure (AMD-SB-3019)"
                ),
            ),
            LOWEST_VERSION..=NEWEST_VERSION => Outcome::Passed,
            found => Outcome::remark(format!(
                "version {found} is newer than any known here ({NEWEST_VERSION}): only what all have in common is read"
            )),
        }
    }

    fn product(&self) -> Outcome {
        let cpu = self.report.cpuid;
        match (self.report.version, self.product) {
            (..LOWEST_VERSION, Some(product)) => Outcome::not_done(format!(
                "reports of version {} do not say which processor they are of; the root is {product}'s",
                self.report.version
            )),
            (..LOWEST_VERSION, None) => Outcome::not_done(format!(
                "reports of version {} do not say which processor they are of",
                self.report.version
            )),
            (_, Some(_)) => Outcome::Passed,
            (_, None) => Outcome::failed(
                format!("SEV-SNP: Unsupported CPUID family {} model {}", cpu.family, cpu.model),
                format!("family {:#04x} model {:#04x}", cpu.family, cpu.model),
                "a processor of Milan, Genoa or Turin",
            ),
        }
    }

    fn count(&self) -> Outcome {
        let Endorsements { count, size, .. } = self.endorsements;
        Outcome::of(*count == 3, || {
            let found = match size {
                ..=MAX_BYTES => format!("{count} certificates"),
                _ => format!("{size} bytes, of which nothing was read: more than {MAX_BYTES}"),
            };
            Outcome::failed(
                format!("Expected 3 endorsement certificates but got {count}"),
                found,
                "3: VCEK, ASK, ARK",
            )
        })
    }

    fn root_key(&self, anchors: &Anchors) -> Outcome {
        let Some(product) = self.product else {
            return Outcome::not_done("the product is not known, and so nor is its root");
        };
        let Some(root) = self.endorsements.root() else {
            return match self.endorsements.certificates.get(2) {
                Some(Err(why)) => Outcome::failed(
                    "the third certificate, which should be the ARK, can't be read",
                    why,
                    "a certificate",
                ),
                _ => Outcome::not_done("there are not three certificates, of which the third would be the root"),
            };
        };
        let digest = root.spki_sha256();
        match anchors.snp(product, &digest) {
            Some(Root::Pinned) => Outcome::Passed,
            Some(Root::Made) => Outcome::remark(format!(
                "the root {} was made for tests: this proves nothing",
                hex::encode(digest)
            )),
            None => Outcome::failed(
                format!(
                    "SEV-SNP: The root of trust public key for this attestation was not the expected one for v{} {} {}",
                    self.report.version, self.report.cpuid.family, self.report.cpuid.model
                ),
                format!("key {} of {}", hex::encode(digest), root.subject()),
                format!("key {} of AMD's root for {product}", anchors::expected(Some(product))),
            ),
        }
    }

    fn certificates(&self, result: &Result<(), String>, text: &str) -> Outcome {
        match result {
            Ok(()) => Outcome::Passed,
            Err(why) if self.endorsements.certificates.is_empty() => Outcome::not_done(why),
            Err(why) => Outcome::failed(text, why, "ARK signed by itself, ASK by ARK, VCEK by ASK"),
        }
    }

    fn validity(&self, time: Time) -> Outcome {
        let certificates: Vec<_> = NAMES
            .into_iter()
            .zip(&self.endorsements.certificates)
            .filter_map(|(name, read)| Some((name, read.as_ref().ok()?)))
            .collect();
        match certificates.len() {
            3 => time.validity(certificates),
            _ => Outcome::not_done("there are not three certificates that can be read"),
        }
    }

    fn signature_algorithm(&self) -> Outcome {
        let found = self.report.signature_algorithm;
        Outcome::of(found == ECDSA_P384_SHA384, || {
            Outcome::failed(
                format!("SEV-SNP: Unsupported signature algorithm: {found} (expected: {ECDSA_P384_SHA384})"),
                found.to_string(),
                "1: ECDSA on P-384 with SHA-384",
            )
        })
    }

    fn signature(&self) -> Outcome {
        let Some(vcek) = self.endorsements.certificates.first() else {
            return Outcome::not_done("there are not three certificates, of which the first would be the VCEK");
        };
        let failed = |found: &str| {
            Outcome::failed(
                "SEV-SNP: Chip certificate (VCEK) did not sign this attestation",
                found,
                "a signature by the key of the first certificate",
            )
        };
        if let Err(why) = vcek {
            return failed(&format!("the VCEK can't be read: {why}"));
        }
        let p384 = |key: &&crate::crypto::VerifyingKey| key.curve() == crate::crypto::Curve::P384;
        let Some(key) = self.endorsements.key.as_ref().filter(p384) else {
            return failed("the first certificate has no key on P-384");
        };
        let Some(signature) = self.report.signature() else {
            return failed("a number longer than the curve's");
        };
        if key.verify_fixed(self.report.signed(), &signature).is_err() {
            return failed("a signature that does not verify");
        }
        match self.report.ends_in_zeros() {
            true => Outcome::Passed,
            false => Outcome::remark("bytes after the signature, which nothing covers, are not zero"),
        }
    }

    fn signing_key(&self) -> Outcome {
        let found = self.report.key_flags.signing_key();
        let name = match found {
            1 => "VLEK",
            7 => "none",
            _ => "unknown",
        };
        Outcome::of(found == SIGNED_BY_VCEK, || {
            Outcome::failed(
                format!("SEV-SNP: Attestation report must be signed by VCEK: {found}"),
                format!("{found} ({name})"),
                "0 (VCEK)",
            )
        })
    }

    fn mask_chip_key(&self) -> Outcome {
        Outcome::of(!self.report.key_flags.mask_chip_key(), || {
            Outcome::failed("SEV-SNP: Mask chip key must not be set", "set", "not set")
        })
    }

    fn vmpl(&self) -> Outcome {
        let found = self.report.vmpl;
        Outcome::of(found <= GUEST_VMPL, || {
            Outcome::failed(
                format!("SEV-SNP: This report seems to be host generated (VMPL {found} > {GUEST_VMPL})"),
                found.to_string(),
                "0 to 3",
            )
        })
    }

    fn debug(&self) -> Outcome {
        Outcome::of(!self.report.policy.debug(), || {
            Outcome::failed(
                "SEV-SNP: SNP attestation report guest policy debugging must not be enabled",
                format!("guest policy {:#x}", self.report.policy.0),
                "bit 19 not set",
            )
        })
    }

    fn migrate_ma(&self) -> Outcome {
        Outcome::of(!self.report.policy.migrate_ma(), || {
            Outcome::failed(
                "SEV-SNP: SNP attestation report guest policy migration must not be enabled",
                format!("guest policy {:#x}", self.report.policy.0),
                "bit 18 not set",
            )
        })
    }

    /// Compares every component of the certified TCB with the reported one.
    fn tcb(&self, holds: impl Fn(u8, u8) -> bool) -> Outcome {
        let (Some(product), Some(reported)) = (self.product, self.tcb) else {
            return Outcome::not_done("the product is not known, and so nor is the layout of its TCB");
        };
        let Some(vcek) = &self.endorsements.vcek else {
            return Outcome::not_done("there is no VCEK that can be read");
        };
        match vcek.tcb(product) {
            Ok(Some(certified)) => {
                let pairs = certified.components().into_iter().zip(reported.components());
                let all = pairs
                    .into_iter()
                    .all(|((_, certified), (_, reported))| match (certified, reported) {
                        (Some(certified), Some(reported)) => holds(certified, reported),
                        (None, None) => true,
                        _ => false,
                    });
                Outcome::of(all, || {
                    Outcome::failed(
                        format!(
                            "SEV-SNP: Reported TCB {reported} does not meet or exceed the endorsed TCB {certified}"
                        ),
                        reported.hexstring(),
                        certified.hexstring(),
                    )
                })
            }
            Ok(None) => Outcome::remark("the VCEK does not say which TCB it is of: nothing to compare"),
            Err(why) => Outcome::failed("SEV-SNP: the endorsed TCB can't be read", why, "numbers from 0 to 255"),
        }
    }

    /// The chip's key is derived from its TCB, so hardware gives equality. More than certified, which CCF accepts, is said.
    fn tcb_exact(&self) -> Outcome {
        if let (Some(product), Some(vcek)) = (self.product, &self.endorsements.vcek)
            && vcek.tcb(product).is_err()
        {
            return Outcome::not_done("the certified TCB can't be read");
        }
        match self.tcb(|certified, reported| certified == reported) {
            Outcome::Failed(failure) => Outcome::remark(format!(
                "the reported TCB {} is not the certified one {}: no chip makes such a report",
                failure.found, failure.expected
            )),
            other => other,
        }
    }

    fn chip_id(&self) -> Outcome {
        let Some(vcek) = &self.endorsements.vcek else {
            return Outcome::not_done("there is no VCEK that can be read");
        };
        let Some(hwid) = &vcek.hwid else {
            return Outcome::remark("the VCEK does not say which chip it is of: nothing to compare");
        };
        let found = &self.report.chip_id;
        let short = self.product == Some(Product::Turin) && hwid.len() == 8;
        let same = match short {
            true => found.starts_with(hwid) && found.iter().skip(8).all(|byte| *byte == 0),
            false => hwid[..] == found[..],
        };
        Outcome::of(same, || {
            Outcome::failed(
                format!(
                    "SEV-SNP: Chip ID in attestation does not match endorsed chip ID: {} != {}",
                    hex::encode(found),
                    hex::encode(hwid)
                ),
                hex::encode(found),
                hex::encode(hwid),
            )
        })
    }

    /// Old versions wrote the bytes as they stand in memory, newer ones read them as a number: either will do.
    fn endorsed_tcb(&self, endorsed: &str) -> Outcome {
        let raw = self.report.reported_tcb;
        let same = [hex::encode(raw), hexstring(raw)]
            .iter()
            .any(|form| form.eq_ignore_ascii_case(endorsed));
        Outcome::of(same, || {
            Outcome::failed(
                format!(
                    "SEV-SNP: endorsed TCB {endorsed} does not match reported TCB {}",
                    hexstring(raw)
                ),
                endorsed,
                hexstring(raw),
            )
        })
    }

    fn certified_product(&self) -> Outcome {
        let Some(product) = self.product else {
            return Outcome::not_done("the product is not known");
        };
        match self.endorsements.vcek.as_ref().map(|vcek| &vcek.product_name) {
            None => Outcome::not_done("there is no VCEK that can be read"),
            Some(None) => Outcome::remark("the VCEK does not name a product"),
            Some(Some(name)) => Outcome::of(Product::named(name) == Some(product), || {
                Outcome::failed("the VCEK is of another product than the report", name, product.as_str())
            }),
        }
    }

    /// AMD's lists are signed by the ARK and name what the ARK signed; VCEKs all have the serial number 0.
    fn revocation(&self, lists: &Lists, time: Time) -> Outcome {
        let [_, Ok(ask), Ok(ark)] = &self.endorsements.certificates[..] else {
            return Outcome::not_done("there are not three certificates that can be read");
        };
        if lists.is_empty() {
            return Outcome::not_done("no revocation list was given");
        }
        let Some(key) = self.endorsements.root_key() else {
            return Outcome::not_done("the ARK has no key that can be read");
        };
        let of_root = lists.of_root(ark.subject_der(), ark.spki_der(), |list| list.is_signed_by(key).is_ok());
        if of_root.is_empty() {
            return Outcome::not_done("none of the revocation lists is signed by this root");
        }
        let mut newest = 0;
        for list in of_root {
            for (name, certificate) in [("the ASK", ask), ("the ARK", ark)] {
                if list.revokes(certificate.serial()) {
                    let found = format!(
                        "{name} with serial number {} is on the list of {}",
                        hex::encode(certificate.serial()),
                        date(list.this_update_unix_s())
                    );
                    return Outcome::failed("a certificate of the chain is revoked", found, "none on the list");
                }
            }
            newest = newest.max(list.next_update_unix_s().unwrap_or(u64::MAX));
        }
        match time {
            Time::At(instant) | Time::Remark(instant) if instant > newest => Outcome::remark(format!(
                "not on the list, which should have been replaced on {}",
                date(newest)
            )),
            _ => Outcome::Passed,
        }
    }
}

#[cfg(test)]
mod tests;
