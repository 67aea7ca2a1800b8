//! The part of the balancer for certificates of routes: only what HAProxy takes reaches its configuration, since one that it does not take
//! would keep everybody's from being loaded.

use sha2::{Digest, Sha256};

use super::Balancer;
use crate::domain::balance::Certified;
use crate::domain::wanted::Service;

impl Balancer {
    pub(super) async fn certified(&mut self, service: &Service) -> Vec<Certified> {
        let mut out = Vec::new();
        for said in &service.wire.certificates {
            let host = said.host.to_ascii_lowercase();
            let name = host.strip_prefix("*.").unwrap_or(&host);
            let plain = (1..=253).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
            let pem = [said.chain.as_slice(), b"\n", said.key.as_slice()].concat();
            let print = hex::encode(&Sha256::digest(&pem)[..16]);
            let told = format!("certificate {print}");
            if plain && self.haproxy.takes(&print, pem).await {
                self.refused.remove(&told);
                out.push(Certified { host, print, plain_http: said.plain_http });
            } else if self.refused.insert(told) {
                tracing::error!(host, service = service.wire.name, "a certificate cannot be used; the host is served without HTTPS");
            }
        }
        out
    }
}
