//! What a service asks of its nodes, as it stands at one entry, and who put it there. Attestation specification, section 5.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::attestation::policy::feeds_from_json;
use crate::attestation::snp::TcbRow;
use crate::attestation::{CpuId, Policy};
use crate::format::Seqno;
use crate::shown::excerpt;
use crate::tables::names;

/// Rows of one table that are kept: real services have a few.
const MAX_ROWS: usize = 10_000;
/// Bytes of all rows that are kept; security policies are the largest, with some kilobytes.
const MAX_BYTES: usize = 16 << 20;

/// A table of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    HostData,
    Measurements,
    UvmRoots,
    MinimumTcb,
    CodeIds,
    VirtualMeasurements,
    VirtualHostData,
}

impl Table {
    /// The table of this name, if it is one.
    pub(super) fn named(name: &str) -> Option<Table> {
        Some(match name {
            names::NODES_SNP_HOST_DATA => Table::HostData,
            names::NODES_SNP_MEASUREMENTS => Table::Measurements,
            names::NODES_SNP_UVM_ENDORSEMENTS => Table::UvmRoots,
            names::NODES_SNP_TCB_VERSIONS => Table::MinimumTcb,
            names::NODES_CODE_IDS => Table::CodeIds,
            names::NODES_VIRTUAL_MEASUREMENTS => Table::VirtualMeasurements,
            names::NODES_VIRTUAL_HOST_DATA => Table::VirtualHostData,
            _ => return None,
        })
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Table::HostData => names::NODES_SNP_HOST_DATA,
            Table::Measurements => names::NODES_SNP_MEASUREMENTS,
            Table::UvmRoots => names::NODES_SNP_UVM_ENDORSEMENTS,
            Table::MinimumTcb => names::NODES_SNP_TCB_VERSIONS,
            Table::CodeIds => names::NODES_CODE_IDS,
            Table::VirtualMeasurements => names::NODES_VIRTUAL_MEASUREMENTS,
            Table::VirtualHostData => names::NODES_VIRTUAL_HOST_DATA,
        }
    }
}

/// Who wrote a row: the proposals that were accepted in its transaction; none at a creation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) seqno: Seqno,
    pub(super) proposals: Arc<[String]>,
}

/// All tables of policies.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) policy: Policy,
    origins: BTreeMap<(Table, String), (Origin, usize)>,
    rows: BTreeMap<Table, usize>,
    bytes: usize,
}

impl Tables {
    /// Bytes of all rows, about: what a copy costs.
    pub(super) fn size_bytes(&self) -> usize {
        self.bytes + 200 * self.origins.len()
    }

    /// Who wrote a row.
    pub(super) fn origin(&self, table: Table, key: &str) -> Option<&Origin> {
        self.origins.get(&(table, key.to_owned())).map(|(origin, _)| origin)
    }

    /// The row of minimum TCBs for this processor.
    pub(super) fn minimum_for(&self, cpuid: CpuId) -> Option<&str> {
        let mut keys = self.policy.minimum_tcb.keys();
        keys.find(|key| CpuId::from_hex(key) == Some(cpuid)).map(String::as_str)
    }

    /// Applies a write.
    ///
    /// # Errors
    /// Why the row can't be read, in words; it is nobody's then.
    pub(super) fn apply(
        &mut self,
        table: Table,
        key: &[u8],
        value: Option<&[u8]>,
        origin: &Origin,
    ) -> Result<(), String> {
        let Ok(key) = std::str::from_utf8(key) else {
            return Err(format!("{} has a key that is no text", table.name()));
        };
        self.remove(table, key);
        let Some(value) = value else {
            return Ok(());
        };
        let count = self.rows.entry(table).or_default();
        let size = key.len() + value.len();
        if *count >= MAX_ROWS || self.bytes.saturating_add(size) > MAX_BYTES {
            return Err(format!(
                "{} has more rows than any service: only the first are judged by, expected at most {MAX_ROWS} rows, and {MAX_BYTES} \
                 bytes in all such tables",
                table.name()
            ));
        }
        self.insert(table, key, value)
            .map_err(|why| format!("the row {} of {} can't be read: {why}", excerpt(key), table.name()))?;
        *self.rows.entry(table).or_default() += 1;
        self.bytes += size;
        self.origins.insert((table, key.to_owned()), (origin.clone(), size));
        Ok(())
    }

    fn remove(&mut self, table: Table, key: &str) {
        let Some((_, size)) = self.origins.remove(&(table, key.to_owned())) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(size);
        if let Some(rows) = self.rows.get_mut(&table) {
            *rows = rows.saturating_sub(1);
        }
        let policy = &mut self.policy;
        match table {
            Table::HostData => drop(policy.host_data.remove(key)),
            Table::Measurements => drop(policy.measurements.remove(key)),
            Table::UvmRoots => drop(policy.uvm_roots.remove(key)),
            Table::MinimumTcb => drop(policy.minimum_tcb.remove(key)),
            Table::CodeIds => drop(policy.code_ids.remove(key)),
            Table::VirtualMeasurements => drop(policy.virtual_measurements.remove(key)),
            Table::VirtualHostData => drop(policy.virtual_host_data.remove(key)),
        }
    }

    fn insert(&mut self, table: Table, key: &str, value: &[u8]) -> Result<(), String> {
        let policy = &mut self.policy;
        let key = key.to_owned();
        match table {
            Table::HostData => {
                let text: String = serde_json::from_slice(value).map_err(|_| "it is no JSON string".to_owned())?;
                policy.host_data.insert(key, text);
            }
            Table::Measurements => drop(policy.measurements.insert(key)),
            Table::UvmRoots => drop(policy.uvm_roots.insert(key, feeds_from_json(value)?)),
            Table::MinimumTcb => {
                if CpuId::from_hex(&key).is_none() {
                    return Err("its key is no CPUID, expected 8 hex digits".to_owned());
                }
                policy.minimum_tcb.insert(key, TcbRow::from_json(value)?);
            }
            Table::CodeIds => drop(policy.code_ids.insert(key)),
            Table::VirtualMeasurements => drop(policy.virtual_measurements.insert(key)),
            Table::VirtualHostData => drop(policy.virtual_host_data.insert(key)),
        }
        Ok(())
    }

    /// What became weaker from `before` on: each minimum TCB that was lowered, each feed that is trusted no more.
    pub(super) fn weakened_since(&self, before: &Tables) -> Weakened {
        let mut weakened = Weakened::default();
        for (cpuid, was) in &before.policy.minimum_tcb {
            let Some(now) = self.policy.minimum_tcb.get(cpuid) else {
                continue;
            };
            let lower: Vec<&str> = was
                .components()
                .into_iter()
                .zip(now.components())
                .filter(|((_, was), (_, now))| now < was)
                .map(|((name, _), _)| name)
                .collect();
            if !lower.is_empty() {
                weakened
                    .minima
                    .push(excerpt(&format!("{cpuid}: {} ({now}, before {was})", lower.join(", "))));
            }
        }
        for (did, feeds) in &before.policy.uvm_roots {
            let Some(now) = self.policy.uvm_roots.get(did) else {
                continue;
            };
            for feed in feeds.keys().filter(|feed| !now.contains_key(*feed)) {
                weakened.feeds.push(format!("{} of {}", excerpt(feed), excerpt(did)));
            }
        }
        weakened
    }
}

/// What became weaker, in words.
#[derive(Debug, Default)]
pub(super) struct Weakened {
    pub(super) minima: Vec<String>,
    pub(super) feeds: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(rows: &[(Table, &str, Option<&str>)]) -> Tables {
        let mut tables = Tables::default();
        for (at, (table, key, value)) in (1..).zip(rows) {
            let origin = Origin {
                seqno: at,
                proposals: [].into(),
            };
            let value = value.map(str::as_bytes);
            tables.apply(*table, key.as_bytes(), value, &origin).unwrap();
        }
        tables
    }

    #[test]
    fn a_row_is_the_last_one_written_and_says_where() {
        let tables = applied(&[
            (Table::HostData, "aa", Some("\"one\"")),
            (Table::HostData, "aa", Some("\"two\"")),
            (Table::Measurements, "bb", Some("\"AllowedToJoin\"")),
            (Table::Measurements, "bb", None),
        ]);
        assert_eq!(tables.policy.host_data.get("aa").unwrap(), "two");
        assert!(tables.policy.measurements.is_empty());
        assert_eq!(tables.origin(Table::HostData, "aa").unwrap().seqno, 2);
        assert_eq!(tables.origin(Table::Measurements, "bb"), None);
        assert_eq!(tables.bytes, 2 + 5);
    }

    #[test]
    fn rows_that_can_not_be_read_are_nobodys() {
        let mut tables = applied(&[(Table::MinimumTcb, "00a00f11", Some(r#"{"snp":1}"#))]);
        let origin = Origin::default();
        for (table, key, value) in [
            (Table::MinimumTcb, "00a00f11", "7"),
            (Table::MinimumTcb, "milan", "{}"),
            (Table::UvmRoots, "did", "{\"feed\":1}"),
            (Table::HostData, "aa", "two"),
        ] {
            assert!(
                tables
                    .apply(table, key.as_bytes(), Some(value.as_bytes()), &origin)
                    .is_err()
            );
        }
        assert!(tables.apply(Table::CodeIds, &[0xff], Some(b"1"), &origin).is_err());
        assert!(tables.policy.minimum_tcb.is_empty() && tables.origins.is_empty());
    }

    #[test]
    fn rows_without_end_take_bounded_memory() {
        let mut tables = Tables::default();
        let mut refused = 0;
        for number in 0..MAX_ROWS + 5 {
            let key = number.to_string();
            let outcome = tables.apply(Table::CodeIds, key.as_bytes(), Some(b"1"), &Origin::default());
            refused += usize::from(outcome.is_err());
        }
        assert_eq!((refused, tables.policy.code_ids.len()), (5, MAX_ROWS));
        let large = vec![b' '; MAX_BYTES];
        assert!(
            tables
                .apply(Table::HostData, b"aa", Some(&large), &Origin::default())
                .is_err()
        );
    }

    #[test]
    fn lower_minima_and_lost_feeds_are_told_apart_from_decisions() {
        let before = applied(&[
            (Table::MinimumTcb, "00a00f11", Some(r#"{"snp":24,"microcode":219}"#)),
            (Table::MinimumTcb, "00a10f11", Some(r#"{"snp":24}"#)),
            (Table::UvmRoots, "did", Some(r#"{"a":{"svn":"1"},"b":{"svn":"1"}}"#)),
        ]);
        let after = applied(&[
            (Table::MinimumTcb, "00a00f11", Some(r#"{"snp":22,"microcode":220}"#)),
            (Table::UvmRoots, "did", Some(r#"{"b":{"svn":"2"}}"#)),
        ]);
        let weakened = after.weakened_since(&before);
        assert_eq!(weakened.minima.len(), 1);
        assert!(weakened.minima[0].starts_with("00a00f11: snp ("), "{weakened:?}");
        assert_eq!(weakened.feeds, ["a of did"]);
        let nothing = before.weakened_since(&after);
        assert_eq!((nothing.minima.len(), nothing.feeds.len()), (1, 0));
    }
}
