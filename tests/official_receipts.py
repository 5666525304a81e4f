"""Verifies receipts with the official CCF package, for somebody who knows only the present service.

argv: the service's certificate, and files that each hold the JSON of one receipt. Prints the number of endorsements each
needed, as JSON.
"""

import hashlib
import json
import sys
from datetime import datetime, timezone

from ccf import receipt
from cryptography.x509 import load_pem_x509_certificate
from cryptography.x509.oid import ExtensionOID


def leaf(body):
    if "leaf" in body:
        return body["leaf"]
    parts = body["leaf_components"]
    evidence = hashlib.sha256(parts["commit_evidence"].encode()).digest()
    # Entries of 2.0.0-rc were written without claims.
    digests = [bytes.fromhex(parts["write_set_digest"]), evidence, bytes.fromhex(parts.get("claims_digest", ""))]
    return hashlib.sha256(b"".join(digests)).hexdigest()


def verify(body, service):
    node = load_pem_x509_certificate(body["cert"].encode())
    endorsements = [load_pem_x509_certificate(pem.encode()) for pem in body.get("service_endorsements", [])]
    receipt.verify(receipt.root(leaf(body), body["proof"]), body["signature"], node)
    receipt.check_endorsements(node, service, endorsements)
    # The strict check of the whole chain wants a name of the node, which those of made-up services have not, and dates that
    # are not over, as those of real services of long ago are.
    is_current = all(one.not_valid_after_utc > datetime.now(timezone.utc) for one in [node, service, *endorsements])
    if is_current and any(extension.oid == ExtensionOID.SUBJECT_ALTERNATIVE_NAME for extension in node.extensions):
        receipt.check_cert_chain(node, service, endorsements)
    return len(endorsements)


service = load_pem_x509_certificate(open(sys.argv[1], "rb").read())
print(json.dumps([verify(json.load(open(path)), service) for path in sys.argv[2:]]))
