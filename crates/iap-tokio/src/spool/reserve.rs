//! A file that only takes space, so that a full disk cannot keep the spool from emptying itself.
//!
//! To remove a record something must be written, and before that the log may have to move into the store, which grows
//! by it. When the disk is full the reserve is given up for that, and only for that: appends fail until it is back, or
//! until they fit into what was removed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The log's usual length (4 MiB) and the largest usual commit (4 MiB).
pub(super) const RESERVE: usize = 8 << 20;
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    present: bool,
    retry_at: Option<Instant>,
}

impl Reserve {
    /// Finds or makes the reserve; without it if there is no space.
    pub(super) fn open(dir: &Path) -> Self {
        let path = dir.join("reserve");
        let present = fs::metadata(&path).is_ok_and(|meta| meta.len() == RESERVE as u64);
        let mut reserve = Self { path, present, retry_at: None };
        reserve.restore();
        reserve
    }

    /// Makes the reserve again if it is gone; whether it is there.
    pub(super) fn restore(&mut self) -> bool {
        let now = Instant::now();
        if self.present || self.retry_at.is_some_and(|at| now < at) {
            return self.present;
        }
        self.present = self.write().is_ok();
        if !self.present {
            let _ = fs::remove_file(&self.path);
            self.retry_at = Some(now + RETRY);
        }
        self.present
    }

    fn write(&self) -> std::io::Result<()> {
        let mut file = File::create(&self.path)?;
        // Not zeros: file systems that compress would not set any space aside.
        let mut noise = 0x2545_F491_4F6C_DD1Du64;
        let mut piece = Vec::with_capacity(64 << 10);
        for _ in 0..RESERVE / (64 << 10) {
            piece.clear();
            while piece.len() < 64 << 10 {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                piece.extend_from_slice(&noise.to_le_bytes());
            }
            file.write_all(&piece)?;
        }
        file.sync_all()
    }

    /// Gives the space away; `false` if there was none.
    pub(super) fn give_up(&mut self) -> bool {
        self.retry_at = Some(Instant::now() + RETRY);
        std::mem::take(&mut self.present) && fs::remove_file(&self.path).is_ok()
    }
}
