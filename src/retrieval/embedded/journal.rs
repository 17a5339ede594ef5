//! Keeps the vectors that a run has embedded so far beside the generations, so that the run after an
//! interrupted one does not pay for them again.
//!
//! The file is a line with the model and the size of its vectors, then records of one length: the hash of the
//! embedded text (16 bytes), the values as little-endian `f32`, and a checksum, because the end of an
//! interrupted file may hold anything. Reading stops at the first broken record.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Holds the journal of one run open.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    dimensions: usize,
    /// Offset in the file of each hash's vector.
    offsets: HashMap<Uuid, u64>,
}

impl Journal {
    /// Opens the journal under `data`; a journal of another model is emptied.
    pub(super) fn open(data: &Path, model: &str, dimensions: usize) -> io::Result<Self> {
        let path = data.join("embedded.part");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let head = format!("docent embeddings 1 {model} {dimensions}\n");
        let mut found = vec![0; head.len()];
        let is_same_model = file.read_exact(&mut found).is_ok() && found == head.as_bytes();
        let mut journal = Self { path, file, dimensions, offsets: HashMap::new() };
        let end = if is_same_model { journal.read_records(head.len() as u64)? } else { 0 };
        journal.file.set_len(end)?;
        journal.file.seek(SeekFrom::Start(end))?;
        if !is_same_model {
            journal.file.write_all(head.as_bytes())?;
        }
        Ok(journal)
    }

    /// Returns the vector of a hash; `None` where there is none.
    pub(super) fn read_vector(&mut self, hash: Uuid) -> io::Result<Option<Vec<f32>>> {
        let Some(offset) = self.offsets.get(&hash) else { return Ok(None) };
        let mut bytes = vec![0; self.dimensions * 4];
        self.file.seek(SeekFrom::Start(*offset))?;
        self.file.read_exact(&mut bytes)?;
        self.file.seek(SeekFrom::End(0))?;
        let value = |bytes: &[u8]| bytes.try_into().map(f32::from_le_bytes).unwrap_or_default();
        Ok(Some(bytes.chunks_exact(4).map(value).collect()))
    }

    /// Appends vectors; they are on the disk when the call returns.
    pub(super) fn append(&mut self, vectors: &[(Uuid, &[f32])]) -> io::Result<()> {
        for (hash, vector) in vectors {
            let mut record = hash.as_bytes().to_vec();
            record.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
            let sum = checksum(&record);
            record.extend(sum);
            let offset = self.file.stream_position()? + 16;
            self.file.write_all(&record)?;
            self.offsets.insert(*hash, offset);
        }
        self.file.sync_data()
    }

    /// Removes the journal, once everything in it is in a generation.
    pub(super) fn remove(self) -> io::Result<()> {
        drop(self.file);
        fs::remove_file(self.path)
    }

    /// Reads the records from `start` on. Returns the offset at which the whole records end.
    fn read_records(&mut self, start: u64) -> io::Result<u64> {
        let mut reader = BufReader::new(&self.file);
        let mut record = vec![0; 16 + self.dimensions * 4 + 16];
        let mut end = start;
        while reader.read_exact(&mut record).is_ok() {
            let (body, sum) = record.split_at(record.len() - 16);
            if checksum(body) != sum {
                break;
            }
            if let Ok(hash) = Uuid::from_slice(&body[..16]) {
                self.offsets.insert(hash, end + 16);
            }
            end += record.len() as u64;
        }
        Ok(end)
    }
}

fn checksum(bytes: &[u8]) -> [u8; 16] {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, bytes).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_found_again_up_to_the_first_broken_record() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Journal::open(folder.path(), "model", 3).unwrap();
        let hashes: Vec<Uuid> = (0..3).map(|_| Uuid::new_v4()).collect();
        let vectors = [[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]];
        let mut journal = open();
        for (hash, vector) in hashes.iter().zip(&vectors) {
            journal.append(&[(*hash, vector)]).unwrap();
        }
        let path = folder.path().join("embedded.part");
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 20;
        bytes[last] ^= 1;
        bytes.extend(b"half a record");
        fs::write(&path, bytes).unwrap();
        let mut journal = open();
        assert_eq!(journal.read_vector(hashes[0]).unwrap().unwrap(), vectors[0]);
        assert_eq!(journal.read_vector(hashes[2]).unwrap(), None);
        journal.append(&[(hashes[2], &vectors[2])]).unwrap();
        let mut journal = open();
        assert_eq!(journal.read_vector(hashes[1]).unwrap().unwrap(), vectors[1]);
        assert_eq!(journal.read_vector(hashes[2]).unwrap().unwrap(), vectors[2]);
        journal.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn the_vectors_of_another_model_are_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let hash = Uuid::new_v4();
        Journal::open(folder.path(), "model", 1).unwrap().append(&[(hash, &[1.0])]).unwrap();
        assert_eq!(Journal::open(folder.path(), "other", 1).unwrap().read_vector(hash).unwrap(), None);
        assert_eq!(Journal::open(folder.path(), "model", 1).unwrap().read_vector(hash).unwrap(), None);
    }
}
