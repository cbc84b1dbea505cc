//! A small file system of its own, to be filled.
//!
//! Where mounting is not permitted tests that need one say so and are skipped; with `CI` set they fail.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

/// A tmpfs, unmounted when dropped.
pub struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one of so many MiB; `None` when that is not permitted and tests may be skipped.
    ///
    /// # Errors
    /// When there is no place to mount it at.
    ///
    /// # Panics
    /// When it cannot be mounted and `CI` is set.
    pub fn new(mebibytes: u32) -> anyhow::Result<Option<Self>> {
        let disk = Self { directory: tempfile::tempdir().context("make a directory")? };
        let Err(cause) = disk.mount(&format!("size={mebibytes}m")) else { return Ok(Some(disk)) };
        assert!(std::env::var_os("CI").is_none(), "no small disk for the tests: {cause}");
        eprintln!("SKIPPED: tests of a full disk mount a tmpfs, and that is not permitted here: {cause}");
        Ok(None)
    }

    fn mount(&self, options: &str) -> anyhow::Result<()> {
        let mut mount = Command::new("mount");
        let output = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(self.path()).output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Makes it this large.
    ///
    /// # Errors
    /// When that is not permitted.
    pub fn grow(&self, mebibytes: u32) -> anyhow::Result<()> {
        self.mount(&format!("remount,size={mebibytes}m"))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Fills it up, but for so many bytes.
    ///
    /// # Errors
    /// When it does not say how much is free, or cannot be written.
    pub fn fill(&self, free_bytes: u64) -> anyhow::Result<()> {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(self.path()).output()?;
        let text = String::from_utf8(output.stdout)?;
        let free: u64 = text.lines().last().context("df says nothing")?.trim().parse()?;
        let ballast = usize::try_from(free.saturating_sub(free_bytes))?;
        std::fs::write(self.path().join("ballast"), vec![0; ballast]).context("fill the disk")
    }

    /// Takes away what [`SmallDisk::fill`] put there.
    ///
    /// # Errors
    /// When it was not filled.
    pub fn relieve(&self) -> anyhow::Result<()> {
        std::fs::remove_file(self.path().join("ballast")).context("relieve the disk")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Fails when it was not mounted, which is what is wanted.
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}
