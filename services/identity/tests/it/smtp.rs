//! A mail server small enough to read: takes every mail, and can be told to be away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry_identity::config::Smtp;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Default)]
pub struct Post {
    letters: Arc<Mutex<Vec<(String, String)>>>,
    pub away: Arc<AtomicBool>,
}

impl Post {
    /// Starts it; gives the settings to reach it.
    pub async fn start() -> (Self, Smtp) {
        let post = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = post.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        let smtp =
            Smtp { host: "127.0.0.1".into(), port, security: "none".into(), username: None, password_file: None, from: "Gantry <gantry@gantry.test>".into() };
        (post, smtp)
    }

    async fn serve(self, stream: TcpStream) {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let mut to = String::new();
        let _ = write.write_all(b"220 post\r\n").await;
        while let Ok(Some(line)) = lines.next_line().await {
            let answer: &[u8] = match line.to_ascii_uppercase() {
                _ if self.away.load(Ordering::SeqCst) => b"421 away\r\n",
                l if l.starts_with("RCPT TO:") => {
                    to = line[8..].trim_matches(['<', '>', ' ']).to_owned();
                    b"250 ok\r\n"
                }
                l if l == "DATA" => {
                    let _ = write.write_all(b"354 go on\r\n").await;
                    let mut text = String::new();
                    while let Ok(Some(line)) = lines.next_line().await {
                        if line == "." {
                            break;
                        }
                        text.push_str(&line);
                        text.push('\n');
                    }
                    self.letters.lock().unwrap().push((to.clone(), text));
                    b"250 taken\r\n"
                }
                l if l == "QUIT" => return,
                _ => b"250 ok\r\n",
            };
            let _ = write.write_all(answer).await;
        }
    }

    /// The letters to an address so far, their text readable.
    pub fn to(&self, address: &str) -> Vec<String> {
        self.letters.lock().unwrap().iter().filter(|(to, _)| to == address).map(|(_, text)| readable(text)).collect()
    }

    /// Waits for letter number `count` to an address.
    pub async fn letter(&self, address: &str, count: usize) -> String {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(90);
        loop {
            if let Some(letter) = self.to(address).into_iter().nth(count - 1) {
                return letter;
            }
            assert!(tokio::time::Instant::now() < deadline, "no letter {count} to {address}: {:?}", self.letters.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Undoes base64 or quoted-printable bodies.
fn readable(letter: &str) -> String {
    use base64::Engine;
    let (head, body) = letter.split_once("\n\n").unwrap();
    if head.contains("base64") {
        let bytes = base64::engine::general_purpose::STANDARD.decode(body.replace('\n', "")).unwrap();
        return String::from_utf8(bytes).unwrap();
    }
    let body = body.replace("=\n", "");
    let mut out = Vec::new();
    let mut rest = body.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'=', [a, b, after @ ..]) if head.contains("quoted-printable") => {
                out.push(u8::from_str_radix(std::str::from_utf8(&[*a, *b]).unwrap(), 16).unwrap());
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).unwrap()
}

/// The address in a letter that begins with `start`.
pub fn link(letter: &str, start: &str) -> String {
    let at = letter.find(start).unwrap_or_else(|| panic!("no {start}: {letter}"));
    letter[at..].split_whitespace().next().unwrap().to_owned()
}
