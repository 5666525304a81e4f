//! The chip's certificates: VCEK, ASK, ARK, in this order. Attestation specification, section 3.

use std::borrow::Cow;
use std::sync::Arc;

use x509_cert::der::Decode;

use crate::attestation::product::Product;
use crate::attestation::remembered::Remembered;
use crate::crypto::x509::{AnyCertificate, PathError, Rules, check_last, check_link, der_blocks};
use crate::crypto::{AnyKey, VerifyingKey, sha256_parts};

use super::tcb::Tcb;

/// VCEK, ASK, ARK.
const CERTIFICATES: usize = 3;
/// Bytes of PEM that are read at all; real ones have 6.5 kB.
pub(super) const MAX_BYTES: usize = 64 << 10;

/// What the three certificates are called where something is said of them.
pub(super) const NAMES: [&str; CERTIFICATES] = ["the VCEK", "the ASK", "the ARK"];

/// The authorities of a product, verified.
pub(in crate::attestation) struct Issuers {
    /// The ARK's key, if it can be read.
    ark: Option<AnyKey>,
    /// Whether the ARK signed itself.
    root_self: Result<(), String>,
    /// The ASK's key, if the ARK issued it.
    ask: Result<AnyKey, PathError>,
}

/// Endorsements, read and verified as far as they go without a report, pins or a time.
pub struct Endorsements {
    /// Bytes of the PEM text. Nothing is read of more than 64 KiB.
    pub size: usize,
    /// Certificates found, whatever they are.
    pub count: usize,
    /// VCEK, ASK, ARK; a text says why one can't be read. Empty unless there are three.
    pub certificates: Vec<Result<AnyCertificate, String>>,
    /// Whether the ARK signed itself.
    pub(super) root_self: Result<(), String>,
    /// Whether the ARK issued the ASK and the ASK the VCEK.
    pub(super) chain: Result<(), String>,
    /// What AMD says of the chip in the VCEK.
    pub vcek: Option<Vcek>,
    /// The VCEK's key, if it is one on P-384.
    pub(super) key: Option<VerifyingKey>,
    issuers: Option<Arc<Issuers>>,
}

/// What a VCEK says of its chip, under 1.3.6.1.4.1.3704.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vcek {
    /// `Milan-B0`, `Genoa`, `Turin`.
    pub product_name: Option<String>,
    /// The chip's id, 64 bytes, or 8 on Turin.
    pub hwid: Option<Vec<u8>>,
    /// boot_loader, tee, snp, microcode, fmc; an error where one is there and can't be read.
    components: Result<[Option<u8>; 5], &'static str>,
}

impl Endorsements {
    /// Reads the PEM text of `nodes.info`. Issuers that were seen before are not verified again.
    pub(in crate::attestation) fn read(bytes: &[u8], issuers: &Remembered<Issuers>) -> Endorsements {
        let text = match bytes.len() {
            ..=MAX_BYTES => String::from_utf8_lossy(bytes),
            _ => Cow::Borrowed(""),
        };
        let labels = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];
        let blocks = der_blocks(&text, &labels, CERTIFICATES);
        let count = blocks.len();
        let mut found = Endorsements {
            size: bytes.len(),
            count,
            certificates: Vec::new(),
            root_self: Err("there are not three certificates".into()),
            chain: Err("there are not three certificates".into()),
            vcek: None,
            key: None,
            issuers: None,
        };
        if count != CERTIFICATES {
            return found;
        }
        let read = |block: Option<Vec<u8>>| {
            let der = block.ok_or("its PEM is damaged")?;
            AnyCertificate::from_der(&der).map_err(|why| why.to_string())
        };
        found.certificates = blocks.into_iter().map(read).collect();
        let whole: Result<Vec<&AnyCertificate>, String> = found
            .certificates
            .iter()
            .zip(NAMES)
            .map(|(read, name)| read.as_ref().map_err(|why| format!("{name} can't be read: {why}")))
            .collect();
        let mut known_issuers = None;
        let (root_self, chain) = match whole.as_deref() {
            Ok([vcek, ask, ark]) => {
                let bytes = ask.der().len() + ark.der().len();
                let known = issuers.get(sha256_parts(&[&ask.fingerprint(), &ark.fingerprint()]), bytes, || {
                    Issuers::verify(ask, ark)
                });
                let chain = known.ask.as_ref().map_err(Clone::clone);
                let chain = chain.and_then(|key| check_link(vcek, 0, ask, key, Rules::Basic));
                let chain = chain.map_err(|why| why.to_string());
                let root_self = known.root_self.clone();
                known_issuers = Some(known);
                (root_self, chain)
            }
            Ok(_) => (found.root_self.clone(), found.chain.clone()),
            Err(why) => (Err(why.clone()), Err(why.clone())),
        };
        if let Some(Ok(vcek)) = found.certificates.first() {
            found.vcek = Some(Vcek::read(vcek));
            found.key = VerifyingKey::from_spki_der(vcek.spki_der()).ok();
        }
        (found.root_self, found.chain) = (root_self, chain);
        found.issuers = known_issuers;
        found
    }

    /// The root, where it can be read.
    pub(super) fn root(&self) -> Option<&AnyCertificate> {
        self.certificates.get(2)?.as_ref().ok()
    }

    /// The root's key, where all three certificates can be read.
    pub(super) fn root_key(&self) -> Option<&AnyKey> {
        self.issuers.as_ref()?.ark.as_ref()
    }
}

impl std::fmt::Debug for Endorsements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endorsements({:?})", self.certificates)
    }
}

impl Issuers {
    fn verify(ask: &AnyCertificate, ark: &AnyCertificate) -> Issuers {
        let key = ark.key();
        let root_self = match &key {
            Ok(key) if ark.is_self_issued() => ark.is_signed_by(key).map_err(|why| why.to_string()),
            Ok(_) => Err(format!("it names {} as its issuer", ark.issuer())),
            Err(why) => Err(why.to_string()),
        };
        let unknown = |at| PathError {
            at,
            problem: "has a key of a kind that is not known here",
        };
        let issued = check_last(ark, 2, Rules::Basic)
            .and_then(|()| key.as_ref().map_err(|_| unknown(2)))
            .and_then(|key| check_link(ask, 1, ark, key, Rules::Basic))
            .and_then(|()| ask.key().map_err(|_| unknown(1)));
        Issuers {
            ark: key.ok(),
            root_self,
            ask: issued,
        }
    }
}

impl Vcek {
    fn read(certificate: &AnyCertificate) -> Vcek {
        let extension = |number: &str| certificate.extension(&format!("1.3.6.1.4.1.3704.1.{number}"));
        let component = |number: &str| match extension(number) {
            None => Ok(None),
            Some(value) => u8::from_der(value)
                .map(Some)
                .map_err(|_| "a component of the certified TCB is no number from 0 to 255"),
        };
        let components = || -> Result<[Option<u8>; 5], &'static str> {
            Ok([
                component("3.1")?,
                component("3.2")?,
                component("3.3")?,
                component("3.8")?,
                component("3.9")?,
            ])
        };
        // An IA5String: tag 22, a short length, the text.
        let name = extension("2").and_then(|value| match value {
            [22, length, text @ ..] if usize::from(*length) == text.len() => std::str::from_utf8(text).ok(),
            _ => None,
        });
        Vcek {
            product_name: name.map(str::to_owned),
            hwid: extension("4").map(<[u8]>::to_vec),
            components: components(),
        }
    }

    /// The certified TCB; `None` where a component of the product's is missing, as CCF then compares nothing.
    ///
    /// # Errors
    /// What can't be read.
    pub fn tcb(&self, product: Product) -> Result<Option<Tcb>, &'static str> {
        let [boot_loader, tee, snp, microcode, fmc] = self.components?;
        let (Some(boot_loader), Some(tee), Some(snp), Some(microcode)) = (boot_loader, tee, snp, microcode) else {
            return Ok(None);
        };
        let raw = match (product, fmc) {
            (Product::Milan | Product::Genoa, _) => [boot_loader, tee, 0, 0, 0, 0, snp, microcode],
            (Product::Turin, Some(fmc)) => [fmc, boot_loader, tee, snp, 0, 0, 0, microcode],
            (Product::Turin, None) => return Ok(None),
        };
        Ok(Some(Tcb::decode(raw, product)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vcek(components: [Option<u8>; 5]) -> Vcek {
        Vcek {
            product_name: None,
            hwid: None,
            components: Ok(components),
        }
    }

    #[test]
    fn the_certified_tcb_is_whole_or_none() {
        let all = [Some(4), Some(1), Some(24), Some(219), Some(9)];
        let milan = vcek(all).tcb(Product::Milan).unwrap().unwrap();
        assert_eq!((milan.hexstring().as_str(), milan.fmc), ("db18000000000104", None));
        let turin = vcek(all).tcb(Product::Turin).unwrap().unwrap();
        assert_eq!((turin.hexstring().as_str(), turin.fmc), ("db00000018010409", Some(9)));
        for missing in 0..4 {
            let mut components = all;
            components[missing] = None;
            assert_eq!(vcek(components).tcb(Product::Genoa), Ok(None));
        }
        assert_eq!(
            vcek([Some(4), Some(1), Some(24), Some(219), None]).tcb(Product::Turin),
            Ok(None)
        );
        let unreadable = Vcek {
            components: Err("unreadable"),
            ..vcek(all)
        };
        assert!(unreadable.tcb(Product::Milan).is_err());
    }

    #[test]
    fn other_numbers_of_certificates_are_counted_and_not_read() {
        let block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let issuers = Remembered::new();
        for count in [0, 1, 2, 4, 100] {
            let found = Endorsements::read(block.repeat(count).as_bytes(), &issuers);
            assert_eq!((found.count, found.certificates.len()), (count, 0));
        }
        let found = Endorsements::read(block.repeat(3).as_bytes(), &issuers);
        assert!(found.certificates.iter().all(Result::is_err));
        assert!(found.root_self.is_err() && found.chain.is_err() && found.key.is_none());
    }

    #[test]
    fn what_is_too_long_is_not_read() {
        let block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".repeat(3);
        let padded = |length: usize| {
            let text = block.clone() + &"\n".repeat(length - block.len());
            Endorsements::read(text.as_bytes(), &Remembered::new())
        };
        assert_eq!((padded(MAX_BYTES).count, padded(MAX_BYTES).size), (3, MAX_BYTES));
        assert_eq!(
            (padded(MAX_BYTES + 1).count, padded(MAX_BYTES + 1).size),
            (0, MAX_BYTES + 1)
        );
    }
}
