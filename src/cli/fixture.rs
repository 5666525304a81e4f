//! `rekindle fixture`: writes a made-up service history with all its keys.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::{Common, output};
use crate::crypto::Curve;
use crate::error::{Error, Result};
use crate::fixture::{Expected, Fork, Lie, Options, Platform, generate};
use crate::format::domain::EntryType;
use crate::journal::SignatureMode;
use crate::shown::Show;

/// Write a made-up service history, with all its keys, for tests, rehearsals and measurements.
///
/// The directory gets `ledger/`, `snapshots/`, `common/` (members' certificates and keys, the service's certificate)
/// and `expected.json`, what a reader must find. The same options and seed give the same bytes everywhere. The keys are
/// no secrets: never use them for anything else.
///
/// With --superseded-tail, `superseded/1` and so on are the copies of primaries that lost an election; with --fork, `fork`
/// is a whole second history that contradicts the first. Both are for `rekindle compare`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory to write to; must be empty or not exist yet.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Number of application entries; signatures, governance and snapshots come on top.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub entries: u64,
    /// Bytes of each value; an entry is about 200 bytes larger.
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub value_size: usize,
    /// Share of the entries that write to a private map, 0 to 1.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.5)]
    pub private: f64,
    /// Number of application entries between signatures.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub signature_every: u64,
    /// Bytes at which a chunk ends, at the next signature.
    #[arg(long, value_name = "BYTES", default_value_t = 5_000_000)]
    pub chunk_size: u64,
    /// Number of members who hold a recovery share.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub members: usize,
    /// Number of shares that a recovery needs.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub threshold: usize,
    /// Number of recovery owners, who hold the full key; not counted in --members. Every second recovery is theirs.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub owners: usize,
    /// Replace the ledger secret after every so many application entries; 0: never.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub rekey_every: u64,
    /// Give out new shares after every so many application entries; 0: never.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub reshare_every: u64,
    /// Number of disaster recoveries, spread evenly over the entries.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub recoveries: u64,
    /// Take a snapshot at the signature after every so many application entries; 0: never.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub snapshot_every: u64,
    /// Seal a lie into every snapshot, consistent with its digest, evidence and receipt: a public or private value, the seqno
    /// of a write, a key that is left out, one that nobody wrote, or a map.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub snapshots_lie: Option<LieName>,
    /// Number of nodes in each service; the first leads.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub nodes: usize,
    /// Elect another node after every so many application entries, which raises the view by one; 0: never.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub election_every: u64,
    /// At each election, keep the old primary's copy of the ledger, with so many signed entries that no other node got.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub superseded_tail: u64,
    /// Number of primaries lost at each election, one after the other; each raises the view by one.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub lost_primaries: u64,
    /// Write a second history that contradicts the first: signed in the same view; a higher view that begins before what
    /// is committed in the first; or another service that recovered the same ledger.
    #[arg(long, value_enum, value_name = "KIND")]
    pub fork: Option<ForkKind>,
    /// Curve of the service's and the nodes' keys.
    #[arg(long, value_enum, default_value_t = CurveName::P384)]
    pub curve: CurveName,
    /// Who signs: the node (up to CCF 5), node and service (6 and 7), or the service alone (CCF 7).
    #[arg(long, value_enum, default_value_t = Signatures::Dual)]
    pub signatures: Signatures,
    /// Number of different keys in each application map.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub keys: u64,
    /// Number of entries after the last signature, which a recovery would drop.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub unsigned_tail: u64,
    /// Leave the `.recovery` chunks of a last recovery that did not open.
    #[arg(long)]
    pub unfinished_recovery: bool,
    /// Shares of 113 bytes, as before CCF 4.0.9, up to the first recovery.
    #[arg(long)]
    pub old_shares: bool,
    /// Give members, users, nodes and the service data of this depth, odd in every other way too; 0: none.
    #[arg(long, value_name = "DEPTH", default_value_t = 0)]
    pub odd_data: usize,
    /// Let service.info name the creation of the service before (CCF since October 2025) instead of its own last write.
    #[arg(long)]
    pub links_to_creation: bool,
    /// Type of the entries: 4, or 0 (CCF 1), 2 or 3 (development versions of CCF 2; the official Python reader
    /// can't read 2). With all but 4 the node alone signs, as these versions did.
    #[arg(long, value_name = "TYPE", default_value_t = 4)]
    pub entry_type: u8,
    /// What the nodes run on: nothing, or made SEV-SNP chips, whose root no release believes.
    #[arg(long, value_enum, default_value_t = PlatformName::Virtual)]
    pub platform: PlatformName,
    /// Everything random comes from this number.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// Curves by the names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CurveName {
    /// NIST P-256.
    P256,
    /// NIST P-384, CCF's default.
    P384,
}

/// Platforms by the names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlatformName {
    /// Nothing vouches for a node.
    Virtual,
    /// AMD SEV-SNP, made.
    Snp,
}

/// Lies by the names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LieName {
    /// A value in a public map.
    PublicValue,
    /// A value in a private map.
    PrivateValue,
    /// When a value was written.
    Version,
    /// A key is left out.
    MissingKey,
    /// A key that nobody wrote.
    ExtraKey,
    /// A map that nobody wrote to.
    ExtraMap,
}

/// Kinds of forks by the names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ForkKind {
    /// Both histories are signed in one view.
    SameView,
    /// A higher view begins before something committed.
    Committed,
    /// Two services recover one ledger.
    Recovery,
}

/// Signature modes by the names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Signatures {
    /// The node alone.
    Node,
    /// Node and service.
    Dual,
    /// The service alone, COSE.
    Cose,
}

impl Args {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// [`Error::Usage`] for an entry type that doesn't exist.
    pub fn options(&self) -> Result<Options> {
        Ok(Options {
            entries: self.entries,
            value_size: self.value_size,
            private: self.private,
            signature_every: self.signature_every,
            chunk_size: self.chunk_size,
            members: self.members,
            threshold: self.threshold,
            owners: self.owners,
            rekey_every: self.rekey_every,
            reshare_every: self.reshare_every,
            recoveries: self.recoveries,
            snapshot_every: self.snapshot_every,
            snapshots_lie: self.snapshots_lie.map(|lie| match lie {
                LieName::PublicValue => Lie::PublicValue,
                LieName::PrivateValue => Lie::PrivateValue,
                LieName::Version => Lie::Version,
                LieName::MissingKey => Lie::MissingKey,
                LieName::ExtraKey => Lie::ExtraKey,
                LieName::ExtraMap => Lie::ExtraMap,
            }),
            nodes: self.nodes,
            election_every: self.election_every,
            superseded_tail: self.superseded_tail,
            lost_primaries: self.lost_primaries,
            fork: self.fork.map(|kind| match kind {
                ForkKind::SameView => Fork::SameView,
                ForkKind::Committed => Fork::Committed,
                ForkKind::Recovery => Fork::Recovery,
            }),
            curve: match self.curve {
                CurveName::P256 => Curve::P256,
                CurveName::P384 => Curve::P384,
            },
            signatures: match self.signatures {
                Signatures::Node => SignatureMode::Node,
                Signatures::Dual => SignatureMode::Dual,
                Signatures::Cose => SignatureMode::Cose,
            },
            keys: self.keys,
            unsigned_tail: self.unsigned_tail,
            unfinished_recovery: self.unfinished_recovery,
            old_shares: self.old_shares,
            odd_data: self.odd_data,
            links_to_creation: self.links_to_creation,
            entry_type: match self.entry_type {
                0 => EntryType::WriteSet,
                2 => EntryType::WriteSetWithClaims,
                3 => EntryType::WriteSetWithCommitEvidence,
                4 => EntryType::WriteSetWithCommitEvidenceAndClaims,
                other => {
                    return Err(Error::Usage(format!(
                        "entry type {other} is not written: choose 0, 2, 3 or 4"
                    )));
                }
            },
            platform: match self.platform {
                PlatformName::Virtual => Platform::Virtual,
                PlatformName::Snp => Platform::Snp,
            },
            seed: self.seed,
        })
    }
}

/// Runs the command; answers the exit code.
///
/// # Errors
/// [`Error::Usage`] for options that can't be, or a directory that is not empty; [`Error::Io`].
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let expected = generate(&args.options()?, &args.out, super::progress::for_terminal().as_ref())?;
    match common.json {
        true => output::json(&expected)?,
        false => output::text(&summary(args, &expected))?,
    }
    Ok(0)
}

fn summary(args: &Args, expected: &Expected) -> String {
    let signed = expected.last_signed.map_or("nothing".into(), |txid| txid.to_string());
    format!(
        "Wrote {} entries (signed up to {signed}), {} service identities, {} ledger secrets and {} snapshots to {}.\n",
        expected.entries,
        expected.services.len(),
        expected.secrets.len(),
        expected.snapshots.len(),
        args.out.shown()
    )
}
