//! How records are written: magic ‖ version ‖ length ‖ crc32c ‖ bincode payload.
//!
//! Owns the frame that tells a record from garbage and one type from another. Refuses everything that is not exactly
//! what was written: wrong type, other version, wrong length, damaged bytes, bytes left over, claims beyond the limit.

use bincode::{Decode, Encode};

use crate::error::StorageError;

const MAGIC: [u8; 2] = *b"Op";
const HEADER_BYTES: usize = 12;
/// What one record may claim while it is decoded; the largest records are name lists in blobs.
const DECODE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A type with a frame of its own.
pub(crate) trait Record: Encode + Decode<()> {
    /// Tells this type from the others.
    const TAG: u8;
    /// Grows when the layout changes.
    const VERSION: u8;
}

/// Frames a record.
pub(crate) fn encode<R: Record>(record: &R) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bincode::encode_into_std_write(record, &mut bytes, bincode::config::standard())
        .expect("writing to memory cannot fail");
    let length =
        u32::try_from(bytes.len() - HEADER_BYTES).expect("records are bounded by the limits of entries");
    bytes[..2].copy_from_slice(&MAGIC);
    bytes[2] = R::TAG;
    bytes[3] = R::VERSION;
    bytes[4..8].copy_from_slice(&length.to_be_bytes());
    let checksum = checksum(&bytes);
    bytes[8..12].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// Cuts the first of several records off what stands behind it; `None` when it is not whole.
pub(crate) fn split_first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?);
    bytes.split_at_checked(HEADER_BYTES.checked_add(usize::try_from(length).ok()?)?)
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode<R: Record>(bytes: &[u8]) -> Result<R, StorageError> {
    let damaged = |why: &str| StorageError::Damaged(format!("record of type {}: {why}", R::TAG as char));
    if bytes.len() < HEADER_BYTES || bytes[..2] != MAGIC || bytes[2] != R::TAG {
        return Err(damaged("not a record of this type"));
    }
    if bytes[3] != R::VERSION {
        return Err(damaged("another version"));
    }
    let payload = &bytes[HEADER_BYTES..];
    if bytes[4..8] != u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes() {
        return Err(damaged("wrong length"));
    }
    if bytes[8..12] != checksum(bytes).to_be_bytes() {
        return Err(damaged("wrong checksum"));
    }
    let config = bincode::config::standard().with_limit::<DECODE_BYTES_MAX>();
    match bincode::decode_from_slice(payload, config) {
        Ok((record, consumed)) if consumed == payload.len() => Ok(record),
        Ok(_) => Err(damaged("bytes left over")),
        Err(error) => Err(damaged(&error.to_string())),
    }
}

/// CRC-32C of everything but the checksum's own bytes.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..8]), &bytes[HEADER_BYTES..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Sample {
        text: String,
        numbers: Vec<u64>,
    }
    impl Record for Sample {
        const TAG: u8 = b'!';
        const VERSION: u8 = 1;
    }

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Other(u8);
    impl Record for Other {
        const TAG: u8 = b'?';
        const VERSION: u8 = 1;
    }

    fn sample() -> Sample {
        Sample { text: "text".to_owned(), numbers: vec![1, u64::MAX] }
    }

    #[test]
    fn a_record_round_trips() {
        assert_eq!(decode::<Sample>(&encode(&sample())), Ok(sample()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_damage() {
        let bytes = encode(&sample());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode::<Sample>(&flipped), Err(StorageError::Damaged(_))), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode::<Sample>(&bytes[..length]).is_err(), "length {length}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(decode::<Sample>(&longer).is_err());
    }

    #[test]
    fn a_record_of_another_type_is_refused() {
        assert!(decode::<Other>(&encode(&sample())).is_err());
    }
}
