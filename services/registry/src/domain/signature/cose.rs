//! Notation's COSE envelope: just as much CBOR (RFC 8949) and COSE_Sign1 (RFC 9052) as that needs.

use time::OffsetDateTime;

use super::Fault;
use super::notation::{Parts, check_kind};

#[derive(Clone, Debug, PartialEq)]
enum Cbor {
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
    List(Vec<Cbor>),
    Map(Vec<(Cbor, Cbor)>),
    Tagged(u64, Box<Cbor>),
    Other,
}

/// Deepest nesting and most items of one list that are read.
const DEEPEST: usize = 16;
const MOST_ITEMS: u64 = 1000;

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take(&mut self, n: usize) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    fn argument(&mut self, low: u8) -> Option<u64> {
        let n = match low {
            0..=23 => return Some(u64::from(low)),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            // Lengths that are not said beforehand are not used in signatures.
            _ => return None,
        };
        Some(self.take(n)?.iter().fold(0, |all, b| all << 8 | u64::from(*b)))
    }

    fn read(&mut self, depth: usize) -> Option<Cbor> {
        if depth > DEEPEST {
            return None;
        }
        let first = *self.take(1)?.first()?;
        let n = self.argument(first & 0x1f)?;
        Some(match first >> 5 {
            0 => Cbor::Int(i64::try_from(n).ok()?),
            1 => Cbor::Int(-1 - i64::try_from(n).ok()?),
            2 => Cbor::Bytes(self.take(usize::try_from(n).ok()?)?.to_vec()),
            3 => Cbor::Text(std::str::from_utf8(self.take(usize::try_from(n).ok()?)?).ok()?.to_owned()),
            4 if n <= MOST_ITEMS => Cbor::List((0..n).map(|_| self.read(depth + 1)).collect::<Option<_>>()?),
            5 if n <= MOST_ITEMS => Cbor::Map((0..n).map(|_| Some((self.read(depth + 1)?, self.read(depth + 1)?))).collect::<Option<_>>()?),
            6 => Cbor::Tagged(n, Box::new(self.read(depth + 1)?)),
            7 => Cbor::Other,
            _ => return None,
        })
    }
}

fn cbor(bytes: &[u8]) -> Option<Cbor> {
    let mut reader = Reader { rest: bytes };
    let value = reader.read(0)?;
    reader.rest.is_empty().then_some(value)
}

fn head(major: u8, n: usize, out: &mut Vec<u8>) {
    match n {
        0..=23 => out.push(major << 5 | u8::try_from(n).unwrap_or(0)),
        24..=0xff => out.extend([major << 5 | 24, u8::try_from(n).unwrap_or(0)]),
        0x100..=0xffff => {
            out.push(major << 5 | 25);
            out.extend(u16::try_from(n).unwrap_or(0).to_be_bytes());
        }
        _ => {
            out.push(major << 5 | 26);
            out.extend(u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}

/// `Sig_structure` of COSE_Sign1: ["Signature1", protected, external (none), payload].
pub fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x84];
    head(3, 10, &mut out);
    out.extend_from_slice(b"Signature1");
    head(2, protected.len(), &mut out);
    out.extend_from_slice(protected);
    head(2, 0, &mut out);
    head(2, payload.len(), &mut out);
    out.extend_from_slice(payload);
    out
}

/// Takes a COSE envelope apart.
///
/// # Errors
/// Not of that form, or with critical parts this program does not know.
pub fn envelope(bytes: &[u8]) -> Result<Parts, Fault> {
    let broken = || Fault::form("not a COSE_Sign1 message");
    let Some(Cbor::Tagged(18, message)) = cbor(bytes) else { return Err(broken()) };
    let Cbor::List(items) = *message else { return Err(broken()) };
    let [Cbor::Bytes(protected), Cbor::Map(unprotected), Cbor::Bytes(payload), Cbor::Bytes(signature)] = items.as_slice() else { return Err(broken()) };
    let Some(Cbor::Map(headers)) = cbor(protected) else { return Err(broken()) };
    let named = |map: &[(Cbor, Cbor)], key: &Cbor| map.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    let text = |key: &str| named(&headers, &Cbor::Text(key.into()));
    if let Some(Cbor::List(critical)) = named(&headers, &Cbor::Int(2)) {
        for name in critical {
            match name {
                Cbor::Text(t) if matches!(t.as_str(), "io.cncf.notary.signingScheme" | "io.cncf.notary.expiry" | "io.cncf.notary.authenticSigningTime") => {}
                other => return Err(Fault::Unknown(format!("{other:?}").chars().take(100).collect())),
            }
        }
    }
    let word = |value: Option<Cbor>| if let Some(Cbor::Text(t)) = value { t } else { String::new() };
    check_kind(&word(named(&headers, &Cbor::Int(3))), &word(text("io.cncf.notary.signingScheme")))?;
    let hash = match named(&headers, &Cbor::Int(1)) {
        Some(Cbor::Int(-7 | -37)) => 256,
        Some(Cbor::Int(-35 | -38)) => 384,
        Some(Cbor::Int(-36 | -39)) => 512,
        other => return Err(Fault::Unknown(format!("{other:?}").chars().take(100).collect())),
    };
    let chain = match named(unprotected, &Cbor::Int(33)) {
        Some(Cbor::Bytes(one)) => vec![one],
        Some(Cbor::List(many)) => many.into_iter().take(10).filter_map(|c| if let Cbor::Bytes(b) = c { Some(b) } else { None }).collect(),
        _ => Vec::new(),
    };
    let time = |value: Option<Cbor>| match value {
        Some(Cbor::Tagged(1, seconds)) => match *seconds {
            Cbor::Int(s) => OffsetDateTime::from_unix_timestamp(s).ok(),
            _ => None,
        },
        _ => None,
    };
    let expires = text("io.cncf.notary.expiry");
    if expires.is_some() && time(expires.clone()).is_none() {
        return Err(Fault::form("the expiry is not a time"));
    }
    Ok(Parts {
        message: to_be_signed(protected, payload),
        signature: signature.clone(),
        hash,
        chain,
        payload: payload.clone(),
        signed_at: time(text("io.cncf.notary.signingTime")),
        expires: time(expires),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_read_as_rfc_8949_writes_them() {
        // RFC 8949, appendix A.
        assert_eq!(cbor(&[0x18, 0x64]), Some(Cbor::Int(100)));
        assert_eq!(cbor(&[0x38, 0x63]), Some(Cbor::Int(-100)));
        assert_eq!(cbor(&[0x64, 0x49, 0x45, 0x54, 0x46]), Some(Cbor::Text("IETF".into())));
        assert_eq!(cbor(&[0x82, 0x01, 0x44, 1, 2, 3, 4]), Some(Cbor::List(vec![Cbor::Int(1), Cbor::Bytes(vec![1, 2, 3, 4])])));
        assert_eq!(cbor(&[0xc1, 0x1a, 0x51, 0x4b, 0x67, 0xb0]), Some(Cbor::Tagged(1, Box::new(Cbor::Int(1_363_896_240)))));
        assert_eq!(cbor(&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None, "a length longer than the text");
        assert_eq!(cbor(&[0x81; 100]), None, "too deep");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = envelope(&bytes);
            let _ = envelope(&[&[0xd2, 0x84], bytes.as_slice()].concat());
        }
    }
}
