"""Verifies COSE receipts with the official CCF package, for somebody who knows only the present service.

argv: the service's certificate, and files that each hold one receipt; endorsements of earlier services lie beside each, in
FILE.endorsements: a CBOR array, newest first. Prints the number of endorsements each needed, as JSON.
"""

import json
import os
import sys

import cbor2
from ccf import cose
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509 import load_pem_x509_certificate


def claims(receipt):
    [proof] = cbor2.loads(receipt).value[1][396][-1]
    return cbor2.loads(proof)[1][2]


def verify(path, key):
    beside = path + ".endorsements"
    endorsements = cbor2.loads(open(beside, "rb").read()) if os.path.exists(beside) else []
    for endorsement in endorsements:
        cose.validate_cose_sign1(key, endorsement)
        key = load_der_public_key(cbor2.loads(endorsement).value[2])
    receipt = open(path, "rb").read()
    cose.verify_receipt(receipt, key, claims(receipt))
    return len(endorsements)


service = load_pem_x509_certificate(open(sys.argv[1], "rb").read())
print(json.dumps([verify(path, service.public_key()) for path in sys.argv[2:]]))
