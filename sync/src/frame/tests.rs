use super::*;
use crate::wire::{Part, Reached, Records};

fn sample() -> Message {
    Reached { seq: 7, set_hash: Some([3; 32]) }.into()
}

fn large() -> Message {
    Part { bytes: (0..100_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect() }.into()
}

#[test]
fn messages_round_trip_however_the_stream_is_cut() {
    let stream = [encode(&sample()), encode(&large()), encode(&sample())].concat();
    for step in [1, 7, 64, 5_000, stream.len()] {
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        for bytes in stream.chunks(step) {
            decoder.push(bytes);
            while let Some(message) = decoder.next_message().unwrap() {
                got.push(message);
            }
        }
        assert_eq!(got, [sample(), large(), sample()], "step {step}");
        assert_eq!(decoder.finish(), Ok(()));
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let frame = encode(&sample());
    for bit in 0..frame.len() * 8 {
        let mut bytes = frame.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_one(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn a_frame_that_lies_about_its_length_is_refused_before_its_content_is_taken() {
    let mut bytes = encode(&sample()).to_vec();
    bytes[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut decoder = Decoder::default();
    decoder.push(&bytes[..20]);
    assert!(matches!(decoder.next_message(), Err(FrameError::Length { .. })));
    let mut bomb = encode(&large()).to_vec();
    bomb[12..16].copy_from_slice(&(SYNC_FRAME_BYTES_MAX as u32 + 1).to_be_bytes());
    assert!(matches!(decode_one(&bomb), Err(FrameError::Length { .. })));
}

#[test]
fn a_frame_that_decompresses_to_another_length_is_refused() {
    let packed = zstd::bulk::compress(&vec![0; 1_000_000], 1).unwrap();
    let mut frame = BytesMut::new();
    frame.put_slice(b"OPSY\x01\x0f\x01\x00");
    frame.put_u32(u32::try_from(packed.len()).unwrap());
    frame.put_u32(10);
    let crc = checksum(&frame, &packed);
    frame.put_u32(crc);
    frame.put_slice(&packed);
    assert!(decode_one(&frame).is_err());
}

#[test]
fn what_claims_more_than_it_has_is_refused() {
    // A list of 2^40 records.
    let payload = [0xfd, 0, 0, 0, 0, 0, 1, 0, 0];
    let mut frame = BytesMut::new();
    frame.put_slice(b"OPSY\x01\x05\x00\x00");
    frame.put_u32(payload.len() as u32);
    frame.put_u32(payload.len() as u32);
    let crc = checksum(&frame, &payload);
    frame.put_u32(crc);
    frame.put_slice(&payload);
    assert!(matches!(decode_one(&frame), Err(FrameError::Content(_))));
}

#[test]
fn other_protocols_versions_and_leftovers_are_refused_in_words() {
    let mut decoder = Decoder::default();
    decoder.push(b"HTT");
    assert_eq!(decoder.next_message(), Err(FrameError::Magic));
    let mut bytes = encode(&sample()).to_vec();
    bytes[4] = 9;
    assert_eq!(decode_one(&bytes), Err(FrameError::Version(9)));
    assert!(decode_one(&[&encode(&sample())[..], b"x"].concat()).is_err());
    assert_eq!(decode_one(&encode(&sample())[..10]), Err(FrameError::Cut));
    assert!(decode_one(&encode(&Records::default().into())).is_ok());
}
