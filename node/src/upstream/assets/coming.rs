//! An asset on its way here, as those see it who wait for its bytes.
//!
//! Owns the bytes while they come and until they are stored; any number of readers take them at their own pace, none
//! holds the others up or keeps the memory. The part that completes the file is shown once the hash of the whole
//! agrees: what is wrong never looks whole to anyone.

use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use outpost_model::limits;
use outpost_storage::AssetHead;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// See the module.
pub(super) struct Coming {
    head: AssetHead,
    held: RwLock<Held>,
    progress: watch::Sender<Progress>,
}

struct Held {
    bytes: Vec<u8>,
    /// Of the memory that `bytes` takes.
    _memory: Option<OwnedSemaphorePermit>,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// So many bytes can be read.
    Here(u64),
    /// All came, and are held no more: they are stored, or could not be.
    Settled {
        /// Whether they are stored.
        kept: bool,
    },
    /// The rest will not come.
    Lost,
}

/// An asset whose bytes stopped coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the rest of the asset did not arrive")]
pub(super) struct Lost;

/// A part that does not belong to the asset that was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    /// Empty, or more than there is.
    #[error("a part is empty or goes beyond the end")]
    Length,
    /// It makes another file than the one announced.
    #[error("it is not the file that was announced")]
    Hash,
}

/// The one who puts the bytes in. Dropped before the end, it leaves the asset lost.
pub(super) struct Filling<'a> {
    coming: &'a Coming,
    hasher: blake3::Hasher,
    here: u64,
    is_whole: bool,
}

impl Coming {
    /// Of an asset that fits into `memory`.
    pub(super) fn new(head: AssetHead, memory: OwnedSemaphorePermit) -> Self {
        // As much as the permit stands for.
        let bytes = Vec::with_capacity(usize::try_from(head.bytes).unwrap_or_default());
        let held = Held { bytes, _memory: Some(memory) };
        Self { head, held: RwLock::new(held), progress: watch::Sender::new(Progress::Here(0)) }
    }

    pub(super) fn head(&self) -> &AssetHead {
        &self.head
    }

    pub(super) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Begins to put bytes in.
    pub(super) fn fill(&self) -> Filling<'_> {
        let hasher = blake3::Hasher::new();
        let is_whole = self.head.bytes == 0 && *hasher.finalize().as_bytes() == self.head.hash;
        Filling { coming: self, hasher, here: 0, is_whole }
    }

    /// Hands all bytes to `work`, which readers do not wait for.
    pub(super) fn with_bytes<T>(&self, work: impl FnOnce(&[u8]) -> T) -> T {
        work(&self.held.read().unwrap_or_else(PoisonError::into_inner).bytes)
    }

    /// Lets go of the bytes.
    pub(super) fn settle(&self, kept: bool) {
        self.end(Progress::Settled { kept });
    }

    fn end(&self, progress: Progress) {
        self.progress.send_replace(progress);
        *self.held.write().unwrap_or_else(PoisonError::into_inner) =
            Held { bytes: Vec::new(), _memory: None };
    }

    /// The next bytes of a range that is not empty, once there are any; `None` when none are held any more.
    pub(super) async fn block(&self, range: Range<u64>) -> Result<Option<Bytes>, Lost> {
        let mut progress = self.progress.subscribe();
        loop {
            let now = *progress.borrow_and_update();
            match now {
                Progress::Lost => return Err(Lost),
                Progress::Settled { .. } => return Ok(None),
                Progress::Here(here) if here > range.start => {
                    if let Some(block) = self.copy(range.start..range.end.min(here)) {
                        return Ok(Some(block));
                    }
                }
                Progress::Here(_) => {}
            }
            // The sender lives as long as `self`.
            progress.changed().await.map_err(|_| Lost)?;
        }
    }

    /// Returns when no more is done about the asset; says whether it is stored.
    pub(super) async fn ended(&self) -> Result<bool, Lost> {
        let mut progress = self.progress.subscribe();
        let ended = progress.wait_for(|progress| !matches!(progress, Progress::Here(_))).await;
        match ended.map(|progress| *progress) {
            Ok(Progress::Settled { kept }) => Ok(kept),
            Ok(Progress::Here(_) | Progress::Lost) | Err(_) => Err(Lost),
        }
    }

    /// Copied, so that a reader who takes its time does not hold the memory of the whole.
    fn copy(&self, range: Range<u64>) -> Option<Bytes> {
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?.min(start.saturating_add(limits::ASSET_BLOCK_BYTES));
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.bytes.get(start..end).map(Bytes::copy_from_slice)
    }
}

impl Filling<'_> {
    /// Whether all bytes are in and are the right ones.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Puts the next part in.
    pub(super) fn push(&mut self, part: &[u8]) -> Result<(), Wrong> {
        let length = self.coming.head.bytes;
        let here = self.here.saturating_add(part.len() as u64);
        if part.is_empty() || here > length {
            return Err(Wrong::Length);
        }
        self.hasher.update(part);
        if here == length && *self.hasher.finalize().as_bytes() != self.coming.head.hash {
            return Err(Wrong::Hash);
        }
        self.coming.held.write().unwrap_or_else(PoisonError::into_inner).bytes.extend_from_slice(part);
        (self.here, self.is_whole) = (here, here == length);
        self.coming.progress.send_replace(Progress::Here(here));
        Ok(())
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        if !self.is_whole {
            self.coming.end(Progress::Lost);
        }
    }
}
