//! `rekindle member keygen`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use crate::cli::{Common, output};
use crate::crypto::Curve;
use crate::error::{Error, Result};
use crate::member::{Member, NewMember, governance};
use crate::shown::Show;

/// Make a new member's keys and certificate.
///
/// Writes NAME_cert.pem and NAME_privk.pem, and with --encryption-key NAME_enc_privk.pem and NAME_enc_pubk.pem. The
/// certificate and the public key are what the service is given. Files that exist are never overwritten.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the files and in the certificate, such as member0
    #[arg(value_name = "NAME")]
    name: String,
    /// Curve of the signing key
    #[arg(long, value_enum, default_value_t = CurveName::Secp384r1)]
    curve: CurveName,
    /// Make a key pair too that recovery shares are encrypted for
    #[arg(long)]
    encryption_key: bool,
    /// Validity of the certificate
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// Directory to write to; made if it is missing
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum CurveName {
    Secp384r1,
    Secp256r1,
}

pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let path = |suffix: &str| args.out.join(format!("{}_{suffix}.pem", args.name));
    let (certificate, key) = (path("cert"), path("privk"));
    let (encryption_private, encryption_public) = (path("enc_privk"), path("enc_pubk"));
    let mut paths = vec![&certificate, &key];
    if args.encryption_key {
        paths.extend([&encryption_private, &encryption_public]);
    }
    if let Some(exists) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(already_there(exists));
    }
    let curve = match args.curve {
        CurveName::Secp384r1 => Curve::P384,
        CurveName::Secp256r1 => Curve::P256,
    };
    let new = NewMember::generate(&args.name, curve, args.encryption_key, governance::now_s(), args.days)
        .map_err(super::failure)?;
    std::fs::create_dir_all(&args.out).map_err(Error::io("make directory", &args.out))?;
    write(&key, new.key_pem.as_bytes(), 0o600)?;
    if let Some((private, public)) = &new.encryption {
        write(&encryption_private, private.as_bytes(), 0o600)?;
        write(&encryption_public, public.as_bytes(), 0o644)?;
    }
    write(&certificate, new.certificate_pem.as_bytes(), 0o644)?;
    let member = Member::from_pem(&new.certificate_pem, &new.key_pem).map_err(super::failure)?;
    let files: Vec<String> = paths.iter().map(|path| path.shown().to_string()).collect();
    match common.json {
        true => output::json(&json!({"member_id": member.id(), "files": files}))?,
        false => {
            let lines: String = files.iter().map(|file| format!("wrote        {file}\n")).collect();
            output::text(&format!("member       {}\n{lines}", member.id()))?;
        }
    }
    Ok(0)
}

fn already_there(path: &Path) -> Error {
    Error::Usage(format!(
        "{} exists already, and keys are never overwritten: choose another name or another --out",
        path.shown()
    ))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|why| match why.kind() {
            std::io::ErrorKind::AlreadyExists => already_there(path),
            _ => Error::io("create", path)(why),
        })?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(Error::io("write", path))
}
