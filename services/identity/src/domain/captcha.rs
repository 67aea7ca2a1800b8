//! Two ways to show that one is no script that guesses: some work for the browser, or digits in a picture for the
//! person. Both are made and judged here; nobody else is asked.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha2::{Digest, Sha256};

pub const DIGITS: usize = 6;
const SCALE: usize = 5;
const WIDTH: usize = DIGITS * 7 * SCALE;
const HEIGHT: usize = 13 * SCALE;
/// Random bytes a picture takes.
pub const NOISE: usize = 64;

/// Five columns by seven rows, a row a number.
const FONT: [[u8; 7]; 10] = [
    [14, 17, 19, 21, 25, 17, 14],
    [4, 12, 4, 4, 4, 4, 14],
    [14, 17, 1, 6, 8, 16, 31],
    [31, 2, 4, 2, 1, 17, 14],
    [2, 6, 10, 18, 31, 2, 2],
    [31, 16, 30, 1, 1, 17, 14],
    [6, 8, 16, 30, 17, 17, 14],
    [31, 1, 2, 4, 8, 8, 8],
    [14, 17, 17, 14, 17, 17, 14],
    [14, 17, 17, 15, 1, 2, 12],
];

/// Whether `nonce` was found for `token`: the hash of both begins with so many zero bits.
pub fn is_work(token: &str, nonce: &str, bits: u32) -> bool {
    if nonce.is_empty() || nonce.len() > 20 || !nonce.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let hash = Sha256::digest(format!("{token}:{nonce}"));
    let mut zeros = 0;
    for byte in hash {
        zeros += byte.leading_zeros();
        if byte != 0 {
            break;
        }
    }
    zeros >= bits
}

/// A grey PNG of `digits`, each at its own height and slant, with lines and dots over them.
pub fn picture(digits: &str, noise: &[u8; NOISE]) -> Vec<u8> {
    let mut pixels = vec![255u8; WIDTH * HEIGHT];
    let mut set = |x: usize, y: usize, value: u8| {
        if x < WIDTH && y < HEIGHT {
            pixels[y * WIDTH + x] = value;
        }
    };
    for (place, digit) in digits.bytes().take(DIGITS).enumerate() {
        let glyph = FONT[usize::from(digit.wrapping_sub(b'0')).min(9)];
        let top = usize::from(noise[place]) % (5 * SCALE);
        let slant = usize::from(noise[place + 8]) % 3;
        let dark = noise[place + 16] % 90;
        for y in 0..7 * SCALE {
            for x in 0..5 * SCALE {
                if glyph[y / SCALE] & (16 >> (x / SCALE)) != 0 {
                    set(place * 7 * SCALE + SCALE + x + (7 * SCALE - y) * slant / 8, top + y, dark);
                }
            }
        }
    }
    for line in noise[24..32].chunks_exact(2) {
        for x in 0..WIDTH {
            let rise = (usize::from(line[1]) * x / WIDTH) / 6;
            set(x, (usize::from(line[0]) % HEIGHT + rise) % HEIGHT, 90);
        }
    }
    for (i, byte) in noise.iter().cycle().take(900).enumerate() {
        let at = (i * 7919 + usize::from(*byte) * 613) % (WIDTH * HEIGHT);
        set(at % WIDTH, at / WIDTH, byte & 0x7f);
    }
    png(&pixels)
}

/// ISO/IEC 15948: signature, IHDR, one IDAT, IEND.
fn png(pixels: &[u8]) -> Vec<u8> {
    let mut rows = Vec::with_capacity(pixels.len() + HEIGHT);
    for row in pixels.chunks(WIDTH) {
        rows.push(0);
        rows.extend_from_slice(row);
    }
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&rows).expect("writing to memory does not fail");
    let data = zlib.finish().expect("writing to memory does not fail");
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut head = Vec::new();
    for side in [WIDTH, HEIGHT] {
        head.extend_from_slice(&u32::try_from(side).unwrap_or(0).to_be_bytes());
    }
    head.extend_from_slice(&[8, 0, 0, 0, 0]);
    for (kind, body) in [(b"IHDR", head), (b"IDAT", data), (b"IEND", Vec::new())] {
        out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(0).to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(&body);
        out.extend_from_slice(kind);
        out.extend_from_slice(&body);
        out.extend_from_slice(&crc.sum().to_be_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_found_by_trying_and_only_for_its_token() {
        let nonce = (0..).map(|n: u32| n.to_string()).find(|n| is_work("token", n, 12)).unwrap();
        assert!(is_work("token", &nonce, 12) && !is_work("other", &nonce, 12));
        for bad in ["", "-1", "1e9", "99999999999999999999999"] {
            assert!(!is_work("token", bad, 0), "{bad}");
        }
    }

    #[test]
    fn a_picture_is_a_png_and_differs_with_its_digits_and_noise() {
        let one = picture("123456", &[7; NOISE]);
        assert!(one.starts_with(b"\x89PNG\r\n\x1a\n") && one.ends_with(b"IEND\xae\x42\x60\x82"));
        assert_ne!(one, picture("123457", &[7; NOISE]));
        assert_ne!(one, picture("123456", &[8; NOISE]));
    }
}
