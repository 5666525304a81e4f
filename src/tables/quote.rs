//! What a node shows, described as JSON: the fields of its report or quote beside the base64. Nothing is verified here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::attestation::snp::{Report, Tcb};
use crate::attestation::uvm::Statement;
use crate::attestation::{Evidence, Platform, sgx};
use crate::crypto::x509::{AnyCertificate, der_blocks};
use crate::shown::date;

/// Certificates of one text that are described.
const MOST_CERTIFICATES: usize = 8;

/// Adds to a record of `nodes.info` what its `quote_info` says, under `decoded` in there.
pub(super) fn decode_in(record: &mut Value) {
    let Some(info) = record.get_mut("quote_info").filter(|info| info.is_object()) else {
        return;
    };
    let decoded = match Evidence::from_quote_info(info.to_string().as_bytes()) {
        Ok(evidence) => describe(&evidence),
        Err(why) => json!({ "undecodable": why }),
    };
    if let Some(fields) = info.as_object_mut() {
        fields.insert("decoded".to_owned(), decoded);
    }
}

fn describe(evidence: &Evidence) -> Value {
    let platform = evidence.platform();
    let mut shown = Map::new();
    shown.insert("platform".to_owned(), Value::from(platform.as_str()));
    match platform {
        Platform::Snp => {
            let report = Report::parse(&evidence.quote);
            let report = report.map_or_else(|| wrong_size(&evidence.quote), |report| snp_report(&report));
            shown.insert("report".to_owned(), report);
            shown.insert("endorsements".to_owned(), certificates(&evidence.endorsements));
        }
        Platform::Sgx => {
            let quote = sgx::Quote::parse(&evidence.quote);
            let quote = quote.map_or_else(|why| json!({ "undecodable": why }), |quote| sgx_quote(&quote));
            shown.insert("quote".to_owned(), quote);
            let collateral = sgx::Collateral::read(&evidence.endorsements).parsed;
            let collateral = collateral.map_or_else(
                |why| json!({ "undecodable": why }),
                |parsed| json!({ "fetched": parsed.created_unix_s.map(date), "fmspc": parsed.fmspc, "pce_id": parsed.pce_id }),
            );
            shown.insert("collateral".to_owned(), collateral);
        }
        Platform::Virtual => {
            let quote: Value = serde_json::from_slice(&evidence.quote).unwrap_or(Value::Null);
            shown.insert("quote".to_owned(), quote);
        }
        Platform::None => {}
    }
    if let Some(cose) = &evidence.uvm_endorsements {
        let statement = Statement::read(cose);
        let uvm = json!({
            "did": statement.did,
            "feed": statement.feed,
            "svn": statement.svn,
            "measurement": statement.measurement,
            "subjects": statement.subjects,
        });
        shown.insert("uvm_endorsements".to_owned(), uvm);
    }
    Value::Object(shown)
}

fn wrong_size(quote: &[u8]) -> Value {
    json!({ "undecodable": format!("a report has 1184 bytes, this has {}", quote.len()) })
}

fn snp_report(report: &Report) -> Value {
    let product = report.product();
    let tcb = |raw: [u8; 8]| match product {
        Some(product) => json!(Tcb::decode(raw, product).to_row()),
        None => Value::from(hex::encode(raw)),
    };
    let firmware = |[major, minor, build]: [u8; 3]| format!("{major}.{minor}.{build}");
    json!({
        "version": report.version,
        "product": product.map(|product| product.as_str()),
        "cpuid": (report.version >= 3).then(|| report.cpuid.to_hex()),
        "guest_svn": report.guest_svn,
        "policy": {
            "bits": format!("{:#x}", report.policy.0),
            "abi": format!("{}.{}", report.policy.abi_major(), report.policy.abi_minor()),
            "smt": report.policy.smt(),
            "migrate_ma": report.policy.migrate_ma(),
            "debug": report.policy.debug(),
            "single_socket": report.policy.single_socket(),
        },
        "vmpl": report.vmpl,
        "platform_info": format!("{:#x}", report.platform_info),
        "signing_key": report.key_flags.signing_key(),
        "mask_chip_key": report.key_flags.mask_chip_key(),
        "report_data": hex::encode(report.report_data),
        "measurement": hex::encode(report.measurement),
        "host_data": hex::encode(report.host_data),
        "id_key_digest": hex::encode(report.id_key_digest),
        "author_key_digest": hex::encode(report.author_key_digest),
        "report_id": hex::encode(report.report_id),
        "reported_tcb": tcb(report.reported_tcb),
        "current_tcb": tcb(report.current_tcb),
        "committed_tcb": tcb(report.committed_tcb),
        "launch_tcb": tcb(report.launch_tcb),
        "chip_id": hex::encode(report.chip_id),
        "current_firmware": firmware(report.current_firmware),
        "committed_firmware": firmware(report.committed_firmware),
    })
}

fn sgx_quote(quote: &sgx::Quote) -> Value {
    json!({
        "version": quote.version,
        "mrenclave": hex::encode(quote.mrenclave),
        "mrsigner": hex::encode(quote.mrsigner),
        "product_id": quote.product_id,
        "svn": quote.svn,
        "debug": quote.is_debug(),
        "cpu_svn": hex::encode(quote.cpu_svn),
        "qe_svn": quote.qe_svn,
        "pce_svn": quote.pce_svn,
        "report_data": quote.claimed_report_data.as_ref().map(hex::encode),
    })
}

fn certificates(pem: &[u8]) -> Value {
    let text = String::from_utf8_lossy(pem);
    let blocks = der_blocks(&text, &["CERTIFICATE"], MOST_CERTIFICATES);
    let one = |block: Option<Vec<u8>>| match block.map(|der| AnyCertificate::from_der(&der).map_err(|_| der)) {
        Some(Ok(certificate)) => json!({
            "subject": certificate.subject(),
            "issuer": certificate.issuer(),
            "not_before": date(certificate.validity().not_before_unix_s),
            "not_after": date(certificate.validity().not_after_unix_s),
        }),
        Some(Err(der)) => json!({ "undecodable": "expected a certificate", "base64": STANDARD.encode(der) }),
        None => json!({ "undecodable": "expected PEM" }),
    };
    blocks.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(quote_info: Value) -> Value {
        let mut record = json!({ "status": "Trusted", "quote_info": quote_info });
        decode_in(&mut record);
        record["quote_info"]["decoded"].clone()
    }

    #[test]
    fn a_report_is_shown_field_by_field() {
        let mut report = vec![0; 0x4a0];
        report[0] = 3;
        report[0x0a] = 8;
        report[0x188..0x18b].copy_from_slice(&[0x19, 1, 1]);
        report[0x186] = 24;
        let shown = decoded(json!({ "format": "AMD_SEV_SNP_v1", "quote": STANDARD.encode(&report) }));
        assert_eq!(shown["platform"], "snp");
        assert_eq!(shown["report"]["product"], "Milan");
        assert_eq!(shown["report"]["cpuid"], "00a00f11");
        assert_eq!(shown["report"]["policy"]["debug"], true);
        assert_eq!(shown["report"]["reported_tcb"]["snp"], 24);
    }

    #[test]
    fn what_can_not_be_read_says_so_and_stays_as_it_is() {
        assert!(decoded(json!({ "format": 1 }))["undecodable"].is_string());
        let short = decoded(json!({ "format": "AMD_SEV_SNP_v1", "quote": "AAAA", "uvm_endorsements": "AAAA" }));
        assert!(short["report"]["undecodable"].as_str().unwrap().contains("1184"));
        assert_eq!(short["uvm_endorsements"]["did"], Value::Null);
        let sgx = decoded(json!({ "format": "OE_SGX_v1", "quote": "AAAA" }));
        assert!(sgx["quote"]["undecodable"].is_string() && sgx["collateral"]["undecodable"].is_string());
        assert_eq!(
            decoded(json!({ "format": "OE_SGX_v1", "quote": "" })),
            json!({ "platform": "none" })
        );
        let mut without = json!({ "status": "Trusted" });
        decode_in(&mut without);
        assert_eq!(without, json!({ "status": "Trusted" }));
    }
}
