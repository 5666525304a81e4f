//! A node that begins a service on firmware that its members no longer accepted.

use rekindle::attestation::snp::{Tcb, TcbRow};
use rekindle::attestation::{Anchors, Given, Product, Time, Verifier};
use rekindle::crypto::{Curve, SigningKey};
use rekindle::fixture::snp::{CPUID, Guest, Maker, SECURITY_POLICY, TCB};
use rekindle::format::domain::WriteSet;
use rekindle::kv::store::Store;
use rekindle::report::Finding;
use rekindle::service::own_policy::OwnPolicy;
use rekindle::tables::names;
use rekindle::tables::values::to_json;

/// October 2026.
const NOW: u64 = 1_790_812_800;

pub fn a_node_below_its_members_minimum() -> Vec<Finding> {
    let mut maker = Maker::new(7);
    let chip = maker.chip();
    let mut rng = <rand_chacha::ChaCha20Rng as rand_chacha::rand_core::SeedableRng>::seed_from_u64(7);
    let key = SigningKey::generate(Curve::P384, &mut rng).verifying_key();
    let given = Given {
        report: chip.report(&Guest::of(&key.id())),
        uvm_endorsements: None,
        security_policy: Some(SECURITY_POLICY.to_owned()),
    };
    let verifier = Verifier::new(Anchors::built_in().and_for_tests(maker.root()));
    let evidence = given.endorsed_by(&chip.endorsements_pem, &verifier, &key, Time::At(NOW));
    let minimum = TcbRow {
        snp: Some(25),
        ..Tcb::decode(TCB, Product::Milan).to_row()
    };
    let mut writes = WriteSet::new();
    writes.put(names::NODES_SNP_TCB_VERSIONS, CPUID, to_json(&minimum));
    let mut store = Store::new();
    store.apply(1, &writes);
    OwnPolicy::of(&store.transaction(), &evidence.unwrap().into()).findings
}
