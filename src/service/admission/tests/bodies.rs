//! Requests that nobody should send: odd, ambiguous, large, or about another key.

use super::*;

#[test]
fn a_certificate_request_must_be_the_clients_and_signed_by_it() {
    let mut place = Place::new(ServiceStatus::Recovering);
    let foreign = Joiner::new(2, 1002).request["certificate_signing_request"].clone();
    let told = Joiner::new(1, 1001)
        .with("certificate_signing_request", foreign)
        .asks(&mut place);
    assert_eq!(told.error(), (400, "CSRPublicKeyInvalid"));
    assert_eq!(told.message(), "Public key in CSR does not match TLS client identity.");
    // Signed by somebody else: the last byte of the signature is another.
    let own = Joiner::new(1, 1001).request["certificate_signing_request"].clone();
    let pem = own.as_str().unwrap();
    let begin = pem.find('\n').unwrap() + 1;
    let digits: String = pem[begin..pem.rfind("-----END").unwrap()].lines().collect();
    let mut der = STANDARD.decode(digits).unwrap();
    *der.last_mut().unwrap() ^= 1;
    let forged = format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        STANDARD.encode(der)
    );
    for bad in [json!(forged), json!(""), json!("x"), json!(encryption_key())] {
        let told = Joiner::new(1, 1001)
            .with("certificate_signing_request", bad.clone())
            .asks(&mut place);
        assert_eq!(told.error(), (400, "CSRPublicKeyInvalid"), "{bad}");
    }
    // What else stands in the text is not written.
    let noisy = json!(format!("note to the reader\n{pem}{pem}"));
    let joiner = Joiner::new(1, 1001).with("certificate_signing_request", noisy);
    assert!(joiner.asks(&mut place).is_trusted());
    assert_eq!(place.node(&joiner.id())["certificate_signing_request"], own);
}

#[test]
fn a_key_for_secrets_is_rsa_of_at_least_2048_bits() {
    let mut place = Place::new(ServiceStatus::Open);
    let small = "-----BEGIN PUBLIC KEY-----\n\
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC7rK1vdDgX1uTNX1oQwDvY8m+Y\n\
        -----END PUBLIC KEY-----\n";
    for bad in [
        small.to_owned(),
        String::new(),
        key(1).verifying_key().spki_pem(),
        small_rsa_key(),
    ] {
        let told = Joiner::new(1, 1001)
            .with("public_encryption_key", json!(bad))
            .asks(&mut place);
        assert_eq!(told.error(), (400, "InvalidInput"), "{bad}");
        assert!(told.message().contains("public_encryption_key"), "{}", told.message());
    }
    let noisy = json!(format!("x\n{}\n{}", encryption_key(), small_rsa_key()));
    let joiner = Joiner::new(1, 1001).with("public_encryption_key", noisy);
    assert_eq!(joiner.asks(&mut place).status, 200);
    assert_eq!(place.node(&joiner.id())["encryption_pub_key"], json!(encryption_key()));
}

/// A sound key of 1024 bits.
fn small_rsa_key() -> String {
    use ::rsa::pkcs8::{EncodePublicKey, LineEnding};
    static KEY: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let key = ::rsa::RsaPrivateKey::new(&mut rng(4), 1024).unwrap();
        key.to_public_key().to_public_key_pem(LineEnding::LF).unwrap()
    });
    KEY.clone()
}

#[test]
fn odd_bodies_are_refused_in_words() {
    let good = Joiner::new(1, 1001);
    for name in [
        "node_info_network",
        "quote_info",
        "public_encryption_key",
        "startup_seqno",
    ] {
        for value in [None, Some(Value::Null), Some(json!([1])), Some(json!(-1.5))] {
            let mut request = good.request.clone();
            match &value {
                Some(value) => request[name] = value.clone(),
                None => drop(request.as_object_mut().unwrap().remove(name)),
            }
            let told = Place::new(ServiceStatus::Open).ask(&request, Some(&good.client));
            assert_eq!(told.error(), (400, "InvalidInput"), "{name} {value:?}");
            assert!(told.message().contains(name), "{}", told.message());
        }
    }
    for body in [&b""[..], b"x", b"{", b"[]", b"7", b"\xff", b"{\"a\":1}x"] {
        let told = Place::new(ServiceStatus::Open).ask_bytes(body, Some(&good.client));
        assert_eq!(told.error(), (400, "InvalidInput"), "{body:?}");
    }
    let told = Place::new(ServiceStatus::Open).ask_bytes(b"[1, 2]", Some(&good.client));
    assert_eq!(told.message(), "At #/: Expected object, found: [1,2]");
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let told = Place::new(ServiceStatus::Open).ask_bytes(deep.as_bytes(), Some(&good.client));
    assert_eq!(told.error(), (400, "InvalidInput"));
    assert!(told.message().len() < 8 << 10, "an answer repeats no more than a page");
}

#[test]
fn a_name_that_occurs_twice_is_refused_where_it_matters() {
    let good = Joiner::new(1, 1001).request;
    let text = good.to_string();
    let quote = good["quote_info"].to_string();
    let other = virtual_quote(&key(9).verifying_key(), "other", "other").to_string();
    let network = good["node_info_network"].to_string();
    for twice in [
        text.replacen('{', &format!("{{\"quote_info\":{other},"), 1),
        text.replacen('{', "{\"startup_seqno\":7,", 1),
        text.replace(&quote, &quote.replacen('{', "{\"format\":\"OE_SGX_v1\",", 1)),
        text.replace(&quote, &quote.replacen('{', "{\"quote\":\"AAAA\",", 1)),
        text.replace(&network, &network.replacen('{', "{\"rpc_interfaces\":{},", 1)),
    ] {
        let mut place = Place::new(ServiceStatus::Open);
        let told = place.ask_bytes(twice.as_bytes(), Some(&Joiner::new(1, 1001).client));
        assert_eq!(told.error(), (400, "InvalidInput"), "{twice}");
    }
}

#[test]
fn nothing_of_hostile_size_gets_into_the_ledger() {
    let long = |bytes: usize| json!("A".repeat(bytes));
    let padded = |text: &str| json!(format!("{}{text}", " ".repeat(40 << 10)));
    for (name, value) in [
        ("node_data", long(65 << 10)),
        ("node_data", json!({"a": [long(65 << 10)]})),
        ("certificate_signing_request", padded("x")),
        ("public_encryption_key", padded(&encryption_key())),
        ("quote_info", json!({"format": "x", "quote": long(65 << 10)})),
        ("quote_info", json!({"format": "x", "endorsements": long(129 << 10)})),
        (
            "quote_info",
            json!({"format": "x", "uvm_endorsements": long(129 << 10)}),
        ),
        ("quote_info", json!({"format": "A".repeat(33)})),
        (
            "quote_info",
            json!({"format": "AMD_SEV_SNP_v1", "endorsed_tcb": "A".repeat(33)}),
        ),
    ] {
        let told = Joiner::new(1, 1001)
            .with(name, value)
            .asks(&mut Place::new(ServiceStatus::Open));
        assert_eq!(told.error(), (400, "InvalidInput"), "{name}");
        assert!(told.message().contains(name), "{}", told.message());
    }
    // A megabyte of anything, also of what nobody reads.
    let told = Joiner::new(1, 1001)
        .with("anything", long(1 << 20))
        .asks(&mut Place::new(ServiceStatus::Open));
    assert_eq!(told.error(), (400, "InvalidInput"));
    let told = Joiner::new(1, 1001)
        .with("node_data", long(1 << 20))
        .asks(&mut Place::new(ServiceStatus::Open));
    assert_eq!(told.error(), (400, "InvalidInput"));
    // What could not be read back.
    let text = Joiner::new(1, 1001).request.to_string();
    for odd in [
        "\"\\ud800\"".to_owned(),
        format!("{}1{}", "[".repeat(200), "]".repeat(200)),
    ] {
        let body = text.replacen('{', &format!("{{\"node_data\":{odd},"), 1);
        let told = Place::new(ServiceStatus::Open).ask_bytes(body.as_bytes(), Some(&Joiner::new(1, 1001).client));
        assert_eq!(told.error(), (400, "InvalidInput"), "{odd}");
    }
    // What is not known is left out.
    let mut place = Place::new(ServiceStatus::Open);
    let joiner = Joiner::new(1, 1001)
        .with("anything", long(1 << 10))
        .with("node_data", json!({"rack": 7}));
    assert_eq!(joiner.asks(&mut place).status, 200);
    let info = place.node(&joiner.id());
    assert_eq!((info.get("anything"), &info["node_data"]), (None, &json!({"rack": 7})));
}

#[test]
fn a_node_that_nobody_could_reach_does_not_get_into_the_ledger() {
    for address in ["", "host", "host:0", "host:99999"] {
        let mut joiner = Joiner::new(1, 1001);
        joiner.request["node_info_network"]["node_to_node_interface"] = json!({"bind_address": address});
        let mut place = Place::new(ServiceStatus::Recovering);
        let told = joiner.asks(&mut place);
        assert_eq!(told.error(), (400, "InvalidInput"), "{address}");
        assert!(told.message().contains("host:port"), "{}", told.message());
        assert_eq!(place.row(names::NODES_INFO, &joiner.id()), None);
    }
}
