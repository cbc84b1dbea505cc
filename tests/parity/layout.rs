//! Cases as repositories of a folder Hub.

use std::path::Path;

use crate::case::Case;

/// Writes a case to `{hub}/u/{name}`.
pub fn write(hub: &Path, case: &Case) {
    let root = hub.join("u").join(&case.name);
    std::fs::create_dir_all(&root).expect("the case's folder");
    for (path, content) in &case.files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder of the case");
        std::fs::write(path, content).expect("a file of the case");
    }
}
