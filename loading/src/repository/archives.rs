//! Files of a repository that stand for several data files (dataset-loading.md section 1.5).
//!
//! Owns when an archive is listed: once for telling its format, its types and its rows, as long as no other archive comes
//! between. The bounds on its bytes hold for all of its members together.

use std::sync::{Arc, PoisonError};

use outpost_formats::archive::{Member, first_paths, members, open_member, reading_order};
use outpost_formats::compression::{Packing, packing};
use outpost_formats::{DataFile, FormatError, Module};
use outpost_hub::RepoFile;

use super::RepositoryFiles;
use crate::error::LoadError;
use crate::module_choice::ARCHIVE_PATHS_MAX;

/// An archive's path and members.
pub(super) type Listed = (String, Arc<[Member]>);

/// The data files that a file stands for, opened one by one.
pub(super) type Opened = Box<dyn Iterator<Item = Result<DataFile, FormatError>>>;

impl RepositoryFiles {
    /// The first paths inside of an archive.
    pub(super) fn archive_paths(&self, file: &RepoFile) -> Result<Vec<String>, LoadError> {
        let members = self.members(&self.looked_at_file(file))?;
        Ok(first_paths(&members, ARCHIVE_PATHS_MAX))
    }

    fn members(&self, archive: &DataFile) -> Result<Arc<[Member]>, FormatError> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, members)) = &*listed
            && *path == archive.path
        {
            return Ok(Arc::clone(members));
        }
        let members: Arc<[Member]> = members(archive)?.into();
        *listed = Some((archive.path.clone(), Arc::clone(&members)));
        Ok(members)
    }

    /// The data files that a file stands for to a module: the members of a zip archive in reading order when the module
    /// extracts, else the file itself.
    pub(super) fn opened(&self, file: DataFile, reader: &dyn Module) -> Result<Opened, FormatError> {
        if !reader.extracts() || packing(&file)? != Packing::Zip {
            return Ok(Box::new(std::iter::once(Ok(file))));
        }
        let members = reading_order(self.members(&file)?.to_vec());
        Ok(Box::new(members.into_iter().map(move |member| open_member(&file, &member))))
    }
}
