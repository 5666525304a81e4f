//! Platforms, collateral and roots made here, with one thing wrong each: what no vector has.

use super::*;
use crate::attestation::anchors::TestRoot;
use crate::attestation::testing::{FROM, Issued, authority, ids, oid, p256_key, pem, revocation_list, tlv};
use crate::crypto::SigningKey;

const CREATED: &str = "2025-06-01T00:00:00Z";
/// The identity of an enclave of zeros.
const QE_FIELDS: &str = concat!(
    r#""id":"QE","isvprodid":0,"#,
    r#""mrsigner":"0000000000000000000000000000000000000000000000000000000000000000","#,
    r#""miscselect":"00000000","miscselectMask":"FFFFFFFF","#,
    r#""attributes":"00000000000000000000000000000000","attributesMask":"FBFFFFFFFFFFFFFF0000000000000000""#,
);

/// What the made collateral says and who signs it.
struct Made {
    levels: &'static str,
    qe_levels: &'static str,
    fmspc: &'static str,
    signer: SigningKey,
    revoked: Vec<u8>,
    revoked_by_root: Vec<u8>,
    /// Who issues the list of revoked platforms: a name, and the number of a key.
    list_issuer: (&'static str, u64),
    /// Fields of the two documents besides those of all, and the names they stand under.
    tcb_id: &'static str,
    qe_fields: &'static str,
    names: [&'static str; 2],
    created: &'static str,
    /// How the chains of the documents and of the lists end, below the root.
    signing_key: u64,
    signing_issuer_key: u64,
    authority_issuer_key: u64,
}

fn good() -> Made {
    Made {
        levels: "UpToDate",
        qe_levels: "UpToDate",
        fmspc: "00906EA10000",
        signer: p256_key(3),
        revoked: vec![99],
        revoked_by_root: vec![],
        list_issuer: ("CA", 2),
        tcb_id: "",
        qe_fields: QE_FIELDS,
        names: ["tcbInfo", "enclaveIdentity"],
        created: CREATED,
        signing_key: 3,
        signing_issuer_key: 1,
        authority_issuer_key: 1,
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
    fn bytes(&self) -> Vec<u8> {
        let dates = r#""issueDate":"2025-01-01T00:00:00Z","nextUpdate":"2025-12-31T00:00:00Z""#;
        let components: Vec<String> = (1..=16).map(|n| format!(r#""sgxtcbcomp{n:02}svn":5"#)).collect();
        let components = components.join(",");
        let tcb = format!(
            r#"{{{}{dates},"fmspc":"{}","pceId":"0000","tcbLevels":[{{"tcb":{{{components},"pcesvn":5}},"tcbStatus":"{}"}}]}}"#,
            self.tcb_id, self.fmspc, self.levels
        );
        let qe = format!(
            r#"{{{},{dates},"tcbLevels":[{{"tcb":{{"isvsvn":0}},"tcbStatus":"{}"}}]}}"#,
            self.qe_fields, self.qe_levels
        );
        let document = |name: &str, body: &str| {
            let signature = hex::encode(self.signer.sign_fixed(body.as_bytes()));
            format!(r#"{{"{name}":{body},"signature":"{signature}"}}"#)
        };
        let signing = certificate("signing", "root", self.signing_key, self.signing_issuer_key, 33) + &root();
        let issuing = certificate("CA", "root", 2, self.authority_issuer_key, 22) + &root();
        let (list_issuer, list_key) = self.list_issuer;
        let texts = [
            "\u{1}\0\0".to_owned(),
            document(self.names[0], &tcb),
            signing.clone(),
            pem(
                "X509 CRL",
                &revocation_list(list_issuer, &p256_key(list_key), &self.revoked),
            ),
            pem(
                "X509 CRL",
                &revocation_list("root", &p256_key(1), &self.revoked_by_root),
            ),
            issuing,
            document(self.names[1], &qe),
            signing,
            self.created.to_owned(),
        ];
        let mut offsets = Vec::new();
        let mut content = Vec::new();
        for text in texts {
            offsets.extend((content.len() as u32).to_le_bytes());
            content.extend(text.into_bytes());
            content.push(0);
        }
        let numbers = [1, 2, (36 + content.len()) as u32, 9].map(u32::to_le_bytes);
        [numbers.concat(), offsets, content].concat()
    }

    fn collateral(&self) -> Collateral {
        Collateral::read(&self.bytes())
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
        list_issuer: ("CA", 9),
        ..good()
    };
    assert!(
        genuine(&list.parsed(), &anchors())
            .text()
            .contains("PCK revocation list is not signed")
    );
}

#[test]
fn every_chain_of_the_collateral_is_whole_and_ends_in_a_root_that_is_trusted() {
    // Signed by a key that nobody but itself vouches for, below the root that is trusted.
    let documents = Made {
        signing_issuer_key: 3,
        ..good()
    };
    let outcome = genuine(&documents.parsed(), &anchors());
    assert!(
        outcome.text().contains("chain of the TCB info: certificate 1"),
        "{outcome:?}"
    );
    assert!(
        outcome.text().contains("chain of the QE identity: certificate 1"),
        "{outcome:?}"
    );
    assert!(!outcome.text().contains("not signed by its chain"), "{outcome:?}");
    let lists = Made {
        authority_issuer_key: 2,
        ..good()
    };
    let outcome = genuine(&lists.parsed(), &anchors());
    assert!(
        outcome.text().contains("chain of the revocation lists: certificate 1"),
        "{outcome:?}"
    );
    assert!(!outcome.text().contains("not signed by its chain"), "{outcome:?}");
    for at in 0..3 {
        let mut other = good().parsed();
        other.chains[at] = Chain::read(certificate("other", "other", 7, 7, 1).as_bytes());
        assert_eq!(other.chains[at].problem, None);
        assert!(genuine(&other, &anchors()).text().contains("another root"), "{at}");
        other.chains[at] = Chain::read(b"");
        assert!(genuine(&other, &anchors()).is_failed(), "{at}");
    }
}

#[test]
fn documents_are_of_sgx_and_of_the_enclave_that_made_the_quote() {
    let read = |made: Made| made.collateral().parsed.map(drop);
    assert_eq!(read(good()), Ok(()));
    let tcb_id = |tcb_id| read(Made { tcb_id, ..good() });
    assert_eq!(tcb_id(r#""id":"SGX","#), Ok(()));
    for other in [r#""id":"TDX","#, r#""id":1,"#] {
        assert!(tcb_id(other).unwrap_err().contains("not SGX's"), "{other}");
    }
    let qe_fields = |qe_fields| Made { qe_fields, ..good() };
    for other in [
        r#""id":"QVE","isvprodid":0,"mrsigner":"00""#,
        r#""id":"TD_QE","isvprodid":0,"mrsigner":"00""#,
        r#""isvprodid":0,"mrsigner":"00""#,
        r#""id":"QE","mrsigner":"00""#,
        r#""id":"QE","isvprodid":0"#,
    ] {
        assert!(read(qe_fields(other)).is_err(), "{other}");
    }
    for name in ["miscselect\"", "miscselectMask", "attributes\"", "attributesMask"] {
        let without = QE_FIELDS.replacen(name, &name.replacen(char::is_alphabetic, "x", 1), 1);
        assert!(read(qe_fields(Box::leak(without.into_boxed_str()))).is_err(), "{name}");
    }
    // Signed and of the right kind, but not of the enclave that vouches for the quote.
    let other_signer = QE_FIELDS.replacen("\"00", "\"01", 1);
    let other_product = QE_FIELDS.replace("\"isvprodid\":0", "\"isvprodid\":1");
    for other in [other_signer, other_product] {
        assert_ne!(other, QE_FIELDS);
        let parsed = qe_fields(Box::leak(other.into_boxed_str())).parsed();
        let outcome = tcb_status(&quote(), &platform(), &parsed);
        assert!(
            outcome.is_failed() && outcome.text().contains("other quoting enclaves"),
            "{outcome:?}"
        );
    }
    // Bits under the masks count, and no others.
    let with = |change: fn(&mut Quote)| {
        let mut quote = quote();
        change(&mut quote);
        tcb_status(&quote, &platform(), &good().parsed())
    };
    for change in [
        |quote: &mut Quote| quote.quoting_enclave.misc_select[3] = 1,
        |quote: &mut Quote| quote.quoting_enclave.attributes[0] = 1,
        |quote: &mut Quote| quote.quoting_enclave.attributes[7] = 0x80,
    ] {
        let outcome = with(change);
        assert!(
            outcome.is_failed() && outcome.text().contains("other features"),
            "{outcome:?}"
        );
    }
    assert_eq!(with(|quote| quote.quoting_enclave.attributes[0] = 4), Outcome::Passed);
    assert_eq!(with(|quote| quote.quoting_enclave.attributes[8] = 7), Outcome::Passed);
    for names in [
        ["body", "enclaveIdentity"],
        ["tcbInfo", "body"],
        ["enclaveIdentity", "tcbInfo"],
        ["enclaveIdentity", "enclaveIdentity"],
        ["tcbInfo", "tcbInfo"],
    ] {
        assert!(read(Made { names, ..good() }).is_err(), "{names:?}");
    }
}

#[test]
fn collateral_over_a_mebibyte_or_256_levels_is_not_read() {
    let mut bytes = good().bytes();
    bytes.resize(1 << 20, 0);
    let size = (bytes.len() - 16) as u32;
    bytes[8..12].copy_from_slice(&size.to_le_bytes());
    let why = |bytes: &[u8]| Collateral::read(bytes).parsed.map(drop).err().unwrap_or_default();
    assert!(!why(&bytes).contains("MiB"));
    bytes.push(0);
    assert!(why(&bytes).contains("longer than 1 MiB"));
    let level = r#"{"tcb":{"isvsvn":0},"tcbStatus":"OutOfDate"},"#;
    let with = |count: usize| {
        let levels = QE_FIELDS.to_owned() + r#","tcbLevels":["# + &level.repeat(count);
        let body: serde_json::Value = serde_json::from_str(&format!("{{{}]}}", levels.trim_end_matches(','))).unwrap();
        super::super::collateral::qe_levels(&body).map(|levels| levels.len())
    };
    assert_eq!(with(256), Ok(256));
    assert!(with(257).unwrap_err().contains("more than 256"));
}

#[test]
fn a_quote_is_of_version_3_and_signed_with_ecdsa_on_p256() {
    let of = |version, key_type| {
        version_of(Quote {
            version,
            key_type,
            ..quote()
        })
    };
    fn version_of(quote: Quote) -> bool {
        version(&quote) == Outcome::Passed
    }
    assert!(of(3, 2));
    for (version, key_type) in [(3, 3), (3, 0), (2, 2), (4, 2), (0, 0)] {
        assert!(!of(version, key_type), "{version} {key_type}");
    }
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
fn a_platform_is_looked_up_in_the_list_of_its_own_issuer_or_not_at_all() {
    let chain = platform();
    let without = |outcome: Outcome, what: &str| matches!(outcome, Outcome::NotDone(why) if why.contains(what));
    // The root's list in the place of the platforms'; one of that name by another key; one of another name by that key.
    for list_issuer in [("root", 1), ("CA", 9), ("other", 2)] {
        let made = Made { list_issuer, ..good() };
        assert!(without(revocation(&chain, &made.parsed()), "PCK"), "{list_issuer:?}");
        assert!(
            genuine(&made.parsed(), &anchors())
                .text()
                .contains("PCK revocation list"),
            "{list_issuer:?}"
        );
        // What can be looked up is.
        let revoked = Made {
            revoked_by_root: vec![22],
            ..made
        };
        assert!(revocation(&chain, &revoked.parsed()).text().contains("CA"));
    }
    let mut parsed = good().parsed();
    parsed.root_list = parsed.pck_list.clone();
    assert!(without(revocation(&chain, &parsed), "root"));
    parsed.root_list = None;
    assert!(without(revocation(&chain, &parsed), "root"));
    let mut parsed = good().parsed();
    parsed.pck_list = None;
    assert!(without(revocation(&chain, &parsed), "PCK"));
    assert!(without(revocation(&Chain::read(b""), &parsed), "three certificates"));
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
    let mut parsed = good().parsed();
    parsed.qe_levels[0].0 = 1;
    let outcome = tcb_status(&quote, &chain, &parsed);
    assert!(outcome.is_failed() && outcome.text().contains("quoting enclave's TCB is below every level"));
}

#[test]
fn collateral_is_current_when_it_was_fetched_and_at_the_time() {
    let parsed = good().parsed();
    let current_then = current(&parsed, Time::None);
    assert!(
        matches!(&current_then, Outcome::Remark(text) if text.contains("current when") && text.contains("by the node's own word")),
        "{current_then:?}"
    );
    assert_eq!(current(&parsed, Time::At(FROM)), Outcome::Passed);
    assert!(current(&parsed, Time::At(FROM - 1)).is_failed());
    assert!(matches!(current(&parsed, Time::Remark(FROM - 1)), Outcome::Remark(_)));
    let late = Parsed {
        created_unix_s: Some(FROM - 1),
        ..parsed
    };
    let outcome = current(&late, Time::None);
    assert!(
        outcome.text().contains("out of date") && outcome.text().contains("own word"),
        "{outcome:?}"
    );
    assert!(matches!(outcome, Outcome::Remark(_)));
    // Nothing to hold it against.
    for created in ["", "yesterday"] {
        let undated = Made { created, ..good() }.parsed();
        assert!(matches!(current(&undated, Time::None), Outcome::NotDone(_)));
        assert_eq!(current(&undated, Time::At(FROM)), Outcome::Passed);
        assert!(current(&undated, Time::At(FROM - 1)).is_failed());
    }
}
