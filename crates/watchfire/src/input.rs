//! Files that commands read whole: bounded, and `-` is standard input.

use std::io::Read as _;
use std::path::Path;

use crate::exit::{Failure, file_failure};

/// All of a file of up to `most` octets, or of standard input for `-`. `doing` completes "cannot": `read the template`.
///
/// # Errors
/// When it cannot be read, or is larger.
pub fn read(path: &Path, most: u64, doing: &str) -> Result<Vec<u8>, Failure> {
    let mut octets = Vec::new();
    let failed = |error: std::io::Error| file_failure(doing, path, &error);
    if path == Path::new("-") {
        std::io::stdin().lock().take(most + 1).read_to_end(&mut octets).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(most + 1).read_to_end(&mut octets).map_err(failed)?;
    }
    if octets.len() as u64 > most {
        return Err(Failure::usage(format!("larger than {most} octets")).at(path.display()));
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn files_are_bounded() {
        let dir = TempDir::new("input");
        let path = dir.path().join("file");
        std::fs::write(&path, [7; 100]).unwrap();
        assert_eq!(read(&path, 100, "read it"), Ok(vec![7; 100]));
        let failure = read(&path, 99, "read it").unwrap_err().to_string();
        assert!(failure.contains("larger than 99 octets") && failure.contains("file"), "{failure}");
        let failure = read(&dir.path().join("none"), 1, "read the thing").unwrap_err().to_string();
        assert!(failure.contains("cannot read the thing"), "{failure}");
    }
}
