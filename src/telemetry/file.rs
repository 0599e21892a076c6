//! A log file that is renamed to `<name>.1` when it reaches its size; the `.1` before it is lost.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone)]
pub struct Rotating(Arc<Mutex<Inner>>);

struct Inner {
    path: PathBuf,
    file: File,
    written: u64,
    most: u64,
}

impl Rotating {
    pub fn open(path: &Path, most: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let written = file.metadata()?.len();
        Ok(Self(Arc::new(Mutex::new(Inner {
            path: path.to_owned(),
            file,
            written,
            most,
        }))))
    }
}

impl Inner {
    fn rotate(&mut self) -> io::Result<()> {
        let mut older = self.path.clone().into_os_string();
        older.push(".1");
        std::fs::rename(&self.path, older)?;
        self.file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)?;
        self.written = 0;
        Ok(())
    }
}

impl Write for Rotating {
    /// A record is one call, so records are never torn between files.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.lock();
        if inner.written > 0 && inner.written + record.len() as u64 > inner.most {
            inner.rotate()?;
        }
        inner.file.write_all(record)?;
        inner.written += record.len() as u64;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().file.flush()
    }
}

impl<'a> MakeWriter<'a> for Rotating {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_renamed_and_no_record_is_torn() {
        let folder = std::env::temp_dir().join(format!("collabd-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("log");
        let mut log = Rotating::open(&path, 10).unwrap();
        for record in ["first\n", "second\n", "third\n"] {
            log.write_all(record.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "third\n");
        let older = std::fs::read_to_string(folder.join("log.1")).unwrap();
        assert_eq!(older, "second\n");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
