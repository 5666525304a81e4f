//! Which tables a governance script may read and write (recovery specification, section 4.4).

use serde::{Deserialize, Serialize};

use crate::tables::names::CCF_PREFIX;

const PUBLIC: &str = "public:";
pub(super) const GOVERNANCE: &str = "public:ccf.gov.";
const EXPLANATION: &str = "https://microsoft.github.io/CCF/main/audit/read_write_restrictions.html";

/// What the running function may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Access {
    /// `validate`, `vote`, `resolve`.
    ReadOnly,
    /// `apply`.
    ReadWrite,
}

/// What it may do with one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permission {
    None,
    Read,
    Write,
    Both,
}

impl Access {
    fn to(self, table: &str) -> Permission {
        match self {
            _ if !table.starts_with(PUBLIC) => Permission::None,
            Access::ReadOnly if table.starts_with(GOVERNANCE) => Permission::Read,
            Access::ReadWrite if table.starts_with(GOVERNANCE) => Permission::Both,
            // CCF's own, such as `public:ccf.internal.`: for the node to write.
            _ if table.starts_with(CCF_PREFIX) => Permission::Read,
            Access::ReadOnly => Permission::None,
            Access::ReadWrite => Permission::Write,
        }
    }

    /// Whether `method` may be called on `table`.
    ///
    /// # Errors
    /// The text of the TypeError to throw.
    pub(super) fn check(self, table: &str, method: &str, writes: bool) -> Result<(), String> {
        let kind = match (self.to(table), writes) {
            (Permission::Both, _) | (Permission::Read, false) | (Permission::Write, true) => return Ok(()),
            (Permission::Read, true) => "read-only",
            (Permission::Write, false) => "write-only",
            (Permission::None, _) => "inaccessible",
        };
        let context = match self {
            Access::ReadOnly => "read-only governance",
            Access::ReadWrite => "read-write governance",
        };
        Err(format!(
            "Cannot call {method} on table named {table}. This table is {kind} in current ({context}) execution context. \
             See {EXPLANATION} for more detail."
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_open_to_governance_as_ccf_says() {
        use Permission::{Both, None, Read, Write};
        for (table, reading, applying) in [
            ("public:ccf.gov.members.info", Read, Both),
            ("public:ccf.internal.signatures", Read, Read),
            ("public:ccf.other", Read, Read),
            ("public:records", None, Write),
            ("public:ccfy", None, Write),
            ("records", None, None),
            ("ccf.gov.secret", None, None),
            ("", None, None),
        ] {
            assert_eq!(
                (Access::ReadOnly.to(table), Access::ReadWrite.to(table)),
                (reading, applying),
                "{table}"
            );
        }
    }

    #[test]
    fn a_denial_names_method_table_and_why() {
        let denied = Access::ReadOnly.check("public:ccf.gov.x", "set", true).unwrap_err();
        assert!(
            denied.starts_with("Cannot call set on table named public:ccf.gov.x. This table is read-only"),
            "{denied}"
        );
        assert!(Access::ReadWrite.check("public:ccf.gov.x", "set", true).is_ok());
        assert!(Access::ReadWrite.check("public:app", "get", false).is_err());
    }
}
