//! An Active Directory domain controller of a test's own: Samba with its data below a temporary folder, the LDAP service
//! alone, at an address of its own in 127.0.0.0/8 (its ports are fixed), with a certificate of an authority of its own. Ends with the test.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gantry_servers::{Need, install, is_root};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::slapd::certificates;

pub const BASE: &str = "DC=corp,DC=example";
pub const PEOPLE: &str = "CN=Users,DC=corp,DC=example";
/// Who searches, as `userPrincipalName`, and the password.
pub const SEARCHER: (&str, &str) = ("gantry@corp.example", "Search-Secret-7");

const SCRIPT: &str = include_str!("domain_controller.py");
/// Samba's Python modules belong to the distribution's interpreter, whatever else is first on the PATH.
const PYTHON: &str = "/usr/bin/python3";
/// Making the domain takes about ten seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stopped and removed on drop.
pub struct DomainController {
    folder: TempDir,
    program: PathBuf,
    child: Option<Child>,
    pub address: Ipv4Addr,
    /// The authority that signed its certificate (for `address`).
    pub ca_pem: String,
}

impl DomainController {
    /// Makes a domain `corp.example` with the searching account, and starts its controller. `None`, said on the standard
    /// error, where there is no Samba and this user may not install it, or may not listen at port 389.
    pub fn start() -> Option<Self> {
        if !is_root() {
            eprintln!("SKIPPED: this test needs a domain controller, which listens at port 389; run it as root");
            return None;
        }
        if Need::Samba.find().is_err() {
            install::ensure(&[Need::Samba], &mut |line| eprintln!("samba: {line}")).expect("Samba can be installed");
        }
        let program = Need::Samba.find().expect("Samba is here").path;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = free_address();
        let ca_pem = certificates(&folder, &address.to_string());
        let mut controller = Self { folder, program, child: None, address, ca_pem };
        controller.provision();
        controller.change(&person("gantry", ""), &[("gantry", SEARCHER.1)]);
        controller.launch();
        Some(controller)
    }

    /// For StartTLS.
    pub fn url(&self) -> String {
        format!("ldap://{}", self.address)
    }

    pub fn tls_url(&self) -> String {
        format!("ldaps://{}", self.address)
    }

    /// Adds and changes entries: LDIF with `changetype`, and passwords by `sAMAccountName`.
    ///
    /// # Panics
    /// When the directory refuses.
    pub fn change(&self, ldif: &str, passwords: &[(&str, &str)]) {
        self.asked(&json!({ "ldif": ldif, "passwords": object(passwords), "gone": [], "renamed": {} }));
    }

    /// Deletes somebody.
    ///
    /// # Panics
    /// When the directory refuses.
    pub fn delete(&self, name: &str) {
        self.asked(&json!({ "ldif": "", "passwords": {}, "gone": [dn(name)], "renamed": {} }));
    }

    /// Gives an entry another distinguished name; everything else of it stays.
    ///
    /// # Panics
    /// When the directory refuses.
    pub fn rename(&self, name: &str, then: &str) {
        self.asked(&json!({ "ldif": "", "passwords": {}, "gone": [], "renamed": object(&[(dn(name).as_str(), dn(then).as_str())]) }));
    }

    fn asked(&self, what: &Value) {
        self.python(&["change", &self.at().display().to_string()], &what.to_string());
    }

    fn at(&self) -> &Path {
        self.folder.path()
    }

    fn provision(&self) {
        let here = self.at().display().to_string();
        fs::write(self.at().join("empty.conf"), "").expect("written");
        self.python(&["provision", &here, &self.address.to_string()], "");
        for folder in ["lock", "run", "cache", "ncalrpc"] {
            fs::create_dir_all(self.at().join(folder)).expect("a folder");
        }
        // It takes keys that only their owner may read.
        fs::set_permissions(self.at().join("key.pem"), fs::Permissions::from_mode(0o600)).expect("the key is ours");
        let text = format!(
            "[global]\nnetbios name = DC1\nrealm = CORP.EXAMPLE\nworkgroup = CORP\nserver role = active directory domain controller\n\
             server services = ldap\ndcerpc endpoint servers =\ninterfaces = {}/8\nbind interfaces only = yes\n\
             private dir = {here}/private\nstate directory = {here}/state\ncache directory = {here}/cache\nlock directory = {here}/lock\n\
             pid directory = {here}/run\nncalrpc dir = {here}/ncalrpc\nbinddns dir = {here}/bind-dns\nlog file = {here}/log\n\
             tls cafile = {here}/ca.pem\ntls certfile = {here}/cert.pem\ntls keyfile = {here}/key.pem\n",
            self.address
        );
        fs::write(self.at().join("smb.conf"), text).expect("the configuration");
    }

    fn python(&self, arguments: &[&str], input: &str) {
        let mut command = Command::new(PYTHON);
        command.args(["-c", SCRIPT]).args(arguments).env("SMB_CONF_PATH", self.at().join("empty.conf"));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("python3 starts");
        child.stdin.take().expect("it was asked for").write_all(input.as_bytes()).expect("it is read");
        let done = child.wait_with_output().expect("python3 ends");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Starts it (again).
    pub fn launch(&mut self) {
        let log = fs::File::create(self.at().join("samba.log")).expect("a log file");
        let mut command = Command::new(&self.program);
        command.args(["-F", "--no-process-group", "-M", "single", "--debug-stdout", "-s"]).arg(self.at().join("smb.conf"));
        // It ends with its standard input: a test that is killed leaves none behind.
        let out = log.try_clone().expect("a second handle");
        self.child = Some(command.stdin(Stdio::piped()).stdout(out).stderr(log).spawn().expect("samba starts"));
        let deadline = Instant::now() + PATIENCE;
        while [389, 636].into_iter().any(|port| TcpStream::connect((self.address, port)).is_err()) {
            let log = || fs::read_to_string(self.at().join("samba.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "samba does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it; its data stays for [`DomainController::launch`].
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for DomainController {
    fn drop(&mut self) {
        self.stop();
    }
}

/// LDIF of somebody whose account is open; `more` are further lines. Without a password until one is set.
pub fn person(name: &str, more: &str) -> String {
    format!(
        "dn: CN={name},{PEOPLE}\nchangetype: add\nobjectClass: user\nsAMAccountName: {name}\nuserPrincipalName: {name}@corp.example\n\
         displayName: Person {name}\nuserAccountControl: 544\n{more}\n"
    )
}

/// LDIF of a group of people and groups, by their common names.
pub fn group(name: &str, members: &[&str]) -> String {
    let members: String = members.iter().map(|m| format!("member: CN={m},{PEOPLE}\n")).collect();
    format!("dn: CN={name},{PEOPLE}\nchangetype: add\nobjectClass: group\nsAMAccountName: {name}\n{members}\n")
}

fn dn(name: &str) -> String {
    format!("CN={name},{PEOPLE}")
}

fn object(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect::<serde_json::Map<_, _>>().into()
}

/// An address of this machine at which nobody answers LDAP.
fn free_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let n = std::process::id().wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let [_, b, c, d] = n.to_be_bytes();
        let address = Ipv4Addr::new(127, 64 | (b & 0x3f), c, d.clamp(1, 254));
        if [389, 636].into_iter().all(|port| TcpListener::bind((address, port)).is_ok()) {
            return address;
        }
    }
}
