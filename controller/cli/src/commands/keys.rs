//! `aegis keys`: makes a development authority, and for each principal of a link a folder with its private key and
//! certificate. All files of one call appear at once or not at all, and no existing file is replaced.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aegis_files::Scratch;
use aegis_link::credentials::{AUTHORITY, CERTIFICATE, PRIVATE};
use aegis_link::{Endpoint, KeyExprs, Principal};
use clap::{Args, ValueEnum};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::exit::{Exit, Failure, OrExit, failure, say};

/// File of the authority's private key, beside the authority's certificate. Anyone who has this key can make certificates.
const AUTHORITY_KEY: &str = "ca.key";
/// Validity of the authority's certificate, days.
const AUTHORITY_DAYS: u32 = 3650;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Length of the longest common name that X.509 allows.
const LONGEST_NAME: usize = 64;

/// Arguments of `aegis keys`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis keys --out keys --host robot.local --host 192.0.2.7\n  \
                  aegis keys --out keys --add watcher --plant libero\n  \
                  aegis sim serve --listen tls/0.0.0.0:7447 --keys keys/plant\n  \
                  aegis demo --connect tls/robot.local:7447 --plant libero --keys keys/controller\n\n\
                  These are development keys: the authority's own key lies unencrypted in FOLDER/ca.key, and no \
                  certificate can be revoked before it ends.\ndocs/reference/security.md says what each party may do.")]
pub struct KeysArguments {
    /// Folder of the authority; it must be new, except with --add
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Name or address that plants and policies are reached at, besides this machine's own; may be repeated
    #[arg(long = "host", value_name = "NAME_OR_IP")]
    hosts: Vec<String>,
    /// How long the certificates are valid, days
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Name of the one plant that the certificates are for; without it they are for every plant
    #[arg(long, value_name = "NAME")]
    plant: Option<String>,
    /// Add one party's certificate to an existing authority
    #[arg(long, value_name = "PARTY")]
    add: Option<PartyName>,
}

/// A principal as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PartyName {
    Plant,
    Controller,
    Watcher,
    Operator,
    Policy,
    Watchdog,
}

impl From<PartyName> for Principal {
    fn from(name: PartyName) -> Self {
        match name {
            PartyName::Plant => Self::Plant,
            PartyName::Controller => Self::Controller,
            PartyName::Watcher => Self::Watcher,
            PartyName::Operator => Self::Operator,
            PartyName::Policy => Self::Policy,
            PartyName::Watchdog => Self::Watchdog,
        }
    }
}

/// A file to write.
struct File {
    path: PathBuf,
    text: String,
    private: bool,
}

impl File {
    fn new(path: impl Into<PathBuf>, text: String, private: bool) -> Self {
        Self { path: path.into(), text, private }
    }
}

/// Runs `aegis keys`.
pub fn run(arguments: &KeysArguments) -> Result<(), Failure> {
    let common_name = |party: Principal| party.common_name(arguments.plant.as_deref());
    check(arguments)?;
    let out = &arguments.out;
    if let Some(party) = arguments.add.map(Principal::from) {
        let (pem, issuer) = read_authority(out)?;
        let folder = out.join(common_name(party));
        write_new(&folder, &certify(arguments, party, &pem, &issuer)?)?;
        say!("{}: a development certificate of the authority in {}", folder.display(), out.display());
        return Ok(());
    }
    let (mut files, pem, issuer) = authority()?;
    for party in Principal::ALL {
        let folder = PathBuf::from(common_name(party));
        for file in certify(arguments, party, &pem, &issuer)? {
            files.push(File { path: folder.join(&file.path), ..file });
        }
    }
    write_new(out, &files)?;
    say!("{}: development keys, not for production", out.display());
    for party in Principal::ALL {
        say!("  --keys {}", out.join(common_name(party)).display());
    }
    say!("  {AUTHORITY_KEY} makes further certificates (--add); whoever has it can be anybody");
    Ok(())
}

fn check(arguments: &KeysArguments) -> Result<(), Failure> {
    if let Some(plant) = &arguments.plant {
        KeyExprs::of(plant).or_exit(Exit::Input)?;
        let longest = Principal::Controller.common_name(Some(plant)).len();
        if longest > LONGEST_NAME {
            let fits = LONGEST_NAME - (longest - plant.len());
            let message = format!(
                "--plant: found {} letters; valid is at most {fits}, as a certificate has room for",
                plant.len()
            );
            return Err(failure(Exit::Input, message));
        }
    }
    for host in &arguments.hosts {
        if format!("tls/{host}:0").parse::<Endpoint>().is_err() {
            let message =
                format!("--host: found {host}; valid is a host's name or an address, without a port");
            return Err(failure(Exit::Input, message));
        }
    }
    Ok(())
}

/// Makes a new authority. Returns its files, its certificate in PEM, and the issuer that signs with its key.
fn authority() -> Result<(Vec<File>, String, Issuer<'static, KeyPair>), Failure> {
    let key = KeyPair::generate().or_exit(Exit::Failed)?;
    let mut parameters = valid_for(AUTHORITY_DAYS, "AEGIS development authority")?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let pem = parameters.self_signed(&key).or_exit(Exit::Failed)?.pem();
    let files =
        vec![File::new(AUTHORITY, pem.clone(), false), File::new(AUTHORITY_KEY, key.serialize_pem(), true)];
    Ok((files, pem, Issuer::new(parameters, key)))
}

fn read_authority(folder: &Path) -> Result<(String, Issuer<'static, KeyPair>), Failure> {
    let read = |name: &str| {
        let file = folder.join(name);
        let wrong = |found: String| {
            let valid = "valid is a folder that `aegis keys --out` made";
            failure(Exit::Input, format!("{}: {found}; {valid}", file.display()))
        };
        fs::read_to_string(&file).map(|text| (text, file.clone())).map_err(|error| wrong(error.to_string()))
    };
    let ((pem, pem_file), (key, key_file)) = (read(AUTHORITY)?, read(AUTHORITY_KEY)?);
    let wrong = |file: &Path, error: rcgen::Error| {
        failure(Exit::Input, format!("{}: {error}; valid is what `aegis keys` wrote", file.display()))
    };
    let key = KeyPair::from_pem(&key).map_err(|error| wrong(&key_file, error))?;
    let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(|error| wrong(&pem_file, error))?;
    Ok((pem, issuer))
}

/// Makes a key and a certificate for one principal. Returns the files of the principal's folder. `authority` is the
/// authority's certificate in PEM.
fn certify(
    arguments: &KeysArguments,
    party: Principal,
    authority: &str,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<Vec<File>, Failure> {
    let mut parameters = valid_for(arguments.days, &party.common_name(arguments.plant.as_deref()))?;
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if party.listens() {
        let here = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let hosts: Vec<_> = here.into_iter().chain(arguments.hosts.clone()).collect();
        parameters.subject_alt_names = CertificateParams::new(hosts).or_exit(Exit::Input)?.subject_alt_names;
        parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    if party.connects() {
        parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    }
    let key = KeyPair::generate().or_exit(Exit::Failed)?;
    let certificate = parameters.signed_by(&key, issuer).or_exit(Exit::Failed)?;
    Ok(vec![
        File::new(AUTHORITY, authority.to_owned(), false),
        File::new(CERTIFICATE, certificate.pem(), false),
        File::new(PRIVATE, key.serialize_pem(), true),
    ])
}

fn valid_for(days: u32, common_name: &str) -> Result<CertificateParams, Failure> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).or_exit(Exit::Failed)?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // Valid from a day ago, for peers whose clocks are behind.
    parameters.not_before = epoch + now.saturating_sub(DAY);
    parameters.not_after = epoch + (now + DAY * days);
    Ok(parameters)
}

/// Writes a new folder, whole or not at all.
fn write_new(folder: &Path, files: &[File]) -> Result<(), Failure> {
    if folder.exists() {
        let message = format!(
            "{}: exists; valid is a folder that does not, for keys are never replaced",
            folder.display()
        );
        return Err(failure(Exit::Input, message));
    }
    let written = Scratch::beside(folder).and_then(|scratch| {
        write_files(scratch.path(), files)?;
        scratch.become_folder(folder)
    });
    written.map_err(|error| failure(Exit::Failed, format!("{}: cannot write: {error}", folder.display())))
}

fn write_files(folder: &Path, files: &[File]) -> io::Result<()> {
    for file in files {
        let path = folder.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, if file.private { 0o600 } else { 0o644 });
        options.open(&path)?.write_all(file.text.as_bytes())?;
    }
    Ok(())
}
