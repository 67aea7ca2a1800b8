//! Whom a client trusts: the authority of the cluster that a pod runs in is replaced while it runs, and names in certificates are
//! other ones than the address's.

use std::path::Path;
use std::sync::{Arc, Mutex};

use gantry_kernel::Env;
use gantry_kubernetes::{Access, Client, Credential, Options, Trouble};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// An authority, PEM, and what a server of this name shows that has its certificate from it.
fn authority(name: &str) -> (String, Arc<ServerConfig>) {
    let (mut params, key) = (CertificateParams::new(Vec::new()).unwrap(), KeyPair::generate().unwrap());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap();
    let (leaf, leaf_key) = (CertificateParams::new(vec![name.to_owned()]).unwrap(), KeyPair::generate().unwrap());
    let leaf = leaf.signed_by(&leaf_key, &Issuer::from_params(&params, &key)).unwrap();
    let private = PrivateKeyDer::try_from(leaf_key.serialize_der()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_safe_default_protocol_versions().unwrap();
    (root.pem(), Arc::new(builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], private).unwrap()))
}

/// Answers every request with `{}`, by what it is to show then; the address.
async fn server(shown: Arc<Mutex<Arc<ServerConfig>>>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(shown.lock().unwrap().clone());
            tokio::spawn(async move {
                // Who does not trust it ends here.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    request.push(byte);
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    url
}

fn client(server: String, folder: &Path) -> Client {
    let credential = Credential::InCluster { folder: folder.display().to_string() };
    Client::new(Access { server, ca_pem: None, tls_server_name: None, insecure: false, credential }, Options::new(Env::system())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_authority_is_trusted_without_a_restart() {
    let ((first, shown), (second, other)) = (authority("127.0.0.1"), authority("127.0.0.1"));
    let folder = tempfile::tempdir().unwrap();
    let put = |pem: &str| std::fs::write(folder.path().join("ca.crt"), pem).unwrap();
    std::fs::write(folder.path().join("token"), "t").unwrap();
    put(&first);
    let shown = Arc::new(Mutex::new(shown));
    let client = client(server(shown.clone()).await, folder.path());
    client.get("/version").await.unwrap();
    // The server has its certificate from another one, which the pod has not been told yet.
    *shown.lock().unwrap() = other;
    let refused = client.get("/version").await.unwrap_err();
    assert!(matches!(refused, Trouble::Untrusted { .. }), "{refused}");
    // A file that is none changes nothing.
    put("half of a certi");
    assert!(client.get("/version").await.is_err());
    put(&format!("{first}\n{second}"));
    client.get("/version").await.unwrap();
    put(&second);
    client.get("/version").await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_another_name_is_trusted_by_that_name() {
    let (root, shown) = authority("kubernetes.example.org");
    let address = server(Arc::new(Mutex::new(shown))).await;
    let client = |name: Option<&str>| {
        let credential = Credential::Token { token: "t".into() };
        let access = Access { server: address.clone(), ca_pem: Some(root.clone()), tls_server_name: name.map(str::to_owned), insecure: false, credential };
        Client::new(access, Options::new(Env::system())).unwrap()
    };
    client(Some("kubernetes.example.org")).get("/version").await.unwrap();
    let refused = client(None).get("/version").await.unwrap_err();
    assert!(matches!(refused, Trouble::Untrusted { .. }), "{refused}");
}
