//! The certificates of a node and its service, as the ledger has them: adopted once they are committed, and looked after.

mod adopt;

use super::shared::Node;
use crate::crypto::Certificate;
use crate::service::identity::now_s;
use crate::service::service_info;
use crate::tables::names;

/// Looks after all certificates of a node and its service.
pub fn look_after(node: &Node) {
    let ((endorsed, service), _) = node.read(|store| {
        // Before there is a service, the tables are those of the one that is recovered.
        let Some(_) = node.writer.get() else {
            return (None, None);
        };
        let endorsed = store.get(names::NODES_ENDORSED_CERTIFICATES, node.id.as_bytes());
        let endorsed = endorsed.and_then(|(_, pem)| std::str::from_utf8(pem).ok().map(str::to_owned));
        let service = service_info(&store.transaction()).ok().map(|info| info.cert);
        (endorsed, service)
    });
    let read = |pem: Option<String>| pem.and_then(|pem| Certificate::from_pem(&pem).ok());
    let (endorsed, service) = (read(endorsed), read(service));
    node.certificates
        .look_after(endorsed.as_ref(), service.as_ref(), now_s());
}
