// Builds the world of a governance script out of a few native functions. Evaluated in each fresh context before
// the script is; `host` is visible to nobody else. Tables are asked for by name, bytes travel as base64 text.
(function (host) {
  "use strict";

  const { parse, stringify } = JSON;
  const RealDate = Date;
  const RealBuffer = ArrayBuffer;

  function expect(given, wanted) {
    if (given.length !== wanted) {
      throw new TypeError(`Passed ${given.length} arguments, but expected ${wanted}`);
    }
  }

  function encode(value) {
    if (!(value instanceof RealBuffer)) {
      throw new TypeError("Argument must be an ArrayBuffer");
    }
    return new Uint8Array(value).toBase64();
  }

  function string(value) {
    if (typeof value !== "string") {
      throw new TypeError("Argument must be a string");
    }
    return value;
  }

  function days(value) {
    if (!Number.isInteger(value) || value < 0) {
      throw new RangeError("the validity period must be a whole number of days");
    }
    return String(value);
  }

  function unavailable(name) {
    return () => {
      throw new Error(`${name} is not available to governance on this node`);
    };
  }

  function handle(name) {
    const table = {
      get(key) {
        expect(arguments, 1);
        return host.table("get", name, encode(key));
      },
      has(key) {
        expect(arguments, 1);
        return host.table("has", name, encode(key));
      },
      set(key, value) {
        expect(arguments, 2);
        host.table("set", name, encode(key), encode(value));
        return table;
      },
      delete(key) {
        expect(arguments, 1);
        host.table("delete", name, encode(key));
      },
      clear() {
        expect(arguments, 0);
        host.table("clear", name);
      },
      forEach(callback) {
        expect(arguments, 1);
        if (typeof callback !== "function") {
          throw new TypeError("Argument must be a function");
        }
        for (const [key, value] of host.table("entries", name)) {
          callback(value, key, table);
        }
      },
      getVersionOfPreviousWrite(key) {
        expect(arguments, 1);
        return host.table("version", name, encode(key));
      },
      get size() {
        return host.table("size", name);
      },
    };
    return table;
  }

  // Time is the host's word, and no two nodes' words are the same: scripts that want it say so.
  let untrustedTime = false;
  const now = () => (untrustedTime ? RealDate.now() : 0);
  globalThis.Date = new Proxy(RealDate, {
    apply: () => new RealDate(now()).toString(),
    construct: (target, values, self) => Reflect.construct(target, values.length === 0 ? [now()] : values, self),
    get: (target, name) => (name === "now" ? now : target[name]),
  });
  RealDate.prototype.constructor = globalThis.Date;
  delete globalThis.performance;

  let metricsLogging = false;
  Math.random = () => host.random();

  const line = (value) => {
    if (typeof value === "string") {
      return value;
    }
    if (value instanceof Error || value === null || typeof value !== "object") {
      return String(value);
    }
    return stringify(value);
  };
  const logger = (level) => (...values) => host.log(level, values.map(line).join(" "));
  globalThis.console = {
    debug: logger("debug"),
    error: logger("error"),
    info: logger("info"),
    log: logger("info"),
    trace: logger("debug"),
    warn: logger("warn"),
  };

  const ccf = {
    kv: new Proxy({}, { get: (_, name) => (typeof name === "string" ? handle(name) : undefined) }),

    strToBuf(text) {
      expect(arguments, 1);
      return host.toBuffer(string(text));
    },
    bufToStr(buffer) {
      expect(arguments, 1);
      return host.toText(encode(buffer));
    },
    jsonCompatibleToBuf(value) {
      expect(arguments, 1);
      return host.toBuffer(string(stringify(value)));
    },
    bufToJsonCompatible(buffer) {
      expect(arguments, 1);
      return parse(host.toText(encode(buffer)));
    },
    pemToId(pem) {
      expect(arguments, 1);
      return host.certificateId(string(pem));
    },
    tcbHexToPolicy(cpuid, tcb) {
      expect(arguments, 2);
      return parse(host.tcbPolicy(string(cpuid), string(tcb)));
    },
    enableUntrustedDateTime(enable) {
      expect(arguments, 1);
      const before = untrustedTime;
      untrustedTime = enable === true;
      return before;
    },
    enableMetricsLogging(enable) {
      expect(arguments, 1);
      const before = metricsLogging;
      metricsLogging = enable === true;
      return before;
    },

    gov: {
      validateConstitution(text) {
        expect(arguments, 1);
        if (typeof text !== "string") {
          throw new TypeError("constitution is not a string");
        }
        host.checkConstitution(text);
        return true;
      },
    },

    crypto: {
      digest(algorithm, data) {
        expect(arguments, 2);
        if (algorithm !== "SHA-256") {
          throw new RangeError("unsupported digest algorithm, supported: SHA-256");
        }
        return host.sha256(encode(data));
      },
      isValidX509CertBundle(pem) {
        expect(arguments, 1);
        return host.isBundle(String(pem));
      },
      isValidX509CertChain(chain, trusted) {
        expect(arguments, 2);
        return host.isChain(String(chain), String(trusted));
      },
    },
  };

  for (const name of [
    "sign",
    "verifySignature",
    "wrapKey",
    "unwrapKey",
    "generateAesKey",
    "generateRsaKeyPair",
    "generateEcdsaKeyPair",
    "generateEddsaKeyPair",
    "pemToJwk",
    "pubPemToJwk",
    "rsaPemToJwk",
    "pubRsaPemToJwk",
    "eddsaPemToJwk",
    "pubEddsaPemToJwk",
    "jwkToPem",
    "pubJwkToPem",
    "rsaJwkToPem",
    "pubRsaJwkToPem",
    "eddsaJwkToPem",
    "pubEddsaJwkToPem",
  ]) {
    ccf.crypto[name] = unavailable(`ccf.crypto.${name}`);
  }

  if (host.applying) {
    const effect = (name) =>
      function () {
        expect(arguments, 0);
        return host.effect(name);
      };
    ccf.node = {
      triggerLedgerRekey: effect("rekey"),
      triggerRecoverySharesRefresh: effect("refreshShares"),
      triggerLedgerChunk: effect("chunk"),
      triggerSnapshot: effect("snapshot"),
      transitionServiceToOpen(previous, next) {
        expect(arguments, 2);
        if (next === undefined) {
          throw new InternalError("Proposal requires a service identity");
        }
        const identity = previous === undefined ? undefined : host.toText(encode(previous));
        host.effect("open", identity, host.toText(encode(next)));
      },
      // CCF has no ACME any more, and still accepts this.
      triggerACMERefresh() {},
      shuffleSealedShares: unavailable("ccf.node.shuffleSealedShares"),
    };
    ccf.network = {
      getLatestLedgerSecretSeqno: effect("latestSecretSeqno"),
      generateEndorsedCertificate(csr, validFrom, validityDays) {
        expect(arguments, 3);
        return host.effect("endorse", string(csr), string(validFrom), days(validityDays));
      },
      generateNetworkCertificate(validFrom, validityDays) {
        expect(arguments, 2);
        return host.effect("renewService", string(validFrom), days(validityDays));
      },
    };
    ccf.refreshAppBytecodeCache = function () {
      expect(arguments, 0);
      host.refreshBytecode();
    };
    ccf.setJwtPublicSigningKeys = function (issuer, metadata, jwks) {
      expect(arguments, 3);
      host.effect("setJwtKeys", string(issuer), stringify(jwks));
    };
    ccf.removeJwtPublicSigningKeys = function (issuer) {
      expect(arguments, 1);
      host.effect("removeJwtKeys", string(issuer));
    };
  }

  globalThis.ccf = ccf;
  globalThis.snp_attestation = {
    verifySnpAttestation: unavailable("snp_attestation.verifySnpAttestation"),
  };
});
