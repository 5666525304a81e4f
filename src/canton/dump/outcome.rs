//! What came of reading a source.

use super::sql::Sql;
use super::{Format, Header, Read};
use crate::canton::Code;
use crate::canton::finding::Ending;

/// A header of which nothing is known.
pub(super) fn header(format: Format) -> Header {
    Header {
        format,
        started: None,
        completed: None,
        zone_known: false,
        database: None,
        server_version: None,
        dumper_version: None,
        complete: false,
    }
}

/// Puts together what came of it.
pub(super) fn finish(sql: Sql<'_>, mut header: Header) -> Read {
    let has = |codes: &[Code]| codes.iter().any(|code| sql.findings.has(*code));
    let ending = match () {
        () if has(&[Code::DatabaseRefused]) => Ending::Refused,
        () if has(&[Code::NotADump, Code::DumpUnsupported]) => Ending::Unreadable,
        () if has(&[Code::DumpCutOff]) || sql.lost > 0 => Ending::Partial,
        () => Ending::Clean,
    };
    header.complete &= !has(&[
        Code::DatabaseRefused,
        Code::NotADump,
        Code::DumpUnsupported,
        Code::DumpCutOff,
    ]);
    Read {
        header,
        findings: sql.findings,
        ending,
    }
}
