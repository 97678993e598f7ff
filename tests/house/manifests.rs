//! What a registry shows of a crate is there, and what belongs to a crate is in its package.

use crate::root;

/// The crates that are published, each with its manifest.
fn published() -> Vec<(String, String)> {
    let mut found: Vec<_> = std::fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|folder| {
            let folder = folder.unwrap().path();
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(folder.join("Cargo.toml")).unwrap())
        })
        .filter(|(_, manifest)| !manifest.contains("publish = false"))
        .collect();
    found.sort();
    assert!(found.len() >= 16, "{} crates found", found.len());
    found
}

fn value<'a>(manifest: &'a str, key: &str) -> Option<&'a str> {
    manifest.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('=').map(str::trim))
}

#[test]
fn every_published_crate_says_what_it_is() {
    for (name, manifest) in published() {
        for key in ["description", "keywords", "categories", "readme", "documentation"] {
            assert!(value(&manifest, key).is_some_and(|value| value.len() > 4), "{name} has no {key}");
        }
        for key in ["version", "edition", "license", "authors"] {
            assert_eq!(value(&manifest, &format!("{key}.workspace")), Some("true"), "{name}: {key}");
        }
        assert!(manifest.contains("rust-version"), "{name} says no rust-version");
        let keywords: Vec<_> = value(&manifest, "keywords").unwrap().split(',').collect();
        assert!(keywords.len() <= 5, "{name} has {} keywords, and 5 are allowed", keywords.len());
        for keyword in keywords {
            let keyword = keyword.trim_matches(|c| "[]\" ".contains(c));
            assert!(keyword.len() <= 20 && keyword.starts_with(|c: char| c.is_ascii_alphabetic()), "{name}: {keyword}");
        }
        let features = manifest.contains("[features]\ndefault = [") && manifest.contains("aws-lc-rs = [");
        assert!(!features || manifest.contains("[package.metadata.docs.rs]"), "{name}: which features are documented?");
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let text = std::fs::read_to_string(root().join("crates").join(&name).join(licence)).unwrap();
            assert_eq!(text, std::fs::read_to_string(root().join(licence)).unwrap(), "{name}: {licence}");
        }
    }
}

/// A README with Rust in it is compiled by `cargo test --doc`.
#[test]
fn every_readme_is_a_doctest() {
    for (name, _) in published() {
        if name == "watchfire" {
            continue; // the README of the whole, which has no Rust in it
        }
        let lib = std::fs::read_to_string(root().join("crates").join(&name).join("src/lib.rs")).unwrap();
        assert!(lib.contains("include_str!(\"../README.md\")"), "{name}: README.md is not part of the documentation");
    }
}
