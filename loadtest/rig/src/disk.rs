//! How long the disk takes to have something for good: the floor of every commit that waits for it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use crate::Result;
use crate::children::Folder;
use crate::report::median;

/// A page as a database writes it, over and over in a file that has its size already, like its log.
const PAGE: usize = 8 * 1024;
const PAGES: u64 = 64;
const WRITES: u64 = 101;

/// Median of a page's write and its sync, in microseconds, where temporary files are.
pub fn sync_us() -> Result<f64> {
    let folder = Folder::new("disk")?;
    let file = File::create(folder.path.join("pages"))?;
    let page = [b'x'; PAGE];
    let write = |number: u64| file.write_all_at(&page, number % PAGES * PAGE as u64);
    (0..PAGES).try_for_each(write)?;
    file.sync_all()?;
    let mut took = Vec::new();
    for number in 0..WRITES {
        let began = Instant::now();
        write(number)?;
        file.sync_data()?;
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(took))
}
