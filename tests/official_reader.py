"""What the official CCF package says of ledgers and snapshots, as JSON on stdout: one object for each path given.
With --recovery-files first, files of a recovery that was not finished are read as part of the ledger.

Its validator checks node signatures and roots, and COSE signatures where a node has signed too; where the service
signs alone, its COSE functions check the signature over its own Merkle root here. Anything it objects to ends this
script with an error.
"""

import base64
import hashlib
import json
import os
import sys

from ccf import cose, ledger
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

ONLY_KEY = ledger.WELL_KNOWN_SINGLETON_TABLE_KEY


def public_key(certificate):
    return load_pem_x509_certificate(certificate.encode()).public_key()


def key_id(certificate):
    spki = public_key(certificate).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def examine(directory, recovery_files=False):
    validator = ledger.LedgerValidator()
    validator.node_certificates, validator.node_activity_status = {}, {}
    found = dict(entries=0, last_seqno=0, signatures=0, cose_signatures=0, last_signed=None, root=None, services=[])
    service = None
    for chunk in ledger.Ledger([directory], committed_only=False, read_recovery_files=recovery_files):
        for transaction in chunk:
            public = transaction.get_public_domain()
            tables = public.get_tables()
            info = tables.get(ledger.SERVICE_INFO_TABLE_NAME, {}).get(ONLY_KEY)
            if info:
                service = json.loads(info)["cert"]
                if not found["services"] or found["services"][-1]["identity"] != key_id(service):
                    found["services"].append(dict(from_seqno=public.get_seqno(), identity=key_id(service)))
            by_node = ledger.SIGNATURE_TX_TABLE_NAME in tables
            by_service = ledger.COSE_SIGNATURE_TX_TABLE_NAME in tables
            root = validator.merkle.get_merkle_root() if by_node or by_service else None
            # Once is enough: this is the slowest part by far.
            if by_service and not by_node:
                signed = json.loads(tables[ledger.COSE_SIGNATURE_TX_TABLE_NAME][ONLY_KEY])
                cose.validate_cose_sign1(public_key(service), base64.b64decode(signed), root)
            validator.add_transaction(transaction)
            found["entries"] += 1
            found["last_seqno"] = public.get_seqno()
            found["signatures"] += by_node
            found["cose_signatures"] += by_service
            if by_node or by_service:
                found["root"] = root.hex()
                found["last_signed"] = transaction.get_txid()
    return found


def snapshot(path):
    with ledger.Snapshot(path) as opened:
        public = opened.get_public_domain()
        return dict(seqno=public.get_seqno(), tables=len(public.get_tables()))


if __name__ == "__main__":
    paths = sys.argv[1:]
    recovery_files = paths[:1] == ["--recovery-files"]
    paths = paths[recovery_files:]
    print(json.dumps([examine(path, recovery_files) if os.path.isdir(path) else snapshot(path) for path in paths]))
