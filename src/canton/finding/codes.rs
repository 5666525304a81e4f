//! The register of Canton's findings. Codes are never reused.

use crate::report::register::register;

register! {
    // C01: backups.

    // C0140 to C0149: dumps and databases as rows.
    /// A file or directory is no dump of PostgreSQL, or its beginning is damaged.
    NotADump = "C0140", Error, "give what pg_dump or pg_dumpall wrote, whole, or the address of the running database";
    /// A dump ends before its end, or a part of it is missing: a restore from it would lose data.
    DumpCutOff = "C0141", Error, "make the dump again, or copy it again whole; what could be read was used";
    /// Rows of a dump could not be read.
    DumpRowsBroken = "C0142", Error, "look at the dump at this place; dump the database with pg_dump and default options";
    /// A dump is of a kind that is not read natively.
    DumpUnsupported = "C0143", Error, "turn it into SQL with `pg_restore -f plain.sql DUMP`, and give that file";
    /// A running database could not be reached, or it refused.
    DatabaseRefused = "C0144", Error, "check address, user, password and the database's log; a dump of it does as well";

    // C0150 to C0169: a participant's database.
    /// A database holds no table of a participant's commitments.
    NoCommitmentTables = "C0150", Warning, "give the participant's own database: not the apps', a sequencer's or a mediator's";
    /// A database keeps commitments in tables that are not known, as Canton 3.6 and later do.
    NewCommitmentTables = "C0151", Warning, "use the participant's logs; commitments of this Canton can't be read from its database";
    /// A database does not say which synchronizer some of its commitments are of.
    SynchronizerUnnamed = "C0152", Info, "name the synchronizer by the index that is shown";
    /// Rows of a participant's database hold what is not known there.
    CommitmentRowsOdd = "C0153", Warning, "check that the database is a participant's, of Canton 3.0 to 3.5";
    /// Several participants' databases are in one dump.
    SeveralParticipants = "C0154", Error, "give one participant's database: `pg_dump DATABASE`, with `--schema` where they share one";

    // C02: identities.

    // C03: logs and evidence.
    /// A file is compressed, and ends or breaks off in the middle.
    CutOff = "C0301", Warning, "what could be read was used; give a whole copy of the file if there is one";

    // C04: the agreed timestamp.

    // C05: fetching.

    // C06: merging.

    // C07: Kubernetes: placing and scaling.

    // C08: runbooks.

    // C09: verification after a recovery.
}
