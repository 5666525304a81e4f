//! What can be wrong with signatures, and with who may sign.

use rekindle::format::domain::WriteSet;
use rekindle::journal::SignatureMode;
use rekindle::merkle::Tree;
use rekindle::recovery::verify::Options;
use rekindle::report::Finding;
use rekindle::tables::values::{Base64, HexDigest, ServiceStatus};
use rekindle::tables::{SINGLETON_KEY, names};

use crate::identity::{Identity, put_node, put_service};
use crate::story::{Story, put_json};

/// A service of 2.x, whose nodes sign, with entries that are not signed yet.
fn by_node() -> Story {
    let mut story = Story::begin(SignatureMode::Node);
    story.serve(4);
    story
}

/// One of 6.x, that signs too.
fn dual() -> Story {
    let mut story = Story::begin(SignatureMode::Dual);
    story.serve(4);
    story
}

pub fn a_view_that_falls() -> Vec<Finding> {
    let mut story = by_node();
    story.sign();
    story.pen.view = 1;
    story.serve(2);
    story.sign();
    story.verify().findings
}

pub fn a_signature_that_records_another_root() -> Vec<Finding> {
    let mut story = by_node();
    story.sign_altered(|signature| signature.root = HexDigest([9; 32]));
    story.verify().findings
}

pub fn a_node_s_signature_of_another_root() -> Vec<Finding> {
    let mut story = by_node();
    let node = story.node.clone();
    story.sign_altered(|signature| signature.sig = Base64(node.key.sign_prehashed_der(&[9; 32])));
    story.verify().findings
}

pub fn a_service_s_signature_of_another_root() -> Vec<Finding> {
    let mut story = dual();
    let txid = story.pen.next().to_string();
    let cose = story
        .pen
        .cose_saying(&story.service, &[9; 32], &story.service.id(), &txid);
    let signature = story.pen.signature(&story.node);
    story.pen.sign(Some(&signature), Some(&cose));
    story.verify().findings
}

pub fn a_signature_of_a_node_that_was_removed() -> Vec<Finding> {
    let mut story = by_node();
    let node = story.node.clone();
    story.write(|writes| put_node(writes, &node, "Retired"));
    story.write(|writes| writes.remove(names::NODES_INFO, node.id()));
    story.sign();
    story.verify().findings
}

pub fn a_signature_of_a_pending_node() -> Vec<Finding> {
    let mut story = by_node();
    let pending = Identity::node(60, &story.service);
    story.write(|writes| put_node(writes, &pending, "Pending"));
    story.node = pending;
    story.sign();
    story.verify().findings
}

pub fn a_signature_with_another_node_s_certificate() -> Vec<Finding> {
    let mut story = by_node();
    let other = Identity::node(60, &story.service);
    story.sign_altered(|signature| signature.cert = Some(other.certificate.to_pem()));
    story.verify().findings
}

pub fn a_node_whose_certificate_another_service_signed() -> Vec<Finding> {
    let mut story = by_node();
    story.node = Identity::node(60, &Identity::service(61));
    let node = story.node.clone();
    story.write(|writes| put_node(writes, &node, "Pending"));
    story.write(|writes| put_node(writes, &node, "Trusted"));
    story.sign();
    story.verify().findings
}

pub fn a_signature_that_names_another_transaction() -> Vec<Finding> {
    let mut story = by_node();
    story.sign_altered(|signature| signature.seqno -= 1);
    story.verify().findings
}

pub fn a_signature_transaction_that_writes_more() -> Vec<Finding> {
    let mut story = by_node();
    let signature = story.pen.signature(&story.node);
    let mut writes = story.pen.signature_writes(Some(&signature), None);
    writes.put("public:app", "key", "value");
    story.pen.append(&writes);
    story.verify().findings
}

pub fn a_last_tree_with_another_leaf() -> Vec<Finding> {
    let mut story = by_node();
    let signature = story.pen.signature(&story.node);
    let mut writes = story.pen.signature_writes(Some(&signature), None);
    let mut tree = Tree::genesis();
    (1..story.pen.tree.len()).for_each(|leaf| tree.append([leaf as u8; 32]));
    writes.put(names::TREE, SINGLETON_KEY, tree.serialise());
    story.pen.append(&writes);
    story.verify().findings
}

pub fn entries_after_the_last_signature() -> Vec<Finding> {
    by_node().verify().findings
}

pub fn a_last_signature_with_claims() -> Vec<Finding> {
    let mut story = by_node();
    let signature = story.pen.signature(&story.node);
    let writes = story.pen.signature_writes(Some(&signature), None);
    story.pen.append_with(&writes, 0, Some(&[9; 32]));
    story.verify().findings
}

pub fn a_ledger_without_a_signature() -> Vec<Finding> {
    let mut story = by_node();
    let first = story.pen.chunks[0].1[0].clone();
    story.pen.chunks = vec![(1, vec![first])];
    story.verify().findings
}

pub fn a_service_that_can_not_be_read() -> Vec<Finding> {
    let mut story = by_node();
    story.write(|writes| writes.put(names::SERVICE_INFO, SINGLETON_KEY, "{}"));
    story.sign();
    story.verify().findings
}

pub fn an_identity_changed_without_a_recovery() -> Vec<Finding> {
    let mut story = by_node();
    let service = Identity::service(61);
    story.write(|writes| put_service(writes, &service, ServiceStatus::Open));
    story.sign();
    story.verify().findings
}

pub fn an_open_service_that_opens_again() -> Vec<Finding> {
    let mut story = by_node();
    let mut writes = WriteSet::new();
    story.put_service(&mut writes, ServiceStatus::Opening);
    story.pen.append(&writes);
    story.sign();
    story.verify().findings
}

pub fn a_recovery_of_another_service() -> Vec<Finding> {
    let mut story = dual();
    story.sign();
    let stranger = Identity::service(61);
    story.begin_recovery(|_, writes| {
        put_json(writes, names::PREVIOUS_SERVICE_IDENTITY, &stranger.certificate.to_pem());
    });
    story.verify().findings
}

pub fn a_recovery_of_another_history() -> Vec<Finding> {
    let mut story = dual();
    story.sign();
    story.begin_recovery(|_, writes| {
        put_json(writes, names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT, &HexDigest([9; 32]));
    });
    story.verify().findings
}

pub fn an_endorsement_by_the_wrong_key() -> Vec<Finding> {
    let mut story = dual();
    story.sign();
    story.begin_recovery(|_, _| ());
    story.open_recovered(|story, writes| {
        let mut endorsement = story.last_endorsement();
        endorsement.endorsing_key = Base64(Identity::service(61).key.verifying_key().spki_der().to_vec());
        put_json(writes, names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT, &endorsement);
    });
    story.verify().findings
}

pub fn an_endorsement_that_ends_before_it_begins() -> Vec<Finding> {
    let mut story = dual();
    story.sign();
    story.recover();
    // As CCF wrote where an election fell into a recovery: the service endorses a second time, by the same rule.
    let again = story.own_endorsement();
    story.write(|writes| put_json(writes, names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT, &again));
    story.sign();
    story.verify().findings
}

pub fn another_certificate_than_the_service_s() -> Vec<Finding> {
    let mut story = by_node();
    story.sign();
    let options = Options {
        service_certificate: Some(Identity::service(61).certificate),
        ..Options::default()
    };
    story.verify_with(&options).findings
}
