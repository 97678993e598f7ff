//! What the test files share: vectors and xmllint.
#![allow(dead_code, reason = "not every test file uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

pub(crate) fn read(path: &str) -> Vec<u8> {
    let path = vectors().join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Name and content of every document in a folder of vectors, by name.
pub(crate) fn documents(folder: &str) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(vectors().join(folder)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "xml"));
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

/// Every IDMEF document among the vectors.
pub(crate) fn all_documents() -> Vec<(String, Vec<u8>)> {
    ["idmef/idmef-rfc4765", "idmef/idmef-prelude/split", "idmef/idmef-from-eve"]
        .into_iter()
        .flat_map(documents)
        .collect()
}

/// Whether all of `documents` are valid against the DTD of the RFC, told by xmllint; `None` without xmllint.
pub(crate) fn dtd_valid<'a>(documents: impl IntoIterator<Item = &'a str>) -> Option<Result<usize, String>> {
    let found = Command::new("xmllint").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: xmllint is not installed, so that nothing was validated against the DTD");
        return None;
    }
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dtd-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let dtd = vectors().join("idmef/idmef-rfc4765/idmef-message-rfc4765.dtd");
    let mut files = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        let file = folder.join(format!("{index}.xml"));
        std::fs::write(&file, document).unwrap();
        files.push(file);
    }
    let output =
        Command::new("xmllint").arg("--noout").arg("--nonet").arg("--dtdvalid").arg(dtd).args(&files).output().unwrap();
    let result = if output.status.success() {
        Ok(files.len())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    if result.is_ok() {
        std::fs::remove_dir_all(folder).unwrap();
    }
    Some(result)
}
