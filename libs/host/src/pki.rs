//! The built-in certificate authority: made on first start, signs the services' certificates. An operator's own
//! certificates are used instead when `<ca_dir>/<name>.pem` and `.key` are there (cert-manager mounts them so).

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};
use x509_parser::pem::parse_x509_pem;

/// Services name each other `<service>.gantry.internal`.
pub const SERVER_SUFFIX: &str = "gantry.internal";
const CA_YEARS: i64 = 10;
const LEAF_DAYS: i64 = 397;

/// A certificate chain with its key, in PEM.
#[derive(Clone)]
pub struct Leaf {
    pub chain_pem: String,
    pub key_pem: String,
}

impl Leaf {
    /// # Errors
    /// When the PEM is damaged.
    pub fn der(&self) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let chain = CertificateDer::pem_slice_iter(self.chain_pem.as_bytes()).collect::<Result<Vec<_>, _>>().context("certificate")?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).context("private key")?;
        Ok((chain, key))
    }

    /// Whether it is one of the authority with this certificate (PEM), and two thirds of its time are over.
    fn is_due(&self, ca_pem: &str, now: OffsetDateTime) -> bool {
        let due = || {
            let ((_, ca), (_, own)) = (parse_x509_pem(ca_pem.as_bytes()).ok()?, parse_x509_pem(self.chain_pem.as_bytes()).ok()?);
            let (ca, own) = (ca.parse_x509().ok()?, own.parse_x509().ok()?);
            let (from, until) = (own.validity().not_before.timestamp(), own.validity().not_after.timestamp());
            Some(own.issuer().as_raw() == ca.subject().as_raw() && now.unix_timestamp() >= from + (until - from) / 3 * 2)
        };
        due().unwrap_or(false)
    }
}

/// The authority of one installation.
pub struct Pki {
    dir: PathBuf,
    pub ca_pem: String,
    pub(crate) ca_key: Option<String>,
}

impl Pki {
    /// Opens the authority in `dir`, making it if there is none. Two processes may do this at once.
    ///
    /// # Errors
    /// When the folder cannot be written, or holds something else.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let (pem, key) = (dir.join("ca.pem"), dir.join("ca.key"));
        if !pem.exists() {
            make_ca(&pem, &key)?;
        }
        let ca_pem = std::fs::read_to_string(&pem).with_context(|| format!("cannot read {}", pem.display()))?;
        Ok(Self { dir: dir.to_owned(), ca_pem, ca_key: std::fs::read_to_string(&key).ok() })
    }

    /// The operator's certificate of service `name`, or a node's own; none if the authority makes it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn kept(&self, name: &str) -> anyhow::Result<Option<Leaf>> {
        let (chain, key) = (self.dir.join(format!("{name}.pem")), self.dir.join(format!("{name}.key")));
        if !chain.exists() || !key.exists() {
            return Ok(None);
        }
        Ok(Some(Leaf { chain_pem: std::fs::read_to_string(chain)?, key_pem: std::fs::read_to_string(key)? }))
    }

    /// The certificate of service `name`: the operator's if there is one, else a fresh one from the authority.
    ///
    /// # Errors
    /// When there is neither a certificate nor the authority's key.
    pub fn leaf(&self, name: &str, extra_hosts: &[&str]) -> anyhow::Result<Leaf> {
        match self.kept(name)? {
            Some(kept) => Ok(kept),
            None => self.fresh(name, extra_hosts),
        }
    }

    /// Another certificate in the place of `present`, when it is time for it. None before that, and where the authority's key is not at
    /// hand or somebody else's authority made it: then it is others who renew it.
    ///
    /// # Errors
    /// When the authority is damaged.
    pub fn renewed(&self, name: &str, extra_hosts: &[&str], present: &Leaf, now: OffsetDateTime) -> anyhow::Result<Option<Leaf>> {
        if self.ca_key.is_none() || !present.is_due(&self.ca_pem, now) {
            return Ok(None);
        }
        self.fresh(name, extra_hosts).map(Some)
    }

    fn fresh(&self, name: &str, extra_hosts: &[&str]) -> anyhow::Result<Leaf> {
        let Some(ca_key) = &self.ca_key else {
            bail!("{} has neither {name}.pem nor the authority's ca.key", self.dir.display());
        };
        let ca_key = KeyPair::from_pem(ca_key).context("ca.key")?;
        let issuer = Issuer::from_ca_cert_pem(&self.ca_pem, ca_key).context("ca.pem")?;
        let mut hosts = vec![format!("{name}.{SERVER_SUFFIX}"), name.to_owned(), "localhost".to_owned()];
        hosts.extend(extra_hosts.iter().map(|h| (*h).to_owned()));
        hosts.sort();
        hosts.dedup();
        let mut params = CertificateParams::new(hosts)?;
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        params.subject_alt_names.push(SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()));
        params.subject_alt_names.push(SanType::URI(format!("spiffe://gantry/{name}").try_into()?));
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        validity(&mut params, Duration::days(LEAF_DAYS));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Leaf { chain_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// Writes a certificate for a program outside (Prometheus) as `<dir>/<name>.pem` and `.key`, and another one when it is time.
    /// True if it did.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn write_leaf(&self, name: &str, now: OffsetDateTime) -> anyhow::Result<bool> {
        let leaf = match self.kept(name)? {
            None => self.fresh(name, &[])?,
            Some(present) => match self.renewed(name, &[], &present, now)? {
                None => return Ok(false),
                Some(leaf) => leaf,
            },
        };
        // Each in one step: whoever reads them now sees the old or the new. The certificate last: without it they are written again.
        for (ending, text) in [("key", &leaf.key_pem), ("pem", &leaf.chain_pem)] {
            let (draft, file) = (self.dir.join(format!("{name}.{ending}.new")), self.dir.join(format!("{name}.{ending}")));
            write_private(&draft, text)?;
            if ending == "pem" {
                std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o644))?;
            }
            std::fs::rename(&draft, &file).with_context(|| format!("cannot write {}", file.display()))?;
            sync_folder(&file);
        }
        Ok(true)
    }
}

#[allow(clippy::disallowed_methods, reason = "certificates are made before there is an Env")]
fn validity(params: &mut CertificateParams, how_long: Duration) {
    let now = OffsetDateTime::now_utc();
    // Clocks of machines differ.
    params.not_before = now - Duration::hours(1);
    params.not_after = now + how_long;
}

fn make_ca(pem: &Path, key_file: &Path) -> anyhow::Result<()> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, "Gantry development CA");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    validity(&mut params, Duration::days(365 * CA_YEARS));
    let key = KeyPair::generate()?;
    // Who links the key first is the maker; the other one waits for the certificate and uses it.
    let draft = key_file.with_extension(format!("key.{}", std::process::id()));
    write_private(&draft, &key.serialize_pem())?;
    let first = std::fs::hard_link(&draft, key_file).is_ok();
    std::fs::remove_file(&draft)?;
    if first {
        return write_ca(&params, &key, pem);
    }
    for _ in 0..40 {
        if pem.exists() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // Its maker was ended right after it had linked the key. Should it only have been slow: certificates of one key are as good as each other.
    let key = std::fs::read_to_string(key_file).with_context(|| format!("cannot read {}", key_file.display()))?;
    let key = KeyPair::from_pem(&key).with_context(|| format!("{} is no key; remove it to make a new authority", key_file.display()))?;
    write_ca(&params, &key, pem)
}

/// The authority's certificate, readable by all whatever the umask.
fn write_ca(params: &CertificateParams, key: &KeyPair, pem: &Path) -> anyhow::Result<()> {
    let draft = pem.with_extension(format!("pem.{}", std::process::id()));
    write_private(&draft, &params.self_signed(key)?.pem())?;
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o644))?;
    std::fs::rename(&draft, pem).with_context(|| format!("cannot write {}", pem.display()))?;
    sync_folder(pem);
    Ok(())
}

/// Has the name of a new file put on the disk, so that a power cut does not take it. There are file systems that cannot.
pub(crate) fn sync_folder(file: &Path) {
    if let Some(folder) = file.parent().and_then(|folder| std::fs::File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path).with_context(|| path.display().to_string())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_whose_maker_was_killed_half_way_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap().serialize_pem();
        std::fs::write(dir.path().join("ca.key"), &key).unwrap();
        let pki = Pki::open(dir.path()).unwrap();
        assert!(pki.leaf("echo", &[]).unwrap().der().is_ok());
        assert_eq!(std::fs::read_to_string(dir.path().join("ca.key")).unwrap(), key, "of the key that is there");
        assert_eq!(Pki::open(dir.path()).unwrap().ca_pem, pki.ca_pem, "once");
        let mode = std::fs::metadata(dir.path().join("ca.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "whatever the umask");
    }

    #[test]
    fn another_certificate_is_made_when_two_thirds_of_the_time_are_over_and_not_before() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let pki = Pki::open(dir.path()).unwrap();
        let now = gantry_kernel::Env::system().now();
        let (soon, later) = (now + Duration::days(LEAF_DAYS / 2), now + Duration::days(LEAF_DAYS * 3 / 4));
        let leaf = pki.leaf("echo", &[]).unwrap();
        assert!(pki.renewed("echo", &[], &leaf, soon).unwrap().is_none());
        let next = pki.renewed("echo", &[], &leaf, later).unwrap().expect("it is time");
        assert!(next.chain_pem != leaf.chain_pem && next.der().is_ok());
        // Another authority's, and one without the key to make any.
        let operators = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["echo".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "an operator's");
        let operators = Leaf { chain_pem: params.self_signed(&operators).unwrap().pem(), key_pem: operators.serialize_pem() };
        let for_ever = now + Duration::days(365 * 5_000);
        assert!(pki.renewed("echo", &[], &operators, for_ever).unwrap().is_none());
        std::fs::copy(dir.path().join("ca.pem"), other.path().join("ca.pem")).unwrap();
        assert!(Pki::open(other.path()).unwrap().renewed("echo", &[], &leaf, later).unwrap().is_none());
    }

    #[test]
    fn a_program_outside_has_a_certificate_that_is_renewed_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path()).unwrap();
        let now = gantry_kernel::Env::system().now();
        assert!(pki.write_leaf("prometheus", now).unwrap());
        let first = pki.kept("prometheus").unwrap().expect("written");
        assert!(!pki.write_leaf("prometheus", now).unwrap());
        assert_eq!(pki.kept("prometheus").unwrap().expect("there").chain_pem, first.chain_pem);
        assert!(pki.write_leaf("prometheus", now + Duration::days(LEAF_DAYS)).unwrap());
        let second = pki.kept("prometheus").unwrap().expect("there");
        assert!(second.chain_pem != first.chain_pem && second.key_pem != first.key_pem);
        assert_eq!(std::fs::metadata(dir.path().join("prometheus.key")).unwrap().permissions().mode() & 0o777, 0o600);
        // Only half of it was written: a crash.
        std::fs::remove_file(dir.path().join("prometheus.pem")).unwrap();
        assert!(pki.write_leaf("prometheus", now).unwrap());
    }

    #[test]
    fn two_processes_that_start_at_once_agree_on_one_authority() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let seen: Vec<String> = (0..4)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || Pki::open(&path).unwrap().ca_pem)
            })
            .map(|t| t.join().unwrap())
            .collect();
        assert!(seen.windows(2).all(|w| w[0] == w[1]));
        assert!(Pki::open(dir.path()).unwrap().leaf("identity", &[]).unwrap().der().is_ok());
    }
}
