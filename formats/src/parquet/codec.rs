//! Decompression of Parquet pages, never beyond the size that the page's header states.
//!
//! The parquet crate's own codecs read gzip, brotli and lz4 frames to their end, however long that is; pages of
//! strangers need the bound. Anything longer or shorter than stated is an error.

use std::io::Read;

use ::parquet::basic::Compression;

/// No Snappy input grows more: 64 bytes from 3.
const SNAPPY_RATIO_MAX: usize = 22;
/// No lz4 block grows more: a length byte stands for at most 255 bytes.
const LZ4_RATIO_MAX: usize = 256;

/// Decompresses `input` into exactly `len` bytes appended to `output`; errors are one sentence.
pub(super) fn decompress(
    codec: Compression,
    input: &[u8],
    len: usize,
    output: &mut Vec<u8>,
) -> Result<(), String> {
    let start = output.len();
    match codec {
        Compression::UNCOMPRESSED => output.extend_from_slice(input),
        Compression::SNAPPY => {
            let claimed = snap::raw::decompress_len(input).map_err(|error| error.to_string())?;
            check_len(claimed, len)?;
            check_ratio(input.len(), len, SNAPPY_RATIO_MAX)?;
            output.resize(start + len, 0);
            let mut decoder = snap::raw::Decoder::new();
            decoder.decompress(input, &mut output[start..]).map_err(|error| error.to_string())?;
        }
        Compression::GZIP(_) => read_bounded(flate2::read::MultiGzDecoder::new(input), len, output)?,
        Compression::BROTLI(_) => read_bounded(brotli::Decompressor::new(input, 4096), len, output)?,
        Compression::ZSTD(_) => {
            let decoder =
                zstd::stream::read::Decoder::with_buffer(input).map_err(|error| error.to_string())?;
            read_bounded(decoder, len, output)?;
        }
        Compression::LZ4_RAW => lz4_block(input, len, output)?,
        Compression::LZ4 => lz4_legacy(input, len, output)?,
        Compression::LZO => return Err("LZO compression is not supported".into()),
    }
    check_len(output.len() - start, len)
}

fn check_len(found: usize, stated: usize) -> Result<(), String> {
    if found == stated {
        return Ok(());
    }
    Err(format!("Page didn't decompress to expected size, expected: {stated}, but got: {found}"))
}

/// Refuses a stated size that the input cannot reach, before memory is taken for it.
fn check_ratio(input_len: usize, stated: usize, ratio_max: usize) -> Result<(), String> {
    // The constant covers the literals of tiny inputs.
    if stated > input_len.saturating_mul(ratio_max) + 64 {
        return Err(format!("{input_len} compressed bytes cannot hold {stated}"));
    }
    Ok(())
}

fn read_bounded(decoder: impl Read, len: usize, output: &mut Vec<u8>) -> Result<(), String> {
    let limit = len as u64 + 1;
    decoder.take(limit).read_to_end(output).map(|_| ()).map_err(|error| error.to_string())
}

fn lz4_block(input: &[u8], len: usize, output: &mut Vec<u8>) -> Result<(), String> {
    check_ratio(input.len(), len, LZ4_RATIO_MAX)?;
    let start = output.len();
    output.resize(start + len, 0);
    let count =
        lz4_flex::block::decompress_into(input, &mut output[start..]).map_err(|error| error.to_string());
    match count {
        Ok(count) => {
            output.truncate(start + count);
            Ok(())
        }
        Err(error) => {
            output.truncate(start);
            Err(error)
        }
    }
}

/// The deprecated codec: Hadoop's framing, else an lz4 frame, else a bare block, as its writers differed.
fn lz4_legacy(input: &[u8], len: usize, output: &mut Vec<u8>) -> Result<(), String> {
    let start = output.len();
    if lz4_hadoop(input, len, output).is_some() {
        return Ok(());
    }
    output.truncate(start);
    if input.starts_with(&[0x04, 0x22, 0x4d, 0x18]) {
        return read_bounded(lz4_flex::frame::FrameDecoder::new(input), len, output);
    }
    lz4_block(input, len, output)
}

/// Blocks, each behind its decompressed and compressed length as big-endian u32.
fn lz4_hadoop(mut input: &[u8], len: usize, output: &mut Vec<u8>) -> Option<()> {
    let end = output.len() + len;
    while !input.is_empty() {
        let (plain_len, rest) = input.split_first_chunk::<4>()?;
        let (block_len, rest) = rest.split_first_chunk::<4>()?;
        let plain_len = u32::from_be_bytes(*plain_len) as usize;
        let block = rest.get(..u32::from_be_bytes(*block_len) as usize)?;
        if output.len() + plain_len > end {
            return None;
        }
        let before = output.len();
        lz4_block(block, plain_len, output).ok()?;
        if output.len() - before != plain_len {
            return None;
        }
        input = &rest[block.len()..];
    }
    (output.len() == end).then_some(())
}
