//! Connections that fall silent without being closed, as when what lies between forgets them.

use std::time::Duration;

use gantry_es_pg::Settings;
use sqlx::postgres::PgConnectOptions;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::fixture::{Fixture, raise};

/// Passes on what comes to a port of its own, until it is told to leave the connections of that moment open and say nothing more.
struct Way {
    port: u16,
    silenced: watch::Sender<()>,
}

impl Way {
    async fn to(host: String, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let silenced = watch::Sender::new(());
        let mut silent = silenced.subscribe();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                silent.mark_unchanged();
                let mut silent = silent.clone();
                let mut far = TcpStream::connect((&*host, port)).await.unwrap();
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        _ = silent.changed() => {}
                        _ = copy_bidirectional(&mut near, &mut far) => return,
                    }
                    drop(silent);
                    std::future::pending::<()>().await;
                });
            }
        });
        Self { port: own, silenced }
    }

    /// Every connection there is has fallen silent after this.
    async fn silence(&self) {
        self.silenced.send_replace(());
        // The one that is left is for connections to come.
        while self.silenced.receiver_count() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_go_on_after_a_connection_fell_silent() {
    let direct = Fixture::new().await;
    let server: PgConnectOptions = direct.settings.url.parse().unwrap();
    let way = Way::to(server.get_host().to_owned(), server.get_port()).await;
    let url = direct.settings.url.replace(&format!(":{}/", server.get_port()), &format!(":{}/", way.port));
    assert_ne!(url, direct.settings.url);
    let f = Fixture::open(Settings { url, ..direct.settings.clone() }).await;
    f.log.append(raise("x", Some(0), 1)).await.unwrap();
    way.silence().await;
    // This one meets the silent connection: it is answered, though not with a success.
    let first = tokio::time::timeout(Duration::from_secs(60), f.log.append(raise("x", Some(1), 1))).await.expect("an answer");
    assert!(first.is_err(), "{first:?}");
    tokio::time::timeout(Duration::from_secs(60), f.log.append(raise("x", Some(1), 1))).await.expect("an answer").unwrap();
    let positions: Vec<i64> = direct.log.read(0, 10).await.unwrap().iter().map(|e| e.position).collect();
    assert_eq!(positions, [1, 2], "what met the silence did not happen");
}
