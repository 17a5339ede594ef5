//! An index on disk as a row of generations, so that who writes and who reads never meet.
//!
//! ```text
//! DOCENT_DATA/
//!   lock                    held by the one process that indexes
//!   current                 the name of the generation to read; replaced by a rename
//!   embedded.part           what a run has embedded so far; see [`super::journal`]
//!   generations/<name>/     docent.json (the manifest) and qdrant-edge's own files
//! ```
//!
//! A writer builds a whole new generation, closes it, and renames `current` over. A generation is never changed again. A
//! reader copies the current one into a private temporary folder and opens the copy. The reason is `qdrant-edge` 0.7: it
//! locks its folder, never replays its write-ahead log, panics when it flushes beside an update, and dies of SIGBUS on a
//! full disk. So a build is never resumed, and both sides look at the free space first. Rejected: one folder that both
//! sides open (it locks), and hard links in place of copies (opening a folder writes to its files).

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::retrieval::Manifest;

const MIB: u64 = 1024 * 1024;
/// Room that must be left on the disk beyond what is written.
const SPARE_BYTES: u64 = 64 * MIB;

/// Why an index could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Nothing can be written there.
    #[error("DOCENT_DATA: {path} cannot be used: {error}")]
    Unusable {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process is building.
    #[error("another process is indexing into {0}")]
    Locked(PathBuf),
    /// The disk is too full to begin.
    #[error("{path} has {} MiB free, the index needs about {}: make room, or set DOCENT_DATA to a folder on another disk",
        .available / MIB, .needed / MIB)]
    NoSpace {
        /// Where.
        path: PathBuf,
        /// What is free.
        available: u64,
        /// What is needed.
        needed: u64,
    },
    /// The index holds other roots, of another model.
    #[error(
        "the index in {path} {cause}; it also holds {others}: index those anew too, in another DOCENT_DATA"
    )]
    Unfit {
        /// Where.
        path: PathBuf,
        /// What does not fit.
        cause: String,
        /// The other roots.
        others: String,
    },
    /// The current generation is there and cannot be read.
    #[error("the index in {path} cannot be read: {cause}; delete that folder to index everything anew")]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The file system refused.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The engine refused.
    #[error("qdrant-edge: {0}")]
    Engine(String),
}

/// The current generation's name, if there is one.
///
/// # Errors
///
/// That `current` is there and cannot be read.
pub(super) fn current(data: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(data.join("current")) {
        Ok(name) => Ok(Some(name.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the current generation says of itself, if there is one that says so.
pub(super) fn current_manifest(data: &Path) -> Option<Manifest> {
    let name = current(data).ok()??;
    manifest(&data.join("generations").join(name)).ok()
}

fn manifest(generation: &Path) -> io::Result<Manifest> {
    Ok(serde_json::from_slice(&fs::read(generation.join("docent.json"))?)?)
}

/// Copies a generation into a private temporary folder. Its log stays behind: it is never read.
///
/// The caller looks whether the generation is still current afterwards: until then it may have been removed meanwhile.
///
/// # Errors
///
/// What the file system said.
pub(super) fn copy(data: &Path, name: &str) -> io::Result<(tempfile::TempDir, Manifest)> {
    let source = data.join("generations").join(name);
    let manifest = manifest(&source)?;
    let private = tempfile::Builder::new().prefix("docent-").tempdir()?;
    let available = fs4::available_space(private.path())?;
    let needed = copy_tree(&source, None)? + SPARE_BYTES;
    if available < needed {
        let place = private.path().parent().unwrap_or(private.path()).display();
        let message = format!(
            "has no room for its copy: {place} has {} MiB free, {} are needed; make room, or set TMPDIR to a folder on \
            another disk",
            available / MIB,
            needed / MIB
        );
        return Err(io::Error::new(io::ErrorKind::StorageFull, message));
    }
    copy_tree(&source, Some(private.path()))?;
    Ok((private, manifest))
}

/// Copies a folder, or with no target only counts its bytes.
pub(super) fn copy_tree(source: &Path, target: Option<&Path>) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let target = target.map(|target| target.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            if entry.file_name() == "wal" {
                continue;
            }
            if let Some(target) = &target {
                fs::create_dir(target)?;
            }
            bytes += copy_tree(&entry.path(), target.as_deref())?;
        } else if let Some(target) = target {
            bytes += fs::copy(entry.path(), target)?;
        } else {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

pub(super) fn lock(data: &Path) -> Result<File, BuildError> {
    let path = data.join("lock");
    let file = File::create(&path).map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(BuildError::Locked(data.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(BuildError::Io(path, error)),
    }
}

/// Removes generations that are not current. The one before the current one goes too: a reader that is copying it
/// finds it gone and looks at `current` again.
pub(super) fn clear_dead(data: &Path, generations: &Path) -> Result<(), BuildError> {
    let alive = current(data).map_err(io_error(data))?;
    for entry in fs::read_dir(generations).map_err(io_error(generations))? {
        let entry = entry.map_err(io_error(generations))?;
        if alive.as_deref().is_none_or(|alive| entry.file_name() != alive) {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(io_error(&path))?;
        }
    }
    Ok(())
}

pub(super) fn require_space(path: &Path, bytes: u64) -> Result<(), BuildError> {
    let available = fs4::available_space(path).map_err(io_error(path))?;
    let needed = bytes + SPARE_BYTES;
    if available < needed {
        return Err(BuildError::NoSpace { path: path.to_owned(), available, needed });
    }
    Ok(())
}

pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |error| BuildError::Io(path, error)
}
