//! Lists and reads the Markdown files of a documentation folder, as Docusaurus chooses them.

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

/// Largest file that is read, in bytes; a larger one is skipped, with the reason. A usual page has some
/// thousand bytes.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Holds the list of a folder's files, sorted, and the files that cannot be used.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    /// Path of the folder.
    pub path: PathBuf,
    /// Paths of the files below the folder, with `/`.
    pub files: Vec<String>,
    /// Files and folders that had to be left out.
    pub skipped: Vec<SkippedFile>,
}

/// Names a file that is not indexed, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {cause}")]
pub struct SkippedFile {
    /// Path of the file below the folder.
    pub file: String,
    /// Reason, as a sentence about the file whose subject is "it" or a noun.
    pub cause: String,
}

impl Folder {
    /// Lists a folder. Names that begin with `_` or `.` are left out, as Docusaurus does; symbolic links are
    /// followed.
    ///
    /// # Errors
    ///
    /// Returns a sentence if `path` is no folder, or holds no Markdown.
    pub fn open(path: &Path) -> Result<Self, String> {
        if !path.is_dir() {
            return Err(format!(
                "{} is not a folder: give the folder that holds your Markdown files",
                path.display()
            ));
        }
        let mut folder = Self { path: path.to_owned(), ..Self::default() };
        let walk = WalkDir::new(path).follow_links(true).sort_by_file_name().into_iter();
        for entry in walk.filter_entry(|entry| entry.depth() == 0 || is_public(entry)) {
            match entry {
                Ok(entry) if entry.file_type().is_file() => folder.add_file(&entry),
                Ok(_) => {}
                Err(error) => folder.skip_entry(&error),
            }
        }
        if folder.files.is_empty() && folder.skipped.is_empty() {
            return Err(format!("{} holds no .md or .mdx file", path.display()));
        }
        Ok(folder)
    }

    /// Reads the source of a file.
    ///
    /// # Errors
    ///
    /// Returns the reason why the file cannot be read, is too large, or is not UTF-8.
    pub fn read_source(&self, file: &str) -> Result<String, SkippedFile> {
        let path = self.path.join(file);
        let read = || -> Result<String, String> {
            let bytes = fs::metadata(&path).map_err(|error| error.to_string())?.len();
            if bytes > MAX_FILE_BYTES {
                let mib = MAX_FILE_BYTES / 1024 / 1024;
                return Err(format!("it has {bytes} bytes; at most {mib} MiB are read"));
            }
            let bytes = fs::read(&path).map_err(|error| format!("it cannot be read: {error}"))?;
            String::from_utf8(bytes).map_err(|error| {
                format!("it is not UTF-8 (byte {}): save it as UTF-8", error.utf8_error().valid_up_to())
            })
        };
        read().map_err(|cause| SkippedFile { file: file.to_owned(), cause })
    }

    /// Lists a file if it is Markdown; a name that is not UTF-8 is skipped.
    fn add_file(&mut self, entry: &DirEntry) {
        let below = entry.path().strip_prefix(&self.path).unwrap_or(entry.path());
        let name = below.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
        let is_markdown = [".md", ".mdx"].iter().any(|extension| name.ends_with(extension));
        match below.to_str() {
            Some(_) if is_markdown => self.files.push(name),
            None if is_markdown => {
                self.skipped.push(SkippedFile { file: name, cause: "its name is not UTF-8".to_owned() });
            }
            _ => {}
        }
    }

    /// Records a file or folder that the walk could not read.
    fn skip_entry(&mut self, error: &walkdir::Error) {
        let place = error.path().unwrap_or(&self.path);
        let file = place.strip_prefix(&self.path).unwrap_or(place).display().to_string();
        let cause = match (error.loop_ancestor(), error.io_error()) {
            (Some(_), _) => "a symbolic link leads back to a folder around it".to_owned(),
            (None, Some(error)) => format!("it cannot be read: {error}"),
            (None, None) => error.to_string(),
        };
        self.skipped.push(SkippedFile { file, cause });
    }
}

/// Returns true if Docusaurus would look at a file or folder of this name.
fn is_public(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    let is_installed = entry.file_type().is_dir() && name == "node_modules";
    !name.starts_with(['_', '.']) && !is_installed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_listed_and_partials_and_hidden_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["b.md", "a.mdx", "_part.mdx", "x/c.md", "_x/d.md", ".e/f.md", "g.txt", "node_modules/h.md"]
        {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        assert_eq!(Folder::open(folder.path()).unwrap().files, ["a.mdx", "b.md", "x/c.md"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_cycle_of_links_and_a_broken_link_are_named_and_the_rest_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("x")).unwrap();
        fs::write(folder.path().join("x/a.md"), "x").unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("x/up")).unwrap();
        std::os::unix::fs::symlink("nowhere.md", folder.path().join("broken.md")).unwrap();
        let open = Folder::open(folder.path()).unwrap();
        assert_eq!(open.files, ["x/a.md"]);
        let skipped: Vec<String> = open.skipped.iter().map(ToString::to_string).collect();
        assert!(skipped.iter().any(|line| line.starts_with("x/up: a symbolic link")), "{skipped:?}");
        assert!(skipped.iter().any(|line| line.starts_with("broken.md: it cannot be read")), "{skipped:?}");
    }

    #[test]
    fn what_cannot_be_read_as_text_says_why() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Folder::open(folder.path()).unwrap_err().contains("holds no .md"));
        assert!(Folder::open(&folder.path().join("none")).unwrap_err().contains("not a folder"));
        fs::write(folder.path().join("latin.md"), b"caf\xe9").unwrap();
        fs::File::create(folder.path().join("huge.md")).unwrap().set_len(50 * 1024 * 1024).unwrap();
        let open = Folder::open(folder.path()).unwrap();
        assert!(open.read_source("latin.md").unwrap_err().to_string().contains("not UTF-8 (byte 3)"));
        assert!(open.read_source("huge.md").unwrap_err().to_string().contains("at most 4 MiB"));
        assert!(open.read_source("gone.md").is_err());
    }
}
