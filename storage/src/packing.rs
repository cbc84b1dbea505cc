//! zstd for values of some kilobytes, at one level.
//!
//! Owns a few contexts that are kept for the next call: making one costs more than packing such a value. What they hold
//! is bounded by their number. Refuses nothing itself; errors are the library's.

use std::io;
use std::sync::{Mutex, PoisonError};

use outpost_model::limits;
use zstd::bulk::{Compressor, Decompressor};

const LEVEL: i32 = 3;

static COMPRESSORS: Kept<Compressor<'static>> = Kept(Mutex::new(Vec::new()));
static DECOMPRESSORS: Kept<Decompressor<'static>> = Kept(Mutex::new(Vec::new()));

/// Contexts that nobody uses at the moment.
struct Kept<C>(Mutex<Vec<C>>);

impl<C> Kept<C> {
    /// Runs `work` with a kept context or one that `make` makes. One that `work` failed with is not kept.
    fn with<T>(
        &self,
        make: impl FnOnce() -> io::Result<C>,
        work: impl FnOnce(&mut C) -> io::Result<T>,
    ) -> io::Result<T> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut context = kept.map_or_else(make, Ok)?;
        let done = work(&mut context)?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < limits::STORE_ZSTD_CONTEXTS_MAX {
            kept.push(context);
        }
        Ok(done)
    }
}

/// Packs `raw` into one frame.
///
/// # Errors
/// When memory is short.
pub(crate) fn compress(raw: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSORS.with(|| Compressor::new(LEVEL), |context| context.compress(raw))
}

/// Unpacks a frame of at most `raw_bytes_max`.
///
/// # Errors
/// When it is none, or of more.
pub(crate) fn decompress(packed: &[u8], raw_bytes_max: usize) -> io::Result<Vec<u8>> {
    DECOMPRESSORS.with(Decompressor::new, |context| context.decompress(packed, raw_bytes_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_that_are_used_again_give_the_same_as_new_ones() {
        for length in [0, 1, 300, 5_000, 200_000, 700] {
            let raw: Vec<u8> = (0..length).map(|at| (at % 97) as u8).collect();
            let packed = compress(&raw).unwrap();
            assert_eq!(packed, zstd::bulk::compress(&raw, LEVEL).unwrap());
            assert_eq!(decompress(&packed, raw.len()).unwrap(), raw);
        }
    }

    #[test]
    fn a_frame_that_is_damaged_or_too_long_fails_and_the_next_one_does_not() {
        let packed = compress(&[7; 10_000]).unwrap();
        assert!(decompress(&packed[..packed.len() - 1], 10_000).is_err());
        assert!(decompress(&packed, 9_999).is_err());
        assert_eq!(decompress(&packed, 10_000).unwrap(), [7; 10_000]);
    }

    #[test]
    fn no_more_contexts_are_kept_than_may_be() {
        let threads: Vec<_> = (0..4 * limits::STORE_ZSTD_CONTEXTS_MAX)
            .map(|_| std::thread::spawn(|| (0..50).for_each(|_| drop(compress(&[1; 1_000]).unwrap()))))
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(COMPRESSORS.0.lock().unwrap().len() <= limits::STORE_ZSTD_CONTEXTS_MAX);
    }
}
