//! File and what it is made of. [RFC 4765 section 4.2.7.6](https://www.rfc-editor.org/rfc/rfc4765#section-4.2.7.6)

use super::{ChecksumAlgorithm, FileCategory, LinkageCategory, Perms, UserId};
use crate::types::{DateTime, Ident, Integer};
use crate::xml::class;

/// A file that was attacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its identifier in this message.
    pub ident: Ident,
    /// Whether this is before or after the change.
    pub category: FileCategory,
    /// The type of the file system.
    pub fstype: Option<String>,
    /// The type of the file, as media type; attribute `file-type`.
    pub file_type: Option<String>,
    /// The name, without path.
    pub name: String,
    /// The path, with the name.
    pub path: String,
    /// When it was created.
    pub create_time: Option<DateTime>,
    /// When it was changed.
    pub modify_time: Option<DateTime>,
    /// When it was read.
    pub access_time: Option<DateTime>,
    /// How many octets it holds.
    pub data_size: Option<Integer>,
    /// How many octets it takes.
    pub disk_size: Option<Integer>,
    /// Who may do what with it.
    pub file_access: Vec<FileAccess>,
    /// Which files stand for it, or it for which.
    pub linkage: Vec<Linkage>,
    /// Its inode.
    pub inode: Option<Inode>,
    /// Its checksums.
    pub checksum: Vec<Checksum>,
}

impl File {
    /// A file with nothing but what must be there.
    pub fn new(category: FileCategory, name: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            ident: Ident::default(),
            category,
            fstype: None,
            file_type: None,
            name: name.into(),
            path: path.into(),
            create_time: None,
            modify_time: None,
            access_time: None,
            data_size: None,
            disk_size: None,
            file_access: Vec::new(),
            linkage: Vec::new(),
            inode: None,
            checksum: Vec::new(),
        }
    }
}

class! {
    File {
        required { "category" => category }
        attributes { "ident" => ident, "fstype" => fstype, "file-type" => file_type }
        elements {
            "name" => name,
            "path" => path,
            "create-time" => create_time,
            "modify-time" => modify_time,
            "access-time" => access_time,
            "data-size" => data_size,
            "disk-size" => disk_size,
            "FileAccess" => file_access,
            "Linkage" => linkage,
            "Inode" => inode,
            "Checksum" => checksum,
        }
    }
}

/// What a user may do with a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileAccess {
    /// The user or group.
    pub user_id: UserId,
    /// The permissions; at least one.
    pub permission: Vec<Permission>,
}

class! {
    FileAccess, rules file_access_rules {
        // The RFC's own example writes the latter.
        elements { "UserId" => user_id, "Permission" | "permission" => permission }
    }
}

fn file_access_rules(it: &FileAccess) -> Result<(), &'static str> {
    if it.permission.is_empty() { Err("no Permission") } else { Ok(()) }
}

/// One thing that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// Which.
    pub perms: Perms,
}

impl From<Perms> for Permission {
    fn from(perms: Perms) -> Self {
        Self { perms }
    }
}

class! {
    Permission {
        required { "perms" => perms }
    }
}

/// Another file that this one is tied to: by name and path, or told in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linkage {
    /// How they are tied.
    pub category: LinkageCategory,
    /// The name of the other, without path.
    pub name: Option<String>,
    /// The path of the other, with the name.
    pub path: Option<String>,
    /// All about the other; then neither `name` nor `path`.
    pub file: Option<Box<File>>,
}

class! {
    Linkage, rules linkage_rules {
        required { "category" => category }
        elements { "name" => name, "path" => path, "File" => file }
    }
}

fn linkage_rules(it: &Linkage) -> Result<(), &'static str> {
    match (&it.name, &it.path, &it.file) {
        (Some(_), Some(_), None) | (None, None, Some(_)) => Ok(()),
        _ => Err("needs name and path, or File alone"),
    }
}

/// What a Unix file system knows of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inode {
    /// When the inode was changed.
    pub change_time: Option<DateTime>,
    /// Its number; with it the next two.
    pub number: Option<Integer>,
    /// The major number of the device that the file is on.
    pub major_device: Option<Integer>,
    /// The minor number of the device that the file is on.
    pub minor_device: Option<Integer>,
    /// The major number of the device that the file is; with it the next.
    pub c_major_device: Option<Integer>,
    /// The minor number of the device that the file is.
    pub c_minor_device: Option<Integer>,
}

class! {
    Inode, rules inode_rules {
        elements {
            "change-time" => change_time,
            "number" => number,
            "major-device" => major_device,
            "minor-device" => minor_device,
            "c-major-device" => c_major_device,
            "c-minor-device" => c_minor_device,
        }
    }
}

fn inode_rules(it: &Inode) -> Result<(), &'static str> {
    let on = [it.number.is_some(), it.major_device.is_some(), it.minor_device.is_some()];
    if on.contains(&true) && on.contains(&false) {
        return Err("number, major-device and minor-device come together");
    }
    if it.c_major_device.is_some() != it.c_minor_device.is_some() {
        return Err("c-major-device and c-minor-device come together");
    }
    Ok(())
}

/// A checksum or digest of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// How it was made.
    pub algorithm: ChecksumAlgorithm,
    /// What came out.
    pub value: String,
    /// The key it was made with.
    pub key: Option<String>,
}

class! {
    Checksum {
        required { "algorithm" => algorithm }
        elements { "value" => value, "key" => key }
    }
}
