//! Members of the zip archives that cells name (`zip://{member}::{archive}`).
//!
//! Owns the listing of the archive that was last asked for, so that the cells of a split list it once. Refuses archives
//! inside of archives and names that the archive does not have. Nothing of a member is read here; a broken one fails when it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use outpost_formats::DataFile;
use outpost_formats::archive::{Member, members, open_member};
use outpost_hub::RepoFile;
use outpost_model::{DatasetName, Revision};

use crate::error::LoadError;
use crate::repository::{LoadContext, load_error};
use crate::source::HubSource;

/// Opens members of a dataset's archives, from any thread.
pub struct MediaArchives {
    context: LoadContext,
    dataset: DatasetName,
    listed: Mutex<Option<Listed>>,
}

/// An archive and its members by name.
struct Listed {
    revision: Revision,
    archive: DataFile,
    members: HashMap<String, Member>,
}

impl MediaArchives {
    /// The archives of one dataset.
    #[must_use]
    pub fn new(context: &LoadContext, dataset: &DatasetName) -> Self {
        Self { context: context.clone(), dataset: dataset.clone(), listed: Mutex::default() }
    }

    /// A member of the archive at `path`.
    ///
    /// # Errors
    /// `FileNotFoundError` when there is no such archive or member, `BadZipFile` for a broken archive, and those of
    /// [`open_member`]; transient when the Hub has trouble.
    pub fn member(&self, revision: &Revision, path: &str, name: &str) -> Result<DataFile, LoadError> {
        // Held while the archive is listed: whoever asks meanwhile needs the same listing.
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known =
            listed.as_ref().is_some_and(|known| known.archive.path == path && known.revision == *revision);
        if !is_known {
            // The memory of the last listing goes before the next one comes.
            *listed = None;
            *listed = Some(self.list(revision, path)?);
        }
        let known = listed.as_ref().expect("it was listed above");
        let member = known.members.get(name).filter(|member| !member.is_folder()).ok_or_else(|| {
            let message = format!("There is no item named '{name}' in the archive '{path}'");
            LoadError::new("FileNotFoundError", message)
        })?;
        Ok(open_member(&known.archive, member)?)
    }

    fn list(&self, revision: &Revision, path: &str) -> Result<Listed, LoadError> {
        let file = self.file(revision, path)?;
        let source = HubSource::new(&self.context, &self.dataset, revision, path, file.size);
        let url = format!("hf://datasets/{}@{revision}/{path}", self.dataset);
        let archive = DataFile { path: path.to_owned(), url, source: Arc::new(source) };
        let members = members(&archive)?.into_iter().map(|member| (member.name.clone(), member)).collect();
        Ok(Listed { revision: revision.clone(), archive, members })
    }

    /// The archive's entry in the listing of its folder.
    fn file(&self, revision: &Revision, path: &str) -> Result<RepoFile, LoadError> {
        self.context.guard.check()?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let files = self.context.hub.list_files(&self.dataset, revision, folder);
        let files =
            self.context.runtime.block_on(files).map_err(|error| load_error(&self.dataset, &error))?;
        files.into_iter().find(|file| file.path == path).ok_or_else(|| {
            LoadError::new("FileNotFoundError", format!("There is no file '{path}' in '{}'", self.dataset))
        })
    }
}
