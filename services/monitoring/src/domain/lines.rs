//! Log lines in compressed blocks: one block per batch of the agent. Labels and times are columns; text is not indexed.

use gantry_contract::logs::LogLine;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum BlockError {
    #[error("the block cannot be decompressed")]
    Zstd(#[source] std::io::Error),
    #[error("the block does not hold lines")]
    Json(#[source] serde_json::Error),
}

/// Level 3: on text about 8 to 1, at some hundred MB/s.
const LEVEL: i32 = 3;
/// A block never unpacks to more (the agent's batches have at most 1 MB: NATS's largest message).
const LARGEST: usize = 64 << 20;

/// # Errors
/// Never in practice: memory is the only limit.
pub fn pack(lines: &[LogLine]) -> Result<Vec<u8>, BlockError> {
    let plain = serde_json::to_vec(lines).map_err(BlockError::Json)?;
    zstd::bulk::compress(&plain, LEVEL).map_err(BlockError::Zstd)
}

/// # Errors
/// Damaged blocks.
pub fn unpack(block: &[u8]) -> Result<Vec<LogLine>, BlockError> {
    let plain = zstd::bulk::decompress(block, LARGEST).map_err(BlockError::Zstd)?;
    serde_json::from_slice(&plain).map_err(BlockError::Json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    #[test]
    fn lines_survive_and_shrink() {
        let line = |i: i64| LogLine {
            at: OffsetDateTime::UNIX_EPOCH + time::Duration::nanoseconds(i),
            stream: "stdout".into(),
            text: format!("GET /items/{i} 200 é"),
        };
        let lines: Vec<_> = (0..500).map(line).collect();
        let block = pack(&lines).unwrap();
        assert!(block.len() * 5 < serde_json::to_vec(&lines).unwrap().len());
        let back = unpack(&block).unwrap();
        assert_eq!(back.len(), 500);
        assert_eq!((back[7].at, back[7].text.as_str()), (lines[7].at, "GET /items/7 200 é"));
        assert!(unpack(&block[..block.len() / 2]).is_err());
    }
}
