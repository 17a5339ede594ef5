//! Keeps an index on disk as a sequence of generations, so that a writer and a reader never meet.
//!
//! ```text
//! DOCENT_DATA/
//!   lock                    held by the one process that indexes
//!   current                 the name of the generation to read; replaced by a rename
//!   embedded.part           the vectors that a run has embedded so far; see the journal
//!   generations/<name>/     docent.json (the manifest) and qdrant-edge's own files
//! ```
//!
//! A writer builds a whole new generation, closes it, and replaces `current` by a rename. A published
//! generation never changes. A reader copies the current one into a private temporary folder and opens the
//! copy. The reason is `qdrant-edge` 0.7: it locks its folder, never replays its write-ahead log, panics when
//! it flushes beside an update, and dies of SIGBUS on a full disk. So a build is never resumed, and both sides
//! check the free space first. Rejected: one folder that both sides open (it locks), and hard links in place of
//! copies (opening a folder writes to its files).

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::retrieval::description::Manifest;

const MIB: u64 = 1024 * 1024;
/// Attempts at a copy; each fails when its generation is replaced meanwhile.
const COPY_ATTEMPTS: usize = 5;
/// Free space that must stay on the disk beside the bytes that are written.
const SPARE_BYTES: u64 = 64 * MIB;

/// Explains why an index could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder cannot be created or written.
    #[error("DOCENT_DATA: {path} cannot be used: {error}")]
    Unusable {
        /// Folder of the index.
        path: PathBuf,
        /// Cause.
        error: io::Error,
    },
    /// Another process is building.
    #[error("another process is indexing into {0}")]
    Locked(PathBuf),
    /// The disk is too full to begin.
    #[error("{path} has {} MiB free, the index needs about {}: make room, or set DOCENT_DATA to a folder on another disk",
        .available / MIB, .needed / MIB)]
    NoSpace {
        /// Folder of the index.
        path: PathBuf,
        /// Free bytes.
        available: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// The index holds other roots, whose passages another model embedded.
    #[error(
        "the index in {path} {cause}; it also holds {others}: index those anew too, in another DOCENT_DATA"
    )]
    Incompatible {
        /// Folder of the index.
        path: PathBuf,
        /// The mismatch.
        cause: String,
        /// The other roots.
        others: String,
    },
    /// The current generation exists and cannot be read.
    #[error("the index in {path} cannot be read: {cause}; delete that folder to index everything anew")]
    Unreadable {
        /// Folder of the index.
        path: PathBuf,
        /// Cause.
        cause: String,
    },
    /// The file system refused.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The engine refused.
    #[error("qdrant-edge: {0}")]
    Engine(String),
}

/// Returns the name of the current generation; `None` where there is none yet.
///
/// # Errors
///
/// `current` exists and cannot be read.
pub(super) fn current_name(data: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(data.join("current")) {
        Ok(name) => Ok(Some(name.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the manifest of the current generation; `None` where there is none that can be read.
pub(super) fn current_manifest(data: &Path) -> Option<Manifest> {
    let name = current_name(data).ok()??;
    read_manifest(&data.join("generations").join(name)).ok()
}

fn read_manifest(generation: &Path) -> io::Result<Manifest> {
    Ok(serde_json::from_slice(&fs::read(generation.join("docent.json"))?)?)
}

/// Copies the current generation into a private temporary folder, and tries again when it is replaced
/// meanwhile. Returns the generation's name, the folder and the manifest.
///
/// # Errors
///
/// There is no generation, the disk is too full, or the file system failed.
pub(super) fn make_private_copy(data: &Path) -> io::Result<(String, tempfile::TempDir, Manifest)> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for _ in 0..COPY_ATTEMPTS {
        let Some(name) = current_name(data)? else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "does not exist yet: set QDRANT_URL to search a Qdrant server, or DOCENT_DATA to a folder with an index",
            ));
        };
        let copied = copy_generation(data, &name);
        // A writer removes a generation only once it is no longer current: if the name is still current, the
        // copy is whole.
        if current_name(data)?.as_deref() == Some(name.as_str()) {
            return copied.map(|(folder, manifest)| (name, folder, manifest));
        }
        last = copied.err().unwrap_or(last);
    }
    Err(last)
}

/// Copies a generation into a private temporary folder, without its log, which is never read. A writer may
/// remove the generation meanwhile: the caller checks afterwards that it is still the current one.
///
/// # Errors
///
/// The disk is too full, or the file system failed.
fn copy_generation(data: &Path, name: &str) -> io::Result<(tempfile::TempDir, Manifest)> {
    let source = data.join("generations").join(name);
    let manifest = read_manifest(&source)?;
    let private = tempfile::Builder::new().prefix("docent-").tempdir()?;
    let available = fs4::available_space(private.path())?;
    let needed = generation_bytes(&source)? + SPARE_BYTES;
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
    copy_or_count(&source, Some(private.path()))?;
    Ok((private, manifest))
}

/// Counts the bytes that a copy of a generation takes.
pub(super) fn generation_bytes(generation: &Path) -> io::Result<u64> {
    copy_or_count(generation, None)
}

/// Copies a folder without its logs, or with no target only counts its bytes. Returns the bytes.
fn copy_or_count(source: &Path, target: Option<&Path>) -> io::Result<u64> {
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
            bytes += copy_or_count(&entry.path(), target.as_deref())?;
        } else if let Some(target) = target {
            bytes += fs::copy(entry.path(), target)?;
        } else {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// Locks the index for one writer; the lock lasts until the returned file is dropped or the process ends.
pub(super) fn lock(data: &Path) -> Result<File, BuildError> {
    let path = data.join("lock");
    let file = File::create(&path).map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(BuildError::Locked(data.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(BuildError::Io(path, error)),
    }
}

/// Removes every generation except the current one. A reader that is copying an older generation finds that
/// generation gone, and reads `current` again.
pub(super) fn remove_old_generations(data: &Path, generations: &Path) -> Result<(), BuildError> {
    let alive = current_name(data).map_err(io_error(data))?;
    for entry in fs::read_dir(generations).map_err(io_error(generations))? {
        let entry = entry.map_err(io_error(generations))?;
        if alive.as_deref().is_none_or(|alive| entry.file_name() != alive) {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(io_error(&path))?;
        }
    }
    Ok(())
}

/// Checks that the disk has room for `bytes` and the spare room.
pub(super) fn require_space(path: &Path, bytes: u64) -> Result<(), BuildError> {
    let available = fs4::available_space(path).map_err(io_error(path))?;
    let needed = bytes + SPARE_BYTES;
    if available < needed {
        return Err(BuildError::NoSpace { path: path.to_owned(), available, needed });
    }
    Ok(())
}

/// Writes a file and waits until it is on the disk.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Adds the path to an error of the file system.
pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |error| BuildError::Io(path, error)
}
