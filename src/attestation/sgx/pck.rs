//! Chains of Intel's certificates, and what the certificate of a platform says of it.

use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use x509_cert::der::{Decode, Reader, SliceReader};

use crate::crypto::x509::{AnyCertificate, Rules, check_path, der_blocks};
use crate::crypto::{AnyKey, Digest};

/// Certificates of a chain at most; real ones have two or three.
const MAX_CERTIFICATES: usize = 4;

const EXTENSION: &str = "1.2.840.113741.1.13.1";
const TCB: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2");
const PCE_SVN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2.17");
const PCE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.3");
const FMSPC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.4");

/// Certificates, leaf first, verified as a path.
#[derive(Clone, Debug)]
pub struct Chain {
    /// How many blocks were there.
    pub count: usize,
    /// Leaf first; empty where one can't be read.
    pub certificates: Vec<AnyCertificate>,
    /// Why it is no path; `None` where it is one.
    pub problem: Option<String>,
}

impl Chain {
    /// Reads the PEM text, which may end in a NUL, and checks the path.
    pub(super) fn read(pem: &[u8]) -> Chain {
        let text = String::from_utf8_lossy(pem);
        let blocks = der_blocks(&text, &["CERTIFICATE"], MAX_CERTIFICATES);
        let count = blocks.len();
        let read = |block: Option<Vec<u8>>| {
            let der = block.ok_or("its PEM is damaged, or there are more than four")?;
            AnyCertificate::from_der(&der).map_err(|why| why.to_string())
        };
        match blocks.into_iter().map(read).collect::<Result<Vec<_>, String>>() {
            Err(why) => Chain {
                count,
                certificates: Vec::new(),
                problem: Some(format!("a certificate can't be read: {why}")),
            },
            Ok(certificates) => Chain {
                count,
                problem: check_path(&certificates, Rules::Basic).err().map(|why| why.to_string()),
                certificates,
            },
        }
    }

    /// The leaf's key, if it can be read: whether to believe it is another question.
    pub(super) fn leaf_key(&self) -> Option<AnyKey> {
        self.certificates.first()?.key().ok()
    }

    /// Digest of the root's SubjectPublicKeyInfo.
    pub(super) fn root(&self) -> Option<Digest> {
        Some(self.certificates.last()?.spki_sha256())
    }
}

/// What Intel certified of a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PckTcb {
    /// SVN of each component.
    pub components: [u8; 16],
    /// SVN of the provisioning certification enclave.
    pub pce_svn: u16,
    /// Family, model, stepping, platform, custom: which TCB info is the platform's.
    pub fmspc: Vec<u8>,
    /// Which provisioning certification enclave.
    pub pce_id: Vec<u8>,
}

impl PckTcb {
    /// From the leaf's extension; `None` where it is not there or not whole.
    pub(super) fn read(leaf: &AnyCertificate) -> Option<PckTcb> {
        let mut found = (None, None, None);
        for (oid, value) in pairs(leaf.extension(EXTENSION)?)? {
            match oid {
                TCB => found.0 = Some(value),
                FMSPC => found.1 = Some(octets(value)?),
                PCE_ID => found.2 = Some(octets(value)?),
                _ => {}
            }
        }
        let (tcb, fmspc, pce_id) = (found.0?, found.1?, found.2?);
        let mut components = [None; 16];
        let mut pce_svn = None;
        for (oid, value) in pairs(tcb)? {
            if oid == PCE_SVN {
                pce_svn = Some(u16::from_der(value).ok()?);
            } else if oid.parent() == Some(TCB)
                && let Some(last) = oid.arcs().last()
                && let Some(slot) = usize::try_from(last).ok().and_then(|last| last.checked_sub(1))
                && let Some(component) = components.get_mut(slot)
            {
                *component = Some(u8::from_der(value).ok()?);
            }
        }
        let mut whole = [0; 16];
        for (to, from) in whole.iter_mut().zip(components) {
            *to = from?;
        }
        Some(PckTcb {
            components: whole,
            pce_svn: pce_svn?,
            fmspc,
            pce_id,
        })
    }
}

/// `SEQUENCE OF SEQUENCE { OBJECT IDENTIFIER, value }`: each identifier with the DER of its value.
fn pairs(der: &[u8]) -> Option<Vec<(ObjectIdentifier, &[u8])>> {
    let sequence = AnyRef::from_der(der).ok()?;
    let mut reader = SliceReader::new(sequence.value()).ok()?;
    let mut found = Vec::new();
    while !reader.is_finished() {
        let one = AnyRef::from_der(reader.tlv_bytes().ok()?).ok()?;
        let mut parts = SliceReader::new(one.value()).ok()?;
        let oid = ObjectIdentifier::decode(&mut parts).ok()?;
        found.push((oid, parts.tlv_bytes().ok()?));
    }
    Some(found)
}

fn octets(der: &[u8]) -> Option<Vec<u8>> {
    let octets: &OctetStringRef = Decode::from_der(der).ok()?;
    Some(octets.as_bytes().to_vec())
}
