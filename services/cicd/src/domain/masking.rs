//! Takes secrets out of a step's output before it is kept, also where one is cut in two by the reader's buffer.

/// Replaces each secret by `***` in a stream of bytes.
pub struct Masker {
    secrets: Vec<Vec<u8>>,
    /// The end of what came last, as long as a secret could still begin in it.
    held: Vec<u8>,
}

impl Masker {
    /// Texts under four bytes are not masked: they would hide half of the log and no secret is that short.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut secrets: Vec<Vec<u8>> = secrets.into_iter().filter(|s| s.len() >= 4).map(|s| s.as_bytes().to_vec()).collect();
        // Longest first: one secret may be the beginning of another.
        secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
        Self { secrets, held: Vec::new() }
    }

    /// What may be written now.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(chunk);
        let mut out = Vec::with_capacity(self.held.len());
        let mut at = 0;
        while at < self.held.len() {
            let rest = &self.held[at..];
            if let Some(secret) = self.secrets.iter().find(|s| rest.starts_with(s)) {
                // A longer secret that begins here and is not complete yet comes first.
                if self.secrets.iter().any(|s| s.len() > secret.len() && s.starts_with(rest)) {
                    break;
                }
                out.extend_from_slice(b"***");
                at += secret.len();
            } else if self.secrets.iter().any(|s| s.starts_with(rest)) {
                break;
            } else {
                out.push(rest[0]);
                at += 1;
            }
        }
        self.held.drain(..at);
        out
    }

    /// The rest, when nothing more comes.
    pub fn finish(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.held);
        let Some(secret) = self.secrets.iter().find(|s| rest.starts_with(s)) else { return rest };
        let tail = rest[secret.len()..].to_vec();
        [b"***".to_vec(), tail].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_secret_cut_in_two_is_still_masked() {
        let mut masker = Masker::new(["hunter22"]);
        let mut out = masker.push(b"pass hunt");
        out.extend(masker.push(b"er22 hunt"));
        out.extend(masker.finish());
        assert_eq!(String::from_utf8(out).unwrap(), "pass *** hunt");
    }

    proptest! {
        #[test]
        fn no_cut_lets_a_secret_through(before in "[a-c ]{0,12}", after in "[a-c ]{0,12}", cuts in proptest::collection::vec(1usize..5, 0..20)) {
            let text = format!("{before}s3cr3t-s3cr{after}s3cr3t");
            let mut masker = Masker::new(["s3cr3t", "s3cr3t-s3cr"]);
            let mut out = Vec::new();
            let mut rest = text.as_bytes();
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                out.extend(masker.push(head));
                rest = tail;
            }
            out.extend(masker.push(rest));
            out.extend(masker.finish());
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("{before}***{after}***"));
        }
    }
}
