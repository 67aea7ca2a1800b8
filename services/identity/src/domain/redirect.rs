//! Which redirect addresses a client may ask for: exactly the registered ones (RFC 9700 section 4.1.3), with one
//! exception for programs on the user's own machine, whose port is not known beforehand (RFC 8252 section 7.3).

/// The loopback hosts by number. `localhost` is none of them: a name can be made to point elsewhere.
const LOOPBACK: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];

/// Whether `asked` may be used by a client that registered `registered`. Compares text, not parsed addresses, so that
/// no difference between two parsers (user info, fragments, encodings, unicode) can be used.
pub fn allowed<S: AsRef<str>>(registered: &[S], asked: &str) -> bool {
    registered.iter().any(|r| {
        let registered = r.as_ref();
        registered == asked || LOOPBACK.iter().any(|host| loopback_matches(host, registered, asked))
    })
}

/// `registered` is `<host><path>` with or without a port, which does not count; `asked` is `<host>:<port><path>`.
fn loopback_matches(host: &str, registered: &str, asked: &str) -> bool {
    let Some(path) = registered.strip_prefix(host).map(after_port).filter(|p| p.starts_with('/')) else { return false };
    let Some(rest) = asked.strip_prefix(host).and_then(|r| r.strip_prefix(':')) else { return false };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (port, tail) = rest.split_at(digits);
    port.parse::<u16>().is_ok_and(|p| p > 0) && !port.starts_with('0') && tail == path
}

fn after_port(rest: &str) -> &str {
    rest.strip_prefix(':').map_or(rest, |rest| rest.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REGISTERED: [&str; 3] = ["https://shop.example/callback", "http://127.0.0.1/callback", "http://[::1]/callback"];

    #[test]
    fn only_the_registered_text_matches() {
        assert!(allowed(&REGISTERED, "https://shop.example/callback"));
        for bad in [
            "https://shop.example/callback/",
            "https://shop.example/callback?x=1",
            "https://shop.example/callback#x",
            "https://shop.example:443/callback",
            "https://shop.example/a/../callback",
            "https://SHOP.example/callback",
            "https://shop.example@evil.example/callback",
            "https://evil.example/https://shop.example/callback",
            "https://shop.example.evil.example/callback",
            "https://shop。example/callback",
            "http://shop.example/callback",
            "//shop.example/callback",
            "javascript:alert(1)",
            "",
        ] {
            assert!(!allowed(&REGISTERED, bad), "{bad}");
        }
    }

    #[test]
    fn a_loopback_address_may_have_any_port_and_nothing_else() {
        for good in ["http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback", "http://[::1]:8080/callback"] {
            assert!(allowed(&REGISTERED, good), "{good}");
        }
        for bad in [
            "http://127.0.0.1:0/callback",
            "http://127.0.0.1:65536/callback",
            "http://127.0.0.1:080/callback",
            "http://127.0.0.1:/callback",
            "http://127.0.0.1:80@evil.example/callback",
            "http://127.0.0.1:80/callback/x",
            "http://127.0.0.1:80/callback#f",
            "http://127.0.0.1.evil.example:80/callback",
            "http://localhost:80/callback",
            "https://127.0.0.1:80/callback",
        ] {
            assert!(!allowed(&REGISTERED, bad), "{bad}");
        }
    }

    /// RFC 8252 section 7.3: any port is allowed, whatever was registered.
    #[test]
    fn the_port_of_a_registered_loopback_address_does_not_count() {
        let registered = ["http://127.0.0.1:8765/callback", "http://[::1]:8765/callback", "http://localhost:8765/callback"];
        for good in ["http://127.0.0.1:8765/callback", "http://127.0.0.1:4711/callback", "http://[::1]:4711/callback", "http://localhost:8765/callback"] {
            assert!(allowed(&registered, good), "{good}");
        }
        for bad in ["http://localhost:4711/callback", "http://127.0.0.1:4711/other", "http://127.0.0.1:4711", "http://127.0.0.1:4711@evil.example/callback"] {
            assert!(!allowed(&registered, bad), "{bad}");
        }
        assert!(!allowed(&["http://127.0.0.1:8765"], "http://127.0.0.1:4711"), "without a path the text counts");
    }

    proptest! {
        /// Whatever is accepted goes to a registered host and path: it differs from a registered text by a port at most.
        #[test]
        fn what_is_accepted_differs_by_a_loopback_port_at_most(
            base in prop::sample::select(REGISTERED.to_vec()),
            cut in 0usize..40,
            insert in "[ -~]{0,12}",
        ) {
            let cut = cut.min(base.len());
            let asked = format!("{}{insert}{}", &base[..cut], &base[cut..]);
            if allowed(&REGISTERED, &asked) {
                let port: String = asked.chars().rev().skip("/callback".len()).take_while(char::is_ascii_digit).collect();
                let port: String = port.chars().rev().collect();
                let without = asked.replacen(&format!(":{port}/callback"), "/callback", 1);
                prop_assert!(REGISTERED.contains(&asked.as_str()) || (REGISTERED[1..].contains(&without.as_str()) && !port.is_empty()));
            }
        }

        #[test]
        fn any_port_of_the_registered_loopback_is_accepted(port in 1u16..) {
            let asked = format!("http://127.0.0.1:{port}/callback");
            prop_assert!(allowed(&REGISTERED, &asked));
        }
    }
}
