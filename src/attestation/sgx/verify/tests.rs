//! Platforms, collateral and roots made here, with one thing wrong each: what no vector has.

use super::*;
use crate::attestation::anchors::TestRoot;
use crate::attestation::testing::{FROM, Issued, authority, ids, oid, p256_key, pem, revocation_list, tlv};
use crate::crypto::SigningKey;

const CREATED: &str = "2025-06-01T00:00:00Z";

/// What the made collateral says and who signs it.
struct Made {
    levels: &'static str,
    qe_levels: &'static str,
    fmspc: &'static str,
    signer: SigningKey,
    list_signer: SigningKey,
    revoked: Vec<u8>,
    revoked_by_root: Vec<u8>,
}

fn good() -> Made {
    Made {
        levels: "UpToDate",
        qe_levels: "UpToDate",
        fmspc: "00906EA10000",
        signer: p256_key(3),
        list_signer: p256_key(2),
        revoked: vec![99],
        revoked_by_root: vec![],
    }
}

fn certificate(subject: &str, issuer: &str, key: u64, signer: u64, serial: u8) -> String {
    let mut extensions = authority(key as u8, signer as u8);
    if subject == "PCK" {
        extensions = ids(key as u8, signer as u8);
        let octets = |number: &str, content: &[u8]| tlv(0x30, &[&oid(number), &tlv(4, &[content])]);
        let component = |last: u8, value: u8| {
            let number = format!("1.2.840.113741.1.13.1.2.{last}");
            tlv(0x30, &[&oid(&number), &[2, 1, value]])
        };
        let components: Vec<u8> = (1..=17).flat_map(|last| component(last, 5)).collect();
        let tcb = tlv(0x30, &[&oid("1.2.840.113741.1.13.1.2"), &tlv(0x30, &[&components])]);
        let fmspc = octets("1.2.840.113741.1.13.1.4", &[0, 0x90, 0x6e, 0xa1, 0, 0]);
        let content = tlv(0x30, &[&tcb, &octets("1.2.840.113741.1.13.1.3", &[0, 0]), &fmspc]);
        extensions.push(("1.2.840.113741.1.13.1", false, content));
    }
    let issued = Issued {
        subject,
        issuer,
        key: &p256_key(key),
        signer: &p256_key(signer),
        serial,
        extensions,
    };
    pem("CERTIFICATE", &issued.der())
}

fn root() -> String {
    certificate("root", "root", 1, 1, 1)
}

fn platform() -> Chain {
    let pck = certificate("PCK", "CA", 4, 2, 44);
    let chain = [pck, certificate("CA", "root", 2, 1, 22), root()].concat();
    Chain::read(chain.as_bytes())
}

impl Made {
    fn collateral(&self) -> Collateral {
        let dates = r#""issueDate":"2025-01-01T00:00:00Z","nextUpdate":"2025-12-31T00:00:00Z""#;
        let components: Vec<String> = (1..=16).map(|n| format!(r#""sgxtcbcomp{n:02}svn":5"#)).collect();
        let components = components.join(",");
        let tcb = format!(
            r#"{{{dates},"fmspc":"{}","pceId":"0000","tcbLevels":[{{"tcb":{{{components},"pcesvn":5}},"tcbStatus":"{}"}}]}}"#,
            self.fmspc, self.levels
        );
        let qe = format!(
            r#"{{{dates},"tcbLevels":[{{"tcb":{{"isvsvn":0}},"tcbStatus":"{}"}}]}}"#,
            self.qe_levels
        );
        let document = |name: &str, body: &str| {
            let signature = hex::encode(self.signer.sign_fixed(body.as_bytes()));
            format!(r#"{{"{name}":{body},"signature":"{signature}"}}"#)
        };
        let signing = [certificate("signing", "root", 3, 1, 33), root()].concat();
        let issuing = [certificate("CA", "root", 2, 1, 22), root()].concat();
        let texts = [
            "\u{1}\0\0".to_owned(),
            document("tcbInfo", &tcb),
            signing.clone(),
            pem("X509 CRL", &revocation_list("CA", &self.list_signer, &self.revoked)),
            pem(
                "X509 CRL",
                &revocation_list("root", &p256_key(1), &self.revoked_by_root),
            ),
            issuing,
            document("enclaveIdentity", &qe),
            signing,
            CREATED.to_owned(),
        ];
        let mut offsets = Vec::new();
        let mut content = Vec::new();
        for text in texts {
            offsets.extend((content.len() as u32).to_le_bytes());
            content.extend(text.into_bytes());
            content.push(0);
        }
        let numbers = [1, 2, (36 + content.len()) as u32, 9].map(u32::to_le_bytes);
        Collateral::read(&[numbers.concat(), offsets, content].concat())
    }

    fn parsed(&self) -> Parsed {
        self.collateral().parsed.unwrap()
    }
}

/// Intel's root and the made one.
fn anchors() -> Anchors {
    let spki_sha256 = platform().root().unwrap();
    Anchors::built_in().and_for_tests(TestRoot {
        product: None,
        spki_sha256,
    })
}

/// A quote of zeros with nothing in it.
fn quote() -> Quote {
    let mut section = vec![0; 64 + 64 + 384 + 64 + 2];
    section.extend([5, 0, 0, 0, 0, 0]);
    let length = (section.len() as u32).to_le_bytes();
    Quote::parse(&[&[0; 432][..], &length, &section].concat()).unwrap()
}

#[test]
fn collateral_is_genuine_under_a_root_that_is_trusted_and_signed_throughout() {
    assert_eq!(genuine(&good().parsed(), &anchors()), Outcome::Passed);
    assert!(
        genuine(&good().parsed(), &Anchors::built_in())
            .text()
            .contains("another root")
    );
    let unsigned = Made {
        signer: p256_key(9),
        ..good()
    };
    assert!(
        genuine(&unsigned.parsed(), &anchors())
            .text()
            .contains("TCB info is not signed")
    );
    let list = Made {
        list_signer: p256_key(9),
        ..good()
    };
    assert!(
        genuine(&list.parsed(), &anchors())
            .text()
            .contains("PCK revocation list is not signed")
    );
    let mut cut = good().parsed();
    cut.chains[0] = Chain::read(b"");
    assert!(genuine(&cut, &anchors()).is_failed());
}

#[test]
fn a_revoked_platform_or_authority_fails() {
    let chain = platform();
    assert_eq!(chain.problem, None);
    assert_eq!(revocation(&chain, &good().parsed()), Outcome::Passed);
    let platform = Made {
        revoked: vec![1, 44],
        ..good()
    };
    assert!(revocation(&chain, &platform.parsed()).text().contains("PCK"));
    let authority = Made {
        revoked_by_root: vec![22],
        ..good()
    };
    assert!(revocation(&chain, &authority.parsed()).text().contains("CA"));
    // The same number, of another issuer's certificate.
    let other = Made {
        revoked_by_root: vec![44],
        ..good()
    };
    assert_eq!(revocation(&chain, &other.parsed()), Outcome::Passed);
}

#[test]
fn the_status_is_that_of_the_first_level_that_the_platform_reaches() {
    let (quote, chain) = (quote(), platform());
    let of = |made: &Made| tcb_status(&quote, &chain, &made.parsed());
    assert_eq!(of(&good()), Outcome::Passed);
    for (levels, qe_levels, fails) in [
        ("OutOfDate", "UpToDate", false),
        ("UpToDate", "OutOfDate", false),
        ("Revoked", "UpToDate", true),
        ("UpToDate", "Revoked", true),
    ] {
        let outcome = of(&Made {
            levels,
            qe_levels,
            ..good()
        });
        assert_eq!(outcome.is_failed(), fails, "{outcome:?}");
        assert_ne!(outcome, Outcome::Passed);
    }
    let other = Made {
        fmspc: "00906EA10001",
        ..good()
    };
    assert!(of(&other).text().contains("other platforms"));
    let mut parsed = good().parsed();
    parsed.levels[0].components[15] = 6;
    assert!(tcb_status(&quote, &chain, &parsed).text().contains("below every level"));
    parsed.levels[0].components[15] = 5;
    parsed.levels[0].pce_svn = 6;
    assert!(tcb_status(&quote, &chain, &parsed).text().contains("below every level"));
}

#[test]
fn collateral_is_current_when_it_was_fetched_and_at_the_time() {
    let parsed = good().parsed();
    assert_eq!(current(&parsed, Time::None), Outcome::Passed);
    assert_eq!(current(&parsed, Time::At(FROM)), Outcome::Passed);
    assert!(current(&parsed, Time::At(FROM - 1)).is_failed());
    assert!(matches!(current(&parsed, Time::Remark(FROM - 1)), Outcome::Remark(_)));
    let late = Parsed {
        created_unix_s: Some(FROM - 1),
        ..parsed
    };
    assert!(matches!(current(&late, Time::None), Outcome::Remark(_)));
}
