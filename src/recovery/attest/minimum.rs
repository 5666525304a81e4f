//! The caller's own list of minimum TCBs.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::attestation::snp::{Tcb, TcbRow};
use crate::attestation::{CpuId, Facts, Outcome};

/// The caller's list of minimum TCBs: a JSON object from CPUID to an object of components, or to 16 hex digits.
///
/// # Errors
/// What is wrong with it, in words.
pub fn minimum_tcb_from_json(json: &[u8]) -> Result<BTreeMap<CpuId, TcbRow>, String> {
    let Rows(rows) =
        serde_json::from_slice(json).map_err(|why| format!("it is not a JSON object from CPUIDs to TCBs: {why}"))?;
    let mut minima = BTreeMap::new();
    for (key, value) in rows {
        let cpuid = CpuId::from_hex(&key)
            .ok_or_else(|| format!("{key} is no CPUID, expected 8 hex digits such as 00a00f11"))?;
        let row = match value.as_str() {
            None => TcbRow::from_json(value.to_string().as_bytes()),
            Some(digits) => by_hex(cpuid, digits),
        };
        let row = row.map_err(|why| format!("the TCB of {key} can't be read: {why}"))?;
        if row.components().iter().all(|(_, minimum)| minimum.is_none()) {
            return Err(format!(
                "the TCB of {key} has no component: expected at least one of boot_loader, tee, snp, microcode, fmc"
            ));
        }
        // Which of two was meant can't be known: the lower one would be the end of the list.
        if minima.insert(cpuid, row).is_some() {
            return Err(format!(
                "{key} stands for a processor that another row is of, expected one row for each"
            ));
        }
    }
    Ok(minima)
}

/// All rows, those of which the name repeats as well.
struct Rows(Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Rows;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rows, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = map.next_entry()? {
                    rows.push(row);
                }
                Ok(Rows(rows))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

fn by_hex(cpuid: CpuId, digits: &str) -> Result<TcbRow, String> {
    let mut raw = [0; 8];
    hex::decode_to_slice(digits, &mut raw).map_err(|_| "expected 16 hex digits".to_owned())?;
    raw.reverse();
    let product = cpuid.product().ok_or("its CPUID is of no known product")?;
    Ok(Tcb::decode(raw, product).to_row())
}

/// What the caller wants of this processor: only the components that he names.
pub(super) fn of_callers_minimum(facts: &Facts, minima: &BTreeMap<CpuId, TcbRow>) -> Option<Outcome> {
    let Facts::Snp { report, tcb, .. } = facts else {
        return None;
    };
    let row = minima.get(&report.cpuid)?;
    let Some(tcb) = tcb else {
        return Some(Outcome::not_done("the layout of its TCB is not known"));
    };
    let below: Vec<&str> = row
        .components()
        .into_iter()
        .zip(tcb.components())
        .filter(|((_, minimum), (_, found))| {
            minimum.is_some_and(|minimum| found.is_none_or(|found| u32::from(found) < minimum))
        })
        .map(|((name, _), _)| name)
        .collect();
    Some(match below.is_empty() {
        true => Outcome::Passed,
        false => Outcome::failed(
            format!("the TCB is below the list given: {}", below.join(", ")),
            tcb.to_string(),
            row.to_string(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_minima_has_components_or_digits() {
        let minima = minimum_tcb_from_json(br#"{"00a00f11":{"snp":24},"00a10f11":"4817000000000a0a"}"#).unwrap();
        let milan = CpuId::from_hex("00a00f11").unwrap();
        let genoa = CpuId::from_hex("00a10f11").unwrap();
        assert_eq!(minima.get(&milan).unwrap().snp, Some(24));
        assert_eq!(minima.get(&genoa).unwrap().boot_loader, Some(0x0a));
        assert_eq!(minima.get(&genoa).unwrap().microcode, Some(0x48));
        for (bad, word) in [
            ("[]", "JSON object"),
            (r#"{"milan":{"snp":1}}"#, "CPUID"),
            (r#"{"00a00f11":"12"}"#, "16 hex digits"),
            (r#"{"00a00f11":{}}"#, "no component"),
            (r#"{"00a00f11":{"snp":-1}}"#, "can't be read"),
            (r#"{"00000000":"4817000000000a0a"}"#, "known product"),
            (r#"{"00a00f11":{"snp":24},"00a00f11":{"snp":1}}"#, "another row"),
            (r#"{"00a00f11":{"snp":24},"00A00F11":{"snp":1}}"#, "another row"),
        ] {
            let why = minimum_tcb_from_json(bad.as_bytes()).unwrap_err();
            assert!(why.contains(word), "{bad}: {why}");
        }
    }
}
