//! Certificates of every kind of key, made here, and the rules of paths, each broken once.

use super::*;
use crate::crypto::testing::rng;
use crate::crypto::x509::issue;
use crate::crypto::{Curve, SigningKey};

fn key(seed: u64) -> SigningKey {
    SigningKey::generate(Curve::P384, &mut rng(seed))
}

/// Root, authority, leaf, leaf first, as the service issues them.
fn chain() -> Vec<AnyCertificate> {
    let (root, middle, leaf) = (key(1), key(2), key(3));
    let top = issue("CN=root", &root.verifying_key(), None, &root, true, 1000, 10, [1; 16]).unwrap();
    let authority = issue(
        "CN=middle",
        &middle.verifying_key(),
        Some(&top),
        &root,
        true,
        1000,
        10,
        [2; 16],
    )
    .unwrap();
    let end = issue(
        "CN=leaf",
        &leaf.verifying_key(),
        Some(&authority),
        &middle,
        false,
        1000,
        10,
        [3; 16],
    )
    .unwrap();
    [end, authority, top]
        .iter()
        .map(|one| AnyCertificate::from_der(one.der()).unwrap())
        .collect()
}

#[test]
fn a_certificate_says_what_it_was_issued_with() {
    let chain = chain();
    let [leaf, middle, root] = &chain[..] else { panic!() };
    assert_eq!(
        (leaf.subject().as_str(), leaf.issuer().as_str()),
        ("CN=leaf", "CN=middle")
    );
    assert_eq!(leaf.serial(), [3; 16]);
    assert_eq!(leaf.validity().not_before_unix_s, 1000);
    assert_eq!(leaf.key().unwrap().as_ec().unwrap().id(), leaf.spki_sha256());
    assert!(root.is_self_issued() && !middle.is_self_issued());
    assert!(middle.basic_constraints().unwrap().unwrap().is_ca);
    assert!(!leaf.basic_constraints().unwrap().is_some_and(|found| found.is_ca));
    assert!(leaf.extension("2.5.29.99").is_none());
    assert!(!leaf.is_for("1.3.6.1.5.5.7.3.2"));
}

#[test]
fn a_path_leads_from_the_leaf_to_what_is_trusted() {
    let chain = chain();
    let key = check_path(&chain, Rules::Basic).unwrap();
    assert_eq!(key.as_ec().unwrap().id(), chain[0].spki_sha256());
    // An authority that is not its own issuer may be what is trusted.
    check_path(&chain[..2], Rules::Basic).unwrap();
    assert!(check_path(&[], Rules::Basic).is_err());
}

fn problem(chain: &[AnyCertificate], rules: Rules) -> (usize, &'static str) {
    match check_path(chain, rules) {
        Ok(_) => panic!("the path holds"),
        Err(why) => (why.at, why.problem),
    }
}

#[test]
fn every_rule_of_a_path_is_kept() {
    let good = chain();
    let broken = |change: &dyn Fn(&mut Vec<AnyCertificate>)| {
        let mut chain = chain();
        change(&mut chain);
        problem(&chain, Rules::Basic)
    };
    // A signature by another key, and one over other bytes.
    let at = broken(&|chain| chain[0].signature[10] ^= 1);
    assert_eq!(at, (0, "is not signed by the next one"));
    let at = broken(&|chain| chain[1].signature = good[0].signature.clone());
    assert_eq!(at, (1, "is not signed by the next one"));
    let at = broken(&|chain| chain[2].signature[10] ^= 1);
    assert_eq!(at, (2, "names itself as issuer and did not sign itself"));
    // Names and key identifiers.
    let at = broken(&|chain| chain[1].subject = good[0].subject.clone());
    assert_eq!(at, (0, "names another issuer than the next one"));
    let identifier = |chain: &mut Vec<AnyCertificate>, at: usize, oid| {
        let found = chain[at].extensions.iter_mut().find(|found| found.oid == oid);
        if let Some(found) = found {
            *found.value.last_mut().unwrap() ^= 1;
        }
    };
    let at = broken(&|chain| identifier(chain, 1, SUBJECT_KEY_ID));
    assert_eq!(at, (0, "names another key of its issuer than the next one has"));
    // Authorities.
    let at = broken(&|chain| chain[1].extensions.retain(|found| found.oid != BASIC_CONSTRAINTS));
    assert_eq!(at, (1, "is no authority: it may not issue others"));
    let constrained = |content: &'static [u8]| {
        move |chain: &mut Vec<AnyCertificate>| {
            for certificate in &mut chain[1..] {
                let found = certificate
                    .extensions
                    .iter_mut()
                    .find(|found| found.oid == BASIC_CONSTRAINTS);
                found.unwrap().value = content.to_vec();
            }
        }
    };
    assert_eq!(
        broken(&constrained(&[0x30, 0])),
        (2, "is no authority: it may not issue others")
    );
    assert_eq!(
        broken(&constrained(&[0x30, 6, 1, 1, 0xff, 2, 1, 0])),
        (2, "has more authorities below it than it allows")
    );
    assert_eq!(
        broken(&constrained(&[0x30, 7, 1, 1, 0xff, 2, 1, 0])).1,
        "has unreadable basic constraints"
    );
    let extended = |oid: &'static str, is_critical, value: &'static [u8]| {
        move |chain: &mut Vec<AnyCertificate>| {
            let oid = ObjectIdentifier::new_unwrap(oid);
            chain[1].extensions.push(Extension {
                oid,
                is_critical,
                value: value.to_vec(),
            });
        }
    };
    let not_for_signing = [3, 2, 7, 0x80];
    assert_eq!(
        broken(&|chain: &mut Vec<AnyCertificate>| {
            chain[1].extensions.retain(|found| found.oid != KEY_USAGE);
            chain[1].extensions.push(Extension {
                oid: KEY_USAGE,
                is_critical: true,
                value: not_for_signing.to_vec(),
            });
        }),
        (1, "has a key that is not for signing certificates")
    );
    assert_eq!(
        broken(&extended("1.2.3", true, &[])),
        (1, "has a critical extension that is not known here")
    );
    assert_eq!(
        broken(&extended("2.5.29.30", false, &[])),
        (1, "restricts names, which is not supported")
    );
    let mut unknown = chain();
    extended("1.2.3", false, &[])(&mut unknown);
    check_path(&unknown, Rules::Basic).unwrap();
}

/// The chain with all that strict rules ask for.
fn strict_chain() -> Vec<AnyCertificate> {
    let mut chain = chain();
    let ids: Vec<Vec<u8>> = (0..3).map(|id| vec![4, 1, id]).collect();
    for (at, certificate) in chain.iter_mut().enumerate() {
        certificate
            .extensions
            .retain(|found| ![SUBJECT_KEY_ID, AUTHORITY_KEY_ID, KEY_USAGE].contains(&found.oid));
        for found in &mut certificate.extensions {
            found.is_critical |= found.oid == BASIC_CONSTRAINTS;
        }
        let mut add = |oid, value| {
            certificate.extensions.push(Extension {
                oid,
                is_critical: false,
                value,
            });
        };
        add(SUBJECT_KEY_ID, ids[at].clone());
        add(AUTHORITY_KEY_ID, vec![0x30, 3, 0x80, 1, (at as u8 + 1).min(2)]);
        add(KEY_USAGE, vec![3, 2, 2, 0x84]);
    }
    chain
}

#[test]
fn strict_rules_ask_for_what_issuers_owe() {
    check_path(&strict_chain(), Rules::Strict).unwrap();
    let broken = |change: &dyn Fn(&mut Vec<AnyCertificate>)| {
        let mut chain = strict_chain();
        change(&mut chain);
        check_path(&chain, Rules::Basic).unwrap();
        problem(&chain, Rules::Strict)
    };
    let without =
        |at: usize, oid| move |chain: &mut Vec<AnyCertificate>| chain[at].extensions.retain(|found| found.oid != oid);
    assert_eq!(
        broken(&without(0, AUTHORITY_KEY_ID)),
        (0, "has no authority key identifier")
    );
    assert_eq!(
        broken(&without(1, SUBJECT_KEY_ID)),
        (1, "is an authority without a subject key identifier")
    );
    assert_eq!(
        broken(&without(1, KEY_USAGE)),
        (1, "is an authority without a key usage")
    );
    let not_critical = |chain: &mut Vec<AnyCertificate>| {
        for found in &mut chain[1].extensions {
            found.is_critical = false;
        }
    };
    assert_eq!(
        broken(&not_critical),
        (1, "has basic constraints that are not critical")
    );
    let old = |chain: &mut Vec<AnyCertificate>| chain[0].version = 1;
    assert_eq!(broken(&old), (0, "has extensions and is not of version 3"));
}

#[test]
fn key_usage_is_read_bit_by_bit() {
    let mut leaf = chain().remove(0);
    leaf.extensions.retain(|found| found.oid != KEY_USAGE);
    assert_eq!(leaf.key_usage(0), None);
    for (value, expected) in [
        (vec![3, 2, 7, 0x80], [true, false]),
        (vec![3, 2, 2, 0x04], [false, true]),
        (vec![3, 1, 0], [false, false]),
        (vec![4, 2, 7, 0xff], [false, false]),
        (vec![], [false, false]),
    ] {
        leaf.extensions.retain(|found| found.oid != KEY_USAGE);
        leaf.extensions.push(Extension {
            oid: KEY_USAGE,
            is_critical: true,
            value,
        });
        assert_eq!([leaf.key_usage(0), leaf.key_usage(5)], expected.map(Some));
    }
}

#[test]
fn parameters_of_pss_are_read_with_and_without_the_trailer() {
    let hash = |number: u8| hex::decode(format!("300d06096086480165030402{number:02x}0500")).unwrap();
    let explicit = |tag: u8, content: &[u8]| [&[0xa0 | tag, content.len() as u8], content].concat();
    let sequence = |content: &[u8]| [&[0x30, content.len() as u8], content].concat();
    let pss = hex::decode("06092a864886f70d01010a").unwrap();
    let mgf = |number| sequence(&[&hex::decode("06092a864886f70d010108").unwrap(), &hash(number)[..]].concat());
    let identifier = |hash_number: u8, mask_number: u8, salt: u8, trailer: Option<u8>| {
        let trailer = trailer.map_or(vec![], |trailer| explicit(3, &[2, 1, trailer]));
        let parameters = [
            explicit(0, &hash(hash_number)),
            explicit(1, &mgf(mask_number)),
            explicit(2, &[2, 1, salt]),
            trailer,
        ]
        .concat();
        sequence(&[&pss[..], &sequence(&parameters)].concat())
    };
    let expected = Some(Scheme::RsaPss(HashAlgorithm::Sha384));
    assert_eq!(algorithm::scheme(&identifier(2, 2, 48, None)), expected);
    assert_eq!(algorithm::scheme(&identifier(2, 2, 48, Some(1))), expected);
    assert_eq!(
        algorithm::scheme(&identifier(1, 1, 32, None)),
        Some(Scheme::RsaPss(HashAlgorithm::Sha256))
    );
    for (hash, mask, salt, trailer) in [
        (2, 1, 48, None),
        (2, 2, 32, None),
        (2, 2, 48, Some(2)),
        (9, 9, 48, None),
    ] {
        assert_eq!(algorithm::scheme(&identifier(hash, mask, salt, trailer)), None);
    }
    assert_eq!(algorithm::scheme(&sequence(&pss)), None, "the defaults are SHA-1");
}

#[test]
fn damaged_certificates_are_refused_and_nothing_panics() {
    let good = chain().remove(0);
    for end in 0..good.der.len() {
        assert!(AnyCertificate::from_der(&good.der[..end]).is_err());
        let mut altered = good.der.clone();
        altered[end] ^= 0x55;
        if let Ok(altered) = AnyCertificate::from_der(&altered) {
            let _ = (altered.subject(), altered.is_for("1.2.3"), altered.key_usage(3));
            let _ = check_path(&[altered], Rules::Strict);
        }
    }
    assert!(AnyCertificate::from_der(&[&good.der[..], &[0]].concat()).is_err());
}

#[test]
fn pem_blocks_are_counted_even_where_they_are_damaged() {
    let chain = chain();
    let pem = |der: &[u8]| pem::encode("CERTIFICATE", der);
    let text = format!(
        "note\n{}{}-----BEGIN OTHER-----\nAAAA\n-----END OTHER-----\n-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        pem(&chain[0].der),
        pem(&chain[1].der)
    );
    let blocks = der_blocks(&text, &["CERTIFICATE"], 8);
    assert_eq!(blocks, [Some(chain[0].der.clone()), Some(chain[1].der.clone()), None]);
    assert_eq!(der_blocks(&text, &["CERTIFICATE"], 1).len(), 3);
    assert!(der_blocks("-----BEGIN CERTIFICATE-----", &["CERTIFICATE"], 8) == [None]);
    assert!(der_blocks("", &["CERTIFICATE"], 8).is_empty());
}

#[test]
fn pem_without_an_end_line_is_one_damaged_block_however_often_it_begins() {
    let begin = "-----BEGIN CERTIFICATE-----\n";
    let whole = pem::encode("CERTIFICATE", b"der");
    let text = [&whole, begin, begin].concat();
    assert_eq!(der_blocks(&text, &["CERTIFICATE"], 8), [Some(b"der".to_vec()), None]);
    // Megabytes, which would take minutes if each block were looked for to the end.
    assert_eq!(der_blocks(&begin.repeat(200_000), &["CERTIFICATE"], 8), [None]);
}
