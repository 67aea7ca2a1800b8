//! A directory of a test's own: OpenLDAP's server with its configuration and data below a temporary folder, on free
//! ports of 127.0.0.1, with a certificate of an authority of its own. Ends with the test.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gantry_servers::{Need, install, is_root};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::port::free_port;

pub const BASE: &str = "dc=example,dc=org";
/// Who searches, and the password.
pub const SEARCHER: (&str, &str) = ("cn=gantry,dc=example,dc=org", "search-secret");
/// Who may change everything.
pub const ROOT: (&str, &str) = ("cn=root,dc=example,dc=org", "root-secret");
/// Entries that one search, or one page of it, gives at most.
pub const LIMIT: u16 = 500;

/// Stopped and removed on drop.
pub struct Slapd {
    folder: TempDir,
    program: PathBuf,
    child: Option<Child>,
    pub port: u16,
    pub tls_port: u16,
    /// The authority that signed its certificate (for `localhost`).
    pub ca_pem: String,
}

impl Slapd {
    /// Starts one with the base, `ou=people`, `ou=groups`, the searching account and `ldif`. `None` where there is no
    /// slapd and this user may not install one: said on the standard error.
    pub fn start(ldif: &str) -> Option<Self> {
        if Need::Slapd.find().is_err() && is_root() {
            install::ensure(&[Need::Slapd], &mut |line| eprintln!("slapd: {line}")).expect("slapd can be installed");
        }
        let found = match Need::Slapd.find() {
            Ok(found) => found,
            Err(why) => {
                eprintln!("SKIPPED: this test needs OpenLDAP's slapd ({why}); run: sudo apt-get install slapd");
                return None;
            }
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Distributions confine the installed program to its own folders, by its path.
        let program = folder.path().join("slapd");
        fs::copy(&found.path, &program).expect("the program can be copied");
        let ca_pem = certificates(&folder, "localhost");
        let (port, tls_port) = (free_port(), free_port());
        let mut slapd = Self { folder, program, child: None, port, tls_port, ca_pem };
        slapd.configure(ldif);
        slapd.launch();
        Some(slapd)
    }

    pub fn url(&self) -> String {
        format!("ldap://localhost:{}", self.port)
    }

    pub fn tls_url(&self) -> String {
        format!("ldaps://localhost:{}", self.tls_port)
    }

    fn configure(&self, ldif: &str) {
        let at = self.folder.path();
        fs::create_dir(at.join("db")).expect("a folder");
        let schema = ["/etc/ldap/schema", "/etc/openldap/schema"].into_iter().find(|f| PathBuf::from(f).is_dir()).expect("slapd's schemas");
        let modules = ["/usr/lib/ldap", "/usr/lib64/openldap", "/usr/lib/openldap"].into_iter().find(|f| PathBuf::from(f).is_dir()).expect("slapd's modules");
        let here = at.display();
        let text = format!(
            "include {schema}/core.schema\ninclude {schema}/cosine.schema\ninclude {schema}/inetorgperson.schema\ninclude {schema}/nis.schema\n\
             modulepath {modules}\nmoduleload back_mdb\npidfile {here}/slapd.pid\nargsfile {here}/slapd.args\n\
             TLSCACertificateFile {here}/ca.pem\nTLSCertificateFile {here}/cert.pem\nTLSCertificateKeyFile {here}/key.pem\n\
             sizelimit size.soft={LIMIT} size.hard={LIMIT} size.pr={LIMIT} size.prtotal=unlimited\n\
             database mdb\nmaxsize 1073741824\nsuffix \"{BASE}\"\nrootdn \"{}\"\nrootpw {}\ndirectory {here}/db\n\
             dbnosync\nindex objectClass,uid,mail,member,entryUUID,modifyTimestamp eq\n\
             access to attrs=userPassword by anonymous auth by * none\n\
             access to * by dn.exact=\"{}\" read by * none\n",
            ROOT.0, ROOT.1, SEARCHER.0
        );
        fs::write(at.join("slapd.conf"), text).expect("the configuration");
        let first = format!(
            "dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n\
             dn: {}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: gantry\nuserPassword: {}\n\n\
             dn: ou=people,{BASE}\nobjectClass: organizationalUnit\nou: people\n\n\
             dn: ou=groups,{BASE}\nobjectClass: organizationalUnit\nou: groups\n\n{ldif}\n",
            SEARCHER.0, SEARCHER.1
        );
        fs::write(at.join("data.ldif"), first).expect("the data");
        let done = Command::new(&self.program).args(["-Tadd", "-q", "-f"]).arg(at.join("slapd.conf")).arg("-l").arg(at.join("data.ldif")).output();
        let done = done.expect("slapd runs");
        assert!(done.status.success(), "the data could not be loaded: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Starts it (again) on its ports.
    pub fn launch(&mut self) {
        let at = self.folder.path();
        let log = fs::File::create(at.join("log")).expect("a log file");
        let addresses = format!("ldap://127.0.0.1:{}/ ldaps://127.0.0.1:{}/", self.port, self.tls_port);
        let mut command = Command::new(&self.program);
        command.args(["-d", "0", "-h", &addresses, "-f"]).arg(at.join("slapd.conf"));
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("slapd starts"));
        let deadline = Instant::now() + Duration::from_secs(90);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() || TcpStream::connect(("127.0.0.1", self.tls_port)).is_err() {
            let log = || fs::read_to_string(at.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "slapd does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it; its data stays for [`Slapd::launch`].
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Writes the authority, the certificate for `name` and its key; gives the authority.
pub(crate) fn certificates(folder: &TempDir, name: &str) -> String {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "directory test authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).expect("a certificate").pem();
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let cert = leaf.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).expect("a certificate");
    let at = folder.path();
    fs::write(at.join("ca.pem"), &ca_pem).expect("written");
    fs::write(at.join("cert.pem"), cert.pem()).expect("written");
    fs::write(at.join("key.pem"), key.serialize_pem()).expect("written");
    ca_pem
}
