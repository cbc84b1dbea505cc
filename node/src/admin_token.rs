//! The secret of the admin endpoints.
//!
//! Owns where it comes from: the operator, or a file that the node makes in its data directory and only its owner may
//! read. There is no node without one, so that nothing on the network, and no page in a browser on the same machine,
//! can reach the admin endpoints by itself. Compares in constant time; never shown by `Debug`.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "admin-token";
/// A given token is at least this long.
pub const TOKEN_CHARS_MIN: usize = 16;

const MINTED_BYTES: usize = 32;
/// What is read of the file at most.
const FILE_BYTES_MAX: u64 = 4_096;

/// The secret.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(String);

impl AdminToken {
    /// The token with this text: visible ASCII, at least [`TOKEN_CHARS_MIN`] characters.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_usable = text.len() >= TOKEN_CHARS_MIN && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_usable.then(|| Self(text.to_owned()))
    }

    /// The token in the data directory, made when there is none that can be used.
    ///
    /// # Errors
    /// When it can neither be read nor written.
    pub fn of_directory(data_dir: &Path) -> io::Result<Self> {
        if let Some(token) = Self::read(data_dir)? {
            return Ok(token);
        }
        let token = Self::mint()?;
        fs::create_dir_all(data_dir)?;
        // Written beside and renamed: a reader sees a whole token or none.
        let beside = data_dir.join(format!("{FILE_NAME}.{}", std::process::id()));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        writeln!(file, "{}", token.0)?;
        file.sync_all()?;
        fs::rename(&beside, Self::file(data_dir))?;
        Ok(token)
    }

    /// The token that a node left in its data directory, `None` when there is none that can be used.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub fn read(data_dir: &Path) -> io::Result<Option<Self>> {
        let mut text = String::new();
        match fs::File::open(Self::file(data_dir)) {
            Ok(file) => file.take(FILE_BYTES_MAX).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Self::new(text.trim()))
    }

    /// Where the token of a data directory is.
    #[must_use]
    pub fn file(data_dir: &Path) -> PathBuf {
        data_dir.join(FILE_NAME)
    }

    /// Whether `given` is this token, in a time that does not tell how much of it is right.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }

    /// The text, to be sent to the node.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// A new one from the system's source of random bytes.
    fn mint() -> io::Result<Self> {
        let mut bytes = [0; MINTED_BYTES];
        fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_has_one_token_that_only_its_owner_may_read() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("data");
        assert_eq!(AdminToken::read(&data_dir).unwrap(), None);
        let token = AdminToken::of_directory(&data_dir).unwrap();
        assert_eq!(AdminToken::of_directory(&data_dir).unwrap(), token);
        assert_eq!(AdminToken::read(&data_dir).unwrap(), Some(token.clone()));
        let mode = fs::metadata(AdminToken::file(&data_dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = AdminToken::of_directory(&directory.path().join("other")).unwrap();
        assert_ne!(other, token);
        assert!(token.is(token.reveal().as_bytes()) && !token.is(other.reveal().as_bytes()));
        assert!(!format!("{token:?}").contains(token.reveal()));
    }

    #[test]
    fn a_file_without_a_usable_token_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "short", "sixteen characters and é"] {
            fs::write(AdminToken::file(directory.path()), text).unwrap();
            let token = AdminToken::of_directory(directory.path()).unwrap();
            assert_eq!(AdminToken::read(directory.path()).unwrap(), Some(token));
        }
    }
}
