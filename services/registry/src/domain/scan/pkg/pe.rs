//! The machine a Windows program is for (Microsoft's PE format, "COFF File Header").

use super::{u16_at, u32_at};

/// `windows/<architecture>`, from the first kilobyte of a file.
pub fn machine(head: &[u8]) -> Option<&'static str> {
    if !head.starts_with(b"MZ") {
        return None;
    }
    let at = usize::try_from(u32_at(head, 0x3c, false)?).ok()?;
    if head.get(at..at.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    Some(match u16_at(head, at + 4, false)? {
        0x8664 => "windows/amd64",
        0x014c => "windows/386",
        0xaa64 => "windows/arm64",
        0x01c4 => "windows/arm",
        _ => return None,
    })
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    pub fn program(machine: u16) -> Vec<u8> {
        let mut bytes = vec![0; 256];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x80;
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
        bytes
    }

    #[test]
    fn machines_are_told_and_other_files_are_not_programs() {
        assert_eq!(machine(&program(0x8664)), Some("windows/amd64"));
        assert_eq!(machine(&program(0xaa64)), Some("windows/arm64"));
        assert_eq!(machine(&program(0x1234)), None);
        assert_eq!(machine(b"MZ"), None);
        assert_eq!(machine(b"\x7fELF"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(at in any::<u32>(), tail in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = program(0x8664);
            bytes[0x3c..0x40].copy_from_slice(&at.to_le_bytes());
            bytes.extend(tail);
            let _ = machine(&bytes);
        }
    }
}
