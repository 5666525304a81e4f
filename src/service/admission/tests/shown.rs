//! What a node shows: held against its key, the maker's root, the store and what this node stands on.

use super::*;
use crate::service::own_policy::OwnPolicy;

/// A service on SEV-SNP, whose policy is what this machine is.
fn hardware(machine: &Machine) -> Place {
    let mut place = Place::new(ServiceStatus::Recovering);
    place.platform = Platform::Snp;
    let evidence = machine.evidence(&key(50).verifying_key());
    let writes = place.store.transact::<()>(|transaction| {
        OwnPolicy::of(transaction, &evidence).put(transaction);
        Ok(())
    });
    place.apply(&writes.unwrap());
    place
}

/// `quote_info` of a machine about a key.
fn shown_by(machine: &Machine, about: &VerifyingKey) -> Value {
    machine.evidence(about).info()
}

#[test]
fn a_quote_about_another_node_is_no_use() {
    let mut place = Place::new(ServiceStatus::Recovering);
    let other = Joiner::new(2, 1002);
    let told = Joiner::new(1, 1001)
        .with("quote_info", other.request["quote_info"].clone())
        .asks(&mut place);
    assert_eq!(told.error(), (401, "InvalidQuote"));
    assert_eq!(
        told.message(),
        "Quote report data does not contain node's public key hash"
    );
    let machine = Machine::default();
    let mut place = hardware(&machine);
    let replayed = shown_by(&machine, &key(2).verifying_key());
    let told = Joiner::new(1, 1001).with("quote_info", replayed).asks(&mut place);
    assert_eq!(
        told.message(),
        "Quote report data does not contain node's public key hash"
    );
}

#[test]
fn hardware_that_holds_lets_in_and_what_is_forged_does_not() {
    let machine = Machine::default();
    let own = key(1).verifying_key();
    let mut place = hardware(&machine);
    let good = shown_by(&machine, &own);
    let told = Joiner::new(1, 1001).with("quote_info", good.clone()).asks(&mut place);
    assert!(told.is_trusted(), "{}", told.json);
    let id = Joiner::new(1, 1001).id();
    assert_eq!(place.node(&id)["code_digest"], hex::encode(machine.measurement));
    assert_eq!(place.node(&id)["quote_info"], good);

    let report = STANDARD.decode(good["quote"].as_str().unwrap()).unwrap();
    // Any byte of what is signed, and of the signature.
    for at in [0x00, 0x08, 0x50, 0x90, 0xc0, 0x180, 0x1a0, 0x29f, 0x2a0, 0x2e8] {
        let mut forged = good.clone();
        let mut bytes = report.clone();
        bytes[at] ^= 1;
        forged["quote"] = json!(STANDARD.encode(bytes));
        let told = Joiner::new(1, 1002).with("quote_info", forged);
        let told = told.asks(&mut hardware(&machine));
        assert_eq!(told.error(), (401, "InvalidQuote"), "byte {at:#x}");
    }
    for (name, value) in [
        ("endorsements", json!("")),
        ("quote", json!("")),
        ("format", json!("Other")),
    ] {
        let mut forged = good.clone();
        forged[name] = value;
        let told = Joiner::new(1, 1002)
            .with("quote_info", forged)
            .asks(&mut hardware(&machine));
        assert_eq!(told.message(), "Quote could not be verified", "{name}");
    }
    // A root that nobody named.
    let mut place = hardware(&machine);
    place.verifier = Verifier::new(crate::attestation::Anchors::built_in());
    let told = Joiner::new(1, 1001).with("quote_info", good.clone()).asks(&mut place);
    assert_eq!(told.message(), "Quote could not be verified");
    // What it is, it has to be now.
    let expired = Judge {
        verifier: &Verifier::new(Machine::anchors()),
        platform: Platform::Snp,
        now_s: NOW_S + 100 * 366 * 86_400,
    };
    let place = hardware(&machine);
    let request = Joiner::new(1, 1001).with("quote_info", good).request.to_string();
    let evidence = JoinRequest::parse(request.as_bytes()).unwrap().evidence;
    let judged = expired.measurement(&place.transaction(), &evidence, own.spki_der());
    assert_eq!(judged, Err(Refusal::Evidence(Doubt::Unverified)));
}

#[test]
fn hardware_must_be_what_members_have_agreed_to() {
    let own = key(1).verifying_key();
    let agreed = Machine::default();
    let ask = |machine: &Machine, place: &mut Place| {
        let told = Joiner::new(1, 1001)
            .with("quote_info", shown_by(machine, &own))
            .asks(place);
        (told.status, told.message().to_owned())
    };
    let refused = |text: &str| (401, text.to_owned());
    let host_data = Machine {
        host_data: [1; 32],
        ..agreed.clone()
    };
    let measurement = Machine {
        measurement: [1; 48],
        ..agreed.clone()
    };
    let firmware = Machine {
        tcb: [4, 0, 0, 0, 0, 0, 23, 119],
        ..agreed.clone()
    };
    let endorsed = Machine {
        uvm: Some(("feed", 7)),
        ..agreed.clone()
    };
    let older = Machine {
        uvm: Some(("feed", 6)),
        ..agreed.clone()
    };
    assert_eq!(
        ask(&host_data, &mut hardware(&agreed)),
        refused("Quote host data is not authorised")
    );
    assert_eq!(
        ask(&measurement, &mut hardware(&agreed)),
        refused("Quote does not contain known enclave measurement")
    );
    assert_eq!(
        ask(&firmware, &mut hardware(&agreed)),
        refused("Quote could not be verified")
    );
    assert_eq!(ask(&endorsed, &mut hardware(&endorsed)).0, 200);
    assert_eq!(
        ask(&older, &mut hardware(&endorsed)),
        refused("UVM endorsements are not authorised")
    );
    assert_eq!(
        ask(&endorsed, &mut hardware(&agreed)),
        refused("UVM endorsements are not authorised")
    );
    // A policy that can't be read lets nobody in.
    for (table, key) in [
        (names::NODES_SNP_TCB_VERSIONS, "00a00f11"),
        (names::NODES_SNP_HOST_DATA, &hex::encode(agreed.host_data)),
    ] {
        let mut place = hardware(&agreed);
        assert_eq!(ask(&agreed, &mut place).0, 200);
        let mut place = hardware(&agreed);
        place.write(&[(table, key, json!(7))]);
        assert_eq!(ask(&agreed, &mut place).0, 401, "{table}");
    }
    let mut place = hardware(&agreed);
    place.write(&[(names::NODES_SNP_TCB_VERSIONS, "00A00F11", json!(7))]);
    assert_eq!(
        ask(&agreed, &mut place).0,
        401,
        "the other row does not stand for this one"
    );
}

#[test]
fn nobody_is_let_in_without_hardware_where_this_node_has_some_nor_on_sgx() {
    for platform in [Platform::Snp, Platform::Sgx, Platform::None] {
        let mut place = Place::new(ServiceStatus::Recovering);
        place.platform = platform;
        let told = Joiner::new(1, 1001).asks(&mut place);
        assert_eq!((told.status, told.message()), (401, "Quote could not be verified"));
    }
    let mut place = Place::new(ServiceStatus::Recovering);
    for (format, quote) in [
        ("OE_SGX_v1", "AAAA"),
        ("Insecure_Virtual", ""),
        ("Insecure_Virtual", "e30="),
    ] {
        let info = json!({"format": format, "quote": quote, "endorsements": ""});
        let told = Joiner::new(1, 1001).with("quote_info", info).asks(&mut place);
        assert_eq!(told.error(), (401, "InvalidQuote"), "{format} {quote}");
    }
    // Hardware is welcome where there is none.
    let machine = Machine::default();
    let mut place = hardware(&machine);
    place.platform = Platform::Virtual;
    let info = shown_by(&machine, &key(1).verifying_key());
    assert!(
        Joiner::new(1, 1001)
            .with("quote_info", info)
            .asks(&mut place)
            .is_trusted()
    );
}

#[test]
fn a_measurement_is_known_where_it_is_marked_as_allowed() {
    for value in [json!("AllowedToJoin"), json!("NotAllowed"), json!(1), Value::Null] {
        let is_allowed = value == "AllowedToJoin";
        let mut place = Place::new(ServiceStatus::Recovering);
        place.write(&[(names::NODES_VIRTUAL_MEASUREMENTS, VIRTUAL_MEASUREMENT, value.clone())]);
        assert_eq!(
            Joiner::new(1, 1001).asks(&mut place).is_trusted(),
            is_allowed,
            "{value}"
        );
        let machine = Machine::default();
        let mut place = hardware(&machine);
        place.write(&[(
            names::NODES_SNP_MEASUREMENTS,
            &hex::encode(machine.measurement),
            value.clone(),
        )]);
        let info = shown_by(&machine, &key(1).verifying_key());
        let told = Joiner::new(1, 1001).with("quote_info", info).asks(&mut place);
        assert_eq!(told.is_trusted(), is_allowed, "{value}");
    }
}
