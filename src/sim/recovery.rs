//! From what a disaster has left to a new service on top of it: as a node does it, with the node's own functions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha20Rng;

use super::chance::Chance;
use super::disk::LyingDisk;
use super::of_error;
use super::promises::Promises;
use super::service::Service;
use super::world::{World, read_directory};
use crate::attestation::VirtualQuote;
use crate::core::{Core, Milestone, Now, Role, Settings, SignatureSettings, SnapshotSettings};
use crate::crypto::{Curve, sha256};
use crate::error::Result;
use crate::format::Seqno;
use crate::format::domain::EntryType;
use crate::journal::files::ChunkFiles;
use crate::journal::snapshot::SnapshotFiles;
use crate::kv::store::Store;
use crate::node::config::Config;
use crate::node::description::{net_interfaces, node_name};
use crate::node::directory::{check_ending, check_next_is_free, end_ledger, set_aside_leftovers};
use crate::node::found::{Begun, begin};
use crate::node::healing::Beginning;
use crate::node::opening::InterruptedOpening;
use crate::node::public::{Public, ledger_directories, list, recover_public};
use crate::node::session::Standing;
use crate::node::status::{NodeState, Status};
use crate::recovery::fingerprint::Fingerprint;
use crate::recovery::private::load_private;
use crate::recovery::secrets::LedgerSecrets;
use crate::recovery::state::MappedSnapshot;
use crate::report::progress::Silent;
use crate::service::create::{Founder, SealingPlan};
use crate::service::identity::{NodeIdentity, ServiceIdentity, ServiceName};

/// Where the reading engine and the node's own functions find the files: on a real file system, in memory if there is one.
pub(super) struct Place {
    pub(super) config: Config,
    pub(super) ledger: PathBuf,
    pub(super) snapshots: PathBuf,
}

impl Place {
    /// A place in the directory `scratch`, which is there.
    pub(super) fn new(scratch: &Path) -> std::result::Result<Place, String> {
        let (ledger, snapshots) = (scratch.join("ledger"), scratch.join("snapshots"));
        let config = serde_json::json!({
            "network": {
                "node_to_node_interface": {"bind_address": "127.0.0.1:0"},
                "rpc_interfaces": {"sim": {"bind_address": "127.0.0.1:0"}},
            },
            "node_certificate": {"curve_id": "Secp256R1"},
            "command": {"type": "Recover", "service_certificate_file": "service_cert.pem", "recover": {}},
            "ledger": {"directory": ledger},
            "snapshots": {"directory": snapshots},
        });
        let loaded = Config::parse(&config.to_string()).map_err(|why| format!("the configuration: {why:?}"))?;
        Ok(Place {
            config: loaded.config,
            ledger,
            snapshots,
        })
    }

    /// Puts these files there, and nothing else.
    pub(super) fn put(&self, files: &[(PathBuf, Vec<u8>)]) -> std::result::Result<(), String> {
        for directory in [&self.ledger, &self.snapshots] {
            if directory.exists() {
                std::fs::remove_dir_all(directory).map_err(|why| why.to_string())?;
            }
            std::fs::create_dir_all(directory).map_err(|why| why.to_string())?;
        }
        for (path, content) in files {
            std::fs::write(path, content).map_err(|why| why.to_string())?;
        }
        Ok(())
    }

    /// Everything that is there.
    pub(super) fn take(&self) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut files = read_directory(&self.ledger)?;
        files.extend(read_directory(&self.snapshots)?);
        Ok(files)
    }
}

/// The ledger that was recovered: what its private part needs.
pub(super) struct Old {
    snapshot: Option<PathBuf>,
    last: Seqno,
    fingerprint: Fingerprint,
}

/// Finishes what an opening has left, as a node does first.
pub(super) fn finish(place: &Place) -> std::result::Result<(), String> {
    let directories = ledger_directories(&place.config);
    let opening = InterruptedOpening::find(&directories, &place.ledger).map_err(of_error)?;
    let mut files = opening.list(&directories).map_err(of_error)?;
    opening.finish(&mut files, &mut None).map_err(of_error)
}

/// Reads what is there. Where the node refuses to lose what was signed and not promised, as after a crash that tore what
/// stands before a signature, it is told to, as an operator would.
fn read(place: &Place, promises: &Promises, disk: &LyingDisk) -> std::result::Result<(Public, bool), String> {
    let config = &place.config;
    let files = list(config, &InterruptedOpening::default()).map_err(|why| why.to_string())?;
    let refused = match recover_public(config, files.clone(), None, None, &Status::default()) {
        Ok(public) => return Ok((public, false)),
        Err(why) => why.to_string(),
    };
    let asked = refused.rsplit_once("--drop-after ").map(|(_, asked)| asked);
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let asked = asked.and_then(|text| digits(text).parse().ok());
    let Some(asked) = asked.filter(|asked| *asked >= promises.last()) else {
        return Err(format!("the recovery is refused: {refused}"));
    };
    disk.say(|| format!("torn before a signature that was not promised: --drop-after {asked}"));
    let public = recover_public(config, files, None, Some(asked), &Status::default());
    public.map(|public| (public, true)).map_err(|why| why.to_string())
}

/// Recovers what is in `place`, and begins a new service on the disk.
pub(super) fn recover(
    world: &World,
    place: &Place,
    disk: &LyingDisk,
    promises: &mut Promises,
    (now, mut rng): (Now, ChaCha20Rng),
) -> std::result::Result<(Service, Old, bool), String> {
    let (mut public, dropped) = read(place, promises, disk)?;
    let config = &place.config;
    let foundation = &public.foundation;
    let last = foundation.signed.txid.seqno;
    if last < promises.last() {
        return Err(format!(
            "{} was promised, the recovery goes on from {last}",
            promises.last()
        ));
    }
    check_next_is_free(&place.ledger, last + 1, &public.files, &InterruptedOpening::default()).map_err(of_error)?;
    check_ending(&public.files, foundation, dropped).map_err(of_error)?;
    let store = Store::with_public(std::mem::take(&mut public.base), last);
    let name = ServiceName::Text("CN=CCF Service");
    let identity =
        NodeIdentity::generate_at(node_name(config).map_err(of_error)?, now.unix_s, &mut rng).map_err(of_error)?;
    let service = ServiceIdentity::generate_at(Curve::P256, &name, 1000, now.unix_s, &mut rng).map_err(of_error)?;
    let quote = VirtualQuote::new(&sha256(b"simulated"), &identity.key.verifying_key().id());
    let evidence = quote.into();
    let published = BTreeMap::from([("sim".to_owned(), "127.0.0.1:1".to_owned())]);
    let founder = Founder {
        interfaces: net_interfaces(config, &published),
        node_address: "127.0.0.1:2",
        identity: &identity,
        encryption_key: &world.node_encryption_key,
        evidence: &evidence,
        node_data: None,
        service_data: None,
        sealing: SealingPlan::default(),
    };
    let settings = settings(&mut rng);
    disk.say(|| format!("recovered up to {}; {settings:?}", foundation.signed.txid));
    let Begun { core, standing, writes } = begin(
        &founder,
        &service,
        foundation,
        &store,
        settings,
        &Beginning::default(),
        &mut rng,
    )
    .map_err(of_error)?;
    set_aside_leftovers(&public.files, &place.ledger).map_err(of_error)?;
    end_ledger(&public.files, &place.ledger, foundation, dropped).map_err(of_error)?;
    disk.take_over(place.take().map_err(of_error)?);
    promises.begin(last + 1);
    let mut begun = Service::new(disk, place, (core, store), (now, rng), standing);
    begun.own(promises, writes, Milestone::Created)?;
    let old = Old {
        snapshot: public.snapshot,
        last,
        fingerprint: foundation.fingerprint,
    };
    Ok((begun, old, dropped))
}

impl Service {
    fn new(
        disk: &LyingDisk,
        place: &Place,
        (core, store): (Core, Store),
        (now, rng): (Now, ChaCha20Rng),
        standing: Standing,
    ) -> Service {
        Service {
            core,
            disk: disk.clone(),
            files: ChunkFiles::new(disk.clone(), &place.ledger),
            snapshots: SnapshotFiles::new(disk.clone(), &place.snapshots),
            store,
            now,
            rng,
            identity: standing.service,
            secrets: standing.secrets,
            historical: standing.historical,
            root: standing.root,
            state: NodeState::PartOfPublicNetwork,
            under_way: None,
            draft: None,
            written: None,
            unlocked: None,
            unread: None,
            before: None,
            next_ticket: 0,
            is_open: false,
            has_stopped: false,
            has_given_up: false,
            role: Role::Alone,
            only_full: false,
        }
    }
}

/// Decrypts the old ledger with the secrets that the shares gave.
pub(super) fn read_private(
    place: &Place,
    old: &Old,
    secrets: &LedgerSecrets,
) -> std::result::Result<crate::kv::base::Base, String> {
    let files = list(&place.config, &InterruptedOpening::default()).map_err(of_error)?;
    let snapshot = old
        .snapshot
        .as_deref()
        .map(MappedSnapshot::open)
        .transpose()
        .map_err(of_error)?;
    let state = load_private(&files, snapshot.as_ref(), secrets, old.last, &Silent).map_err(of_error)?;
    if let Some(error) = state.findings.iter().find(|finding| finding.costs_entries()) {
        return Err(format!("the private ledger: {} {}", error.code.as_str(), error.message));
    }
    match state.fingerprint == old.fingerprint {
        true => Ok(state.base),
        false => Err("the private ledger is not the one that was verified".to_owned()),
    }
}

/// How the ledger is written.
fn settings(rng: &mut ChaCha20Rng) -> Settings {
    let snapshots = SnapshotSettings {
        tx_count: rng.within(6, 60) as u64,
        min_tx_count: 2,
        time_interval: std::time::Duration::ZERO,
    };
    Settings {
        chunk_size: rng.pick(&[1000, 4000, 12_000, 50_000]).unwrap_or(4000),
        entry_type: EntryType::WriteSetWithCommitEvidenceAndClaims,
        signatures: Some(SignatureSettings {
            tx_count: rng.within(1, 12) as u64,
            delay: std::time::Duration::from_millis(rng.within(100, 1500) as u64),
        }),
        max_uncommitted: rng.pick(&[0, 8, 25, 200]).unwrap_or(0),
        snapshots: rng.one_in(2).then_some(snapshots),
    }
}
