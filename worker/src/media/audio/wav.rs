//! WAV files of 16-bit samples, which is what audio is converted to (worker-and-store.md section 5.5).
//!
//! Owns the header. Refuses nothing: the caller bounds rate, channels and length far below what its fields hold.

/// Bytes of one sample of one channel.
pub(super) const SAMPLE_BYTES: u16 = 2;
/// Linear samples, as the header says it.
const PCM: u16 = 1;
/// The form of header that files of more than two channels need.
const EXTENSIBLE: u16 = 0xfffe;
/// What follows the format's number in the identifier of an extensible header.
const SUBFORMAT_TAIL: [u8; 14] = *b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71";
/// Channels above which the header is extensible.
const PLAIN_CHANNELS_MAX: u16 = 2;

/// Bytes of the header of a file with so many channels.
pub(super) fn header_bytes(channels: u16) -> usize {
    if channels > PLAIN_CHANNELS_MAX { 68 } else { 44 }
}

/// The header of a file with `data_bytes` of samples.
pub(super) fn header(channels: u16, rate: u32, data_bytes: u32) -> Vec<u8> {
    let is_plain = channels <= PLAIN_CHANNELS_MAX;
    let frame_bytes = channels.saturating_mul(SAMPLE_BYTES);
    let mut header = Vec::with_capacity(header_bytes(channels));
    let rest = (header_bytes(channels) - 8) as u32;
    header.extend_from_slice(b"RIFF");
    header.extend_from_slice(&rest.saturating_add(data_bytes).to_le_bytes());
    header.extend_from_slice(b"WAVEfmt ");
    header.extend_from_slice(&if is_plain { 16_u32 } else { 40 }.to_le_bytes());
    header.extend_from_slice(&if is_plain { PCM } else { EXTENSIBLE }.to_le_bytes());
    header.extend_from_slice(&channels.to_le_bytes());
    header.extend_from_slice(&rate.to_le_bytes());
    header.extend_from_slice(&rate.saturating_mul(frame_bytes.into()).to_le_bytes());
    header.extend_from_slice(&frame_bytes.to_le_bytes());
    header.extend_from_slice(&(8 * SAMPLE_BYTES).to_le_bytes());
    if !is_plain {
        header.extend_from_slice(&22_u16.to_le_bytes());
        header.extend_from_slice(&(8 * SAMPLE_BYTES).to_le_bytes());
        // No speakers are named: players take the channels in order.
        header.extend_from_slice(&0_u32.to_le_bytes());
        header.extend_from_slice(&PCM.to_le_bytes());
        header.extend_from_slice(&SUBFORMAT_TAIL);
    }
    header.extend_from_slice(b"data");
    header.extend_from_slice(&data_bytes.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_what_follows() {
        let mono = header(1, 16_000, 6);
        let expected =
            b"RIFF\x2a\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\x06\0\0\0";
        assert_eq!(mono, expected);
        let six = header(6, 48_000, 12);
        assert_eq!((six.len(), &six[16..22]), (header_bytes(6), &b"\x28\0\0\0\xfe\xff"[..]));
        assert_eq!(six[4..8], (68_u32 - 8 + 12).to_le_bytes());
    }
}
