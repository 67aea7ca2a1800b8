//! A seal before a message of Protocol Buffers on disk, by which it is known to be whole: half a message, or none, may be one as well, and say
//! something else. The seal is a field that no message has, so that whoever does not know it reads the message all the same.

use sha2::{Digest, Sha256};

/// Field 536,870,911, the last that there can be: bytes, as long as a SHA-256 is.
const HEAD: [u8; 6] = [0xfa, 0xff, 0xff, 0xff, 0x0f, 0x20];
const DIGEST: usize = 32;

pub fn sealed(message: &[u8]) -> Vec<u8> {
    [&HEAD[..], &Sha256::digest(message)[..], message].concat()
}

/// The message; nothing if it is damaged. One without a seal is an earlier agent's: of that alone an empty one is known to be damaged.
pub fn opened(bytes: &[u8]) -> Option<&[u8]> {
    let Some(rest) = bytes.strip_prefix(&HEAD) else {
        // Part of a seal is no message: its field has not ended.
        return (!bytes.is_empty()).then_some(bytes);
    };
    let (digest, message) = rest.split_at_checked(DIGEST)?;
    (Sha256::digest(message)[..] == *digest).then_some(message)
}

#[cfg(test)]
mod tests {
    use gantry_contract::proto::scheduler::WantedState;
    use prost::Message;

    use super::*;

    #[test]
    fn what_is_sealed_is_read_also_by_who_does_not_know_of_seals() {
        let word = WantedState { generation: 7, ..Default::default() };
        let bytes = sealed(&word.encode_to_vec());
        assert_eq!(WantedState::decode(&bytes[..]).unwrap(), word);
        assert_eq!(opened(&bytes), Some(&word.encode_to_vec()[..]));
        assert_eq!((opened(&sealed(b"")), opened(b"")), (Some(&b""[..]), None));
    }

    #[test]
    fn whatever_is_changed_is_known() {
        let bytes = sealed(&WantedState { generation: 7, ..Default::default() }.encode_to_vec());
        for at in HEAD.len()..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(opened(&other), None, "byte {at}");
        }
    }
}
